"""The report of ``train.experiments.reproduce``: tables over seeds, and figures of numbers, trainings and attention."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.runs.runs import metrics, run_by_id
from orl_explorer.train.evaluate.scores import Estimate, Scores, ahead, mean_map
from orl_explorer.train.experiments.plan import ORL_ROWS, RANDOM, SECOND
from orl_explorer.train.experiments.reproduce import MeasuredEncoder
from orl_explorer.train.figures import PALETTE, line_look
from orl_explorer.train.figures import save_figure as save_figure
from orl_explorer.train.files import publish
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "reproduce"  # in the workspace
COLUMNS = {
    "map": "VOC07 SVM mAP",
    "map_views": "… at the side of the views",
    "knn": "k-NN",
    "same_class": "pairs of one class",
    "same_class_chance": "… by chance",
    "attention": "attention IoU",
    "attention_chance": "… by chance",
    "pointing": "maximum on object",
    "pointing_chance": "… by chance",
}
PANELS = (  # name of a number, prefix of its interval and its chance, and its title
    ("map", "VOC07 SVM mAP, %\nwith 95 % interval"),
    ("map_views", "… at the views' side, %\nwith 95 % interval"),
    ("knn", "k-NN, %"),
    ("same_class", "pairs of one class, %"),
    ("attention", "attention IoU, %"),
)
# Methods whose attention is drawn: untrained, and each ORL after its base.
SHOWN = (RANDOM, *(method for name, row in ORL_ROWS.items() if row.whole for method in (row.base, name)), SECOND)
ATTENTION_PHOTOS = 5


@dataclass(frozen=True)
class Row:
    """A method over its seeds. numbers: their means; ``map_low`` and ``map_high`` are ends of a 95 % interval.

    encoder: that of the first seed.
    """

    method: str
    title: str
    encoder: str
    seeds: int
    numbers: dict[str, float]


@dataclass(frozen=True)
class Ahead:
    """The mAP of one method minus that of another, paired by photo and seed. equal: what is equal between the two.

    by: at 224 pixels. by_views: at the side of the training's views. one, other: titles.
    """

    one: str
    other: str
    equal: str
    seeds: int
    by: Estimate
    by_views: Estimate


class ReproduceReport:
    """The table, the comparisons and the figures of what was measured so far."""

    def __init__(self, workspace: Workspace, measured: Sequence[MeasuredEncoder]) -> None:
        """Raises UserError if the scores of an evaluation are gone."""
        self.workspace = workspace
        self._by_method: dict[str, list[MeasuredEncoder]] = {}
        for each in measured:
            self._by_method.setdefault(each.method, []).append(each)
        self._scores: dict[int, Scores] = {}
        self.rows = [self._row(some) for some in self._by_method.values()]
        self.ahead = [found for some in self._by_method.values() for found in self._comparisons(some)]

    def _scored(self, run: int) -> Scores:
        if run not in self._scores:
            self._scores[run] = Scores.kept_in(self.workspace.run_folder(run))
        return self._scores[run]

    def _row(self, some: list[MeasuredEncoder]) -> Row:
        names = list(dict.fromkeys(name for each in some for name in each.numbers))
        numbers = {name: float(np.mean([each.numbers[name] for each in some])) for name in names}
        for name, runs in (("map", [e.svm_run for e in some]), ("map_views", [e.views_run for e in some])):
            _, low, high = mean_map([self._scored(run) for run in runs])
            numbers |= {f"{name}_low": low, f"{name}_high": high}
        return Row(some[0].method, some[0].title, some[0].encoder, len(some), numbers)

    def _comparisons(self, some: list[MeasuredEncoder]) -> Iterator[Ahead]:
        """Compare a method with others on the seeds that both have."""
        for name, equal in some[0].against.items():
            others = {other.seed: other for other in self._by_method.get(name, [])}
            pairs = [(one, others[one.seed]) for one in some if one.seed in others]
            if not pairs:
                continue
            by, by_views = (
                ahead([self._scored(run(one)) for one, _ in pairs], [self._scored(run(other)) for _, other in pairs])
                for run in (attrgetter("svm_run"), attrgetter("views_run"))
            )
            yield Ahead(some[0].title, pairs[0][1].title, equal, len(pairs), by, by_views)

    def save(self) -> Path:
        """Write ``table.md`` and ``table.json`` to the workspace and return their folder."""
        folder = self.workspace.path / FOLDER
        content = {
            "rows": [{**asdict(row), "numbers": row.numbers} for row in self.rows],
            "ahead": [
                asdict(each) | {"by": each.by._asdict(), "by_views": each.by_views._asdict()} for each in self.ahead
            ],
        }
        publish(lambda file: file.write(json.dumps(content, indent=1).encode()), folder / "table.json")
        publish(lambda file: file.write(self.markdown().encode()), folder / "table.md")
        return folder

    def markdown(self) -> str:
        """Return both tables: shares in percent, mAP with its 95 % interval, training speed in photos per second."""
        rows = [["method", "seeds", *COLUMNS.values(), "photos/s"]]
        for row in self.rows:
            shares = [_with_interval(row.numbers, name) for name in COLUMNS]
            speed = row.numbers.get("images_per_second")
            rows.append([row.title, str(row.seeds), *shares, f"{speed:.1f}" if speed else ""])
        compared = [["mAP of", "ahead of", "equal", "seeds", "at 224 px", "at the side of the views"]]
        for each in self.ahead:
            by = each.by.signed(), each.by_views.signed()
            compared.append([each.one, each.other, each.equal, str(each.seeds), *by])
        return _table(rows) + ("\n" + _table(compared) if self.ahead else "")


def _with_interval(numbers: dict[str, float], name: str) -> str:
    share = f"{100 * numbers[name]:.1f}"
    if f"{name}_low" not in numbers:
        return share
    return f"{share} ({100 * numbers[f'{name}_low']:.1f}–{100 * numbers[f'{name}_high']:.1f})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = ("| " + " | ".join(row) + " |\n" for row in rows)
    return head + "|" + "|".join("---" for _ in rows[0]) + "|\n" + "".join(others)


def draw_report(workspace: Workspace, report: ReproduceReport, measured: str, folder: Path) -> list[Path]:
    """Write ``results.png``, ``ahead.png``, ``curves.png`` and ``attention.png``, maps on photos of a dataset.

    Raises UserError or StoreError.
    """
    from orl_explorer.train.experiments.attention_figure import attention_figure

    encoders = {row.method: row.encoder for row in report.rows}
    shown = [encoders[name] for name in SHOWN if name in encoders]
    figures = {"results.png": draw_results(report.rows)}
    if report.ahead:
        figures["ahead.png"] = draw_ahead(report.ahead)
    figures["curves.png"] = draw_loss(workspace, report.rows)
    figures["attention.png"] = attention_figure(workspace, _photos(workspace, measured), shown)
    for name, drawn in figures.items():
        save_figure(drawn, folder / name)
    return [folder / name for name in figures]


def draw_results(rows: Sequence[Row]) -> Figure:
    """Draw a line for each method and a panel for each measure. A tick marks chance."""
    from matplotlib.figure import Figure as NewFigure

    drawn = NewFigure(figsize=(10, 0.32 * len(rows) + 1.2), dpi=160, layout="constrained")
    shown = [(name, title) for name, title in PANELS if any(name in row.numbers for row in rows)]
    panels: Sequence[Axes] = drawn.subplots(1, len(shown), sharey=True)
    places = range(len(rows))

    def percent(name: str) -> list[float]:
        return [100 * row.numbers.get(name, np.nan) for row in rows]

    for axes, (name, title) in zip(panels, shown, strict=True):
        if any(f"{name}_low" in row.numbers for row in rows):
            axes.hlines(places, percent(f"{name}_low"), percent(f"{name}_high"), color="#999999", linewidth=2)
        axes.plot(percent(name), places, "o", color=PALETTE[0], markersize=5)
        if any(f"{name}_chance" in row.numbers for row in rows):
            axes.plot(percent(f"{name}_chance"), places, "|", color=PALETTE[1], markersize=11, markeredgewidth=2)
            title += "\n| by chance"
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_yticks(places, [row.title for row in rows])
    panels[0].invert_yaxis()
    return drawn


def draw_ahead(found: Sequence[Ahead]) -> Figure:
    """Draw a line for each comparison, with the difference of the mAPs and its interval, at both sides of crops."""
    from matplotlib.figure import Figure as NewFigure

    drawn = NewFigure(figsize=(10, 0.42 * len(found) + 1.2), dpi=160, layout="constrained")
    panels: Sequence[Axes] = drawn.subplots(1, 2, sharey=True)
    places = range(len(found))
    sides = (
        ("at 224 px", [each.by for each in found]),
        ("at the side of the views", [each.by_views for each in found]),
    )
    for axes, (title, estimates) in zip(panels, sides, strict=True):
        value, low, high = ([100 * number for number in numbers] for numbers in zip(*estimates, strict=True))
        axes.axvline(0, color=PALETTE[1], linewidth=1)
        axes.hlines(places, low, high, color="#999999", linewidth=2)
        axes.plot(value, places, "o", color=PALETTE[0], markersize=5)
        axes.set_title(f"mAP ahead {title}, points\nwith 95 % interval over photos and seeds", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_yticks(places, [f"{each.one}\n− {each.other} (equal {each.equal})" for each in found])
    panels[0].invert_yaxis()
    return drawn


def draw_loss(workspace: Workspace, rows: Sequence[Row]) -> Figure:
    """Draw the loss of each training, relative to its first epoch, and the spread of features, by epoch.

    Of several seeds, the first. The losses of different methods have different scales. A spread of 0 is a collapse; 1
    means features spread over the whole sphere.
    """
    from matplotlib.figure import Figure as NewFigure

    drawn = NewFigure(figsize=(9, 3.6), dpi=160, layout="constrained")
    panels: Sequence[Axes] = drawn.subplots(1, 2)
    trained = [row for row in rows if "images_per_second" in row.numbers]
    for number, row in enumerate(trained):
        dashes = "-" if row.title.startswith("ORL") else "--"
        for axes, (name, relative) in zip(panels, (("loss", True), ("feature_spread", False)), strict=True):
            means = by_epoch(workspace, row.encoder, name)
            axes.plot(
                range(1, len(means) + 1),
                means / means[0] if relative else means,
                label=row.title if relative else None,
                markevery=max(1, len(means) // 10),
                linestyle=dashes,
                markersize=4,
                linewidth=1.2,
                **line_look(number),
            )
    panels[0].set_ylabel("loss, share of its first epoch's", fontsize=8)
    panels[1].set_ylabel("spread of features", fontsize=8)
    panels[1].set_ylim(bottom=0)
    for axes in panels:
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    if trained:
        drawn.legend(loc="outside right center", fontsize=8, frameon=False)
    return drawn


def by_epoch(workspace: Workspace, encoder: str, name: str) -> np.ndarray:
    """Return the mean of a metric in each epoch of the run that made an encoder, float64 [epochs]."""
    run_id = encoder_named(workspace.store, encoder).run_id
    assert run_id is not None, "only trained encoders have metrics"
    epochs = run_by_id(workspace.store, run_id).params["config"]["epochs"]
    values = np.array([v for _, _, v in metrics(workspace.store, run_id, names=[name])])
    return np.array([part.mean() for part in np.array_split(values, epochs)])


def _photos(workspace: Workspace, dataset: str) -> list[Path]:
    found = dataset_named(workspace.store, dataset)
    images, photos = list(usable_images(workspace.store, found.id)), Photos.of(workspace.store, found.id)
    every = max(1, len(images) // ATTENTION_PHOTOS)
    return [photos.path(image) for image in images[::every][:ATTENTION_PHOTOS]]
