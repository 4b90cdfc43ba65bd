"""What pages say about a photo whose file is gone, cannot be read, or is another photo now."""

from __future__ import annotations

from typing import Protocol

import streamlit as st

from orl_explorer.app.pages.shell import escape
from orl_explorer.db.lost import StateNow, states_now
from orl_explorer.db.store import Store


class NamedPhoto(Protocol):
    """A photo on screen: a row or what a view keeps of it."""

    @property
    def id(self) -> int: ...
    @property
    def path(self) -> str: ...


def tell_lost(store: Store, *shown: NamedPhoto, mined: bool = True) -> None:
    """Say which photos on screen are gone, unreadable or changed. mined: whether they are shown as photos of a set."""
    found = states_now(store, {image.id for image in shown})
    for image in {image.id: image for image in shown}.values():
        if image.id in found:
            st.warning(_sentence(image, found[image.id], mined), icon=":material/broken_image:")


def _sentence(image: NamedPhoto, now: StateNow, mined: bool) -> str:
    name, kept = escape(image.path), " The set keeps its boxes and pairs." if mined else ""
    if now.state == "changed":
        return (
            f"{name} has changed since the set was mined. The picture is the present one; boxes, pairs and "
            "similarities are those of the earlier one. New sets use the present one."
        )
    state = "is gone" if now.state == "gone" else "cannot be read"
    return f"{name} {state}: {escape(now.reason)}.{kept} New sets leave the photo out."
