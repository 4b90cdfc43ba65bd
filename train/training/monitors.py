"""Checks during a training: rank and k-NN accuracy of features, and the pairs found between a few photos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import usable_images
from orl_explorer.db.runs.probes import Probe, keep_probes
from orl_explorer.db.sets.read import images_by_id, neighbor_ids_of, rois_of, set_images
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.orl.augment import normalise
from orl_explorer.orl.heads import pool
from orl_explorer.orl.matching import top_pairs
from orl_explorer.orl.measure.knn import knn_predict
from orl_explorer.orl.measure.rank import effective_rank
from orl_explorer.orl.method import Method
from orl_explorer.orl.pixels import INPUT_SIZE, Crop, UnreadableImage, center_crop, read_crops, read_image
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.workspace import Workspace

SAMPLE = 512  # photos whose features are measured; of annotated ones half are the bank, half are queries
SAMPLE_SEED = 0  # the same photos for every run on a dataset
BATCH = 32  # photos or crops of a forward pass
QUERIES, NEIGHBORS, ROIS = 4, 2, 20  # probes: query photos, neighbours of each, RoIs of a photo at most


class FeatureCheck:
    """The rank of the features of some photos, and, if these are annotated, the accuracy of a k-NN classifier.

    The classifier predicts the category of a photo's largest object. Annotated photos are preferred.
    """

    def __init__(self, workspace: Workspace, dataset_id: int, config: TrainConfig, progress: Progress) -> None:
        self._workspace, self._dataset_id, self._config, self._progress = workspace, dataset_id, config, progress
        self._sample: tuple[np.ndarray, Tensor] | None = None

    def __call__(self, method: Method, epoch: int, step: int, saved: bool) -> dict[str, float]:
        """Return ``feature_rank`` and, of annotated photos, ``knn_accuracy`` and ``knn_chance``.

        Chance is the accuracy of always predicting the most common category.
        """
        every = self._config.knn_every
        if not every or (epoch % every and epoch != self._config.epochs):
            return {}
        pixels, labels = self._photos()
        if len(pixels) < 4:
            return {}
        features = embed(method, pixels)
        if not features.isfinite().all():
            self._progress.log(f"The check of features leaves out epoch {epoch}: they are not finite numbers.")
            return {}
        rank = {"feature_rank": effective_rank(features)}
        if not len(labels):
            return rank
        labels = labels.to(features.device)
        bank, queries = features[::2], features[1::2]
        right = knn_predict(bank, labels[::2], queries) == labels[1::2]
        chance = (labels[1::2] == labels[::2].mode().values).float().mean()
        return rank | {"knn_accuracy": right.float().mean().item(), "knn_chance": chance.item()}

    def _photos(self) -> tuple[np.ndarray, Tensor]:
        """Return the photos, uint8 [n, S, S, 3], and the numbers of their categories, int64 [n]; [0] without any."""
        if self._sample is None:
            self._sample = self._read()
        return self._sample

    def _read(self) -> tuple[np.ndarray, Tensor]:
        store, size = self._workspace.store, self._config.image_size
        images = {image.id: image for image in usable_images(store, self._dataset_id)}
        objects = annotated_objects(store, sorted(images))
        largest: dict[int, tuple[float, str]] = {}
        for i, box, category, difficult in zip(
            objects.image_ids.tolist(), objects.boxes, objects.categories, objects.difficult, strict=True
        ):
            area = float(box[2] * box[3])
            if not difficult and area > largest.get(i, (0.0, ""))[0]:
                largest[i] = area, category
        annotated = len(largest) >= 4
        order = np.random.default_rng(SAMPLE_SEED).permutation(sorted(largest if annotated else images)).tolist()
        numbers = {name: number for number, name in enumerate(sorted({c for _, c in largest.values()}))}
        photos, pixels, labels = Photos.of(store, self._dataset_id), [], []
        for i in order[:SAMPLE]:
            try:
                photo = read_image(photos.path(images[i]))
            except UnreadableImage as error:  # a moved photo must not end a training
                self._progress.log(f"The check of features leaves out {images[i].path}: {error}.")
                continue
            pixels.append(center_crop(photo, round(size * 256 / INPUT_SIZE), size))
            if annotated:
                labels.append(numbers[largest[i][1]])
        return np.array(pixels, np.uint8), torch.tensor(labels, dtype=torch.int64)


class Probes:
    """A few queries and neighbours of a set. Their RoIs are matched at every checkpoint and kept in the store."""

    def __init__(
        self,
        workspace: Workspace,
        mined: CorrespondenceSet | None,
        config: TrainConfig,
        run_id: int,
        progress: Progress,
    ) -> None:
        """mined: the set to probe, or None for no probes."""
        self._workspace, self._mined, self._config, self._run_id = workspace, mined, config, run_id
        self._progress = progress
        self._crops: dict[int, tuple[np.ndarray, np.ndarray]] | None = None
        self._neighbors: dict[int, list[int]] = {}

    def __call__(self, method: Method, epoch: int, step: int, saved: bool) -> dict[str, float]:
        """Store the pairs. Return ``probe_similarity``: the mean over queries and neighbours of the best similarity."""
        if not saved or self._mined is None:
            return {}
        crops = self._read(self._mined)
        features = {i: embed(method, pixels).cpu().numpy() for i, (_, pixels) in crops.items()}
        if not all(np.isfinite(found).all() for found in features.values()):
            self._progress.log(f"The probes leave out epoch {epoch}: its features are not finite numbers.")
            return {}
        probes = []
        for query, neighbors in self._neighbors.items():
            for neighbor in neighbors:
                if query in crops and neighbor in crops:
                    found = top_pairs(features[query], features[neighbor], self._mined.params["pair_ratio"])
                    ids = crops[query][0][found.query], crops[neighbor][0][found.key]
                    probes.append(Probe(query, neighbor, *ids, found.similarity))
        keep_probes(self._workspace.store, self._run_id, step, probes)
        best = [float(probe.similarity[0]) for probe in probes]
        return {"probe_similarity": float(np.mean(best))} if best else {}

    def _read(self, mined: CorrespondenceSet) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Return, by photo, the ids of its RoIs, int64 [B], and their crops, uint8 [B, S, S, 3]."""
        if self._crops is None:
            store = self._workspace.store
            every = [image.id for image in set_images(store, mined.id)]
            chosen = np.random.default_rng(self._config.seed).permutation(every)[:QUERIES].tolist()
            found = neighbor_ids_of(store, mined.id, chosen)
            self._neighbors = {i: found.get(i, [])[:NEIGHBORS] for i in chosen}
            ids = sorted({*chosen, *(n for some in self._neighbors.values() for n in some)})
            images, rois = images_by_id(store, ids), rois_of(store, mined.id, ids)
            photos = Photos.of(store, mined.dataset_id)
            self._crops = {}
            for i in ids:
                try:
                    self._crops[i] = rois[i].ids[:ROIS], self._cut(photos.path(images[i]), rois[i].boxes[:ROIS])
                except UnreadableImage as error:  # nor must a lost photo of a probe
                    self._progress.log(f"The probes leave out {images[i].path}: {error}.")
        return self._crops

    def _cut(self, path: Path, boxes: np.ndarray) -> np.ndarray:
        return np.stack(read_crops(path, lambda *_: [Crop(box, self._config.image_size) for box in boxes]))


@torch.no_grad()
def embed(method: Method, pixels: np.ndarray) -> Tensor:
    """Return the pooled features of the present backbone: uint8 [n, S, S, 3] -> float32 [n, C], unit rows."""
    device = next(method.backbone.parameters()).device
    with evaluating(method):
        parts = [
            pool(method.backbone(normalise(torch.from_numpy(pixels[i : i + BATCH]).to(device), *method.statistics)))
            for i in range(0, len(pixels), BATCH)
        ]
    return F.normalize(torch.cat(parts).float())


@contextmanager
def evaluating(method: Method) -> Iterator[None]:
    """Set the backbone to eval mode inside the block, so that its batch norms do not change."""
    method.backbone.eval()
    try:
        yield
    finally:
        method.train()
