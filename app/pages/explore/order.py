"""Filters and order of the gallery: a row of inputs with their values in the URL."""

from __future__ import annotations

import random
from collections.abc import Container

import streamlit as st

from orl_explorer.app.explorer.reported import Reason, label_of_kind, reasons
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.shell import Place
from orl_explorer.db.gallery.order import GalleryOrder, Judged, gallery_ids
from orl_explorer.db.models import Dataset, Image
from orl_explorer.db.people.selections import find_selection
from orl_explorer.db.people.tags import known_tags
from orl_explorer.db.photos import image_by_id
from orl_explorer.db.store import Store

# Label, also in the URL -> order in the store, explanation.
SORTS = {
    "Name": ("name", ""),
    "Pairs": ("pairs", "Number of pairs with this photo as the query."),
    "Similarity": ("similarity", "Mean cosine similarity of its pairs."),
    "RoIs": ("regions", "Number of its RoIs."),
    "Consistency": ("cycle", "Share of its pairs where the key's nearest RoI in the query photo is the query RoI."),
    "Margin": ("margin", "Mean over its pairs: similarity minus that of the next best key in the same neighbour."),
    "Random": ("random", "Random order. The same seed gives the same order."),
}
VERDICTS: dict[str, Judged] = {
    "judged good": "good",
    "judged wrong": "wrong",
    "judged interesting": "interesting",
    "judged at all": "any",
    "not judged": "none",
}
FILTERS = ("find", "category", "tag", "judged", "least", "most")  # keys of widgets; the selection has no widget
MOST_SEED = 2**31 - 1


def current_order(place: Place, dataset: Dataset) -> GalleryOrder:
    """Return the gallery's order from the URL or the session. The arrows of the Pair page follow it too.

    A filter counts only where ``inputs`` offers it: Streamlit keeps its value for other datasets and sets.
    """
    store = place.workspace.store
    sort = SORTS.get(str(_chosen("sort")), SORTS["Name"])[0]
    desc = _chosen("desc")
    return GalleryOrder(
        dataset.id,
        place.mined.id if place.mined else None,
        sort if place.mined or sort == "random" else "name",
        sort != "random" and (desc is True or desc == "true"),
        search=str(_chosen("find") or ""),
        seed=_number("seed") or 0,
        category=_among(dataset.categories or {}, "category"),
        fewest_pairs=_number("least") if place.mined else None,
        most_pairs=_number("most") if place.mined else None,
        tag=_among(known_tags(store, dataset.id), "tag"),
        found=_found(place, dataset),
        verdict=VERDICTS.get(str(_chosen("judged"))) if place.mined else None,
        selection=st.session_state.get("in_selection"),
    )


def is_filtered(order: GalleryOrder) -> bool:
    """Return whether the order has filters."""
    return order != GalleryOrder(order.dataset_id, order.set_id, order.sort, order.descending, seed=order.seed)


def first_photo(store: Store, order: GalleryOrder) -> Image | None:
    """Return the gallery's first photo. If its filters hide every photo, say so and offer to clear them."""
    first = gallery_ids(store, order)[:1].tolist()
    found = image_by_id(store, first[0]) if first else None
    if found is not None:
        return found[0]
    if is_filtered(order):
        st.info("The filters of *Explore* hide all photos of this dataset.", icon=":material/search_off:")
        st.button("Clear all filters", icon=":material/filter_alt_off:", on_click=clear)
    else:
        st.info("This dataset has no photos.", icon=":material/info:")
    return None


def order_described(order: GalleryOrder) -> str:
    """Describe an order and its filters."""
    sort = next(label for label, (name, _) in SORTS.items() if name == order.sort).lower().replace("rois", "RoIs")
    way = f"seed {order.seed}" if order.sort == "random" else "descending" if order.descending else "ascending"
    verdict = next((label for label, name in VERDICTS.items() if name == order.verdict), "")
    filters = {
        "name has": order.search,
        "category": order.category,
        "tag": order.tag,
        "ingest found": label_of_kind(order.found).lower() if order.found else None,
        "pairs": verdict,
        "pairs at least": order.fewest_pairs,
        "pairs at most": order.most_pairs,
        "selection": order.selection,
    }
    return shell.with_filters(f"by {sort}, {way}", filters)


def inputs(place: Place, dataset: Dataset) -> None:
    """Draw the inputs."""
    _take_from_url()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="gallery-order"):
        st.text_input(
            "Find by name",
            type="search",
            live="300ms",
            key="find",
            bind="query-params",
            placeholder="part of a name",
            width=180,
        )
        _sort(place)
        if dataset.categories:
            counts = dataset.categories
            st.selectbox(
                "Category",
                list(counts),
                index=None,
                placeholder="any",
                key="category",
                bind="query-params",
                width=140,
                help="Show photos with an annotated object of this category.",
            )
        tags = known_tags(place.workspace.store, dataset.id)
        if tags:
            st.selectbox(
                "Tag",
                list(tags),
                index=None,
                placeholder="any",
                key="tag",
                bind="query-params",
                width=120,
            )
        _findings(place, dataset)
        if place.mined is not None:
            _pairs()


def clear() -> None:
    """Callback: clear all filters, also on pages that follow them without their inputs."""
    for key in FILTERS:
        if key in st.session_state:
            st.session_state[key] = "" if key == "find" else None
        else:
            st.query_params.pop(key, None)
    for name in ("selection", "found"):
        st.query_params.pop(name, None)
        st.session_state.pop(f"in_{name}", None)


def _sort(place: Place) -> None:
    by = list(SORTS) if place.mined is not None else ["Name", "Random"]
    picked = st.selectbox("Sort by", by, key="sort", bind="query-params", width=140)
    if picked == "Random":
        st.number_input("Seed", 0, MOST_SEED, 0, key="seed", bind="query-params", width=110)
        st.button("Shuffle", icon=":material/casino:", help="Draw a new seed.", on_click=_roll)
    else:
        about = SORTS.get(picked or "Name", SORTS["Name"])[1]
        st.toggle("Descending", key="desc", bind="query-params", help=about or None)


def _pairs() -> None:
    """Draw the filters by a photo's pairs: their number and their verdicts."""
    least, most, judged = _number("least"), _number("most"), _among(VERDICTS, "judged")
    count = "" if least is None and most is None else f"{least or 0} – {'…' if most is None else most}"
    said = ", ".join(filter(None, (count, judged))) or "any"
    with st.popover(f"Pairs: {said}"):
        st.selectbox(
            "Verdict",
            list(VERDICTS),
            index=None,
            placeholder="all",
            key="judged",
            bind="query-params",
            help="Show photos that are the query of a pair with this verdict, in any set.",
        )
        st.number_input("Minimum number of pairs", 0, key="least", value=None, bind="query-params")
        st.number_input("Maximum number of pairs", 0, key="most", value=None, bind="query-params")


def selection_chip(place: Place) -> None:
    """Draw the name of the selection that is shown, if any."""
    chosen = st.session_state.get("in_selection")
    if chosen is None:
        return
    kept = find_selection(place.workspace.store, chosen)
    name = shell.escape(kept.name) if kept is not None else f"{chosen} (deleted)"
    st.markdown(f":material/select_all: Selection: **{name}**", width="content")


def _take_from_url() -> None:
    """Keep filters of the URL that no bound widget has: other pages follow them too."""
    st.session_state["in_found"] = st.query_params.get("found")
    st.session_state["in_selection"] = shell.as_id(st.query_params.get("selection", ""))


def _findings(place: Place, dataset: Dataset) -> None:
    """Draw the filter by what the last ingest found, if it found anything of the gallery's photos."""
    counts = {reason.kind: f"{reason.label} ({reason.photos:,})" for reason in _reasons(place, dataset)}
    if not counts:
        return
    shell.set_widget("found-in", _found(place, dataset))
    st.selectbox(
        "Ingest",
        list(counts),
        index=None,
        placeholder="any",
        key="found-in",
        format_func=lambda kind: counts.get(kind, kind),
        width=200,
        help="Show photos of which the last ingest left out or changed something.",
        on_change=_on_found,
    )


def _reasons(place: Place, dataset: Dataset) -> list[Reason]:
    return [reason for reason in reasons(place.workspace.store, dataset) if reason.photos]


def _found(place: Place, dataset: Dataset) -> str | None:
    """Return the kind of findings that the gallery shows, if it has photos with such findings."""
    asked = st.session_state.get("in_found")
    return asked if any(reason.kind == asked for reason in _reasons(place, dataset)) else None


def _on_found() -> None:
    shell.put_in_url(found=st.session_state.get("found-in") or "")


def _roll() -> None:
    st.session_state["seed"] = random.randrange(MOST_SEED)


def _chosen(key: str) -> object:
    value = st.session_state.get(key)
    return st.query_params.get(key) if value is None else value


def _among(offered: Container[str], key: str) -> str | None:
    value = str(_chosen(key))
    return value if value in offered else None


def _number(key: str) -> int | None:
    return shell.as_id(str(_chosen(key)))
