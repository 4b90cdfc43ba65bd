"""The page Judge: a sample of a set's pairs, one after the other by keys; and what the verdicts say of the set."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import streamlit as st

from orl_explorer.app.explorer.author import author
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.forms import choice_in_url
from orl_explorer.app.pages.judge.component import LETTERS, JudgedSide, JudgePayload, PairToJudge, judge_view
from orl_explorer.app.pages.judge.results import show_results
from orl_explorer.app.pages.matches.names import name_of, named_pairs
from orl_explorer.app.pages.matches.page import orders_or_wait
from orl_explorer.app.pages.picture import picture
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.lost import StateNow, states_now
from orl_explorer.db.models import CorrespondenceSet, Dataset, Image
from orl_explorer.db.people.verdicts import judge_pair, verdicts_on
from orl_explorer.db.sets.pairs import matches_at
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.db.store import Store
from orl_explorer.train.mining.judging import MOST, Draw, PairSample, sample_keys
from orl_explorer.train.mining.orders import PairOrders

ORDERS: dict[str, Draw] = {"random": "random", "smallest margin": "margin", "around a similarity": "near"}
ABOUT: dict[Draw, str] = {
    "random": "drawn at random. Only so can you estimate the share of wrong pairs of the whole set.",
    "margin": "pairs whose key is barely better than the next best key first.",
    "near": "pairs whose similarity is closest to a value first, to look for a threshold.",
}
VIEWS = {"judge": "Judge", "results": "Results"}
COUNT, SEED = 200, 1
BEHIND, AHEAD = 3, 8  # pairs around the one on screen that the browser gets


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    if place.mined is None:
        st.title("Judge pairs", anchor=False)
        start.unmined(place, place.dataset)
        return
    if not place.mined.pair_count:
        st.info("This set has no pairs to judge.", icon=":material/info:")
        return
    found = orders_or_wait(place, place.mined)
    if found is not None:
        _page(place, place.dataset, place.mined, found)


def _page(place: Place, dataset: Dataset, mined: CorrespondenceSet, found: PairOrders) -> None:
    view = _heading()
    sample, again = _controls(found, judging=view == "judge")
    keys = sample_keys(place.workspace, mined, found, sample)
    if not len(keys):
        st.info("No pair has this category. Choose another one.", icon=":material/search_off:")
        return
    if view == "results":
        show_results(place, dataset, mined, found, sample, keys)
        return
    if shell.read_only():
        st.caption("This server is read-only: you can look at the pairs, but not judge them.")
    st.fragment(_judge, key="judging")(place, mined, sample, keys, again)


def _heading() -> str:
    """Draw the heading with the choice of the view, and return the view."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title("Judge pairs", anchor=False)
    with right.container(horizontal=True, horizontal_alignment="right", vertical_alignment="bottom", key="judge-view"):
        view = choice_in_url("View", "show", VIEWS)
        if st.button("Matches", icon=":material/grid_view:", disabled=not shell.has_page("matches")):
            shell.open_page("matches")
    return view


def _controls(found: PairOrders, *, judging: bool) -> tuple[PairSample, bool]:
    """Draw which pairs are judged, and whether again. All is in the URL, so that a link draws the same sample."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="judge-controls"):
        about = "\n".join(f"- {name}: {ABOUT[draw]}" for name, draw in ORDERS.items())
        order = st.selectbox("Order", list(ORDERS), key="order", bind="query-params", width=190, help=about)
        draw = ORDERS.get(order or "", "random")
        count = st.number_input("Pairs", 1, MOST, COUNT, 50, key="pairs", bind="query-params", width=120)
        seed, near = SEED, 0.5
        if draw == "random":
            about = "Another number draws other pairs. People who use the same number judge the same pairs."
            seed = st.number_input("Seed", 0, 10**6, SEED, key="draw", bind="query-params", width=120, help=about)
        elif draw == "near":
            middle = round(float(found.similarity[found.by["similarity"][len(found.keys) // 2]]), 2)
            near = st.number_input(
                "Similarity", -1.0, 1.0, middle, 0.01, "%.3f", key="around", bind="query-params", width=130
            )
        category = None
        if found.names:
            about = "Only pairs whose query RoI matches an annotated object of this class (IoU ≥ 0.5)."
            category = st.selectbox(
                "Query category",
                found.names,
                None,
                placeholder="any",
                key="class",
                bind="query-params",
                width=150,
                help=about,
            )
        again = False
        if judging:
            about = "Show pairs that you have judged too. By default they are passed over."
            again = st.toggle("Show judged pairs", key="again", bind="query-params", help=about)
    return PairSample(draw, int(count or COUNT), int(seed), float(near), category or None), bool(again)


def _judge(place: Place, mined: CorrespondenceSet, sample: PairSample, keys: np.ndarray, again: bool) -> None:
    """Draw the view. Keys rerun only this fragment."""
    if set_by_id(place.workspace.store, mined.id) is None:
        st.rerun()  # the set was deleted: update the pickers
    named = f"{mined.id}-{sample}-{author()}"
    if st.session_state.get("judging") != named:
        st.session_state["judging"], st.session_state["judging_at"] = named, None
    verdicts = own_verdicts(place, mined, keys)
    first = next((at for at, letter in enumerate(verdicts) if again or letter == "."), 0)
    at = st.session_state["judging_at"]
    at = first if at is None else min(at, len(keys) - 1)
    payload: JudgePayload = {
        "sample": named,
        "verdicts": verdicts,
        "start": first,
        "pairs": _pairs(place, mined, keys, places_around(verdicts, at, again)),
        "again": again,
        "can_judge": not shell.read_only(),
        "answered": st.session_state.get("verdicts_answered", 0),
    }
    judge_view(payload, key="judge", on_mark=_on_mark, on_look=_on_look)


def own_verdicts(place: Place, mined: CorrespondenceSet, keys: np.ndarray) -> str:
    """Return this person's verdicts on the pairs of a sample, a letter for each."""
    store = place.workspace.store
    rois = _rois_of(store, mined.id, keys.tobytes())
    said = verdicts_on(store, rois, author())
    return "".join(LETTERS[said.get(pair)] for pair in rois)


@lru_cache(maxsize=32)
def _rois_of(store: Store, set_id: int, keys: bytes) -> list[tuple[int, int]]:
    """Return the RoIs of pairs of a complete set, which do not change. keys: int64 [n], as bytes."""
    pairs = matches_at(store, set_id, np.frombuffer(keys, np.int64))
    return [(pair.query_roi_id, pair.key_roi_id) for pair in pairs]


def places_around(verdicts: str, at: int, again: bool) -> list[int]:
    """Return the places that the browser may show next: those around ``at``, and the next ones to be judged."""
    near = [p for p in range(at - BEHIND, at + BEHIND + 1) if 0 <= p < len(verdicts)]
    onwards = (*range(at + 1, len(verdicts)), *range(at))
    return sorted({*near, *[p for p in onwards if again or verdicts[p] == "."][:AHEAD]})


def _pairs(place: Place, mined: CorrespondenceSet, keys: np.ndarray, places: list[int]) -> list[PairToJudge]:
    store = place.workspace.store
    pairs = matches_at(store, mined.id, keys[places])
    lost = states_now(store, {image.id for pair in pairs for image in (pair.query, pair.neighbor)})
    return [
        {
            "at": at,
            "id": name_of(mined.id, pair.key),
            "query": _side(pair.query, pair.query_box, lost.get(pair.query.id)),
            "key": _side(pair.neighbor, pair.key_box, lost.get(pair.neighbor.id)),
        }
        for at, pair in zip(places, pairs, strict=True)
    ]


def _side(image: Image, box: tuple[int, int, int, int], lost: StateNow | None) -> JudgedSide:
    urls = picture_urls()
    return {
        **picture(image, urls),
        "box": list(box),
        "crop": urls.crop(image.id, box),
        "lost": lost.state if lost else "",
    }


# Callbacks ---------------------------------------------------------------------------------------------


def _on_look() -> None:
    _go_to((st.session_state["judge"].look or {}).get("at"))


def _go_to(at: object) -> None:
    if isinstance(at, int) and at >= 0:
        st.session_state["judging_at"] = at


def _on_mark() -> None:
    said = st.session_state["judge"].mark
    if isinstance(said, dict) and not shell.read_only():
        keep_verdicts(said.get("verdicts"))
        _go_to(said.get("at"))
        if isinstance(said.get("n"), int):
            st.session_state["verdicts_answered"] = said["n"]


def keep_verdicts(verdicts: object) -> None:
    """Store verdicts on pairs by name, of whatever set and sample was on screen. Invalid ones are ignored."""
    judged = verdicts if isinstance(verdicts, dict) else {}
    store, who = shell.workspace().store, author()
    for name, pair in named_pairs(judged).items():
        verdict = judged[name]
        if verdict in LETTERS:
            judge_pair(store, pair.query_roi_id, pair.key_roi_id, verdict, who)
