"""Selective search of one photo, all steps together."""

from __future__ import annotations

import cv2
import numpy as np

from orl_explorer.orl.selective_search import grouping, segmentation
from orl_explorer.orl.selective_search.edges import sorted_edges
from orl_explorer.orl.selective_search.grouping import group, group_by_list
from orl_explorer.orl.selective_search.histograms import cells, count_bins, histograms
from orl_explorer.orl.selective_search.opencv import KS, SIGMA, SPACES
from orl_explorer.orl.selective_search.ranking import glibc_rand, rank_order
from orl_explorer.orl.selective_search.regions import outline
from orl_explorer.orl.selective_search.segmentation import segment
from orl_explorer.orl.selective_search.texture import texture


def search(bgr: np.ndarray, seed: int, min_size: int, ties: dict[str, int] | None = None) -> np.ndarray:
    """Return boxes, int64 [M, 4], x y w h, in rank order, as OpenCV's *fast* mode does before it drops duplicates.

    bgr: uint8 [H, W, 3], contiguous. seed: of the ranking, 32 bits, unsigned. min_size: pixels of a first region.
    ties: counts the segmentations and groupings that OpenCV's order of equal numbers decided.
    """
    boxes, level = zip(*(found for space in SPACES for found in _regions(bgr, space, min_size, ties)), strict=True)
    levels = np.concatenate(level)
    return np.concatenate(boxes)[rank_order(levels, glibc_rand(seed, len(levels)))]


def _regions(
    bgr: np.ndarray, space: int, min_size: int, ties: dict[str, int] | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return boxes and levels of all regions in one colour space, for each segmentation and strategy."""
    height, width = bgr.shape[:2]
    image = cv2.cvtColor(bgr, space)
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), SIGMA, sigmaY=SIGMA)
    labels, counts = segment(sorted_edges(smooth), height, width, KS, min_size)
    for tied in np.flatnonzero(counts == segmentation.TIED):
        graph = cv2.ximgproc.segmentation.createGraphSegmentation(SIGMA, float(KS[tied]), min_size)
        labels[tied] = graph.processImage(image).reshape(-1)
        counts[tied] = labels[tied].max() + 1
        _count(ties, "segmentations")
    cell, regions = cells(labels, counts)
    codes, zero = texture(image)
    colors, textures = count_bins(cell, len(regions), image.reshape(-1, 3), codes)
    found = []
    for i, count in enumerate(counts.tolist()):
        size, box, pairs = outline(labels[i], height, width, count)
        features = np.hstack(histograms(np.ascontiguousarray(regions[:, i]), size, colors, textures, zero))
        for by_color in (True, False):
            boxes, level = np.empty((2 * count, 4), np.int64), np.empty(2 * count, np.int64)
            settings = by_color, pairs, features, size, box, height * width, boxes, level
            made = group(*settings)
            if made == grouping.TIED:
                made = group_by_list(*settings)
                _count(ties, "groupings")
            found.append((boxes[:made], level[:made]))
    return found


def _count(ties: dict[str, int] | None, kind: str) -> None:
    if ties is not None:
        ties[kind] = ties.get(kind, 0) + 1
