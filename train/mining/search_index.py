"""The RoIs of a set as flat arrays, to be searched, and for a large set their components in a few bytes each.

The index of a small set is read from the store. That of a large one is made once, in the workspace's cache.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import dataset_by_id, digests_of
from orl_explorer.db.sets.read import SetRois, set_rois
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.orl.compact import HEAD, Components, rows_to_learn_from
from orl_explorer.orl.measure.quality import object_classes
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import replaced_folder
from orl_explorer.train.mining.features import Features, roi_keys
from orl_explorer.train.mining.making import Making, MakingReport, SetFiles, forget_failure, found_or_making
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

ALL = 50_000  # RoIs of a set up to which every one is compared
BLOCK = 4_096  # RoIs whose features are read at once
PHOTOS = 500  # photos whose annotations are read at once
HEADER = "search.json"
FORMAT = 1  # of the files; others are made anew


@dataclass(frozen=True)
class SetIndex:
    """The RoIs of a set, to be searched.

    keys: int64 [R], of their features. category: int16 [R], of the annotated object that a RoI covers, an index into
    names, or -1. head, tail: int8 [R, ``HEAD``] and [R, …], the codes by components; None if every RoI is compared.
    """

    rois: SetRois
    keys: np.ndarray
    category: np.ndarray
    names: tuple[str, ...]
    components: Components | None = None
    head: np.ndarray | None = None
    tail: np.ndarray | None = None

    def image_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the id of each RoI's photo: int64 [n]."""
        return self.rois.images[np.searchsorted(self.rois.start, rows, "right") - 1]


def index_of_set(
    workspace: Workspace,
    mined: CorrespondenceSet,
    features: Features,
    report: MakingReport = lambda done, total: None,
) -> SetIndex:
    """Return the index of a complete set; make it if a large set has none. Raises UserError if features are missing.

    report: called with the RoIs that are done, and their total.
    """
    return _index_at_hand(workspace, mined) or _made(workspace, mined, features, report)


def index_or_making(
    workspace: Workspace, mined: CorrespondenceSet, features: Features, patience: float
) -> SetIndex | Making:
    """Return the index of a set. If a large one has none, start a thread to make it, and wait ``patience`` seconds."""
    return found_or_making(
        lambda: _index_at_hand(workspace, mined),
        _files(workspace, mined).folder,
        mined.candidate_count,
        lambda report: _made(workspace, mined, features, report),
        "the index of the set",
        patience,
    )


def try_index_again(workspace: Workspace, mined: CorrespondenceSet) -> None:
    """Clear the failure of making the index of a set, to try again."""
    forget_failure(_files(workspace, mined).folder)


def drop_index(workspace: Workspace, set_id: int) -> None:
    """Delete the index of a set. It can be made again."""
    shutil.rmtree(workspace.search / str(set_id), ignore_errors=True)


def is_large(mined: CorrespondenceSet) -> bool:
    """Return whether a set is searched by a compact index."""
    return mined.candidate_count > ALL


def refuse_missing(features: Features, keys: np.ndarray) -> None:
    """Raise UserError if features of a set's RoIs, by key, are not stored any more."""
    missing = features.rois.missing(keys)
    if missing:
        raise UserError(
            f"{missing:,} of {plural(len(keys), 'RoI')} of the set have no stored feature any more. `orl embed --rois` "
            f"computes them again with '{features.name}'."
        )


# Inside ----------------------------------------------------------------------------------------------------


def _index_at_hand(workspace: Workspace, mined: CorrespondenceSet) -> SetIndex | None:
    files = _files(workspace, mined)
    if not is_large(mined):
        return _plain(workspace, mined.id, mined.dataset_id, files.revision)
    folder = files.folder
    return _opened(folder, files.revision) if files.are_in(folder) else None


@lru_cache(maxsize=8)
def _plain(workspace: Workspace, set_id: int, dataset_id: int, revision: int) -> SetIndex:
    """Read the RoIs of a set from the store. revision: of its annotations, -1 without any."""
    rois = set_rois(workspace.store, set_id)
    digests = np.repeat(digests_of(workspace.store, rois.images), np.diff(rois.start))
    names = tuple(sorted(dataset_by_id(workspace.store, dataset_id).categories or {})) if revision >= 0 else ()
    category = _categories(workspace, rois, names) if names else np.full(len(rois.ids), -1, np.int16)
    return SetIndex(rois, roi_keys(digests, rois.boxes), category, names)


def _categories(workspace: Workspace, rois: SetRois, names: tuple[str, ...]) -> np.ndarray:
    """Return the category of the annotated object that each RoI covers, int16 [R]; -1 for none."""
    found, number = np.full(len(rois.ids), -1, np.int16), {name: i for i, name in enumerate(names)}
    for first in range(0, len(rois.images), PHOTOS):
        ids = rois.images[first : first + PHOTOS].tolist()
        objects = annotated_objects(workspace.store, ids)
        classes = np.array([number.get(category, -1) for category in objects.categories], np.int64)
        for image in np.unique(objects.image_ids).tolist():
            here, own = slice(*np.searchsorted(objects.image_ids, [image, image + 1])), rois.of(image)
            found[own] = object_classes(rois.boxes[own], objects.boxes[here], classes[here])
    return found


def _made(workspace: Workspace, mined: CorrespondenceSet, features: Features, report: MakingReport) -> SetIndex:
    """Make the index of a large set from its stored features, and replace an older one."""
    files = _files(workspace, mined)
    plain = _plain.__wrapped__(workspace, mined.id, mined.dataset_id, files.revision)  # too large to be kept in memory
    features.rois.refresh()
    refuse_missing(features, plain.keys)
    count, rows = len(plain.keys), features.rois.lazily(plain.keys)
    components = Components.of(features.rois.scattered(plain.keys[rows_to_learn_from(count)]))
    folder = files.folder
    with replaced_folder(folder) as aside:
        arrays = {"keys": plain.keys, "category": plain.category, **vars(plain.rois), **vars(components)}
        for name, values in arrays.items():
            np.save(aside / f"{name}.npy", values)
        wide = len(components.scale)
        head = np.lib.format.open_memmap(aside / "head.npy", "w+", np.int8, (count, min(HEAD, wide)))
        tail = np.lib.format.open_memmap(aside / "tail.npy", "w+", np.int8, (count, max(0, wide - HEAD)))
        for start in range(0, count, BLOCK):
            here = slice(start, start + BLOCK)
            head[here], tail[here] = np.split(components.codes(rows[here]), [HEAD], axis=1)
            report(min(start + BLOCK, count), count)
        head.flush()
        tail.flush()
        files.describe(aside, plain.names)
    return _opened(folder, files.revision)


@lru_cache(maxsize=8)
def _opened(folder: Path, revision: int) -> SetIndex:
    names = tuple(json.loads((folder / HEADER).read_text())["names"])
    read = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    rois = SetRois(**{name: read.pop(name) for name in SetRois.__dataclass_fields__})
    components = Components(**{name: read.pop(name) for name in Components.__dataclass_fields__})
    return SetIndex(rois, read["keys"], read["category"], names, components, read["head"], read["tail"])


def _files(workspace: Workspace, mined: CorrespondenceSet) -> SetFiles:
    """Return the files of a set's index."""
    return SetFiles.of(workspace, mined, workspace.search, HEADER, FORMAT, mined.candidate_count)
