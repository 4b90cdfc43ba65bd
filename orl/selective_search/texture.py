"""Directions of a photo's gradients, in bins (Uijlings et al., IJCV 2013, Sec. 3.2; OpenCV's form of them).

The paper takes Gaussian derivatives in eight directions. OpenCV takes Scharr's gradients along both axes of the image
and of the image turned by 45 degrees, and keeps positive and negative ones apart: 8 directions, with 10 bins each, for
each of 3 channels.
"""

from __future__ import annotations

import cv2
import numpy as np

PLANES = 12  # 4 gradients x 3 channels
BINS = 10
# A pixel of a plane is one byte: 1 + the bin of a positive gradient, 11 + that of a negative one, or REST if both its
# positive and its negative part lie in the bin of zero.
REST, CODES = 0, 1 + 2 * BINS
_BIN = (np.arange(256, dtype=np.float32) / (np.float32(256) / np.float32(BINS))).astype(np.uint8)  # of an 8-bit value


def texture(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients as codes and the bins of a zero gradient.

    image: uint8 [H, W, 3]. Returns codes, uint8 [12, H * W], of planes 3 * direction + channel, and the bins of a zero
    gradient, int64 [12, 2], for positive and negative ones.
    """
    height, width = image.shape[:2]
    codes, zero = np.empty((PLANES, height, width), np.uint8), np.empty((PLANES, 2), np.int64)
    for direction, gradient in enumerate(_gradients(image)):
        for channel, plane in enumerate(cv2.split(gradient)):
            at = 3 * direction + channel
            zero[at] = _encode(plane, codes[at])
    return codes.reshape(PLANES, -1), zero


def _gradients(image: np.ndarray) -> list[np.ndarray]:
    """Return the gradients of an image, float32 [H, W, 3], to the right, down, and along both diagonals.

    Whole rows of the turned image are turned back, as in OpenCV, which computes the last pixels of a row with other
    roundings than the others. Rows below the image are left out: they affect no other row.
    """
    height, width = image.shape[:2]
    center = (width / 2.0, height / 2.0)
    there = cv2.getRotationMatrix2D(center, 45.0, 1.0)
    around = cv2.RotatedRect(center, (width, height), 45.0).boundingRect()
    there[0, 2] += around[2] / 2.0 - center[0]
    there[1, 2] += around[3] / 2.0 - center[1]
    turned = cv2.warpAffine(image, there, around[2:])

    middle = (float(int(around[2] / 2.0)), float(int(around[3] / 2.0)))
    back = cv2.getRotationMatrix2D(middle, -45.0, 1.0)
    across = cv2.RotatedRect(middle, (around[2], around[3]), -45.0).boundingRect()[2]
    left, top = max(0, (around[2] - width) // 2), max(0, (around[3] - height) // 2)

    def turned_back(gradient: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(gradient, back, (across, top + height))[top:, left : left + width]

    axes = ((1, 0), (0, 1))
    straight = [cv2.Scharr(image, cv2.CV_32F, *axis) for axis in axes]
    return straight + [turned_back(cv2.Scharr(turned, cv2.CV_32F, *axis)) for axis in axes]


def _encode(plane: np.ndarray, codes: np.ndarray) -> list[int]:
    """Write the codes of gradients, float32 [H, W], and return the bins of a zero gradient."""
    low, high = cv2.minMaxLoc(plane)[:2]
    zero = []
    for sign, least, most in ((0, max(low, 0.0), max(high, 0.0)), (1, min(low, 0.0), min(high, 0.0))):
        part = cv2.threshold(plane, 0, 0, cv2.THRESH_TOZERO_INV if sign else cv2.THRESH_TOZERO)[1]
        with np.errstate(all="ignore"):  # no gradient of this sign: everything becomes the same value
            alpha = float(np.float64(255) / np.float64(most - least))
            beta = float(np.float64(-255) * least / np.float64(most - least))
        at_zero = cv2.convertScaleAbs(np.zeros((1, 1), np.float32), alpha=alpha, beta=beta)
        zero.append(int(_BIN[at_zero[0, 0]]))
        table = np.where(zero[-1] == _BIN, REST, 1 + sign * BINS + _BIN).astype(np.uint8)
        part = cv2.LUT(cv2.convertScaleAbs(part, alpha=alpha, beta=beta), table)
        codes[:] = cv2.add(codes, part) if sign else part
    return zero
