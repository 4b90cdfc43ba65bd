"""Curves of runs: read metrics incrementally, and prepare them for the component."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np
import streamlit as st

from orl_explorer.app.explorer.charts import NOTHING, POINTS, Thinned, coarser, thin
from orl_explorer.app.pages.train.chart import ChartPanel, CurvesPayload, Line, Mark, Source, curves
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import metrics
from orl_explorer.db.store import Store
from orl_explorer.train.figures import PALETTE
from orl_explorer.train.progress import TRAINING
from orl_explorer.train.training.alarms import COLLAPSED, STEPS, collapsed
from orl_explorer.train.workspace import Workspace

DASHES = ("", "7 4", "2 3", "10 3 2 3")
ACCENT = "var(--st-primary-color)"
SHARED = 6000  # points of a panel at most, of all its lines


@dataclass(frozen=True)
class Chart:
    """A panel: its metrics, each with its label and its colour if only one run is shown."""

    name: str
    title: str
    lines: tuple[tuple[str, str, str], ...]
    unit: str = ""
    log: bool = False
    mark: Mark | None = None


BRANCHES = (
    ("loss_image", "image", "#0072B2"),
    ("loss_local", "local", "#E69F00"),
    ("loss_dense", "cells", "#E69F00"),
    ("loss_labels", "pseudo-labels", "#E69F00"),
    ("loss_intra", "intra-RoI", "#E69F00"),
    ("loss_inter", "inter-RoI", "#CC79A7"),
)
CHARTS = (
    Chart("loss", "Loss", (("loss", "total", ACCENT), *BRANCHES), log=True),
    Chart("learning_rate", "Learning rate", (("learning_rate", "", ACCENT),), log=True),
    Chart("images_per_second", "Photos per second", (("images_per_second", "", ACCENT),), log=True),
    Chart("data_wait", "Share of time spent waiting for photos", (("data_wait", "", ACCENT),), unit="%"),
    Chart(
        "feature_spread",
        "Spread of the features",
        (("feature_spread", "", ACCENT),),
        mark={"y": COLLAPSED, "text": f"collapsed below {COLLAPSED}"},
    ),
    Chart("gradient_norm", "Norm of the gradients", (("gradient_norm", "", ACCENT),), log=True),
    Chart("weights_moved", "Change of the weights, of their norm", (("weights_moved", "", ACCENT),), unit="%"),
    Chart("target_renewals", "Renewals of the slow network", (("target_renewals", "", ACCENT),)),
    Chart("feature_rank", "Rank of the features (RankMe)", (("feature_rank", "", ACCENT),)),
    Chart(
        "knn_accuracy",
        "k-NN accuracy on annotated photos",
        (("knn_accuracy", "k-NN", ACCENT), ("knn_chance", "chance", "#888888")),
        unit="%",
    ),
    Chart("probe_similarity", "Similarity of the probes' best pairs", (("probe_similarity", "", ACCENT),)),
)
# If several runs are shown, each part of the loss has its own chart.
APART = (
    Chart("loss", "Loss", CHARTS[0].lines[:1], log=True),
    *(Chart(name, f"Loss, {label}", ((name, label, color),), log=True) for name, label, color in BRANCHES),
    *CHARTS[1:],
)
NAMES = tuple(name for chart in CHARTS for name, *_ in chart.lines)


class Followed:
    """A run's thinned metrics. Each look reads only new rows from the store."""

    def __init__(self, run_id: int) -> None:
        self._run_id, self._after, self._lock = run_id, -1, threading.Lock()
        self._found: dict[str, Thinned] = {}

    def look(self, store: Store) -> dict[str, Thinned]:
        """Return the metrics by name."""
        with self._lock:
            for name, rows in groupby(metrics(store, self._run_id, self._after, NAMES), key=lambda row: row[1]):
                steps, _, values = zip(*rows, strict=True)
                self._found[name] = thin(self._found.get(name, NOTHING), steps, values)
                self._after = max(self._after, steps[-1])
            return dict(self._found)


@st.cache_resource(max_entries=64, show_spinner=False)
def _followed(workspace: str, run_id: int, started_at: datetime | None) -> Followed:
    """Return the metrics of one attempt. A resumed run repeats its last steps, so it is read again from the start."""
    return Followed(run_id)


def numbers(opened: Workspace, run: Run) -> dict[str, Thinned]:
    """Return a run's metrics by name."""
    return _followed(str(opened.path), run.id, run.started_at).look(opened.store)


def has_collapsed(opened: Workspace, run: Run, spread: Thinned | None) -> bool:
    """Return whether the newest features of a run are nearly identical."""
    if spread is None:
        return False
    newest = metrics(opened.store, run.id, int(spread.step[-1]) - STEPS, ("feature_spread",))
    return collapsed([value for *_, value in newest])


def draw_curves(opened: Workspace, shown: Sequence[Run], *, key: str) -> None:
    """Draw the charts of one run, or of several runs in common charts."""
    found = {run.id: numbers(opened, run) for run in shown}
    payload = curves_payload(shown, found)
    if payload["panels"]:
        curves(payload, key=key)


def curves_payload(shown: Sequence[Run], found: dict[int, dict[str, Thinned]]) -> CurvesPayload:
    """Return the data of the component. For one run, each loss has a colour; for several, each run has one.

    For several runs, each part of the loss has its own chart.
    """
    alone = len(shown) == 1
    sources: list[Source] = [
        {
            "id": run.id,
            "name": run.name,
            "color": ACCENT if alone else PALETTE[n % len(PALETTE)],
            "dash": "" if alone else DASHES[n % len(DASHES)],
            "per_epoch": per_epoch(run),
        }
        for n, run in enumerate(shown)
    ]
    points = min(POINTS, SHARED // max(1, len(shown)))
    panels: list[ChartPanel] = []
    for chart in CHARTS if alone else APART:
        lines = [
            _line(source, coarser(series, points), metric, label if alone else source["name"], color if alone else "")
            for source in sources
            for metric, label, color in chart.lines
            if (series := found[source["id"]].get(metric)) is not None
        ]
        if lines:
            panels.append(
                {
                    "name": chart.name,
                    "title": chart.title,
                    "unit": chart.unit,
                    "log": chart.log,
                    "lines": lines,
                    "mark": chart.mark,
                }
            )
    ids = "-".join(str(run.id) for run in shown)
    return {
        "runs": sources,
        "panels": panels,
        "figure": {
            "name": f"curves-{ids}",
            "caption": [f"{'Run' if alone else 'Runs'} {', '.join(f'{run.id} · {run.name}' for run in shown)}."],
            "place": {"run" if alone else "compare": ids},
        },
    }


def _line(source: Source, series: Thinned, metric: str, label: str, color: str) -> Line:
    """Return a curve in the given colour, or in that of its run."""
    chance = metric == "knn_chance"
    line: Line = {
        "run": source["id"],
        "label": f"{label} (chance)" if chance and not color else label,
        "color": color or source["color"],
        "dash": "2 3" if chance else source["dash"],
        "thin": chance or (metric.startswith("loss_") and bool(color)),
        "x": series.step.tolist(),
        "y": _rounded(series.mean),
    }
    if (series.count > 1).any():
        line |= {"low": _rounded(series.low), "high": _rounded(series.high)}
    return line


def _rounded(values: np.ndarray) -> list[float]:
    """Round to six digits, which halves the data and is still invisible."""
    return [float(f"{value:.6g}") for value in values.tolist()]


def per_epoch(run: Run) -> float | None:
    """Return the steps per epoch of a run, None if its settings know no epochs or it does not count steps yet."""
    epochs = run.params.get("config", {}).get("epochs")
    return run.total / epochs if run.phase == TRAINING and run.total and epochs else None
