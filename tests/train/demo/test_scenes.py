"""The demo scenes: equal seeds give equal pictures, and every box fits the visible object."""

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from orl_explorer.train.demo import cutouts as cut
from orl_explorer.train.demo.scenes import ROLES, Layer, Scene, SceneObject, arrange, compose_scene, locate, visibility

DIGEST = """
import hashlib
from orl_explorer.train.demo.scenes import compose_scene
scene = compose_scene(3, 5)
print(hashlib.sha256(scene.image.tobytes() + repr(scene.objects).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def stagings() -> list[tuple[tuple[int, int], list[SceneObject]]]:
    """Return (height, width) and the objects of 160 scenes, which are not painted, to save time."""
    out = []
    for index in range(160):
        stage, layers, _ = arrange(0, index)
        height, width = stage.image.shape[:2]
        out.append(((height, width), locate(layers, visibility(layers, height, width))))
    return out


def same(a: Scene, b: Scene) -> bool:
    return np.array_equal(a.image, b.image) and a.objects == b.objects


def test_a_scene_depends_on_its_two_numbers_only() -> None:
    first, second = compose_scene(3, 5), compose_scene(3, 9)
    assert same(compose_scene(3, 9), second)
    assert same(compose_scene(3, 5), first)
    assert not same(first, second)
    assert not same(first, compose_scene(4, 5))
    assert first.image.dtype == np.uint8
    assert first.image.ndim == 3
    assert first.image.shape[2] == 3


def test_another_process_makes_the_same_scene() -> None:
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True).stdout
    here = compose_scene(3, 5)
    assert there.strip() == hashlib.sha256(here.image.tobytes() + repr(here.objects).encode()).hexdigest()


def test_scenes_hold_several_large_objects_inside_the_picture(
    stagings: list[tuple[tuple[int, int], list[SceneObject]]],
) -> None:
    for (height, width), objects in stagings:
        assert 3 <= len(objects) <= 7
        assert len({item.category for item in objects}) >= 2
        assert sum(min(item.w, item.h) >= 96 for item in objects) >= 2
        for item in objects:
            assert 0 <= item.x < item.x + item.w <= width
            assert 0 <= item.y < item.y + item.h <= height
            assert 0.55 <= item.visible <= 1


def test_every_category_appears_often(stagings: list[tuple[tuple[int, int], list[SceneObject]]]) -> None:
    scenes_with = Counter(kind for _, objects in stagings for kind in {item.category for item in objects})
    assert set(scenes_with) == set(ROLES) == set(cut.cutouts())
    assert len(scenes_with) >= 9
    assert min(scenes_with.values()) >= 10


def slow_boxes(layers: tuple[Layer, ...], height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Compute the boxes x, y, w, h by finding the front layer of each pixel."""
    seen: list[list[tuple[int, int]]] = [[] for _ in layers]
    for y in range(height):
        for x in range(width):
            for number in reversed(range(len(layers))):
                layer = layers[number]
                row, column = y - layer.y, x - layer.x
                inside = 0 <= row < layer.rgba.shape[0] and 0 <= column < layer.rgba.shape[1]
                if inside and layer.rgba[row, column, 3] > 0.5:
                    seen[number].append((x, y))
                    break
    boxes = []
    for pixels in seen:
        xs, ys = zip(*pixels, strict=True)
        boxes.append((min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1))
    return boxes


def test_boxes_are_tight() -> None:
    stage, layers, _ = arrange(0, 14)
    height, width = stage.image.shape[:2]
    scene = compose_scene(0, 14)
    assert scene.image.shape == (height, width, 3)
    assert [(item.x, item.y, item.w, item.h) for item in scene.objects] == slow_boxes(layers, height, width)


def test_a_coarse_look_takes_every_nth_pixel() -> None:
    stage, layers, _ = arrange(0, 14)
    height, width = stage.image.shape[:2]
    coarse = visibility(layers, height, width, 6)
    for mask, exact in zip(coarse, visibility(layers, height, width), strict=True):
        assert np.array_equal(mask, exact[::6, ::6])


def test_cutouts_are_tight_and_soft() -> None:
    for category, items in cut.cutouts().items():
        for item in items:
            alpha = item.rgba[..., 3]
            assert item.category == category
            assert item.rgba.dtype == np.float32
            assert item.rgba.min() >= 0
            assert item.rgba.max() <= 1
            assert alpha.max() > 0.99
            rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
            assert rows[0] < 16
            assert columns[0] < 16
            assert ((alpha > 0.1) & (alpha < 0.9)).any()


def test_a_missing_photo_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"demo photo no-such\.png is missing"):
        cut.cutout_photo("no-such.png")
