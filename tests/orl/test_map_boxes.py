"""Boxes from an encoder's map: known ones on small maps, and those of plain loops on random ones."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl import map_boxes
from orl_explorer.orl.map_boxes import MOST, boxes_of_map, centred, degrees, in_pixels, seeded_objects, unit_rows

GROUND, THING, OTHER = 2.0, 0.0, 0.1


def painted(*blobs: tuple[int, int, int, int, float], shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    """A map of one channel, [1, h, w]: even ground, and blobs x y w h with a value."""
    plane = np.full(shape, GROUND)
    for x, y, w, h, value in blobs:
        plane[y : y + h, x : x + w] = value
    return plane[None]


def shares(found: np.ndarray, wide: int, high: int) -> list[list[int]]:
    """Boxes in cells, without the rows that fill up."""
    cells = np.rint(found * [wide, high, wide, high]).astype(int)
    return cells[cells[:, 2] > 0].tolist()


def test_the_first_boxes_are_what_stands_out_from_the_ground() -> None:
    found = shares(boxes_of_map(painted((1, 1, 3, 2, THING), (5, 4, 2, 2, THING))), 8, 6)
    assert found[:2] == [[1, 1, 3, 2], [5, 4, 2, 2]]


def test_what_touches_at_corners_alone_is_two_things() -> None:
    found = shares(boxes_of_map(painted((1, 1, 3, 2, THING), (4, 3, 2, 2, THING))), 8, 6)
    assert found[:2] == [[1, 1, 3, 2], [4, 3, 2, 2]]


def test_merging_gives_a_thing_its_parts_and_what_holds_both() -> None:
    both = painted((0, 0, 2, 6, THING), (2, 0, 2, 6, OTHER))[0]
    stripes = np.stack([both, 1 - both, (both == OTHER) * 3.0])  # three looks: thing, other, ground
    found = shares(boxes_of_map(stripes), 8, 6)
    assert [0, 0, 2, 6] in found and [2, 0, 2, 6] in found and [4, 0, 4, 6] in found


def test_a_box_is_left_out_for_nearly_the_same_one() -> None:
    found = boxes_of_map(painted((1, 1, 5, 4, THING)))
    found = found[found[:, 2] > 0]
    overlaps = map_boxes.iou(found[:, None], found[None]) - np.eye(len(found))
    assert overlaps.max() < 0.8
    assert found.shape[0] < MOST == 33


@pytest.mark.parametrize("plane", [np.zeros((4, 3, 5)), np.ones((4, 3, 5)), np.ones((4, 1, 1))])
def test_a_flat_map_has_boxes_inside_the_photo(plane: np.ndarray) -> None:
    found = boxes_of_map(plane)
    assert found.shape == (MOST, 4) and np.isfinite(found).all()
    assert (found >= 0).all() and (found[:, :2] + found[:, 2:] <= 1.000001).all()


def test_shares_become_whole_pixels_each_box_once() -> None:
    rows = np.zeros((MOST, 4), np.float32)
    rows[:3] = [[0.35, 0.5, 0.65, 0.5], [0.3501, 0.5, 0.65, 0.5], [0, 0, 0.0005, 0.5]]
    assert in_pixels(rows.ravel(), 500, 333).tolist() == [[175, 166, 325, 167]]
    assert in_pixels(np.zeros(4 * MOST), 500, 333).shape == (0, 4)


def test_degrees_count_the_other_cells_alike() -> None:
    cells = np.array([[3.0, 1.0], [3.0, 0.0], [0.0, 2.0]], np.float32)
    np.testing.assert_array_equal(centred(cells), [[1, 0], [1, -1], [-2, 1]])
    assert degrees(centred(cells) @ centred(cells).T).tolist() == [1, 1, 0]
    assert degrees(np.array([[1, 2, -1], [2, 0, 3], [-1, 3, 0]])).tolist() == [1, 2, 1]


def slow_objects(similar: np.ndarray, high: int, wide: int, share: float, most: int) -> list[set[tuple[int, int]]]:
    """LOST in loops over cells, repeated on the cells that are left."""
    left, objects = list(range(high * wide)), []
    for _ in range(most):
        degree = {i: sum(similar[i][j] > 0 for j in left if j != i) for i in left}
        order = sorted(left, key=lambda i: (degree[i], i))
        if not order or not any(similar[order[0]][j] > 0 for j in order[: round(share * high * wide)]):
            break
        seed, few = order[0], order[: round(share * high * wide)]
        voters = [i for i in few if similar[seed][i] > 0]
        members = {divmod(i, wide) for i in left if sum(similar[v][i] for v in voters) > 0}
        found, edge = set[tuple[int, int]](), [divmod(seed, wide)]
        while edge:
            y, x = edge.pop()
            if (y, x) in members and (y, x) not in found:
                found.add((y, x))
                edge += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        objects.append(found)
        left = [i for i in left if divmod(i, wide) not in found]
    return objects


@pytest.mark.parametrize("seed", range(5))
def test_seeds_grow_as_in_plain_loops(seed: int) -> None:
    cells = np.random.default_rng(seed).normal(size=(42, 3)).astype(np.float32)
    similar = (centred(cells) @ centred(cells).T).astype(np.float64)
    found = [{tuple(cell) for cell in np.argwhere(mask).tolist()} for mask in seeded_objects(similar, (6, 7))]
    assert found == slow_objects(similar, 6, 7, map_boxes.LEAST, map_boxes.SEEDS)
    assert len(found) > 1


def slow_regions(unit: np.ndarray, high: int, wide: int, most: int) -> list[tuple[int, ...]]:
    """Ward's merging, comparing all neighbouring regions at every step; bounds of the last regions, newest first."""
    regions = {i: [divmod(i, wide)] for i in range(high * wide)}
    made, kept = high * wide, dict[int, list[tuple[int, int]]]()

    def cost(one: list, other: list) -> float:
        a, b = (np.array([unit[y * wide + x] for y, x in cells], np.float64) for cells in (one, other))
        return len(a) * len(b) / (len(a) + len(b)) * float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum())

    def touch(one: list, other: list) -> bool:
        return any(abs(a - c) + abs(b - d) == 1 for a, b in one for c, d in other)

    while len(regions) > 1:
        if len(regions) <= most:
            kept |= regions
        pairs = [(i, j) for i in regions for j in regions if i < j and touch(regions[i], regions[j])]
        i, j = min(pairs, key=lambda pair: cost(regions[pair[0]], regions[pair[1]]))
        regions[made] = regions.pop(i) + regions.pop(j)
        made += 1
    return [
        (min(x for _, x in c), min(y for y, _ in c), max(x for _, x in c) + 1, max(y for y, _ in c) + 1)
        for _, c in sorted(kept.items(), reverse=True)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_merged_as_in_plain_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_boxes, "REGIONS", 6)
    unit = unit_rows(np.random.default_rng(seed).normal(size=(30, 4)))
    assert map_boxes.merged_regions(unit, (5, 6)).tolist() == [list(each) for each in slow_regions(unit, 5, 6, 6)]
