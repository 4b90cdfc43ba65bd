"""Features in the plane: same seed, same places; who is alike lies together."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl.plane import EARLY, LATE, clusters, principal, spread


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    """Three groups of thirty around three directions, unit rows of 16."""
    rng = np.random.default_rng(7)
    rows = np.repeat(np.eye(16)[:3], 30, axis=0) + 0.1 * rng.normal(size=(90, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_principal_components_keep_distances_and_turn_with_the_largest_spread() -> None:
    rows = np.array([[0, 0, 3], [0, 0, -3], [0, 1, 0], [0, -1, 0]], np.float32)
    found = principal(rows)
    np.testing.assert_allclose(np.abs(found[:, :2]), [[3, 0], [3, 0], [0, 1], [0, 1]], atol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_groups_stay_together(groups: np.ndarray) -> None:
    components = principal(groups)
    reported: list[int] = []
    places = spread(components, report=reported.append)
    assert np.array_equal(places, spread(components))
    assert sum(reported) == EARLY + LATE
    assert np.abs(places).max() == pytest.approx(1)
    nearest = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(nearest, np.inf)
    assert (nearest.argmin(axis=1) // 30 == np.arange(90) // 30).all()


def test_whoever_stops_it_is_obeyed_at_once(groups: np.ndarray) -> None:
    class Enough(Exception):
        pass

    reports = []

    def stop(count: int) -> None:
        reports.append(count)
        raise Enough

    with pytest.raises(Enough):
        spread(principal(groups), report=stop)
    assert len(reports) == 1


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_few_points_have_places_too(count: int) -> None:
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    places = spread(principal(rows))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert np.abs(places).max() <= 1.0001


def test_points_that_are_all_the_same_do_no_harm() -> None:
    assert np.isfinite(spread(principal(np.ones((20, 8), np.float32)))).all()


def test_clusters_are_numbered_by_size() -> None:
    rows = np.repeat([[0.0, 9.0], [9.0, 0.0], [-9.0, 0.0]], [5, 20, 10], axis=0)
    assert clusters(rows, 3).tolist() == [2] * 5 + [0] * 20 + [1] * 10
    assert clusters(rows[:2], 8).max() <= 1
