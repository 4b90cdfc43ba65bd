"""Edges between the pixels of a photo, lightest first (Felzenszwalb & Huttenlocher, IJCV 2004, Sec. 3).

An edge joins a pixel to its right or lower neighbour. Its weight is the Euclidean distance of their colours. An edge is
one uint64: the bits of its weight, a float32, and below them the pixel * 2, + 1 if the edge leads down. A weight is not
negative, so its bits as an integer have the order of the weights.
"""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.selective_search.compiled import Int, jit

LOW = np.uint64(0xFFFFFFFF)  # the pixel and the direction
WEIGHT = np.uint64(32)  # bits below the weight
DIGIT = 11  # bits; three digits hold a weight


@jit
def sorted_edges(image: np.ndarray) -> np.ndarray:
    """Return the edges, uint64 [E], of an image, float32 [H, W, 3], by weight."""
    height, width = image.shape[:2]
    edges = np.empty(height * (width - 1) + (height - 1) * width, np.uint64)
    weight = np.empty(1, np.float32)
    bits = weight.view(np.uint32)
    count = 0
    for y in range(height):
        for x in range(width):
            for down in range(2):
                y2, x2 = y + down, x + 1 - down
                if y2 == height or x2 == width:
                    continue
                a = image[y, x, 0] - image[y2, x2, 0]
                b = image[y, x, 1] - image[y2, x2, 1]
                c = image[y, x, 2] - image[y2, x2, 2]
                weight[0] = np.sqrt(a * a + b * b + c * c)
                edges[count] = (np.uint64(bits[0]) << WEIGHT) | np.uint64(2 * (y * width + x) + down)
                count += 1
    other = np.empty_like(edges)
    for digit in range(3):  # radix sort, from the last digit to the first
        _sort_by_digit(edges, other, np.uint64(32 + digit * DIGIT))
        edges, other = other, edges
    return edges


@jit
def _sort_by_digit(source: np.ndarray, target: np.ndarray, shift: np.uint64) -> None:
    """Copy edges to the target in the order of one digit, and in their own order where that is equal."""
    last = np.uint64((1 << DIGIT) - 1)
    place = np.zeros(1 << DIGIT, np.int64)
    for edge in source:
        place[(edge >> shift) & last] += 1
    total = 0
    for digit in range(len(place)):
        total, place[digit] = total + place[digit], total
    for edge in source:
        digit = (edge >> shift) & last
        target[place[digit]] = edge
        place[digit] += 1


@jit
def first_end(edge: np.uint64) -> Int:
    """Return the pixel from which an edge leads to the right or down."""
    return np.int64((edge & LOW) >> np.uint64(1))


@jit
def second_end(edge: np.uint64, width: Int) -> Int:
    """Return the pixel at the other end of an edge, in an image of ``width`` pixels."""
    return first_end(edge) + (width if edge & np.uint64(1) else 1)
