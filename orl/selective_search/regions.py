"""What is known of first regions before their features: sizes, bounding boxes, and which of them touch."""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.selective_search.compiled import Int, jit


@jit
def outline(labels: np.ndarray, height: Int, width: Int, count: Int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sizes, boxes and neighbours of ``count`` regions, from the region of each pixel, int32 [H * W].

    sizes: int64 [R], pixels. boxes: int64 [R, 4], left, top, right, bottom, inclusive. neighbours: int64 [N, 2], a < b,
    ordered. Two regions are neighbours if a pixel and the one on its left, above it, or left above it belong to them;
    as in OpenCV, only pixels with all three are asked.
    """
    size, box = np.zeros(count, np.int64), np.empty((count, 4), np.int64)
    for r in range(count):
        box[r, 0], box[r, 1], box[r, 2], box[r, 3] = width, height, -1, -1
    touch = np.zeros((count, count), np.uint8)
    for y in range(height):
        row, above = labels[y * width : (y + 1) * width], labels[max(0, y - 1) * width :]
        x = 0
        while x < width:  # a run of one region at a time
            r, begin = row[x], x
            while x < width and row[x] == r:
                x += 1
            size[r] += x - begin
            box[r, 0], box[r, 1] = min(box[r, 0], begin), min(box[r, 1], y)
            box[r, 2], box[r, 3] = max(box[r, 2], x - 1), max(box[r, 3], y)
        if y == 0:
            continue
        for x in range(1, width):
            r = row[x]
            for other in (row[x - 1], above[x], above[x - 1]):
                if r != other:
                    touch[min(r, other), max(r, other)] = 1
    return size, box, _pairs(touch)


@jit
def _pairs(touch: np.ndarray) -> np.ndarray:
    pairs = np.empty((np.int64(touch.sum()), 2), np.int64)
    count = 0
    for a in range(len(touch)):
        for b in range(a + 1, len(touch)):
            if touch[a, b]:
                pairs[count, 0], pairs[count, 1] = a, b
                count += 1
    return pairs
