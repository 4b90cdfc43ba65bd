"""The controls of the Tune page: mining settings, the sample, and presets."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer.tuning import Tuner
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.forms import ALWAYS, MiningPanel, ask_for, number_of
from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.train.mining.config import MINE_PRESETS, RAW, MineConfig
from orl_explorer.train.settings import Value, as_text, control

GROUPS = {
    ALWAYS: "",
    RAW: "Raw boxes that are not stored can be searched for the sample. Another precision or search of neighbours "
    "takes effect only on *Regenerate*.",
}
SAMPLE, SEED = "sample", "seed"  # URL parameters
SIZES = (12, 24, 48, 96)  # queries of a sample
USUAL, MOST_SEEDS = 24, 9999
AFFECTED = ("tune-numbers", "tune-query", "tune-grid")  # fragments that depend on the controls


def panel_of(mined: CorrespondenceSet, dataset: Dataset, tuner: Tuner) -> MiningPanel:
    """Return the panel of mining settings. Its choices of proposals are those that are stored, and the map's."""
    imported = [method.removeprefix("imported:") for method in tuner.methods if method.startswith("imported:")]
    raw: list[Value] = [
        "search",
        "map",
        "search+map",
        *(["annotations"] if dataset.annotation_count else []),
        *imported,
    ]
    if tuner.subject.encoder.kind == VECTORS:  # no other boxes have a feature
        raw = [tuner.subject.encoder.name]
    return MiningPanel(mined, page="tune-", groups=GROUPS, more={"proposals": raw})


def draw_controls(panel: MiningPanel, config: MineConfig) -> None:
    """Draw the controls in the sidebar with the URL's values. A change reruns only the fragments that depend on it."""
    ask_for(panel.own, config)  # removes invalid values from the URL

    def changed() -> None:
        shell.put_in_url(**panel.in_url())
        st.rerun(AFFECTED)

    panel.draw(config, changed)
    with st.sidebar:
        _draw_sample()


def sample() -> tuple[int, int]:
    """Return the sample's size and seed from the URL."""
    size, seed = number_of(st.query_params.get(SAMPLE, "")), number_of(st.query_params.get(SEED, ""))
    return int(size) if size in SIZES else USUAL, int(seed) if seed is not None and 0 <= seed <= MOST_SEEDS else 0


def presets(own: MineConfig) -> dict[str, MineConfig]:
    """Return the presets and the set's own settings by name. A preset keeps the set's proposals and precision."""
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
        "Queries", SIZES, required=True, key="tune-sample", on_change=_resampled, help="Number of photos in the sample."
    )
    st.number_input(
        "Seed", 0, MOST_SEEDS, step=1, key="tune-seed", on_change=_resampled, help="Change it to draw other photos."
    )


def _resampled() -> None:
    _ask(SAMPLE, st.session_state["tune-sample"], USUAL)
    _ask(SEED, st.session_state["tune-seed"], 0)


def _ask(short: str, value: int, otherwise: int) -> None:
    """Write a value to the URL unless it is the default."""
    if value == otherwise:
        st.query_params.pop(short, None)
    elif st.query_params.get(short) != as_text(value):
        st.query_params[short] = as_text(value)
