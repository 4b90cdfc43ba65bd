"""Groups of near-duplicates, against a plain search of connected photos."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl.duplicates import near_duplicate_groups
from orl_explorer.orl.measure.quality import NEAR_DUPLICATE


def test_photos_above_the_threshold_are_one_group_also_by_a_chain() -> None:
    angles = np.deg2rad([0, 90, 10, 20, 95, 180])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # 0, 2 and 3 are 10 degrees apart, 1 and 4 are 5.
    assert near_duplicate_groups(features, np.cos(np.deg2rad(11))).tolist() == [0, 1, 0, 0, 1, 5]
    assert near_duplicate_groups(features, np.cos(np.deg2rad(6))).tolist() == [0, 1, 2, 3, 1, 5]
    assert near_duplicate_groups(features).tolist() == [0, 1, 0, 0, 1, 5]  # cos 10 degrees is 0.985
    assert NEAR_DUPLICATE < 0.985
    assert near_duplicate_groups(np.empty((0, 2), np.float32)).tolist() == []


def test_equal_photos_are_found_at_a_threshold_of_1() -> None:
    one = np.random.default_rng(0).standard_normal((4, 1280)).astype(np.float32)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    assert near_duplicate_groups(np.concatenate([one, one]), 1.0).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [1, 7, 4096])
def test_groups_equal_a_plain_search_in_however_many_blocks(seed: int, block: int) -> None:
    features = np.random.default_rng(seed).standard_normal((60, 3)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    near = features @ features.T >= 0.96
    expected, seen = np.full(60, -1), set[int]()
    for first in range(60):
        if first in seen:
            continue
        reached, queue = {first}, [first]
        while queue:
            queue += [j for j in np.flatnonzero(near[queue.pop()]).tolist() if j not in reached and not reached.add(j)]
        seen |= reached
        expected[sorted(reached)] = first
    assert 1 < len(set(expected.tolist())) < 60
    assert near_duplicate_groups(features, 0.96, block=block).tolist() == expected.tolist()
