"""Explore: the photos of a data set, with what a correspondence set found in each."""

from __future__ import annotations

from pathlib import PurePosixPath

import streamlit as st

from app import shell
from app.components.gallery import Tile, gallery
from app.pictures import WIDTHS, photo_url
from app.shell import Place
from app.views import start
from db.gallery import GalleryOrder, gallery_count, gallery_page
from db.gallery import Tile as StoredTile
from db.models import Dataset

PER_PAGE = 48
# What a person picks, also in the URL -> the store's order.
SORTS = {"Name": "name", "Pairs": "pairs", "Similarity": "similarity", "RoIs": "regions"}


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    _heading(place)
    if place.mined is None:
        start.unmined(place, place.dataset)
    order = _order(place, place.dataset)
    total = gallery_count(place.workspace.store, order)
    if total == 0:
        st.info(f"No photo's name contains “{order.search}”.", icon=":material/search_off:")
        return
    pages = -(-total // PER_PAGE)
    number = min(max(1, int(st.session_state.get("page") or 1)), pages)
    tiles = gallery_page(place.workspace.store, order, (number - 1) * PER_PAGE, PER_PAGE)
    gallery([_tile(t) for t in tiles], key="gallery", on_open=_open)
    if pages > 1:
        st.pagination(pages, key="page", bind="query-params")


def current_order(place: Place, dataset: Dataset) -> GalleryOrder:
    """The gallery's order as the URL or the session has it: also that of the pair page's arrows."""
    picked = st.session_state.get("sort") or st.query_params.get("sort") or "Name"
    sort = SORTS.get(picked, "name") if place.mined else "name"
    descending = st.session_state.get("desc", st.query_params.get("desc") == "true")
    search = st.session_state.get("find") or st.query_params.get("find") or ""
    chosen = st.query_params.get("selection", "")
    selection = int(chosen) if chosen.isdecimal() and len(chosen) < 12 else None
    set_id = place.mined.id if place.mined else None
    return GalleryOrder(dataset.id, set_id, sort, bool(descending), search, selection=selection)


def _order(place: Place, dataset: Dataset) -> GalleryOrder:
    find, sort, direction = st.columns([3, 3, 1.4], vertical_alignment="bottom")
    find.text_input(
        "Find by name", type="search", live="300ms", key="find", bind="query-params", placeholder="part of a file name"
    )
    if place.mined is not None:
        sort.segmented_control("Sort by", list(SORTS), default="Name", required=True, key="sort", bind="query-params")
    direction.toggle("Descending", key="desc", bind="query-params")
    return current_order(place, dataset)


def _heading(place: Place) -> None:
    dataset = place.dataset
    assert dataset is not None
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(dataset.name, anchor=False)
    with right.container(horizontal=True, horizontal_alignment="right"):
        if place.mined is not None:
            with st.popover("Mine …", icon=":material/search:", help="Another set of these photos, with any encoder"):
                start.mine_form(place.workspace, dataset)
        with st.popover("Add photos …", icon=":material/add_photo_alternate:"):
            start.add_photos(place.workspace)
    facts = [f"{dataset.image_count:,} photos in {shell.escape(dataset.root)}"]
    if dataset.annotation_count:
        facts.append(f"{dataset.annotation_count:,} annotated objects (for measuring only)")
    if dataset.unreadable_count:
        facts.append(f":red[{dataset.unreadable_count:,} unreadable]")
    st.caption(" · ".join(facts))


def _tile(tile: StoredTile) -> Tile:
    badges = []
    if tile.pair_count is not None:
        badges = [f"{tile.candidate_count} RoIs", f"{tile.pair_count} pairs"]
        if tile.mean_similarity is not None:
            badges.append(f"cos {tile.mean_similarity:.2f}")
    return {
        "id": tile.id,
        "thumb": photo_url(tile.id, tile.mtime_ns, WIDTHS[0]),
        "name": PurePosixPath(tile.path).name,
        "badges": badges,
        "width": tile.width or 4,
        "height": tile.height or 3,
        "missing": tile.status != "ok",
        "note": tile.error or "",
    }


def _open() -> None:
    image_id = st.session_state["gallery"].open
    if image_id is not None:
        shell.open_page("pair", q=str(int(image_id)))
