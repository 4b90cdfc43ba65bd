"""The note and the tags of a run: shown to all, and changed by those who may."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.pages import shell
from orl_explorer.db.models import Run
from orl_explorer.db.people.notes import LONGEST_NOTE, note_run, tag_run
from orl_explorer.db.runs.runs import runs
from orl_explorer.train.workspace import Workspace


def shown_notes(run: Run) -> None:
    """Draw what people say of a run."""
    badges = " ".join(f":gray-badge[{shell.escape(tag)}]" for tag in run.tags)
    if badges or run.note:
        # Line by line, without tabs, which it would make visible. Indented lines would be code.
        lines = (shell.escape(line.strip()) for line in run.note.expandtabs().splitlines())
        st.markdown("  \n".join(filter(None, (badges, *lines))))


def notes_input(opened: Workspace, run: Run) -> None:
    """Draw a button that opens the inputs of the note and the tags."""
    with st.popover("Note and tags", icon=":material/edit_note:", type="tertiary"):
        note, tags = f"note-{run.id}", f"tags-{run.id}"
        shell.set_widget(note, run.note)
        shell.set_widget(tags, run.tags)
        known = sorted({tag for each in runs(opened.store) for tag in each.tags})
        ours = (opened, run.id)
        st.text_area("Note", key=note, max_chars=LONGEST_NOTE, on_change=_keep_note, args=ours)
        st.multiselect("Tags", known, key=tags, accept_new_options=True, on_change=_keep_tags, args=ours)


def _keep_note(opened: Workspace, run_id: int) -> None:
    shell.attempt(note_run, opened.store, run_id, st.session_state[f"note-{run_id}"])


def _keep_tags(opened: Workspace, run_id: int) -> None:
    shell.attempt(tag_run, opened.store, run_id, st.session_state[f"tags-{run_id}"])
