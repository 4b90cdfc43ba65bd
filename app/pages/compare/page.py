"""The page Compare: two correspondence sets of one dataset, on one query and over all photos."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.compare import whole
from orl_explorer.app.pages.compare.component import pair_compare
from orl_explorer.app.pages.compare.payload import ComparedQuery, payload
from orl_explorer.app.pages.explore.order import current_order, first_photo
from orl_explorer.app.pages.lost import tell_lost
from orl_explorer.app.pages.shell import Place
from orl_explorer.db.gallery.order import step
from orl_explorer.db.models import CorrespondenceSet, Dataset, Image
from orl_explorer.db.photos import image_by_id, photo_roots
from orl_explorer.db.sets.comparison import Comparison, TwoSets, kept_comparison, least_alike, step_alike
from orl_explorer.db.sets.read import neighbors_of, pair_rows, sets
from orl_explorer.db.store import StoreError
from orl_explorer.train.mining.compared import compare_sets, neighbor_differences, pair_differences
from orl_explorer.train.words import plural

AT_ONCE = 5_000  # photos that are compared without a click; takes seconds
# IoU in per cent from which two boxes count as the same, by its name in the URL.
SAME: dict[str | None, int] = {"0.3": 30, "0.5": 50, "0.7": 70, "0.9": 90, "equal": 100}


@dataclass(frozen=True)
class Two:
    """The two sets to compare. percent: the IoU from which two boxes count as the same."""

    place: Place
    dataset: Dataset
    first: CorrespondenceSet
    second: CorrespondenceSet
    percent: int

    @property
    def compared(self) -> TwoSets:
        """What is looked up in the store."""
        return TwoSets(self.first.id, self.second.id, self.percent)


@dataclass(frozen=True)
class ComparedOnScreen:
    """The sets and the query on screen, for the callbacks."""

    two: Two
    image_id: int


def page() -> None:
    """Draw the page."""
    place = shell.pick(on_set=_pick_anew)
    if place.dataset is None:
        start.empty_workspace(place)
        return
    st.title("Compare two sets", anchor=False)
    found = [s for s in sets(place.workspace.store) if s.dataset_id == place.dataset.id]
    if len(found) < 2:
        _too_few(place, place.dataset, found)
        return
    first, second, percent = _pick_two(found, place.mined)
    if first.id == second.id:
        st.info("A and B are the same set. Choose another set for A or B.", icon=":material/info:")
        return
    two = Two(place, place.dataset, first, second, percent)
    _encoders(two, found)
    try:
        comparison = _comparison(two)
    except StoreError as problem:
        st.error(shell.escape(str(problem)), icon=":material/error:")
        return
    _query(two)
    if comparison is not None:
        whole.draw_whole(place, first, second, comparison, two.compared)


def _too_few(place: Place, dataset: Dataset, found: list[CorrespondenceSet]) -> None:
    if not found:
        start.unmined(place, dataset)
        return
    st.info(
        f"This dataset has only one set, {shell.escape(found[0].name)}. To compare, mine a second set with other "
        "settings or another encoder.",
        icon=":material/difference:",
    )
    if shell.read_only():
        return
    with st.container(horizontal=True):
        st.button("Change settings", icon=":material/tune:", on_click=shell.open_page, args=(_tuning(),))
        st.button("Choose another encoder", icon=":material/search:", on_click=shell.open_page, args=("explore",))


def _tuning() -> str:
    """Return the page with the sliders for another mining run."""
    return "tune" if "tune" in st.session_state.get("pages", {}) else "pair"


def _pick_two(
    found: list[CorrespondenceSet], picked: CorrespondenceSet | None
) -> tuple[CorrespondenceSet, CorrespondenceSet, int]:
    """Draw pickers of both sets, and of the IoU in per cent from which boxes count as the same.

    Default: the set of the sidebar and its ``_counterpart``; A is the older one.
    """
    names = [s.name for s in found]
    by_name = dict(zip(names, found, strict=True))
    own = next((s for s in found if picked and s.id == picked.id), found[0])
    older, newer = sorted((own, _counterpart(found, own)), key=lambda s: s.id)
    if st.session_state.pop("pick_two_anew", False):
        st.session_state["a"], st.session_state["b"] = older.name, newer.name
    shell.hold("a", older.name, names)
    shell.hold("b", newer.name, names)
    left, right, overlap, middle = st.columns([4, 4, 2, 1.4], vertical_alignment="bottom")
    a = left.selectbox("A", names, index=names.index(older.name), key="a", bind="query-params")
    b = right.selectbox("B", names, index=names.index(newer.name), key="b", bind="query-params")
    least = overlap.selectbox(
        "Same box from IoU",
        list(SAME),
        index=1,
        key="iou",
        bind="query-params",
        help="Two sets with other settings share hardly a box to the pixel. A pair of the same two photos is in both "
        "sets if its query RoIs and its neighbour RoIs overlap this much. Neighbours do not depend on it.",
    )
    middle.button("Swap", icon=":material/swap_horiz:", on_click=_swap, width="stretch")
    return by_name.get(a, older), by_name.get(b, newer), SAME.get(least, 50)


def _link(two: Two, image: Image) -> dict[str, str]:
    """Return the URL parameters of a permanent link. Both sets are found in the list of their dataset."""
    least = next(str(label) for label, percent in SAME.items() if percent == two.percent)
    return {"data": two.dataset.name, "a": two.first.name, "b": two.second.name, "iou": least, "q": str(image.id)}


def _counterpart(found: list[CorrespondenceSet], own: CorrespondenceSet) -> CorrespondenceSet:
    """Return the default set to compare with: the newest other set, preferably by the same encoder."""
    others = [s for s in found if s.id != own.id]
    return next((s for s in others if s.encoder_id == own.encoder_id), others[0])


def _pick_anew() -> None:
    """Callback: compare the set that was selected in the sidebar."""
    st.session_state["pick_two_anew"] = True


def _swap() -> None:
    st.session_state["a"], st.session_state["b"] = st.session_state["b"], st.session_state["a"]


def _encoders(two: Two, found: list[CorrespondenceSet]) -> None:
    ids = [mined.encoder_id for mined in (two.first, two.second)]
    labels = [shell.escape(shell.label_of(two.place.workspace, encoder_id)) for encoder_id in ids]
    if labels[0] != labels[1]:
        st.caption(f"Two encoders: A by {labels[0]}, B by {labels[1]}.")
        return
    others = len({s.encoder_id for s in found}) > 1
    how = "choose a set mined with another one" if others else "mine a set with another one (Explore, *Mine …*)"
    st.caption(f"Both sets were mined with {labels[0]}. To compare encoders, {how}.")


def _comparison(two: Two) -> Comparison | None:
    """Return the comparison over all photos; None if it takes long and nobody has started it."""
    store = two.place.workspace.store
    kept = kept_comparison(store, two.compared)
    if kept is not None:
        return kept
    if shell.read_only():
        st.caption("This server is read-only. These sets have not been compared on all photos.")
        return None
    many = min(two.first.image_count, two.second.image_count)
    slow = many > AT_ONCE
    if slow and not st.button(
        f"Compare all {plural(many, 'photo')}", icon=":material/difference:", help="Compare once. The result is stored."
    ):
        return None
    bar = st.progress(0.0) if slow else None

    def tell(done: int, of: int) -> None:
        if bar:
            bar.progress(done / of, f"Comparing photos: {done:,} of {of:,}")

    found = compare_sets(store, two.compared, tell)
    if bar:
        bar.empty()
    return found


@st.fragment(key="compared")
def _query(two: Two) -> None:
    """Draw one query photo in both sets. Arrow keys and clicks rerun only this fragment."""
    store, first, second = two.place.workspace.store, two.first, two.second
    image = _query_image(two)
    if image is None:
        return
    neighbors = neighbor_differences(*(neighbors_of(store, s.id, image.id) for s in (first, second)))
    if not neighbors:
        st.info(f"{shell.escape(image.path)} is in neither set.", icon=":material/info:")
        return
    rows, others = (pair_rows(store, s.id, [image.id])[image.id] for s in (first, second))
    pairs = pair_differences(rows, others, two.percent)
    asked = st.query_params.get("nb", "")
    current = next((n for n in neighbors if str(n.image.id) == asked), neighbors[0])
    query = ComparedQuery(two.place.workspace, (first, second), image, neighbors, pairs, current)
    st.session_state["compared_here"] = ComparedOnScreen(two, image.id)
    forward = _step_from(two, image.id, True)
    ahead = image_by_id(store, forward) if forward else None
    tell_lost(store, image, current.image)
    st.markdown(f"**{shell.escape(image.path)}** · {_counts(query)}")
    pair_compare(
        payload(query, st.query_params.get("mark", ""), ahead[0] if ahead else None, _link(two, image)),
        key="compare",
        on_neighbor=_to_neighbor,
        on_step=_to_query,
        on_pick=_on_pick,
    )


def _counts(query: ComparedQuery) -> str:
    """Describe what the two sets share on this photo."""
    near, pairs = query.neighbor_counts, query.overlap
    return (
        f"neighbours: {near['kept']} kept, {near['lost']} lost, {near['new']} new · pairs: {pairs.first_found} of A's "
        f"{pairs.first} are in B, {pairs.second_found} of B's {pairs.second} in A, agreement **{pairs.agreement:.2f}**"
    )


def _query_image(two: Two) -> Image | None:
    """Return the photo in the URL, else the one whose pairs differ most, else the gallery's first."""
    store = two.place.workspace.store
    asked = shell.as_id(st.query_params.get("q", ""))
    if asked is not None:
        found = image_by_id(store, asked)
        if found is None or found[1].id not in photo_roots(store, two.dataset.id):
            st.warning("Photo not found in this dataset.")
            return None
        return found[0]
    least = least_alike(store, two.compared, 1)
    if not least:
        return first_photo(store, replace(current_order(two.place, two.dataset), set_id=two.first.id))
    found = image_by_id(store, least[0].image_id)
    return found[0] if found else None


def _step_from(two: Two, image_id: int, forward: bool) -> int | None:
    """Return the next query in order of difference if the comparison is stored, else in the gallery's order."""
    store = two.place.workspace.store
    if kept_comparison(store, two.compared) is not None:
        return step_alike(store, two.compared, image_id, forward)
    return step(store, current_order(two.place, two.dataset), image_id, forward)


# Callbacks of the component ----------------------------------------------------------------------------


def _to_neighbor() -> None:
    asked = st.session_state["compare"].neighbor
    if isinstance(asked, int):
        shell.put_in_url(nb=str(asked), mark="")


def _to_query() -> None:
    forward = st.session_state["compare"].step
    here: ComparedOnScreen | None = st.session_state.get("compared_here")
    if forward not in (-1, 1) or here is None:
        return
    following = _step_from(here.two, here.image_id, forward == 1)
    if following is None:
        st.toast("This is the last photo." if forward == 1 else "This is the first photo.")
        return
    shell.put_in_url(q=str(following), nb="", mark="")


def _on_pick() -> None:
    picked = (st.session_state["compare"].pick or {}).get("id")
    shell.put_in_url(mark=picked if isinstance(picked, str) else "")
