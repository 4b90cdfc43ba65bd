"""Quality of a set, on a small scene computed by hand, and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl.boxes import iou
from orl_explorer.orl.measure import quality
from orl_explorer.orl.measure.quality import (
    Measures,
    Mined,
    Objects,
    distinct,
    object_classes,
    with_labels,
    without_labels,
)
from tests.coco_recall import cocos_recall

BOXES = ("corloc", "ar_1", "ar_10", "ar_100", "mbo")


def hand_made() -> Mined:
    """Three photos of 100 x 50: 0 and 1 show a dog and a person, 2 nothing. Two RoIs, two, and one."""
    return Mined(
        sizes=np.array([[100, 50]] * 3),
        start=np.array([0, 2, 4, 5]),
        boxes=np.array([[0, 0, 50, 50], [50, 0, 50, 50], [0, 0, 50, 50], [60, 0, 40, 50], [0, 0, 100, 50]], np.int16),
        queries=np.arange(3),
        neighbors=np.array([[1], [0], [0]]),
        nearness=np.array([[0.99], [0.99], [0.25]], np.float32),
        query=np.array([0, 1, 2, 4]),  # dog-dog, person-person, dog-person, nothing-dog
        key=np.array([2, 3, 1, 0]),
        similarity=np.array([0.75, 0.5, 0.25, 0.0], np.float32),
        margin=np.array([0.5, 0.25, -0.25, np.nan], np.float32),
        cycle=np.array([1, 1, 0, 0], np.float32),
    )


def hand_made_objects() -> Objects:
    return Objects(
        start=np.array([0, 2, 5, 5]),
        boxes=np.array([[0, 0, 50, 50], [50, 0, 50, 50], [0, 0, 50, 50], [55, 0, 45, 50], [90, 45, 4, 4]], float),
        classes=np.array([0, 1, 0, 1, 0]),  # dog, person
        difficult=np.array([False, False, False, False, True]),
        crowd=np.zeros(5, bool),
        names=["dog", "person"],
    )


def test_what_the_pairs_themselves_tell() -> None:
    found = without_labels(hand_made())
    assert found["pairs_per_image"] == pytest.approx(4 / 3)
    assert found["cycle"] == 0.5
    assert found["similarity_p50"] == 0.375
    assert found["margin_p50"] == 0.25  # the RoI without a rival has no margin
    assert (found["image_most_chosen"], found["roi_most_chosen"]) == (2, 1)
    assert found["image_never_chosen"] == pytest.approx(1 / 3)
    assert (found["image_coverage"], found["roi_coverage"]) == (1.0, 1.0)
    # The gap from 50 to 60 of photo 1 is a tenth; its 3 of 32 columns with their centre there count.
    assert found["area_coverage"] == pytest.approx((3 * 32 - 3) / (3 * 32))
    assert found["near_duplicates"] == pytest.approx(2 / 3)


def test_a_sample_counts_its_queries_alone() -> None:
    every = hand_made()
    part = {"queries": np.array([0]), "neighbors": every.neighbors[:1], "nearness": every.nearness[:1]}
    pairs = {name: getattr(every, name)[:2] for name in ("query", "key", "similarity", "margin", "cycle")}
    found = without_labels(Mined(**every.__dict__ | part | pairs))
    assert (found["rois_per_image"], found["pairs_per_image"]) == (2.0, 2.0)
    assert (found["image_coverage"], found["roi_coverage"], found["area_coverage"]) == (1.0, 1.0, 1.0)
    objects = with_labels(Mined(**every.__dict__ | part | pairs), hand_made_objects())
    assert (objects["candidate_is_object"], objects["same_class"], objects["recall"]) == (1.0, 1.0, 1.0)


def test_what_nobody_measured_is_not_said() -> None:
    unknown = np.full(4, np.nan, np.float32)
    found = without_labels(Mined(**hand_made().__dict__ | {"margin": unknown, "cycle": unknown}))
    assert "cycle" not in found
    assert "margin_p50" not in found


def test_hubness_is_the_skewness_of_being_chosen() -> None:
    assert without_labels(hand_made())["image_hubness"] == pytest.approx(0.0)
    many = hand_made()
    hub = Mined(**{**many.__dict__, "neighbors": np.array([[1, 2], [0, 2], [0, 1]])})
    assert without_labels(hub)["image_hubness"] == 0.0  # all alike
    lone = Mined(**{**many.__dict__, "neighbors": np.array([[1], [0], [1]])})
    counts = np.array([1, 2, 0])
    assert without_labels(lone)["image_hubness"] == pytest.approx(((counts - 1.0) ** 3).mean())
    skewed = Mined(**{**many.__dict__, "neighbors": np.array([[1, 1], [1, 1], [1, 1]])})
    assert without_labels(skewed)["image_hubness"] == pytest.approx(1 / np.sqrt(2))  # 0, 6, 0


def test_what_annotations_tell() -> None:
    found = with_labels(hand_made(), hand_made_objects())
    assert found["candidate_is_object"] == pytest.approx(4 / 5)  # all but the whole photo 2
    assert found["query_is_object"] == 0.75
    assert found["key_is_object"] == 1.0
    assert found["same_class"] == 0.5
    assert found["same_class_no_person"] == 0.25
    # Photos 0 and 1 each are half dog, half person: a draw from both agrees in half of the cases; photo 2 never.
    assert found["same_class_chance"] == pytest.approx((0.5 + 0.5 + 0.5 + 0) / 4)
    assert found["same_class_no_person_chance"] == pytest.approx((0.25 + 0.25 + 0.25 + 0) / 4)
    assert found["query_is_object_chance"] == pytest.approx(3 / 4)
    assert found["recall"] == 1.0  # the difficult one does not count
    assert 0 < found["candidate_is_object_chance"] < found["candidate_is_object"]
    assert found == with_labels(hand_made(), hand_made_objects())


@pytest.mark.parametrize(
    ("roi", "part", "expected"),
    [
        ([0, 0, 10, 20], False, 7),  # IoU 0.5 exactly
        ([0, 0, 10, 21], True, 7),
        ([0, 0, 10, 19], False, -1),
        ([0, 0, 10, 19], True, 7),  # all of it inside
        ([14, 0, 20, 10], True, -1),  # 0.3 inside
        ([6, 0, 20, 20], True, 7),  # 0.7 inside
        ([2, 2, 3, 3], True, 9),  # inside both: the smaller one
        ([2, 2, 3, 3], False, -1),
    ],
)
def test_a_roi_is_the_object_it_overlaps_or_lies_in(roi: list[int], part: bool, expected: int) -> None:
    boxes, classes = np.array([[0, 0, 20, 20], [1, 1, 6, 6]], float), np.array([7, 9])
    assert object_classes(np.array([roi]), boxes, classes, part).tolist() == [expected]


def test_without_objects_or_rois_nothing_is_found() -> None:
    none = np.empty((0, 4))
    assert object_classes(np.array([[0, 0, 9, 9]]), none, np.empty(0, int)).tolist() == [-1]
    assert object_classes(none, np.array([[0, 0, 9, 9]]), np.array([1])).tolist() == []


def test_chance_and_shares_equal_plain_loops() -> None:
    rng = np.random.default_rng(3)
    images, rois, names = 6, [3, 1, 4, 2, 5, 2], ["a", "b", "person"]
    start = np.concatenate([[0], np.cumsum(rois)])
    boxes = np.concatenate([rng.integers(0, 40, (start[-1], 2)), rng.integers(15, 60, (start[-1], 2))], 1)
    counts = [2, 0, 3, 1, 2, 4]
    object_start = np.concatenate([[0], np.cumsum(counts)])
    object_boxes = np.concatenate([rng.integers(0, 40, (12, 2)), rng.integers(15, 60, (12, 2))], 1).astype(float)
    classes = rng.integers(0, 3, 12)
    query, key = rng.integers(0, start[-1], 40), rng.integers(0, start[-1], 40)
    mined = Mined(
        np.full((images, 2), 100), start, boxes.astype(np.int16), np.arange(images), np.zeros((images, 1), int),
        np.zeros((images, 1), np.float32), query, key, np.zeros(40, np.float32), np.zeros(40, np.float32),
        np.zeros(40, np.float32),
    )  # fmt: skip
    objects = Objects(object_start, object_boxes, classes, np.zeros(12, bool), np.zeros(12, bool), names)

    def label(roi: int) -> int:
        image = int(np.searchsorted(start, roi, side="right")) - 1
        best, found = 0.0, -1
        for g in range(object_start[image], object_start[image + 1]):
            overlap = float(iou(boxes[roi], object_boxes[g]))
            if overlap >= 0.5 and overlap > best:
                best, found = overlap, int(classes[g])
        return found

    labels = [label(r) for r in range(start[-1])]
    owner = mined.image_of
    agree, chance = 0, 0.0
    for q, k in zip(query, key, strict=True):
        agree += labels[q] >= 0 and labels[q] == labels[k]
        first = [labels[r] for r in range(start[-1]) if owner[r] == owner[q]]
        second = [labels[r] for r in range(start[-1]) if owner[r] == owner[k]]
        chance += np.mean([a >= 0 and a == b for a in first for b in second])
    found = with_labels(mined, objects)
    assert any(value >= 0 for value in labels)
    assert found["candidate_is_object"] == pytest.approx(np.mean([value >= 0 for value in labels]))
    assert found["same_class"] == pytest.approx(agree / 40)
    assert found["same_class_chance"] == pytest.approx(chance / 40)


def test_a_roi_that_nobody_chose_is_part_of_the_hubness_of_rois() -> None:
    found = without_labels(hand_made())
    # Chosen 1, 1, 1, 1, 0 times: mean 0.8, spread 0.4, mean cube (4 * 0.2 ** 3 - 0.8 ** 3) / 5 = -0.096.
    assert found["roi_hubness"] == pytest.approx(-0.096 / 0.4**3)
    assert found["rois_per_image"] == pytest.approx(5 / 3)


def test_quantiles_are_named_by_their_percentages() -> None:
    found = without_labels(hand_made())
    assert [name for name in found if name.startswith("similarity")] == [
        "similarity_p5", "similarity_p25", "similarity_p50", "similarity_p75", "similarity_p95"
    ]  # fmt: skip
    assert found["similarity_p75"] == pytest.approx(0.5625)  # a quarter of the way from 0.5 to 0.75


def test_photos_that_are_never_a_neighbour_are_counted() -> None:
    hub = Mined(**hand_made().__dict__ | {"neighbors": np.array([[1, 1], [1, 1], [1, 1]])})
    assert without_labels(hub)["image_never_chosen"] == pytest.approx(2 / 3)


def test_without_a_pair_all_that_pairs_share_is_0() -> None:
    nothing = {name: np.empty(0, np.float32) for name in ("similarity", "margin", "cycle")}
    nothing |= {name: np.empty(0, np.int64) for name in ("query", "key")}
    mined = Mined(**hand_made().__dict__ | nothing)
    found = without_labels(mined)
    assert "similarity_p50" not in found
    for name in ("pairs_per_image", "roi_most_chosen", "roi_hubness", "image_coverage", "area_coverage"):
        assert found[name] == 0, name
    labelled = with_labels(mined, hand_made_objects())
    for name in ("query_is_object", "same_class", "same_class_chance", "same_class_no_person_or_part"):
        assert labelled[name] == 0, name


def test_the_area_is_that_of_the_cells_whose_centre_is_covered() -> None:
    # 64 x 64 in 32 x 32 cells: their centres are at 1, 3, 5 …; the RoI reaches from 1 to 3 and from 5 to 9.
    one = {"sizes": np.array([[64, 64]]), "start": np.array([0, 1]), "boxes": np.array([[1, 5, 2, 4]], np.int16)}
    pair = {"queries": np.array([0]), "query": np.array([0]), "key": np.array([0])}
    found = without_labels(Mined(**hand_made().__dict__ | one | pair | {"neighbors": np.array([[0]])}))
    assert found["area_coverage"] == 1 * 2 / 32**2


def test_where_rois_and_objects_fill_their_photos_chance_finds_all_that_mining_found() -> None:
    photos = {
        "sizes": np.array([[2, 4]] * 4 + [[9, 9]]),  # the last has no RoI and no object
        "start": np.array([0, 1, 2, 3, 4, 4]),
        "boxes": np.array([[0, 0, 2, 4]] * 4, np.int16),
        "queries": np.arange(4),
        "query": np.array([0, 1]),
        "key": np.array([2, 3]),
    }
    objects = Objects(
        photos["start"], photos["boxes"].astype(float), np.array([0, 1, 0, 1]), *np.zeros((2, 4), bool), ["dog", "cat"]
    )
    found = with_labels(Mined(**hand_made().__dict__ | photos), objects)
    shares = ("candidate_is_object", "query_is_object", "key_is_object", "same_class", "same_class_no_person")
    names = {f"{share}{part}{chance}" for share in shares for part in ("", "_or_part") for chance in ("", "_chance")}
    names |= {f"{name}{chance}" for name in ("recall", *BOXES) for chance in ("", "_chance")}
    assert found.keys() == names
    assert found == pytest.approx(dict.fromkeys(found, 1.0))


def test_a_part_of_an_object_counts_where_parts_do_and_does_not_recall_it() -> None:
    boxes = hand_made().boxes.copy()
    boxes[1] = [50, 0, 20, 50]  # two fifths of the person of photo 0
    found = with_labels(Mined(**hand_made().__dict__ | {"boxes": boxes}), hand_made_objects())
    assert (found["candidate_is_object"], found["candidate_is_object_or_part"]) == pytest.approx((3 / 5, 4 / 5))
    assert (found["same_class"], found["same_class_or_part"]) == (0.25, 0.5)
    assert (found["same_class_no_person"], found["same_class_no_person_or_part"]) == (0.25, 0.25)
    assert found["recall"] == 0.75


def test_the_person_is_who_is_left_out_where_persons_are() -> None:
    pairs = {"query": np.array([0, 1, 1, 4]), "key": np.array([2, 3, 3, 0])}  # one of dogs, two of persons
    found = with_labels(Mined(**hand_made().__dict__ | pairs), hand_made_objects())
    assert (found["same_class"], found["same_class_no_person"]) == (0.75, 0.25)


def test_chance_is_the_same_in_however_many_blocks_it_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "BLOCK", 2)
    assert with_labels(hand_made(), hand_made_objects())["same_class_chance"] == pytest.approx(1.5 / 4)


def test_of_several_rois_each_is_judged_by_itself() -> None:
    boxes, classes = np.array([[0, 0, 20, 20], [1, 1, 6, 6]], float), np.array([7, 9])
    rois = np.array([[2, 2, 3, 3], [14, 0, 20, 10], [13, 0, 10, 2]])  # inside both, 0.3 inside, 14 of 20 inside
    assert object_classes(rois, boxes, classes, part=True).tolist() == [9, -1, 7]


def test_a_roi_that_is_an_object_is_no_part_of_another() -> None:
    boxes, classes = np.array([[1, 0, 10, 10], [0, 0, 100, 100]], float), np.array([0, 1])
    assert object_classes(np.array([[0, 0, 10, 10]]), boxes, classes, part=True).tolist() == [0]


# Boxes and objects, as published measures see them ------------------------------------------------------------


def test_boxes_are_measured_against_objects_as_published() -> None:
    objects = hand_made_objects()
    found = with_labels(hand_made(), objects)
    # Photo 0: both RoIs are objects exactly. Photo 1: the first is one; the second has an IoU of 40 / 45 with the
    # other, enough at 8 of the 10 thresholds. Photo 2 has no object. The difficult object of photo 1 is not counted.
    assert found["corloc"] == 1.0
    assert found["ar_1"] == pytest.approx(2 / 4)
    assert found["ar_10"] == found["ar_100"] == pytest.approx((3 + 0.8) / 4)
    assert found["mbo"] == pytest.approx((3 + 40 / 45) / 4)
    assert 0 < found["mbo_chance"] < found["mbo"]


def test_a_photo_whose_only_object_is_difficult_is_located_and_one_with_only_a_crowd_does_not_count() -> None:
    photos = {
        "sizes": np.array([[100, 50]] * 4),
        "start": np.array([0, 1, 2, 4, 5]),
        "boxes": np.array([[0, 0, 50, 50], [0, 0, 50, 50], [50, 0, 50, 50], [0, 0, 50, 50], [0, 0, 9, 9]], np.int16),
        "queries": np.array([0, 1, 2]),
        "neighbors": np.array([[1], [0], [0]]),
        "query": np.array([0]),
        "key": np.array([1]),
    }
    everywhere = np.array([[0, 0, 50, 50]] * 4, float)
    difficult, crowd = np.array([True, True, False, False]), np.array([False, True, False, False])
    objects = Objects(np.arange(5), everywhere, np.zeros(4, np.int64), difficult, crowd, ["dog"])
    found = with_labels(Mined(**hand_made().__dict__ | photos), objects)
    assert found["corloc"] == 0.5  # photo 0 is found, 2 by its second box alone; 1 has a crowd; 3 is no query
    assert (found["ar_1"], found["ar_10"], found["mbo"], found["recall"]) == (0.0, 1.0, 1.0, 1.0)  # of photo 2


def test_objects_are_taken_once_by_the_best_ranked_box() -> None:
    # Both boxes overlap the first object most. The second box takes the other object, where its IoU, 0.6, is enough.
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8]], np.int16)
    objects = np.array([[0, 0, 10, 10], [0, 2, 10, 8]], float)
    found = measured(np.array([0, 2]), boxes, np.array([0, 2]), objects)
    assert found["ar_1"] == pytest.approx(1 / 2)
    assert found["ar_10"] == pytest.approx((1 + 0.3) / 2)
    assert found["mbo"] == pytest.approx((1 + 0.8) / 2)


def measured(
    start: np.ndarray,
    boxes: np.ndarray,
    object_start: np.ndarray,
    objects: np.ndarray,
    ignored: np.ndarray | None = None,
) -> Measures:
    """Measure boxes of photos of 200 x 200."""
    images, nobody = len(start) - 1, np.zeros(len(objects), bool) if ignored is None else ignored
    nothing = {"query": np.array([0]), "key": np.array([0]), "neighbors": np.zeros((images, 1), int)}
    photos = {"sizes": np.full((images, 2), 200), "start": start, "boxes": boxes, "queries": np.arange(images)}
    classes = np.zeros(len(objects), np.int64)
    return with_labels(
        Mined(**hand_made().__dict__ | photos | nothing),
        Objects(object_start, objects, classes, nobody, nobody, ["dog"]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_average_recall_equals_that_of_cocos_evaluator(seed: int) -> None:
    pytest.importorskip("faster_coco_eval")
    rng = np.random.default_rng(seed)
    boxes_of, objects_of = rng.integers(0, 130, 40), rng.integers(0, 6, 40)
    start, object_start = (np.concatenate([[0], np.cumsum(counts)]) for counts in (boxes_of, objects_of))
    objects = random_boxes(rng, object_start[-1])
    boxes = random_boxes(rng, start[-1])
    near = rng.random(len(boxes)) < 0.5  # half of the boxes lie about an object of their photo, if there is one
    for i in range(40):
        if objects_of[i]:
            own = np.flatnonzero(near[start[i] : start[i + 1]]) + start[i]
            chosen = objects[rng.integers(object_start[i], object_start[i + 1], len(own))]
            boxes[own] = np.maximum(chosen + rng.integers(-8, 9, chosen.shape), [0, 0, 1, 1])
    crowd = rng.random(len(objects)) < 0.2
    found = measured(start, boxes.astype(np.int16), object_start, objects.astype(float), crowd)
    theirs = cocos_recall(start, boxes, object_start, objects, crowd)
    assert (found["ar_1"], found["ar_10"], found["ar_100"]) == pytest.approx(theirs, abs=1e-12)
    assert 0 < found["ar_1"] < found["ar_10"] < found["ar_100"] < 1


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([rng.integers(0, 120, (count, 2)), rng.integers(1, 80, (count, 2))], axis=1)


# Distinct pairs ----------------------------------------------------------------------------------------------


def test_pairs_of_two_photos_that_overlap_at_both_ends_count_once() -> None:
    # Photo 0 has RoIs 0 to 3, photo 1 has 4 to 6. 0 and 1 overlap by 0.8, 0 and 3 by 0.5; 4 and 5 by 0.6.
    rois = [[0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 9, 9], [0, 0, 10, 5], [0, 0, 10, 10], [0, 4, 10, 6], [60, 60, 9, 9]]
    photos = {
        "sizes": np.full((2, 2), 100),
        "start": np.array([0, 4, 7]),
        "boxes": np.array(rois, np.int16),
        "queries": np.arange(2),
        "neighbors": np.array([[1], [0]]),
        # new, the same at both ends, another key, exactly half, another query, then from the other photo: new
        "query": np.array([0, 1, 1, 3, 2, 4]),
        "key": np.array([4, 5, 6, 4, 5, 0]),
    }
    mined = Mined(**hand_made().__dict__ | photos)
    assert distinct(mined).tolist() == [True, False, True, True, True, True]
    assert without_labels(mined)["distinct_pairs_per_image"] == 2.5
    assert distinct(mined, most=0.4).tolist() == [True, False, True, False, True, True]
    assert distinct(mined, most=1.0).all()


def test_distinct_pairs_equal_a_plain_loop_in_however_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    start = np.arange(0, 61, 10)
    boxes = random_boxes(rng, 60).astype(np.int16) // [4, 4, 1, 1]
    sizes = rng.integers(0, 30, 30)
    two = np.array([(i, j) for i in range(6) for j in range(6) if i != j])
    ends = [rng.permuted(np.stack(np.divmod(np.arange(100), 10), 1), axis=0)[:n] for n in sizes]
    pairs = np.concatenate([start[two[i]] + some for i, some in enumerate(ends)])
    photos = {"sizes": np.full((6, 2), 200), "start": start, "boxes": boxes, "query": pairs[:, 0], "key": pairs[:, 1]}
    mined = Mined(**hand_made().__dict__ | photos)
    expected: list[bool] = []
    for n, (q, k) in enumerate(pairs):
        same = [m for m in range(n) if expected[m] and (pairs[m] // 10 == pairs[n] // 10).all()]
        expected.append(
            not any(iou(boxes[q], boxes[pairs[m, 0]]) > 0.5 and iou(boxes[k], boxes[pairs[m, 1]]) > 0.5 for m in same)
        )
    assert 0.3 < np.mean(expected) < 0.95
    assert distinct(mined).tolist() == expected
    monkeypatch.setattr(quality, "TOGETHER", 50)
    assert distinct(mined).tolist() == expected
