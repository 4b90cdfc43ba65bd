"""Photos that stand out in a set: hubs, photos without a pair; and those that people keep out of mining."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from orl_explorer.app.explorer.author import author
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.explore.component import Badge, PhotoTile, gallery
from orl_explorer.app.pages.explore.page import mark_photos, photo_tile
from orl_explorer.app.pages.pager import pager
from orl_explorer.app.pages.shell import Place
from orl_explorer.db.gallery.order import GalleryOrder, gallery_count, gallery_page, tiles_of
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.db.people.kept_out import KEPT_OUT
from orl_explorer.db.people.selections import keep_selection
from orl_explorer.db.people.tags import known_tags
from orl_explorer.db.sets.hubs import neighbor_counts
from orl_explorer.orl.measure.quality import skewness
from orl_explorer.train.words import plural

PER_PAGE = 48


def show_hubs(place: Place, dataset: Dataset, mined: CorrespondenceSet) -> None:
    """Draw the photos of a set, those first that are neighbours of most others."""
    with st.spinner("Counting how often photos are neighbours …", show_time=True):
        found = neighbor_counts(place.workspace.store, mined.id)
    k, never = int(mined.params["neighbors"]), int((found.times == 0).sum())
    st.markdown(
        f"The most frequent photo is a neighbour of **{found.times[0]:,} of {plural(len(found.ids), 'photo')}**; the "
        f"mean is {k:,}. {plural(never, 'photo')} {'is' if never == 1 else 'are'} nobody’s neighbour. "
        f"**Skewness {skewness(found.times):.2f}**."
    )
    st.caption(
        "Skewness is 0 if all photos are neighbours equally often, and large if a few hubs take the places of others. "
        "Hubs are often plain, dark or blurred photos, or one of many that are alike. Keep out those that show nothing."
    )
    number, shown = _pager("hub", len(found.ids), mined.id)
    here = slice((number - 1) * PER_PAGE, number * PER_PAGE)
    tiles = [photo_tile(tile) for tile in tiles_of(place.workspace.store, found.ids[here].tolist(), mined.id)]
    meaning = f"Number of photos that have this one among their {k} neighbours."
    for tile, count in zip(tiles, found.times[here].tolist(), strict=True):
        tile["badges"] = [Badge(text=f"in {plural(count, 'list')}", meaning=meaning), *tile["badges"]]
    with shown:
        _photos(place, dataset, tiles)


def show_pairless(place: Place, dataset: Dataset, mined: CorrespondenceSet) -> None:
    """Draw the photos of a set that have no pair as the query."""
    order = GalleryOrder(dataset.id, mined.id, fewest_pairs=0, most_pairs=0)
    total = gallery_count(place.workspace.store, order)
    if not total:
        st.success("Every photo of this set has a pair.", icon=":material/check_circle:")
        return
    st.markdown(f"**{total:,} of {plural(mined.image_count, 'photo')}** {'has' if total == 1 else 'have'} no pair.")
    st.caption(
        "None of their RoIs was similar or likely enough to be matched. They may be the neighbour in pairs of others, "
        "but training never draws them as a query."
    )
    _ordered(place, dataset, order, "alone", total)


def show_kept_out(place: Place, dataset: Dataset) -> None:
    """Draw the photos that people keep out of mining."""
    order = GalleryOrder(dataset.id, place.mined.id if place.mined else None, tag=KEPT_OUT)
    total = gallery_count(place.workspace.store, order)
    if not total:
        st.info(
            "No photo is kept out of mining. Select photos here or on *Explore*, then *Keep out of mining*.",
            icon=":material/info:",
        )
        return
    st.markdown(f"**{plural(total, 'photo')}** {'is' if total == 1 else 'are'} kept out of mining.")
    hint = "" if shell.read_only() else " Select photos to let them in again."
    st.caption(f"They have the tag *{KEPT_OUT}*. Sets that were mined before still have them.{hint}")
    _ordered(place, dataset, order, "out", total)


def _ordered(place: Place, dataset: Dataset, order: GalleryOrder, key: str, total: int) -> None:
    number, shown = _pager(key, total, order)
    with shown:
        tiles = gallery_page(place.workspace.store, order, (number - 1) * PER_PAGE, PER_PAGE)
        _photos(place, dataset, [photo_tile(tile) for tile in tiles])


def _pager(key: str, total: int, listed: object) -> tuple[int, DeltaGenerator]:
    """Draw the pager. Return the page, from 1, and the container above it for the photos."""
    shown = st.container()
    return pager(total, PER_PAGE, key, listed), shown


def _photos(place: Place, dataset: Dataset, tiles: list[PhotoTile]) -> None:
    st.session_state["marking"] = dataset.id  # for the callback, which gets only data from the browser
    gallery(
        tiles,
        key="oddities",
        on_open=_open,
        on_mark=None if shell.read_only() else _on_mark,
        tags=tuple(known_tags(place.workspace.store, dataset.id)),
        scope=dataset.id,
    )


# Callbacks ---------------------------------------------------------------------------------------------


def _open() -> None:
    image_id = st.session_state["oddities"].open
    if image_id is not None:
        shell.open_page("pair", q=str(int(image_id)))


def _on_mark() -> None:
    asked = st.session_state["oddities"].mark or {}
    ids = asked.get("ids")
    if isinstance(ids, list) and all(isinstance(i, int) for i in ids):
        mark_or_keep(str(asked.get("action")), ids, str(asked.get("tag")), st.session_state["marking"])


def mark_or_keep(action: str, image_ids: list[int], tag: str, dataset_id: int) -> None:
    """Callback: mark photos as on Explore. A selection opens there."""
    if action != "keep":
        mark_photos(action, image_ids, tag)
    elif image_ids and not shell.read_only():
        kept = keep_selection(shell.workspace().store, dataset_id, image_ids, author=author())
        shell.open_page("explore", selection=str(kept))
