"""Attention maps as pictures: a map of the last layer in a colour scale."""

from __future__ import annotations

import cv2
import numpy as np

from orl_explorer.orl.attention import SIDE, activation_norm, cosine_map, enlarged, stretched


def at_point(features: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return the features of the cell at a point: [C, h, w] -> [C]. x, y: shares of the photo's sides, in [0, 1]."""
    _, high, wide = features.shape
    return features[:, min(int(y * high), high - 1), min(int(x * wide), wide - 1)]


def painted(features: np.ndarray, like: np.ndarray | None, *, cells: bool = False, own: bool = False) -> bytes:
    """Return a map as PNG: the cosine to ``like``, float [C], from 0 to 1, else the activation norm in its own range.

    cells: one pixel per cell, else about ``SIDE`` pixels a side, smoothed. own: scale the cosine to its own range too.
    """
    heat = activation_norm(features) if like is None else cosine_map(features, like)
    return coloured(stretched(heat) if own else heat, cells=cells)


def coloured(heat: np.ndarray, *, cells: bool = False) -> bytes:
    """Return a map, float [h, w] in [0, 1], as PNG; cells as of ``painted``."""
    if not cells:
        high, wide = heat.shape
        times = max(1, round(SIDE / max(high, wide)))
        heat = enlarged(heat, wide * times, high * times)
    levels = (np.clip(heat, 0, 1) * 255).astype(np.uint8)
    encoded, data = cv2.imencode(".png", cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))
    assert encoded
    return data.tobytes()
