"""Raw region proposals by selective search (Sec. 3.2), made reproducible."""

from __future__ import annotations

import ctypes

import cv2
import numpy as np


def proposal_method(scale: float = 1.0) -> str:
    """Return the name under which raw boxes are stored. It holds everything they depend on besides the image."""
    return f"selective-search-fast@{scale:g}"


def selective_search(image: np.ndarray, seed: int, scale: float = 1.0) -> np.ndarray:
    """Propose regions of an image with OpenCV's selective search in *fast* mode.

    image: uint8 [H, W, 3], RGB. seed: of this image's ranking. scale: the search runs on the image resized
    by this factor, and the boxes are mapped back; 1.0 is the paper's.
    Returns int16 [M, 4], x y w h, pixels of ``image``, in rank order, without duplicates; M may be 0.

    OpenCV ranks by libc's ``rand``, which ``cv2.setRNGSeed`` does not seed, so this calls ``srand``. All threads share
    ``rand``: call this from one thread of a process in which nothing else uses ``rand``.
    """
    height, width = image.shape[:2]
    bgr = np.ascontiguousarray(image[..., ::-1])
    if scale != 1.0:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(bgr)
    search.switchToSelectiveSearchFast()
    ctypes.CDLL(None).srand(ctypes.c_uint(seed & 0xFFFFFFFF))
    try:
        found = np.asarray(search.process(), dtype=np.float64).reshape(-1, 4)
    except cv2.error:
        # An image of a few pixels has no two regions to merge and gives no proposals.
        found = np.empty((0, 4))
    return _on_original_grid(found, width / bgr.shape[1], height / bgr.shape[0], width, height)


def _on_original_grid(found: np.ndarray, sx: float, sy: float, width: int, height: int) -> np.ndarray:
    left, top = np.floor(found[:, 0] * sx), np.floor(found[:, 1] * sy)
    right = np.minimum(np.ceil((found[:, 0] + found[:, 2]) * sx), width)
    bottom = np.minimum(np.ceil((found[:, 1] + found[:, 3]) * sy), height)
    boxes = np.stack([left, top, right - left, bottom - top], axis=1).astype(np.int16)
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)]
