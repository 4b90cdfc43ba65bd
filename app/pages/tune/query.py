"""One query under the current settings: its RoIs, and its best pair with each neighbour."""

from __future__ import annotations

from html import escape
from pathlib import PurePosixPath

import numpy as np
import streamlit as st

from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.tuning import Best, BestPair, Tuner, tuner_of
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.boxed import boxed_photo
from orl_explorer.app.pages.forms import as_query
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import Image
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.words import plural

SHOWN = 12  # pairs


def show_query(subject: PreviewSubject, tuner: Tuner, config: MineConfig) -> None:
    """Draw the query in the URL, else the first of the sample."""
    query = _asked(subject, tuner)
    own = query.own
    tried = query.tried(config)
    left, right = st.columns([3, 2], vertical_alignment="center")
    left.subheader("One query", anchor=False)
    with right.container(horizontal=True, horizontal_alignment="right"):
        image_id = int(query.queries[0])
        st.button(
            "Previous", icon=":material/chevron_left:", key="tune-before", on_click=_step, args=(tuner, image_id, -1)
        )
        st.button("Next", icon=":material/chevron_right:", key="tune-next", on_click=_step, args=(tuner, image_id, 1))
        if st.button("Open on the Pair page", icon=":material/compare:", key="tune-open"):
            shell.open_page("pair", q=str(image_id), **as_query(own, config))
    if tried.needs_objectness and subject.encoder.kind == VECTORS:
        st.caption("Not available. See the message above.")
        return
    if not query.proposed(tried) or query.unmapped(tried):
        st.caption("Not available yet. See the message above.")
        return
    best = query.best(tried)
    missing = query.find(tried).missing
    st.html(_as_html(best, missing))


def _asked(subject: PreviewSubject, tuner: Tuner) -> Tuner:
    asked = shell.as_id(st.query_params.get("q", ""))
    found = None if asked is None else tuner_of(subject, asked)
    if found is None:
        found = tuner_of(subject, int(tuner.queries[0]))
    assert found is not None  # the sample is drawn from the set
    return found


def _step(tuner: Tuner, image_id: int, by: int) -> None:
    """Open the next or previous query of the sample. After the last comes the first."""
    at = int(np.searchsorted(tuner.queries, image_id, "left" if by < 0 else "right"))
    at = at - 1 if by < 0 else at
    st.query_params["q"] = str(int(tuner.queries[at % len(tuner.queries)]))


def _as_html(best: Best, missing: int) -> str:
    image = best.image
    name = escape(PurePosixPath(image.path).name)
    alt = f"Query {name} with {plural(len(best.boxes), 'RoI')}"
    left_out = f" · {plural(missing, 'RoI')} here and in the neighbours have no feature yet" if missing else ""
    pairs = "".join(_pair(image, pair) for pair in best.pairs[:SHOWN]) or "<p>These settings find no pair.</p>"
    return (
        f'<div class="tuned-query"><figure>{boxed_photo(image, best.boxes, alt, 22)}'
        f"<figcaption>{name} · {plural(len(best.boxes), 'RoI')}{left_out}</figcaption></figure>"
        f'<div><p>Best pair with each neighbour: query left, key right</p><div class="pairs">{pairs}</div></div></div>'
    )


def _pair(query: Image, pair: BestPair) -> str:
    urls, name = picture_urls(), escape(PurePosixPath(pair.neighbor.path).name)
    own = f'<img src="{urls.crop(query.id, pair.query_box)}" alt="Query RoI" loading="lazy">'
    other = f'<img src="{urls.crop(pair.neighbor.id, pair.key_box)}" alt="RoI in {name}" loading="lazy">'
    words = f"<b>{pair.similarity:.2f}</b> · neighbour {pair.rank}"
    return f'<figure title="{name}">{own}{other}<figcaption>{words}</figcaption></figure>'
