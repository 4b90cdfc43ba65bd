"""Where photos lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from orl_explorer.db.models import Image
from orl_explorer.db.photos import photo_roots
from orl_explorer.db.store import Store
from orl_explorer.orl.pixels import read_image


@dataclass(frozen=True)
class Photos:
    """The photos of a data set, or of all those that it unites, in their folders."""

    roots: Mapping[int, Path]  # by id of the data set that a photo came with

    @classmethod
    def of(cls, store: Store, dataset_id: int) -> Photos:
        """Those of a data set."""
        return cls({member: Path(root) for member, root in photo_roots(store, dataset_id).items()})

    def path(self, image: Image) -> Path:
        """Where a photo lies."""
        return self.roots[image.dataset_id] / image.path

    def names(self, images: Iterable[Image]) -> list[str]:
        """Where photos lie, as text that other people's files can be compared with."""
        roots = {member: root.as_posix().rstrip("/") for member, root in self.roots.items()}
        return [f"{roots[image.dataset_id]}/{image.path}" for image in images]

    def read(self, image: Image) -> PIL.Image.Image:
        """A photo as RGB, as the viewer shows it. Raises UnreadableImage."""
        return read_image(self.path(image))
