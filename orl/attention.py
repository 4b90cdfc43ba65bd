"""Attention maps, in the spirit of Fig. 4. The paper names no method: both are this project's own."""

from __future__ import annotations

import numpy as np


def activation_norm(feature_map: np.ndarray) -> np.ndarray:
    """Where the last layer responds: L2 norm over channels, scaled to [0, 1].

    feature_map: float [C, h, w]. Returns float32 [h, w]; all zeros for a constant map.
    """
    return stretched(np.linalg.norm(feature_map.astype(np.float32), axis=0))


def stretched(heat: np.ndarray) -> np.ndarray:
    """A map on a scale of its own, from least to greatest: float32 [h, w] in [0, 1]; zeros where constant."""
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)


def cosine_map(feature_map: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """How much every location looks like one embedding: cosine, clipped at zero.

    feature_map: float [C, h, w]. embedding: float [C], pooled from an image or a RoI. Returns float32 [h, w]
    in [0, 1], on an absolute scale, so that two maps can be compared.
    """
    flat = feature_map.reshape(len(feature_map), -1).astype(np.float32)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=0, keepdims=True), 1e-12)
    unit = embedding.astype(np.float32) / max(float(np.linalg.norm(embedding)), 1e-12)
    return np.clip(unit @ flat, 0.0, 1.0).reshape(feature_map.shape[1:])
