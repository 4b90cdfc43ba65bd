"""Shared by all pages: the pickers, the run badge, and descriptions of sets, encoders and runs."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from orl_explorer.app.components.notify import bell
from orl_explorer.app.explorer.opened import read_only as read_only
from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.markup import code as code
from orl_explorer.app.markup import escape as escape
from orl_explorer.db.encoders import VECTORS, encoder_by_id, encoders
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Run
from orl_explorer.db.photos import datasets, photo_roots
from orl_explorer.db.runs.runs import LIVE, find_run, runs
from orl_explorer.db.sets.read import sets
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import refuse_missing_root
from orl_explorer.train.training.adapt_config import ADAPTED
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

SUPERVISED = "supervised"
TOLD = 20  # ended runs that the bell of a session may not have told of yet


@dataclass(frozen=True)
class Place:
    """The workspace, and the selected dataset and correspondence set.

    lost: why folders of the dataset's photos cannot be read, by the id of the dataset that they belong to.
    """

    workspace: Workspace
    dataset: Dataset | None
    mined: CorrespondenceSet | None
    lost: Mapping[int, str] = field(default_factory=dict, compare=False)


def lasting(place: Place, **more: str | list[str]) -> dict[str, str | list[str]]:
    """Return the URL parameters of a permanent link: the dataset, the set, and ``more``."""
    named = {"data": place.dataset.name if place.dataset else "", "set": place.mined.name if place.mined else ""}
    return named | more


def with_filters(order: str, filters: Mapping[str, object]) -> str:
    """Describe an order and its filters for a caption. A filter that is None or empty is not active."""
    return "; ".join([order, *(f"{name} {value}" for name, value in filters.items() if value not in (None, ""))])


def open_page(name: str, **query: str) -> None:
    """Open a page. ``app.pages.main`` stores the pages of a session by name."""
    st.switch_page(st.session_state["pages"][name], query_params=query)


def open_comparison(first: str, second: str) -> None:
    """Open the page *Compare* with two sets, whatever it compared before."""
    for picked in ("a", "b"):
        st.session_state.pop(picked, None)
    open_page("compare", a=first, b=second)


def has_page(name: str) -> bool:
    """Return whether the explorer has a page of this name."""
    return name in st.session_state.get("pages", {})


def put_in_url(**values: str) -> None:
    """Set URL parameters in one step of the browser's history; "" stands for a removed parameter.

    Streamlit removes parameters only one at a time, each in a step of its own.
    """
    st.session_state.setdefault("in_url", {}).update(values)
    changed = {name: value for name, value in values.items() if st.query_params.get(name, "") != value}
    if changed:
        st.query_params.update(changed)


def as_id(text: str) -> int | None:
    """Return the id that a text of the URL or of a page's script is; None for any other text."""
    return int(text) if text.isdecimal() and len(text) < 12 else None


def drop_from_url(*names: str) -> None:
    """Remove URL parameters, each in a step of its own of the browser's history."""
    st.session_state.setdefault("in_url", {}).update(dict.fromkeys(names, ""))
    for name in names:
        st.query_params.pop(name, None)


def bring_url_up_to_date(names: Iterable[str]) -> None:
    """Put back what ``put_in_url`` wrote and the browser's URL does not hold yet, because the network is slow.

    On the page that is open, only the browser's Back and Forward change the URL without the server. Then the URL holds.
    """
    written = st.session_state.get("in_url", {})
    if went_back():
        st.session_state["in_url"] = {}
    else:
        put_in_url(**{name: written[name] for name in names if name in written})


def went_back() -> bool:
    """Return whether this run of the script comes from the browser's Back or Forward."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def forget_url_of_another_page() -> None:
    """Forget what was written to the URL if another page was opened since."""
    context = get_script_run_ctx()
    opened = context.page_script_hash if context else ""
    if st.session_state.get("page_of_url") != opened:
        st.session_state["page_of_url"], st.session_state["in_url"] = opened, {}


def set_widget(key: str, value: object) -> None:
    """Set the value of a widget that is not drawn yet, if it has another value.

    A needless assignment would overwrite what a person has entered in the meantime.
    """
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value


def pick(on_set: Callable[[], None] | None = None) -> Place:
    """Draw the pickers in the sidebar and return the selection. The URL holds it; the default is the newest set.

    on_set: callback for when a person selects another set.
    """
    opened = workspace()
    found = {d.name: d for d in datasets(opened.store)}
    if not found:
        return Place(opened, None, None)
    if (added := st.session_state.pop("added", None)) in found:
        pick_dataset(added)
    every = sets(opened.store)
    _follow_set(found.values(), every)
    first = next((at for at, d in enumerate(found.values()) if every and d.id == every[0].dataset_id), 0)
    with st.sidebar:
        hold("data", list(found)[first], found)
        name = st.selectbox("Dataset", list(found), index=first, key="data", bind="query-params")
        dataset = found.get(name) or list(found.values())[first]
        lost = _lost_folders(opened, dataset, {d.id: d.name for d in found.values()})
        if lost:
            st.caption(":red[:material/folder_off: The folder of this dataset is not there. See *Explore*.]")
        mined = {s.name: s for s in every if s.dataset_id == dataset.id}
        _follow_change(every)
        if not mined:
            _state_line(opened, dataset, 0)
            return Place(opened, dataset, None, lost)
        hold("set", next(iter(mined)), mined)
        chosen = st.selectbox("Correspondence set", list(mined), key="set", bind="query-params", on_change=on_set)
        picked = mined.get(chosen) or next(iter(mined.values()))
        st.session_state["picked_set"] = picked.id, picked.name
        fresh = st.session_state.get("regenerated")
        if fresh in mined and fresh != picked.name:
            st.button(f"Show the new set {escape(fresh)}", on_click=_show_set, args=(fresh,), type="primary")
        st.caption(escape(describe_set(opened, picked)))
        _state_line(opened, dataset, len(mined))
    return Place(opened, dataset, picked, lost)


def hold(key: str, usual: str, options: Container[str]) -> None:
    """Send a picker's selection to the browser again if its default has changed.

    A page that is still loading when a new set becomes the default shows the default, whatever is selected. A selection
    that is not among the options any more gives way to the default.
    """
    if st.session_state.get(f"usual-{key}", usual) != usual and st.session_state.get(key) in options:
        st.session_state[key] = st.session_state[key]
    st.session_state[f"usual-{key}"] = usual


def _state_line(opened: Workspace, dataset: Dataset, count: int) -> None:
    """Say how far the work on a dataset has come, and offer the next step."""
    trained = sum(row.kind in ("stage1", "stage3", ADAPTED) for row in encoders(opened.store))
    said = (plural(dataset.image_count, "photo"), plural(count, "set") if count else "no set")
    st.caption(" · ".join((*said, plural(trained, "trained encoder") if trained else "no trained encoder")))
    if read_only() or (count and trained) or not has_page("train"):
        return
    label, page, more = ("Train one", "train", {"view": "launch"}) if count else ("Mine a set", "explore", {})
    if st.button(label, type="tertiary", icon=":material/arrow_forward:", key="next-step"):
        open_page(page, **more)


def _lost_folders(opened: Workspace, dataset: Dataset, names: Mapping[int, str]) -> dict[int, str]:
    found = {}
    for dataset_id, root in photo_roots(opened.store, dataset.id).items():
        try:
            refuse_missing_root(names[dataset_id], Path(root))
        except UserError as problem:
            found[dataset_id] = str(problem)
    return found


def _follow_set(found: Iterable[Dataset], every: list[CorrespondenceSet]) -> None:
    """Select the dataset of the set that a link names without its dataset."""
    if "data" in st.query_params or "data" in st.session_state:
        return
    homes = {s.dataset_id for s in every if s.name == st.query_params.get("set")}
    for dataset in found:
        if dataset.id in homes:
            st.session_state["data"] = dataset.name


def _follow_change(every: list[CorrespondenceSet]) -> None:
    """Follow the selected set if it was renamed elsewhere, and say so if it was deleted."""
    set_id, name = st.session_state.get("picked_set", (None, ""))
    if set_id is None or st.session_state.get("set", name) != name:
        return
    now = {s.id: s.name for s in every}
    if set_id in now and now[set_id] != name:
        st.session_state["set"] = now[set_id]
    elif set_id not in now:
        del st.session_state["picked_set"]
        st.toast(f"The set {escape(name)} was deleted.", icon=":material/delete:", duration="long")


def pick_dataset(name: str) -> None:
    """Callback: select another dataset and its newest set."""
    store = workspace().store
    ids = {dataset.name: dataset.id for dataset in datasets(store)}
    newest = next((s.name for s in sets(store) if s.dataset_id == ids.get(name)), None)
    st.session_state["data"] = name
    if newest is not None:
        st.session_state["set"] = newest  # the picker's; Streamlit refuses to change the URL of a widget
    else:
        st.session_state.pop("set", None)


def _show_set(name: str) -> None:
    st.session_state["set"] = name
    st.session_state.pop("regenerated", None)


def describe_set(opened: Workspace, mined: CorrespondenceSet) -> str:
    """Return one line about a set: its size and its encoder."""
    by = label_of(opened, mined.encoder_id)
    pairs, rois = plural(mined.pair_count, "pair"), plural(mined.candidate_count, "RoI")
    return f"{pairs} of {rois} in {plural(mined.image_count, 'photo')}, by {by}"


def label_of(opened: Workspace, encoder_id: int) -> str:
    """Return the label of an encoder, also of one that was removed from the store by hand."""
    try:
        return encoder_label(encoder_by_id(opened.store, encoder_id))
    except StoreError:
        return "a deleted encoder"


def encoder_label(row: Encoder) -> str:
    """Return an encoder's name with its architecture, its stage, and whether it was trained with labels."""
    kinds = {"stage1": "stage 1", "stage3": "stage 3", "starter": "starter", "imported": "imported"}
    facts = ["imported vectors"] if row.kind == VECTORS else [row.architecture, kinds.get(row.kind, row.kind)]
    if row.supervised:
        facts.append(SUPERVISED)
    elif row.learned_from in ("text", "unknown"):
        facts.append("trained with text" if row.learned_from == "text" else "training unknown")
    facts = [f for f in facts if f != row.name]
    return f"{row.name} ({', '.join(facts)})"


@st.fragment(run_every=3)
def run_badge() -> None:
    """Draw the live runs in the sidebar, and the bell that tells when one has ended."""
    store = workspace().store
    live = runs(store, LIVE)
    for run in live[:3]:
        st.progress(share_done(run), text=f"{escape(run.name)}: {run.phase or 'waiting'}")
    if len(live) > 3:
        st.caption(f"… and {len(live) - 3} more runs")
    ended = sorted(set(st.session_state.get("live_runs", ())) - {r.id for r in live})
    st.session_state["live_runs"] = [r.id for r in live]
    told = st.session_state.setdefault("ended_runs", [])
    for run_id in ended:
        if (over := find_run(store, run_id)) is not None:
            told.append({"id": over.id, "said": f"Run {over.id}, {over.name}: {over.status}"})
    bell(len(live), told[-TOLD:], key="bell")
    if ended:
        st.rerun()  # its set or encoder can be selected now


def show_run(run: Run) -> None:
    """On the Train page, show a run that was just started."""
    st.query_params.pop("view", None)
    st.query_params["run"] = str(run.id)
    st.rerun()


def attempt(action: Callable[..., object], *given: object) -> None:
    """Callback: perform an action and show an error as a toast."""
    succeeds(action, *given)


def succeeds(action: Callable[..., object], *given: object) -> bool:
    """Perform an action, show an error as a toast, and return whether the action succeeded."""
    try:
        action(*given)
    except (UserError, StoreError) as mistake:
        st.toast(escape(str(mistake)), icon=":material/error:", duration="long")
        return False
    return True


def share_done(run: Run) -> float:
    """Return the share of its current phase that a run has completed, in [0, 1]."""
    return min(1.0, run.progress / run.total) if run.total else 0.0


def status_line(run: Run) -> str:
    """Return a run's state as a coloured Markdown badge."""
    colours = {
        "done": "green",
        "running": "blue",
        "queued": "gray",
        "stopping": "orange",
        "failed": "red",
        "crashed": "red",
        "cancelled": "orange",
    }
    return f":{colours.get(run.status, 'gray')}-badge[{run.status}]"
