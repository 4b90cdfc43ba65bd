"""The page Near-duplicates: photos of a dataset that are nearly the same, side by side, and which to keep."""

from __future__ import annotations

from html import escape
from pathlib import PurePosixPath
from shlex import quote

import streamlit as st

from orl_explorer.app.explorer.duplicates import MOST, duplicates_of, encoders_with_features
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.forms import choice_in_url, number_of
from orl_explorer.app.server.downloads import duplicates_url
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.models import Dataset, Encoder
from orl_explorer.orl.duplicates import NEAR_DUPLICATE
from orl_explorer.train.mining.duplicates import DuplicateGroup
from orl_explorer.train.words import plural

PER_PAGE = 10  # groups
SHOWN = 12  # photos of a group
LEAST, STEP = 0.5, 0.01  # of the threshold


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    dataset = place.dataset
    _heading(dataset)
    known = {row.name: row for row in encoders_with_features(place.workspace, dataset)}
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
        _groups(groups)


def _heading(dataset: Dataset) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(f"Near-duplicates in {shell.escape(dataset.name)}", anchor=False)
    with right.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Photos", icon=":material/photo_library:", disabled=not shell.has_page("explore")):
            shell.open_page("explore")
    st.caption(
        "Photos that are nearly the same, such as resized, re-encoded or slightly cropped copies. They crowd out other "
        "neighbours when the dataset is mined."
    )


def _controls(known: dict[str, Encoder]) -> tuple[Encoder, float]:
    with st.container(horizontal=True, vertical_alignment="bottom", key="duplicates-controls"):
        name = (
            choice_in_url("Features of", "e", {name: name for name in known}) if len(known) > 1 else next(iter(known))
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
        "as a neighbour."
    )


def _groups(groups: tuple[DuplicateGroup, ...]) -> None:
    pages = -(-len(groups) // PER_PAGE)
    number = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    first = (min(max(1, int(number or 1)), pages) - 1) * PER_PAGE
    for at, group in enumerate(groups[first : first + PER_PAGE], first + 1):
        with st.container(border=True, key=f"duplicates-{at}"):
            st.markdown(f"**Group {at}: {len(group.photos)} photos**")
            st.html(group_as_html(group))


def group_as_html(group: DuplicateGroup) -> str:
    """Return the photos of a group side by side, the one to keep first, as HTML."""
    shown = "".join(_photo(group, at) for at in range(min(SHOWN, len(group.photos))))
    left = len(group.photos) - SHOWN
    more = f"<p>{plural(left, 'further photo')} in the CSV.</p>" if left > 0 else ""
    return f'<div class="near-duplicates">{shown}</div>{more}'


def _photo(group: DuplicateGroup, at: int) -> str:
    photo, name = group.photos[at], escape(PurePosixPath(group.photos[at].path).name)
    facts = [f"{photo.width} × {photo.height}"]
    if any(group.objects):
        facts.append(plural(group.objects[at], "object"))
    said = f"<b>Keep: {group.why}</b>" if at == 0 else f"similarity {group.similarity[at]:.3f}"
    source = picture_urls().photo(photo.id, photo.mtime_ns, WIDTHS[0])
    words = f'<bdi title="{escape(photo.path)}">{name}</bdi><br>{" · ".join(facts)}<br>{said}'
    picture = f'<img src="{source}" alt="{name}" loading="lazy">'
    return f'<figure class="{"kept" if at == 0 else ""}">{picture}<figcaption>{words}</figcaption></figure>'


def _on_threshold() -> None:
    value = st.session_state["duplicates-threshold"]
    shell.put_in_url(t="" if value == NEAR_DUPLICATE else f"{value:g}", page="")
