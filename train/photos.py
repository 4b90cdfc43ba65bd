"""Where photos lie, and by what their files are known again."""

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
    """The photos of a dataset, or of all those that it unites, in their folders."""

    roots: Mapping[int, Path]  # by id of the dataset that a photo came with

    @classmethod
    def of(cls, store: Store, dataset_id: int) -> Photos:
        """Those of a dataset."""
        return cls({member: Path(root) for member, root in photo_roots(store, dataset_id).items()})

    def path(self, image: Image) -> Path:
        """Where a photo lies."""
        return self.roots[image.dataset_id] / image.path

    def stamp(self, image: Image) -> Stamp | None:
        """By what the photo's file is known again."""
        return Stamp(image.size, image.mtime_ns, image.digest) if image.size else None

    def names(self, images: Iterable[Image]) -> list[str]:
        """Where photos lie, as text that other people's files can be compared with."""
        roots = {member: root.as_posix().rstrip("/") for member, root in self.roots.items()}
        return [f"{roots[image.dataset_id]}/{image.path}" for image in images]

    def read(self, image: Image) -> PIL.Image.Image:
        """A photo as RGB, as the viewer shows it. Raises UnreadableImage, also where its file has changed."""
        return read_image(self.path(image), self.stamp(image))


def known_photos(workspace: Workspace, dataset: Dataset, progress: Progress) -> list[Image]:
    """The readable photos of a dataset in the order of ids, each with the digest by which its features are found.

    Ingest takes it; of photos that came before that, it is taken here from the files as they were ingested.
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
            # One that has changed or gone stays without: whoever comes to read it says so.
            with contextlib.suppress(OSError):
                stamp = photos.stamp(image)
                if stamp is None or is_same_file(photos.path(image), stamp):
                    taken[image.id] = image.digest = file_digest(photos.path(image))
            progress.advance()
    finally:
        keep_digests(workspace.store, taken)
    return images
