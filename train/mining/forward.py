"""From a photo's file to rows of features: the pixels that the encoder sees, and its passes over batches of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import PIL.Image

from orl_explorer.orl.pixels import Stamp, UnreadableImage
from orl_explorer.orl.reading import Reading
from orl_explorer.train.progress import map_ahead
from orl_explorer.train.settings import Precision

if TYPE_CHECKING:  # imports torch
    from orl_explorer.orl.encoder import EncoderNetwork

FeatureOf = Literal["images", "attention", "boxes", "rois"]
WHOLE = ("attention", "boxes")  # what is computed of whole photos at the size of attention
READERS = 2  # threads that decode photos and cut crops


class Shot(NamedTuple):
    """What is computed of one photo.

    path: its name for people. file, stamp: where it is, and what identifies it. keys: int64 [n], of its rows. boxes:
    int16 [n, 4], of its RoIs, or None for the whole photo.
    """

    image_id: int
    path: str
    file: str
    stamp: Stamp | None
    keys: np.ndarray
    boxes: np.ndarray | None


class Batch(NamedTuple):
    """Rows as they come out of a pass. keys: int64 [n]. vectors: float32 [n, D]. paths: names of the photos."""

    keys: np.ndarray
    vectors: np.ndarray
    paths: list[str]


Read = Callable[[Shot], PIL.Image.Image]


def crops_at_once(device: str, precision: Precision) -> int:
    """Return the number of crops of a pass. A CPU's caches hold the maps of a few."""
    if precision == "fp32-onnx":
        return 16 * (os.cpu_count() or 1)  # which its threads share
    return 8 if device == "cpu" else 128


def passes(
    view: FeatureOf,
    encoder: Callable[[], EncoderNetwork],
    reading: Reading,
    batch: int,
    shots: Iterable[Shot],
    read: Read,
    lost: dict[int, str],
) -> Iterator[Batch]:
    """Yield the rows of photos. Threads read the next photos while the network works.

    encoder: returns the network; called with the first batch. reading: what it sees of a photo. batch: crops per pass.
    lost: gets the reasons why photos could not be read, by image id.
    """
    at_once = max(2, batch // 8) if view in WHOLE else batch  # eight times the pixels of a crop

    def inputs(shot: Shot) -> list[tuple[int, str, np.ndarray]]:
        try:
            photo = read(shot)
        except UnreadableImage as error:
            lost[shot.image_id] = str(error)
            return []
        return [
            (key, shot.path, each)
            for key, each in zip(shot.keys.tolist(), cut(view, photo, shot, reading), strict=True)
        ]

    with ThreadPoolExecutor(READERS) as pool:
        ahead = 2 * READERS if view == "rois" else 2 * at_once
        each = (one for found in map_ahead(pool, inputs, shots, ahead) for one in found)
        for some in batched(each, at_once):
            keys, paths, pixels = zip(*some, strict=True)
            yield Batch(np.array(keys, np.int64), forward(view, encoder(), np.stack(pixels)), list(paths))


def cut(view: FeatureOf, photo: PIL.Image.Image, shot: Shot, reading: Reading) -> list[np.ndarray]:
    """Return the network's input for each row of a photo, uint8 [S, S, 3]."""
    if view == "images":
        return [reading.photo(photo)]
    if view in WHOLE:
        return [reading.whole(photo)]
    assert shot.boxes is not None
    return [reading.crop(photo, box) for box in shot.boxes]


def forward(view: FeatureOf, encoder: EncoderNetwork, pixels: np.ndarray) -> np.ndarray:
    """Return the rows of a batch: uint8 [B, S, S, 3] -> float32 [B, D]."""
    if view == "images":
        return encoder.embed_images(pixels)
    if view == "boxes":
        return encoder.map_boxes(pixels)
    return encoder.attention(pixels) if view == "attention" else encoder.embed_rois(pixels)


def batched(items: Iterable, size: int) -> Iterator[list]:
    """Yield the items in lists of a size. The last one may be shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
