"""The report of ``train.reproduce``: its table, and figures of the measurements, the trainings and attention maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.runs.runs import metrics, run_by_id
from orl_explorer.train.evaluate.scores import Scores, ahead
from orl_explorer.train.experiments.reproduce import SECOND, Row
from orl_explorer.train.figures import PALETTE, line_look
from orl_explorer.train.figures import save_figure as save_figure
from orl_explorer.train.files import publish
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "reproduce"  # in the workspace
BASELINE = "BYOL"  # the method that ORL starts from and is compared with
COLUMNS = {
    "map": "VOC07 SVM mAP",
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
    ("ahead", "… ahead of BYOL, points\nwith 95 % interval"),
    ("knn", "k-NN, %"),
    ("same_class", "pairs of one class, %"),
    ("attention", "attention IoU, %"),
)
ATTENTION_PHOTOS = 5


def compared_rows(workspace: Workspace, rows: list[Row]) -> list[Row]:
    """Return the rows with ``ahead``, ``ahead_low`` and ``ahead_high``: mAP minus BYOL's on the same photos.

    This interval is much narrower than the intervals of the two mAPs, whose errors are mostly common. Raises UserError.
    """
    base = next((row for row in rows if row.method == BASELINE), None)
    if base is None:
        return rows
    scores = Scores.kept_in(workspace.run_folder(base.svm_run))
    return [
        row
        if row is base
        else replace(row, numbers=row.numbers | _ahead(Scores.kept_in(workspace.run_folder(row.svm_run)), scores))
        for row in rows
    ]


def _ahead(one: Scores, other: Scores) -> dict[str, float]:
    found = ahead(one, other)
    return {"ahead": found.difference, "ahead_low": found.low, "ahead_high": found.high}


def as_markdown(rows: list[Row]) -> str:
    """Format the table: shares in percent, mAP with its 95 % interval, training speed in photos per second."""
    first, *others = COLUMNS.values()
    head = ["method", first, f"… ahead of {BASELINE}", *others, "photos/s"]
    lines = [" | ".join(head), "|".join("---" for _ in head)]
    for row in rows:
        shares = [f"{100 * row.numbers[name]:.1f}" for name in COLUMNS]
        shares[0] += f" ({100 * row.numbers['map_low']:.1f}–{100 * row.numbers['map_high']:.1f})"
        speed = row.numbers.get("images_per_second")
        last = f"{speed:.1f}" if speed else ""
        lines.append(" | ".join([row.method, shares[0], _said_ahead(row), *shares[1:], last]))
    return "".join(f"| {line} |\n" if number != 1 else f"|{line}|\n" for number, line in enumerate(lines))


def _said_ahead(row: Row) -> str:
    if "ahead" not in row.numbers:
        return ""
    by, low, high = (100 * row.numbers[name] for name in ("ahead", "ahead_low", "ahead_high"))
    return f"{by:+.1f} ({low:+.1f} to {high:+.1f})".replace("-", "−")


def save_report(workspace: Workspace, rows: list[Row]) -> Path:
    """Write ``table.md`` and ``table.json`` to the workspace and return their folder."""
    folder = workspace.path / FOLDER
    content = json.dumps([{"method": r.method, "encoder": r.encoder, **r.numbers} for r in rows], indent=1)
    publish(lambda file: file.write(content.encode()), folder / "table.json")
    publish(lambda file: file.write(as_markdown(rows).encode()), folder / "table.md")
    return folder


def draw_report(workspace: Workspace, rows: Sequence[Row], measured: str, folder: Path) -> list[Path]:
    """Write ``results.png``, ``curves.png`` and ``attention.png``, attention maps on photos of a dataset.

    Raises UserError or StoreError.
    """
    from orl_explorer.train.experiments.attention_figure import attention_figure

    trained = {row.method: row for row in rows}
    shown = [trained[name].encoder for name in ("random weights", "BYOL", "ORL", SECOND) if name in trained]
    figures = {
        "results.png": report_folder(rows),
        "curves.png": draw_loss(workspace, rows),
        "attention.png": attention_figure(workspace, _photos(workspace, measured), shown),
    }
    for name, drawn in figures.items():
        save_figure(drawn, folder / name)
    return [folder / name for name in figures]


def report_folder(rows: Sequence[Row]) -> Figure:
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
        if name == "ahead":
            axes.axvline(0, color=PALETTE[1], linewidth=1)
        if any(f"{name}_chance" in row.numbers for row in rows):
            axes.plot(percent(f"{name}_chance"), places, "|", color=PALETTE[1], markersize=11, markeredgewidth=2)
            title += "\n| by chance"
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_yticks(places, [row.method for row in rows])
    panels[0].invert_yaxis()
    return drawn


def draw_loss(workspace: Workspace, rows: Sequence[Row]) -> Figure:
    """Draw the loss of each training, relative to its first epoch, and the spread of features, by epoch.

    The losses of different methods have different scales. A spread of 0 is a collapse; 1 means features spread over the
    whole sphere.
    """
    from matplotlib.figure import Figure as NewFigure

    drawn = NewFigure(figsize=(9, 3.6), dpi=160, layout="constrained")
    panels: Sequence[Axes] = drawn.subplots(1, 2)
    trained = [row for row in rows if "images_per_second" in row.numbers]
    for number, row in enumerate(trained):
        dashes = "-" if row.method.startswith("ORL") else "--"
        for axes, (name, relative) in zip(panels, (("loss", True), ("feature_spread", False)), strict=True):
            means = by_epoch(workspace, row.encoder, name)
            axes.plot(
                range(1, len(means) + 1),
                means / means[0] if relative else means,
                label=row.method if relative else None,
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
