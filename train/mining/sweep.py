"""Sweeps: a grid of settings, tried on a sample of queries with stored features."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from orl_explorer.db.encoders import encoder_named
from orl_explorer.orl.boxes import BoxRules
from orl_explorer.orl.measure.quality import Measures
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.mining.by_vectors import refuse_settings, settings_by
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.mining.features import AttentionMaps, BoxFeatures, Features, MapBoxes
from orl_explorer.train.mining.sample import draw_sample
from orl_explorer.train.mining.trial import Found, Trial
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.tables import csv_lines
from orl_explorer.train.workspace import Workspace

SweepGrid = Mapping[str, Sequence[float | str]]  # values by name of a setting


@dataclass(frozen=True)
class Cell:
    """One point of the grid: its values of the settings that vary, and the measures of the sample's pairs."""

    settings: dict[str, float | str]
    measures: Measures


def sweep(
    workspace: Workspace,
    dataset: str,
    encoder: str,
    grid: SweepGrid,
    *,
    base: MineConfig = MINE_PRESETS["paper"],
    sample: int = 200,
    seed: int = 0,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
) -> list[Cell]:
    """Mine a sample of queries with every combination of some settings, and measure the pairs.

    grid: values by name of a ``MineConfig`` setting; other settings are those of base. Neighbours come from the whole
    dataset. Writes nothing; features of boxes that no set uses are computed and discarded.
    only: names of the photos to draw queries from, with or without folder and suffix, such as a held-out split.
    Raises UserError if a setting is invalid, or photos were never mined with this encoder or proposal scale.
    """
    progress = progress or Progress()
    row = encoder_named(workspace.store, encoder)
    cells = combinations(grid, settings_by(row, base))
    if "precision" in grid:
        raise UserError("A sweep uses stored features of one precision. Mine with the other, then compare sets.")
    if any(config.skip_duplicates for _, config in cells):
        raise UserError("A sweep draws neighbours among all photos. Mine with skip_duplicates, then compare sets.")
    for _, config in cells:
        refuse_settings(row, config)
    features = Features(workspace, row, precision=base.precision)
    most = max(config.neighbors for _, config in cells)
    drawn = draw_sample(workspace, dataset, features, most, sample, seed, only, progress.log)
    photos = Photos.of(workspace.store, drawn.dataset.id)
    vectors = BoxFeatures(features, photos)
    trial = Trial(workspace, drawn, vectors, AttentionMaps(features, photos), MapBoxes(features, photos))
    for config in {config.method: config for _, config in cells}.values():
        if config.searches:
            trial.search(config.model_copy(update={"neighbors": most}), progress)
    found = dict(try_all(trial, [config for _, config in cells], embed=True, progress=progress))
    progress.log(f"RoIs embedded for this sweep: {vectors.embedded}.")
    return [Cell(cell, found[config].measures) for cell, config in cells]


def combinations(grid: SweepGrid, base: MineConfig) -> list[tuple[dict[str, float | str], MineConfig]]:
    """Return every cell of a grid with all its settings; the last setting changes fastest. Raises UserError."""
    configs = [with_settings(base, dict(zip(grid, values, strict=True))) for values in product(*grid.values())]
    return [({name: getattr(config, name) for name in grid}, config) for config in configs]


def try_all(
    trial: Trial, configs: Sequence[MineConfig], *, embed: bool = False, progress: Progress | None = None
) -> Iterator[tuple[MineConfig, Found]]:
    """Yield the results of many settings as they are found; settings with the same candidates are tried together."""
    progress = progress or Progress()
    same_boxes: dict[tuple[BoxRules, str, str, str], list[MineConfig]] = {}
    for config in configs:
        same_boxes.setdefault((config.rules, config.raw, config.ranked_by, config.scored_by), []).append(config)
    progress.phase("Sweeping", len(same_boxes) * len(trial.sample.queries))
    for some in same_boxes.values():
        yield from zip(some, trial.find_all(some, embed=embed, progress=progress), strict=True)


def cell_rows(cells: Sequence[Cell]) -> list[dict[str, float | str]]:
    """Return one row for each cell: its settings, then its measures."""
    return [{**cell.settings, **cell.measures} for cell in cells]


def save_cells(cells: Sequence[Cell], path: Path) -> None:
    """Write a row for each cell, its settings first, as CSV, or as JSON if the name ends in .json. Raises UserError."""
    table = cell_rows(cells)
    if path.suffix == ".json":
        text = json.dumps(table, indent=1)
    else:
        columns = list(table[0])
        text = "".join(csv_lines(columns, ([row[name] for name in columns] for row in table)))
    publish(lambda file: file.write(text.encode()), path)
