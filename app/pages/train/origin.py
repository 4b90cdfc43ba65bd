"""The origin of a run: the command that repeats it, what it worked on, and where each attempt ran."""

from __future__ import annotations

import shlex
from typing import Any

import pandas as pd
import streamlit as st

from orl_explorer.app.pages.shell import code
from orl_explorer.db.encoders import encoders
from orl_explorer.db.models import Run
from orl_explorer.train.jobs.repeat import command_of
from orl_explorer.train.provenance import Provenance, provenance
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

INPUTS = {"dataset": "Dataset", "encoder": "Encoder", "correspondence_set": "Correspondence set"}
FACTS = {
    "began_at": "began (UTC)",
    "host": "machine",
    "pid": "process",
    "launcher": "started by",
    "device": "device",
    "processes": "processes",
    "threads": "threads",
    "git_revision": "revision",
    "platform": "system",
}


def panel(opened: Workspace, run: Run) -> None:
    """Draw the command, inputs, result and attempts of a run."""
    if words := command_of(run):
        st.caption("The command that starts the same run again")
        st.code(shlex.join(words), language=None, wrap_lines=True)
    kept = provenance(opened.run_folder(run.id))
    if not kept:
        waits = run.started_at is None
        st.caption("The run has not begun." if waits else "An earlier version made this run, which kept no more of it.")
        return
    said = [*_inputs(kept), *_trained_on(kept), *_made(opened, run)]
    st.markdown("\n".join(f"- {line}" for line in said))
    attempts = kept.get("attempts", [])
    st.markdown(f"**{plural(len(attempts), 'attempt')}**")
    table = attempts_table(attempts)
    st.dataframe(table, hide_index=True, height=38 + 35 * len(table), alt=f"Attempts of run {run.id}")


def _inputs(kept: Provenance) -> list[str]:
    lines = []
    for name, about in kept.get("inputs", {}).items():
        facts = [
            f"weights {code(str(value)[:12])} (SHA-256)"
            if key == "weights_sha256"
            else f"{key} {value:,}"
            if isinstance(value, int)
            else f"{key} {code(value)}"
            for key, value in about.items()
            if key != "name"
        ]
        lines.append(f"{INPUTS.get(name, name)} {code(about.get('name', ''))}: {', '.join(facts)}")
    return lines


def _trained_on(kept: Provenance) -> list[str]:
    digest = kept.get("trained_on", {}).get("pairs_sha256")
    return [f"Pairs at the start: {code(digest[:12])} (SHA-256)"] if digest else []


def _made(opened: Workspace, run: Run) -> list[str]:
    return [
        f"Made the encoder {code(row.name)}: weights {code(row.weights_sha256[:12])} (SHA-256)"
        for row in encoders(opened.store)
        if row.run_id == run.id
    ]


def attempts_table(attempts: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a column for each attempt, and a row for each fact and version that is known of any of them."""
    packages = {name for attempt in attempts for name in attempt.get("versions", {})}
    attempts = [attempt | {"began_at": attempt.get("began_at", "").replace("T", " ")} for attempt in attempts]
    facts = [(title, [attempt.get(key) for attempt in attempts]) for key, title in FACTS.items()]
    facts += [(name, [attempt.get("versions", {}).get(name) for attempt in attempts]) for name in sorted(packages)]
    known = [(title, values) for title, values in facts if any(value not in (None, "") for value in values)]
    columns = {"": [title for title, _ in known]}
    for number in range(len(attempts)):
        name = "value" if len(attempts) == 1 else f"attempt {number + 1}"
        columns[name] = ["" if values[number] is None else str(values[number]) for _, values in known]
    return pd.DataFrame(columns)
