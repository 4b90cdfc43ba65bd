"""The settings of the pair page: sliders, what they do to the photo on screen, and Regenerate."""

from __future__ import annotations

import math
from typing import get_args

import streamlit as st

from orl_explorer.app.explorer import preview
from orl_explorer.app.explorer.preview import Side, Subject
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.shell import Place, escape
from orl_explorer.db.models import CorrespondenceSet, Image
from orl_explorer.db.sets.read import find_set
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig, RankedBy
from orl_explorer.train.settings import with_settings

# name of the setting, label, URL parameter, least, most, step, format
SLIDERS = (
    ("neighbors", "K · neighbours", "k", 1, 30, 1, "%d"),
    ("pair_ratio", "N · pairs per neighbour, share of RoIs", "n", 0.01, 1.0, 0.01, "%.2f"),
    ("min_size", "Min size, px", "size", 16, 256, 4, "%d"),
    ("max_aspect", "Max aspect", "aspect", 1.0, 6.0, 0.1, "%.1f"),
    ("max_iou", "Max IoU", "iou", 0.1, 0.95, 0.05, "%.2f"),
    ("max_rois", "Max RoIs", "rois", 1, 100, 1, "%d"),
    ("min_similarity", "Min similarity", "sim", -1.0, 1.0, 0.01, "%.2f"),
    ("object_weight", "Objectness in pairs", "obj", 0.0, 3.0, 0.05, "%.2f"),
    ("sparse_weight", "Sparseness in pairs", "sparse", 0.0, 3.0, 0.05, "%.2f"),
)
RANKED = "ranked"  # URL parameter of the one setting that is a choice


def sliders(mined: CorrespondenceSet) -> MineConfig:
    """Draw the sliders and say what they are set to: the set's own values, unless the URL has others.

    The URL is the truth: a slider that is moved is written there, and drawn as it is there, so that going back in the
    browser's history moves it back. Values are validated here again, since a URL can say anything.
    """
    own = MineConfig.of(mined)
    st.session_state["mined"] = mined
    chosen: dict[str, float | str] = {}
    with st.sidebar:
        st.subheader("Settings", anchor=False, divider="gray")
        for name, label, short, least, most, by, form in SLIDERS:
            kind = type(least)
            saved = getattr(own, name)
            low, high = min(least, kind(saved)), max(most, kind(saved))
            shell.set_widget(_key(short, mined), min(max(_from_url(short, kind, saved), low), high))
            help_text = MineConfig.model_fields[name].description
            value = st.slider(
                label, low, high, step=by, format=form, key=_key(short, mined), help=help_text, on_change=keep
            )
            chosen[name] = kind(value)
        shell.set_widget(_key(RANKED, mined), _ranking_in_url(own) == "objectness")
        first = st.toggle(
            "Likeliest objects first",
            key=_key(RANKED, mined),
            help=MineConfig.model_fields["ranked_by"].description,
            on_change=keep,
        )
        chosen["ranked_by"] = "objectness" if first else "search"
    return with_settings(own, chosen)


def keep() -> None:
    """Callback of everything that a person moves: what all sliders are set to goes into the URL.

    All, because the browser may have asked before it had the URL that the previous move made.
    """
    shell.put_in_url(**in_url())


def in_url() -> dict[str, str]:
    """What the URL is to say of the sliders as they are set: "" where they have the set's own value."""
    mined: CorrespondenceSet | None = st.session_state.get("mined")
    if mined is None or _key(RANKED, mined) not in st.session_state:
        return {}
    own = MineConfig.of(mined)
    said = {}
    for name, _, short, *_ in SLIDERS:
        value = st.session_state[_key(short, mined)]
        said[short] = "" if value == getattr(own, name) else f"{value:g}"
    ranked = "objectness" if st.session_state[_key(RANKED, mined)] else "search"
    return said | {RANKED: "" if ranked == own.ranked_by else ranked}


def _key(short: str, mined: CorrespondenceSet) -> str:
    return f"{short}-{mined.id}"


def _ranking_in_url(own: MineConfig) -> str:
    asked = st.query_params.get(RANKED, "")
    return asked if asked in get_args(RankedBy) else own.ranked_by


def approximate() -> bool:
    """Whether the preview may be an approximation that embeds each photo once instead of each region."""
    with st.sidebar:
        return st.toggle(
            "Approximate regions",
            key="approx",
            bind="query-params",
            help="Cut all regions from one map of the photo (RoIAlign) instead of embedding a crop of each: many times "
            "quicker where a setting brings up new regions. Regenerate always embeds crops.",
        )


def _from_url(short: str, kind: type, otherwise: float) -> float:
    try:
        value = float(st.query_params.get(short, otherwise))
    except ValueError:
        return otherwise
    return kind(value) if math.isfinite(value) else otherwise


def counts(query: Side, key: Side, config: MineConfig) -> None:
    """What the rules do to the two photos on screen: raw -> kept, rejected by which rule."""
    left, right = st.columns(2)
    left.caption(f"Query: {_funnel(query, config)}")
    right.caption(f"Neighbour: {_funnel(key, config)}")


def _funnel(side: Side, config: MineConfig) -> str:
    found = side.filtered.counts()
    rejected = {
        f"side < {config.min_size} px": found["size"],
        f"aspect > {config.max_aspect:g}": found["aspect"],
        f"IoU > {config.max_iou:g}": found["overlap"],
        f"beyond {config.max_rois}": found["count"],
    }
    reasons = " · ".join(f"{count:,} {rule}" for rule, count in rejected.items() if count)
    kept = "**none kept, its fall-back box stands in**" if side.filtered.fallback else f"**{found['kept']} kept**"
    return f"{found['raw']:,} raw → {kept}" + (f" · rejected: {reasons}" if reasons else "")


def differences(mined: CorrespondenceSet, config: MineConfig) -> list[str]:
    """Settings that differ from the set's, as "min size 64 (96)"."""
    own = MineConfig.of(mined)
    numbers = [
        f"{name.replace('_', ' ')} {getattr(config, name):g} ({getattr(own, name):g})"
        for name, *_ in SLIDERS
        if getattr(config, name) != getattr(own, name)
    ]
    same_order = config.ranked_by == own.ranked_by
    return numbers + ([] if same_order else [f"ranked by {config.ranked_by} ({own.ranked_by})"])


def described(config: MineConfig) -> str:
    """All settings with a slider, as "K 10, N 0.1, min size 96 px, …"."""
    said = "K, N, min size, max aspect, max IoU, max RoIs, min similarity, objectness in pairs, sparseness in pairs"
    values = [getattr(config, name) for name, *_ in SLIDERS]
    words = [f"{name} {value:g}" for name, value in zip(said.split(", "), values, strict=True)]
    return ", ".join([*words, f"ranked by {config.ranked_by}"])


def regenerate(place: Place, subject: Subject, image: Image, config: MineConfig) -> None:
    """Say how the screen differs from the set, and offer to mine the whole data set so."""
    changed = differences(subject.mined, config)
    with st.sidebar:
        if changed:
            st.info("Differs from the set: " + " · ".join(changed), icon=":material/tune:")
            st.button("Back to the set's values", on_click=_reset, width="stretch")
        if not shell.read_only() and st.button(
            "Regenerate …",
            type="primary" if changed else "secondary",
            width="stretch",
            icon=":material/autorenew:",
            help="Mine the whole data set with these settings, as a run, into a new set.",
        ):
            _confirm(place, subject, image, config)


@st.dialog("Regenerate for the whole data set", width="medium")
def _confirm(place: Place, subject: Subject, image: Image, config: MineConfig) -> None:
    changed = differences(subject.mined, config)
    st.markdown("\n".join(f"- {escape(c)}" for c in changed) or "The same settings as the set on screen.")
    [side] = preview.sides(subject, [image], config)
    new = preview.unstored_boxes(subject, side)
    total = subject.mined.image_count
    st.caption(
        f"Selective search: none, the proposals of all {total:,} photos are stored. "
        + (
            f"New boxes: {new} on this photo; if the others are like it, about {new * total:,} forward passes."
            if new
            else "Boxes to embed: none on this photo; the rest is matching, milliseconds for each photo."
        )
    )
    name = st.text_input("Name of the new set", value=_free_name(place, subject, config), key="new_set")
    if st.button("Start", type="primary", icon=":material/play_arrow:"):
        try:
            ids = {"dataset_id": subject.dataset.id, "encoder_id": subject.encoder.id}
            run = launch(place.workspace, Mine(name=name.strip(), config=config, **ids))
        except (UserError, StoreError) as mistake:
            st.error(str(mistake))
            return
        st.session_state["regenerated"] = run.name
        st.rerun()


def _free_name(place: Place, subject: Subject, config: MineConfig) -> str:
    paper = MINE_PRESETS["paper"]
    parts = [
        f"{short}{getattr(config, name):g}"
        for name, _, short, *_ in SLIDERS
        if getattr(config, name) != getattr(paper, name)
    ]
    if config.proposals != paper.proposals:
        parts.append(config.proposals)
    if config.ranked_by != paper.ranked_by:
        parts.append(config.ranked_by)
    stem = "-".join([subject.dataset.name, subject.encoder.name, *parts])
    name, number = stem, 1
    while find_set(place.workspace.store, name) is not None:
        number += 1
        name = f"{stem}-{number}"
    return name


def _reset() -> None:
    shell.put_in_url(**dict.fromkeys((*(short for _, _, short, *_ in SLIDERS), RANKED), ""))
