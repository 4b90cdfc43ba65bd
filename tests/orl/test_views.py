"""Random views: the constants of the paper, their probabilities, and that nothing depends on the past."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from orl import views
from orl.views import PIPELINES, augment, epoch_order, random_crop, resized_crop, view_generator

DRAWS = 1000


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return Image.fromarray(pixels)


def test_the_constants_are_the_papers() -> None:
    first, second = PIPELINES
    assert (first.blur, first.solarize) == (1.0, 0.0)
    assert (second.blur, second.solarize) == (0.1, 0.2)
    assert (views.FLIP, views.JITTER, views.GRAY) == (0.5, 0.8, 0.2)
    assert (views.BRIGHTNESS, views.CONTRAST, views.SATURATION, views.HUE) == (0.4, 0.4, 0.2, 0.1)
    assert views.SIGMA == (0.1, 2.0)
    assert views.SOLARIZE_FROM == 128
    assert views.SCALE == (0.08, 1.0)
    assert views.RATIO == (0.75, 4 / 3)
    assert views.IMAGENET == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(("pipeline", "blur", "solarize"), [(0, 1.0, 0.0), (1, 0.1, 0.2)])
def test_each_change_comes_as_often_as_it_should(
    pipeline: int, blur: float, solarize: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = dict.fromkeys(("mirror", "solarize", "grey", "jitter", "blur"), 0)

    def counted(name: str):  # type: ignore[no-untyped-def]
        def change(image: Image.Image, *_: object, **__: object) -> Image.Image:
            counts[name] += 1
            return image

        return change

    real_blur = views.ImageFilter.GaussianBlur

    def blurred(sigma: float) -> object:
        assert 0.1 <= sigma <= 2.0
        counts["blur"] += 1
        return real_blur(0)

    monkeypatch.setattr(views.ImageOps, "mirror", counted("mirror"))
    monkeypatch.setattr(views.ImageOps, "solarize", counted("solarize"))
    monkeypatch.setattr(views.F, "to_grayscale", counted("grey"))
    monkeypatch.setattr(views, "_jitter_colour", counted("jitter"))
    monkeypatch.setattr(views.ImageFilter, "GaussianBlur", blurred)
    for seed in range(DRAWS):
        augment(Image.new("RGB", (2, 2)), PIPELINES[pipeline], np.random.default_rng(seed))
    expected = {"mirror": 0.5, "solarize": solarize, "grey": 0.2, "jitter": 0.8, "blur": blur}
    for name, share in expected.items():
        allowed = 4 * math.sqrt(DRAWS * share * (1 - share))  # none where it comes always or never
        assert abs(counts[name] - DRAWS * share) <= allowed, name


def test_a_view_is_normalised_with_imagenets_mean_and_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLIP", "JITTER", "GRAY"):
        monkeypatch.setattr(views, name, 0.0)
    plain = augment(Image.new("RGB", (3, 2), (255, 0, 51)), views.Pipeline(0, 0), np.random.default_rng(0))
    assert tuple(plain.shape) == (3, 2, 3)
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(plain[:, 0, 0], expected)


def test_a_view_depends_on_its_four_numbers_and_nothing_drawn_before(picture: Image.Image) -> None:
    def view(*numbers: int) -> torch.Tensor:
        generator = view_generator(*numbers)
        crop = resized_crop(picture, random_crop(60, 40, generator), 16)
        return augment(crop, PIPELINES[0], generator)

    first = view(1, 2, 3, 0)
    np.random.default_rng().normal(size=10)
    torch.rand(5)
    others = [view(2, 2, 3, 0), view(1, 3, 3, 0), view(1, 2, 4, 0), view(1, 2, 3, 1)]
    assert torch.equal(view(1, 2, 3, 0), first)
    assert not any(torch.equal(first, other) for other in others)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 2**32))
def test_a_random_crop_lies_inside_the_image(width: int, height: int, seed: int) -> None:
    x, y, w, h = random_crop(width, height, np.random.default_rng(seed))
    assert x >= 0
    assert y >= 0
    assert w >= 1
    assert h >= 1
    assert x + w <= width
    assert y + h <= height


@given(st.integers(0, 2**32))
def test_a_random_crop_keeps_to_its_range_of_areas_and_aspects(seed: int) -> None:
    _, _, w, h = random_crop(600, 500, np.random.default_rng(seed))
    assert 0.079 <= w * h / (600 * 500) <= 1.0
    assert 0.74 <= w / h <= 1.35


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1000, 30, (480, 0, 40, 30)), (30, 1000, (0, 480, 30, 40))],
)
def test_where_no_crop_fits_the_centre_is_taken(width: int, height: int, expected: tuple[int, ...]) -> None:
    wanted = (0.9, 1.0)  # of so long a picture no allowed aspect covers as much
    assert random_crop(width, height, np.random.default_rng(0), scale=wanted) == expected


def test_a_crop_is_squashed_to_the_size_of_the_view() -> None:
    picture = Image.new("RGB", (40, 20))
    picture.paste((255, 0, 0), (10, 5, 30, 10))
    crop = np.asarray(resized_crop(picture, (10, 5, 20, 5), 8))
    assert crop.shape == (8, 8, 3)
    assert (crop == (255, 0, 0)).all()  # nothing from outside the box bleeds in


def test_the_order_of_an_epoch_is_a_permutation_of_its_own() -> None:
    assert sorted(epoch_order(0, 0, 20).tolist()) == list(range(20))
    assert epoch_order(0, 0, 20).tolist() == epoch_order(0, 0, 20).tolist()
    assert epoch_order(0, 0, 20).tolist() != epoch_order(0, 1, 20).tolist()
    assert epoch_order(0, 0, 20).tolist() != epoch_order(1, 0, 20).tolist()
