"""Quality of correspondence sets in the store, measured by ``orl.measure.quality``."""

from __future__ import annotations

import numpy as np

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.db.sets.whole import AnnotatedObjects, WholeSet, annotated_objects, whole_set
from orl_explorer.db.sets.write import keep_quality
from orl_explorer.db.store import Store
from orl_explorer.orl.measure.quality import Measures, Mined, Objects, with_labels, without_labels
from orl_explorer.train.workspace import Workspace

VERSION = 2  # of the measures, kept with them; 1, without a number, had no CorLoc, AR, mBO and distinct pairs
KEY = "version"
REVISION = "revision"  # of the dataset, read before its annotations were; kept with the measures, too


def quality_of(workspace: Workspace, name: str) -> Measures:
    """Return the measures of a complete set, measured again if the dataset or the measures have changed since.

    Raises StoreError if there is no such set.
    """
    found = complete_set_named(workspace.store, name)
    revision = dataset_by_id(workspace.store, found.dataset_id).revision
    kept = kept_measures(found)
    if kept and not is_outdated(found) and (found.quality or {}).get(REVISION) == revision:
        return kept
    return measure_and_keep(workspace.store, found.id, found.dataset_id)


def measure_and_keep(store: Store, set_id: int, dataset_id: int) -> Measures:
    """Measure a set of a dataset as ``measure`` does, and keep the measures with it, if the store can be written."""
    dataset = dataset_by_id(store, dataset_id)
    measures = measure(store, set_id, annotated=dataset.annotation_count > 0)
    if not store.read_only:
        keep_quality(store, set_id, {KEY: VERSION, REVISION: dataset.revision} | measures)
    return measures


def kept_measures(mined: CorrespondenceSet) -> Measures:
    """Return the measures that are kept with a set; none if it has not been measured."""
    return {name: value for name, value in (mined.quality or {}).items() if name not in (KEY, REVISION)}


def is_outdated(mined: CorrespondenceSet) -> bool:
    """Return whether a set was measured when there were fewer measures or others."""
    return mined.quality is not None and mined.quality.get(KEY, 1) != VERSION


def measure(store: Store, set_id: int, *, annotated: bool) -> Measures:
    """Measure a set, complete or not; without labels if its photos have none.

    annotated: whether the dataset has annotations, perhaps of other photos.
    """
    rows = whole_set(store, set_id)
    ids, mined = rows.images[:, 0], as_mined(rows)
    del rows  # a gigabyte, at twelve million pairs
    objects = as_objects(annotated_objects(store, ids.tolist() if annotated else []), ids)
    measures: Measures = {"annotated_objects": len(objects.boxes)} | without_labels(mined)
    return measures | with_labels(mined, objects) if len(objects.boxes) else measures


def as_mined(rows: WholeSet) -> Mined:
    """Convert rows of the store to arrays whose images and RoIs are numbered from 0."""
    ids, roi_ids = rows.images[:, 0], rows.rois[:, 1]
    order = np.argsort(roi_ids, kind="stable")

    def roi(column: int) -> np.ndarray:
        return order[np.searchsorted(roi_ids, rows.pairs[:, column], sorter=order)]

    return Mined(
        sizes=rows.images[:, 1:],
        start=np.searchsorted(rows.rois[:, 0], np.append(ids, np.iinfo(np.int64).max)),
        boxes=rows.rois[:, 2:].astype(np.int16),
        queries=np.arange(len(ids)),
        neighbors=np.searchsorted(ids, rows.neighbors[:, 1]).reshape(len(ids), -1),
        nearness=rows.nearness.reshape(len(ids), -1),
        query=roi(2),
        key=roi(3),
        similarity=rows.similarity,
        margin=rows.margin,
        cycle=rows.cycle,
    )


def as_objects(found: AnnotatedObjects, image_ids: np.ndarray) -> Objects:
    """Convert annotations of the images with these ids, ascending, to arrays numbered from 0."""
    names = sorted(set(found.categories))
    number = {name: i for i, name in enumerate(names)}
    return Objects(
        start=np.searchsorted(found.image_ids, np.append(image_ids, np.iinfo(np.int64).max)),
        boxes=found.boxes,
        classes=np.array([number[c] for c in found.categories], np.int64),
        difficult=found.difficult,
        crowd=found.crowd,
        names=names,
    )
