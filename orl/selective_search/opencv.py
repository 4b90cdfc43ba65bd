"""OpenCV's own search: the measure of the compiled one, and its substitute where that cannot be used."""

from __future__ import annotations

import ctypes

import cv2
import numpy as np

SPACES = (cv2.COLOR_BGR2HSV, cv2.COLOR_BGR2LAB)
KS = np.array([150, 300, 450], np.float32)  # of the segmentations (Felzenszwalb & Huttenlocher)
SIGMA = float(np.float32(0.8))  # pixels, of the blur before a segmentation
MIN_SIZE = 100  # pixels of a first region


def search_by_opencv(bgr: np.ndarray, seed: int, min_size: int = MIN_SIZE) -> np.ndarray:
    """Return boxes, int32 [M, 4], x y w h, in rank order: *fast* mode, with another least size of first regions.

    bgr: uint8 [H, W, 3]. seed: of the ranking, 32 bits, unsigned.

    OpenCV ranks by libc's ``rand``, which ``cv2.setRNGSeed`` does not seed, so this calls ``srand``. All threads share
    ``rand``: call this from one thread of a process in which nothing else uses ``rand``.
    """
    parts = cv2.ximgproc.segmentation
    found = parts.createSelectiveSearchSegmentation()
    for space in SPACES:
        found.addImage(cv2.cvtColor(bgr, space))
    for k in KS:
        found.addGraphSegmentation(parts.createGraphSegmentation(SIGMA, float(k), min_size))
    found.addStrategy(
        parts.createSelectiveSearchSegmentationStrategyMultiple(
            parts.createSelectiveSearchSegmentationStrategyColor(),
            parts.createSelectiveSearchSegmentationStrategyFill(),
            parts.createSelectiveSearchSegmentationStrategyTexture(),
            parts.createSelectiveSearchSegmentationStrategySize(),
        )
    )
    found.addStrategy(
        parts.createSelectiveSearchSegmentationStrategyMultiple(
            parts.createSelectiveSearchSegmentationStrategyFill(),
            parts.createSelectiveSearchSegmentationStrategyTexture(),
            parts.createSelectiveSearchSegmentationStrategySize(),
        )
    )
    ctypes.CDLL(None).srand(ctypes.c_uint(seed))
    try:
        return np.asarray(found.process(), np.int32).reshape(-1, 4)
    except cv2.error:  # no two regions: of a few pixels, or of one colour
        return np.empty((0, 4), np.int32)
