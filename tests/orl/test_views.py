"""Random views: the paper's constants and probabilities, and their independence of earlier draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orl_explorer.orl import views
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.moco import MoCo
from orl_explorer.orl.multicrop import MultiCropBYOL
from orl_explorer.orl.orl_loss import ORL
from orl_explorer.orl.simclr import SimCLR
from orl_explorer.orl.views import PIPELINES, Pipeline, draw_changes, epoch_order, random_crop, view_generator

DRAWS = 1000


def test_the_constants_are_the_papers() -> None:
    first, second = PIPELINES
    assert (first.blur, first.solarize) == (1.0, 0.0)
    assert (second.blur, second.solarize) == (0.1, 0.2)
    for pipeline in PIPELINES:
        assert pipeline.jitter == (0.4, 0.4, 0.2, 0.1)
        assert pipeline.scale == (0.08, 1.0)
    assert (views.FLIP, views.JITTER, views.GRAY) == (0.5, 0.8, 0.2)
    assert views.SIGMA == (0.1, 2.0)
    assert views.RATIO == (0.75, 4 / 3)


def test_each_method_has_views_of_its_own() -> None:
    for method in (BYOL, ORL):
        two = method("resnet18", 8, 8).views(224)
        assert [(v.name, v.size) for v in two] == [("image_1", 224), ("image_2", 224)]
        assert [v.pipeline for v in two] == list(PIPELINES)
    simclr, moco = SimCLR("resnet18", 8, 8).views(224), MoCo("resnet18", 8, 8).views(224)
    for two in (simclr, moco):
        assert [(v.name, v.size) for v in two] == [("image_1", 224), ("image_2", 224)]
    for view in simclr:
        assert view.pipeline == Pipeline(blur=0.5, solarize=0.0, jitter=(0.8, 0.8, 0.8, 0.2), scale=(0.08, 1.0))
    for view in moco:
        assert view.pipeline == Pipeline(blur=0.5, solarize=0.0, jitter=(0.4, 0.4, 0.4, 0.1), scale=(0.2, 1.0))
    crops = MultiCropBYOL("resnet18", 8, 8, local_size=96, local_crops=4).views(224)
    assert [v.name for v in crops] == ["image_1", "image_2", "local_1", "local_2", "local_3", "local_4"]
    assert [v.size for v in crops] == [224, 224, 96, 96, 96, 96]
    assert [v.pipeline.scale for v in crops] == [(0.14, 1.0)] * 2 + [(0.05, 0.14)] * 4
    assert [v.pipeline.blur for v in crops] == [1.0, 0.1] + [0.5] * 4
    fewer = MultiCropBYOL("resnet18", 8, 8, local_size=64, local_crops=1).views(160)
    assert [(v.name, v.size) for v in fewer] == [("image_1", 160), ("image_2", 160), ("local_1", 64)]


def test_the_blur_of_a_smaller_view_is_scaled_and_nothing_else() -> None:
    whole, scaled = (draw_changes(PIPELINES[0], np.random.default_rng(4), *factor) for factor in ((), (0.25,)))
    assert 0.1 <= whole.sigma <= 2.0
    assert scaled == replace(whole, sigma=whole.sigma / 4)


@pytest.mark.parametrize(("pipeline", "blur", "solarize"), [(0, 1.0, 0.0), (1, 0.1, 0.2)])
def test_each_change_comes_as_often_as_it_should_and_as_strong(pipeline: int, blur: float, solarize: float) -> None:
    drawn = [draw_changes(PIPELINES[pipeline], np.random.default_rng(seed)) for seed in range(DRAWS)]
    counts = {
        "flip": sum(c.flip for c in drawn),
        "solarize": sum(c.solarize for c in drawn),
        "grey": sum(c.gray for c in drawn),
        "jitter": sum(c.brightness != 1 for c in drawn),
        "blur": sum(c.sigma > 0 for c in drawn),
    }
    expected = {"flip": 0.5, "solarize": solarize, "grey": 0.2, "jitter": 0.8, "blur": blur}
    for name, share in expected.items():
        allowed = 4 * math.sqrt(DRAWS * share * (1 - share))  # none where it comes always or never
        assert abs(counts[name] - DRAWS * share) <= allowed, name
    jittered = [c for c in drawn if c.brightness != 1]
    for name, least, most in [
        ("brightness", 0.6, 1.4),
        ("contrast", 0.6, 1.4),
        ("saturation", 0.8, 1.2),
        ("hue", -0.1, 0.1),
    ]:
        values = [getattr(c, name) for c in jittered]
        assert least <= min(values) < least + 0.02 * (most - least), name
        assert most - 0.02 * (most - least) < max(values) <= most, name
    assert {c.order for c in jittered} == set(range(24))
    sigmas = [c.sigma for c in drawn if c.sigma]
    assert min(sigmas) >= 0.1
    assert max(sigmas) <= 2.0


def test_what_is_drawn_depends_on_four_numbers_and_nothing_drawn_before() -> None:
    def view(*numbers: int) -> tuple:
        generator = view_generator(*numbers)
        return random_crop(600, 400, generator, (0.08, 1.0)), draw_changes(PIPELINES[0], generator)

    first = view(1, 2, 3, 0)
    np.random.default_rng().normal(size=10)
    others = [view(2, 2, 3, 0), view(1, 3, 3, 0), view(1, 2, 4, 0), view(1, 2, 3, 1)]
    assert view(1, 2, 3, 0) == first
    assert first not in others


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 2**32))
def test_a_random_crop_lies_inside_the_image(width: int, height: int, seed: int) -> None:
    x, y, w, h = random_crop(width, height, np.random.default_rng(seed), (0.08, 1.0))
    assert x >= 0
    assert y >= 0
    assert w >= 1
    assert h >= 1
    assert x + w <= width
    assert y + h <= height


@given(st.integers(0, 2**32))
def test_a_random_crop_keeps_to_its_range_of_areas_and_aspects(seed: int) -> None:
    _, _, w, h = random_crop(600, 500, np.random.default_rng(seed), (0.08, 1.0))
    assert 0.079 <= w * h / (600 * 500) <= 1.0
    assert 0.74 <= w / h <= 1.35


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1000, 30, (480, 0, 40, 30)),
        (30, 1000, (0, 480, 30, 40)),
        (1001, 30, (480, 0, 40, 30)),
        (30, 1001, (0, 480, 30, 40)),
    ],
)
def test_where_no_crop_fits_the_centre_is_taken(width: int, height: int, expected: tuple[int, ...]) -> None:
    wanted = (0.9, 1.0)  # of so long a picture no allowed aspect covers as much
    assert random_crop(width, height, np.random.default_rng(0), scale=wanted) == expected


def test_the_order_of_an_epoch_is_a_permutation_of_its_own() -> None:
    assert sorted(epoch_order(0, 0, 20).tolist()) == list(range(20))
    assert epoch_order(0, 0, 20).tolist() == epoch_order(0, 0, 20).tolist()
    assert epoch_order(0, 0, 20).tolist() != epoch_order(0, 1, 20).tolist()
    assert epoch_order(0, 0, 20).tolist() != epoch_order(1, 0, 20).tolist()


def test_what_is_not_jittered_keeps_its_colours() -> None:
    drawn = [draw_changes(PIPELINES[0], np.random.default_rng(seed)) for seed in range(100)]
    plain = {(c.brightness, c.contrast, c.saturation, c.hue) for c in drawn if c.brightness == 1}
    assert plain == {(1.0, 1.0, 1.0, 0.0)}


class Dice:
    """A generator with given draws: fractions for areas and aspects, integers for places."""

    def __init__(self, fractions: list[float], places: list[int]) -> None:
        self.fractions, self.places = fractions, places
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, low: float, high: float) -> float:
        self.ranges.append((low, high))
        return self.fractions.pop(0)

    def integers(self, low: int, high: int | None = None) -> int:
        self.ranges.append((0, low) if high is None else (low, high))
        return self.places.pop(0)


def cropped(width: int, height: int, dice: Dice) -> tuple[int, int, int, int]:
    return random_crop(width, height, dice, (0.08, 1.0))  # type: ignore[arg-type]


def test_a_random_crop_has_the_area_the_aspect_and_the_place_that_were_drawn() -> None:
    dice = Dice([0.4, math.log(200 / 180)], [37, 11])
    assert cropped(400, 225, dice) == (37, 11, 200, 180)  # 0.4 * 90000 = 200 * 180
    assert dice.ranges == [(0.08, 1.0), (math.log(3 / 4), math.log(4 / 3)), (0, 201), (0, 46)]


def test_a_random_crop_may_be_the_whole_image() -> None:
    assert cropped(400, 300, Dice([1.0, math.log(4 / 3)], [0, 0])) == (0, 0, 400, 300)


def test_a_random_crop_may_be_one_pixel_and_not_less() -> None:
    assert cropped(2, 2, Dice([0.25, 0.0], [1, 1])) == (1, 1, 1, 1)
    for seed in range(100):
        assert random_crop(1, 1, np.random.default_rng(seed), (0.08, 1.0)) == (0, 0, 1, 1)


def test_after_ten_crops_that_do_not_fit_the_centre_is_taken() -> None:
    too_wide, good = [1.0, math.log(4 / 3)], [0.25, 0.0]  # 115 x 87 and 50 x 50 of 100 x 100
    assert cropped(100, 100, Dice(too_wide * 9 + good, [7, 8])) == (7, 8, 50, 50)
    assert cropped(100, 100, Dice(too_wide * 10 + good, [7, 8])) == (0, 0, 100, 100)
