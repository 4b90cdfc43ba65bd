"""The controls of the Tune page: the panel of mining settings, the sample, and what can be loaded with one click."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer.tuning import Tuner
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.forms import ALWAYS, MiningPanel, ask_for, finite
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.train.mining.config import MINE_PRESETS, RAW, MineConfig
from orl_explorer.train.settings import Value, as_text, control

GROUPS = {
    ALWAYS: "",
    RAW: "These may need more than the sample has stored; then they apply on *Regenerate* only.",
}
SAMPLE, SEED = "sample", "seed"  # URL parameters
SIZES = (12, 24, 48, 96)  # queries of a sample
USUAL, MOST_SEEDS = 24, 9999
AFFECTED = ("tune-numbers", "tune-query", "tune-grid")  # fragments that show what the controls are set to


def panel_of(mined: CorrespondenceSet, dataset: Dataset, tuner: Tuner) -> MiningPanel:
    """The mining settings, with the raw boxes that there are."""
    imported = [method.removeprefix("imported:") for method in tuner.methods if method.startswith("imported:")]
    raw: list[Value] = ["search", *(["annotations"] if dataset.annotation_count else []), *imported]
    return MiningPanel(mined, page="tune-", groups=GROUPS, more={"proposals": raw})


def draw_controls(panel: MiningPanel, config: MineConfig) -> None:
    """Draw the controls in the sidebar, set to what the URL asks for; a change reruns only what shows its effect."""
    ask_for(panel.own, config)  # whatever could not be goes from the URL

    def changed() -> None:
        shell.put_in_url(**panel.in_url())
        st.rerun(AFFECTED)

    panel.draw(config, changed)
    with st.sidebar:
        _draw_sample()


def sample() -> tuple[int, int]:
    """Size and seed of the sample that the URL asks for."""
    size, seed = finite(st.query_params.get(SAMPLE, "")), finite(st.query_params.get(SEED, ""))
    return int(size) if size in SIZES else USUAL, int(seed) if seed is not None and 0 <= seed <= MOST_SEEDS else 0


def presets(own: MineConfig) -> dict[str, MineConfig]:
    """What can be loaded with one click, by name. A preset leaves alone where raw boxes come from, and precision."""
    kept = {name: value for name, value in own if control(MineConfig, name).group == RAW}
    return {name: preset.model_copy(update=kept) for name, preset in MINE_PRESETS.items()} | {"the set's own": own}


def _draw_sample() -> None:
    size, seed = sample()
    _ask(SAMPLE, size, USUAL)
    _ask(SEED, seed, 0)
    st.subheader("Sample", anchor=False, divider="gray")
    shell.set_widget("tune-sample", size)
    shell.set_widget("tune-seed", seed)
    st.segmented_control(
        "Queries", SIZES, required=True, key="tune-sample", on_change=_resampled, help="Photos of the set, drawn once."
    )
    st.number_input("Seed", 0, MOST_SEEDS, step=1, key="tune-seed", on_change=_resampled)


def _resampled() -> None:
    _ask(SAMPLE, st.session_state["tune-sample"], USUAL)
    _ask(SEED, st.session_state["tune-seed"], 0)


def _ask(short: str, value: int, otherwise: int) -> None:
    """Have the URL name a value where it is not what goes without saying."""
    if value == otherwise:
        st.query_params.pop(short, None)
    elif st.query_params.get(short) != as_text(value):
        st.query_params[short] = as_text(value)
