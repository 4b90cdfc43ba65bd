"""A sample of queries with their neighbours, to try settings before mining a whole dataset."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from orl_explorer.db.models import CorrespondenceSet, Dataset, Image
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.photos import dataset_by_id, dataset_named, digests_of, usable_images
from orl_explorer.db.sets import read, write
from orl_explorer.orl.matching import nearest_to
from orl_explorer.orl.measure.quality import Mined
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features, photo_keys
from orl_explorer.train.words import printable
from orl_explorer.train.workspace import Workspace


@dataclass(frozen=True)
class Sample:
    """Query images and their neighbours: ids int64 [m] and [m, K], and the cosine float32 [m, K]."""

    dataset: Dataset
    images: dict[int, Image]  # queries and neighbours, by id
    queries: np.ndarray
    neighbors: np.ndarray
    nearness: np.ndarray

    def ids(self, k: int) -> np.ndarray:
        """Return the ids of the queries and of their k nearest, int64 [n], ascending."""
        return np.union1d(self.queries, self.neighbors[:, :k])


def draw_sample(
    workspace: Workspace,
    dataset: str,
    features: Features,
    most: int,
    size: int,
    seed: int,
    only: Collection[str] | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Sample:
    """Draw queries from a dataset that was mined with an encoder, with ``most`` neighbours from the whole dataset.

    Photos that are kept out of mining are neither. only: names of the photos to draw queries from, with or without
    folder and suffix; those without a photo are logged. Raises UserError.
    """
    row = dataset_named(workspace.store, dataset)
    out = {*kept_out(workspace.store, row.id).tolist()}
    images = [image for image in usable_images(workspace.store, row.id) if image.id not in out]
    ids = np.array([image.id for image in images], np.int64)
    unknown = features.images.missing(photo_keys(images))
    if unknown:
        raise UserError(
            f"{unknown} of the {len(ids)} photos of '{dataset}' have no features of this encoder. "
            "Mine the dataset with it once, then sweep."
        )
    if len(ids) <= most:
        besides = f", besides {len(out)} that are kept out of mining" if out else ""
        raise UserError(f"K = {most} neighbours need at least {most + 1} photos. '{dataset}' has {len(ids)}{besides}.")
    allowed = ids if only is None else np.array([i.id for i in images if photos_named(i, frozenset(only))], np.int64)
    if not len(allowed):
        raise UserError(f"None of the {len(only or ())} names of queries matches a photo of '{dataset}'.")
    if only is not None and (alone := sorted(set(only).difference(*map(_names, images)))):
        log(f"Names of queries that match no photo of '{dataset}': {len(alone)}, such as {printable(alone[0])}.")
    queries = drawn(allowed, size, seed)
    neighbors, nearness = _nearest(workspace, features.images, ids, queries, most)
    involved = {*queries.tolist(), *neighbors.ravel().tolist()}
    by_id = {image.id: image for image in images if image.id in involved}
    return Sample(row, by_id, queries, neighbors, nearness)


def drawn(ids: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draw at most ``size`` of the ids, int64 [m], ascending. The same seed draws the same."""
    return np.sort(np.random.default_rng(seed).choice(ids, min(size, len(ids)), replace=False))


def sample_of(
    workspace: Workspace, mined: CorrespondenceSet, stored: Embeddings, queries: np.ndarray, most: int
) -> Sample:
    """Return queries of a set, int64 [m], with their neighbours in the set, completed to ``most`` from its features.

    stored: features of photos by the set's encoder. A query has at most as many neighbours as there are other photos,
    or as the set has, if it skips near-duplicates.
    """
    store = workspace.store
    found = [read.neighbors_of(store, mined.id, int(query)) for query in queries]
    own = int(mined.params["neighbors"])
    neighbors = np.array([[n.image.id for n in near[:own]] for near in found], np.int64)
    nearness = np.array([[n.similarity for n in near[:own]] for near in found], np.float32)
    if most > own and not mined.params.get("skip_duplicates"):
        ids = np.array(sorted(write.matched_images(store, mined.id)), np.int64)
        further, values = _nearest(workspace, stored, ids, queries, min(most, len(ids) - 1))
        # Not simply those from ``own`` on: the set's neighbours may be of another search, or imported.
        known = (further[:, :, None] == neighbors[:, None]).any(axis=2)
        beyond = np.argsort(known, axis=1, kind="stable")[:, : further.shape[1] - own]
        neighbors = np.concatenate([neighbors, np.take_along_axis(further, beyond, axis=1)], axis=1)
        nearness = np.concatenate([nearness, np.take_along_axis(values, beyond, axis=1)], axis=1)
    ids = np.union1d(queries, neighbors)
    return Sample(
        dataset_by_id(store, mined.dataset_id), read.images_by_id(store, ids.tolist()), queries, neighbors, nearness
    )


def saved(workspace: Workspace, mined: CorrespondenceSet, drawn: Sample) -> Mined:
    """Return the mined rows of a sample of a set's queries."""
    k = int(mined.params["neighbors"])
    ids = drawn.ids(k)
    rois = read.rois_of(workspace.store, mined.id, ids.tolist())
    start = np.concatenate([[0], np.cumsum([len(rois[i].ids) for i in ids.tolist()])])
    at = {int(roi): n for n, roi in enumerate(np.concatenate([rois[i].ids for i in ids.tolist()]))}
    found = read.pair_rows(workspace.store, mined.id, drawn.queries.tolist())
    pairs = [pair for query in drawn.queries.tolist() for pair in found[query]]
    images = [drawn.images[i] for i in ids.tolist()]
    return Mined(
        sizes=np.array([[image.width, image.height] for image in images]),
        start=start,
        boxes=np.concatenate([rois[i].boxes for i in ids.tolist()]),
        queries=np.searchsorted(ids, drawn.queries),
        neighbors=np.searchsorted(ids, drawn.neighbors[:, :k]),
        nearness=drawn.nearness[:, :k],
        query=np.array([at[pair.query_roi_id] for pair in pairs], np.int64),
        key=np.array([at[pair.key_roi_id] for pair in pairs], np.int64),
        similarity=np.array([pair.similarity for pair in pairs], np.float32),
        margin=np.array([pair.margin for pair in pairs], np.float32),  # None becomes NaN
        cycle=np.array([pair.cycle for pair in pairs], np.float32),
    )


def _nearest(
    workspace: Workspace, stored: Embeddings, ids: np.ndarray, queries: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    whole = stored.get(digests_of(workspace.store, ids))
    near = [nearest_to(whole, ids, int(query), most) for query in queries]
    return np.stack([n.ids for n in near]), np.stack([n.similarity for n in near])


def photos_named(image: Image, names: frozenset[str]) -> bool:
    """Return whether a photo has one of the names, with or without folder and suffix."""
    return not names.isdisjoint(_names(image))


def _names(image: Image) -> set[str]:
    path = PurePosixPath(image.path)
    return {image.path, path.name, path.stem}
