"""What a newcomer sees first: the three stages of a dataset, and the words of the explorer."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer.glossary import TERMS
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.guide.steps import GuideStep, guide
from orl_explorer.app.pages.shell import Place
from orl_explorer.db.encoders import encoders

KEY = "guide"
# Pages in the links of the steps, with what their addresses hold. Names that are no page are views of Train.
PAGES: dict[str, dict[str, str]] = {
    "matches": {},
    "tune": {},
    "pretrain": {"view": "launch", "stage": "1"},
    "train": {"view": "launch", "stage": "3"},
    "results": {"view": "results"},
}


def guided_start(place: Place) -> None:
    """Draw the three stages of a dataset, unless a person has dismissed them."""
    if shell.has_page("train"):  # to which it leads
        guide(steps(place), key=KEY, on_open=_opened)


def steps(place: Place) -> list[GuideStep]:
    """Return the three stages of a dataset. The first that is not done is the next."""
    known = encoders(place.workspace.store)
    trained = [row for row in known if row.kind == "stage3"]
    without_labels = [row for row in known if row.kind == "stage1"]
    may = not shell.read_only()
    one: GuideStep = {
        "title": "1 · Pre-train on whole photos",
        "said": "An encoder learns from your photos without labels. To look around first, the starter takes its place: "
        "a small encoder that was trained with labels.",
        "state": "done" if known else "next",
        "links": [{"text": "Train without labels", "page": "pretrain"}] if may and not without_labels else [],
    }
    two: GuideStep = {
        "title": "2 · Mine matching regions",
        "said": "Regions of each photo are compared with those of similar photos. The most similar ones make pairs: "
        "see them, and change the thresholds until they join the same objects.",
        "state": "done" if place.mined else "next" if known else "later",
        "links": [{"text": "See the matches", "page": "matches"}, {"text": "Change a threshold", "page": "tune"}]
        if place.mined
        else [],
    }
    three: GuideStep = {
        "title": "3 · Train on the pairs",
        "said": "The encoder learns that the two regions of a pair show the same kind of object. Watch it, then "
        "measure whether it has helped.",
        "state": "done" if trained else "next" if place.mined else "later",
        "links": [{"text": "Train on this set", "page": "train"}] if may and place.mined and not trained else [],
    }
    if trained:
        three["links"] = [{"text": "See results", "page": "results"}]
    return [one, two, three]


def _opened() -> None:
    """Callback: open the page that a press asks for. Dataset and set stay selected."""
    press = st.session_state.get(KEY)  # None if the press came while the page was being drawn
    asked = press.open.get("page") if press is not None and isinstance(press.open, dict) else None
    if asked in PAGES:
        shell.open_page(asked if shell.has_page(asked) else "train", **PAGES[asked])


def glossary_button() -> None:
    """Draw the button that explains the words of the explorer."""
    if st.button("What do the words mean?", icon=":material/menu_book:", type="tertiary", key="glossary"):
        _glossary()


@st.dialog("Words", width="large")
def _glossary() -> None:
    st.markdown("\n".join(f"- **{term}** — {text}" for term, text in TERMS.items()))
