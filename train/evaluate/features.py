"""Features of labelled photos, computed once and kept with the run, so that a killed evaluation goes on."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image

from orl_explorer.orl.pixels import UnreadableImage, read_image
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.progress import Progress, map_ahead

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")
BATCH = 8  # photos of a forward pass on a CPU, whose caches hold the maps of few
ON_DEVICE = 128  # the same elsewhere


def features_of(
    folder: Path,
    split: Split,
    files: list[str],
    width: int,
    *,
    weights_sha256: str,
    view: Callable[[str], np.ndarray],
    forward: Callable[[np.ndarray], np.ndarray],
    device: str,
    progress: Progress,
) -> np.ndarray:
    """A row for each photo, float32 [n, width], memory-mapped: those on disk, and what the network says of the others.

    view: what the network sees of a file, uint8 [S, S, 3]. forward: uint8 [B, S, S, 3] -> float32 [B, width].
    Raises UserError where a photo cannot be read.
    """
    stored = Embeddings(folder, split, width, weights_sha256)
    at_once = BATCH if device == "cpu" else ON_DEVICE
    ids = np.arange(len(files))
    todo = ids[~stored.have(ids)].tolist()
    progress.phase(f"Embedding {split} photos", len(todo))

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with ThreadPoolExecutor(2) as pool:
            seen = map_ahead(pool, lambda i: (i, view(files[i])), todo, 2 * at_once)
            while batch := list(islice(seen, at_once)):
                numbers, pixels = zip(*batch, strict=True)
                yield np.array(numbers), forward(np.stack(pixels))
                progress.advance(len(batch))

    if todo:
        stored.add(batches())
    return stored.get(ids)


def read_photo(file: str) -> PIL.Image.Image:
    """A photo as RGB. Raises UserError where it cannot be read."""
    try:
        return read_image(Path(file))
    except UnreadableImage as error:
        raise UserError(f"{file} cannot be read: {error}.") from error


def keep_array(array: np.ndarray, path: Path) -> None:
    """Write an array for other processes, whole or not at all."""
    written = io.BytesIO()
    np.save(written, array)
    publish(lambda file: file.write(written.getbuffer()), path)
