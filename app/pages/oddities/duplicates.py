"""Near-duplicates: photos of a dataset that are nearly the same, side by side, and which to keep."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import PurePosixPath
from shlex import quote

import streamlit as st

from orl_explorer.app.explorer.duplicates import LEAST, MOST, duplicates_of, encoders_with_features
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.forms import choice_in_url, number_of
from orl_explorer.app.pages.oddities.photos import mark_or_keep
from orl_explorer.app.pages.pager import pager
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.downloads import duplicates_url
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.models import Dataset, Encoder
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.orl.duplicates import NEAR_DUPLICATE
from orl_explorer.train.mining.duplicates import DuplicateGroup
from orl_explorer.train.words import plural

PER_PAGE = 10  # groups
SHOWN = 12  # photos of a group
STEP = 0.01  # of the threshold


def show_duplicates(place: Place, dataset: Dataset) -> None:
    """Draw the groups of near-duplicates of a dataset."""
    st.caption(
        "Photos that are nearly the same, such as resized, re-encoded or slightly cropped copies. They crowd out other "
        "neighbours when the dataset is mined."
    )
    of_set = place.mined.encoder_id if place.mined is not None else None
    found = sorted(encoders_with_features(place.workspace, dataset), key=lambda row: row.id != of_set)
    known = {row.name: row for row in found}
    if not known:
        st.info(
            "They are found in the features of the photos, but no encoder has features of all photos yet. Mine the "
            "dataset once, also photos that were added since.",
            icon=":material/info:",
        )
        return
    encoder, threshold = _controls(known)
    if dataset.image_count > MOST:
        command = f"orl duplicates --dataset {quote(dataset.name)} --encoder {quote(encoder.name)} --to near.csv"
        st.info(
            f"This page compares at most {MOST:,} photos. In a terminal: {shell.code(command)}.", icon=":material/info:"
        )
        return
    with st.spinner("Comparing photos …", show_time=True):
        groups = duplicates_of(place.workspace, dataset, encoder, threshold)
    _summary(dataset, encoder, threshold, groups)
    if groups:
        _groups(place, dataset, groups, (dataset.id, encoder.id, threshold))


def _controls(known: dict[str, Encoder]) -> tuple[Encoder, float]:
    with st.container(horizontal=True, vertical_alignment="bottom", key="duplicates-controls"):
        name = (
            choice_in_url("Features of", "e", {name: shell.escape(name) for name in known})
            if len(known) > 1
            else next(iter(known))
        )
        asked = number_of(st.query_params.get("t", ""))
        valid = asked is not None and LEAST <= asked <= 1
        shell.set_widget("duplicates-threshold", asked if valid else NEAR_DUPLICATE)
        threshold = st.slider(
            "Similarity from which photos are near-duplicates",
            LEAST,
            1.0,
            step=STEP,
            key="duplicates-threshold",
            on_change=_on_threshold,
            width=360,
            help=f"Cosine of the features of two photos. {NEAR_DUPLICATE:g} was measured with the starter encoder on "
            "altered copies of real photos; other encoders may need another value.",
        )
    return known[name], float(threshold)


def _summary(dataset: Dataset, encoder: Encoder, threshold: float, groups: tuple[DuplicateGroup, ...]) -> None:
    if not groups:
        st.success("No photos are nearly the same at this similarity.", icon=":material/check_circle:")
        return
    photos = sum(len(group.photos) for group in groups)
    more = photos - len(groups)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{plural(len(groups), 'group')}** of {photos:,} photos, {photos / dataset.image_count:.1%} of the "
            f"dataset. One of each is enough, so {plural(more, 'photo')} could go.",
            width="content",
        )
        st.link_button(
            "Download CSV",
            duplicates_url(dataset.id, encoder.id, threshold),
            icon=":material/download:",
            help="All groups: path, size, annotated objects, similarity, and which photo to keep.",
        )
    st.caption(
        "Keep the photo with the most pixels; of several, the one with the most annotated objects; of these the first "
        f"by name. No file is changed. {shell.code('orl mine --skip-duplicates')} takes only one photo of each group "
        "as a neighbour; photos that you keep out of mining are in no set at all."
    )
    if not shell.read_only():
        with st.popover("The other photo …" if more == 1 else f"The {more:,} others …", icon=":material/checklist:"):
            _actions(dataset, [photo.id for group in groups for photo in group.photos[1:]], "all")


def _actions(dataset: Dataset, ids: list[int], key: str) -> None:
    """Draw what can be done with the photos of which another one is enough."""
    about = "Leave them out whenever a set is mined. Undo it under *Kept out*."
    act = partial(_act, dataset.id, ids, f"others-tag-{key}")
    st.button("Keep out of mining", key=f"others-out-{key}", help=about, on_click=act, args=("keep_out",))
    st.button("Make a selection", key=f"others-keep-{key}", on_click=act, args=("keep",))
    st.text_input("Tag", key=f"others-tag-{key}", max_chars=40)
    st.button("Tag them", key=f"others-tag-button-{key}", on_click=act, args=("tag",))


def _groups(place: Place, dataset: Dataset, groups: tuple[DuplicateGroup, ...], found_by: object) -> None:
    first = (pager(len(groups), PER_PAGE, "group", found_by) - 1) * PER_PAGE
    out = frozenset(kept_out(place.workspace.store, dataset.id).tolist())
    for at, group in enumerate(groups[first : first + PER_PAGE], first + 1):
        with st.container(border=True, key=f"duplicates-{at}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**Group {at}: {len(group.photos)} photos**", width="content")
                others = [photo.id for photo in group.photos[1:]]
                if not shell.read_only():
                    with st.popover("The others …", type="tertiary"):
                        _actions(dataset, others, str(at))
            st.html(group_as_html(group, out))


def group_as_html(group: DuplicateGroup, out: frozenset[int] = frozenset()) -> str:
    """Return the photos of a group side by side, the one to keep first, as HTML. out: ids of those kept out."""
    shown = "".join(_photo(group, at, out) for at in range(min(SHOWN, len(group.photos))))
    left = len(group.photos) - SHOWN
    more = f"<p>{plural(left, 'further photo')} in the CSV.</p>" if left > 0 else ""
    return f'<div class="near-duplicates">{shown}</div>{more}'


def _photo(group: DuplicateGroup, at: int, out: frozenset[int]) -> str:
    photo, name = group.photos[at], escape(PurePosixPath(group.photos[at].path).name)
    facts = [f"{photo.width} × {photo.height}"]
    if any(group.objects):
        facts.append(plural(group.objects[at], "object"))
    said = f"<b>Keep: {group.why}</b>" if at == 0 else f"similarity {group.similarity[at]:.3f}"
    said += "<br>kept out of mining" if photo.id in out else ""
    source = picture_urls().photo(photo.id, photo.mtime_ns, WIDTHS[0])
    words = f'<bdi title="{escape(photo.path)}">{name}</bdi><br>{" · ".join(facts)}<br>{said}'
    picture = f'<img src="{source}" alt="{name}" loading="lazy">'
    return f'<figure class="{"kept" if at == 0 else ""}">{picture}<figcaption>{words}</figcaption></figure>'


def _on_threshold() -> None:
    value = st.session_state["duplicates-threshold"]
    shell.put_in_url(t="" if value == NEAR_DUPLICATE else f"{value:g}")


def _act(dataset_id: int, ids: list[int], tag: str, action: str) -> None:
    mark_or_keep(action, ids, str(st.session_state.get(tag, "")), dataset_id)
