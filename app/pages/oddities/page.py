"""The page Oddities: near-duplicates, hubs, photos without a pair, pairs at the threshold, and what is kept out."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.forms import choice_in_url
from orl_explorer.app.pages.oddities.duplicates import show_duplicates
from orl_explorer.app.pages.oddities.edge import show_edge
from orl_explorer.app.pages.oddities.photos import show_hubs, show_kept_out, show_pairless
from orl_explorer.db.models import Dataset

PARTS = {
    "duplicates": "Near-duplicates",
    "hubs": "Hubs",
    "pairless": "Without a pair",
    "edge": "At the threshold",
    "out": "Kept out",
}


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    _heading(place.dataset)
    part = choice_in_url("Show", "part", PARTS)
    if part == "duplicates":
        show_duplicates(place, place.dataset)
    elif part == "out":
        show_kept_out(place, place.dataset)
    elif place.mined is None:
        start.unmined(place, place.dataset)
    elif part == "hubs":
        show_hubs(place, place.dataset, place.mined)
    elif part == "pairless":
        show_pairless(place, place.dataset, place.mined)
    else:
        show_edge(place, place.dataset, place.mined)


def _heading(dataset: Dataset) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(f"Oddities of {shell.escape(dataset.name)}", anchor=False)
    with right.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Photos", icon=":material/photo_library:", disabled=not shell.has_page("explore")):
            shell.open_page("explore")
