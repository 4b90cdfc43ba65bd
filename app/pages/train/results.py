"""Results: a table of encoders and protocols, and a plot for each protocol."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from orl_explorer.app.pages import shell
from orl_explorer.app.pages.shell import encoder_label, escape
from orl_explorer.app.pages.train.result_plots import Drawn, plot_of
from orl_explorer.db.runs.evaluations import evaluation_values, evaluations
from orl_explorer.train.evaluate.compared import ResultColumn, columns, headings, headline, numbered
from orl_explorer.train.evaluate.protocols import PROTOCOLS
from orl_explorer.train.workspace import Workspace

AT_ONCE = 6  # encoders in a plot; the colours of more would be too similar


def results_panel(opened: Workspace) -> None:
    """Draw the table of encoders and protocols, and the plot of the column in the URL."""
    st.subheader("Results", anchor=False)
    found = columns(evaluations(opened.store))
    if not found:
        _nothing()
        return
    _table(found)
    picked = _pick(found)
    _column(opened, picked)


def _nothing() -> None:
    listed = "\n".join(f"- **{escape(p.title)}** (`{name}`): {p.data}" for name, p in PROTOCOLS.items())
    st.info("No evaluations yet. Evaluate an encoder.", icon=":material/leaderboard:")
    if not shell.read_only():
        st.button("Evaluate an encoder", on_click=_to_form, type="primary", icon=":material/rocket_launch:")
    st.caption("Or in a terminal:")
    st.code("orl evaluate knn --encoder starter --data VOCdevkit", language=None, wrap_lines=True)
    st.markdown(listed)


def _to_form() -> None:
    shell.put_in_url(view="launch", stage="evaluate")


def _table(found: list[ResultColumn]) -> None:
    encoders = {each.encoder.id: each.encoder for column in found for each in column.found}
    labels = headings(found)
    rows: dict[str, list[object]] = {"encoder": [encoder_label(row) for row in encoders.values()]}
    for column, label in zip(found, labels, strict=True):
        by_encoder = {each.encoder.id: headline(each) for each in column.found}
        rows[label] = [_percent(by_encoder.get(i)) for i in encoders]
    config = {
        label: st.column_config.NumberColumn(label, format="%.1f", width="medium", help=_help(column))
        for column, label in zip(found, labels, strict=True)
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, key="results-table", placeholder="–")
    st.caption("Values in %. A column has the newest evaluation of each encoder with the same data and settings.")


def _labels(found: list[ResultColumn]) -> list[str]:
    return numbered([column.label for column in found])


def _help(column: ResultColumn) -> str:
    known = PROTOCOLS.get(column.protocol)
    return f"{escape(column.label)}: {known.title if known else ''}, {column.headline}, on {escape(column.data)}"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _pick(found: list[ResultColumn]) -> ResultColumn:
    labels = _labels(found)
    name = st.selectbox("Show", labels, key="result", bind="query-params")
    return found[labels.index(name)] if name in labels else found[0]


def _column(opened: Workspace, column: ResultColumn) -> None:
    shown = column.found[:AT_ONCE]
    drawn = [Drawn(each, evaluation_values(opened.store, each.evaluation.id)) for each in shown]
    made = plot_of(column.protocol, drawn)
    if made is not None:
        best = drawn[0]
        number = _percent(headline(best.found))
        said = f"{best.found.encoder.name} is best: {number:.1f} %." if number is not None else ""
        st.plotly_chart(
            made,
            key=f"result-{column.key}",
            config={"displaylogo": False},
            alt=f"{column.headline} by {column.protocol}. {said}",
        )
    if len(column.found) > AT_ONCE:
        st.caption(f"The plot shows the best {AT_ONCE} of {len(column.found)} encoders.")
    notes = dict.fromkeys(note for each in shown for note in each.evaluation.summary.get("notes", []))
    for note in notes:
        st.caption(escape(note))
    with st.expander("All numbers"):
        st.dataframe(_numbers(drawn), hide_index=True, key=f"numbers-{column.key}", placeholder="–")


def _numbers(drawn: list[Drawn]) -> pd.DataFrame:
    """Return all numbers of the evaluations, with a column per encoder. Two columns say what a number is."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for each in drawn:
        encoder = each.found.encoder
        name = encoder_label(encoder) if encoder.name in ("number", "of") else encoder.name
        for number, value in each.found.evaluation.summary.items():
            if number != "notes":
                rows.setdefault((number.replace("_", " "), ""), {})[name] = value
        for number, values in each.values.items():
            for key, value in values.items():
                rows.setdefault((number.replace("_", " "), key), {})[name] = value
    return pd.DataFrame([{"number": number, "of": key} | by_encoder for (number, key), by_encoder in rows.items()])
