"""One query image in two sets: which neighbours and pairs both have, and which only one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orl_explorer.db.models import Image
from orl_explorer.db.sets.read import NeighborImage, PairRow

Status = Literal["kept", "lost", "new"]  # in both sets, in the first alone, in the second alone


@dataclass(frozen=True)
class NeighborDifference:
    """A neighbour of either set; rank and similarity are None where it is no neighbour."""

    image: Image
    first: NeighborImage | None
    second: NeighborImage | None

    @property
    def status(self) -> Status:
        """Whether both sets have it."""
        return _status(self.first, self.second)


@dataclass(frozen=True)
class PairDifference:
    """A pair of either set: its two RoIs by id and box, and its row in each."""

    roi_ids: tuple[int, int]
    boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
    first: PairRow | None
    second: PairRow | None

    @property
    def status(self) -> Status:
        """Whether both sets have it."""
        return _status(self.first, self.second)


def neighbor_differences(first: Sequence[NeighborImage], second: Sequence[NeighborImage]) -> list[NeighborDifference]:
    """The neighbours of an image in both sets: those of the first by rank, then the others of the second by rank."""
    there = {neighbor.image.id: neighbor for neighbor in second}
    ours = [NeighborDifference(n.image, n, there.pop(n.image.id, None)) for n in first]
    return ours + [NeighborDifference(n.image, None, n) for n in second if n.image.id in there]


def pair_differences(first: Sequence[PairRow], second: Sequence[PairRow]) -> dict[int, list[PairDifference]]:
    """The pairs of an image in both sets, by id of the neighbour: first kept ones, then lost, then new, each by rank.

    A pair is the same in both when its two RoIs are, so its photos too, whatever the neighbour's rank.
    """
    rows = [{(row.query_roi_id, row.key_roi_id): row for row in some} for some in (first, second)]
    found: dict[int, list[PairDifference]] = {}
    for ids in dict.fromkeys((*rows[0], *rows[1])):
        one, other = rows[0].get(ids), rows[1].get(ids)
        row = one or other
        assert row is not None
        pair = PairDifference(ids, (row.query_box, row.key_box), one, other)
        found.setdefault(row.neighbor_id, []).append(pair)
    order = {"kept": 0, "lost": 1, "new": 2}
    return {neighbor: sorted(pairs, key=lambda p: order[p.status]) for neighbor, pairs in found.items()}


def _status(first: object | None, second: object | None) -> Status:
    if first is None:
        return "new"
    return "lost" if second is None else "kept"
