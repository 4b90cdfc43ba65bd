"""Trials of settings on a sample of queries, by the functions of mining, with cached intermediate results."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from orl_explorer.db.models import Image
from orl_explorer.db.sets.whole import AnnotatedObjects, annotated_objects
from orl_explorer.orl.matching import Pairs, cosines
from orl_explorer.orl.measure.quality import Measures, Mined, with_labels, without_labels
from orl_explorer.orl.objectness import sparseness
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.candidates import Traits, candidates, choose_pairs, raw_boxes, searches, traits, with_map
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import AttentionMaps, Boxes, BoxFeatures, MapBoxes
from orl_explorer.train.mining.propose import propose_all
from orl_explorer.train.mining.quality import as_objects
from orl_explorer.train.mining.sample import Sample
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

JUDGED = 50_000  # photos with candidates in memory, about 1 KB each
MATRICES = 256 << 20  # bytes of cosines
FOUND = 64  # settings with results in memory, at most some MB each
_ONE_AT_A_TIME = threading.Lock()

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Found:
    """Results of one group of settings on a sample.

    mined: RoIs and pairs for ``orl.measure.quality``, without RoIs that have no feature.
    counts: number of the queries' raw boxes by verdict, including ``raw`` and ``kept``, and ``fallback``, number of
    queries that use the fall-back RoI. rois, missing: number of RoIs of queries and neighbours, and of those without a
    feature. cut: float32 [n], similarity of pairs that only min_similarity rejects.
    """

    mined: Mined
    counts: dict[str, int]
    rois: int
    missing: int
    cut: np.ndarray
    measures: Measures


@dataclass(frozen=True)
class _Judged:
    """Candidates of a photo, and the number of its raw boxes by verdict."""

    candidates: Boxes
    counts: dict[str, int]


class Trial:
    """Tries settings on a sample. Not thread-safe."""

    def __init__(
        self, workspace: Workspace, sample: Sample, vectors: BoxFeatures, attention: AttentionMaps, boxes: MapBoxes
    ) -> None:
        self.sample = sample  # may be replaced by one of the same queries with more neighbours
        self._workspace, self._vectors, self._attention, self._boxes = workspace, vectors, attention, boxes
        self._raw: dict[tuple[str, int], np.ndarray] = {}
        self._objectness: dict[tuple[str, int, str], np.ndarray] = {}  # of raw boxes by its kind, NaN if not computed
        self._annotated: dict[int, AnnotatedObjects] = {}  # of the photos that K uses
        self._judged: _Kept[tuple, _Judged] = _Kept(JUDGED)
        self._matrices: _Kept[tuple, np.ndarray] = _Kept(MATRICES, lambda matrix: matrix.nbytes)
        self._sparse: _Kept[tuple, np.ndarray] = _Kept(JUDGED)
        self._found: _Kept[MineConfig, Found] = _Kept(FOUND)
        self._state = vectors.state

    def proposed(self, config: MineConfig) -> bool:
        """Return whether every photo of the sample has raw boxes for these settings."""
        return not self.unsearched(config)

    def unsearched(self, config: MineConfig) -> list[Image]:
        """Return the photos that have no raw boxes for these settings, in the store or in memory."""
        images = [image for image in self._images(config) if (config.method, image.id) not in self._raw]
        raw = raw_boxes(self._workspace.store, images, config) if images else {}
        for image_id, boxes in raw.items():
            self._put_raw(config, image_id, boxes)
        return [image for image in images if image.id not in raw]

    def search(self, config: MineConfig, progress: Progress) -> None:
        """Find raw boxes of the photos that have none, and keep them in memory. Raises Stopped, UserError."""
        images = self.unsearched(config)
        if not config.searches:
            self._read(config)
        progress.phase("Running selective search", len(images))
        photos = Photos.of(self._workspace.store, self.sample.dataset.id)
        jobs = searches(images, photos, config)
        found = propose_all(jobs, len(images), os.cpu_count() or 1, progress)
        with closing(found):
            for image, boxes in zip(images, found, strict=True):
                if isinstance(boxes, str):
                    raise UserError(f"Cannot read {image.path}: {boxes}")
                self._put_raw(config, image.id, boxes)
                progress.advance()

    def unmapped(self, config: MineConfig) -> list[Image]:
        """Return the photos that need a forward pass for attention or boxes before these settings can be tried."""
        return [image for image in self._images(config) if self._unmapped(image, config)]

    def map(self, image: Image, config: MineConfig) -> None:
        """Compute what these settings need of a photo's map, and keep it in memory. Raises UserError."""
        self._attention.get([image], config)
        self._boxes.get([image], config)

    def _unmapped(self, image: Image, config: MineConfig) -> bool:
        return bool(self._attention.missing([image], config) or self._boxes.missing([image], config))

    def unembedded(self, config: MineConfig) -> list[Boxes]:
        """Return the candidates of photos in which some have no feature."""
        return [boxes for _, boxes, there in self._sides(config) if not there.all()]

    def unstored(self, config: MineConfig) -> int:
        """Count the RoIs of queries that a run with these settings would embed; features in memory do not count."""
        queries = set(self.sample.queries.tolist())
        return sum(self._vectors.unstored(boxes) for image, boxes, _ in self._sides(config) if image in queries)

    def find(self, config: MineConfig, *, embed: bool = False) -> Found:
        """Return pairs and measures of the sample. RoIs without a feature are left out, or embedded if ``embed``."""
        [found] = self.find_all([config], embed=embed)
        return found

    def find_all(
        self, configs: Sequence[MineConfig], *, embed: bool = False, progress: Progress | None = None
    ) -> list[Found]:
        """Return the results of settings with the same candidates, reading each photo's features once."""
        self._refresh()
        found = {config: self._found.get(config) for config in configs}
        todo = [config for config, there in found.items() if there is None or (embed and there.missing)]
        if todo:
            found |= self._try(todo, embed, progress or Progress())
        return [own for config in configs if (own := found[config]) is not None]

    def _try(self, configs: list[MineConfig], embed: bool, progress: Progress) -> dict[MineConfig, Found]:
        widest = max(configs, key=lambda config: config.needs_objectness)
        widest = widest.model_copy(update={"neighbors": max(config.neighbors for config in configs)})
        sides = {image: (boxes, there) for image, boxes, there in self._sides(widest, embed)}
        counts, tried = self._counts(widest), {}
        for config, pairs, cut in zip(configs, *self._match(configs, sides, progress), strict=True):
            mined = self._assemble(config.neighbors, sides, pairs)
            flags = [sides[i][1] for i in self.sample.ids(config.neighbors).tolist()]
            tried[config] = Found(
                mined,
                counts,
                rois=sum(map(len, flags)),
                missing=sum(int((~there).sum()) for there in flags),
                cut=np.concatenate([np.empty(0, np.float32), *cut]),
                measures=self.measure(config.neighbors, mined),
            )
            self._found.put(config, tried[config])
        return tried

    def measure(self, k: int, mined: Mined) -> Measures:
        """Measure the pairs mined from the sample's queries with k neighbours."""
        measures = without_labels(mined)
        if self.sample.dataset.annotation_count:
            ids = self.sample.ids(k)
            if k not in self._annotated:
                self._annotated[k] = annotated_objects(self._workspace.store, ids.tolist())
            objects = as_objects(self._annotated[k], ids)
            measures |= with_labels(mined, objects) if len(objects.boxes) else {}
        return measures

    def _refresh(self) -> None:
        """Drop results that new features have made obsolete."""
        self._vectors.refresh()
        if self._vectors.state != self._state:
            self._found.drop(lambda found: found.missing > 0)
            self._state = self._vectors.state

    def _images(self, config: MineConfig) -> list[Image]:
        return [self.sample.images[i] for i in self.sample.ids(config.neighbors).tolist()]

    def _read(self, config: MineConfig) -> None:
        """Read the raw boxes of all photos that these settings use. Raises UserError if some are missing."""
        if self.unsearched(config):
            raise UserError(
                f"Some photos of '{self.sample.dataset.name}' have no proposals by {config.method}. Mine the dataset "
                "with these settings once, or import proposals for all photos."
            )

    def _put_raw(self, config: MineConfig, image_id: int, boxes: np.ndarray) -> None:
        self._raw[config.method, image_id] = boxes

    def _judge(self, config: MineConfig) -> dict[int, _Judged]:
        """Return the candidates of all photos that these settings use, by image id, in the order of ids."""
        self._read(config)
        images = self._images(config)
        rules = (config.raw, config.rules, config.ranked_by, config.scored_by, config.needs_objectness)
        kept = {image.id: self._judged.get((image.id, *rules)) for image in images}
        found = {image_id: judged for image_id, judged in kept.items() if judged is not None}
        todo = [image for image in images if image.id not in found]
        if todo:
            maps, boxes = self._attention.get(todo, config), self._boxes.get(todo, config)
        for image in todo:
            raw = with_map(self._raw[config.method, image.id], boxes[image.id], image)
            unknown = np.full(len(raw), np.nan, np.float32)
            known = self._objectness.setdefault((config.raw, image.id, config.scored_by), unknown)
            own = candidates(image, raw, config, maps[image.id], known)
            counts = own.filtered.counts() | {"fallback": int(own.filtered.fallback)}
            found[image.id] = _Judged(Boxes.of(own), counts)
            self._judged.put((image.id, *rules), found[image.id])
        return {image.id: found[image.id] for image in images}

    def _sides(self, config: MineConfig, embed: bool = False) -> list[tuple[int, Boxes, np.ndarray]]:
        """Return id, candidates, and which of them have a feature, for all photos that these settings use."""
        found = []
        for image_id, judged in self._judge(config).items():
            boxes = judged.candidates
            there = np.ones(len(boxes.boxes), bool) if embed else self._vectors.there(boxes)
            found.append((image_id, boxes, there))
        return found

    def _counts(self, config: MineConfig) -> dict[str, int]:
        judged = self._judge(config)
        each = [judged[query].counts for query in self.sample.queries.tolist()]
        return {name: sum(counts[name] for counts in each) for name in each[0]}

    def _match(
        self, configs: list[MineConfig], sides: _Sides, progress: Progress
    ) -> tuple[list[_Pairs], list[list[np.ndarray]]]:
        """Return pairs by settings, with the ids of their photos, and the similarities below the threshold."""
        known = {i: _known(boxes, there) for i, (boxes, there) in sides.items()}
        traits_of = {i: [self._traits(boxes, config) for config in configs] for i, boxes in known.items()}
        pairs: list[_Pairs] = [[] for _ in configs]
        cut: list[list[np.ndarray]] = [[] for _ in configs]
        most = max(config.neighbors for config in configs)
        # The products are too small to share between threads of BLAS. Their number is the process's: if blocks of two
        # people overlapped, it would stay at one.
        with _ONE_AT_A_TIME, threadpool_limits(1, user_api="blas"):
            for query, neighbors in zip(self.sample.queries.tolist(), self.sample.neighbors.tolist(), strict=True):
                own = known[query]
                for rank, neighbor in enumerate(neighbors[:most], 1):
                    other = known[neighbor]
                    if not len(own.boxes) or not len(other.boxes):
                        continue
                    matrix = self._cosines(own, other)
                    of_each = zip(traits_of[query], traits_of[neighbor], strict=True)
                    for config, of_both, found, below in zip(configs, of_each, pairs, cut, strict=True):
                        if rank > config.neighbors:
                            continue
                        chosen = partial(choose_pairs, matrix, *of_both, nearest=rank == 1)
                        found.append((query, neighbor, chosen(config)))
                        if config.min_similarity > -1:
                            free = chosen(config.model_copy(update={"min_similarity": -1.0}))
                            below.append(free.similarity[free.similarity < config.min_similarity])
                progress.advance()
        return pairs, cut

    def _cosines(self, own: Boxes, other: Boxes) -> np.ndarray:
        key = (own.image.id, own.boxes.tobytes(), other.image.id, other.boxes.tobytes())
        matrix = self._matrices.get(key)
        if matrix is None:
            matrix = cosines(self._vectors.get(own), self._vectors.get(other))
            self._matrices.put(key, matrix)
        return matrix

    def _traits(self, boxes: Boxes, config: MineConfig) -> Traits:
        size = boxes.image.width, boxes.image.height
        return traits(boxes.boxes, size, boxes.objectness, lambda: self._sparseness(boxes), config)

    def _sparseness(self, boxes: Boxes) -> np.ndarray:
        key = boxes.image.id, boxes.boxes.tobytes()
        found = self._sparse.get(key)
        if found is None:
            found = sparseness(self._vectors.get(boxes))
            self._sparse.put(key, found)
        return found

    def _assemble(self, k: int, sides: _Sides, pairs: _Pairs) -> Mined:
        """Number the queries, their k nearest and the RoIs of both from 0, leaving out all other photos."""
        sample, ids = self.sample, self.sample.ids(k)
        used = [_known(*sides[i]) for i in ids.tolist()]
        start = np.concatenate([[0], np.cumsum([len(found.boxes) for found in used])])
        first = dict(zip(ids.tolist(), start[:-1].tolist(), strict=True))
        nothing = np.empty(0, np.float32)
        return Mined(
            sizes=np.array([[found.image.width, found.image.height] for found in used]),
            start=start,
            boxes=np.concatenate([found.boxes for found in used]),
            queries=np.searchsorted(ids, sample.queries),
            neighbors=np.searchsorted(ids, sample.neighbors[:, :k]),
            nearness=sample.nearness[:, :k],
            query=np.concatenate([nothing.astype(np.int64), *(best.query + first[q] for q, _, best in pairs)]),
            key=np.concatenate([nothing.astype(np.int64), *(best.key + first[n] for _, n, best in pairs)]),
            similarity=np.concatenate([nothing, *(best.similarity for _, _, best in pairs)]),
            margin=np.concatenate([nothing, *(best.margin for _, _, best in pairs)]),
            cycle=np.concatenate([nothing, *(best.cycle for _, _, best in pairs)]).astype(np.float32),
        )


_Sides = dict[int, tuple[Boxes, np.ndarray]]  # candidates by image id, and which of them count
_Pairs = list[tuple[int, int, Pairs]]  # ids of two photos, and their pairs


def _known(boxes: Boxes, there: np.ndarray) -> Boxes:
    return boxes if there.all() else boxes[there]


class _Kept(Generic[K, V]):
    """A cache of the values used last, up to a size."""

    def __init__(self, most: int, size: Callable[[V], int] = lambda value: 1) -> None:
        self._most, self._size, self._total = most, size, 0
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        if key in self._values:
            self._total -= self._size(self._values.pop(key))
        self._values[key] = value
        self._total += self._size(value)
        while self._total > self._most and len(self._values) > 1:
            self._total -= self._size(self._values.popitem(last=False)[1])

    def drop(self, stale: Callable[[V], bool]) -> None:
        for key in [key for key, value in self._values.items() if stale(value)]:
            self._total -= self._size(self._values.pop(key))

    def clear(self) -> None:
        self._values.clear()
        self._total = 0
