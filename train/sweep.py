"""What other settings would find: a grid of them on a sample of queries, from what mining has stored."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from db import mining
from db.encoders import encoder_named
from db.models import Dataset, Image
from db.photos import dataset_named, usable_images
from db.whole_sets import annotated_objects
from orl.boxes import BoxRules, filter_boxes
from orl.matching import Pairs, nearest_to, top_pairs
from orl.quality import Measures, Mined, with_labels, without_labels
from train.config import MINE_PRESETS, MineConfig, with_settings
from train.errors import UserError
from train.features import Boxes, BoxFeatures, Features, as_stored
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
    progress: Progress | None = None,
) -> list[Cell]:
    """Mine a sample of queries with every combination of some settings, and measure what is found.

    grid: values by name of a ``MineConfig`` setting; the others are those of base. Neighbours come from the whole data
    set. Nothing is written; features of boxes that no set has used are computed for the occasion.
    Raises UserError when a setting is not valid, or photos were never mined with this encoder or proposal scale.
    """
    progress = progress or Progress()
    cells = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    configs = [with_settings(base, cell) for cell in cells]
    features = Features(workspace, encoder_named(workspace.store, encoder))
    drawn = _draw(workspace, dataset, features, max(c.neighbors for c in configs), sample, seed)
    vectors = BoxFeatures(features, Path(drawn.dataset.root))

    same_boxes: dict[tuple[BoxRules, str], list[int]] = {}
    for number, config in enumerate(configs):
        same_boxes.setdefault((config.rules, config.method), []).append(number)
    progress.phase("Sweeping", len(same_boxes) * len(drawn.queries))
    measures: dict[int, Measures] = {}
    for (rules, method), numbers in same_boxes.items():
        candidates = _candidates(workspace, drawn, rules, method)
        some = [configs[number] for number in numbers]
        for number, mined in zip(numbers, _mine(drawn, candidates, vectors, some, progress), strict=True):
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


def _draw(workspace: Workspace, dataset: str, features: Features, most: int, sample: int, seed: int) -> Sample:
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
    queries = np.sort(np.random.default_rng(seed).choice(ids, min(sample, len(ids)), replace=False))
    whole = features.images.get(ids)
    near = [nearest_to(whole, ids, int(query), most) for query in queries]
    neighbors = np.stack([n.ids for n in near])
    involved = {*queries.tolist(), *neighbors.ravel().tolist()}
    by_id = {image.id: image for image in images if image.id in involved}
    return Sample(row, by_id, queries, neighbors, np.stack([n.similarity for n in near]))


def _candidates(workspace: Workspace, drawn: Sample, rules: BoxRules, method: str) -> dict[int, Boxes]:
    """Candidates of the sample's photos under some rules, by image id, in the order of ids."""
    ids = sorted(drawn.images)
    if mining.missing_proposals(workspace.store, ids, method):
        raise UserError(
            f"Some photos of '{drawn.dataset.name}' have no proposals by {method}; "
            "mine the data set with that --proposal-scale once, then sweep."
        )
    raw = mining.proposals_of(workspace.store, ids, method)
    boxes = {i: filter_boxes(raw[i], rules, drawn.images[i].width, drawn.images[i].height).boxes for i in ids}
    return as_stored(workspace.store, drawn.images, boxes)


def _mine(
    drawn: Sample, candidates: dict[int, Boxes], vectors: BoxFeatures, configs: list[MineConfig], progress: Progress
) -> list[Mined]:
    """What each setting finds among the same candidates."""
    found: list[list[tuple[int, int, Pairs]]] = [[] for _ in configs]
    for query, neighbors in zip(drawn.queries.tolist(), drawn.neighbors.tolist(), strict=True):
        own = vectors.get(candidates[query])
        for rank, neighbor in enumerate(neighbors, 1):
            others = vectors.get(candidates[neighbor])
            for config, pairs in zip(configs, found, strict=True):
                if rank <= config.neighbors:
                    best = top_pairs(own, others, config.pair_ratio, config.min_similarity)
                    pairs.append((query, neighbor, best))
        progress.advance()
    return [_assemble(drawn, candidates, c.neighbors, pairs) for c, pairs in zip(configs, found, strict=True)]


def _assemble(drawn: Sample, candidates: dict[int, Boxes], k: int, pairs: list[tuple[int, int, Pairs]]) -> Mined:
    """Number the queries, their k nearest and the RoIs of both from 0; a cell knows no photo that it does not use."""
    ids = np.union1d(drawn.queries, drawn.neighbors[:, :k])
    used = [candidates[i] for i in ids.tolist()]
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
