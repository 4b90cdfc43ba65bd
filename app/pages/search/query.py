"""What the URL of the page Search asks to search with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import streamlit as st

from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.searching import features_of_set, rois_in_set
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.lost import tell_lost
from orl_explorer.app.pages.search.example import ExamplePhoto
from orl_explorer.app.server import given
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import Image
from orl_explorer.db.photos import image_by_id, photo_roots
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.search import Example, PixelBox, box_of
from orl_explorer.train.photos import Photos


@dataclass(frozen=True)
class Query:
    """What is searched with. image: the photo, if it is one of the dataset. asked: the box before it was grown."""

    photo: ExamplePhoto
    image: Image | None
    asked: PixelBox | None
    example: Example
    rois: list[PixelBox]

    @property
    def grown(self) -> bool:
        """Whether the box was smaller than a cell of the map."""
        return self.asked is not None and self.asked != self.example.box


def query_of(subject: PreviewSubject) -> Query | None:
    """Return what the URL asks to search with; None if it names nothing. Raises UserError."""
    shell.bring_url_up_to_date(("q", "photo", "box"))
    box = _box(st.query_params.get("box", ""))
    image_id, name = shell.as_id(st.query_params.get("q", "")), st.query_params.get("photo", "")
    if image_id is not None:
        return _of_image(subject, image_id, box)
    return _of_given(subject, name, box) if name else None


def _box(text: str) -> PixelBox | None:
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})-(\d{1,5})-(\d{1,5})", text, re.ASCII)
    if found is None:
        return None
    x, y, w, h = map(int, found.groups())
    return x, y, w, h


def _of_image(subject: PreviewSubject, image_id: int, box: PixelBox | None) -> Query:
    store = subject.workspace.store
    found = image_by_id(store, image_id)
    if found is None or found[1].id not in photo_roots(store, subject.dataset.id):
        raise UserError(f"There is no photo {image_id} in this dataset. Choose one on the Explore page.")
    image = found[0]
    tell_lost(store, image)
    rois = rois_in_set(subject, image_id)
    if box is None and subject.encoder.kind == VECTORS and rois:
        box = rois[0]  # the whole photo has no vector among those of RoIs
    shown = box_of(box, (image.width or 0, image.height or 0), features_of_set(subject)) if box not in rois else box
    assert shown is not None
    photos = Photos.of(store, subject.dataset.id)
    example = Example(str(photos.path(image)), image.digest or 0, shown, partial(photos.read, image))
    photo = ExamplePhoto(
        name=image.path,
        url=picture_urls().photo(image.id, image.mtime_ns),
        width=image.width or 1,
        height=image.height or 1,
    )
    return Query(photo, image, box, example, rois)


def _of_given(subject: PreviewSubject, name: str, box: PixelBox | None) -> Query:
    picture = given.find(name)
    if picture is None:
        raise UserError("The picture of this link is not kept any more. Drop it here again.")
    shown = box_of(box, (picture.width, picture.height), features_of_set(subject))
    photo = ExamplePhoto(name="your picture", url=picture.url, width=picture.width, height=picture.height)
    return Query(photo, None, box, Example("your picture", picture.digest, shown, partial(given.pixels, name)), [])
