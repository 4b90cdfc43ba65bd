"""The figures of ``train.reproduce``: what was measured, how trainings went, and what encoders respond to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db.encoders import encoder_named
from db.photos import dataset_named, usable_images
from db.runs import metrics, run_by_id
from train.figures import MARKERS, PALETTE, save
from train.photos import Photos
from train.reproduce import BRANCHES, SECOND, Row
from train.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (  # name of a number, of its interval or of chance, and what it says
    ("map", "VOC07 SVM mAP, %\nwith 95 % interval"),
    ("knn", "k-NN, %"),
    ("same_class", "pairs of one class, %"),
    ("attention", "attention IoU, %"),
)
ATTENTION_PHOTOS = 5


def draw(workspace: Workspace, rows: Sequence[Row], measured: str, folder: Path) -> list[Path]:
    """Write ``results.png``, ``curves.png`` and ``attention.png``, maps of the last encoders on photos of a data set.

    Raises UserError or StoreError.
    """
    from train.attention import attention_figure

    trained = {row.method: row for row in rows}
    shown = [trained[name].encoder for name in ("random weights", "BYOL", "ORL", SECOND) if name in trained]
    figures = {
        "results.png": results(rows),
        "curves.png": curves(workspace, rows),
        "attention.png": attention_figure(workspace, _photos(workspace, measured), shown),
    }
    for name, drawn in figures.items():
        save(drawn, folder / name)
    return [folder / name for name in figures]


def results(rows: Sequence[Row]) -> Figure:
    """A line for each method, a panel for each measure; a tick where chance would be."""
    from matplotlib.figure import Figure as NewFigure

    drawn = NewFigure(figsize=(9, 0.32 * len(rows) + 1.2), dpi=160, layout="constrained")
    panels: Sequence[Axes] = drawn.subplots(1, len(PANELS), sharey=True)
    places = range(len(rows))
    for axes, (name, title) in zip(panels, PANELS, strict=True):
        values = [100 * row.numbers[name] for row in rows]
        if f"{name}_low" in rows[0].numbers:
            low, high = ([100 * row.numbers[f"{name}_{end}"] for row in rows] for end in ("low", "high"))
            axes.hlines(places, low, high, color="#999999", linewidth=2)
        axes.plot(values, places, "o", color=PALETTE[0], markersize=5)
        if f"{name}_chance" in rows[0].numbers:
            chance = [100 * row.numbers[f"{name}_chance"] for row in rows]
            axes.plot(chance, places, "|", color=PALETTE[1], markersize=11, markeredgewidth=2)
            title += "\n| by chance"
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_yticks(places, [row.method for row in rows])
    panels[0].invert_yaxis()
    return drawn


def curves(workspace: Workspace, rows: Sequence[Row]) -> Figure:
    """Means over epochs of each training: the loss as a share of its first epoch's, and the spread of features.

    Losses of different methods are of different scales; a spread of 0 is a collapse, of 1 features all over the sphere.
    """
    from matplotlib.figure import Figure as NewFigure

    drawn = NewFigure(figsize=(9, 3.6), dpi=160, layout="constrained")
    panels: Sequence[Axes] = drawn.subplots(1, 2)
    branches = [*BRANCHES, SECOND]
    trained = [row for row in rows if "images_per_second" in row.numbers]
    for number, row in enumerate(trained):
        look: dict[str, Any] = {
            "color": PALETTE[number % len(PALETTE)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": "-" if row.method in branches else "--",
            "markersize": 4,
            "linewidth": 1.2,
        }
        for axes, (name, relative) in zip(panels, (("loss", True), ("feature_spread", False)), strict=True):
            means = by_epoch(workspace, row.encoder, name)
            axes.plot(
                range(1, len(means) + 1),
                means / means[0] if relative else means,
                label=row.method if relative else None,
                markevery=max(1, len(means) // 10),
                **look,
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
    """The means of a metric over the epochs of the run that made an encoder, float64 [epochs]."""
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
