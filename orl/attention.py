"""Attention maps, in the spirit of Fig. 4. The paper names no method: both are this project's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import Image

from orl_explorer.orl.reading import PLAIN

if TYPE_CHECKING:  # imports torch, which stored maps do not need
    from orl_explorer.orl.encoder import EncoderNetwork

AttentionKind = Literal["activation", "cosine", "class"]
SIDE = 448  # pixels, longer side of the photo that a map is computed on


def attention_map(
    network: EncoderNetwork,
    photo: Image.Image,
    method: AttentionKind = "activation",
    roi: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Return the attention map of a photo, upright RGB: float32 [h, w] in [0, 1].

    ``activation``, and ``class``, how much the class token attends to each location, are scaled to the photo's own
    range. ``cosine`` compares every location, on an absolute scale, with the mean of the photo's map or, where ``roi``
    is given (x y w h, pixels of the photo), of the RoI's. Raises ValueError for ``class`` if there is no class token.
    """
    if method == "class":
        return class_map(network, photo)
    features = feature_map(network, photo)
    if method == "activation":
        return activation_norm(features)
    if roi is None:
        return cosine_map(features, features.mean(axis=(1, 2)))
    return cosine_map(features, roi_target(network, photo, roi))


def attention_maps(network: EncoderNetwork, photo: Image.Image) -> dict[AttentionKind, np.ndarray]:
    """Return the maps of any encoder, as ``attention_map`` does, from one forward pass."""
    features = feature_map(network, photo)
    return {"activation": activation_norm(features), "cosine": cosine_map(features, features.mean(axis=(1, 2)))}


def feature_map(network: EncoderNetwork, photo: Image.Image) -> np.ndarray:
    """Return the map of a photo, upright RGB, whose longer side is resized to about ``SIDE``: float32 [C, h, w]."""
    return network.feature_map(network.reading.whole_at(photo, SIDE))


def roi_target(network: EncoderNetwork, photo: Image.Image, roi: Sequence[int]) -> np.ndarray:
    """Return the feature of a RoI x y w h that cells of a map can be compared with: float32 [C]."""
    return network.embed_means(network.reading.crop(photo, np.array(roi))[None])[0]


def class_map(network: EncoderNetwork, photo: Image.Image) -> np.ndarray:
    """Return how much the class token attends to each cell, scaled to [0, 1]: float32 [h, w].

    Raises ValueError if the encoder has no class token.
    """
    found = network.class_attention(network.reading.whole_at(photo, SIDE))
    if found is None:
        raise ValueError("The encoder has no class token. Use the map activation or cosine.")
    return stretched(found)


def input_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height at which maps are compared: at most ``SIDE``, close to the photo's aspect."""
    return PLAIN.input_size(width, height, SIDE)


def enlarged(heat: np.ndarray, width: int, height: int) -> np.ndarray:
    """Enlarge a map to width x height, bicubic: float [h, w] in [0, 1] -> float32 [height, width] in [0, 1]."""
    return np.clip(cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def activation_norm(feature_map: np.ndarray) -> np.ndarray:
    """Return the L2 norm of each location over channels, scaled to [0, 1].

    feature_map: float [C, h, w]. Returns float32 [h, w]; all zeros for a constant map.
    """
    return stretched(np.linalg.norm(feature_map.astype(np.float32), axis=0))


def stretched(heat: np.ndarray) -> np.ndarray:
    """Scale a map from its minimum and maximum to [0, 1]: float32 [h, w]; all zeros for a constant map."""
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)


def cosine_map(feature_map: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """Return the cosine of every location with one embedding, clipped at zero.

    feature_map: float [C, h, w]. embedding: float [C], pooled from an image or a RoI. Returns float32 [h, w]
    in [0, 1], on an absolute scale, so that two maps can be compared.
    """
    flat = feature_map.reshape(len(feature_map), -1).astype(np.float32)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=0, keepdims=True), 1e-12)
    unit = embedding.astype(np.float32) / max(float(np.linalg.norm(embedding)), 1e-12)
    return np.clip(unit @ flat, 0.0, 1.0).reshape(feature_map.shape[1:])
