"""Colours and textures of first regions, as histograms (Uijlings et al., IJCV 2013, Sec. 3.2).

The regions of all segmentations of an image are unions of cells: pixels that lie in the same region of each of them.
One pass over the image counts the cells, and their counts add up to those of every region.
"""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.selective_search.compiled import Int, jit
from orl_explorer.orl.selective_search.texture import BINS, CODES, PLANES

COLORS = 25  # bins of a channel
COLOR_BINS, TEXTURE_BINS = 3 * COLORS, PLANES * 2 * BINS
_EMPTY = -1


def cells(labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each pixel, int32 [P], and the region of each cell in each segmentation, int32 [C, K].

    labels: region of each pixel, int32 [K, P]. counts: regions of each segmentation, int64 [K].
    """
    slots = 1 << 13
    while True:
        of_pixel, regions = _number_cells(labels, counts, slots)
        if len(of_pixel):
            return of_pixel, regions
        slots *= 4


@jit
def _number_cells(labels: np.ndarray, counts: np.ndarray, slots: Int) -> tuple[np.ndarray, np.ndarray]:
    """Number cells with a hash table of ``slots``, a power of two. Returns no pixels if that is too few."""
    table, number = np.full(slots, _EMPTY, np.int64), np.empty(slots, np.int32)
    regions = np.empty((slots // 2, len(labels)), np.int32)
    of_pixel = np.empty(labels.shape[1], np.int32)
    count, before = 0, np.int64(_EMPTY)
    cell = np.int32(0)
    for p in range(len(of_pixel)):
        key = np.int64(0)
        for k in range(len(labels)):
            key = key * counts[k] + labels[k, p]
        if key != before:  # neighbours mostly share a cell
            before = key
            slot = ((key * 2654435761) >> 7) & (slots - 1)
            while table[slot] != key and table[slot] != _EMPTY:
                slot = (slot + 1) & (slots - 1)
            if table[slot] == _EMPTY:
                if count == len(regions):
                    return of_pixel[:0], regions
                table[slot], number[slot] = key, count
                regions[count] = labels[:, p]
                count += 1
            cell = number[slot]
        of_pixel[p] = cell
    return of_pixel, regions[:count]


@jit
def count_bins(cell: np.ndarray, count: Int, image: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pixels of each cell have a colour, int32 [C, 75], and a code of a gradient, int32 [C, 12 * 21].

    cell: of each pixel, int32 [P]. image: uint8 [P, 3]. codes: as of ``texture``, uint8 [12, P].
    """
    colors, textures = np.zeros((count, COLOR_BINS), np.int32), np.zeros((count, PLANES * CODES), np.int32)
    for p in range(len(cell)):
        color, texture = colors[cell[p]], textures[cell[p]]
        for channel in range(3):
            color[COLORS * channel + COLORS * np.int64(image[p, channel]) // 256] += 1
        for plane in range(PLANES):
            texture[CODES * plane + codes[plane, p]] += 1
    return colors, textures


@jit
def histograms(
    region: np.ndarray, size: np.ndarray, colors: np.ndarray, textures: np.ndarray, zero: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the histograms of regions, float32 [R, 75] and [R, 240]. Those of a region sum to 1.

    region: of each cell, int32 [C]. size: pixels of the regions, int64 [R]. colors, textures: of the cells. zero: bins
    of a zero gradient, as of ``texture``.
    """
    count = len(size)
    color, coded = np.zeros((count, COLOR_BINS), np.int32), np.zeros((count, PLANES * CODES), np.int32)
    for cell in range(len(region)):
        color[region[cell]] += colors[cell]
        coded[region[cell]] += textures[cell]
    shares, texture = np.empty((count, COLOR_BINS), np.float32), np.empty((count, TEXTURE_BINS), np.float32)
    for r in range(count):
        for i in range(COLOR_BINS):
            shares[r, i] = np.float32(color[r, i]) / np.float32(3 * size[r])
        for plane in range(PLANES):
            direction, channel = plane // 3, plane % 3
            for sign in range(2):
                first = BINS * (8 * channel + 2 * direction + sign)
                code = CODES * plane + 1 + BINS * sign
                rest = size[r]
                for i in range(BINS):
                    rest -= coded[r, code + i]
                for i in range(BINS):
                    pixels = coded[r, code + i] + (rest if i == zero[plane, sign] else 0)
                    texture[r, first + i] = np.float32(pixels) / np.float32(24 * size[r])
    return shares, texture
