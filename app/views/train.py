"""Train: stage 3 on a correspondence set, stage 1 on photos, and every run, live."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from app import shell
from app.shell import Place
from app.views import monitor, start
from db.encoders import encoders
from db.store import StoreError
from orl.architectures import RESNETS
from train.config import with_settings
from train.cost import Cost, estimate
from train.errors import UserError
from train.methods import PRESETS, STAGE_1, ORLConfig, TrainConfig
from train.runs import launch_pretrain, launch_train

STAGES = {"Stage 3 · objects (ORL)": 3, "Stage 1 · photos": 1}
FIRST = ("epochs", "batch_size", "backbone", "image_size", "patch_size", "local_size", "seed", "workers")


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    form, live = st.columns([2, 3], gap="large")
    with form:
        _form(place)
    with live:
        monitor.panel(place.workspace)
    monitor.history(place.workspace)


def _form(place: Place) -> None:
    assert place.dataset is not None
    st.subheader("New run", anchor=False)
    stage = st.segmented_control(
        "Stage", list(STAGES), default=next(iter(STAGES)), required=True, key="stage", bind="query-params"
    )
    number = STAGES.get(stage, 3)
    if number == 3 and place.mined is None:
        st.info("Stage 3 trains on a correspondence set, and this data set has none yet.", icon=":material/info:")
        start.unmined(place, place.dataset)
        return
    method = "orl"
    if number == 1:
        titles = {PRESETS[name]["paper"].title: name for name in STAGE_1}
        picked = st.segmented_control(
            "Method",
            list(titles),
            default="BYOL",
            required=True,
            key="method",
            bind="query-params",
            help="The paper's stage 1 is BYOL; the others are what it is compared with.",
        )
        method = titles.get(picked or "", "byol")
    preset = st.segmented_control(
        "Preset",
        ["paper", "small"],
        default="small",
        required=True,
        key="preset",
        bind="query-params",
        help="paper: the published constants, for GPUs. small: ResNet-18, small views; a demo epoch takes seconds.",
    )
    photos = place.mined.image_count if number == 3 and place.mined else place.dataset.image_count
    subject = f"set **{shell.escape(place.mined.name)}**" if number == 3 and place.mined else "the photos"
    st.caption(f"On {subject} of {shell.escape(place.dataset.name)}: {photos:,} photos.")
    base = PRESETS[method][preset or "small"]
    values = _fields(base, f"{method}-{preset}", ["", *(e.name for e in encoders(place.workspace.store))])
    name = st.text_input("Name of the encoder it makes", placeholder="chosen for you", key=f"name-{number}")
    try:
        config = with_settings(base, values)
    except UserError as mistake:
        st.error(str(mistake))
        return
    st.caption(_cost_line(estimate(place.workspace.store, config, photos)))
    if st.button("Launch", type="primary", icon=":material/rocket_launch:", width="stretch", key="launch"):
        try:
            if isinstance(config, ORLConfig) and place.mined is not None:
                run = launch_train(place.workspace, place.mined.name, config, name.strip())
            else:
                run = launch_pretrain(place.workspace, place.dataset.name, config, name.strip())
        except (UserError, StoreError) as mistake:
            st.error(str(mistake))
            return
        st.query_params["run"] = str(run.id)
        st.rerun()


def _fields(preset: TrainConfig, key: str, encoders: list[str]) -> dict[str, object]:
    """One input for each setting, made from the configuration's own fields."""
    choices = {"backbone": list(RESNETS), "start_from": encoders}
    names = [n for n in type(preset).model_fields if n != "method"]
    values: dict[str, object] = {}
    left, right = st.columns(2)
    for i, name in enumerate(n for n in FIRST if n in names):
        with (left, right)[i % 2]:
            values[name] = _input(preset, name, key, choices.get(name))
    with st.expander("All settings"):
        left, right = st.columns(2)
        for i, name in enumerate(n for n in names if n not in FIRST):
            with (left, right)[i % 2]:
                values[name] = _input(preset, name, key, choices.get(name))
    return values


def _input(preset: TrainConfig, name: str, key: str, choices: list[str] | None) -> object:
    field = type(preset).model_fields[name]
    value = getattr(preset, name)
    label, key = name.replace("_", " ").capitalize(), f"{name}-{key}"
    if isinstance(value, bool):
        return st.toggle(label, value, key=key, help=field.description)
    if isinstance(value, str):
        options = choices or list(get_args(field.annotation))
        return st.selectbox(
            label, options, options.index(value), key=key, help=field.description, format_func=lambda o: o or "random"
        )
    if isinstance(value, float):
        form = "%.0e" if 0 < value < 1e-3 else "%g"
        return st.number_input(label, value=value, format=form, step=value / 2 or 0.5, key=key, help=field.description)
    limits = {type(m).__name__: m for m in field.metadata}
    least = getattr(limits.get("Ge"), "ge", None)
    most = getattr(limits.get("Le"), "le", None)
    return st.number_input(label, least, most, value, key=key, help=field.description)


def _cost_line(cost: Cost) -> str:
    if not cost.steps:
        return ":red[The batch is larger than the data set.]"
    source = "at the speed of the last run here" if cost.measured else "roughly: nothing has been measured here yet"
    return (
        f"**{cost.steps:,} steps**, about **{monitor.duration(cost.seconds)}** ({source}); "
        f"checkpoints of {cost.checkpoint_bytes / 1e6:,.0f} MB, two are kept."
    )
