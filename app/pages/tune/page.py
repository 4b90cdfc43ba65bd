"""The page Tune: change K, N and the thresholds, and see the effect on a sample of queries."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.tuning import tuner
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.forms import ask_for
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.pages.tune import controls, grid, query, regenerate
from orl_explorer.app.pages.tune import numbers as tune_numbers
from orl_explorer.app.records import states
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.lost import lost_of_set
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.settings import differences


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    st.title("Tune", anchor=False)
    if place.mined is None:
        start.unmined(place, place.dataset)
        return
    try:
        _tune(place, place.dataset, place.mined)
    except UserError as problem:
        st.error(shell.escape(str(problem)), icon=":material/error:")


def _tune(place: Place, dataset: Dataset, mined: CorrespondenceSet) -> None:
    try:
        encoder = encoder_by_id(place.workspace.store, mined.encoder_id)
    except StoreError as error:
        raise UserError(f"The encoder of '{mined.name}' was deleted. Without it, settings cannot be tried.") from error
    subject = PreviewSubject(place.workspace, mined, dataset, encoder)
    if mined.image_count < 2:
        raise UserError(f"'{mined.name}' has too few photos. To try settings, a set needs at least 2.")
    drawn = tuner(subject, *controls.sample())
    panel = controls.panel_of(mined, dataset, drawn)
    controls.draw_controls(panel, panel.asked())

    left, right = st.columns([2, 3], vertical_alignment="center")
    left.caption(
        f"Move a slider to see what other settings find. Tried on {len(drawn.queries)} of the {mined.image_count:,} "
        f"photos of the set **{shell.escape(mined.name)}**."
    )
    _tell_lost(place, mined)
    with right.container(horizontal=True, horizontal_alignment="right"):
        for name, preset in controls.presets(drawn.own).items():
            st.button(name.capitalize(), key=f"tune-preset-{name}", on_click=ask_for, args=(drawn.own, preset))
        regenerate.button(place, subject, drawn, panel)
    regenerate.progress(place, mined)

    def numbers() -> None:
        _differences(drawn.own, panel.asked())
        tune_numbers.show_numbers(drawn, panel.asked())

    st.fragment(lambda: _told(numbers), key="tune-numbers")()
    st.fragment(lambda: _told(lambda: query.show_query(subject, drawn, panel.asked())), key="tune-query")()
    st.fragment(lambda: _told(lambda: grid.show_grid(drawn, panel.asked())), key="tune-grid")()


def _told(show: Callable[[], None]) -> None:
    """Draw a part of the page, or an error: more neighbours than the set has need features of all photos."""
    try:
        show()
    except UserError as problem:
        st.error(shell.escape(str(problem)), icon=":material/error:")


def _tell_lost(place: Place, mined: CorrespondenceSet) -> None:
    """Count the photos of the set that the sample leaves out."""
    if lost := states(lost_of_set(place.workspace.store, mined.id)):
        st.caption(f":red[Photos of the set that are not drawn: {lost}.]")


def _differences(own: MineConfig, config: MineConfig) -> None:
    """List the differences from the set and from each preset, in one line each."""
    lines = []
    for name, preset in controls.presets(own).items():
        changed = differences(config, preset)
        title = "The set" if preset == own and name not in MINE_PRESETS else f"Preset {name}"
        lines.append(f"**{title}**: {shell.escape(' · '.join(changed)) if changed else 'none'}")
    st.caption("Differences from — " + "  \n".join(lines[::-1]))
