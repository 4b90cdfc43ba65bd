"""Raw region proposals by selective search (Sec. 3.2), made reproducible."""

from __future__ import annotations

import cv2
import numpy as np

from orl_explorer.orl.boxes import each_once
from orl_explorer.orl.selective_search.opencv import MIN_SIZE, search_by_opencv
from orl_explorer.orl.selective_search.readiness import is_compiled


def proposal_method(scale: float = 1.0, segment_size: int = MIN_SIZE) -> str:
    """Return the name under which raw boxes are stored. It holds everything they depend on besides the image."""
    return f"selective-search-fast@{scale:g}" + (f"/{segment_size}" if segment_size != MIN_SIZE else "")


def selective_search(image: np.ndarray, seed: int, scale: float = 1.0, segment_size: int = MIN_SIZE) -> np.ndarray:
    """Propose regions of an image by selective search in *fast* mode, the boxes of OpenCV in its order.

    image: uint8 [H, W, 3], RGB. seed: of this image's ranking. scale: the search runs on the image resized
    by this factor, and the boxes are mapped back; 1.0 is the paper's. segment_size: least size of the regions that
    the search begins with, in pixels of the resized image.
    Returns int16 [M, 4], x y w h, pixels of ``image``, in rank order, without duplicates; M may be 0.

    Where the compiled search is not there, OpenCV searches: see ``search_by_opencv`` for threads.
    """
    height, width = image.shape[:2]
    bgr = np.ascontiguousarray(image[..., ::-1])
    if scale != 1.0:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    if is_compiled():
        from orl_explorer.orl.selective_search.search import search

        found = search(bgr, seed & 0xFFFFFFFF, segment_size)
    else:
        found = search_by_opencv(bgr, seed & 0xFFFFFFFF, segment_size)
    return _on_original_grid(found, width / bgr.shape[1], height / bgr.shape[0], width, height)


def _on_original_grid(found: np.ndarray, sx: float, sy: float, width: int, height: int) -> np.ndarray:
    left, top = np.floor(found[:, 0] * sx), np.floor(found[:, 1] * sy)
    right = np.minimum(np.ceil((found[:, 0] + found[:, 2]) * sx), width)
    bottom = np.minimum(np.ceil((found[:, 1] + found[:, 3]) * sy), height)
    return each_once(np.stack([left, top, right - left, bottom - top], axis=1).astype(np.int16))
