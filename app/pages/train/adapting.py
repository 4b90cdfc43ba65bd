"""The form that adapts an encoder to the selected set."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.pages import forms, launching, shell
from orl_explorer.app.pages.train import placed
from orl_explorer.db.encoders import encoder_named, encoders_with_weights
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.jobs.trainings import Adapt
from orl_explorer.train.training.adapt_config import ADAPTED, AdaptConfig
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

KEY = "adapt"


def adapting_form(opened: Workspace, mined: CorrespondenceSet) -> None:
    """Draw the form."""
    known = {shell.encoder_label(row): row.name for row in encoders_with_weights(opened.store) if row.kind != ADAPTED}
    if not known:
        st.info("No encoder with weights can be adapted. Add one first.", icon=":material/info:")
        return
    st.caption(
        f"Learns from the set **{shell.escape(mined.name)}**: {plural(mined.pair_count, 'pair')}. The network of the "
        "encoder stays as it is. A linear projector on top learns to bring the RoIs of pairs together and to set other "
        "RoIs apart, within a minute or two. Then mine again with the new encoder, and compare the two sets."
    )
    inputs, summary = st.columns([2.6, 1], gap="large")
    with inputs, st.container(key="launch-inputs"):
        encoder = known[_encoder(opened, mined, known)]
        config = forms.filled(AdaptConfig(), list(AdaptConfig.model_fields), KEY, columns=3)
    with summary, st.container(border=True, key="launch-summary"):
        st.markdown(f"Adapts **{shell.escape(encoder)}** to **{shell.escape(mined.name)}**.")
        name = st.text_input("Name of the new encoder", placeholder="automatic", key=f"name-{KEY}")
        where = placed.placement_fields(opened, KEY)
        pressed = st.button(
            "Adapt encoder",
            type="primary",
            icon=":material/tune:",
            width="stretch",
            key="adapt",
            disabled=config is None or where is None,
        )
        if pressed and config is not None and where is not None:
            _launch(opened, mined, encoder, name.strip(), config, where)


def _encoder(opened: Workspace, mined: CorrespondenceSet, known: dict[str, str]) -> str:
    """Draw the picker and return its label. Default: the encoder of the set, or the one that it was made from."""
    labels = list(known)
    usual = Adapt.to(opened, mined, None, "", AdaptConfig()).encoder_id
    row = next((row for row in encoders_with_weights(opened.store) if row.id == usual), None)
    first = list(known.values()).index(row.name) if row and row.name in known.values() else 0
    text = "The encoder of the set, or any other: it learns from the same pairs."
    return st.selectbox("Encoder", labels, index=first, key=f"adapted-{mined.id}", help=text) or labels[first]


def _launch(
    opened: Workspace, mined: CorrespondenceSet, encoder: str, name: str, config: AdaptConfig, where: Placement
) -> None:
    def job() -> Adapt:
        return Adapt.to(opened, mined, encoder_named(opened.store, encoder), name, config)

    run = launching.started(opened, job, where)
    if run is not None:
        shell.show_run(run)
