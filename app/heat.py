"""Attention maps as pictures: the last layer's map of a photo, painted with a colour scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from orl.attention import activation_norm, cosine_map, stretched

if TYPE_CHECKING:  # it would import torch, which only a forward pass needs
    from orl.encoder import Encoder

SIDE = 448  # pixels, longer side of the photo that a map is computed on
CELL = 32  # pixels of the input to a cell of the map


def feature_map(network: Encoder, photo: Image.Image) -> np.ndarray:
    """The last layer's map of a whole photo, float32 [C, h, w]; a side has at most 14 cells."""
    scale = SIDE / max(photo.size)
    wide, high = (max(CELL, round(side * scale / CELL) * CELL) for side in photo.size)
    return network.feature_map(np.asarray(photo.resize((wide, high), Image.Resampling.BILINEAR)))


def at_point(features: np.ndarray, x: float, y: float) -> np.ndarray:
    """Features of the cell at a point: [C, h, w] -> [C]. x, y: fractions of the photo's sides, in [0, 1]."""
    _, high, wide = features.shape
    return features[:, min(int(y * high), high - 1), min(int(x * wide), wide - 1)]


def painted(features: np.ndarray, like: np.ndarray | None, *, cells: bool = False, own: bool = False) -> bytes:
    """A map as PNG: the cosine to ``like``, float [C], from 0 to 1, else the activation norm in the photo's own range.

    cells: one pixel for each cell; otherwise smooth, at ``SIDE`` pixels. own: the cosine in the photo's own range too.
    """
    heat = activation_norm(features) if like is None else cosine_map(features, like)
    heat = stretched(heat) if own else heat
    if not cells:
        high, wide = heat.shape
        heat = cv2.resize(heat.astype(np.float32), (wide * CELL, high * CELL), interpolation=cv2.INTER_CUBIC)
    levels = (np.clip(heat, 0, 1) * 255).astype(np.uint8)
    encoded, data = cv2.imencode(".png", cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))
    assert encoded
    return data.tobytes()
