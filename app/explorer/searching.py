"""Searches by example for their page, kept in memory while people turn pages and change filters."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePath

import numpy as np

from orl_explorer.app.explorer.preview import PreviewSubject, encoder_features
from orl_explorer.db.models import Image
from orl_explorer.db.photos import known_files, photo_roots
from orl_explorer.db.sets.read import holds, neighbors_of, rois_of
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.making import Making
from orl_explorer.train.mining.search import Example, Filters, FoundRois, Hit, PixelBox, feature_of, hits, search_rois
from orl_explorer.train.mining.search_index import SetIndex, index_or_making
from orl_explorer.train.remembered import Remembered
from orl_explorer.train.settings import Precision
from orl_explorer.train.words import storable
from orl_explorer.train.workspace import Workspace

REMEMBERED = 2_000  # features of boxes that people drew


@dataclass(frozen=True)
class Searched:
    """The RoIs of a set in the order of their similarity to an example."""

    subject: PreviewSubject
    index: SetIndex
    found: FoundRois

    def page(self, start: int, count: int) -> list[Hit]:
        """Return some of them."""
        return hits(self.subject.workspace, self.index, self.found, start, count)


def features_of_set(subject: PreviewSubject) -> Features:
    """Return the features that the set was mined with."""
    return encoder_features(subject.workspace, subject.encoder.id, MineConfig.of(subject.mined).precision)


def searched(subject: PreviewSubject, example: Example, filters: Filters, patience: float) -> Searched | Making:
    """Search a set. Return the making of its index if that takes longer than ``patience`` seconds. Raises UserError."""
    features = features_of_set(subject)
    index = index_or_making(subject.workspace, subject.mined, features, patience)
    if isinstance(index, Making):
        return index
    asked = subject.workspace, subject.encoder.id, features.precision, example
    vector = _FEATURES.get(asked, lambda: feature_of(features, subject.encoder, example))
    return Searched(subject, index, _found(_Asked(*asked, subject.mined.id, index.names, filters, vector, index)))


@dataclass(frozen=True)
class _Asked:
    """A search. The vector follows from the example, the index from the set and the revision of its annotations."""

    workspace: Workspace
    encoder_id: int
    precision: Precision
    example: Example
    set_id: int
    names: tuple[str, ...]
    filters: Filters
    vector: np.ndarray = field(compare=False)
    index: SetIndex = field(compare=False)


_FEATURES = Remembered[tuple[Workspace, int, Precision, Example], np.ndarray](REMEMBERED)


@lru_cache(maxsize=64)
def _found(asked: _Asked) -> FoundRois:
    features = encoder_features(asked.workspace, asked.encoder_id, asked.precision)
    return search_rois(asked.index, features, asked.vector, asked.filters)


def image_of_path(subject: PreviewSubject, text: str) -> Image | None:
    """Return the photo of the dataset that a text names: by its path, or by that relative to the dataset's folder."""
    path = PurePath(storable(text.strip()))
    for dataset_id, root in photo_roots(subject.workspace.store, subject.dataset.id).items():
        own = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
        if (found := known_files(subject.workspace.store, dataset_id, [own]).get(own)) is not None:
            return found
    return None


def rois_in_set(subject: PreviewSubject, image_id: int) -> list[PixelBox]:
    """Return the boxes of a photo's RoIs in the set, in rank order."""
    found = rois_of(subject.workspace.store, subject.mined.id, [image_id]).get(image_id)
    return [(x, y, w, h) for x, y, w, h in found.boxes.tolist()] if found else []


def pair_of(
    subject: PreviewSubject, query: Image | None, box: PixelBox, hit_image: Image, hit_box: PixelBox
) -> dict[str, str]:
    """Return the URL parameters of the Pair page for a RoI that was found.

    The photo of the query is on the left, if the set holds it and it is another one: the RoI that was found is in its
    neighbour, or in a photo beside it. Else that photo is on the left, with the RoI selected. Raises UserError.
    """
    found = rois_in_set(subject, hit_image.id)
    if hit_box not in found:
        raise UserError(f"The set {subject.mined.name} was deleted, so this result cannot be opened.")
    k = found.index(hit_box)
    store, set_id = subject.workspace.store, subject.mined.id
    if query is None or query.id == hit_image.id or not holds(store, set_id, query.id):
        return {"q": str(hit_image.id), "roi": f"q{k}"}
    near = {n.image.id: n.rank for n in neighbors_of(store, set_id, query.id)}
    place = {"nn": str(near[hit_image.id])} if hit_image.id in near else {"nn": "0", "with": str(hit_image.id)}
    rois = rois_in_set(subject, query.id)
    selected = {"pair": f"{rois.index(box)}-{k}"} if box in rois else {"roi": f"n{k}"}
    return {"q": str(query.id), **place, **selected}
