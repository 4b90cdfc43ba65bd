"""The page Explore: the photos of a dataset, with their numbers of RoIs and pairs in a correspondence set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import streamlit as st

from orl_explorer.app.components.figure import Figure
from orl_explorer.app.explorer.author import author
from orl_explorer.app.explorer.reported import reasons
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.adding import ask_for_photos
from orl_explorer.app.pages.explore import order as gallery_order
from orl_explorer.app.pages.explore.component import Badge, PhotoTile, gallery
from orl_explorer.app.pages.explore.order import current_order
from orl_explorer.app.pages.explore.vectors import ask_for_vectors
from orl_explorer.app.pages.guide.start import guided_start
from orl_explorer.app.pages.pager import is_another, pager
from orl_explorer.app.pages.search.ask import ask_for_example
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.gallery.order import GalleryOrder, gallery_count, gallery_ids, gallery_page
from orl_explorer.db.gallery.order import Tile as StoredTile
from orl_explorer.db.models import Dataset
from orl_explorer.db.people.kept_out import keep_out, let_in
from orl_explorer.db.people.selections import keep_selection
from orl_explorer.db.people.tags import known_tags, tag_photos, untag_photos
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.store import StoreError
from orl_explorer.train.words import plural

PER_PAGE = 48


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    _heading(place)
    guided_start(place)
    if place.mined is None:
        start.unmined(place, place.dataset)
    gallery_order.inputs(place, place.dataset)
    order = current_order(place, place.dataset)
    total = gallery_count(place.workspace.store, order)
    _summary(place, order, total)
    if total:
        _photos(place, place.dataset, order, total)


def _photos(place: Place, dataset: Dataset, order: GalleryOrder, total: int) -> None:
    store = place.workspace.store
    shown = st.container()  # above the page's number, which is read first
    number, sought = _page_number(order, total)
    tiles = gallery_page(store, order, (number - 1) * PER_PAGE, PER_PAGE)
    st.session_state["marking"] = dataset.id  # for the callback, which gets only data from the browser
    with shown:
        gallery(
            [photo_tile(t) for t in tiles],
            key="gallery",
            on_open=_open,
            on_mark=None if shell.read_only() else _on_mark,
            selected=int(gallery_ids(store, order)[sought - 1]) if sought else None,
            tags=tuple(known_tags(store, dataset.id)),
            scope=dataset.id,
            saved_as=_figure(place, dataset, order, (number - 1) * PER_PAGE, len(tiles), total),
        )


def _figure(place: Place, dataset: Dataset, order: GalleryOrder, start: int, count: int, total: int) -> Figure:
    by = f"set {place.mined.name}" if place.mined else "no set"
    words = gallery_order.order_described(order)
    shown = f"Photos {start + 1:,} to {start + count:,} of {total:,} of {dataset.name}, {by}: {words}."
    return {"name": f"photos-{dataset.name}-{start + 1}", "caption": [shown], "place": shell.lasting(place)}


def _page_number(order: GalleryOrder, total: int) -> tuple[int, int | None]:
    """Draw the pager. Return the page and the requested position in the order, both from 1."""
    listed = replace(order, set_id=None)  # the photos of a page stay beside those of another set
    if is_another("go", listed) and "go" in st.session_state:
        st.session_state["go"] = None
    if total <= PER_PAGE:
        return pager(total, PER_PAGE, "page", listed), None
    asked = shell.as_id(st.query_params.get("go", ""))
    if "page" not in st.query_params and "page" not in st.session_state and asked is not None:
        st.session_state["page"] = _page_of(asked, total)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        number = pager(total, PER_PAGE, "page", listed)
        sought = st.number_input(
            "Go to photo",
            1,
            total,
            None,
            key="go",
            bind="query-params",
            width=150,
            placeholder=f"1 – {total}",
            on_change=_go,
            args=(total,),
            help="Go to a photo by its position in this order.",
        )
    here = sought if isinstance(sought, int) and 1 <= sought <= total else None
    return number, here


def _summary(place: Place, order: GalleryOrder, total: int) -> None:
    """Draw the number of photos and a button that clears the filters."""
    if not gallery_order.is_filtered(order):
        return
    everything = gallery_count(place.workspace.store, GalleryOrder(order.dataset_id))
    if not total:
        only_name = order.search and not gallery_order.is_filtered(replace(order, search=""))
        every = "No photo matches these filters. Clear a filter."
        found = f"No photo has “{shell.escape(order.search)}” in its name." if only_name else every
        st.info(found, icon=":material/search_off:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{total:,} of {plural(everything, 'photo')}**", width="content")
        gallery_order.selection_chip(place)
        st.button("Clear all filters", icon=":material/filter_alt_off:", type="tertiary", on_click=gallery_order.clear)


def _heading(place: Place) -> None:
    dataset = place.dataset
    assert dataset is not None
    left, right = st.columns(2, vertical_alignment="bottom")
    left.title(shell.escape(dataset.name), anchor=False)
    if not shell.read_only():
        with right.container(horizontal=True, horizontal_alignment="right"):
            if place.mined is not None:
                with st.popover("Mine …", icon=":material/search:", help="Mine another set of these photos."):
                    start.mine_form(place.workspace, dataset, like=place.mined)
            about = "Import vectors of these photos that were made elsewhere, as an encoder."
            with st.popover("Import vectors …", icon=":material/input:", help=about):
                ask_for_vectors(place.workspace, dataset)
            with st.popover("Add photos …", icon=":material/add_photo_alternate:"):
                ask_for_photos(place.workspace)
    facts = [f"{plural(dataset.image_count, 'photo')} in {shell.escape(dataset.root)}"]
    if dataset.annotation_count:
        facts.append(f"{plural(dataset.annotation_count, 'annotated object')} (only to measure)")
    if dataset.unreadable_count:
        facts.append(f":red[{dataset.unreadable_count:,} unreadable]")
    if dataset.gone_count:
        facts.append(f":red[{dataset.gone_count:,} gone]")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(" · ".join(facts), width="content")
        _report_link(place, dataset)
        if shell.has_page("oddities") and dataset.image_count > 1:
            about = "Show near-duplicates, hubs, photos without a pair, and pairs at the threshold."
            if st.button("Oddities", type="tertiary", icon=":material/content_copy:", help=about):
                shell.open_page("oddities")
        if shell.has_page("search") and place.mined is not None:
            about = "Find the RoIs of the set that are most similar to a picture, or to a box of it."
            with st.popover("Search by example", type="tertiary", icon=":material/image_search:", help=about):
                ask_for_example(place)
    for dataset_id, problem in place.lost.items():
        start.ask_where_photos_are(place.workspace, dataset_by_id(place.workspace.store, dataset_id), problem)


def _report_link(place: Place, dataset: Dataset) -> None:
    found = reasons(place.workspace.store, dataset)
    if (not found and dataset.last_ingest is None) or not shell.has_page("ingest"):
        return
    label = "Left out or changed" if found else "Ingest report"
    if st.button(label, type="tertiary", icon=":material/assignment:", help="Show the report of the last ingest."):
        shell.open_page("ingest")


def photo_tile(tile: StoredTile) -> PhotoTile:
    """Return a photo for the gallery, with what the set says of it."""
    badges: list[Badge] = []
    if tile.pair_count is not None:
        badges = [
            {"text": plural(tile.candidate_count or 0, "RoI"), "meaning": "Regions of this photo that can be matched."},
            {"text": plural(tile.pair_count or 0, "pair"), "meaning": "Pairs of its RoIs with RoIs of its neighbours."},
        ]
        if tile.mean_similarity is not None:
            meaning = "Mean cosine similarity of its pairs."
            badges.append({"text": f"cos {tile.mean_similarity:.2f}", "meaning": meaning})
        if tile.cycle_share is not None:
            meaning = "Share of its pairs with a consistent way back: the key's best match here is the query RoI."
            badges.append({"text": f"↺ {tile.cycle_share:.0%}", "meaning": meaning})
    return {
        "id": tile.id,
        "thumb": picture_urls().photo(tile.id, tile.mtime_ns, WIDTHS[0]),
        "name": PurePosixPath(tile.path).name,
        "badges": badges,
        "tags": tile.tags,
        "width": tile.width or 4,
        "height": tile.height or 3,
        "missing": tile.status != "ok",
        "note": tile.error or "",
    }


def _page_of(place: int, total: int) -> int:
    return (min(max(1, place), total) - 1) // PER_PAGE + 1


# Callbacks ---------------------------------------------------------------------------------------------


def _go(total: int) -> None:
    if isinstance(st.session_state.get("go"), int):
        st.session_state["page"] = _page_of(st.session_state["go"], total)


def _open() -> None:
    image_id = st.session_state["gallery"].open
    if image_id is not None:
        shell.open_page("pair", q=str(int(image_id)))


def _on_mark() -> None:
    asked = st.session_state["gallery"].mark or {}
    ids, tag = asked.get("ids"), asked.get("tag")
    if isinstance(ids, list) and all(isinstance(i, int) for i in ids) and isinstance(tag, str):
        mark_photos(str(asked.get("action")), ids, tag)


def mark_photos(action: str, image_ids: list[int], tag: str) -> None:
    """Tag or untag photos, keep them out of mining or as a selection, and confirm it."""
    store, who = shell.workspace().store, author()
    if shell.read_only() or not image_ids:
        return
    some = plural(len(image_ids), "photo")
    try:
        if action == "tag":
            tag_photos(store, image_ids, tag, who)
            st.toast(f"Tagged {some}: {shell.escape(tag)}")
        elif action == "untag":
            untag_photos(store, image_ids, tag, who)
            st.toast(f"Removed your tag from {some}: {shell.escape(tag)}")
        elif action == "keep_out":
            keep_out(store, image_ids, who)
            st.toast(f"Mining leaves out {some} from now on.")
        elif action == "let_in":
            let_in(store, image_ids)
            st.toast(f"Mining uses {some} again.")
        elif action == "keep":
            kept = keep_selection(store, st.session_state["marking"], np.array(image_ids), author=who)
            gallery_order.clear()
            st.query_params["selection"] = str(kept)
    except StoreError as mistake:
        st.toast(shell.escape(str(mistake)), icon=":material/error:")
