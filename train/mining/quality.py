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


def quality_of(workspace: Workspace, name: str) -> Measures:
    """Return the measures of a complete set, measured again if annotations of its photos or the measures have changed.

    Raises StoreError if there is no such set.
    """
    found = complete_set_named(workspace.store, name)
    objects = dataset_by_id(workspace.store, found.dataset_id).annotation_count
    kept = kept_measures(found)
    if kept and not is_outdated(found) and kept["annotated_objects"] == objects:
        return kept
    return measure_and_keep(workspace.store, found.id, objects)


def measure_and_keep(store: Store, set_id: int, annotated: int) -> Measures:
    """Measure a set as ``measure`` does, and keep the measures with it."""
    measures = measure(store, set_id, annotated)
    keep_quality(store, set_id, {KEY: VERSION} | measures)
    return measures


def kept_measures(mined: CorrespondenceSet) -> Measures:
    """Return the measures that are kept with a set; none if it has not been measured."""
    return {name: value for name, value in (mined.quality or {}).items() if name != KEY}


def is_outdated(mined: CorrespondenceSet) -> bool:
    """Return whether a set was measured when there were fewer measures or others."""
    return mined.quality is not None and mined.quality.get(KEY, 1) != VERSION


def measure(store: Store, set_id: int, annotated: int) -> Measures:
    """Measure a set, complete or not. annotated: number of the dataset's annotations; 0 measures without them."""
    rows = whole_set(store, set_id)
    ids, mined = rows.images[:, 0], as_mined(rows)
    del rows  # a gigabyte, at twelve million pairs
    measures: Measures = {"annotated_objects": annotated} | without_labels(mined)
    if annotated:
        measures |= with_labels(mined, as_objects(annotated_objects(store, ids.tolist()), ids))
    return measures


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
