"""What other settings would find: a grid of them on a sample of queries, from what mining has stored."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath

import numpy as np

from db.encoders import encoder_named
from db.models import Dataset, Image
from db.photos import dataset_named, usable_images
from db.whole_sets import annotated_objects
from orl.boxes import BoxRules
from orl.matching import Pairs, nearest_to
from orl.quality import Measures, Mined, with_labels, without_labels
from train.candidates import candidates, match, raw_boxes
from train.config import MINE_PRESETS, MineConfig, with_settings
from train.errors import UserError
from train.features import Attention, Boxes, BoxFeatures, Features, as_stored
from train.photos import Photos
from train.progress import Progress
from train.quality import as_objects
from train.workspace import Workspace


@dataclass(frozen=True)
class Cell:
    """One point of the grid: its values of the settings that vary, and how good the sample's pairs are there."""

    settings: dict[str, float | str]
    measures: Measures


@dataclass(frozen=True)
class Sample:
    """Query images and their nearest others: ids int64 [m] and [m, K], and the cosine float32 [m, K]."""

    dataset: Dataset
    images: dict[int, Image]  # queries and neighbours, by id
    queries: np.ndarray
    neighbors: np.ndarray
    nearness: np.ndarray


def sweep(
    workspace: Workspace,
    dataset: str,
    encoder: str,
    grid: Mapping[str, Sequence[float | str]],
    *,
    base: MineConfig = MINE_PRESETS["paper"],
    sample: int = 200,
    seed: int = 0,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
) -> list[Cell]:
    """Mine a sample of queries with every combination of some settings, and measure what is found.

    grid: values by name of a ``MineConfig`` setting; the others are those of base. Neighbours come from the whole data
    set. Nothing is written; features of boxes that no set has used are computed for the occasion.
    only: names of the photos that may be queries, with or without folder and suffix: a split that nobody tuned on.
    Raises UserError when a setting is not valid, or photos were never mined with this encoder or proposal scale.
    """
    progress = progress or Progress()
    cells = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    configs = [with_settings(base, cell) for cell in cells]
    if "precision" in grid:
        raise UserError("A sweep works from stored features of one precision; mine with the other, then compare sets.")
    features = Features(workspace, encoder_named(workspace.store, encoder), precision=base.precision)
    drawn = _draw(workspace, dataset, features, max(c.neighbors for c in configs), sample, seed, only)
    photos = Photos.of(workspace.store, drawn.dataset.id)
    vectors, attention = BoxFeatures(features, photos), Attention(features, photos)

    same_boxes: dict[tuple[BoxRules, str, str], list[int]] = {}
    for number, config in enumerate(configs):
        same_boxes.setdefault((config.rules, config.method, config.ranked_by), []).append(number)
    progress.phase("Sweeping", len(same_boxes) * len(drawn.queries))
    measures: dict[int, Measures] = {}
    for numbers in same_boxes.values():
        some = [configs[number] for number in numbers]
        boxes = _boxes(workspace, drawn, max(some, key=lambda config: config.object_weight), attention)
        for number, mined in zip(numbers, _mine(drawn, boxes, vectors, some, progress), strict=True):
            measures[number] = _measure(workspace, drawn, configs[number].neighbors, mined)
    progress.log(f"RoIs embedded for the occasion: {vectors.embedded}.")
    return [Cell(cell, measures[number]) for number, cell in enumerate(cells)]


def save(cells: Sequence[Cell], path: Path) -> None:
    """Write a row for each cell, its settings first: comma-separated, or JSON when the name ends in .json."""
    rows = [{**cell.settings, **cell.measures} for cell in cells]
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".json":
            json.dump(rows, file, indent=1)
        else:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _draw(
    workspace: Workspace,
    dataset: str,
    features: Features,
    most: int,
    sample: int,
    seed: int,
    only: Collection[str] | None,
) -> Sample:
    row = dataset_named(workspace.store, dataset)
    images = list(usable_images(workspace.store, row.id))
    ids = np.array([image.id for image in images], np.int64)
    unknown = int((~features.images.have(ids)).sum())
    if unknown:
        raise UserError(
            f"{unknown} of the {len(ids)} photos of '{dataset}' have not been embedded by this encoder; "
            "mine the data set with it once, then sweep."
        )
    if len(ids) <= most:
        raise UserError(f"K = {most} neighbours need at least {most + 1} photos, and '{dataset}' has {len(ids)}.")
    allowed = ids if only is None else np.array([i.id for i in images if _named(i, frozenset(only))], np.int64)
    if not len(allowed):
        raise UserError(f"No photo of '{dataset}' has one of the {len(only or ())} names that may be queries.")
    queries = np.sort(np.random.default_rng(seed).choice(allowed, min(sample, len(allowed)), replace=False))
    whole = features.images.get(ids)
    near = [nearest_to(whole, ids, int(query), most) for query in queries]
    neighbors = np.stack([n.ids for n in near])
    involved = {*queries.tolist(), *neighbors.ravel().tolist()}
    by_id = {image.id: image for image in images if image.id in involved}
    return Sample(row, by_id, queries, neighbors, np.stack([n.similarity for n in near]))


def _named(image: Image, names: frozenset[str]) -> bool:
    path = PurePosixPath(image.path)
    return not names.isdisjoint({image.path, path.name, path.stem})


def _boxes(workspace: Workspace, drawn: Sample, config: MineConfig, attention: Attention) -> dict[int, Boxes]:
    """Candidates of the sample's photos, by image id, in the order of ids."""
    ids = sorted(drawn.images)
    raw = raw_boxes(workspace.store, [drawn.images[i] for i in ids], config)
    if len(raw) < len(ids):
        raise UserError(
            f"Some photos of '{drawn.dataset.name}' have no proposals by {config.method}; mine the data set with that "
            "--proposal-scale once, or import them for all photos, then sweep."
        )
    maps = attention.get([drawn.images[i] for i in ids], config)
    return as_stored(workspace.store, {i: candidates(drawn.images[i], raw[i], config, maps[i]) for i in ids})


def _mine(
    drawn: Sample, boxes: dict[int, Boxes], vectors: BoxFeatures, configs: list[MineConfig], progress: Progress
) -> list[Mined]:
    """What each setting finds among the same candidates."""
    found: list[list[tuple[int, int, Pairs]]] = [[] for _ in configs]
    for query, neighbors in zip(drawn.queries.tolist(), drawn.neighbors.tolist(), strict=True):
        own = vectors.get(boxes[query])
        for rank, neighbor in enumerate(neighbors, 1):
            others = vectors.get(boxes[neighbor])
            for config, pairs in zip(configs, found, strict=True):
                if rank <= config.neighbors:
                    objectness = boxes[query].objectness, boxes[neighbor].objectness
                    pairs.append((query, neighbor, match(own, others, objectness, config)))
        progress.advance()
    return [_assemble(drawn, boxes, c.neighbors, pairs) for c, pairs in zip(configs, found, strict=True)]


def _assemble(drawn: Sample, boxes: dict[int, Boxes], k: int, pairs: list[tuple[int, int, Pairs]]) -> Mined:
    """Number the queries, their k nearest and the RoIs of both from 0; a cell knows no photo that it does not use."""
    ids = np.union1d(drawn.queries, drawn.neighbors[:, :k])
    used = [boxes[i] for i in ids.tolist()]
    start = np.concatenate([[0], np.cumsum([len(found.boxes) for found in used])])
    first = dict(zip(ids.tolist(), start[:-1].tolist(), strict=True))
    return Mined(
        sizes=np.array([[found.image.width, found.image.height] for found in used]),
        start=start,
        boxes=np.concatenate([found.boxes for found in used]),
        queries=np.searchsorted(ids, drawn.queries),
        neighbors=np.searchsorted(ids, drawn.neighbors[:, :k]),
        nearness=drawn.nearness[:, :k],
        query=np.concatenate([best.query + first[query] for query, _, best in pairs]),
        key=np.concatenate([best.key + first[neighbor] for _, neighbor, best in pairs]),
        similarity=np.concatenate([best.similarity for _, _, best in pairs]),
        margin=np.concatenate([best.margin for _, _, best in pairs]),
        cycle=np.concatenate([best.cycle for _, _, best in pairs]).astype(np.float32),
    )


def _measure(workspace: Workspace, drawn: Sample, k: int, mined: Mined) -> Measures:
    measures = without_labels(mined)
    if drawn.dataset.annotation_count:
        ids = np.union1d(drawn.queries, drawn.neighbors[:, :k])
        measures |= with_labels(mined, as_objects(annotated_objects(workspace.store, ids.tolist()), ids))
    return measures
