"""Tables of measures, in tabs by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st


def tabs_of_measures(heads: Sequence[str], groups: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Draw a tab for each group with a table of its rows: name, values, and last the meaning of the measure."""
    for tab, rows in zip(st.tabs([*groups]), groups.values(), strict=True):
        with tab:
            st.html(table_of_measures(heads, rows))


def table_of_measures(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of measures, without columns that are empty."""
    kept = [i for i in range(len(heads)) if i == 0 or any(row[i] for row in rows)]
    head = "".join(f'<th scope="col">{escape(heads[i])}</th>' for i in kept)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(row[i])}</td>" for i in kept[1:])}</tr>'
        for row in rows
    )
    return f'<table class="tuned measured"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
