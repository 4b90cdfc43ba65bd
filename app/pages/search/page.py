"""The page Search: the RoIs of a set that are most similar to a box of any photo."""

from __future__ import annotations

from pathlib import PurePosixPath

import streamlit as st

from orl_explorer.app.components.figure import Figure
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.searching import Searched, features_of_set, pair_of, searched
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.pace import told
from orl_explorer.app.pages.pager import pager
from orl_explorer.app.pages.search import ask
from orl_explorer.app.pages.search.example import example_view
from orl_explorer.app.pages.search.query import Query, query_of
from orl_explorer.app.pages.search.results import FoundRoi, results_grid
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server import given
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.lost import StateNow, states_now
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.making import Making
from orl_explorer.train.mining.search import FIRST, Filters, Hit
from orl_explorer.train.mining.search_index import index_or_making, is_large, try_index_again
from orl_explorer.train.words import plural

PER_PAGE = 48
PATIENCE = 1.5  # seconds that a page waits for an index before it shows how far it is
FILTERS = ("hit_floor", "hit_cat", "once", "own")


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    st.title("Search by example", anchor=False)
    subject = ask.searched_set(place)
    if subject is None:
        start.unmined(place, place.dataset)
        return
    _view(place, subject)


def _view(place: Place, subject: PreviewSubject) -> None:
    try:
        query = query_of(subject)
    except UserError as problem:
        st.warning(shell.escape(str(problem)), icon=":material/broken_image:")
        query = None
    left, right = st.columns([2, 5], gap="medium")
    with left:
        _example(place, subject, query)
    with right:
        if query is None:
            _explain(subject)
            return
        try:
            _answer(place, subject, query)
        except UserError as problem:
            st.error(shell.escape(str(problem)), icon=":material/error:")


def _explain(subject: PreviewSubject) -> None:
    count = f"all {plural(subject.mined.candidate_count, 'RoI')} of {plural(subject.mined.image_count, 'photo')}"
    st.markdown(
        f"Give a picture, or the path of one, to find the most similar of {count} of the set "
        f"**{shell.escape(subject.mined.name)}**. Draw a box on it to search with a part."
    )
    st.caption(
        "A box of any photo on screen works too: press **S** on a pair in *Matches*, or on a RoI in *Pair*. The set's "
        "encoder embeds the box as mining embeds a RoI. The server fetches no addresses of the web."
    )
    if subject.encoder.kind == VECTORS:
        st.info(_without_network(subject), icon=":material/info:")


def _without_network(subject: PreviewSubject) -> str:
    return (
        f"**{shell.escape(subject.encoder.name)}** is imported vectors without a network: a picture or a new box has "
        "no vector to compare. Search with a RoI of a photo of the set."
    )


# The query -------------------------------------------------------------------------------------------------


def _example(place: Place, subject: PreviewSubject, query: Query | None) -> None:
    """Draw the photo that is searched with, or a place to drop one."""
    can_draw = subject.encoder.kind != VECTORS
    payload = {**ask.NOTHING, "send_to": given.given_url()}
    if query is not None:
        payload |= {
            "photo": query.photo,
            "box": list(query.example.box),
            "whole": query.asked is None,
            "rois": [list(box) for box in query.rois],
            "can_draw": can_draw,
        }
    example_view(payload, key=ask.KEY, on_given=_on_given, on_draw=_on_draw)  # type: ignore[arg-type]
    if query is not None:
        _facts(subject, query, can_draw)
    ask.ask_for_path(place, _search_with)


def _facts(subject: PreviewSubject, query: Query, can_draw: bool) -> None:
    x, y, w, h = query.example.box
    what = "The whole photo" if query.asked is None else f"The box {x}, {y}, {w} × {h}"
    roi = " is a RoI of the set" if query.example.box in query.rois else ""
    st.caption(f"{what} of **{shell.escape(query.photo['name'])}**{roi}, by {shell.escape(subject.encoder.name)}.")
    if query.grown:
        cell = features_of_set(subject).reading.stride
        st.caption(
            f":material/open_in_full: The box was grown to {w} × {h} pixels: a crop of fewer pixels than a cell of the "
            f"encoder's map, {cell}, shows it nothing."
        )
    if not can_draw:
        st.info(_without_network(subject), icon=":material/info:")


# The answer ------------------------------------------------------------------------------------------------


def _answer(place: Place, subject: PreviewSubject, query: Query) -> None:
    making = index_or_making(subject.workspace, subject.mined, features_of_set(subject), PATIENCE)
    if isinstance(making, Making):
        _wait(subject)
        return
    filters = _inputs(query, making.names)
    result = searched(subject, query.example, filters, PATIENCE)
    assert isinstance(result, Searched)
    total = len(result.found.rows)
    summary, shown = st.container(), st.container()  # above the page's number, which is read first
    number = pager(total, PER_PAGE, "hits", (subject.mined.id, query.example, filters))
    found = result.page((number - 1) * PER_PAGE, PER_PAGE)
    with summary:
        _summary(subject, filters, query, total, found)
    if not total:
        st.info("No RoI passes these filters. Clear a filter.", icon=":material/search_off:")
        return
    st.session_state["search-shown"] = subject, query, {hit.roi_id: hit for hit in found}
    with shown:
        results_grid(
            _cards(place, found, (number - 1) * PER_PAGE),
            key="search-results",
            on_open=_open,
            on_search=_search_again,
            saved_as=_figure(place, subject, query, filters, (number - 1) * PER_PAGE, len(found)),
        )


@st.fragment(run_every=0.7)
def _wait(subject: PreviewSubject) -> None:
    """Draw the progress of the index; reload the page when it is made."""
    found = index_or_making(subject.workspace, subject.mined, features_of_set(subject), 0)
    if not isinstance(found, Making):
        st.rerun()
    elif found.error is not None:
        st.error(shell.escape(found.error))
        st.button("Try again", on_click=try_index_again, args=(subject.workspace, subject.mined))
    else:
        part = "Making the index of this set, once. RoIs"
        text = told(f"search-{subject.mined.id}", part, found.done, found.total)
        st.progress(min(1.0, found.done / found.total), text=text)


def _inputs(query: Query, names: tuple[str, ...]) -> Filters:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        least = st.number_input(
            "Similarity at least",
            -1.0,
            1.0,
            None,
            0.05,
            "%.2f",
            key="hit_floor",
            bind="query-params",
            width=142,
            placeholder="any",
        )
        if names:
            st.selectbox(
                "Category",
                list(names),
                index=None,
                placeholder="any",
                key="hit_cat",
                bind="query-params",
                width=150,
                help="Class of the annotated object that the RoI covers (IoU ≥ 0.5).",
            )
        once = st.toggle(
            "One per photo",
            key="once",
            bind="query-params",
            help="Show only the best RoI of each photo.",
        )
        own = query.image is not None and st.toggle(
            "Also this photo",
            key="own",
            bind="query-params",
            help="Show also RoIs of the photo that is searched with.",
        )
    category = st.session_state.get("hit_cat") if names else None
    without = query.image.id if query.image is not None and not own else None
    return Filters(least, category or None, without, bool(once))


def _summary(subject: PreviewSubject, filters: Filters, query: Query, total: int, found: list[Hit]) -> None:
    every = plural(subject.mined.candidate_count, "RoI")
    here = f" · this page: {found[0].similarity:.3f} to {found[-1].similarity:.3f}" if found else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        best = f"The best {total:,} of" if total == FIRST else f"{total:,} of"
        st.markdown(f"**{best} {every}**{here}", width="content")
        if filters != Filters(without=query.image.id if query.image else None):
            st.button("Clear all filters", icon=":material/filter_alt_off:", type="tertiary", on_click=_clear)
    if is_large(subject.mined):
        st.caption(
            f"A compact index of the set chose {FIRST:,} RoIs, which are in the exact order of their cosines.",
            help="Principal components in one byte each. Of the 50 most similar RoIs, 99 % or more are found.",
        )


def _cards(place: Place, found: list[Hit], start: int) -> list[FoundRoi]:
    lost = states_now(place.workspace.store, {hit.image.id for hit in found})
    return [_card(hit, rank, lost.get(hit.image.id)) for rank, hit in enumerate(found, start + 1)]


def _card(hit: Hit, rank: int, lost: StateNow | None) -> FoundRoi:
    image, urls = hit.image, picture_urls()
    return {
        "id": hit.roi_id,
        "rank": rank,
        "name": PurePosixPath(image.path).name,
        "crop": urls.crop(image.id, hit.box),
        "photo": urls.photo(image.id, image.mtime_ns, WIDTHS[0]),
        "large": urls.photo(image.id, image.mtime_ns, WIDTHS[1]),
        "width": image.width or 1,
        "height": image.height or 1,
        "box": list(hit.box),
        "similarity": hit.similarity,
        "category": hit.category,
        "lost": lost.state if lost else "",
    }


def _figure(place: Place, subject: PreviewSubject, query: Query, filters: Filters, start: int, count: int) -> Figure:
    stem = PurePosixPath(query.photo["name"]).stem.replace(" ", "-")
    words = shell.with_filters(
        "most similar first",
        {
            "similarity at least": filters.least,
            "category": filters.category,
            "one per": "photo" if filters.once else None,
        },
    )
    x, y, w, h = query.example.box
    where = {"q": str(query.image.id)} if query.image else {"photo": st.query_params.get("photo", "")}
    box = {} if query.asked is None else {"box": "-".join(map(str, query.asked))}
    return {
        "name": f"search-{stem}-{start + 1}",
        "caption": [
            f"RoIs {start + 1:,} to {start + count:,} of the set {subject.mined.name}, {words}.",
            f"Searched with the box {x}, {y}, {w} × {h} of {query.photo['name']}, by {subject.encoder.name}.",
        ],
        "place": shell.lasting(place, **where, **box),
    }


# Callbacks ---------------------------------------------------------------------------------------------


def _clear() -> None:
    for key in FILTERS:
        if key in st.session_state:
            st.session_state[key] = None if key in ("hit_floor", "hit_cat") else False


def _search_with(q: str = "", photo: str = "", box: str = "") -> None:
    shell.put_in_url(q=q, photo=photo, box=box)


def _on_given() -> None:
    if name := ask.given_name():
        _search_with(photo=name)


def _on_draw() -> None:
    said = st.session_state[ask.KEY].draw
    box = said.get("box") if isinstance(said, dict) else None
    drawn = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int) and 0 <= v < 100_000 for v in box)
    if drawn or box is None:
        shell.put_in_url(box="-".join(map(str, box)) if drawn and isinstance(box, list) else "")


def _named(said: object) -> tuple[PreviewSubject, Query, Hit] | None:
    """Return the RoI on screen that the grid names."""
    subject, query, shown = st.session_state["search-shown"]
    hit = shown.get(said.get("id")) if isinstance(said, dict) else None
    return None if hit is None else (subject, query, hit)


def _open() -> None:
    if found := _named(st.session_state["search-results"].open):
        shell.attempt(_open_pair, *found)


def _open_pair(subject: PreviewSubject, query: Query, hit: Hit) -> None:
    shell.open_page("pair", **pair_of(subject, query.image, query.example.box, hit.image, hit.box))


def _search_again() -> None:
    if found := _named(st.session_state["search-results"].search):
        hit = found[2]
        _search_with(q=str(hit.image.id), box="-".join(map(str, hit.box)))
