"""Paths of photos, and the stamps that identify their files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from orl_explorer.db.models import Dataset, Image
from orl_explorer.db.photos import keep_digests, photo_roots, usable_images
from orl_explorer.db.store import Store
from orl_explorer.orl.pixels import Stamp, file_digest, is_same_file, read_image
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace


@dataclass(frozen=True)
class Photos:
    """The photos of a dataset, or of the datasets that it unites, in their folders."""

    roots: Mapping[int, Path]  # by id of the dataset that a photo belongs to

    @classmethod
    def of(cls, store: Store, dataset_id: int) -> Photos:
        """Return the photos of a dataset."""
        return cls({member: Path(root) for member, root in photo_roots(store, dataset_id).items()})

    def path(self, image: Image) -> Path:
        """Return the path of a photo."""
        return self.roots[image.dataset_id] / image.path

    def stamp(self, image: Image) -> Stamp | None:
        """Return the stamp that identifies the photo's file."""
        return Stamp(image.size, image.mtime_ns, image.digest) if image.size else None

    def names(self, images: Iterable[Image]) -> list[str]:
        """Return the paths of photos as text, to match them with names in other files."""
        roots = {member: root.as_posix().rstrip("/") for member, root in self.roots.items()}
        return [f"{roots[image.dataset_id]}/{image.path}" for image in images]

    def read(self, image: Image) -> PIL.Image.Image:
        """Decode a photo to RGB, as shown. Raises UnreadableImage, also if its file has changed."""
        return read_image(self.path(image), self.stamp(image))


def known_photos(workspace: Workspace, dataset: Dataset, progress: Progress) -> list[Image]:
    """Return the readable photos of a dataset in the order of ids, each with the digest that its features are keyed by.

    Ingest computes digests; for photos ingested before that, this computes them from unchanged files.
    """
    images = list(usable_images(workspace.store, dataset.id))
    todo = [image for image in images if image.digest is None]
    if not todo:
        return images
    progress.phase("Reading files", len(todo))
    photos = Photos.of(workspace.store, dataset.id)
    taken: dict[int, int] = {}
    try:
        for image in todo:
            # A changed or missing file gets no digest; reading it later reports the error.
            with contextlib.suppress(OSError):
                stamp = photos.stamp(image)
                if stamp is None or is_same_file(photos.path(image), stamp):
                    taken[image.id] = image.digest = file_digest(photos.path(image))
            progress.advance()
    finally:
        keep_digests(workspace.store, taken)
    return images
