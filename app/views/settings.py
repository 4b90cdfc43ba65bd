"""The settings of the pair page: sliders, what they do to the photo on screen, and Regenerate."""

from __future__ import annotations

import math
from typing import get_args

import streamlit as st

from app import preview
from app.preview import Side, Subject
from app.shell import Place, escape
from db.correspondences import find_set
from db.models import CorrespondenceSet, Image
from db.store import StoreError
from train.config import MINE_PRESETS, MineConfig, RankedBy, with_settings
from train.errors import UserError
from train.runs import launch_mine

# name of the setting, label, URL parameter, least, most, step, format
SLIDERS = (
    ("neighbors", "K · neighbours", "k", 1, 30, 1, "%d"),
    ("pair_ratio", "N · pairs per neighbour, share of RoIs", "n", 0.01, 1.0, 0.01, "%.2f"),
    ("min_size", "Min size, px", "size", 16, 256, 4, "%d"),
    ("max_aspect", "Max aspect", "aspect", 1.0, 6.0, 0.1, "%.1f"),
    ("max_iou", "Max IoU", "iou", 0.1, 0.95, 0.05, "%.2f"),
    ("max_rois", "Max RoIs", "rois", 1, 100, 1, "%d"),
    ("min_similarity", "Min similarity", "sim", -1.0, 1.0, 0.01, "%.2f"),
    ("object_weight", "Objectness in pairs", "obj", 0.0, 3.0, 0.1, "%.1f"),
)
RANKED = "ranked"  # URL parameter of the one setting that is a choice


def sliders(mined: CorrespondenceSet) -> MineConfig:
    """Draw the sliders and say what they are set to: the set's own values, unless the URL has others.

    Values that differ from the set's are kept in the URL. They are validated here again, since a URL can say
    anything.
    """
    own = MineConfig(**mined.params)
    st.session_state["mined"] = mined
    generation = st.session_state.setdefault("slider_generation", 0)
    chosen: dict[str, float | str] = {}
    with st.sidebar:
        st.subheader("Settings", anchor=False, divider="gray")
        for name, label, short, least, most, by, form in SLIDERS:
            kind = type(least)
            saved = getattr(own, name)
            low, high = min(least, kind(saved)), max(most, kind(saved))
            value = st.slider(
                label,
                low,
                high,
                value=min(max(_from_url(short, kind, saved), low), high),
                step=by,
                format=form,
                key=f"{short}-{mined.id}-{generation}",
                help=MineConfig.model_fields[name].description,
            )
            chosen[name] = value = kind(value)
            if value == saved:
                st.query_params.pop(short, None)
            elif st.query_params.get(short) != f"{value:g}":
                st.query_params[short] = f"{value:g}"
        chosen["ranked_by"] = _ranking(own, f"{RANKED}-{mined.id}-{generation}")
    return with_settings(own, chosen)


def _ranking(own: MineConfig, key: str) -> RankedBy:
    asked = st.query_params.get(RANKED, own.ranked_by)
    first = st.toggle(
        "Likeliest objects first",
        value=(asked if asked in get_args(RankedBy) else own.ranked_by) == "objectness",
        key=key,
        help=MineConfig.model_fields["ranked_by"].description,
    )
    value: RankedBy = "objectness" if first else "search"
    if value == own.ranked_by:
        st.query_params.pop(RANKED, None)
    else:
        st.query_params[RANKED] = value
    return value


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
    own = MineConfig(**mined.params)
    numbers = [
        f"{name.replace('_', ' ')} {getattr(config, name):g} ({getattr(own, name):g})"
        for name, *_ in SLIDERS
        if getattr(config, name) != getattr(own, name)
    ]
    same_order = config.ranked_by == own.ranked_by
    return numbers + ([] if same_order else [f"ranked by {config.ranked_by} ({own.ranked_by})"])


def regenerate(place: Place, subject: Subject, image: Image, config: MineConfig) -> None:
    """Say how the screen differs from the set, and offer to mine the whole data set so."""
    changed = differences(subject.mined, config)
    with st.sidebar:
        if changed:
            st.info("Differs from the set: " + " · ".join(changed), icon=":material/tune:")
            st.button("Back to the set's values", on_click=_reset, width="stretch")
        if st.button(
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
            run = launch_mine(place.workspace, subject.dataset.name, subject.encoder.name, name.strip(), config)
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
    st.session_state["slider_generation"] = st.session_state.get("slider_generation", 0) + 1
    for short in (*(s for _, _, s, *_ in SLIDERS), RANKED):
        st.query_params.pop(short, None)
