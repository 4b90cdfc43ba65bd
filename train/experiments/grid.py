"""A grid of stage 3 trainings, as in the paper's Table 5. Each is an ordinary run, evaluated by one protocol.

Cells that were trained or evaluated before are found by their settings and reused. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import EvaluateConfig, protocol_named
from orl_explorer.train.evaluate.scores import Estimate, Scores, ahead
from orl_explorer.train.figures import FORMATS, line_look
from orl_explorer.train.figures import save_figure as save_figure
from orl_explorer.train.jobs import once
from orl_explorer.train.jobs.kinds import Evaluate, Mine
from orl_explorer.train.jobs.trainings import Train
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.mining.sweep import Cell
from orl_explorer.train.mining.sweep import save_cells as save_cells
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.start_from import refuse_wider
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = (".csv", ".json")


@dataclass(frozen=True)
class GridSubject:
    """The training data: a complete set, or a dataset and an encoder to mine with a cell's settings."""

    correspondence: CorrespondenceSet | None = None
    photos: tuple[Dataset, Encoder] | None = None
    mining: MineConfig = MINE_PRESETS["paper"]

    @property
    def name(self) -> str:
        """The prefix of the names of new encoders."""
        if self.correspondence is not None:
            return self.correspondence.name
        return "-".join(row.name for row in self.photos or ())


@dataclass(frozen=True)
class Trained:
    """A cell of the grid: its settings, its set, its encoder, and the numbers of the protocol.

    run: the id of the run that evaluated it.
    """

    settings: dict[str, str]
    correspondence: str
    encoder: str
    run: int
    numbers: dict[str, float]


def sweep_train(
    workspace: Workspace,
    subject: GridSubject,
    grid: Mapping[str, Sequence[str]],
    base: ORLConfig,
    data: str,
    protocol: EvaluateConfig,
    *,
    name: str = "",
    progress: Progress | None = None,
    heard: Callable[[Trained], None] = lambda _: None,
) -> list[Trained]:
    """Train and evaluate every combination of some settings, in the order of the grid.

    grid: values by name of a training setting or, if there is no set yet, of a mining setting; base and subject give
    the others. name: prefix of the names of new encoders. heard: called with each finished cell. All settings are
    checked before the first run. Raises UserError or StoreError.
    """
    progress = progress or Progress()
    cells = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    plans = [(cell, *_settings(subject, cell, base)) for cell in cells]
    stem = name or subject.name
    protocol_named(protocol.protocol).check(workspace, data, protocol)
    if subject.correspondence:
        for _, _, config in plans:
            refuse_wider(subject.correspondence, config)
    found = []
    for number, (cell, mining, config) in enumerate(plans, 1):
        title = ", ".join(f"{key} = {value}" for key, value in cell.items()) or "the only cell"
        progress.log(f"Cell {number} of {len(plans)}: {title}.")
        mined = subject.correspondence
        if mined is None:
            assert subject.photos is not None and mining is not None
            named = "-".join((stem, *(f"{k}={v}" for k, v in cell.items() if k in MineConfig.model_fields)))
            dataset, by = subject.photos
            mined = once.mined(
                workspace, Mine(name=named, dataset_id=dataset.id, encoder_id=by.id, config=mining), progress
            )
        named = "-".join((stem, *(f"{key}={value}" for key, value in cell.items())))
        encoder = once.trained(workspace, Train(name=named, correspondence_set_id=mined.id, config=config), progress)
        result = once.evaluated(workspace, Evaluate.on(workspace, encoder, data, protocol), progress)
        numbers = {key: value for key, value in result.summary.items() if key != "notes"}
        cell_found = Trained(cell, mined.name, encoder.name, result.run_id, numbers)
        heard(cell_found)
        found.append(cell_found)
    return found


def refuse_files(files: Sequence[Path]) -> None:
    """Raise UserError if a name has no suffix of a table or a plot."""
    for file in files:
        if file.suffix.lower() not in TABLES + FORMATS:
            raise UserError(
                f"{file} must end in {', '.join(TABLES)} for the table or {', '.join(FORMATS)} for the plot."
            )


def save_grid(found: Sequence[Trained], headline: str, title: str, files: Sequence[Path]) -> None:
    """Write the table (.csv, .json) and the plot (.png, .svg, .pdf). Raises UserError."""
    refuse_files(files)
    kept = [name for name in found[0].numbers if all(name in cell.numbers for cell in found)]
    for file in files:
        if file.suffix.lower() in FORMATS:
            save_figure(plot(found, headline, title), file)
            continue
        rows = [
            Cell(
                {**cell.settings, "correspondence": cell.correspondence, "encoder": cell.encoder},
                {name: cell.numbers[name] for name in kept},
            )
            for cell in found
        ]
        save_cells(rows, file)


def averaged(found: Sequence[Trained], headline: str) -> list[tuple[dict[str, str], list[float]]]:
    """Return the headlines, shares, of the cells with equal settings except the seed, in the order of the grid."""
    return [(dict(key), [cell.numbers[headline] for cell in cells]) for key, cells in _over_seeds(found).items()]


def ahead_of_first(workspace: Workspace, found: Sequence[Trained]) -> list[Estimate]:
    """Return by how much mAP each combination after the first is ahead of it, paired by test photo and seed.

    The combinations have the order of ``averaged``. The cells were evaluated by voc07-svm. Raises UserError if the
    scores of an evaluation are gone.
    """

    def scores(cells: Sequence[Trained]) -> list[Scores]:
        return [Scores.kept_in(workspace.run_folder(cell.run)) for cell in cells]

    first, *others = map(scores, _over_seeds(found).values())
    return [ahead(some, first) for some in others]


def _over_seeds(found: Sequence[Trained]) -> dict[tuple[tuple[str, str], ...], list[Trained]]:
    """Return the cells by their settings except the seed."""
    groups: dict[tuple[tuple[str, str], ...], list[Trained]] = {}
    for cell in found:
        groups.setdefault(tuple((k, v) for k, v in cell.settings.items() if k != "seed"), []).append(cell)
    return groups


def plot(found: Sequence[Trained], headline: str, title: str) -> Figure:
    """Plot the headline over the first setting, with a line for each combination of the others; means over seeds.

    Bars show the range over seeds.
    """
    from matplotlib.figure import Figure as NewFigure

    groups = averaged(found, headline)
    keys = list(groups[0][0])
    first, others = (keys[0] if keys else ""), keys[1:]
    ticks = list(dict.fromkeys(settings.get(first, "") for settings, _ in groups))
    lines: dict[str, list[tuple[int, list[float]]]] = {}
    for settings, values in groups:
        label = ", ".join(f"{key} = {settings[key]}" for key in others)
        lines.setdefault(label, []).append((ticks.index(settings.get(first, "")), [100 * v for v in values]))
    drawn = NewFigure(figsize=(5.5, 3.6), dpi=200, layout="constrained")
    axes = drawn.add_subplot()
    spread = 0.08 if len(lines) > 1 else 0.0
    for number, (label, points) in enumerate(lines.items()):
        at = [x + spread * (number - (len(lines) - 1) / 2) for x, _ in points]
        means = [float(np.mean(values)) for _, values in points]
        reach = [
            [mean - min(values) for mean, (_, values) in zip(means, points, strict=True)],
            [max(values) - mean for mean, (_, values) in zip(means, points, strict=True)],
        ]
        axes.errorbar(at, means, yerr=reach, label=label or None, capsize=3, **line_look(number))
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    axes.set_xlabel(first.replace("_", " "))
    axes.set_ylabel(f"{title} (%)")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        drawn.legend(loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return drawn


def _settings(subject: GridSubject, cell: dict[str, str], base: ORLConfig) -> tuple[MineConfig | None, ORLConfig]:
    """Return the settings of mining, None for a given set, and of training. Mining takes the names that both have."""
    if subject.correspondence:
        return None, with_settings(base, cell)
    of_mining = {key: value for key, value in cell.items() if key in MineConfig.model_fields}
    mining = with_settings(subject.mining, of_mining)
    return mining, with_settings(base, {key: value for key, value in cell.items() if key not in of_mining})
