"""The settings of the Pair page: controls, their effect on the photos on screen, and Regenerate."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer import preview
from orl_explorer.app.explorer.pair import Seen
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.pages import launching, shell
from orl_explorer.app.pages.forms import MiningPanel, ask_for, free_name
from orl_explorer.app.pages.shell import Place, escape
from orl_explorer.db.models import CorrespondenceSet, Image
from orl_explorer.db.photos import usable_images
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.db.sets.read import holds
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.settings import differences
from orl_explorer.train.words import plural


def sliders(mined: CorrespondenceSet) -> MineConfig:
    """Draw the controls and return their values: those in the URL, else the set's own."""
    st.session_state["mined"] = mined
    panel = _panel(mined)
    config = panel.asked()
    panel.draw(config, keep)
    return config


def _panel(mined: CorrespondenceSet) -> MiningPanel:
    return MiningPanel(mined, page="")


def keep() -> None:
    """Callback of all controls: write the values of all controls to the URL."""
    shell.put_in_url(**in_url())


def in_url() -> dict[str, str]:
    """Return the URL parameters of the controls' values."""
    mined: CorrespondenceSet | None = st.session_state.get("mined")
    return {} if mined is None else _panel(mined).in_url()


def approximate() -> bool:
    """Draw a toggle and return whether the preview embeds each photo once instead of each RoI."""
    with st.sidebar:
        return st.toggle(
            "Approximate regions",
            key="approx",
            bind="query-params",
            help="Cut the features of all RoIs from one feature map of the photo (RoIAlign) instead of embedding a "
            "crop of each. This is many times faster for new RoIs. Regenerate always embeds crops.",
        )


def counts(query: Seen, key: Seen, config: MineConfig) -> None:
    """Draw for both photos the numbers of raw, kept and rejected boxes."""
    left, right = st.columns(2)
    left.caption(f"Query: {_funnel(query, config)}")
    right.caption(f"Neighbour: {_funnel(key, config)}")


def _funnel(seen: Seen, config: MineConfig) -> str:
    found = seen.counts
    spread = f" or {config.spread_iou:g}" if config.spread_after < config.max_rois else ""
    rejected = {
        f"side < {config.min_size} px": found["size"],
        f"aspect > {config.max_aspect:g}": found["aspect"],
        f"IoU > {config.max_iou:g}{spread}": found["overlap"],
        f"beyond {config.max_rois}": found["count"],
    }
    reasons = " · ".join(f"{count:,} {rule}" for rule, count in rejected.items() if count)
    kept = "**none kept, fall-back box used**" if seen.fallback else f"**{found['kept']} kept**"
    return f"{found['raw']:,} raw → {kept}" + (f" · rejected: {reasons}" if reasons else "")


def regenerate(place: Place, subject: PreviewSubject, image: Image, config: MineConfig) -> None:
    """List the settings that differ from the set, and draw a button that mines the whole dataset with them."""
    own = MineConfig.of(subject.mined)
    changed = differences(config, own)
    with st.sidebar:
        if changed:
            st.info("Differs from the set: " + " · ".join(changed), icon=":material/tune:")
            st.button("Reset to the set's values", on_click=ask_for, args=(own, own), width="stretch")
        if not shell.read_only() and st.button(
            "Regenerate …",
            type="primary" if changed else "secondary",
            width="stretch",
            icon=":material/autorenew:",
            help="Mine the whole dataset with these settings into a new set.",
        ):
            _confirm(place, subject, image, config)


@st.dialog("Regenerate for the whole dataset", width="medium")
def _confirm(place: Place, subject: PreviewSubject, image: Image, config: MineConfig) -> None:
    changed = differences(config, MineConfig.of(subject.mined))
    st.markdown("\n".join(f"- {escape(c)}" for c in changed) or "No changes: the settings of the set on screen.")
    st.caption(_cost(subject, image, config))
    name = st.text_input("Name of the new set", value=free_name(subject, config), key="new_set")
    if st.button("Start run", type="primary", icon=":material/play_arrow:"):
        ids = {"dataset_id": subject.dataset.id, "encoder_id": subject.encoder.id}
        run = launching.started(place.workspace, lambda: Mine(name=name.strip(), config=config, **ids))
        if run is not None:
            st.session_state["regenerated"] = run.name
            st.rerun()


def _cost(subject: PreviewSubject, image: Image, config: MineConfig) -> str:
    """Describe the work of mining the whole dataset, judging by the photo on screen."""
    store, dataset = subject.workspace.store, subject.dataset
    photos = [photo.id for photo in usable_images(store, dataset.id)] if config.searches else []
    unsearched = len(missing_proposals(store, photos, config.method))
    searched = f"Selective search on {plural(unsearched, 'photo')}." if unsearched else "No selective search."
    [side] = preview.sides(subject, [image], config)
    new = preview.unstored_boxes(subject, side)
    if not new:
        return f"{searched} No new boxes on this photo. Matching takes milliseconds per photo."
    if not holds(store, subject.mined.id, image.id):
        return f"{searched} New boxes: {new} on this photo, which the set does not hold."
    total = f"{new * dataset.image_count:,}"
    return f"{searched} New boxes: {new} on this photo, so about {total} forward passes in total."
