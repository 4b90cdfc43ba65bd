"""How well an attention map finds annotated objects: what lies above a threshold, and where its maximum is.

The paper shows its maps (Fig. 4) and measures none. Annotations never reach a map; here they judge it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

TOP = 0.2  # share of the photo that the second threshold leaves
PRIOR = 64  # cells per side of the centre prior


@dataclass(frozen=True)
class Localisation:
    """How one map, or many on average, agrees with annotated objects; each number's chance level is beside it.

    ``mean_iou``: IoU of what lies above the map's mean with the objects' union; ``top_iou``: of the ``TOP`` highest
    pixels. Chance: as many pixels drawn at random. ``pointing``: whether the maximum is on an object. Chance: a
    random pixel.
    """

    mean_iou: float
    mean_iou_chance: float
    top_iou: float
    top_iou_chance: float
    pointing: float
    pointing_chance: float


def localisation(heat: np.ndarray, on_object: np.ndarray, counted: np.ndarray) -> Localisation:
    """Judge the map of one photo.

    heat: float [H, W]. on_object: bool [H, W], the union of annotated objects. counted: bool [H, W], false where
    annotators were not sure; such pixels speak neither for nor against. Several maxima share one vote. Raises
    ValueError when no counted pixel is on an object.
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
    """The mean of each number over photos, which all weigh the same. Raises ValueError where there is none."""
    if not found:
        raise ValueError("there is no photo to average over")
    return Localisation(*np.mean([astuple(one) for one in found], axis=0).tolist())


def union(boxes: np.ndarray, width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies in some box: bool [size[1], size[0]].

    boxes: float [G, 4], x y w h, of a photo of width x height. size: width and height of the mask.
    """
    across = (np.arange(size[0]) + 0.5) * width / size[0]
    down = (np.arange(size[1]) + 0.5) * height / size[1]
    x, y, w, h = np.asarray(boxes, np.float64).reshape(-1, 4).T[:, :, None]
    columns = (x <= across) & (across < x + w)  # G W
    rows = (y <= down) & (down < y + h)  # G H
    return (rows[:, :, None] & columns[:, None, :]).any(axis=0)


def centre_prior() -> np.ndarray:
    """A map that knows only that photographers aim: 1 in the middle, 0 in the corners; float32 [PRIOR, PRIOR]."""
    from_middle = np.abs((np.arange(PRIOR) + 0.5) / PRIOR - 0.5)
    far = np.hypot(*np.meshgrid(from_middle, from_middle))
    return (1 - far / far.max()).astype(np.float32)


def as_measures(found: Localisation, prefix: str = "") -> dict[str, float]:
    """The numbers by name, as the store keeps them."""
    return {f"{prefix}{field.name}": float(getattr(found, field.name)) for field in fields(found)}


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _chance(share: float, covered: float) -> float:
    """IoU to expect of pixels drawn at random, a share of all, with objects that cover another share."""
    both = share * covered
    return float(both / (share + covered - both))
