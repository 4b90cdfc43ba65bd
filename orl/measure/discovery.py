"""Published measures of boxes found without labels, against annotated objects: CorLoc, average recall and mBO.

They see boxes alone, in the order of their rank, and not the classes of objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HIT = 0.5  # a box with at least this IoU with an object finds it
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU, as COCO's evaluator writes them
MOST = (1, 10, 100)  # boxes of a photo that count for average recall


@dataclass(frozen=True)
class Overlaps:
    """Overlaps of boxes and objects of the same photos.

    rank, image, thing: int64 [E], the rank of a box in its photo, from 0, its photo, and an object that it overlaps
    with an IoU of at least ``HIT``; iou: float64 [E]. best: float64 [G], the largest IoU of each object with any box.
    """

    rank: np.ndarray
    image: np.ndarray
    thing: np.ndarray
    iou: np.ndarray
    best: np.ndarray


def corloc(found: Overlaps, images: np.ndarray, counted: np.ndarray) -> float:
    """Return the share of photos whose first box overlaps some object with IoU ≥ ``HIT``.

    images: bool [n], the photos that count: those with a counted object. counted: bool [G].
    """
    hits = np.unique(found.image[(found.rank == 0) & counted[found.thing]])
    return float(images[hits].sum() / images.sum()) if images.any() else 0.0


def average_recall(found: Overlaps, counted: np.ndarray) -> dict[int, float]:
    """Return COCO's average recall, without classes, by the number of first boxes of a photo that count.

    counted: bool [G]; the others are ignored, as crowds are. For each threshold of IoU, the boxes of a photo take an
    object each in the order of their rank: of those that are free and overlap enough, the one of largest IoU, and the
    last of equal ones. The recall is the share of the objects that are taken, averaged over the thresholds.
    """
    taken = _taken(found, counted)[:, counted]
    return {most: float((taken < most).mean()) if counted.any() else 0.0 for most in MOST}


def mean_best_overlap(found: Overlaps, counted: np.ndarray) -> float:
    """Return the mean, over the counted objects, of the largest IoU with a box (mBO). counted: bool [G]."""
    return float(found.best[counted].mean()) if counted.any() else 0.0


def _taken(found: Overlaps, counted: np.ndarray) -> np.ndarray:
    """Return the rank of the box that takes each object at each threshold, int64 [T, G]; a large one if none does."""
    rank = np.full((len(THRESHOLDS), len(found.best)), np.iinfo(np.int64).max)
    order = np.lexsort((found.thing, found.iou, found.image, found.rank))
    order = order[counted[found.thing[order]]]  # within a box, the object that it would rather take is last
    thing, overlap = found.thing[order], found.iou[order]
    box_starts = _starts(found.rank[order], found.image[order])
    for step in _slices(_starts(found.rank[order]), len(order)):
        here, many = thing[step], step.stop - step.start
        fits = (rank[:, here] == np.iinfo(np.int64).max) & (overlap[step] >= THRESHOLDS[:, None])
        boxes = box_starts[slice(*np.searchsorted(box_starts, (step.start, step.stop)))] - step.start
        last = np.maximum.reduceat(np.where(fits, np.arange(many), -1), boxes, axis=1)
        threshold, box = np.nonzero(last >= 0)
        rank[threshold, here[last[threshold, box]]] = found.rank[order[step.start]]
    return rank


def _starts(*keys: np.ndarray) -> np.ndarray:
    """Return where rows of sorted keys, int64 [E] each, differ from the row before: int64 [S], from 0."""
    if not len(keys[0]):
        return np.empty(0, np.int64)
    differ = np.any([np.diff(key) != 0 for key in keys], axis=0)
    return np.concatenate([[0], np.flatnonzero(differ) + 1])


def _slices(starts: np.ndarray, end: int) -> list[slice]:
    return [slice(*ends) for ends in zip(starts.tolist(), [*starts[1:].tolist(), end], strict=True)] if end else []
