"""t-SNE of features: equal seeds give equal places, and similar features lie together."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl import tsne as module
from orl_explorer.orl.tsne import EARLY, LATE, clusters, principal, tsne


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
    places = tsne(components, report=reported.append)
    assert np.array_equal(places, tsne(components))
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
        tsne(principal(groups), report=stop)
    assert len(reports) == 1


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_few_points_have_places_too(count: int) -> None:
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    places = tsne(principal(rows))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert np.abs(places).max() <= 1.0001


def test_points_that_are_all_the_same_do_no_harm() -> None:
    assert np.isfinite(tsne(principal(np.ones((20, 8), np.float32)))).all()


def test_clusters_are_numbered_by_size() -> None:
    rows = np.repeat([[0.0, 9.0], [9.0, 0.0], [-9.0, 0.0]], [5, 20, 10], axis=0)
    assert clusters(rows, 3).tolist() == [2] * 5 + [0] * 20 + [1] * 10
    assert clusters(rows[:2], 8).max() <= 1


def test_few_points_lie_where_their_first_two_components_do() -> None:
    components = np.array([[0.1, 0.2, 5.0], [0.5, 0.2, 0.0], [0.1, 0.4, 0.0]], np.float32)
    found = tsne(components)
    np.testing.assert_allclose(found, [[-1, -0.5], [1, -0.5], [-1, 0.5]], atol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize(("count", "expected"), [(90, 60), (12, 11)])
def test_neighbours_are_by_cosine_and_thrice_the_perplexity(
    monkeypatch: pytest.MonkeyPatch, count: int, expected: int
) -> None:
    class Enough(Exception):
        pass

    def asked(features: np.ndarray, ids: np.ndarray, k: int) -> None:
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
        assert ids.tolist() == list(range(count))
        assert k == expected
        raise Enough

    monkeypatch.setattr(module, "nearest_neighbors", asked)
    with pytest.raises(Enough):
        tsne(np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32) / 10)


def test_principal_components_are_fifty_at_most_and_the_same_again() -> None:
    rows = np.random.default_rng(0).normal(size=(70, 60))
    found = principal(rows)
    assert found.shape == (70, 50)
    assert found.dtype == principal(np.ones((5, 3))).dtype == np.float32
    np.testing.assert_array_equal(found, principal(rows))
    assert clusters(found, 3).dtype == np.uint16
