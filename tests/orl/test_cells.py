"""Neighbours in nearby cells, checked against the exact search."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl.cells import neighbors_in_cells
from orl_explorer.orl.matching import nearest_neighbors


def unit(features: np.ndarray) -> np.ndarray:
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def grouped(groups: int, each: int, spread: float = 0.3, width: int = 16) -> np.ndarray:
    """Unit rows around random centres, one group after the other."""
    rng = np.random.default_rng(3)
    centres = unit(rng.normal(size=(groups, width)))
    return unit(np.repeat(centres, each, axis=0) + spread * rng.normal(size=(groups * each, width)) / np.sqrt(width))


def shared(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]))


def test_groups_that_lie_apart_are_found_whole() -> None:
    features = np.repeat(np.eye(4, dtype=np.float32), 8, axis=0)
    found = neighbors_in_cells(features, np.arange(100, 132), 7, probes=1)
    assert found.ids[0].tolist() == [101, 102, 103, 104, 105, 106, 107]
    assert found.ids[31].tolist() == [124, 125, 126, 127, 128, 129, 130]
    assert found.similarity.min() == 1.0


@pytest.mark.parametrize("block", [64, 8192])
def test_in_all_cells_the_search_is_exact(block: int) -> None:
    features = grouped(40, 20)
    features[200:230] = features[0]  # copies: a tie that is wider than K
    ids = np.arange(800) * 3
    exact = nearest_neighbors(features, ids, 10)
    found = neighbors_in_cells(features, ids, 10, probes=800, block=block)
    assert np.array_equal(found.ids, exact.ids)
    assert np.array_equal(found.similarity, exact.similarity)


def test_more_cells_find_more() -> None:
    features, ids = grouped(50, 60, spread=0.7), np.arange(3000)
    exact = nearest_neighbors(features, ids, 10).ids
    recalls = [shared(neighbors_in_cells(features, ids, 10, probes=probes).ids, exact) for probes in (1, 4, 16)]
    assert (recalls[0] < 0.8, 0.8 < recalls[1] < 0.99, recalls[2] > 0.99) == (True, True, True), recalls


def test_no_image_is_its_own_neighbour_or_twice_one() -> None:
    ids = np.arange(2000) + 7
    found = neighbors_in_cells(grouped(200, 10, spread=1.0), ids, 10, probes=3).ids
    assert not (found == ids[:, None]).any()
    assert [len(set(row)) for row in found.tolist()] == [10] * 2000


def test_an_image_with_few_others_in_its_cells_is_compared_with_all() -> None:
    features = grouped(8, 8, spread=0.05)
    found = neighbors_in_cells(features, np.arange(64), 20, probes=1)
    assert np.array_equal(found.ids, nearest_neighbors(features, np.arange(64), 20).ids)


def test_the_same_images_have_the_same_neighbours() -> None:
    features = grouped(200, 10, spread=1.0)
    first, second = (neighbors_in_cells(features, np.arange(2000), 10) for _ in range(2))
    assert np.array_equal(first.ids, second.ids)
    assert np.array_equal(first.similarity, second.similarity)


@pytest.mark.parametrize("k", [0, 3])
def test_too_few_images_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=rf"^K = {k} neighbours need at least {k + 1} images\. There are 3\.$"):
        neighbors_in_cells(np.eye(3, dtype=np.float32), np.arange(3), k)
