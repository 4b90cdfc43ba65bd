"""Photos of noise, each different from the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save_noise(path: Path, seed: int, width: int = 40) -> None:
    """Save a photo of noise, 30 pixels high, and make its folder."""
    noise = np.random.default_rng(seed).integers(0, 256, (30, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(path)
