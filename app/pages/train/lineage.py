"""Lineage: the graph encoder → set → run → encoder, with the sources and results of one node highlighted."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer.graph import layered, related
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.pages.train import afterwards
from orl_explorer.app.pages.train.graph import Node, lineage_view
from orl_explorer.db.encoders import encoders
from orl_explorer.db.models import CorrespondenceSet, Encoder, Run
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.runs.runs import runs
from orl_explorer.db.sets.read import set_by_id, sets
from orl_explorer.train.jobs import kinds
from orl_explorer.train.words import plural

MANY = 40  # nodes; if there are more, only the sources and results of the focus are shown
_Key = tuple[str, int]  # kind (encoder, set or run) and id
KINDS = ("encoder", "set", "run")


def panel(place: Place) -> None:
    """Draw the graph. A click opens a run here or a set on the Explore page, or focuses an encoder."""
    opened = place.workspace
    known, every, mined = encoders(opened.store), runs(opened.store), sets(opened.store, complete_only=False)
    if not known and not every:
        st.info("No encoders or runs yet. Add an encoder, or train one.", icon=":material/account_tree:")
        afterwards.launch_button()
        return
    nodes = nodes_of(known, every, mined)
    edges = edges_of(known, every, mined)
    focus = _focus(nodes)
    near = related(focus, edges)
    crowded = len(nodes) > MANY
    everything = st.toggle(f"Show all {len(nodes)}", key="whole", bind="query-params") if crowded else True
    shown = [key for key in nodes if everything or key in near]
    st.caption(
        f"Highlighted: sources and results of **{shell.escape(nodes[focus]['title'])}**. Click a run or a set to open "
        "it, or an encoder to highlight its sources and results."
    )
    spots = layered(shown, edges)
    lineage_view(
        [
            {
                **nodes[key],
                "layer": spots[key].layer,
                "row": spots[key].row,
                "lit": key in near,
                "focus": key == focus,
            }
            for key in shown
        ],
        [(_name(a), _name(b)) for a, b in edges if a in spots and b in spots],
        key="lineage",
        on_open=_opened,
        saved_as={
            "name": f"lineage-{_name(focus)}",
            "caption": [f"Highlighted: sources and results of {nodes[focus]['title']}. Broken outlines: not done."],
            "place": {"view": "lineage", "node": _name(focus)},
        },
    )
    chosen = next((row for row in known if ("encoder", row.id) == focus), None)
    if chosen is not None and place.dataset is not None:
        with st.container(border=True):
            source = f" · {shell.escape(chosen.source)}" if chosen.source else ""
            st.markdown(
                f"**{shell.escape(shell.encoder_label(chosen))}**{source} · {chosen.created_at:%Y-%m-%d %H:%M} UTC"
            )
            afterwards.with_encoder(opened, chosen, place.dataset.name)


def edges_of(known: list[Encoder], every: list[Run], mined: list[CorrespondenceSet]) -> list[tuple[_Key, _Key]]:
    """Return the edges from sources to results: through the run if it is stored."""
    there = {run.id for run in every}
    by_name = {encoder.name: encoder.id for encoder in known}
    edges: list[tuple[_Key, _Key]] = []
    for made in mined:
        if made.run_id in there:
            edges.append((("run", made.run_id), ("set", made.id)))
        else:
            edges.append((("encoder", made.encoder_id), ("set", made.id)))
    for run in every:
        if run.encoder_id is not None:
            edges.append((("encoder", run.encoder_id), ("run", run.id)))
        if run.correspondence_set_id is not None:
            edges.append((("set", run.correspondence_set_id), ("run", run.id)))
        started_from = by_name.get(run.params.get("config", {}).get("start_from", ""))
        if started_from is not None:
            edges.append((("encoder", started_from), ("run", run.id)))
    edges += [(("run", e.run_id), ("encoder", e.id)) for e in known if e.run_id in there]
    return edges


def nodes_of(known: list[Encoder], every: list[Run], mined: list[CorrespondenceSet]) -> dict[_Key, Node]:
    """Return all nodes with their labels, oldest first."""
    nodes: dict[_Key, Node] = {}
    for encoder in known:
        words = shell.encoder_label(encoder).removeprefix(encoder.name).strip(" ()").split(", ")
        facts = ", ".join(reversed(words))  # a narrow box cuts off the architecture, not "supervised"
        nodes["encoder", encoder.id] = _node("encoder", encoder.id, encoder.name, facts)
    for made in mined:
        pairs = plural(made.pair_count, "pair") if made.status == "complete" else made.status
        nodes["set", made.id] = _node("set", made.id, made.name, pairs)
    for run in reversed(every):
        facts = f"{kinds.run_described(run)}, {run.status}"
        nodes["run", run.id] = _node("run", run.id, f"{run.id} · {run.name}", facts, ended_well=run.status == "done")
    return nodes


def _node(kind: str, number: int, title: str, facts: str, ended_well: bool = True) -> Node:
    return {"name": _name((kind, number)), "kind": kind, "title": title, "facts": facts, "solid": ended_well}


def _name(key: _Key) -> str:
    return f"{key[0]}-{key[1]}"


def _focus(nodes: dict[_Key, Node]) -> _Key:
    """Return the node or run in the URL, else the newest run, else the newest node."""
    names = {_name(key): key for key in nodes}
    for asked in (st.query_params.get("node", ""), f"run-{st.query_params.get('run', '')}"):
        if asked in names:
            return names[asked]
    return max((key for key in nodes if key[0] == "run"), default=next(reversed(nodes)))


def _opened() -> None:
    """Callback: handle a click on a node."""
    click = st.session_state.get("lineage")  # None if the click came while the page was being drawn
    if click is None or not isinstance(click.open, dict):
        return
    kind, _, number = str(click.open.get("name", "")).partition("-")
    if kind not in KINDS or shell.as_id(number) is None:
        return
    if kind == "run":
        st.query_params["run"] = number
        for gone in ("view", "node"):
            st.query_params.pop(gone, None)
    elif kind == "set":
        opened = shell.workspace()
        made = set_by_id(opened.store, int(number))
        if made is not None and made.status == "complete":
            afterwards.go_with_set("explore", dataset_by_id(opened.store, made.dataset_id).name, made.name)
    else:
        st.query_params["node"] = f"{kind}-{number}"
