"""Measures of the sample: under the current settings, and in the saved set."""

from __future__ import annotations

from html import escape

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from orl_explorer.app.explorer.tuning import FIXED, Numbers, Tuner
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.tune.measures import OBJECTS, PAIRS, REGIONS, Measure, known, label
from orl_explorer.app.pages.tune.work import offer_work
from orl_explorer.db.encoders import VECTORS
from orl_explorer.orl.measure.quality import Mined
from orl_explorer.train.mining.by_vectors import refuse_settings
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import REMEMBERED
from orl_explorer.train.mining.trial import Found
from orl_explorer.train.settings import differences
from orl_explorer.train.words import plural

BINS = (0.02, 0.01, 0.005, 0.002, 0.001)  # widths of a bin of similarity: the widest that gives FEWEST bins is used
FEWEST = 20
NOW, CUT, SAVED = "#0072b2", "#8f8f8f", "#e69f00"  # Okabe–Ito blue and orange, and a grey


def show_numbers(tuner: Tuner, config: MineConfig) -> None:
    """Draw the measures and the histogram of the sample."""
    tried = tuner.tried(config)
    refuse_settings(tuner.subject.encoder, tried)
    unsearched = tuner.unsearched(config)
    if proposed := tuner.proposed(tried):
        _say_what_is_tried(config, tried, searchable=unsearched > 0)
    if unsearched:
        photos = plural(unsearched, "photo")
        text = f"Selective search with these settings has not run on {photos} of the sample yet."
        offer_work(tuner, "search", text, f"Search {photos}", tuner.search(config))
    if not proposed:
        st.warning(
            "This set's raw boxes are not stored for these photos, so other settings cannot be tried.",
            icon=":material/crop_free:",
        )
        return
    unmapped = tuner.unmapped(tried)
    if unmapped:
        needed = ["attention maps"] * tried.needs_objectness + ["boxes on maps"] * tried.maps_boxes
        text = f"These settings need {' and '.join(needed)}. {plural(unmapped, 'photo')} of the sample have none yet."
        offer_work(tuner, "numbers", text, f"Map {plural(unmapped, 'photo')}", tuner.prepare([tried]))
        return
    found, now = tuner.find(tried), tuner.numbers(tried)
    mined, before = tuner.saved
    if found.missing:
        text = (
            f"**{found.missing:,} of {found.rois:,} RoIs** of the sample have no feature yet. They count as RoIs; "
            "measures of pairs and objects exclude them."
        )
        if tuner.subject.encoder.kind == VECTORS:
            st.info(f"{text} Import vectors of these boxes to count them.", icon=":material/info:")
        elif found.missing > REMEMBERED:
            st.info(f"{text} They are too many to keep in memory. Choose fewer queries.", icon=":material/info:")
        else:
            offer_work(tuner, "numbers", text, f"Embed {plural(found.missing, 'RoI')} now", tuner.prepare([tried]))
    with st.container(key="tune-measured"):
        left, right = st.columns([5, 4], gap="medium")
    with left:
        st.html(table_of_numbers(now, before, tried))
    with right:
        st.plotly_chart(
            histogram(found, mined, tried),
            key="tune-histogram",
            config={"displaylogo": False, "displayModeBar": False},
            alt=_in_words(found, mined),
        )


def _say_what_is_tried(config: MineConfig, tried: MineConfig, *, searchable: bool) -> None:
    """Name the settings that are not tried, beside the values that are, and say what it would take to try them."""
    as_fixed = config.model_copy(update={name: getattr(tried, name) for name in (*FIXED, "neighbors")})
    boxes, fixed = _listed(config=as_fixed, other=tried), _listed(config=config, other=as_fixed)
    said = []
    if boxes:
        how = "Search the photos to try it." if searchable else "Some photos of the sample have no such raw boxes."
        said.append(f"Not tried yet: {boxes}. {how}")
    if fixed:
        said.append(f"Only on Regenerate: {fixed}.")
    if said:
        st.info(f"{' '.join(said)} The numbers below are for the values in brackets.", icon=":material/schedule:")


def _listed(config: MineConfig, other: MineConfig) -> str:
    return shell.escape(" · ".join(differences(config, other)))


def table_of_numbers(now: Numbers, before: Numbers, config: MineConfig) -> str:
    """Return an HTML table of all measures: current settings, saved set, difference, and chance level."""
    groups = {"Regions": REGIONS, "Pairs": PAIRS, "Objects": OBJECTS}
    rows = []
    for title, measures in groups.items():
        shown = known(measures, now, before)
        if shown:
            rows.append(f'<tr class="group"><th scope="colgroup" colspan="5">{title}</th></tr>')
        rows += [_row(measure, now, before, config) for measure in shown]
    heads = ("", "Now", "Set", "Difference", "By chance" if now.value("query_is_object") is not None else "")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    caption = f"{now.queries} queries: current settings and saved set, on the same photos"
    return (
        f'<table class="tuned"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(measure: Measure, now: Numbers, before: Numbers, config: MineConfig) -> str:
    value, other = now.value(measure.name), before.value(measure.name)
    chance = now.value(f"{measure.name}_chance")
    cells = [
        f'<td class="now" data-measure="{measure.name}">{measure.written(value)}</td>',
        f"<td>{measure.written(other)}</td>",
        f'<td class="difference">{measure.difference(value, other)}</td>',
        f"<td>{'' if chance is None else measure.written(chance)}</td>",
    ]
    name = escape(label(measure, config))
    return f'<tr><th scope="row" title="{escape(measure.meaning)}">{name}</th>{"".join(cells)}</tr>'


def histogram(found: Found, saved: Mined, config: MineConfig) -> go.Figure:
    """Return a histogram of the pairs' similarity: accepted, rejected (grey), and the saved set's as a line."""
    every = np.concatenate([found.mined.similarity, found.cut, saved.similarity, [1.0]])
    least = max(-1.0, float(every.min()))
    width = next((width for width in BINS if 1 - least >= FEWEST * width), BINS[-1])
    edges = 1 - width * np.arange(max(1, np.ceil((1 - least) / width)), -1, -1)
    edges[0] = low = min(float(edges[0]), least)  # despite rounding
    middles = (edges[:-1] + edges[1:]) / 2
    now, cut, before = (np.histogram(v, edges)[0] for v in (found.mined.similarity, found.cut, saved.similarity))
    figure = go.Figure()
    figure.add_bar(x=middles, y=now, name="now", marker_color=NOW, width=width, hovertemplate="%{x:.3f}: %{y} pairs")
    if len(found.cut):
        figure.add_bar(
            x=middles,
            y=cut,
            name="below the threshold",
            marker={"color": CUT, "pattern": {"shape": "/", "size": 5}},
            width=width,
            hovertemplate="%{x:.3f}: %{y} rejected",
        )
    figure.add_scatter(
        x=[low - width / 2, *middles, 1 + width / 2],  # from nothing to nothing, so that its outer bins have sides
        y=[0, *before, 0],
        name="saved set",
        mode="lines",
        line={"color": SAVED, "width": 2.5, "shape": "hvh"},
        hovertemplate="%{x:.3f}: %{y} pairs",
    )
    if config.min_similarity > max(-1.0, low):
        figure.add_vline(
            config.min_similarity,
            line={"dash": "dash", "width": 1.5, "color": "#d55e00"},
            annotation={"text": f"min similarity {config.min_similarity:.2f}", "yanchor": "bottom"},
            annotation_position="top",
        )
    figure.update_layout(
        barmode="stack",
        bargap=0,
        height=430,
        margin={"l": 10, "r": 10, "t": 60, "b": 10},
        legend={"orientation": "h", "y": 1.16, "x": 0},
        xaxis={"title": "cosine similarity of a pair", "range": [low, 1]},
        yaxis={"title": "pairs of the sample"},
        uirevision="keep",
    )
    return figure


def _in_words(found: Found, saved: Mined) -> str:
    def middle(values: np.ndarray) -> str:
        return f"{np.median(values):.2f}" if len(values) else "none"

    now, before = found.mined.similarity, saved.similarity
    cut = f", {len(found.cut):,} more below the threshold" if len(found.cut) else ""
    return (
        f"Similarity of {len(now):,} pairs, median {middle(now)}{cut}; saved set: {len(before):,} pairs, "
        f"median {middle(before)}"
    )
