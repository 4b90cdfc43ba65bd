"""Two sets over all photos: measures, similarities, and the photos on which they differ most."""

from __future__ import annotations

from html import escape as html
from pathlib import PurePosixPath
from shlex import quote

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from orl_explorer.app.explorer.measures import CHANCE, with_chance
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.explore.component import PhotoTile, gallery
from orl_explorer.app.pages.measured import tabs_of_measures
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.sets.comparison import BINS, Comparison, ImageOverlap, TwoSets, least_alike
from orl_explorer.db.sets.read import images_by_id
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.quality import is_outdated, kept_measures
from orl_explorer.train.settings import as_text, control
from orl_explorer.train.words import plural

PER_PAGE = 24
AGREEMENT = "Share of what both sets have that the other set has too: 1 if they are the same, 0 if they share nothing."
COLOURS = ("#0072B2", "#D55E00")  # Okabe–Ito, for A and B


def draw_whole(
    place: Place, first: CorrespondenceSet, second: CorrespondenceSet, comparison: Comparison, two: TwoSets
) -> None:
    """Draw everything below the query."""
    st.subheader(f"All {plural(comparison.images, 'photo')} of both sets", anchor=False, divider="gray")
    total = comparison.total
    shares = (("Neighbours", total.neighbors), ("RoIs", total.rois), ("Pairs", total.pairs))
    for column, (name, overlap) in zip(st.columns(3), shares, strict=True):
        column.metric(
            f"{name}: agreement",
            f"{overlap.agreement:.3f}",
            f"{overlap.first_found:,} of A's {overlap.first:,} in B, {overlap.second_found:,} of B's "
            f"{overlap.second:,} in A",
            delta_color="off",
            delta_arrow="off",
            help=AGREEMENT,
        )
    left, right = st.columns(2)
    with left:
        st.plotly_chart(
            _similarities(first, second), key="similarities", alt=_similarity_words(first, second), config=PLAIN
        )
    with right:
        st.plotly_chart(
            _agreements(comparison.histogram),
            key="agreements",
            on_select=_from_bin,
            selection_mode="points",
            alt=f"Number of photos by the agreement of their pairs: {comparison.histogram}",
            config=PLAIN,
        )
    with st.expander("Settings and measures of both sets", expanded=True):
        _measures(first, second)
    _photos(place, two)


PLAIN = {"displaylogo": False, "displayModeBar": False}


def _measures(first: CorrespondenceSet, second: CorrespondenceSet) -> None:
    for name, mined in zip("AB", (first, second), strict=True):
        if is_outdated(mined):
            again = shell.code(f"orl quality {quote(mined.name)}")
            st.caption(f"An earlier version measured {name}. Measure it again with {again}.")
    tabs_of_measures(("", "A", "B", "B − A", "Meaning"), compared_measures(first, second))


def compared_measures(first: CorrespondenceSet, second: CorrespondenceSet) -> dict[str, list[tuple[str, ...]]]:
    """Return the settings that differ, and all measures by group: name, of both, difference of numbers, meaning."""
    ours, theirs = (MineConfig.of(s).model_dump() for s in (first, second))
    tables = {
        "Settings": [
            _compared(control(MineConfig, n).label, ours[n], theirs[n], "") for n in ours if ours[n] != theirs[n]
        ]
    }
    kept = [kept_measures(s) for s in (first, second)]
    for group, measured in with_chance(kept[0] | kept[1]).items():
        rows = tables[group] = []
        for m in measured:
            rows.append(_compared(m.label, kept[0].get(m.name), kept[1].get(m.name), m.meaning))
            if m.chance is not None:
                chance = f"{m.name}{CHANCE}"
                rows.append(_compared("… by chance", kept[0].get(chance), kept[1].get(chance), ""))
    return {group: rows for group, rows in tables.items() if rows}


def _compared(name: str, ours: object, theirs: object, meaning: str) -> tuple[str, ...]:
    return name, _number(ours), _number(theirs), _difference(ours, theirs), meaning


def _number(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else as_text(value) if isinstance(value, bool) else str(value)


def _difference(a: object, b: object) -> str:
    numbers = isinstance(a, int | float) and isinstance(b, int | float) and not isinstance(a, bool)
    return f"{b - a:+.4g}" if numbers and a != b else ""  # type: ignore[operator]


def _similarities(first: CorrespondenceSet, second: CorrespondenceSet) -> go.Figure:
    figure = go.Figure()
    for name, mined, colour, dash in zip("AB", (first, second), COLOURS, ("solid", "dash"), strict=True):
        counts = np.array((mined.summary or {}).get("similarity", []), float)
        if counts.sum():
            width = 2 / len(counts)
            edges = np.linspace(-1 - width, 1 + width, len(counts) + 3)  # with nothing before and after
            counts = np.pad(counts, 1)
            style = {"color": colour, "dash": dash, "shape": "hvh"}
            middle = (edges[1:] + edges[:-1]) / 2
            used = np.flatnonzero(counts)
            part = slice(used[0] - 1, used[-1] + 2)
            share = counts[part] / counts.sum()
            figure.add_scatter(x=middle[part], y=share, name=f"{name} · {html(mined.name)}", line=style, mode="lines")
    figure.update_layout(
        title="Similarity of all pairs",
        xaxis_title="cosine similarity",
        yaxis_title="share of the set's pairs",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        height=340,
        margin={"t": 80, "b": 40, "l": 50, "r": 10},
    )
    return figure


def _similarity_words(first: CorrespondenceSet, second: CorrespondenceSet) -> str:
    means = [kept_measures(s).get("similarity_p50") for s in (first, second)]
    known = [f"{name} {mean:.3f}" for name, mean in zip("AB", means, strict=True) if mean is not None]
    return "Histograms of the pairs' cosine similarity in both sets" + (f"; medians: {', '.join(known)}" * bool(known))


def _agreements(histogram: list[int]) -> go.Figure:
    low = np.arange(BINS) / BINS
    labels = [f"{a:.2f} to {a + 1 / BINS:.2f}" for a in low]
    bars = go.Bar(
        x=low + 0.5 / BINS,
        y=histogram,
        width=0.94 / BINS,
        customdata=low,
        hovertext=labels,
        hovertemplate="%{hovertext}: %{y} photos<extra></extra>",
        marker_color=COLOURS[0],
    )
    figure = go.Figure(bars)
    figure.update_layout(
        title="Agreement of each photo's pairs<br><sup>click a bar to list its photos below</sup>",
        xaxis={"title": "pairs that the other set has too ÷ pairs of both sets", "range": [0, 1]},
        yaxis_title="photos",
        height=340,
        margin={"t": 80, "b": 40, "l": 50, "r": 10},
    )
    return figure


def _from_bin() -> None:
    points = st.session_state["agreements"].selection.points
    if points:
        shell.put_in_url(**{"from": f"{points[0]['customdata']:g}-0"})


@st.fragment(key="differing")
def _photos(place: Place, two: TwoSets) -> None:
    """Draw one page of the photos on which the sets differ most."""
    after = cursor(st.query_params.get("from", ""))
    found = least_alike(place.workspace.store, two, PER_PAGE + 1, after)
    begins = f", from agreement {after.pairs:.2f} on" if after else ""
    st.subheader(f"Photos whose pairs differ most{begins}", anchor=False)
    if not found:
        st.caption("No more photos.")
    images = images_by_id(place.workspace.store, [row.image_id for row in found[:PER_PAGE]])
    tiles: list[PhotoTile] = [
        {
            "id": row.image_id,
            "thumb": picture_urls().photo(row.image_id, images[row.image_id].mtime_ns, WIDTHS[0]),
            "name": PurePosixPath(images[row.image_id].path).name,
            "badges": [
                {"text": f"{kind} {agreement:.2f}", "meaning": f"Agreement of both sets on its {kind}. {AGREEMENT}"}
                for kind, agreement in (("pairs", row.pairs), ("neighbours", row.neighbors), ("RoIs", row.rois))
            ],
            "width": images[row.image_id].width or 4,
            "height": images[row.image_id].height or 3,
        }
        for row in found[:PER_PAGE]
    ]
    gallery(tiles, key="least_alike", on_open=_open, selected=shell.as_id(st.query_params.get("q", "")))
    with st.container(horizontal=True):
        if after:
            st.button("Back to first page", icon=":material/first_page:", on_click=_turn, args=("",))
        if len(found) > PER_PAGE:
            last = found[PER_PAGE - 1]
            onward = f"{last.pairs!r}-{last.image_id}"
            st.button("Next page", icon=":material/navigate_next:", on_click=_turn, args=(onward,))


def cursor(text: str) -> ImageOverlap | None:
    """Parse the start of a page of the list from the URL: agreement and id of the photo before it."""
    pairs, _, image = text.partition("-")
    try:
        value = float(pairs)
    except ValueError:
        return None
    image_id = shell.as_id(image)
    if image_id is None or not 0 <= value <= 1:
        return None
    return ImageOverlap(image_id, 0, 0, value)


def _turn(to: str) -> None:
    shell.put_in_url(**{"from": to})


def _open() -> None:
    image_id = st.session_state["least_alike"].open
    if isinstance(image_id, int):
        shell.put_in_url(q=str(image_id), nb="", mark="")
        st.rerun("compared")
