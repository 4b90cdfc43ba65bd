"""A plot for each protocol, with a colour per encoder."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from orl_explorer.db.runs.evaluations import Evaluated
from orl_explorer.train.figures import PALETTE

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


class Drawn(NamedTuple):
    """An evaluation with its values by name and key."""

    found: Evaluated
    values: dict[str, dict[str, float]]

    @property
    def name(self) -> str:
        """Name of the encoder, escaped for a plot."""
        return escape(self.found.encoder.name)


def plot_of(protocol: str, drawn: Sequence[Drawn]) -> go.Figure | None:
    """Return the plot of a protocol, or None if there is nothing to plot."""
    if not any(each.values for each in drawn):
        return None
    match protocol:
        case "voc07-svm":
            return _laid_out(by_class(drawn), height=160 + 22 * _most(drawn, "ap") + 12 * len(drawn))
        case "voc07-lowshot":
            return _laid_out(low_shot(drawn))
        case "linear":
            return _laid_out(lines(drawn, "top1", "depth", "top-1, %"))
        case "semi":
            return _laid_out(grids(drawn), height=330)
        case "knn":
            return _laid_out(lines(drawn, "accuracy", "voting neighbours", "accuracy, %"))
    return _laid_out(bars(drawn), height=520)


def by_class(drawn: Sequence[Drawn]) -> go.Figure:
    """Plot the average precision of each class with its 95 % interval, the first encoder's best class on top."""
    made = go.Figure()
    order = sorted(drawn[0].values["ap"], key=drawn[0].values["ap"].__getitem__)
    lanes = [0.32 * (i - (len(drawn) - 1) / 2) / max(1, len(drawn) / 2) for i in range(len(drawn))]
    for i, each in enumerate(drawn):
        ap = {name: value for name, value in each.values["ap"].items() if name in order}
        low, high = each.values.get("ap_low", ap), each.values.get("ap_high", ap)
        made.add_trace(
            go.Scatter(
                x=[100 * ap[name] for name in ap],
                y=[order.index(name) - lanes[i] for name in ap],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * max(0, high[name] - ap[name]) for name in ap],
                    "arrayminus": [100 * max(0, ap[name] - low[name]) for name in ap],
                    "thickness": 1.3,
                    "width": 3,
                },
                mode="markers",
                name=each.name,
                marker=_marker(i),
                customdata=[[escape(name), 100 * low[name], 100 * high[name]] for name in ap],
                hovertemplate="%{customdata[0]}: %{x:.1f} (%{customdata[1]:.1f}–%{customdata[2]:.1f})<extra></extra>",
            )
        )
    made.update_yaxes(tickvals=list(range(len(order))), ticktext=[escape(name) for name in order], showgrid=True)
    made.update_xaxes(title_text="average precision, %; bars: 95 % interval over resampled test photos", range=[0, 102])
    return made


def low_shot(drawn: Sequence[Drawn]) -> go.Figure:
    """Plot mAP by k, mean and standard deviation over samples: clean (solid) and as in the reference (dotted)."""
    made = go.Figure()
    for i, each in enumerate(drawn):
        for way, dash in (("clean", "solid"), ("reference", "dot")):
            mean, spread = each.values[f"{way}_mean"], each.values[f"{way}_std"]
            made.add_trace(
                go.Scatter(
                    x=[int(k) for k in mean],
                    y=[100 * value for value in mean.values()],
                    error_y={"type": "data", "array": [100 * value for value in spread.values()], "width": 4},
                    mode="lines+markers",
                    name=f"{each.name} · {way}",
                    line={"color": _colour(i), "dash": dash},
                    marker=_marker(i),
                )
            )
    ticks = sorted({int(k) for each in drawn for k in each.values["clean_mean"]})
    made.update_xaxes(
        title_text="positives of each class", type="log", tickvals=ticks, ticktext=[str(k) for k in ticks]
    )
    made.update_yaxes(title_text="mAP, %")
    return made


def lines(drawn: Sequence[Drawn], name: str, across: str, up: str) -> go.Figure:
    """Plot a share by depth or by k, with a line per encoder."""
    made = go.Figure()
    for i, each in enumerate(drawn):
        values = each.values[name]
        made.add_trace(
            go.Scatter(
                x=list(values),
                y=[100 * value for value in values.values()],
                mode="lines+markers",
                name=each.name,
                line={"color": _colour(i)},
                marker=_marker(i),
            )
        )
    keys = sorted({int(key) for each in drawn for key in each.values[name]})
    made.update_xaxes(title_text=across, type="category", categoryorder="array", categoryarray=[str(k) for k in keys])
    made.update_yaxes(title_text=up)
    return made


def grids(drawn: Sequence[Drawn]) -> go.Figure:
    """Plot top-1 for each pair of learning rates, with a grid per encoder."""
    made = make_subplots(cols=len(drawn), subplot_titles=[each.name for each in drawn], shared_yaxes=True)
    top = max(value for each in drawn for value in each.values["top1"].values())
    for i, each in enumerate(drawn):
        params = each.found.evaluation.params
        faster = [f"× {multiplier:g}" for multiplier in params["head_multipliers"]]
        shares = [100 * value for value in each.values["top1"].values()]
        rows = [shares[start : start + len(faster)] for start in range(0, len(shares), len(faster))]
        made.add_trace(
            go.Heatmap(
                z=rows,
                x=faster,
                y=[f"{rate:g}" for rate in params["rates"]],
                text=[[f"{value:.1f}" for value in row] for row in rows],
                texttemplate="%{text}",
                hovertemplate="rate %{y}, head %{x}: %{z:.1f} %<extra></extra>",
                coloraxis="coloraxis",
            ),
            row=1,
            col=i + 1,
        )
    made.update_xaxes(title_text="learning rate of the head")
    made.update_yaxes(type="category")
    made.update_yaxes(title_text="learning rate", col=1)
    made.update_layout(
        coloraxis={"colorscale": "Cividis", "cmin": 0, "cmax": 100 * top, "colorbar": {"title": "top-1, %"}}
    )
    return made


def bars(drawn: Sequence[Drawn]) -> go.Figure:
    """Plot all numbers by key, with a series of bars per name; chance levels are paler."""
    made = go.Figure()
    for i, each in enumerate(drawn):
        for name, values in each.values.items():
            pale = name == "by_chance"
            said = name.replace("_", " ")
            made.add_trace(
                go.Bar(
                    y=[escape(key.replace("_", " ")) for key in values],
                    x=list(values.values()),
                    name=f"{each.name} · {said}" if len(each.values) > 1 else each.name,
                    orientation="h",
                    marker={"color": _colour(i), "opacity": 0.4 if pale else 1},
                    hovertemplate="%{y}: %{x:.3f}<extra></extra>",
                )
            )
    made.update_layout(barmode="group")
    made.update_yaxes(autorange="reversed")
    return made


def _laid_out(made: go.Figure, height: int = 420) -> go.Figure:
    made.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 60, "b": 10},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
        showlegend=True,
        uirevision="keep",
    )
    made.update_xaxes(automargin=True)
    made.update_yaxes(automargin=True)
    return made


def _most(drawn: Sequence[Drawn], name: str) -> int:
    return max(len(each.values.get(name, ())) for each in drawn)


def _colour(i: int) -> str:
    return PALETTE[i % len(PALETTE)]


def _marker(i: int) -> dict[str, object]:
    return {"color": _colour(i), "size": 9, "symbol": SYMBOLS[(i + i // len(PALETTE)) % len(SYMBOLS)]}
