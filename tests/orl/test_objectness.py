"""Objectness: worked examples, a slow version, and the order of the filter's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orl_explorer.orl.boxes import BoxRules, BoxVerdict, filter_boxes, iou
from orl_explorer.orl.objectness import (
    CENTRE,
    CONTRAST,
    EDGE,
    LAYOUT,
    RING,
    SAME,
    BoxWeights,
    filter_by_objectness,
    objectness,
    sparseness,
)

WIDTH, HEIGHT = 120, 120
RULES = BoxRules(min_size=20, max_rois=10)


def bright(*cell: int) -> np.ndarray:
    """Return a 12 x 12 map of 10 x 10 pixel cells: 1 in the cells x y to x y, 0 elsewhere, with orthogonal features."""
    x0, y0, x1, y1 = cell
    found = np.zeros((12, 12), np.float32)
    found[y0:y1, x0:x1] = 1
    return np.stack([found, found, 1 - found])


def slowly(
    box: np.ndarray, raw: np.ndarray, attention: np.ndarray, width: int, height: int, weights: BoxWeights
) -> float:
    """The definition, summed over a fine grid of points."""
    standard = (attention[0] - attention[0].mean()) / attention[0].std()
    rows, columns = attention.shape[1:]
    fine = 20  # points for each cell's side
    ys, xs = (np.arange(rows * fine) + 0.5) / fine, (np.arange(columns * fine) + 0.5) / fine
    values = np.kron(standard, np.ones((fine, fine)))
    x, y, w, h = (float(v) for v in box)
    left, right = x * columns / width, (x + w) * columns / width
    top, bottom = y * rows / height, (y + h) * rows / height
    inside = ((ys >= top) & (ys < bottom))[:, None] & ((xs >= left) & (xs < right))[None]
    dx, dy = RING * (right - left), RING * (bottom - top)
    outer = ((ys >= top - dy) & (ys < bottom + dy))[:, None] & ((xs >= left - dx) & (xs < right + dx))[None]
    around = values[outer & ~inside].mean() if (outer & ~inside).any() else 0.0
    ex, ey = CENTRE * (right - left), CENTRE * (bottom - top)
    middle = ((ys >= top + ey) & (ys < bottom - ey))[:, None] & ((xs >= left + ex) & (xs < right - ex))[None]
    looks = np.kron(attention[1:], np.ones((1, fine, fine)))
    one, other = looks[:, middle].sum(axis=1), looks[:, outer & ~inside].sum(axis=1)
    alike = one @ other / np.sqrt(one @ one * (other @ other)) if other.any() else 1.0
    contrast = values[inside].mean() + weights.level - weights.surroundings * around
    same = sum(float(iou(box, other[None])[0]) > SAME for other in raw)
    mean_look = looks[:, inside].mean(axis=1)
    even = np.linalg.norm(mean_look) / math.sqrt((looks**2).sum(axis=0).mean())
    at_edge = [x <= EDGE * width, y <= EDGE * height, x + w >= (1 - EDGE) * width, y + h >= (1 - EDGE) * height]
    by_size = contrast * (w * h / (width * height)) ** weights.size
    by_looks = weights.recurrence * math.log(1 + same) - weights.likeness * alike - weights.even * even
    return by_size + by_looks - weights.edges * sum(at_edge) + weights.low * ((y + h / 2) / height - 0.5)


def test_by_hand() -> None:
    attention = bright(3, 3, 9, 9)  # a quarter of the map: mean 1/4, deviation sqrt(3)/4
    box = np.array([[30, 30, 60, 60]], np.int16)
    # Inside (1 - 1/4) / (sqrt(3)/4) = sqrt(3), in the frame -1/sqrt(3); the box takes a quarter and is the only one.
    # Its middle looks nothing like its frame.
    expected = (math.sqrt(3) + 0.05 + 0.2 / math.sqrt(3)) * 0.25**0.8 + 0.1 * math.log(2)
    assert objectness(box, box, attention, WIDTH, HEIGHT)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("looks", "alike"),
    [
        ([[1, 0], [1, 0], [1, 0]], 1),
        ([[1, 0], [1, 0], [0, 2]], 0),
        ([[1, 0], [1, 0], [-1, 0]], -1),
        ([[1, 0], [1, 0], [3, 3]], math.sqrt(0.5)),
        ([[1, 0], [0, 1], [0, 1]], 0),  # what lies at the box's edge counts for neither
        ([[0, 0], [1, 0], [1, 0]], 1),  # nothing is like anything
    ],
)
def test_a_middle_that_is_like_what_surrounds_the_box_takes_away(looks: list[list[float]], alike: float) -> None:
    """looks: the features of the middle of a box of 8 x 8 cells, of its edge, and of its surroundings."""
    attention = np.zeros((3, 16, 16))
    attention[1:] = np.array(looks[2])[:, None, None]
    attention[1:, 4:12, 4:12] = np.array(looks[1])[:, None, None]
    attention[1:, 6:10, 6:10] = np.array(looks[0])[:, None, None]
    box = np.array([[40, 40, 80, 80]], np.int16)
    found = objectness(box, box, attention, 160, 160)
    assert found[0] == pytest.approx(0.05 * 0.25**0.8 - 0.6 * alike + 0.1 * math.log(2), abs=1e-6)


def test_the_whole_photo_has_no_surroundings() -> None:
    whole = np.array([[0, 0, WIDTH, HEIGHT]], np.int16)
    found = objectness(whole, np.empty((0, 4)), bright(3, 3, 9, 9), WIDTH, HEIGHT)
    assert found[0] == pytest.approx(0.05 - 0.6, abs=1e-6)  # the mean of what is standardised is 0


def test_a_flat_map_leaves_size_and_recurrence() -> None:
    raw = np.array([[0, 0, 60, 60], [2, 0, 60, 60], [80, 80, 40, 40]], np.int16)
    found = objectness(raw, raw, np.full((2, 12, 12), 7.0), WIDTH, HEIGHT)
    expected = [0.05 * 0.25**0.8 - 0.6 + 0.1 * math.log(3)] * 2 + [0.05 * (1 / 9) ** 0.8 - 0.6 + 0.1 * math.log(2)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("weights", [CONTRAST, LAYOUT])
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_equals_the_slow_version(weights: BoxWeights, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, columns = data.draw(st.integers(2, 6)), data.draw(st.integers(2, 6))
    attention = rng.random((3, rows, columns))
    corner = rng.integers(0, 80, (4, 2))
    # Whole fractions of a cell, so that the slow version's points fall on neither side of an edge by chance.
    boxes = np.concatenate([corner, rng.integers(20, 41, (4, 2))], axis=1).astype(np.int16)
    found = objectness(boxes, boxes, attention, WIDTH, HEIGHT, weights)
    expected = [slowly(box, boxes, attention, WIDTH, HEIGHT, weights) for box in boxes]
    np.testing.assert_allclose(found, expected, atol=0.14 * weights.likeness)  # the slow version's grid is coarse


def only(**weights: float) -> BoxWeights:
    """Return weights of which all others are zero."""
    return BoxWeights(**(dict.fromkeys(("surroundings", "level", "size", "likeness", "recurrence"), 0.0) | weights))


def test_a_box_of_one_look_is_even_and_a_box_of_two_is_less() -> None:
    boxes = np.array([[0, 0, 60, 120], [0, 0, 120, 60]], np.int16)  # the left half, and the upper half
    attention = np.ones((3, 12, 12))
    attention[1, :, 6:] = attention[2, :, :6] = 0  # cells of the left look like (1, 0), of the right like (0, 1)
    # The mean of equal parts of the two is (1/2, 1/2). The scale of the looks does not matter.
    for scale in (1.0, 0.01):
        attention[1:] *= scale
        found = objectness(boxes, boxes, attention, WIDTH, HEIGHT, only(even=2))
        assert found.tolist() == pytest.approx([-2, -2 * math.sqrt(0.5)], abs=1e-6)


def test_a_map_without_looks_is_even_everywhere() -> None:
    box = np.array([[0, 0, 60, 120]], np.int16)
    assert objectness(box, box, np.zeros((3, 12, 12)), WIDTH, HEIGHT, only(even=2)).tolist() == [-2]


def test_each_edge_of_the_photo_that_a_box_touches_takes_away() -> None:
    boxes = np.array([[30, 30, 60, 60], [1, 30, 60, 60], [2, 30, 60, 60], [0, 0, 60, 60], [0, 0, 119, 120]], np.int16)
    found = objectness(boxes, boxes, np.ones((2, 12, 12)), WIDTH, HEIGHT, only(edges=0.5))
    assert found.tolist() == [0, -0.5, 0, -1, -2]  # 1.2 pixels from an edge still touch it


def test_a_box_is_likelier_the_lower_its_centre_is() -> None:
    boxes = np.array([[0, 0, 60, 60], [0, 30, 60, 60], [0, 60, 60, 60]], np.int16)
    found = objectness(boxes, boxes, np.ones((2, 12, 12)), WIDTH, HEIGHT, only(low=0.8))
    assert found.tolist() == pytest.approx([-0.2, 0, 0.2], abs=1e-6)


def test_the_filter_orders_boxes_by_the_weights() -> None:
    raw = np.array([[0, 0, 40, 40], [0, 80, 40, 40], [40, 40, 40, 40]], np.int16)
    found, score = filter_by_objectness(raw, RULES, WIDTH, HEIGHT, np.ones((2, 12, 12)), weights=only(low=3))
    assert found.boxes.tolist() == [[0, 80, 40, 40], [40, 40, 40, 40], [0, 0, 40, 40]]
    assert score.tolist() == pytest.approx([1, 0, -1], abs=1e-6)


def test_the_likeliest_object_is_judged_first() -> None:
    raw = np.array([[0, 0, 60, 60], [25, 25, 70, 70], [30, 30, 60, 60], [90, 0, 30, 30], [0, 0, 10, 10]], np.int16)
    attention = bright(3, 3, 9, 9)
    found, score = filter_by_objectness(raw, RULES, WIDTH, HEIGHT, attention)
    # The third fits best, and the second, which holds it, overlaps it by more than half.
    assert found.boxes.tolist() == [[30, 30, 60, 60], [0, 0, 60, 60], [90, 0, 30, 30]]
    assert [BoxVerdict(v).name for v in found.verdict] == ["KEPT", "OVERLAP", "KEPT", "KEPT", "SIZE"]
    assert found.blocker.tolist() == [-1, 2, -1, -1, -1]
    assert score.tolist() == objectness(found.boxes, raw, attention, WIDTH, HEIGHT).tolist()
    assert score[0] > score[1] > score[2]


def test_without_ranking_only_the_score_is_added() -> None:
    raw = np.array([[0, 0, 60, 60], [30, 30, 60, 60]], np.int16)
    found, score = filter_by_objectness(raw, RULES, WIDTH, HEIGHT, bright(3, 3, 9, 9), ranked=False)
    assert found.boxes.tolist() == filter_boxes(raw, RULES, WIDTH, HEIGHT).boxes.tolist() == raw.tolist()
    assert score[1] > score[0]


def test_equal_scores_keep_the_rank_order() -> None:
    raw = np.array([[0, 0, 30, 30], [60, 60, 30, 30], [30, 0, 30, 30]], np.int16)
    found = filter_boxes(raw, RULES, WIDTH, HEIGHT, score=np.array([1.0, 2.0, 1.0]))
    assert found.boxes.tolist() == [[60, 60, 30, 30], [0, 0, 30, 30], [30, 0, 30, 30]]


@pytest.mark.parametrize(("fallback", "box"), [("image", [0, 0, 120, 120]), ("first", [1, 2, 3, 4])])
def test_a_fall_back_box_has_a_score_too(fallback: str, box: list[int]) -> None:
    rules = BoxRules(min_size=20, fallback=fallback)  # type: ignore[arg-type]
    raw = np.array([[1, 2, 3, 4], [5, 5, 6, 6]], np.int16)
    found, score = filter_by_objectness(raw, rules, WIDTH, HEIGHT, bright(3, 3, 9, 9))
    assert found.fallback
    assert found.boxes.tolist() == [box]
    assert np.isfinite(score).all() and score.shape == (1,)


def test_a_photo_without_raw_boxes_is_its_own_candidate() -> None:
    found, score = filter_by_objectness(np.empty((0, 4), np.int16), RULES, WIDTH, HEIGHT, bright(3, 3, 9, 9))
    assert found.boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]
    assert score.tolist() == pytest.approx([0.05 - 0.6], abs=1e-6)


def test_scores_that_are_known_already_are_taken_as_they_are() -> None:
    raw = np.array([[0, 0, 40, 40], [30, 30, 60, 60], [5, 5, 15, 15], [60, 0, 60, 30]], np.int16)
    attention, known = bright(3, 3, 9, 9), np.full(4, np.nan, np.float32)
    first, scores = filter_by_objectness(raw, RULES, WIDTH, HEIGHT, attention, known=known)
    assert first.boxes.tolist() == [[30, 30, 60, 60], [0, 0, 40, 40], [60, 0, 60, 30]]
    assert np.isnan(known).tolist() == [False, False, True, False]  # the small one was never asked for
    assert scores.tolist() == known[[1, 0, 3]].tolist() == objectness(first.boxes, raw, attention, 120, 120).tolist()
    known[3] = 9  # so that it shows whether it is used
    again, scores = filter_by_objectness(raw, BoxRules(min_size=10), WIDTH, HEIGHT, attention, known=known)
    assert again.boxes.tolist()[0] == [60, 0, 60, 30]
    assert scores[0] == 9
    assert not np.isnan(known).any()
    unranked, scores = filter_by_objectness(raw, RULES, WIDTH, HEIGHT, attention, ranked=False, known=known)
    assert unranked.boxes.tolist() == raw[[0, 1, 3]].tolist()
    assert scores.tolist() == known[[0, 1, 3]].tolist()


def test_recurrence_counts_boxes_of_any_size_among_many() -> None:
    rng = np.random.default_rng(0)
    places, sizes = rng.integers(0, 60, (300, 2)), rng.integers(1, 60, (300, 2))
    raw = np.concatenate([places, sizes], axis=1).astype(np.int16)
    flat = np.ones((1, 12, 12), np.float32)
    expected = [math.log(1 + sum(float(iou(box, other[None])[0]) > SAME for other in raw)) for box in raw]
    level = 0.05 * (raw[:, 2].astype(float) * raw[:, 3] / (WIDTH * HEIGHT)) ** 0.8
    found = objectness(raw, raw, flat, WIDTH, HEIGHT)
    assert found == pytest.approx(level - 0.6 + 0.1 * np.array(expected), abs=1e-6)


def test_sparseness_by_hand() -> None:
    one, all_alike, half, signs = np.eye(4)[0], np.full(4, 0.5), np.array([1, 1, 0, 0]) / 2**0.5, [0.5, -0.5, 0.5, -0.5]
    found = sparseness(np.array([one, all_alike, half, signs], np.float32))
    assert found == pytest.approx([1, 0, 2 - 2**0.5, 0], abs=1e-6)  # (2 - 2 / √2) / (2 - 1)
    assert found.dtype == np.float32


def test_no_photo_without_rois_troubles_sparseness() -> None:
    assert sparseness(np.empty((0, 8), np.float32)).shape == (0,)


def test_sparseness_is_between_0_and_1_for_any_number_of_channels() -> None:
    features = np.array([np.eye(9)[0], np.full(9, 1 / 3)], np.float32)
    assert sparseness(features) == pytest.approx([1, 0], abs=1e-6)


def test_scores_of_many_boxes_are_in_the_order_of_their_candidates() -> None:
    raw = np.array([(30 * (i % 10), 30 * (i // 10), 20, 20) for i in range(100)], np.int16)
    known = np.arange(100, dtype=np.float32)
    rules = BoxRules(min_size=20, max_rois=100)
    found, score = filter_by_objectness(raw, rules, 300, 300, bright(3, 3, 9, 9), ranked=False, known=known)
    assert found.boxes.tolist() == raw.tolist()
    assert score.tolist() == known.tolist()
    assert filter_by_objectness(raw, rules, 300, 300, bright(3, 3, 9, 9))[1].dtype == np.float32
