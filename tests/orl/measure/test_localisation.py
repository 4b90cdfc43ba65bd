"""Attention maps against annotated objects, on small maps counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl.measure.localisation import Localisation, as_measures, average, centre_prior, localisation, union

EVERYWHERE = np.ones((2, 5), bool)
# Mean 3.0: above it are 4, 9, 5 and 7. The top fifth of ten pixels are 9 and 7.
HEAT = np.array([[0.0, 1.0, 4.0, 9.0, 0.0], [0.0, 2.0, 5.0, 7.0, 2.0]])
OBJECT = np.array([[0, 0, 0, 1, 1], [0, 0, 1, 1, 1]], bool)


def test_what_lies_above_the_mean_is_compared_with_the_objects_and_with_chance() -> None:
    found = localisation(HEAT, OBJECT, EVERYWHERE)
    assert found.mean_iou == pytest.approx(3 / 6)  # 9, 5 and 7 on the object; 4 beside it; two of the object missed
    assert found.mean_iou_chance == pytest.approx(0.4 * 0.5 / (0.4 + 0.5 - 0.2))


def test_the_highest_fifth_is_compared_likewise() -> None:
    found = localisation(HEAT, OBJECT, EVERYWHERE)
    assert found.top_iou == pytest.approx(2 / 5)
    assert found.top_iou_chance == pytest.approx(0.2 * 0.5 / (0.2 + 0.5 - 0.1))


def test_the_chance_level_is_what_random_pixels_come_to() -> None:
    generator = np.random.default_rng(0)
    heat, truth = generator.random((400, 400)), np.zeros((400, 400), bool)
    truth[100:300, 50:150] = True  # an eighth
    found = localisation(heat, truth, np.ones_like(truth))
    assert found.mean_iou == pytest.approx(found.mean_iou_chance, abs=0.003)
    assert found.top_iou == pytest.approx(0.2 * 0.125 / (0.2 + 0.125 - 0.025), abs=0.003)
    assert found.pointing_chance == 0.125


@pytest.mark.parametrize(("object_at", "hit"), [((0, 3), 1.0), ((1, 3), 0.0)])
def test_the_maximum_is_on_an_object_or_not(object_at: tuple[int, int], hit: float) -> None:
    truth = np.zeros((2, 5), bool)
    truth[object_at] = True
    assert localisation(HEAT, truth, EVERYWHERE).pointing == hit
    assert localisation(HEAT, truth, EVERYWHERE).pointing_chance == pytest.approx(0.1)


def test_a_map_that_is_the_same_everywhere_points_no_better_than_chance() -> None:
    found = localisation(np.full((2, 5), 0.25), OBJECT, EVERYWHERE)
    assert found.pointing == found.pointing_chance == 0.5
    assert found.mean_iou == 0  # nothing lies above the mean


def test_pixels_that_nobody_was_sure_of_count_neither_way() -> None:
    counted = EVERYWHERE.copy()
    counted[0, 3] = counted[0, 4] = False  # the maximum, and one pixel that no map found
    found = localisation(HEAT, OBJECT, counted)
    assert found.pointing == 1  # now 7
    assert found.mean_iou == pytest.approx(2 / 4)  # mean 2.625: 4, 5 and 7, of which 5 and 7 are on the object of three
    assert found.pointing_chance == pytest.approx(3 / 8)


def test_a_photo_without_an_object_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="no pixel that counts"):
        localisation(HEAT, np.zeros((2, 5), bool), EVERYWHERE)
    with pytest.raises(ValueError, match="no photo"):
        average([])


def test_a_pixel_belongs_to_a_box_when_its_centre_does() -> None:
    # A photo of 8 x 4 as a mask of 4 x 2: pixel centres at x = 1, 3, 5, 7 and y = 1, 3.
    boxes = np.array([[0.0, 0.0, 3.0, 2.0], [5.0, 1.5, 3.0, 2.0]])
    assert union(boxes, 8, 4, (4, 2)).astype(int).tolist() == [[1, 0, 0, 0], [0, 0, 1, 1]]
    assert union(np.empty((0, 4)), 8, 4, (4, 2)).any() == np.False_


def test_photos_weigh_the_same() -> None:
    found = average([Localisation(0.2, 0.1, 0.4, 0.2, 1.0, 0.3), Localisation(0.4, 0.3, 0.0, 0.0, 0.0, 0.1)])
    assert as_measures(found, "a_") == pytest.approx(
        {
            "a_mean_iou": 0.3,
            "a_mean_iou_chance": 0.2,
            "a_top_iou": 0.2,
            "a_top_iou_chance": 0.1,
            "a_pointing": 0.5,
            "a_pointing_chance": 0.2,
        }
    )


def test_the_centre_prior_is_highest_in_the_middle_and_falls_to_the_corners() -> None:
    prior = centre_prior()
    assert prior.shape == (64, 64)
    assert prior[31:33, 31:33].min() == prior.max()
    assert prior[0, 0] == prior[-1, -1] == 0
    np.testing.assert_array_equal(prior, prior[::-1, ::-1])


def test_of_few_pixels_the_highest_fifth_is_one() -> None:
    found = localisation(
        np.array([[1.0, 4.0, 2.0, 3.0, 0.0]]), np.array([[0, 1, 0, 0, 0]], bool), np.ones((1, 5), bool)
    )
    assert found.top_iou == 1


def test_three_boxes_have_one_union_and_what_lies_on_their_lower_edge_is_not_in_it() -> None:
    # A photo of 4 x 6 as a mask of 2 x 3: pixel centres at x = 1, 3 and y = 1, 3, 5.
    boxes = np.array([[2.0, 3.0, 2.0, 2.0], [2.0, 4.0, 2.0, 2.0], [0.0, 1.0, 2.0, 2.0]])
    assert union(boxes, 4, 6, (2, 3)).astype(int).tolist() == [[1, 0], [0, 1], [0, 1]]


def test_measures_have_the_names_of_the_numbers() -> None:
    found = as_measures(Localisation(0.2, 0.1, 0.4, 0.3, 1.0, 0.5))
    assert found["mean_iou"] == 0.2
    assert found["pointing_chance"] == 0.5
