"""Augmentation of pixels against torchvision's transforms, one view at a time and in a batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from skimage import data
from torchvision.transforms import functional as TF

from orl_explorer.orl.augment import ORDERS, as_row, augment, augment_batch, normalise
from orl_explorer.orl.views import PIPELINES, Changes, draw_changes

NOTHING = Changes(False, 0, 1.0, 1.0, 1.0, 0.0, False, 0.0, False)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[40:232, 120:312])


def by_torchvision(pixels: np.ndarray, changes: Changes) -> np.ndarray:
    """Augment with Pillow and torchvision, without blur."""
    image = Image.fromarray(pixels)
    if changes.flip:
        image = ImageOps.mirror(image)
    parts = (
        (TF.adjust_brightness, changes.brightness),
        (TF.adjust_contrast, changes.contrast),
        (TF.adjust_saturation, changes.saturation),
        (TF.adjust_hue, changes.hue),
    )
    for part in ORDERS[changes.order]:
        change, amount = parts[part]
        if amount != (0 if part == 3 else 1):  # the way to HSV and back alone changes pixels
            image = change(image, amount)
    if changes.gray:
        image = TF.to_grayscale(image, num_output_channels=3)
    if changes.solarize:
        image = ImageOps.solarize(image, 128)
    return np.asarray(image)


def in_batch(pixels: np.ndarray, *changes: Changes) -> np.ndarray:
    batch = torch.from_numpy(np.stack([pixels] * len(changes)))
    return augment_batch(batch, torch.from_numpy(np.stack([as_row(c) for c in changes]))).numpy()


@pytest.mark.parametrize(
    ("changes", "mean", "most"),
    [
        (NOTHING, 0, 0),
        (replace(NOTHING, flip=True), 0, 0),
        (replace(NOTHING, brightness=1.3), 0, 0),
        (replace(NOTHING, contrast=0.7), 0.5, 1),
        (replace(NOTHING, saturation=1.2), 0.7, 2),
        (replace(NOTHING, hue=-0.08), 1.0, 5),
        (replace(NOTHING, gray=True), 0.1, 1),
        (replace(NOTHING, solarize=True), 0, 0),
        (replace(NOTHING, order=17, brightness=1.2, contrast=0.8, saturation=0.9, hue=0.05, flip=True), 1.5, 8),
    ],
)
def test_each_change_is_torchvisions(pixels: np.ndarray, changes: Changes, mean: float, most: int) -> None:
    apart = np.abs(augment(pixels, changes).astype(int) - by_torchvision(pixels, changes))
    assert apart.mean() <= mean
    assert np.percentile(apart, 99.5) <= most


def test_the_blur_is_a_gaussian_of_its_sigma() -> None:
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    blurred = augment(point, replace(NOTHING, sigma=1.5))[..., 0].astype(float)
    x = np.arange(-5, 6)
    line = np.exp(-0.5 * (x / 1.5) ** 2)
    line /= line.sum()
    expected = np.zeros((41, 41))
    expected[15:26, 15:26] = 255 * np.outer(line, line)
    assert np.abs(blurred - expected).max() <= 1


def test_a_batch_gets_what_each_view_would_get_alone(pixels: np.ndarray) -> None:
    drawn = [draw_changes(PIPELINES[i % 2], np.random.default_rng(i)) for i in range(64)]
    # One level across the threshold of solarising is the whole range apart: it is tried alone.
    drawn = [replace(c, solarize=False) for c in drawn] + [replace(NOTHING, solarize=True)]
    for changes, together in zip(drawn, in_batch(pixels, *drawn), strict=True):
        apart = np.abs(augment(pixels, changes).astype(int) - together)
        assert apart.mean() < 0.3, changes
        assert np.percentile(apart, 99.5) <= 3, changes


def test_the_widest_blur_of_a_large_view_is_whole_in_a_batch_too() -> None:
    point = np.zeros((448, 448, 3), np.uint8)
    point[200:248, 200:248] = 255
    wide = replace(NOTHING, sigma=4.0)  # 2 px in a view of 224 px
    [together] = in_batch(point, wide)
    assert np.abs(augment(point, wide).astype(int) - together).max() <= 2


@pytest.mark.parametrize("side", [4, 6, 7])
def test_views_of_few_pixels_can_be_blurred_in_a_batch(side: int) -> None:
    found = in_batch(np.full((side, side, 3), 9, np.uint8), replace(NOTHING, sigma=2.0))
    assert found.tolist() == [[[[9] * 3] * side] * side]


def test_the_pixels_given_stay_as_they_are(pixels: np.ndarray) -> None:
    before = pixels.copy()
    augment(pixels, draw_changes(PIPELINES[0], np.random.default_rng(3)))
    assert (pixels == before).all()


def test_a_view_is_normalised_with_a_mean_and_a_deviation() -> None:
    plain = np.zeros((1, 2, 3, 3), np.uint8)
    plain[:] = (255, 0, 51)
    views = normalise(torch.from_numpy(plain), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert tuple(views.shape) == (1, 3, 2, 3)
    assert views.is_contiguous(memory_format=torch.channels_last)
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(views[0, :, 0, 0], expected)


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        (NOTHING, 0),
        (replace(NOTHING, brightness=1.3), 0),
        (replace(NOTHING, contrast=0.7), 1),
        (replace(NOTHING, saturation=1.2), 1),
    ],
)
def test_a_batch_whose_hues_stay_gets_its_other_changes(pixels: np.ndarray, changes: Changes, most: int) -> None:
    found = in_batch(pixels, changes)
    assert found.dtype == np.uint8
    assert np.abs(found[0].astype(int) - augment(pixels, changes)).max() <= most


def test_solarising_begins_at_128() -> None:
    levels = np.array([[[0] * 3, [127] * 3, [128] * 3, [255] * 3]], np.uint8)
    expected = [[[0] * 3, [127] * 3, [127] * 3, [0] * 3]]
    assert augment(levels, replace(NOTHING, solarize=True)).tolist() == expected
    assert in_batch(levels, replace(NOTHING, solarize=True))[0].tolist() == expected


def test_half_a_turn_of_the_hue_is_127_of_256() -> None:
    colours = np.array(
        [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90], [50, 200, 100], [100, 50, 200]]], np.uint8
    )
    # Red goes 127/256 of the circle: 2.977 of its six parts, so green is whole and blue 0.977 of it. The two mixtures
    # are at 2 1/3 and 4 1/3 parts and come to 5.31 and 1.31: 50 + 150 * 0.69 = 154 of the third colour.
    turned = [[0, 255, 249], [249, 0, 255], [255, 249, 0], [90, 90, 90], [200, 50, 154], [154, 200, 50]]
    assert in_batch(colours, replace(NOTHING, hue=0.5))[0, 0].tolist() == turned
    # Bytes of hue alone are coarser.
    assert np.abs(augment(colours[:, :4], replace(NOTHING, hue=0.5))[0].astype(int) - turned[:4]).max() <= 3


def test_what_comes_back_can_be_written_to_whatever_was_given(pixels: np.ndarray) -> None:
    given = pixels[:, ::2]
    given.setflags(write=False)
    found = augment(given, NOTHING)
    assert found.flags.writeable
    assert found.flags.c_contiguous
