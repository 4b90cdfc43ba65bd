"""The page Attention: attention maps of several encoders on one photo and its neighbours."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import get_args

import streamlit as st

from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.attention.component import (
    AttentionLook,
    AttentionPayload,
    EncoderColumn,
    LayerName,
    PhotoPanel,
    attention_view,
)
from orl_explorer.app.pages.explore.order import current_order
from orl_explorer.app.pages.lost import tell_lost
from orl_explorer.app.pages.pair.page import query_image
from orl_explorer.app.pages.pair.payload import INFERNO
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.encoders import encoders, encoders_with_weights
from orl_explorer.db.gallery.order import step
from orl_explorer.db.models import Dataset, Encoder, Image
from orl_explorer.db.sets.read import neighbors_of, rois_of

SHOWN = 5  # neighbours at first; each costs every encoder a forward pass
OPACITY = 0.6


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    known = {row.name: row for row in encoders_with_weights(place.workspace.store)}
    if not known:
        st.title("Attention", anchor=False)
        kind = " with weights" if encoders(place.workspace.store) else ""  # there may be imported vectors
        st.info(f"No encoder{kind} yet. An attention map needs one.", icon=":material/info:")
        if place.mined is None:
            start.unmined(place, place.dataset)
        return
    image = query_image(place, place.dataset)
    if image is None:
        return
    chosen = _pick_encoders(place, known)
    if not chosen:
        st.info("Choose at least one encoder in the sidebar.", icon=":material/info:")
        return
    payload = _payload(place, image, chosen)
    mined = place.mined is not None and bool(payload["rois"] or payload["neighbors"])
    tell_lost(place.workspace.store, image, mined=mined)
    attention_view(
        payload,
        key="attention",
        on_look=_on_look,
        on_step=partial(_on_step, place, place.dataset, image.id),
        on_open=_on_open,
    )


def side_by_side(known: list[Encoder], own: int | None) -> list[str]:
    """Return the names of the default encoders: the newest of stage 1 and of stage 3, as in Fig. 4 of the paper.

    If one is missing: the set's own encoder, then the newest of stage 1 or 3, then the starter. known: oldest first;
    own: id of the set's encoder.
    """

    def newest(wanted: list[Encoder]) -> list[str]:
        return [wanted[-1].name] if wanted else []

    first, third = (newest([e for e in known if e.kind == kind]) for kind in ("stage1", "stage3"))
    mined_with = [e.name for e in known if e.id == own]
    starter = newest([e for e in known if e.kind == "starter"])
    names = [*first, *third] if first and third else [*mined_with, *first, *third, *starter]
    return list(dict.fromkeys([*names, *(e.name for e in reversed(known))]))[:2]


def _pick_encoders(place: Place, known: dict[str, Encoder]) -> list[Encoder]:
    own = place.mined.encoder_id if place.mined else None
    with st.sidebar:
        names = st.multiselect(
            "Encoders",
            list(known),
            default=side_by_side(list(known.values()), own),
            key="encoders",
            bind="query-params",
            help="Choose the encoders to compare. They are shown side by side, in this order.",
        )
    return [known[name] for name in names if name in known]


def _payload(place: Place, image: Image, chosen: list[Encoder]) -> AttentionPayload:
    store, mined = place.workspace.store, place.mined
    found = neighbors_of(store, mined.id, image.id) if mined else []
    with st.sidebar:
        if found:
            most = len(found)
            near = st.slider("Neighbours", 0, most, min(SHOWN, most), key="neighbours", bind="query-params")
            found = found[: max(0, int(near))]
        elif mined:
            st.caption("This photo is not in the set: it has no neighbours.")
        else:
            st.caption("No correspondence set yet. Mine one to see neighbours and RoIs.")
    rois = rois_of(store, mined.id, [image.id]).get(image.id) if mined else None
    return {
        "encoders": [_column(row) for row in chosen],
        "query": _panel(image, WIDTHS[1], None),
        "neighbors": [_panel(n.image, WIDTHS[0], n.similarity) for n in found],
        "neighbors_by": mined.name if mined else "",
        "rois": rois.boxes.tolist() if rois else [],
        "look": _look(),
        "place": shell.lasting(place, q=str(image.id), encoders=[row.name for row in chosen]),
        "attention_url": picture_urls().any_attention,
        "crop_url": picture_urls().any_crop,
        "colors": INFERNO,
    }


def _column(row: Encoder) -> EncoderColumn:
    note = shell.encoder_label(row).removeprefix(row.name).strip(" ()")
    token = bool((row.reading or {}).get("class_token"))
    return {"id": row.id, "name": row.name, "note": note, "supervised": row.supervised, "class_token": token}


def _panel(image: Image, width: int, similarity: float | None) -> PhotoPanel:
    return {
        "id": image.id,
        "name": PurePosixPath(image.path).name,
        "url": picture_urls().photo(image.id, image.mtime_ns, width),
        "width": image.width or 4,
        "height": image.height or 3,
        "similarity": similarity,
    }


def _look() -> AttentionLook:
    """Return the display options from the URL; invalid ones have their default."""
    query = st.query_params
    to, opacity, layer = query.get("to", ""), query.get("alpha", ""), query.get("layer", "")
    parts = to.split("-")
    sensible = to == "class" or (len(parts) in (3, 5) and all(p.isdecimal() and len(p) < 12 for p in parts))
    return {
        "to": to if sensible else "",
        "opacity": int(opacity) / 100 if opacity.isdecimal() and len(opacity) < 4 and int(opacity) <= 100 else OPACITY,
        "layer": next((known for known in get_args(LayerName) if known == layer), "overlay"),
        "cells": query.get("cells") == "1",
        "own": query.get("own") == "1",
    }


# Callbacks of the component ----------------------------------------------------------------------------


def _on_look() -> None:
    keep_attention_look(st.session_state["attention"].look)


def keep_attention_look(look: object) -> None:
    """Write the display options from the browser to the URL, without defaults and invalid ones."""
    if not isinstance(look, dict):
        return
    opacity = look.get("opacity")
    percent = round(opacity * 100) if isinstance(opacity, int | float) and 0 <= opacity <= 1 else round(OPACITY * 100)
    said = {
        "to": str(look.get("to") or ""),
        "alpha": "" if percent == round(OPACITY * 100) else str(percent),
        "layer": "" if look.get("layer") == "overlay" else str(look.get("layer")),
        "cells": "1" if look.get("cells") is True else "",
        "own": "1" if look.get("own") is True else "",
    }
    for name, value in said.items():
        if value:
            st.query_params[name] = value[:64]
        else:
            st.query_params.pop(name, None)


def _on_step(place: Place, dataset: Dataset, image_id: int) -> None:
    forward = st.session_state["attention"].step
    if forward not in (-1, 1):
        return
    following = step(place.workspace.store, current_order(place, dataset), image_id, forward == 1)
    if following is None:
        st.toast("This is the last photo." if forward == 1 else "This is the first photo.")
    else:
        _go_to(following)


def _on_open() -> None:
    image_id = st.session_state["attention"].open
    if isinstance(image_id, int):
        _go_to(image_id)


def _go_to(image_id: int) -> None:
    st.query_params["q"] = str(image_id)
    st.query_params.pop("to", None)  # a point or RoI of the previous query
