"""Quality of a set, on a small scene computed by hand, and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl.boxes import iou
from orl_explorer.orl.measure import quality
from orl_explorer.orl.measure.quality import Mined, Objects, object_classes, with_labels, without_labels


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
    objects = Objects(object_start, object_boxes, classes, np.zeros(12, bool), names)

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
        photos["start"], photos["boxes"].astype(float), np.array([0, 1, 0, 1]), np.zeros(4, bool), ["dog", "cat"]
    )
    found = with_labels(Mined(**hand_made().__dict__ | photos), objects)
    shares = ("candidate_is_object", "query_is_object", "key_is_object", "same_class", "same_class_no_person")
    names = {f"{share}{part}{chance}" for share in shares for part in ("", "_or_part") for chance in ("", "_chance")}
    assert found.keys() == names | {"recall", "recall_chance"}
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
