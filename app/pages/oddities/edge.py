"""The pairs of a set that are just above its least similarity, or its least similar ones."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.pages import shell
from orl_explorer.app.pages.matches.page import orders_or_wait, show_matches
from orl_explorer.app.pages.pager import pager
from orl_explorer.app.pages.shell import Place
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.db.sets.pairs import matches_at
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.orders import MatchOrder, match_keys, match_rows

PER_PAGE = 24
NEAREST = MatchOrder("similarity", descending=False)


def show_edge(place: Place, dataset: Dataset, mined: CorrespondenceSet) -> None:
    """Draw the least similar pairs of a set, which are those next to its threshold."""
    if not mined.pair_count:
        st.info("This set has no pairs.", icon=":material/info:")
        return
    found = orders_or_wait(place, mined)
    if found is None:
        return
    least = float(found.similarity[found.by["similarity"][0]])
    _about(MineConfig.of(mined), least)
    _ways(least)
    rows = match_rows(place.workspace, mined, found, NEAREST)
    shown = st.container()
    first = (pager(len(rows), PER_PAGE, "edge", mined.id) - 1) * PER_PAGE
    matches = matches_at(place.workspace.store, mined.id, match_keys(found, rows, first, PER_PAGE))
    said = f"Pairs {first + 1:,} to {first + len(matches):,} of the set {mined.name}, least similar first."
    with shown:
        show_matches(
            place,
            dataset,
            mined,
            matches,
            {"name": f"edge-{mined.name}-{first + 1}", "caption": [said], "place": shell.lasting(place)},
        )


def _about(config: MineConfig, least: float) -> None:
    if config.min_similarity > -1:
        st.markdown(
            f"Pairs just above the set’s minimum similarity, **{config.min_similarity:g}**, least similar first."
        )
    else:
        st.markdown(
            f"This set has no minimum similarity. Its least similar pairs, from **{least:.3f}** on, come first."
        )
    st.caption(
        "Pairs and RoIs beyond a threshold are not stored, so they are not here. *Pair* shows the rejected boxes of a "
        "photo with the reason and what would keep them, and *Tune* tries other thresholds."
    )


def _ways(least: float) -> None:
    with st.container(horizontal=True):
        if shell.has_page("judge") and st.button("Judge pairs here", icon=":material/gavel:"):
            shell.open_page("judge", order="around a similarity", around=f"{least:.3f}")
        if shell.has_page("tune") and st.button("Tune", icon=":material/tune:"):
            shell.open_page("tune")
