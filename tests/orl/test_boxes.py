"""The candidate filter and the jitter: boxes are x, y, w, h."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orl_explorer.orl.boxes import BoxRules, BoxVerdict, each_once, filter_boxes, iou, jitter_box, outward

SIDE = 200  # of the image that the random boxes lie in
positions = st.integers(0, 150)
sides = st.integers(1, 50)
random_boxes = st.lists(st.tuples(positions, positions, sides, sides), max_size=40)


def slow_iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Compute the IoU by counting pixels."""
    pixels_a = {(x, y) for x in range(a[0], a[0] + a[2]) for y in range(a[1], a[1] + a[3])}
    pixels_b = {(x, y) for x in range(b[0], b[0] + b[2]) for y in range(b[1], b[1] + b[3])}
    return len(pixels_a & pixels_b) / len(pixels_a | pixels_b)


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    wide = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    high = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return wide * high / (a[2] * a[3] + b[2] * b[3] - wide * high)


def slow_filter(raw: list[tuple[int, ...]], rules: BoxRules) -> list[str]:
    """The paper's greedy pass, one box at a time."""
    kept: list[tuple[int, ...]] = []
    verdicts = []
    for box in raw:
        if min(box[2], box[3]) < rules.min_size:
            verdicts.append("size")
        elif max(box[2], box[3]) > rules.max_aspect * min(box[2], box[3]):
            verdicts.append("aspect")
        elif any(overlap(box, other) > rules.max_iou for other in kept):
            verdicts.append("overlap")
        elif len(kept) == rules.max_rois:
            verdicts.append("count")
        else:
            kept.append(box)
            verdicts.append("kept")
    return verdicts


def verdicts(raw: list[tuple[int, ...]], rules: BoxRules) -> list[str]:
    found = filter_boxes(np.array(raw).reshape(-1, 4), rules, SIDE, SIDE)
    return [BoxVerdict(v).name.lower() for v in found.verdict]


def test_the_default_rules_are_the_papers() -> None:
    rules = BoxRules()
    assert (rules.min_size, rules.max_aspect, rules.max_iou, rules.max_rois) == (96, 3.0, 0.5, 100)
    assert rules.fallback == "first"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 10, 10), 1 / 3),  # 50 of 150
        ((0, 0, 10, 10), (10, 0, 10, 10), 0.0),  # they only touch
        ((0, 0, 10, 10), (15, 0, 10, 10), 0.0),  # apart, side by side
        ((0, 0, 10, 10), (0, 15, 10, 10), 0.0),  # and one above the other
        ((0, 0, 10, 10), (2, 2, 5, 4), 0.2),  # one inside the other
    ],
)
def test_iou_of_two_boxes(a: tuple[int, ...], b: tuple[int, ...], expected: float) -> None:
    assert iou(np.array(a), np.array([b]))[0] == pytest.approx(expected)
    assert slow_iou(a, b) == pytest.approx(expected)


def test_a_box_is_judged_by_size_then_aspect_then_overlap_then_count() -> None:
    raw = [
        (0, 0, 100, 100),  # kept
        (0, 0, 9, 50),  # too small, and too narrow as well: size comes first
        (0, 0, 100, 60),  # too wide, and 0.6 of it overlaps: aspect comes first
        (0, 0, 100, 80),  # 0.8 overlaps
        (100, 100, 50, 50),  # kept, and that makes two
        (150, 0, 50, 50),  # one too many
        (0, 0, 100, 90),  # one too many, and 0.9 overlaps: overlap comes first
    ]
    found = filter_boxes(np.array(raw), BoxRules(10, 1.5, 0.5, 2), SIDE, SIDE)
    assert verdicts(raw, BoxRules(10, 1.5, 0.5, 2)) == ["kept", "size", "aspect", "overlap", "kept", "count", "overlap"]
    assert found.boxes.tolist() == [[0, 0, 100, 100], [100, 100, 50, 50]]
    assert found.boxes.dtype == np.int16
    assert found.blocker.tolist() == [-1, -1, -1, 0, -1, -1, 0]
    assert found.overlap.tolist() == pytest.approx([0, 0, 0, 0.8, 0, 0, 0.9])
    assert found.counts() == {"kept": 2, "size": 1, "aspect": 1, "overlap": 2, "count": 1, "raw": 7}
    assert not found.fallback


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 96, 96), "kept"),
        ((0, 0, 95, 200), "size"),
        ((0, 0, 200, 95), "size"),
        ((0, 0, 300, 100), "kept"),
        ((0, 0, 100, 300), "kept"),
        ((0, 0, 301, 100), "aspect"),
        ((0, 0, 100, 301), "aspect"),
    ],
)
def test_the_limits_of_size_and_aspect_still_pass(box: tuple[int, ...], expected: str) -> None:
    assert verdicts([box], BoxRules()) == [expected]


def test_an_overlap_of_exactly_the_limit_still_passes() -> None:
    rules = BoxRules(min_size=1)
    assert verdicts([(0, 0, 100, 100), (0, 0, 100, 50)], rules) == ["kept", "kept"]
    assert verdicts([(0, 0, 100, 100), (0, 0, 100, 51)], rules) == ["kept", "overlap"]


def test_a_rejected_box_stands_in_nobodys_way() -> None:
    # The second overlaps the first, the third overlaps only the second.
    raw = [(0, 0, 100, 100), (20, 0, 100, 100), (40, 0, 100, 100)]
    assert verdicts(raw, BoxRules(min_size=1)) == ["kept", "overlap", "kept"]


@given(random_boxes, st.integers(1, 30), st.sampled_from([1.0, 1.5, 3.0]), st.sampled_from([0.0, 0.3, 0.5]))
def test_the_filter_equals_the_slow_pass(raw: list[tuple[int, ...]], size: int, aspect: float, max_iou: float) -> None:
    rules = BoxRules(size, aspect, max_iou, max_rois=5)
    assert verdicts(raw, rules) == slow_filter(raw, rules)


def test_an_image_that_keeps_no_box_falls_back_to_the_named_one() -> None:
    raw = np.array([[3, 4, 5, 6], [0, 0, 20, 20]])
    first = filter_boxes(raw, BoxRules(fallback="first"), 640, 480)
    whole = filter_boxes(raw, BoxRules(fallback="image"), 640, 480)
    assert (first.boxes.tolist(), first.fallback) == ([[3, 4, 5, 6]], True)
    assert (whole.boxes.tolist(), whole.fallback) == ([[0, 0, 640, 480]], True)
    assert first.counts()["size"] == 2
    assert (first.blocker.tolist(), first.overlap.tolist()) == ([-1, -1], [0.0, 0.0])


@pytest.mark.parametrize("fallback", ["first", "image"])
def test_an_image_without_a_raw_box_falls_back_to_itself(fallback: str) -> None:
    found = filter_boxes(np.empty((0, 4)), BoxRules(fallback=fallback), 640, 480)  # type: ignore[arg-type]
    assert (found.boxes.tolist(), found.fallback) == ([[0, 0, 640, 480]], True)


class Dice:
    """A generator with given draws, which records their ranges."""

    def __init__(self, *draws: float) -> None:
        self.draws = list(draws)
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, low: float, high: float) -> float:
        self.ranges.append((low, high))
        value = self.draws.pop(0)
        assert low <= value <= high
        return value


def jittered(box: tuple[int, ...], dice: Dice) -> list[int]:
    return jitter_box(np.array(box), SIDE, SIDE, dice).tolist()  # type: ignore[arg-type]


def test_the_jitter_draws_area_a_new_aspect_and_the_shift_of_the_centre() -> None:
    # Area 50 * 72 = 3600 times 1, aspect exp 0 = 1: 60 x 60 around (125 + 0.1 * 50, 136).
    dice = Dice(1.0, 0.0, 0.1, 0.0)
    assert jittered((100, 100, 50, 72), dice) == [100, 106, 60, 60]
    assert dice.ranges == [(0.5, 2.0), (math.log(0.5), math.log(2.0)), (-0.5, 0.5), (-0.5, 0.5)]


def test_the_jitter_makes_a_box_of_nearly_twice_and_of_little_more_than_half_the_area() -> None:
    assert jittered((100, 100, 60, 60), Dice(1.9, 0.0, 0.0, 0.0)) == [88, 88, 83, 83]
    assert jittered((100, 100, 60, 60), Dice(0.52, 0.0, 0.0, 0.0)) == [108, 108, 43, 43]


def test_a_jitter_that_leaves_the_image_or_overlaps_too_little_is_drawn_again() -> None:
    good = (1.0, 0.0, 0.1, 0.0)
    outside = (1.0, 0.0, 0.0, -0.5)  # its top is at 136 - 36 - 30 = 70 of the shifted, see below
    far = (1.0, 0.0, 0.5, 0.5)  # (120, 142, 60, 60): shares 30 x 30 of 6300
    assert jittered((100, 100, 50, 72), Dice(*far, *good)) == [100, 106, 60, 60]
    # At the upper edge the same shift ends above the image: 36 - 36 - 30 < 0.
    assert jittered((100, 0, 50, 72), Dice(*outside, *good)) == [100, 6, 60, 60]


@given(positions, positions, sides, sides, st.integers(0, 2**32))
def test_a_jittered_box_lies_in_the_image_near_the_original(x: int, y: int, w: int, h: int, seed: int) -> None:
    near = jitter_box(np.array([x, y, w, h]), SIDE, SIDE, np.random.default_rng(seed))
    assert near[0] >= 0
    assert near[1] >= 0
    assert near[0] + near[2] <= SIDE
    assert near[1] + near[3] <= SIDE
    assert overlap((x, y, w, h), tuple(near.tolist())) > 0.5


def test_the_jitter_moves_and_resizes() -> None:
    rng = np.random.default_rng(0)
    drawn = {tuple(jitter_box(np.array([60, 60, 60, 60]), SIDE, SIDE, rng).tolist()) for _ in range(100)}
    assert len(drawn) > 90
    assert (60, 60, 60, 60) not in drawn


def test_when_no_try_fits_the_jitter_is_the_box_itself() -> None:
    rng = np.random.default_rng(0)
    assert jitter_box(np.array([5, 6, 70, 80]), SIDE, SIDE, rng, min_iou=1.0).tolist() == [5, 6, 70, 80]
    assert jitter_box(np.array([5, 6, 70, 80]), SIDE, SIDE, rng, tries=0).tolist() == [5, 6, 70, 80]


def test_boxes_are_rounded_outward_and_clipped() -> None:
    boxes = [[1.5, 2.0, 3.0, 4.25], [-2, -2, 5, 5], [90, 40, 20, 20], [100, 0, 5, 5], [-9, 0, 9, 9], [3, 3, 0, 4]]
    assert outward(np.array(boxes), 100, 50).tolist() == [[1, 2, 4, 5], [0, 0, 3, 3], [90, 40, 10, 10]]
    assert outward(np.empty((0, 4)), 100, 50).shape == (0, 4)
    assert outward(np.array(boxes), 100, 50).dtype == np.int16


def test_what_the_filter_returns_is_of_the_types_it_promises() -> None:
    rules = BoxRules(min_size=1, fallback="image")
    kept, whole = (filter_boxes(np.array(raw).reshape(-1, 4), rules, 640, 480) for raw in ([[0, 0, 9, 9]], []))
    for found in (kept, whole):
        types = [found.boxes.dtype, found.verdict.dtype, found.blocker.dtype, found.overlap.dtype]
        assert types == [np.int16, np.uint8, np.int32, np.float32]
    assert kept.fallback is False


def test_among_more_boxes_than_are_compared_at_once_overlap_still_comes_before_count() -> None:
    apart = [(40 * (i % 10), 40 * (i // 10), 30, 30) for i in range(40)]
    raw = [*apart, (0, 0, 30, 31)]  # nearly the first of them
    found = filter_boxes(np.array(raw), BoxRules(min_size=1, max_rois=2), 400, 200)
    assert found.counts() == {"kept": 2, "size": 0, "aspect": 0, "overlap": 1, "count": 38, "raw": 41}
    assert (BoxVerdict(found.verdict[40]), found.blocker[40]) == (BoxVerdict.OVERLAP, 0)


def test_after_some_boxes_the_others_are_spread() -> None:
    # Two near-alike boxes (IoU 90/110 = 9/11), one that overlaps the first by 70/130 = 7/13, one by 50/150 = 1/3, one
    # elsewhere, and one near the last.
    raw = np.array([(0, 0, 10, 10), (1, 0, 10, 10), (3, 0, 10, 10), (0, 5, 10, 10), (50, 50, 10, 10), (51, 50, 10, 10)])
    rules = BoxRules(min_size=1, max_iou=0.9, max_rois=4, spread_after=2, spread_iou=0.5)
    found = filter_boxes(raw, rules, 100, 100)
    assert found.boxes.tolist() == raw[[0, 1, 3, 4]].tolist()
    assert [BoxVerdict(v).name for v in found.verdict] == ["KEPT", "KEPT", "OVERLAP", "KEPT", "KEPT", "OVERLAP"]
    assert found.blocker.tolist() == [-1, -1, 0, -1, -1, 4]
    assert found.overlap.tolist() == pytest.approx([0, 0, 7 / 13, 0, 0, 9 / 11])
    few = filter_boxes(raw, BoxRules(min_size=1, max_iou=0.9, max_rois=3, spread_after=2), 100, 100)
    assert [BoxVerdict(v).name for v in few.verdict] == ["KEPT", "KEPT", "OVERLAP", "KEPT", "COUNT", "COUNT"]


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([0.2, 0.5, 0.8])
)
def test_spreading_equals_one_box_at_a_time(seed: int, after: int, max_iou: float, spread_iou: float) -> None:
    rng = np.random.default_rng(seed)
    raw = np.concatenate([rng.integers(0, 40, (60, 2)), rng.integers(20, 60, (60, 2))], axis=1)
    score, kept = rng.random(60), list[int]()
    for i in np.argsort(-score).tolist():
        limit = max_iou if len(kept) < after else min(max_iou, spread_iou)
        if len(kept) < 10 and all(overlap(tuple(raw[i]), tuple(raw[k])) <= limit for k in kept):
            kept.append(i)
    rules = BoxRules(min_size=1, max_iou=max_iou, max_rois=10, spread_after=after, spread_iou=spread_iou)
    assert filter_boxes(raw, rules, 100, 100, score).boxes.tolist() == raw[kept].tolist()


def test_many_equal_scores_keep_the_rank_order() -> None:
    raw = np.array([(40 * (i % 10), 40 * (i // 10), 30, 30) for i in range(100)])
    found = filter_boxes(raw, BoxRules(min_size=1), 400, 400, score=np.arange(100) % 2.0)
    assert found.boxes.tolist() == [*raw[1::2].tolist(), *raw[::2].tolist()]


def test_the_aspect_that_the_jitter_draws_is_width_to_height() -> None:
    # Area 7200, aspect 2: 120 x 60 around the same centre, (90, 86).
    assert jittered((40, 50, 100, 72), Dice(1.0, math.log(2.0), 0.0, 0.0)) == [30, 56, 120, 60]


def test_the_jitter_moves_right_and_down() -> None:
    assert jittered((100, 80, 60, 60), Dice(1.0, 0.0, 0.1, 0.2)) == [106, 92, 60, 60]


@pytest.mark.parametrize(
    ("box", "to_the_edge", "beyond", "expected"),
    [
        ((10, 100, 60, 60), (-1 / 6, 0.0), (-0.25, 0.0), [0, 100, 60, 60]),
        ((100, 10, 60, 60), (0.0, -1 / 6), (0.0, -0.25), [100, 0, 60, 60]),
        ((130, 100, 60, 60), (1 / 6, 0.0), (0.25, 0.0), [140, 100, 60, 60]),
        ((100, 130, 60, 60), (0.0, 1 / 6), (0.0, 0.25), [100, 140, 60, 60]),
    ],
)
def test_a_jittered_box_may_touch_the_edge_of_the_image_and_not_cross_it(
    box: tuple[int, ...], to_the_edge: tuple[float, float], beyond: tuple[float, float], expected: list[int]
) -> None:
    assert jittered(box, Dice(1.0, 0.0, *beyond, 1.0, 0.0, *to_the_edge)) == expected


def test_a_box_of_one_pixel_can_be_jittered() -> None:
    dice = Dice(1.0, 0.0, 0.0, 0.0)
    assert jittered((100, 100, 1, 1), dice) == [100, 100, 1, 1]
    assert dice.draws == []


def test_the_jitter_gives_up_after_200_tries() -> None:
    good, far = (1.0, 0.0, 0.1, 0.0), (1.0, 0.0, 0.5, 0.5)
    assert jittered((100, 80, 60, 60), Dice(*far * 199, *good)) == [106, 80, 60, 60]
    assert jittered((100, 80, 60, 60), Dice(*far * 200, *good)) == [100, 80, 60, 60]


def test_jittered_boxes_are_of_16_bits_like_all_others() -> None:
    rng = np.random.default_rng(0)
    assert jitter_box(np.array([60, 60, 60, 60]), SIDE, SIDE, rng).dtype == np.int16
    assert jitter_box(np.array([60, 60, 60, 60]), SIDE, SIDE, rng, tries=0).dtype == np.int16


def test_a_box_that_comes_again_is_left_out_where_it_comes_again() -> None:
    boxes = np.array([[5, 6, 7, 8], [1, 2, 3, 4], [5, 6, 7, 8], [-1, 0, 3, 4], [1, 2, 3, 4]], np.int16)
    assert each_once(boxes).tolist() == [[5, 6, 7, 8], [1, 2, 3, 4], [-1, 0, 3, 4]]
    assert each_once(boxes[:0]).shape == (0, 4)
    assert each_once(boxes[:, ::-1]).tolist() == [[8, 7, 6, 5], [4, 3, 2, 1], [4, 3, 0, -1]]
