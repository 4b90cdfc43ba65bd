"""The controls of the Tune page. The URL is the truth: controls write to it, and everything else reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import get_args

import streamlit as st

from orl_explorer.app.explorer.tuning import Tuner
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.pair.settings import RANKED, SLIDERS
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.orl.boxes import Fallback
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig, RankedBy
from orl_explorer.train.settings import Precision, with_settings

# Name of a setting that is a choice, its label and its URL parameter.
CHOICES = (
    ("ranked_by", "Raw boxes judged first", RANKED),
    ("fallback", "Photo that keeps no box gets", "fall"),
    ("proposals", "Raw boxes", "props"),
    ("proposal_scale", "Selective search on photos of", "scale"),
    ("precision", "Precision of forward passes", "prec"),
)
ON_REGENERATE = ("proposals", "proposal_scale", "precision")  # what may need the whole data set computed anew
WORDS = {
    "search": "search order",
    "objectness": "likely objects",
    "first": "first raw box",
    "image": "whole photo",
    "annotations": "annotated boxes",
    "fp32": "fp32",
    "bf16": "bf16",
}
SHORT = {name: short for name, _, short, *_ in SLIDERS} | {name: short for name, _, short in CHOICES}
SAMPLE, SEED = "sample", "seed"  # URL parameters
SIZES = (12, 24, 48, 96)  # queries of a sample
USUAL, MOST_SEEDS = 24, 9999
AFFECTED = ("tune-numbers", "tune-query", "tune-grid")  # fragments that show what the controls are set to

Options = Mapping[str, Sequence[str | float]]


def options(own: MineConfig, dataset: Dataset, tuner: Tuner) -> Options:
    """What each choice may be; the set's own value is always among it."""
    imported = [method.removeprefix("imported:") for method in tuner.methods if method.startswith("imported:")]
    raw = ["search", *(["annotations"] if dataset.annotation_count else []), *imported]
    return {
        "ranked_by": get_args(RankedBy),
        "fallback": get_args(Fallback),
        "proposals": list(dict.fromkeys([*raw, own.proposals])),
        "proposal_scale": sorted({1.0, 0.5, own.proposal_scale}, reverse=True),
        "precision": get_args(Precision),
    }


def limits(own: MineConfig, name: str, mined: CorrespondenceSet) -> tuple[float, float]:
    """Least and most of a slider. The set's own value is always inside."""
    least, most = next((least, most) for n, _, _, least, most, *_ in SLIDERS if n == name)
    if name == "neighbors":
        most = max(min(most, mined.image_count - 1), 2)  # a slider of one value is none
    saved = type(least)(getattr(own, name))
    return min(least, saved), max(most, saved)


def asked(mined: CorrespondenceSet, choices: Options) -> MineConfig:
    """The settings that the URL asks for: the set's own, but for those that it names and that can be."""
    own = MineConfig.of(mined)
    chosen: dict[str, float | str] = {}
    for name, short in SHORT.items():
        text = st.query_params.get(short)
        if text is None:
            continue
        if name in choices:
            chosen.update((name, value) for value in choices[name] if as_text(value) == text)
        elif (number := _number(text)) is not None:
            low, high = limits(own, name, mined)
            chosen[name] = type(low)(min(max(number, low), high))
    return with_settings(own, chosen)


def as_text(value: float | str) -> str:
    """A value as the URL has it."""
    return value if isinstance(value, str) else f"{value:g}"


def load(own: MineConfig, config: MineConfig) -> None:
    """Callback, or before the controls are drawn: make the URL ask for these settings."""
    wanted = as_query(own, config)
    new = {short: text for short, text in wanted.items() if st.query_params.get(short) != text}
    if new:
        st.query_params.update(new)  # one step of the browser's history
    for short in SHORT.values():
        if short not in wanted:
            st.query_params.pop(short, None)


def as_query(own: MineConfig, config: MineConfig) -> dict[str, str]:
    """The URL parameters that ask for these settings of a set."""
    return {
        short: as_text(getattr(config, name))
        for name, short in SHORT.items()
        if getattr(config, name) != getattr(own, name)
    }


def sample() -> tuple[int, int]:
    """Size and seed of the sample that the URL asks for."""
    size, seed = _number(st.query_params.get(SAMPLE, "")), _number(st.query_params.get(SEED, ""))
    return int(size) if size in SIZES else USUAL, int(seed) if seed is not None and 0 <= seed <= MOST_SEEDS else 0


def presets(own: MineConfig) -> dict[str, MineConfig]:
    """What can be loaded with one click, by name. A preset leaves alone where raw boxes come from, and precision."""
    kept = {name: getattr(own, name) for name in ON_REGENERATE}
    return {name: preset.model_copy(update=kept) for name, preset in MINE_PRESETS.items()} | {"the set's own": own}


def differences(config: MineConfig, other: MineConfig) -> list[str]:
    """Settings that differ, as "min size 64 (96)": those of config, and in brackets those of the other."""
    return [
        f"{name.replace('_', ' ')} {as_text(getattr(config, name))} ({as_text(getattr(other, name))})"
        for name in MineConfig.model_fields
        if getattr(config, name) != getattr(other, name)
    ]


def draw(mined: CorrespondenceSet, config: MineConfig, choices: Options) -> None:
    """Draw the controls in the sidebar, set to what the URL asks for; a change reruns only what shows its effect."""
    own = MineConfig.of(mined)
    load(own, config)  # whatever could not be goes from the URL
    with st.sidebar:
        st.subheader("Settings", anchor=False, divider="gray")
        for name, label, short, _, _, by, form in SLIDERS:
            key, (low, high) = _key(short, mined), limits(own, name, mined)
            shell.set_widget(key, type(low)(getattr(config, name)))
            st.slider(
                label,
                low,
                high,
                step=by,
                format=form,
                key=key,
                help=MineConfig.model_fields[name].description,
                on_change=_changed,
                args=(short, key, getattr(own, name)),
            )
        for name, label, short in CHOICES[:2]:
            _choice(mined, own, config, choices, name, label, short)
        with st.expander("Raw boxes and precision", expanded=any(SHORT[n] in st.query_params for n in ON_REGENERATE)):
            st.caption("These may need more than the sample has stored; then they apply on *Regenerate* only.")
            for name, label, short in CHOICES[2:]:
                _choice(mined, own, config, choices, name, label, short)
        _draw_sample()


def _choice(
    mined: CorrespondenceSet,
    own: MineConfig,
    config: MineConfig,
    choices: Options,
    name: str,
    label: str,
    short: str,
) -> None:
    key = _key(short, mined)
    shell.set_widget(key, getattr(config, name))
    st.segmented_control(
        label,
        choices[name],
        required=True,
        key=key,
        format_func=_scale if name == "proposal_scale" else _proposals if name == "proposals" else _word,
        help=MineConfig.model_fields[name].description,
        on_change=_changed,
        args=(short, key, getattr(own, name)),
    )


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


def _changed(short: str, key: str, saved: float | str) -> None:
    value = st.session_state[key]
    _ask(short, type(saved)(value), saved)
    st.rerun(AFFECTED)


def _resampled() -> None:
    _ask(SAMPLE, st.session_state["tune-sample"], USUAL)
    _ask(SEED, st.session_state["tune-seed"], 0)


def _ask(short: str, value: float | str, otherwise: float | str) -> None:
    """Have the URL name a value where it is not what goes without saying."""
    if value == otherwise:
        st.query_params.pop(short, None)
    elif st.query_params.get(short) != as_text(value):
        st.query_params[short] = as_text(value)


def _key(short: str, mined: CorrespondenceSet) -> str:
    return f"tune-{short}-{mined.id}"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _word(value: float | str) -> str:
    return WORDS.get(str(value), str(value))


def _proposals(value: float | str) -> str:
    return "selective search" if value == "search" else _word(value)


def _scale(value: float | str) -> str:
    return "full size" if value == 1 else f"× {value:g}"
