"""What two correspondence sets have in common: over all photos once, and on one photo on demand.

Sets of other settings share hardly a RoI to the pixel, although both may join the same objects. So a RoI is the same in
both if its boxes overlap by a given IoU, and a pair of the same two photos is if both its RoIs are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orl_explorer.db.models import Image
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.sets.comparison import (
    BINS,
    Compared,
    Comparison,
    ImageOverlap,
    Overlap,
    TwoSets,
    block_of_set,
    common_images,
    keep_comparison,
    kept_comparison,
)
from orl_explorer.db.sets.read import NeighborImage, PairRow, SetRois, set_rois
from orl_explorer.db.store import Store
from orl_explorer.orl.measure.agreement import couples, found_again

_HALF = 32  # bits of an id in the number of a group: the image in the upper half, its neighbour, if any, in the lower
Status = Literal["kept", "lost", "new"]  # in both sets, in the first alone, in the second alone


def compare_sets(store: Store, two: TwoSets, on_progress: Callable[[int, int], None] | None = None) -> Comparison:
    """Compare two complete sets on all images that both cover, and store the result.

    on_progress: called with the number of images done, and their total.
    Raises StoreError if a set is missing or not complete, or when they have no image in common.
    """
    if kept_comparison(store, two) is None:
        _compare(store, TwoSets(*two.key), on_progress)
    found = kept_comparison(store, two)
    assert found is not None
    return found


def _compare(store: Store, two: TwoSets, on_progress: Callable[[int, int], None] | None) -> None:
    images = common_images(store, two.first, two.second)
    sets = [_Boxes(set_rois(store, set_id)) for set_id in (two.first, two.second)]
    totals = np.zeros((3, 4), np.int64)
    histogram = np.zeros(BINS, np.int64)
    rows: list[ImageOverlap] = []
    for start in range(0, len(images), CHUNK):
        ids = images[start : start + CHUNK]
        blocks = [block_of_set(store, set_id, ids) for set_id in (two.first, two.second)]
        neighbors = [_joined(*block.neighbors.T) for block in blocks]
        found = np.isin(neighbors[0], neighbors[1]), np.isin(neighbors[1], neighbors[0])
        counted = [_counted(ids, [block.neighbors[:, 0] for block in blocks], found)]
        things = [[boxes.rois(ids) for boxes in sets]]
        things.append([boxes.pairs(block.pairs) for boxes, block in zip(sets, blocks, strict=True)])
        for (one, first), (other, second) in things:
            found = found_again((one, other), (first, second), two.percent / 100)
            counted.append(_counted(ids, [one >> _HALF, other >> _HALF], found))
        totals += [counts.sum(axis=0) for counts in counted]
        alike = [_agreement(counts) for counts in counted]
        histogram += np.histogram(alike[-1], BINS, (0, 1))[0]
        rows += [ImageOverlap(*row) for row in zip(ids.tolist(), *(a.tolist() for a in alike), strict=True)]
        if on_progress:
            on_progress(start + len(ids), len(images))
    total = Compared(*(Overlap(*counts) for counts in totals.tolist()))
    keep_comparison(store, two, Comparison(len(images), total, histogram.tolist()), rows)


def _joined(image: np.ndarray, neighbor: np.ndarray) -> np.ndarray:
    return (image << _HALF) | neighbor


class _Boxes:
    """The boxes of a set's RoIs, by their ids or by image."""

    def __init__(self, rois: SetRois) -> None:
        self._rois, self._order = rois, np.argsort(rois.ids, kind="stable")
        self._sorted = rois.ids[self._order]
        self._image_of = np.repeat(rois.images, np.diff(rois.start))

    def rois(self, image_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the RoIs of images: their groups int64 [n] and ends int16 [n, 1, 4]."""
        low = np.searchsorted(self._image_of, image_ids[0], "left")
        high = np.searchsorted(self._image_of, image_ids[-1], "right")
        own = low + np.flatnonzero(np.isin(self._image_of[low:high], image_ids))
        return self._image_of[own] << _HALF, self._rois.boxes[own][:, None]

    def pairs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs by image, query RoI and key RoI, int64 [n, 3], as groups int64 [n] and ends int16 [n, 2, 4]."""
        at = self._order[np.searchsorted(self._sorted, rows[:, 1:])]
        groups = _joined(rows[:, 0], self._image_of[at[:, 1]])
        order = np.argsort(groups, kind="stable")
        return groups[order], self._rois.boxes[at[order]]


def _counted(ids: np.ndarray, images: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> np.ndarray:
    """Count by image: int64 [images, 4], things of the first and second set, then those found again of each."""
    each = [*images, *(own[again] for own, again in zip(images, found, strict=True))]
    return np.stack([np.bincount(np.searchsorted(ids, own), minlength=len(ids)) for own in each], axis=1)


def _agreement(counts: np.ndarray) -> np.ndarray:
    """``Overlap.agreement`` of each row of ``_counted``, float64 [n]."""
    either = counts[:, :2].sum(axis=1)
    return np.where(either, counts[:, 2:].sum(axis=1) / np.maximum(either, 1), 1.0)


# One photo in two sets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class NeighborDifference:
    """A neighbour of either set; None where it is no neighbour."""

    image: Image
    first: NeighborImage | None
    second: NeighborImage | None

    @property
    def status(self) -> Status:
        """Whether both sets have it."""
        if self.first is None:
            return "new"
        return "lost" if self.second is None else "kept"


@dataclass(frozen=True)
class PairDifference:
    """A pair of either set, or one of each that are the same; None where a set has none for it.

    status: *kept* also for a pair that is like one of the other set which another pair is more like.
    """

    first: PairRow | None
    second: PairRow | None
    status: Status


def neighbor_differences(first: Sequence[NeighborImage], second: Sequence[NeighborImage]) -> list[NeighborDifference]:
    """The neighbours of an image in both sets: those of the first by rank, then the others of the second by rank."""
    there = {neighbor.image.id: neighbor for neighbor in second}
    ours = [NeighborDifference(n.image, n, there.pop(n.image.id, None)) for n in first]
    return ours + [NeighborDifference(n.image, None, n) for n in second if n.image.id in there]


def pair_differences(
    first: Sequence[PairRow], second: Sequence[PairRow], percent: int
) -> dict[int, list[PairDifference]]:
    """The pairs of an image in both sets, by id of the neighbour: first kept ones, then lost, then new, each by rank.

    percent: as in ``TwoSets``. The same pairs of both sets are coupled one to one, those of largest overlap first.
    """
    found: dict[int, list[PairDifference]] = {}
    for neighbor in dict.fromkeys(row.neighbor_id for row in (*first, *second)):
        ours, theirs = ([row for row in rows if row.neighbor_id == neighbor] for rows in (first, second))
        found[neighbor] = _differences(ours, theirs, percent / 100)
    return found


def _differences(ours: list[PairRow], theirs: list[PairRow], least: float) -> list[PairDifference]:
    first, second = (_ends(rows) for rows in (ours, theirs))
    groups = np.zeros(len(ours), np.int64), np.zeros(len(theirs), np.int64)
    again = found_again(groups, (first, second), least)
    other = dict(couples(first, second, least))
    alone = sorted(set(range(len(theirs))) - set(other.values()))
    rows = [
        PairDifference(row, theirs[other[i]] if i in other else None, "kept" if again[0][i] else "lost")
        for i, row in enumerate(ours)
    ]
    rows += [PairDifference(None, theirs[k], "kept" if again[1][k] else "new") for k in alone]
    order = {"kept": 0, "lost": 1, "new": 2}
    return sorted(rows, key=lambda row: order[row.status])


def _ends(rows: Sequence[PairRow]) -> np.ndarray:
    return np.array([(row.query_box, row.key_box) for row in rows], np.int16).reshape(-1, 2, 4)


def pairs_overlap(differences: Sequence[PairDifference]) -> Overlap:
    """Count the pairs of each set, and those that the other has too."""
    ours, theirs = ([d.status == "kept" for d in differences if side(d) is not None] for side in _SIDES)
    return Overlap(len(ours), len(theirs), sum(ours), sum(theirs))


_SIDES: tuple[Callable[[PairDifference], PairRow | None], ...] = (lambda d: d.first, lambda d: d.second)
