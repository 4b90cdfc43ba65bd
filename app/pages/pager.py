"""The pager of a list that is longer than a page. The URL holds the number of the page."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.pages import shell


def pager(count: int, per_page: int, key: str, listed: object) -> int:
    """Draw the pager. Return the page, from 1. Another list than before opens on its first page.

    listed: what tells this list from another, such as its set and its filters.
    """
    if is_another(key, listed) and key in st.session_state:
        st.session_state[key] = 1
    pages = max(1, -(-count // per_page))
    number = 1
    if pages > 1:
        with st.container():  # as wide as its row; else the widget hides page 2 of 2 beside another one
            number = st.pagination(pages, key=key, bind="query-params")
    return min(max(1, int(number or 1)), pages)


def is_another(key: str, listed: object) -> bool:
    """Return whether the session showed another list under this key. The browser's Back brings its own page along."""
    last = st.session_state.get(f"listed-{key}", listed)
    st.session_state[f"listed-{key}"] = listed
    return bool(last != listed) and not shell.went_back()
