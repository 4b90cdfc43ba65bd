"""The compiled search finds OpenCV's boxes, in OpenCV's order."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orl_explorer.orl.boxes import each_once
from orl_explorer.orl.selective_search.opencv import search_by_opencv
from orl_explorer.orl.selective_search.search import search


def noise(height: int, width: int) -> np.ndarray:
    """Clouds of colour."""
    random = np.random.default_rng(0)
    clouds = cv2.GaussianBlur(random.integers(0, 255, (200, 300, 3), np.uint8), (0, 0), 4)
    return cv2.normalize(clouds, None, 0, 255, cv2.NORM_MINMAX)[:height, :width].copy()


def board() -> np.ndarray:
    """A checkerboard. All of its edges weigh the same, and so do all pairs of its squares."""
    return np.dstack([np.kron(np.indices((10, 15)).sum(0) % 2 * 255, np.ones((20, 20))).astype(np.uint8)] * 3)


def text() -> np.ndarray:
    picture = np.full((240, 320, 3), 255, np.uint8)
    for i in range(7):
        cv2.putText(picture, "ORL mining", (5, 25 + 30 * i), 0, 0.9, (0, 0, 30 * i), 2)
    return picture


def shapes() -> np.ndarray:
    picture = np.zeros((240, 320, 3), np.uint8)
    for i in range(12):
        cv2.rectangle(picture, (20 * i, 15 * i), (20 * i + 40, 15 * i + 30), (40 * i % 255, 255 - 20 * i, 10 * i), -1)
    return picture


def framed() -> np.ndarray:
    picture = np.zeros((250, 330, 3), np.uint8)
    picture[30:230, 15:315] = noise(200, 300)
    return picture


PICTURES = {
    "noise": noise(200, 300),
    "every pixel another colour": np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8),
    "grey": np.dstack([noise(200, 300)[..., 0]] * 3),
    "checkerboard": board(),
    "text": text(),
    "shapes": shapes(),
    "black border": framed(),
    "flat": np.full((100, 150, 3), 77, np.uint8),
    "1 x 1": noise(1, 1),
    "1 x 200": noise(1, 200),
    "200 x 1": noise(200, 1),
    "4 x 200": noise(4, 200),
    "15 x 20": noise(15, 20),
    "131 x 177": noise(131, 177),
}


def both(bgr: np.ndarray, seed: int, min_size: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return the boxes of both searches, by rank, each once."""
    found = search(bgr, seed, min_size), search_by_opencv(bgr, seed, min_size)
    ours, theirs = (each_once(boxes.astype(np.int16)).tolist() for boxes in found)
    return ours, theirs


@pytest.mark.parametrize("min_size", [100, 25])
@pytest.mark.parametrize("name", PICTURES)
def test_a_drawn_picture_has_the_same_boxes_in_the_same_order(name: str, min_size: int) -> None:
    ours, theirs = both(PICTURES[name], 7, min_size)
    assert ours == theirs
    assert ours


def test_what_equal_numbers_decide_is_decided_as_by_opencv() -> None:
    ties: dict[str, int] = {}
    search(board(), 7, 100, ties)
    assert ties == {"segmentations": 6, "groupings": 12}
    search(noise(200, 300), 7, 100, ties := {})
    assert ties == {}


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_every_seed_ranks_as_the_c_library_does(seed: int) -> None:
    ours, theirs = both(noise(60, 90), seed, 20)
    assert ours == theirs


def test_opencvs_fast_mode_is_the_search_with_its_own_least_size() -> None:
    fast = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    fast.setBaseImage(noise(120, 90))
    fast.switchToSelectiveSearchFast()
    assert sorted(fast.process().tolist()) == sorted(search_by_opencv(noise(120, 90), 3).tolist())


few_colors = st.integers(1, 24).flatmap(
    lambda height: st.integers(1, 24).flatmap(
        lambda width: arrays(np.uint8, (height, width, 3), elements=st.sampled_from([0, 1, 40, 128, 254, 255]))
    )
)


@settings(max_examples=60, deadline=None)
@given(small=few_colors, seed=st.integers(0, 2**32 - 1), min_size=st.integers(1, 30), zoom=st.integers(1, 4))
def test_any_picture_has_the_same_boxes_in_the_same_order(
    small: np.ndarray, seed: int, min_size: int, zoom: int
) -> None:
    ours, theirs = both(np.ascontiguousarray(small.repeat(zoom, 0).repeat(zoom, 1)), seed, min_size)
    assert ours == theirs


@pytest.mark.photos
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_real_photo_has_the_same_boxes_in_the_same_order(photos: Path, scale: float) -> None:
    folders = photos / "VOCdevkit/VOC2007/JPEGImages", photos / "coco"
    files = [file for folder in folders for file in sorted(folder.rglob("*.jpg"))[5::150]][:6]
    assert len(files) == 6
    for seed, file in enumerate(files):
        photo = cv2.imread(str(file))
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ours, theirs = both(photo, seed, 100)
        assert ours == theirs, file
        assert len(ours) > 50
