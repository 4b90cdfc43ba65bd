"""The evaluation form: encoder, protocol and data."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer.paths import allowed_path
from orl_explorer.app.pages import forms, launching, shell, start
from orl_explorer.app.pages.train import placed
from orl_explorer.db.encoders import encoder_named, encoders_with_weights
from orl_explorer.db.photos import datasets
from orl_explorer.train.evaluate.protocols import PROTOCOLS, EvaluateConfig, Protocol
from orl_explorer.train.jobs.kinds import Evaluate
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.workspace import Workspace


def evaluation_form(opened: Workspace) -> None:
    """Draw the form."""
    known = {shell.encoder_label(row): row.name for row in reversed(encoders_with_weights(opened.store))}
    if not known:
        st.info("No encoder with weights yet. Add the starter, or train one.", icon=":material/info:")
        start.offer_starter(opened)
        return
    name = forms.choice_in_url("Protocol", "protocol", {name: protocol.title for name, protocol in PROTOCOLS.items()})
    protocol = PROTOCOLS[name]
    preset = next(iter(protocol.presets))
    if len(protocol.presets) > 1:
        preset = forms.choice_in_url("Preset", "recipe", {each: each for each in protocol.presets})
    base, key = protocol.presets[preset], f"{name}-{preset}"
    inputs, summary = st.columns([2.6, 1], gap="large")
    with inputs, st.container(key="launch-inputs"):
        st.caption((type(base).__doc__ or "").strip())
        left, right = st.columns(2)
        with left:
            encoder = known[_encoder(known)]
        with right:
            data = _data(opened, protocol)
        names = [field for field in type(base).model_fields if field != "protocol"]
        config = forms.filled(base, names, key, columns=4)
    with summary, st.container(border=True, key="launch-summary"):
        st.markdown(f"**{protocol.title}** of **{shell.escape(encoder)}**. Result: {protocol.headline_title}.")
        where = placed.placement_fields(opened, "evaluation")
        pressed = st.button(
            "Evaluate encoder",
            type="primary",
            icon=":material/monitoring:",
            width="stretch",
            key="evaluate",
            disabled=config is None or where is None,
        )
        if pressed and config is not None and where is not None:
            _launch(opened, encoder, data, config, where)


def _encoder(known: dict[str, str]) -> str:
    """Draw the picker and return its label. Default: the encoder in the URL."""
    labels, asked = list(known), st.query_params.get("encoder", "")
    first = next((n for n, name in enumerate(known.values()) if name == asked), 0)
    return st.selectbox("Encoder", labels, index=first, key=f"evaluated-{asked}") or labels[first]


def _data(opened: Workspace, protocol: Protocol) -> str:
    if protocol.takes_folder:
        voc = "VOCdevkit" in protocol.data
        there = [row.root for row in datasets(opened.store) if row.layout == "voc"] if voc else []
        given = st.text_input(
            "Folder on this machine",
            there[0] if there else "",
            key=f"evaluation-{'voc' if voc else 'folders'}",
            placeholder=protocol.data,
            help=f"{protocol.data[:1].upper()}{protocol.data[1:]}.",
            persist_state="session",
        )
        return given.strip()
    annotated = [row.name for row in datasets(opened.store) if row.annotation_count]
    if not annotated:
        st.caption("No annotated dataset yet. Add photos with annotations.")
        return ""
    return st.selectbox("Dataset", annotated, key="evaluation-dataset")


def _launch(opened: Workspace, encoder: str, data: str, config: EvaluateConfig, where: Placement) -> None:
    if not data:
        st.error("Choose the data to evaluate on.")
        return

    def job() -> Evaluate:
        place = str(allowed_path(data)) if PROTOCOLS[config.protocol].takes_folder else data
        return Evaluate.on(opened, encoder_named(opened.store, encoder), place, config)

    run = launching.started(opened, job, where)
    if run is not None:
        shell.show_run(run)
