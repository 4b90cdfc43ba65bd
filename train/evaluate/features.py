"""Features of labelled photos, computed once and kept in the run's folder, so that an evaluation can be resumed."""

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
from orl_explorer.orl.reading import Choices, Reading
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import finite
from orl_explorer.train.progress import Progress, map_ahead

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")
BATCH = 8  # photos of a forward pass on a CPU, whose caches are small
ON_DEVICE = 128  # photos of a forward pass on an accelerator


def features_of(
    folder: Path,
    split: Split,
    files: list[str],
    width: int,
    *,
    encoder: str,
    weights_sha256: str,
    view: Callable[[str], np.ndarray],
    forward: Callable[[np.ndarray], np.ndarray],
    device: str,
    progress: Progress,
) -> np.ndarray:
    """Return the features of each photo, float32 [n, width], memory-mapped. Computes those that are not on disk.

    view: makes the network's input of a file, uint8 [S, S, 3]. forward: uint8 [B, S, S, 3] -> float32 [B, width].
    encoder: its name. Raises UserError if a photo cannot be read, or its feature is not finite.
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
                names = [files[number] for number in numbers]
                yield np.array(numbers), finite(forward(np.stack(pixels)), names, encoder)
                progress.advance(len(batch))

    if todo:
        stored.add(batches())
    return stored.get(ids)


def crops_of(reading: Reading, size: int) -> Reading:
    """Return how crops of another side are read; of 0, as the encoder reads them. Raises UserError."""
    choices = Choices(crop_size=size or None)
    try:
        choices.check()
        return choices.applied(reading)
    except ValueError as error:
        raise UserError(str(error)) from error


def read_photo(file: str) -> PIL.Image.Image:
    """Read a photo as RGB. Raises UserError if it cannot be read."""
    try:
        return read_image(Path(file))
    except UnreadableImage as error:
        raise UserError(f"Cannot read {file}: {error}.") from error


def keep_array(array: np.ndarray, path: Path) -> None:
    """Write an array for other processes, atomically."""
    written = io.BytesIO()
    np.save(written, array)
    publish(lambda file: file.write(written.getbuffer()), path)
