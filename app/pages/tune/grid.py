"""A heat map of two settings: a measure of each combination on the sample. A click loads the settings of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from orl_explorer.app.explorer.tuning import Numbers, Tuner
from orl_explorer.app.pages.forms import ask_for
from orl_explorer.app.pages.shell import escape
from orl_explorer.app.pages.tune.measures import SWEPT, Measure, label
from orl_explorer.app.pages.tune.work import watch
from orl_explorer.db.encoders import VECTORS
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.sweep import combinations
from orl_explorer.train.settings import Value, as_text, choices, control

MOST = 64  # cells
# Settings that the axes offer, with their default values.
OFFERED = {name: shown for name in MineConfig.model_fields if (shown := control(MineConfig, name)).grid}
LABELS = {name: shown.label for name, shown in OFFERED.items()}
PART = "grid"  # name of this part of the page, see ``work``
FRAME = {"color": "#d55e00", "width": 3}
SCALE = "Cividis"  # reads the same for the colour-blind


def show_grid(tuner: Tuner, config: MineConfig) -> None:
    """Draw the inputs for settings and values, and the heat map of the cells that are computed."""
    st.subheader("Two settings at once", anchor=False)
    base = tuner.tried(config)
    measures = {n: m for n, m in SWEPT.items() if n == "missing" or tuner.saved[1].value(n) is not None}
    photos = tuner.subject.mined.image_count
    own = tuner.own
    across, down, measure, values = _choice(list(measures), own.neighbors + 1 if own.skip_duplicates else photos)
    try:
        grid = {down: _values(down, values[1]), across: _values(across, values[0])}
        count = len(grid[down]) * len(grid[across])  # tested before the cells are made: a URL may ask for millions
        if not 1 <= count <= MOST:
            raise UserError(f"Invalid number of cells: {count}. Use 1 to {MOST}.")
        cells = combinations(grid, base)
        if any(c.neighbors >= photos for _, c in cells):
            raise UserError(f"Too many neighbours for a set of {photos:,} photos. Use at most {photos - 1:,}.")
        if own.skip_duplicates and any(c.neighbors > own.neighbors for _, c in cells):
            raise UserError(f"This set skips near-duplicates and knows {own.neighbors} neighbours. Use no larger K.")
    except UserError as mistake:
        st.error(escape(str(mistake)))
        return
    if not tuner.proposed(base):
        st.caption("Not available without raw boxes. See the message above.")
        return
    configs = [config for _, config in cells]
    found = [tuner.cell(config) for config in configs]
    if watch(tuner, PART):
        return
    _offer(tuner, configs, found)
    if not any(found):
        return
    rows, columns = ([as_text(v) for v in grid[name]] for name in (down, across))
    drawn = HeatGrid(down, across, rows, columns, found)
    st.session_state["tune-cells"] = (tuner.own, configs)
    st.plotly_chart(
        heat_map(drawn, SWEPT[measure], base),
        key="tune-heat",
        on_select=_load,
        selection_mode="points",
        config={"displaylogo": False, "displayModeBar": False},
        alt=_in_words(drawn, SWEPT[measure]),
    )
    st.caption(
        f"Colours ({SCALE}) run from the lowest value, dark blue, to the highest, yellow. The frame marks the current "
        "settings. Click a cell to load its settings."
    )
    if st.session_state.pop("tune-loaded", False):
        st.rerun()  # the controls are outside of this fragment


def _choice(measures: list[str], photos: int) -> tuple[str, str, str, tuple[str, str]]:
    """Draw the inputs. Return the settings across and down, the measure, and the texts of both settings' values."""
    across, down = _named("x", list(LABELS), "neighbors"), _named("y", list(LABELS), "pair_ratio")
    if across == down:
        down = next(name for name in LABELS if name != across)
    shown = _named("m", measures, "same_class" if "same_class" in measures else "cycle")
    columns = st.columns([3, 3, 3, 3, 3])
    texts = []
    for number, (parameter, name, other) in enumerate((("x", across, down), ("y", down, across))):
        st.session_state[f"tune-{parameter}"] = name
        columns[2 * number].selectbox(
            "Down" if number else "Across",
            [one for one in LABELS if one != other],
            key=f"tune-{parameter}",
            format_func=LABELS.__getitem__,
            on_change=_chosen,
            args=(parameter,),
        )
        text = st.query_params.get(f"{parameter}s") or _as_list(_usual(name, photos))
        st.session_state[f"tune-{parameter}s"] = text
        columns[2 * number + 1].text_input(
            "Values", key=f"tune-{parameter}s", on_change=_chosen, args=(f"{parameter}s",)
        )
        texts.append(text)
    st.session_state["tune-m"] = shown
    columns[4].selectbox(
        "Measure", measures, key="tune-m", format_func=lambda m: SWEPT[m].label, on_change=_chosen, args=("m",)
    )
    return across, down, shown, (texts[0], texts[1])


def _named(parameter: str, names: list[str], otherwise: str) -> str:
    asked = st.query_params.get(parameter, otherwise)
    return asked if asked in names else otherwise


def _chosen(parameter: str) -> None:
    st.query_params[parameter] = st.session_state[f"tune-{parameter}"]
    if parameter in ("x", "y"):
        st.query_params.pop(f"{parameter}s", None)  # values of another setting


def _values(name: str, text: str) -> list[Value]:
    """Return the values in a text without duplicates, numbers in ascending order. Raises UserError if invalid."""
    texts = [part.strip() for part in text.split(",") if part.strip()]
    if choices(MineConfig, name):
        return list(dict.fromkeys(texts))
    try:
        return sorted({float(part) for part in texts})
    except ValueError as error:
        raise UserError(f"Invalid values for {name}: {text}. Use numbers separated by commas.") from error


def _usual(name: str, photos: int) -> list[Value]:
    """Return the default values of a setting."""
    return [v for v in OFFERED[name].grid if name != "neighbors" or (isinstance(v, int) and v < photos)] or [1]


def _as_list(values: Sequence[Value]) -> str:
    return ", ".join(as_text(value) for value in values)


def _offer(tuner: Tuner, configs: list[MineConfig], found: list[Numbers | None]) -> None:
    """Draw buttons that compute missing cells and features."""
    missing = any(own and own.missing for own in found)
    with st.container(horizontal=True, vertical_alignment="center"):
        unknown = sum(own is None for own in found)
        if unknown:
            st.button(
                f"Try {unknown} combination{'s' if unknown > 1 else ''}",
                key="tune-sweep",
                type="primary",
                icon=":material/grid_on:",
                on_click=tuner.start,
                args=(PART, tuner.sweep(configs)),
                disabled=tuner.working,
                help="Compute these cells on the sample. All other settings keep their values.",
            )
        if missing and tuner.subject.encoder.kind != VECTORS:
            st.button(
                "Embed missing RoIs",
                key="tune-embed-grid",
                icon=":material/memory:",
                on_click=tuner.start,
                args=(PART, tuner.prepare(configs)),
                disabled=tuner.working,
                help="Compute the missing features in memory, not on disk. Then try the combinations again.",
            )
        if missing:
            st.caption("Cells marked * exclude RoIs that have no feature yet.")


@dataclass(frozen=True)
class HeatGrid:
    """Two settings, their values as text, and the numbers of each cell, row by row."""

    down: str
    across: str
    rows: list[str]
    columns: list[str]
    found: list[Numbers | None]

    def at(self, cell: int) -> tuple[str, str]:
        """Return the values of a cell's column and row."""
        return self.columns[cell % len(self.columns)], self.rows[cell // len(self.columns)]


def heat_map(grid: HeatGrid, measure: Measure, config: MineConfig) -> go.Figure:
    """Return the heat map of a measure, with numbers in its cells and a frame around that of the current settings."""
    values = [None if numbers is None else numbers.value(measure.name) for numbers in grid.found]
    z = np.array([np.nan if value is None else 100 * value if measure.share else value for value in values], float)
    title = label(measure, config) + (", %" if measure.share else "")
    where = f"{LABELS[grid.across]} %{{x}}<br>{LABELS[grid.down]} %{{y}}"
    figure = go.Figure(
        go.Heatmap(
            z=z.reshape(len(grid.rows), len(grid.columns)),
            x=grid.columns,
            y=grid.rows,
            colorscale=SCALE,
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": title, "side": "right"}},
            hoverinfo="skip",
        )
    )
    # Cells of a heat map cannot be selected. A marker in each cell can, and shows the cell's number.
    middle = (np.nanmin(z) + np.nanmax(z)) / 2 if np.isfinite(z).any() else 0.0
    known = [cell for cell, value in enumerate(values) if value is not None]
    figure.add_scatter(
        x=[grid.at(cell)[0] for cell in known],
        y=[grid.at(cell)[1] for cell in known],
        text=[_written(grid, measure, cell) for cell in known],
        customdata=known,
        mode="markers+text",
        marker={"symbol": "square", "size": 44, "opacity": 0},
        textfont={"color": ["#ffffff" if z[cell] < middle else "#111111" for cell in known], "size": 14},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}, "textfont": {"color": "#888888"}},
        hovertemplate=f"{where}<br>{title}: %{{text}}<extra></extra>",
        showlegend=False,
    )
    here = (as_text(getattr(config, grid.across)), as_text(getattr(config, grid.down)))
    if here[0] in grid.columns and here[1] in grid.rows:
        x, y = grid.columns.index(here[0]), grid.rows.index(here[1])
        figure.add_shape(type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5, line=FRAME)
    figure.update_layout(
        height=120 + 64 * len(grid.rows),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        xaxis={"title": LABELS[grid.across], "type": "category", "showgrid": False},
        yaxis={"title": LABELS[grid.down], "type": "category", "showgrid": False},
        clickmode="event+select",
        dragmode=False,
    )
    return figure


def _written(grid: HeatGrid, measure: Measure, cell: int) -> str:
    numbers = grid.found[cell]
    if numbers is None:
        return ""
    some = numbers.missing > 0 and measure.name != "missing"
    return measure.written(numbers.value(measure.name)) + ("*" if some else "")


def _in_words(grid: HeatGrid, measure: Measure) -> str:
    cells = (
        f"{LABELS[grid.across]} {grid.at(cell)[0]} and {LABELS[grid.down]} {grid.at(cell)[1]}: {text}"
        for cell in range(len(grid.found))
        if (text := _written(grid, measure, cell))
    )
    return f"{measure.label} on the sample. {'; '.join(cells)}"


def _load() -> None:
    """Callback: load the settings of the clicked cell into the controls."""
    points = st.session_state["tune-heat"]["selection"]["points"]
    if not points:  # a new figure clears the selection
        return
    own, configs = st.session_state["tune-cells"]
    at = points[0].get("customdata")
    at = at[0] if isinstance(at, list) else at
    if isinstance(at, int) and 0 <= at < len(configs):
        ask_for(own, configs[at])
        st.session_state["tune-loaded"] = True
