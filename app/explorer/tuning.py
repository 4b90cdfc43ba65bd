"""The trials of the Tune page: try settings on a sample of a set's queries. All people share them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np

from orl_explorer.app.explorer import preview
from orl_explorer.app.explorer.background import BackgroundWork
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.lost import lost_images
from orl_explorer.db.models import Image
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.proposals import proposal_methods
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import set_by_id, set_rows_of
from orl_explorer.orl.measure.quality import Measures, Mined
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.sample import drawn, sample_of, saved
from orl_explorer.train.mining.sweep import try_all
from orl_explorer.train.mining.trial import Found, Trial
from orl_explorer.train.progress import Progress
from orl_explorer.train.remembered import computed_once
from orl_explorer.train.workspace import Workspace

CELLS = 4096  # of heat maps, kept for each sample

# Settings whose effect only a new set shows.
FIXED = ("precision", "neighbor_search", "skip_duplicates", "duplicate_similarity")


@dataclass(frozen=True)
class Numbers:
    """The measures of settings on a sample of queries. For counts and rois, see ``train.mining.trial.Found``."""

    queries: int
    counts: dict[str, int]
    rois: int
    missing: int
    measures: Measures
    state: tuple[int, int]  # of the features: if RoIs are missing, new features change the numbers

    def value(self, name: str) -> float | None:
        """Return a measure by name, or a count per query (``rois``, ``raw``, rejections), or the total ``missing``.

        None if unknown.
        """
        if name == "missing":
            return float(self.missing)
        if name == "rois":
            return (self.counts["kept"] + self.counts["fallback"]) / self.queries
        if name in self.counts:
            return self.counts[name] / self.queries
        return self.measures.get(name)


@dataclass(frozen=True)
class BestPair:
    """The best pair of a query and a neighbour. Boxes are int16 [4], x y w h."""

    rank: int
    neighbor: Image
    query_box: np.ndarray
    key_box: np.ndarray
    similarity: float


@dataclass(frozen=True)
class Best:
    """A query, its RoIs that have a feature, int16 [B, 4], and its best pairs by neighbour."""

    image: Image
    boxes: np.ndarray
    pairs: list[BestPair]


class Tuner:
    """A sample of a set's queries, on which several people can try settings at once."""

    def __init__(self, subject: PreviewSubject, queries: np.ndarray) -> None:
        self.subject, self.queries = subject, queries
        self._work: tuple[str, BackgroundWork] | None = (
            None  # at most one at a time, with the part of the page that waits for it
        )
        self._lock = threading.RLock()
        self._cells: dict[MineConfig, Numbers] = {}
        sample = sample_of(subject.workspace, subject.mined, self._photos, queries, self.own.neighbors)
        self._vectors = preview.box_features(subject)
        maps = preview.set_attention(subject), preview.set_map_boxes(subject)
        self._trial = Trial(subject.workspace, sample, self._vectors, *maps)

    @property
    def own(self) -> MineConfig:
        """The set's settings."""
        return MineConfig.of(self.subject.mined)

    def tried(self, config: MineConfig) -> MineConfig:
        """Return the settings that can be tried now: these, but with stored raw boxes and features."""
        fixed = {name: getattr(self.own, name) for name in FIXED}
        if self.own.skip_duplicates:  # which further photos are neighbours is not stored
            fixed["neighbors"] = min(config.neighbors, self.own.neighbors)
        config = config.model_copy(update=fixed)
        if not self.proposed(config):
            raw = {name: getattr(self.own, name) for name in ("proposals", "proposal_scale", "segment_size")}
            config = config.model_copy(update=raw)
        return config

    def proposed(self, config: MineConfig) -> bool:
        """Return whether the raw boxes for these settings are stored."""
        with self._lock:
            return self._wide(config).proposed(config)

    def unsearched(self, config: MineConfig) -> int:
        """Return the number of photos on which selective search with these settings has not run."""
        with self._lock:
            return len(self._wide(config).unsearched(config)) if config.searches else 0

    def search(self, config: MineConfig) -> Callable[[Progress], None]:
        """Return work that runs selective search on the photos without raw boxes for these settings."""
        with self._lock:
            trial = self._wide(config)
        return lambda progress: trial.search(config, progress)

    def unmapped(self, config: MineConfig) -> int:
        """Return the number of photos that need a forward pass for attention or boxes of these settings."""
        with self._lock:
            return len(self._wide(config).unmapped(config))

    def find(self, config: MineConfig) -> Found:
        """Return what these settings find, without RoIs that have no feature."""
        with self._lock:
            return self._wide(config).find(config)

    def numbers(self, config: MineConfig) -> Numbers:
        """Return the measures of these settings."""
        with self._lock:
            return self._numbers(config, self.find(config))

    def unstored(self, config: MineConfig) -> int:
        """Return the number of the queries' RoIs that a run with these settings would embed."""
        with self._lock:
            return self._wide(config).unstored(config)

    @cached_property
    def saved(self) -> tuple[Mined, Numbers]:
        """The set's own pairs of these queries, and their measures; rejections are those of its settings."""
        with self._lock:
            mined = saved(self.subject.workspace, self.subject.mined, self._trial.sample)
            measures = _with_mean(mined, self._trial.measure(self.own.neighbors, mined))
            rois = int(mined.mined[mined.image_of].sum())
            rows = set_rows_of(self.subject.workspace.store, self.subject.mined.id, self.queries.tolist())
            fallback = sum(row.fallback for row in rows.values())  # each has one RoI, the fall-back box
            counts = {"kept": rois - fallback, "fallback": fallback}
            if self.proposed(self.own) and not self.unmapped(self.own):
                judged = self.find(self.own).counts
                counts = judged if judged["kept"] + judged["fallback"] == rois else counts
            return mined, Numbers(len(self.queries), counts, len(mined.boxes), 0, measures, (0, 0))

    def best(self, config: MineConfig) -> Best:
        """Return the RoIs of a sample's only query, and its best pair with each neighbour."""
        with self._lock:
            found, sample = self.find(config).mined, self._trial.sample
            ids = sample.ids(config.neighbors)
            query = int(found.queries[0])
            pairs = []
            for rank, neighbor in enumerate(found.neighbors[0].tolist(), 1):
                own = np.flatnonzero(found.image_of[found.key] == neighbor)[:1]
                pairs += [
                    BestPair(
                        rank,
                        sample.images[int(ids[neighbor])],
                        found.boxes[found.query[i]],
                        found.boxes[found.key[i]],
                        float(found.similarity[i]),
                    )
                    for i in own.tolist()
                ]
            here = slice(*found.start[query : query + 2])
            return Best(sample.images[int(ids[query])], found.boxes[here], pairs)

    @cached_property
    def methods(self) -> list[str]:
        """Names of the stored proposals of the sample's queries."""
        return proposal_methods(self.subject.workspace.store, self.queries.tolist())

    def cell(self, config: MineConfig) -> Numbers | None:
        """Return the result of a sweep with these settings, if it is still valid."""
        found = self._cells.get(config)
        return found if found and (not found.missing or found.state == self._vectors.state) else None

    @property
    def working(self) -> bool:
        """Whether work is running."""
        return self._work is not None and self._work[1].running

    def start(self, part: str, do: Callable[[Progress], None]) -> None:
        """Start work for a part of a page, unless other work is running."""
        with self._lock:
            if not self.working:
                self._work = part, BackgroundWork(do)

    def work_for(self, part: str) -> BackgroundWork | None:
        """Return the work that was started last, if it was for this part of a page."""
        return self._work[1] if self._work is not None and self._work[0] == part else None

    def prepare(self, configs: Sequence[MineConfig]) -> Callable[[Progress], None]:
        """Return work that computes the missing maps and features for these settings."""

        def do(progress: Progress) -> None:
            for config in configs:
                with self._lock:
                    trial = self._wide(config)
                    unmapped = trial.unmapped(config)
                progress.phase("Computing maps of photos", len(unmapped))
                for image in unmapped:
                    trial.map(image, config)
                    progress.advance()
                with self._lock:
                    todo = self._wide(config).unembedded(config)
                progress.phase("Embedding RoIs", sum(map(self._vectors.missing, todo)))
                for boxes in todo:
                    missing = self._vectors.missing(boxes)
                    self._vectors.get(boxes)
                    progress.advance(missing)

        return do

    def sweep(self, configs: Sequence[MineConfig]) -> Callable[[Progress], None]:
        """Return work that tries settings one at a time, so that sliders do not wait long."""

        def do(progress: Progress) -> None:
            todo = [config for config in configs if self.cell(config) is None]
            progress.phase("Trying settings", len(todo))
            for config in todo:
                with self._lock:
                    for own, found in try_all(self._wide(config), [config]):
                        self._cells[own] = self._numbers(own, found)
                        while len(self._cells) > CELLS:
                            self._cells.pop(next(iter(self._cells)))
                progress.advance()
                time.sleep(0.01)  # lets other threads take the lock

        return do

    @property
    def _photos(self) -> Embeddings:
        return preview.encoder_features(self.subject.workspace, self.subject.encoder.id, self.own.precision).images

    def _numbers(self, config: MineConfig, found: Found) -> Numbers:
        measures = _with_mean(found.mined, found.measures)
        return Numbers(len(self.queries), found.counts, found.rois, found.missing, measures, self._vectors.state)

    def _wide(self, config: MineConfig) -> Trial:
        """Return the trial, with enough neighbours in its sample."""
        trial = self._trial
        there = trial.sample.neighbors.shape[1]
        if there < min(config.neighbors, self.subject.mined.image_count - 1):
            images = self._photos
            images.refresh()
            trial.sample = sample_of(
                self.subject.workspace, self.subject.mined, images, self.queries, max(config.neighbors, 2 * there)
            )
        return trial


def tuner(subject: PreviewSubject, size: int, seed: int) -> Tuner:
    """Return the tuner of a sample of ``size`` queries, the same for the same seed. Raises UserError.

    Photos that are gone or unreadable are not drawn.
    """
    ids, lost = stored_ids(subject), lost_images(subject.workspace.store, subject.dataset.id)
    readable = ids[~np.isin(ids, np.array(list(lost), np.int64))]
    if not len(readable):
        raise UserError("All photos of this set are gone or unreadable.")
    return _tuner(subject, drawn(readable, size, seed))


def tuner_of(subject: PreviewSubject, image_id: int) -> Tuner | None:
    """Return the tuner of a single query; None if it is not in the set."""
    ids = stored_ids(subject)
    at = int(np.searchsorted(ids, image_id))
    return _tuner(subject, ids[at : at + 1]) if at < len(ids) and ids[at] == image_id else None


def stored_ids(subject: PreviewSubject) -> np.ndarray:
    """Return the ids of all photos of the set, int64 [n], ascending."""
    return _set_ids(subject.workspace, subject.mined.id, subject.mined.created_at)


def _with_mean(mined: Mined, measures: Measures) -> Measures:
    mean = {"similarity_mean": float(mined.similarity.mean())} if len(mined.similarity) else {}
    return measures | mean


def _tuner(subject: PreviewSubject, queries: np.ndarray) -> Tuner:
    mined, revision = subject.mined, subject.dataset.revision  # it grows when annotations change
    encoder = preview.encoder_state(subject.encoder)
    return _opened(subject.workspace, mined.id, mined.created_at, encoder, revision, tuple(queries.tolist()))


@computed_once(4)
def _set_ids(workspace: Workspace, set_id: int, created_at: datetime) -> np.ndarray:
    return np.array(sorted(write.matched_images(workspace.store, set_id)), np.int64)


@computed_once(16)
def _opened(
    workspace: Workspace,
    set_id: int,
    created_at: datetime,
    encoder_state: preview.EncoderState,
    revision: int,
    queries: tuple[int, ...],
) -> Tuner:
    mined = set_by_id(workspace.store, set_id)
    if mined is None:
        raise UserError("The set was deleted.")
    dataset, encoder = (
        dataset_by_id(workspace.store, mined.dataset_id),
        encoder_by_id(workspace.store, mined.encoder_id),
    )
    subject = PreviewSubject(workspace, mined, dataset, encoder)
    return Tuner(subject, np.array(queries, np.int64))
