"""Localisation: how well an attention map finds annotated objects, by its area above a threshold and its maximum.

The paper shows maps (Fig. 4) but does not measure them. Annotations are used to measure a map, never to compute it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

TOP = 0.2  # share of the photo above the second threshold
PRIOR = 64  # cells per side of the centre prior


@dataclass(frozen=True)
class Localisation:
    """Agreement of one map, or the mean of many, with annotated objects; each number has its chance level.

    ``mean_iou``: IoU of the area above the map's mean with the objects' union; ``top_iou``: of the ``TOP`` highest
    pixels. Chance: the same number of random pixels. ``pointing``: whether the maximum is on an object. Chance: a
    random pixel.
    """

    mean_iou: float
    mean_iou_chance: float
    top_iou: float
    top_iou_chance: float
    pointing: float
    pointing_chance: float


def localisation(heat: np.ndarray, on_object: np.ndarray, counted: np.ndarray) -> Localisation:
    """Measure the map of one photo.

    heat: float [H, W]. on_object: bool [H, W], the union of annotated objects. counted: bool [H, W], false where
    annotators were not sure; such pixels are ignored. Several equal maxima share one vote. Raises ValueError if no
    counted pixel is on an object.
    """
    values, truth = heat[counted], on_object[counted]
    if not truth.any():
        raise ValueError("no pixel that counts is on an object")
    above = values > values.mean()
    lowest = np.sort(values)[::-1][max(1, round(TOP * len(values))) - 1]
    top = values >= lowest
    covered = truth.mean()
    return Localisation(
        _iou(above, truth),
        _chance(above.mean(), covered),
        _iou(top, truth),
        _chance(top.mean(), covered),
        float(truth[values == values.max()].mean()),
        float(covered),
    )


def average(found: Sequence[Localisation]) -> Localisation:
    """Return the mean of each number over photos, unweighted. Raises ValueError without photos."""
    if not found:
        raise ValueError("there is no photo to average over")
    return Localisation(*np.mean([astuple(one) for one in found], axis=0).tolist())


def union(boxes: np.ndarray, width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centre lies in any box: bool [size[1], size[0]].

    boxes: float [G, 4], x y w h, of a photo of width x height. size: width and height of the mask.
    """
    across = (np.arange(size[0]) + 0.5) * width / size[0]
    down = (np.arange(size[1]) + 0.5) * height / size[1]
    x, y, w, h = np.asarray(boxes, np.float64).reshape(-1, 4).T[:, :, None]
    columns = (x <= across) & (across < x + w)  # G W
    rows = (y <= down) & (down < y + h)  # G H
    return (rows[:, :, None] & columns[:, None, :]).any(axis=0)


def centre_prior() -> np.ndarray:
    """Return a baseline map for centred objects, 1 in the middle, 0 in the corners: float32 [PRIOR, PRIOR]."""
    from_middle = np.abs((np.arange(PRIOR) + 0.5) / PRIOR - 0.5)
    far = np.hypot(*np.meshgrid(from_middle, from_middle))
    return (1 - far / far.max()).astype(np.float32)


def as_measures(found: Localisation, prefix: str = "") -> dict[str, float]:
    """Return the numbers by name, as the store keeps them."""
    return {f"{prefix}{field.name}": float(getattr(found, field.name)) for field in fields(found)}


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _chance(share: float, covered: float) -> float:
    """Return the expected IoU of a share of pixels drawn at random with objects that cover another share."""
    both = share * covered
    return float(both / (share + covered - both))
