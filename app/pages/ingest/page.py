"""The report of the last ingest of a dataset: what was taken, and what was left out or changed, by reason."""

from __future__ import annotations

from datetime import datetime
from html import escape as html
from typing import Any

import streamlit as st

from orl_explorer.app.explorer.reported import Reason, named_findings, reasons
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.downloads import findings_url
from orl_explorer.db.findings import Finding
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import datasets, photo_roots
from orl_explorer.train.words import plural

PER_PAGE = 10  # names of a reason


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    dataset = place.dataset
    found = reasons(place.workspace.store, dataset)
    _heading(dataset, bool(found))
    _counts(dataset)
    if dataset.layout == "union":
        _parts(place, dataset)
    elif dataset.last_ingest is None:
        st.info(
            "No report was kept of this dataset's last ingest. Add its folder again to get one.", icon=":material/info:"
        )
    if found:
        st.subheader("Left out or changed", anchor=False)
    elif dataset.last_ingest is not None:
        st.success("Everything in this folder was taken.", icon=":material/check_circle:")
    for reason in found:
        with st.container(border=True, key=f"reason-{reason.kind}"):
            _reason(place, dataset, reason)


def _heading(dataset: Dataset, any_found: bool) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(f"Ingest of {shell.escape(dataset.name)}", anchor=False)
    with right.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Photos", icon=":material/photo_library:", disabled=not shell.has_page("explore")):
            shell.open_page("explore")
        if any_found:
            st.link_button(
                "Download CSV",
                findings_url(dataset.id),
                icon=":material/download:",
                help="All findings: name, kind, count and detail.",
            )
    facts = [shell.escape(dataset.root), f"layout {dataset.layout}"]
    if when := _when(dataset.last_ingest):
        facts.append(f"last ingest {when}")
    st.caption(" · ".join(facts))


def _when(last: dict[str, Any] | None) -> str | None:
    try:
        return f"{datetime.fromisoformat(str((last or {})['at'])):%Y-%m-%d %H:%M} UTC"
    except (KeyError, ValueError):
        return None


def _counts(dataset: Dataset) -> None:
    last = dataset.last_ingest or {}
    with st.container(horizontal=True, gap="medium", key="ingest-counts"):
        st.metric("Photos", f"{dataset.image_count:,}", help="Readable photos of the dataset.", width="content")
        st.metric("Annotated objects", f"{dataset.annotation_count:,}", width="content")
        for label, about in (
            ("new", "Files that the dataset did not have before."),
            ("changed", "Files that have changed since they were ingested before."),
            ("unchanged", "Files that are as they were when they were ingested before."),
        ):
            if isinstance(count := last.get(label), int):
                st.metric(f"Files {label}", f"{count:,}", help=about, width="content")


def _parts(place: Place, dataset: Dataset) -> None:
    """Say which datasets a union contains, each of which has a report of its own."""
    ids = photo_roots(place.workspace.store, dataset.id)
    parts = [d for d in datasets(place.workspace.store) if d.id in ids]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("This dataset unites others. Show the report of one:", width="content")
        for part in parts:
            st.button(shell.escape(part.name), key=f"part-{part.id}", on_click=shell.pick_dataset, args=(part.name,))


def _reason(place: Place, dataset: Dataset, reason: Reason) -> None:
    """Draw one reason: its count, label and explanation, and its names."""
    st.markdown(f"**{shell.escape(reason.label)}: {_counted(reason)}**  \n{shell.escape(reason.said)}")
    _names(place, dataset, reason)
    if reason.photos and shell.has_page("explore"):
        label = f"Show {reason.photos:,} in the gallery"
        if st.button(label, key=f"show-{reason.kind}", type="tertiary", icon=":material/photo_library:"):
            shell.open_page("explore", found=reason.kind)


@st.fragment
def _names(place: Place, dataset: Dataset, reason: Reason) -> None:
    """Draw the names of a reason, page by page. Turning a page redraws only this part."""
    pages = -(-reason.names // PER_PAGE)
    below = st.container()
    number = st.pagination(pages, key=f"names-{dataset.id}-{reason.kind}") if pages > 1 else 1
    first = (min(max(1, number), pages) - 1) * PER_PAGE
    found = named_findings(place.workspace.store, dataset.id, reason.kind, PER_PAGE, first)
    below.html(names_table(found))
    if pages > 1:
        st.caption(f"{first + 1:,} to {first + len(found):,} of {reason.names:,}")


def names_table(found: list[Finding]) -> str:
    """Return the names, counts and details of findings as HTML."""
    rows = []
    for one in found:
        times = f" <span>× {one.count:,}</span>" if one.count > 1 else ""
        rows.append(f"<tr><td><bdi>{html(one.name)}</bdi>{times}</td><td><bdi>{html(one.detail)}</bdi></td></tr>")
    return f'<table class="findings"><tbody>{"".join(rows)}</tbody></table>'


def _counted(reason: Reason) -> str:
    if reason.names == reason.count:
        return f"{reason.count:,}"
    return f"{reason.count:,} {reason.about}, {plural(reason.names, 'name')}"
