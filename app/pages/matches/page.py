"""The page Matches: a sortable grid of the pairs of a correspondence set, with verdicts and tags."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import PurePosixPath

import numpy as np
import streamlit as st

from orl_explorer.app.components.figure import Figure
from orl_explorer.app.explorer.author import author
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.matches.component import Card, CardSide, match_grid
from orl_explorer.app.pages.matches.names import name_of, named_pairs
from orl_explorer.app.pages.pace import told
from orl_explorer.app.pages.pager import pager
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.gallery.order import Judged
from orl_explorer.db.lost import StateNow, states_now
from orl_explorer.db.models import CorrespondenceSet, Dataset, Image
from orl_explorer.db.people.tags import tag_pair, tags_of_pairs, untag_pair
from orl_explorer.db.people.verdicts import judge_pair, verdicts_on
from orl_explorer.db.sets.pairs import ListedPair, candidate_places, known_pair_tags, matches_at
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.mining.making import Making
from orl_explorer.train.mining.orders import (
    MatchOrder,
    Once,
    PairOrders,
    Sort,
    match_keys,
    match_rows,
    matches_or_making,
    position_of,
    try_again,
)

PER_PAGE = 36
PATIENCE = 1.5  # seconds that a page waits for orders before it shows how far they are
# Label, also in the URL -> order, descending, explanation.
SORTS: dict[str, tuple[Sort, bool, str]] = {
    "Most similar": ("similarity", True, "Cosine similarity of the two RoIs, largest first."),
    "Least similar": ("similarity", False, "Cosine similarity of the two RoIs, smallest first."),
    "Smallest margin": (
        "margin",
        False,
        "The key is barely more similar than the next best key in the same neighbour, or less.",
    ),
    "Largest margin": ("margin", True, "The key is far more similar than the next best key."),
    "Inconsistent first": ("cycle", False, "The key's nearest RoI in the query photo is another RoI."),
    "Consistent first": ("cycle", True, "The key's nearest RoI in the query photo is the query RoI."),
}
VERDICTS: dict[str, Judged] = {
    "good": "good",
    "wrong": "wrong",
    "interesting": "interesting",
    "any": "any",
    "none": "none",
}
ONCE: dict[str, Once] = {"two photos": "photos", "query photo": "query"}
FILTERS = ("cat", "verdict", "ptag", "floor", "one")


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    _heading(place)
    if place.mined is None:
        start.unmined(place, place.dataset)
        return
    if not place.mined.pair_count:
        st.info("This set has no pairs. Tune its settings, such as the minimum similarity.", icon=":material/info:")
        if shell.has_page("tune") and st.button("Tune settings", icon=":material/tune:"):
            shell.open_page("tune")  # with this set
        return
    found = orders_or_wait(place, place.mined)
    if found is not None:
        _grid(place, place.dataset, place.mined, found)


def _heading(place: Place) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title("Matches", anchor=False)
    if place.mined is not None and place.mined.pair_count and shell.has_page("judge"):
        about = "Judge a sample of the pairs one by one, and see what share of the set is wrong."
        with right.container(horizontal=True, horizontal_alignment="right"):
            if st.button("Judge pairs", icon=":material/gavel:", help=about):
                shell.open_page("judge")


def orders_or_wait(place: Place, mined: CorrespondenceSet) -> PairOrders | None:
    """Return the orders of a set's pairs. If there are none, draw the progress of making them, and return None."""
    found = matches_or_making(place.workspace, mined, PATIENCE)
    if not isinstance(found, Making):
        return found
    _wait_for_orders(place, mined)
    return None


@st.fragment(run_every=0.7)
def _wait_for_orders(place: Place, mined: CorrespondenceSet) -> None:
    """Draw the progress of sorting; reload the page when it is done."""
    found = matches_or_making(place.workspace, mined, 0)
    if not isinstance(found, Making):
        st.rerun()
    elif found.error is not None:
        st.error(shell.escape(found.error))
        st.button("Try again", on_click=try_again, args=(place.workspace, mined))
    else:
        part = f"Sorting {mined.pair_count:,} pairs, once per set. Photos"
        text = told(f"orders-{mined.id}", part, found.done, found.total)
        st.progress(min(1.0, found.done / found.total), text=text)


def _grid(place: Place, dataset: Dataset, mined: CorrespondenceSet, found: PairOrders) -> None:
    tags = known_pair_tags(place.workspace.store, dataset.id)
    _inputs(found, tags)
    order = _order(found, tags)
    rows = match_rows(place.workspace, mined, found, order)
    summary, shown = st.container(), st.container()  # above the page's number, which is read first
    if not len(rows):
        with summary:
            _summary(order, 0, mined, [])
        st.info("No pair matches these filters. Clear a filter.", icon=":material/search_off:")
        return
    number = _page_number(mined, found, rows, order)
    keys = match_keys(found, rows, (number - 1) * PER_PAGE, PER_PAGE)
    matches = matches_at(place.workspace.store, mined.id, keys)
    with summary:
        _summary(order, len(rows), mined, matches)
    with shown:
        show_matches(
            place,
            dataset,
            mined,
            matches,
            _figure(place, mined, order, (number - 1) * PER_PAGE, len(matches), len(rows)),
        )


def show_matches(
    place: Place, dataset: Dataset, mined: CorrespondenceSet, matches: list[ListedPair], saved_as: Figure
) -> None:
    """Draw pairs of a set as cards that can be opened, judged and tagged."""
    st.session_state["matches_of"] = mined.id  # for the callbacks, which get only names
    match_grid(
        _cards(place, mined, matches),
        key="match-grid",
        on_open=_open,
        on_search=_search,
        on_mark=_on_mark,
        can_judge=not shell.read_only(),
        answered=st.session_state.get("marks_answered", 0),
        tags=tuple(known_pair_tags(place.workspace.store, dataset.id)),
        saved_as=saved_as,
    )


def _figure(place: Place, mined: CorrespondenceSet, order: MatchOrder, start: int, count: int, total: int) -> Figure:
    sort = next(
        label for label, (name, falling, _) in SORTS.items() if (name, falling) == (order.sort, order.descending)
    )
    filters = {
        "query category": order.category,
        "verdict": order.verdict,
        "tag": order.tag,
        "similarity at least": None if order.least is None else f"{order.least:.3f}",
        "one pair per": next((name for name, once in ONCE.items() if once == order.once), None),
    }
    words = shell.with_filters(sort[0].lower() + sort[1:], filters)
    return {
        "name": f"matches-{mined.name}-{start + 1}",
        "caption": [
            f"Pairs {start + 1:,} to {start + count:,} of {total:,} of the set {mined.name}, {words}.",
            "Below each pair: cosine similarity, margin over the next best key, and whether the cycle is consistent.",
        ],
        "place": shell.lasting(place),
    }


def _inputs(found: PairOrders, tags: Iterable[str]) -> None:
    low, high = (float(found.similarity[found.by["similarity"][at]]) for at in (0, -1))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        picked = st.selectbox("Show first", list(SORTS), key="by", bind="query-params", width=165)
        order, _, about = SORTS.get(picked or "", SORTS["Most similar"])
        if found.names:
            about_category = "Class of the annotated object that the query RoI matches (IoU ≥ 0.5)."
            _filter("Query category", found.names, "any", "cat", 150, about_category)
        about_verdict = "Filter by the verdicts of all people. any: pairs with a verdict; none: pairs without one."
        _filter("Verdict", VERDICTS, "all", "verdict", 118, about_verdict)
        if tags:
            _filter("Tag", tags, "any", "ptag", 112)
        about_once = (
            "Show only the first pair of each two photos, whichever is the query, or of each query photo. Pairs of the "
            "same two photos often show the same objects."
        )
        _filter("One pair per", ONCE, "all pairs", "one", 158, about_once)
        _similarities(low, high, can_jump=order == "similarity")
    keys = "**G** good, **X** wrong, **I** interesting, **T** tag, **S** search"
    hint = " Key on a focused pair: **S** search." if shell.read_only() else f" Keys on a focused pair: {keys}."
    st.caption(f"{about} Click a pair to open it.{hint}")


def _filter(label: str, options: Iterable[str], without: str, key: str, width: int, about: str | None = None) -> None:
    """Draw the choice of a filter. without: what stands there if nothing is chosen."""
    st.selectbox(
        label,
        list(options),
        index=None,
        placeholder=without,
        key=key,
        bind="query-params",
        width=width,
        help=about,
    )


def _similarities(low: float, high: float, can_jump: bool) -> None:
    st.number_input(
        "Similarity at least",
        -1.0,
        1.0,
        None,
        0.05,
        "%.3f",
        key="floor",
        bind="query-params",
        width=142,
        placeholder=f"{low:.2f} …",
    )
    if can_jump:
        st.number_input(
            "Jump to similarity",
            -1.0,
            1.0,
            None,
            0.01,
            "%.3f",
            key="near",
            bind="query-params",
            width=158,
            placeholder=f"{low:.2f}–{high:.2f}",
            help="Go to the page with the pairs around this similarity.",
            on_change=_jump,
        )


def _order(found: PairOrders, tags: Container[str]) -> MatchOrder:
    """Return the order that the inputs ask for. Streamlit keeps the values of inputs that are not drawn."""
    category, tag = st.session_state.get("cat"), st.session_state.get("ptag")
    sort, descending, _ = SORTS.get(str(st.session_state.get("by")), SORTS["Most similar"])
    floor = st.session_state.get("floor")
    return MatchOrder(
        sort,
        descending,
        least=float(floor) if isinstance(floor, int | float) else None,
        category=category if category in found.names else None,
        verdict=VERDICTS.get(str(st.session_state.get("verdict"))),
        tag=tag if tag in tags else None,
        once=ONCE.get(str(st.session_state.get("one"))),
    )


def _summary(order: MatchOrder, total: int, mined: CorrespondenceSet, matches: list[ListedPair]) -> None:
    """Draw the number of pairs, the range of similarities on this page, and a button that clears the filters."""
    filtered = order != MatchOrder(order.sort, order.descending)
    with st.container(horizontal=True, vertical_alignment="center"):
        count = f"{total:,} of {mined.pair_count:,}" if filtered else f"{total:,}"
        ends = [matches[at].similarity for at in (0, -1)] if matches and order.sort == "similarity" else []
        here = f" · this page: {ends[0]:.3f} to {ends[1]:.3f}" if ends else ""
        st.markdown(f"**{count} pairs**{here}", width="content")
        if filtered:
            st.button("Clear all filters", icon=":material/filter_alt_off:", type="tertiary", on_click=_clear)


def _page_number(mined: CorrespondenceSet, found: PairOrders, rows: np.ndarray, order: MatchOrder) -> int:
    """Draw the pager. Return the page, from 1."""
    near = st.session_state.get("near") if order.sort == "similarity" else None
    jump = st.session_state.pop("jump_to_near", "p" not in st.session_state and "p" not in st.query_params)
    if near is not None and jump:
        at = min(position_of(found, rows, order, float(near)), len(rows) - 1)
        st.session_state["p"] = at // PER_PAGE + 1
    return pager(len(rows), PER_PAGE, "p", (mined.id, order))


def _cards(place: Place, mined: CorrespondenceSet, matches: list[ListedPair]) -> list[Card]:
    store, rois = place.workspace.store, [(m.query_roi_id, m.key_roi_id) for m in matches]
    verdicts, tags = verdicts_on(store, rois, author()), tags_of_pairs(store, rois)
    lost = states_now(store, {image.id for match in matches for image in (match.query, match.neighbor)})
    return [
        {
            "id": name_of(mined.id, match.key),
            "query": _side(match.query, match.query_box, lost),
            "key": _side(match.neighbor, match.key_box, lost),
            "neighbor_rank": match.neighbor_rank,
            "similarity": match.similarity,
            "margin": match.margin,
            "cycle": match.cycle,
            "verdict": verdicts.get(pair),
            "tags": tags.get(pair, ()),
        }
        for match, pair in zip(matches, rois, strict=True)
    ]


def _side(image: Image, box: tuple[int, int, int, int], lost: Mapping[int, StateNow]) -> CardSide:
    state = lost[image.id].state if image.id in lost else ""
    return {"name": PurePosixPath(image.path).name, "crop": picture_urls().crop(image.id, box), "lost": state}


# Callbacks ---------------------------------------------------------------------------------------------


def _jump() -> None:
    st.session_state["jump_to_near"] = st.session_state.get("near") is not None


def _clear() -> None:
    for key in FILTERS:
        if key in st.session_state:
            st.session_state[key] = None


def _open() -> None:
    on_screen = st.session_state["matches_of"]
    for match in named_pairs([st.session_state["match-grid"].open], on_screen).values():
        shell.open_page("pair", **pair_query(shell.workspace().store, on_screen, match))


def _search() -> None:
    said = st.session_state["match-grid"].search
    named = [said.get("id")] if isinstance(said, dict) else []
    for match in named_pairs(named, st.session_state["matches_of"]).values():
        shell.open_page("search", q=str(match.query.id), box="-".join(map(str, match.query_box)))


def pair_query(store: Store, set_id: int, match: ListedPair) -> dict[str, str]:
    """Return the URL parameters of the Pair page for a match: query, neighbour, and the ranks of both RoIs."""
    (query,) = candidate_places(store, set_id, match.query.id, [match.query_roi_id])
    (key,) = candidate_places(store, set_id, match.neighbor.id, [match.key_roi_id])
    return {"q": str(match.query.id), "nn": str(match.neighbor_rank), "pair": f"{query}-{key}"}


def _on_mark() -> None:
    said = st.session_state["match-grid"].mark
    if isinstance(said, dict) and not shell.read_only():
        mark_pairs(said.get("verdicts"), said.get("tags"))
        if isinstance(said.get("n"), int):
            st.session_state["marks_answered"] = said["n"]


def mark_pairs(verdicts: object, tags: object) -> None:
    """Store verdicts and tags of pairs by name, of whatever set was on screen. Invalid ones are ignored."""
    store, who = shell.workspace().store, author()
    judged = verdicts if isinstance(verdicts, dict) else {}
    tagged = [said for said in tags if isinstance(said, dict)] if isinstance(tags, list) else []
    found = named_pairs([*judged, *(said.get("id") for said in tagged)])
    for name, verdict in judged.items():
        if name in found and verdict in (None, "good", "wrong", "interesting"):
            judge_pair(store, found[name].query_roi_id, found[name].key_roi_id, verdict, who)
    for said in tagged:
        match, word = found.get(str(said.get("id"))), str(said.get("tag"))
        if match is not None:
            try:
                (tag_pair if said.get("on") else untag_pair)(store, match.query_roi_id, match.key_roi_id, word, who)
            except StoreError as mistake:
                st.toast(shell.escape(str(mistake)), icon=":material/error:")
