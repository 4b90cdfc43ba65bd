"""Orders of all pairs of a set, at any position: flat files that are written once and mapped into memory.

A database cuts a page from one order quickly where there is an index for it, and only next to the page before; for
twelve million pairs under three orders and four filters see docs/decisions/0009-orders-of-pairs.md.
"""

from __future__ import annotations

import json
import mmap
import shutil
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from orl_explorer.db.gallery.order import Judged
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import dataset_by_id, marks_of
from orl_explorer.db.sets.pairs import RANK_BITS, PairBlock, marked_pairs, pair_blocks
from orl_explorer.db.sets.read import rois_of
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.orl.measure.quality import object_classes
from orl_explorer.train.files import replaced_folder
from orl_explorer.train.mining.making import Making, MakingReport, SetFiles, forget_failure, found_or_making
from orl_explorer.train.workspace import Workspace

Sort = Literal["similarity", "margin", "cycle"]
SORTS: tuple[Sort, ...] = ("similarity", "margin", "cycle")
Once = Literal["query", "photos"]
HEADER = "order.json"
FORMAT = 2  # of the files; others are made anew
UNMEASURED = 2  # value of cycle for pairs without one, after 0 and 1
FEW = 8  # a filter that leaves one pair in so many is sorted by itself


@dataclass(frozen=True)
class MatchOrder:
    """Which pairs are shown, and in which order.

    Ascending, ``cycle`` has the pairs first whose way back leads elsewhere, the most similar of them before the others;
    pairs without a margin are last in both directions. ``least`` is a similarity; ``category`` that of the annotated
    object which the query RoI covers; ``verdict`` and ``tag`` are anybody's, ``any`` and ``none`` as in the gallery.
    ``once``: only the first pair of each query photo, or of each two photos, whichever of them is the query.
    """

    sort: Sort = "similarity"
    descending: bool = True
    least: float | None = None
    category: str | None = None
    verdict: Judged | None = None
    tag: str | None = None
    once: Once | None = None


@dataclass(frozen=True)
class PairOrders:
    """The pairs of a set in the order of the store, and their sorted orders.

    keys: int64 [P], as ``db.sets.pairs.pair_keys``. photos: uint32 [P], the same number for the same two photos.
    similarity, margin: float32 [P], NaN without a margin. cycle: int8 [P], 0, 1 or ``UNMEASURED``. category: int16 [P],
    an index into names, or -1. by: for each sort the rows in ascending order, uint32 [P]. revision: of the annotations
    that the categories are of, -1 where there are none.
    """

    keys: np.ndarray
    photos: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    cycle: np.ndarray
    category: np.ndarray
    names: tuple[str, ...]
    by: dict[Sort, np.ndarray]
    revision: int


def orders_of(workspace: Workspace, mined: CorrespondenceSet) -> PairOrders | None:
    """Return the orders of a complete set, or None if there are none for the current annotations."""
    files = _files(workspace, mined)
    folder = files.folder
    return _opened(folder, files.revision) if files.are_in(folder) else None


def make_matches(
    workspace: Workspace, mined: CorrespondenceSet, report: MakingReport = lambda done, total: None
) -> PairOrders:
    """Compute the orders of a complete set and replace older ones. report: called with photos read, and their total."""
    files, total = _files(workspace, mined), mined.pair_count
    names = tuple(sorted(dataset_by_id(workspace.store, mined.dataset_id).categories or {}))
    arrays: dict[str, np.ndarray] = {
        "keys": np.empty(total, np.int64),
        "photos": np.empty(total, np.int64),
        "similarity": np.empty(total, np.float32),
        "margin": np.empty(total, np.float32),
        "cycle": np.empty(total, np.int8),
        "category": np.full(total, -1, np.int16),
    }
    at = photos = 0
    for block in pair_blocks(workspace.store, mined.id):
        here = slice(at, at + len(block.keys))
        for name in ("keys", "similarity", "margin"):
            arrays[name][here] = getattr(block, name)
        query = block.keys >> 2 * RANK_BITS
        arrays["photos"][here] = (np.minimum(query, block.neighbor_ids) << 32) | np.maximum(query, block.neighbor_ids)
        arrays["cycle"][here] = np.where(np.isnan(block.cycle), UNMEASURED, block.cycle)
        if names:
            arrays["category"][here] = _categories(workspace, mined.id, block, names)
        at, photos = here.stop, photos + len(block.image_ids)
        report(photos, mined.image_count)
    arrays["photos"] = np.unique(arrays["photos"], return_inverse=True)[1].astype(np.uint32)
    folder = files.folder
    with replaced_folder(folder) as aside:
        for name, values in arrays.items():
            np.save(aside / f"{name}.npy", values)
        for sort in SORTS:
            rows = _ascending(sort, arrays["similarity"], arrays["margin"], arrays["cycle"])
            np.save(aside / f"by_{sort}.npy", rows.astype(np.uint32))
        files.describe(aside, names)
    return _opened(folder, files.revision)


def drop_matches(workspace: Workspace, set_id: int) -> None:
    """Delete the orders of a set. They can be computed again."""
    shutil.rmtree(workspace.orders / str(set_id), ignore_errors=True)


def match_rows(workspace: Workspace, mined: CorrespondenceSet, found: PairOrders, order: MatchOrder) -> np.ndarray:
    """Return the rows of ``found`` to show, in order: uint32 [n]. Without filters, it is a view of the file."""
    by_marks = order.verdict is not None or order.tag is not None
    marks = marks_of(workspace.store, mined.dataset_id) if by_marks else 0
    rows = _rows(_Known(workspace, mined.id, found.revision, found), order, marks)
    _let_go(found)
    return rows


def match_keys(found: PairOrders, rows: np.ndarray, offset: int, limit: int) -> np.ndarray:
    """Return the keys of the pairs of a page: int64 [at most limit]."""
    return found.keys[rows[offset : offset + limit]]


def position_of(found: PairOrders, rows: np.ndarray, order: MatchOrder, similarity: float) -> int:
    """Return the position, from 0, of the first pair at or beyond a similarity, in rows sorted by similarity."""
    sign = -1 if order.descending else 1
    return bisect_left(rows, sign * similarity, key=lambda row: sign * found.similarity[row])


# Making them beside the pages ----------------------------------------------------------------------------


def matches_or_making(workspace: Workspace, mined: CorrespondenceSet, patience: float) -> PairOrders | Making:
    """Return the orders of a set. If there are none, start a thread to make them and wait ``patience`` seconds."""
    return found_or_making(
        lambda: orders_of(workspace, mined),
        _files(workspace, mined).folder,
        mined.image_count,
        lambda report: make_matches(workspace, mined, report),
        "the orders of the pairs",
        patience,
    )


def try_again(workspace: Workspace, mined: CorrespondenceSet) -> None:
    """Clear the failure of making the orders of a set, to try again."""
    forget_failure(_files(workspace, mined).folder)


# Inside --------------------------------------------------------------------------------------------------


def _files(workspace: Workspace, mined: CorrespondenceSet) -> SetFiles:
    """Return the files of a set's orders."""
    return SetFiles.of(workspace, mined, workspace.orders, HEADER, FORMAT, mined.pair_count)


def _ascending(sort: Sort, similarity: np.ndarray, margin: np.ndarray, cycle: np.ndarray) -> np.ndarray:
    """Return positions in ascending order, int64 [n], stable; unmeasured values are last."""
    match sort:
        case "similarity":
            return np.argsort(similarity, kind="stable")
        case "margin":
            return np.argsort(margin, kind="stable")
    return np.lexsort((-similarity, cycle))


@lru_cache(maxsize=8)
def _opened(folder: Path, revision: int) -> PairOrders:
    names = tuple(json.loads((folder / HEADER).read_text())["names"])
    read = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    by: dict[Sort, np.ndarray] = {sort: read.pop(f"by_{sort}") for sort in SORTS}
    return PairOrders(**read, names=names, by=by, revision=revision)


def _let_go(found: PairOrders) -> None:
    """Release the memory of mapped files: a filter reads whole files, a page only 36 rows."""
    for array in (
        found.keys,
        found.photos,
        found.similarity,
        found.margin,
        found.cycle,
        found.category,
        *found.by.values(),
    ):
        if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows does that by itself
            array.base.madvise(mmap.MADV_DONTNEED)


def _categories(workspace: Workspace, set_id: int, block: PairBlock, names: tuple[str, ...]) -> np.ndarray:
    """Return the category of the object that each pair's query RoI covers, int16 [n]; -1 for none."""
    ids = block.image_ids.tolist()
    objects, number = annotated_objects(workspace.store, ids), {name: i for i, name in enumerate(names)}
    classes = np.array([number.get(category, -1) for category in objects.categories], np.int64)
    of_roi: dict[int, int] = {}
    for image_id, rois in rois_of(workspace.store, set_id, ids).items():
        here = slice(*np.searchsorted(objects.image_ids, [image_id, image_id + 1]))
        covered = object_classes(rois.boxes, objects.boxes[here], classes[here])
        of_roi.update(zip(rois.ids.tolist(), covered.tolist(), strict=True))
    return np.array([of_roi.get(roi, -1) for roi in block.query_roi_ids.tolist()], np.int16)


@dataclass(frozen=True)
class _Known:
    """A set whose rows are kept in memory by its id; the arrays themselves cannot be compared."""

    workspace: Workspace
    set_id: int
    revision: int
    found: PairOrders = field(compare=False)


@lru_cache(maxsize=6)
def _rows(known: _Known, order: MatchOrder, marks: int) -> np.ndarray:
    rows = _all_rows(known, order)
    if order.once is None:
        return rows
    groups = known.found.photos[rows] if order.once == "photos" else known.found.keys[rows] >> 2 * RANK_BITS
    first = np.full(int(groups.max(initial=0)) + 1, len(rows))
    first[groups[::-1]] = np.arange(len(rows))[::-1]  # of places with the same index, the last one stays
    return rows[np.sort(first[first < len(rows)])]


def _all_rows(known: _Known, order: MatchOrder) -> np.ndarray:
    found, rows = known.found, known.found.by[order.sort]
    if order.least is not None and order.sort == "similarity":
        rows = rows[position_of(found, rows, replace(order, descending=False), order.least) :]
    kept = _kept(known, order)
    if kept is not None and np.count_nonzero(kept) * FEW < len(kept):
        few = np.flatnonzero(kept)
        few = few[found.similarity[few] >= (-2 if order.least is None else np.float32(order.least))]
        rows = few[_ascending(order.sort, found.similarity[few], found.margin[few], found.cycle[few])]
    elif kept is not None:
        rows = rows[kept[rows]]
    if not order.descending:
        return rows
    if order.sort != "margin":
        return rows[::-1]
    measured = bisect_left(rows, True, key=lambda row: bool(np.isnan(found.margin[row])))
    return rows[::-1] if measured == len(rows) else np.concatenate([rows[:measured][::-1], rows[measured:]])


def _kept(known: _Known, order: MatchOrder) -> np.ndarray | None:
    """Return which pairs pass the filters, bool [P], in the order of the store; None without filters."""
    found, passed = known.found, None
    if order.least is not None and order.sort != "similarity":
        passed = found.similarity >= np.float32(order.least)
    if order.category is not None:
        number = found.names.index(order.category) if order.category in found.names else -2
        of_category = found.category == number
        passed = of_category if passed is None else passed & of_category
    for asked, verdict, tag in ((order.verdict, order.verdict, None), (order.tag, None, order.tag)):
        if asked is None:
            continue
        keys = marked_pairs(known.workspace.store, known.set_id, "any" if verdict == "none" else verdict, tag)
        marked = np.zeros(len(found.keys), bool)
        rows = np.searchsorted(found.keys, keys)
        marked[rows] = True  # a pair of the set is one of its keys
        marked = ~marked if verdict == "none" else marked
        passed = marked if passed is None else passed & marked
    return passed
