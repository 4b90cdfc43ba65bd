"""The rows of imported vectors: which photo and box each is of, and its vector, of unit length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from orl_explorer.db.models import Dataset, Image
from orl_explorer.db.photos import current_images
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.named_photos import positions
from orl_explorer.train.interchange.imports import check_inside
from orl_explorer.train.interchange.vector_files import VectorFile
from orl_explorer.train.mining.features import photo_keys, roi_keys
from orl_explorer.train.photos import Photos, known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

UNIT = 1e-5  # a vector whose length differs from 1 by no more is kept bit for bit


@dataclass(frozen=True)
class ImportedRows:
    """The rows of all files, in their order, one after the other.

    photos: of the dataset. image: int64 [n], positions among them. boxed: bool [n], whether a row is of a box. boxes:
    int16 [n, 4]. keys: int64 [n], of the stored features. used: bool [n], whether the photo can be read here.
    """

    files: list[VectorFile]
    photos: list[Image]
    image: np.ndarray
    boxed: np.ndarray
    boxes: np.ndarray
    keys: np.ndarray
    used: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    def width(self, *, boxed: bool) -> int:
        """Return the length of the vectors of photos, or of boxes; 0 if there are none."""
        found: dict[int, VectorFile] = {}
        start = 0
        for file in self.files:
            if (self.boxed[start : start + len(file)] == boxed).any():
                found.setdefault(file.width, file)
            start += len(file)
        if len(found) > 1:
            (one, first), (other, second) = list(found.items())[:2]
            what = "boxes" if boxed else "photos"
            raise UserError(
                f"The vectors of {what} have {one} numbers in {first.file} and {other} in {second.file}. They are of "
                "different encoders. Import each under a name of its own."
            )
        return next(iter(found), 0)

    def named(self, number: int) -> str:
        """Return what a row is of, for people."""
        path = self.photos[int(self.image[number])].path
        return f"The box {self.boxes[number].tolist()} of {path}" if self.boxed[number] else path

    def vectors(self) -> Iterator[tuple[int, np.ndarray, int]]:
        """Yield the number of a first row, the vectors from there on, float32 [m, D] of unit length, and how many of
        them had another length. Raises UserError if one is not finite or has no direction.
        """
        start = 0
        for file in self.files:
            for block in file.blocks():
                yield start, *self._unit(file, start, block)
                start += len(block)

    def _unit(self, file: VectorFile, start: int, block: np.ndarray) -> tuple[np.ndarray, int]:
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            bad = self.named(start + int(np.argmin(finite)))
            raise UserError(f"{file.file}: the vector of {_inside(bad)} has numbers that are not finite.")
        wide = block.astype(np.float64)
        largest = np.abs(wide).max(axis=1, keepdims=True)
        if not largest.all():
            bad = self.named(start + int(np.argmin(largest[:, 0])))
            raise UserError(f"{file.file}: the vector of {_inside(bad)} is zero, so it is similar to nothing.")
        lengths = largest * np.linalg.norm(wide / largest, axis=1, keepdims=True)
        other = np.abs(lengths[:, 0] - 1) > UNIT
        unit = block.astype(np.float32)
        unit[other] = (wide[other] / largest[other]) / (lengths[other] / largest[other])
        return unit, int(other.sum())

    def boxes_by_photo(self) -> dict[int, np.ndarray]:
        """Return the boxes of readable photos, int16 [B, 4] by image id. Copies of a file may share those of one."""
        chosen = np.flatnonzero(self.boxed & self.used)
        if not len(chosen):
            return {}
        chosen = chosen[np.argsort(self.image[chosen], kind="stable")]
        owners, first = np.unique(self.image[chosen], return_index=True)
        each = np.split(self.boxes[chosen], first[1:])
        own = {self.photos[at].id: boxes for at, boxes in zip(owners.tolist(), each, strict=True)}
        of_file = {self.photos[at].digest: boxes for at, boxes in zip(owners.tolist(), each, strict=True)}
        for image in self.photos:
            if image.status == "ok" and image.id not in own and image.digest in of_file:
                own[image.id] = of_file[image.digest]
        return own


def _inside(name: str) -> str:
    return name[:1].lower() + name[1:] if name.startswith("The box ") else name


def listed(files: Sequence[VectorFile]) -> str:
    """Return the names of files, for people."""
    return " and ".join(str(file.file) for file in files[:2]) + (" and others" if len(files) > 2 else "")


def rows_of(workspace: Workspace, files: Sequence[VectorFile], dataset: Dataset, progress: Progress) -> ImportedRows:
    """Find the photo of each row. Raises UserError if it is unknown, has changed or is named twice.

    Boxes are whole pixels inside their photo.
    """
    known_photos(workspace, dataset, progress)  # early rows have no digest yet
    photos = list(current_images(workspace.store, dataset.id))
    if not any(photo.status == "ok" for photo in photos):
        raise UserError(f"The dataset '{dataset.name}' has no readable photo.")
    finder = _Finder(workspace, dataset, photos)
    image = np.concatenate([finder.photos_of(file) for file in files])
    boxes = np.concatenate([file.boxes for file in files])
    boxed = ~np.isnan(boxes).all(axis=1)
    used = np.array([photo.status == "ok" and photo.digest is not None for photo in photos])[image]
    whole = _whole_boxes(files, photos, image, boxes, boxed, used)
    digests = photo_keys(photos)[image]
    rows = ImportedRows(
        files=list(files),
        photos=photos,
        image=image,
        boxed=boxed,
        boxes=whole,
        keys=np.where(boxed, roi_keys(digests, whole), digests),
        used=used,
    )
    _refuse_twice(rows)
    return rows


def _refuse_twice(rows: ImportedRows) -> None:
    each = np.concatenate([rows.image[:, None], rows.boxed[:, None], rows.boxes], axis=1)
    _, first, counts = np.unique(each, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        named = rows.named(int(first[counts > 1].min()))
        raise UserError(f"{named} is twice in {listed(rows.files)}. Give each row once.")


def _whole_boxes(
    files: Sequence[VectorFile],
    photos: Sequence[Image],
    image: np.ndarray,
    boxes: np.ndarray,
    boxed: np.ndarray,
    used: np.ndarray,
) -> np.ndarray:
    """Return boxes as whole pixels, int16 [n, 4], zeros in rows without a box. Raises UserError."""
    file_of = np.repeat(np.arange(len(files)), [len(file) for file in files])
    with np.errstate(invalid="ignore"):
        odd = boxed & ((boxes != np.floor(boxes)) | ~np.isfinite(boxes) | (np.abs(boxes) > 1e6)).any(axis=1)
    if odd.any():
        at = int(np.argmax(odd))
        numbers = ", ".join(f"{number:g}" for number in boxes[at])
        raise UserError(
            f"{files[file_of[at]].file}: the box [{numbers}] of {photos[image[at]].path} is not of whole pixels. Round "
            "x, y, w and h."
        )
    whole = np.where(boxed[:, None], boxes, 0).astype(np.int64)
    for at in np.flatnonzero(boxed & used & _outside(whole, photos, image)).tolist()[:1]:
        check_inside(whole[at][None], photos[image[at]], files[file_of[at]].file)
    return np.clip(whole, -(1 << 15), (1 << 15) - 1).astype(np.int16)  # those of unreadable photos may be anything


def _outside(boxes: np.ndarray, photos: Sequence[Image], image: np.ndarray) -> np.ndarray:
    sizes = np.array([[photo.width, photo.height] for photo in photos])[image]
    return (
        (boxes[:, :2] < 0).any(axis=1)
        | (boxes[:, 2:] < 1).any(axis=1)
        | (boxes[:, :2] + boxes[:, 2:] > sizes).any(axis=1)
    )


class _Finder:
    """Finds the photos of a dataset by their paths, or by the digests of their files."""

    def __init__(self, workspace: Workspace, dataset: Dataset, photos: list[Image]) -> None:
        self._photos, self._dataset = photos, dataset
        self._names = Photos.of(workspace.store, dataset.id).names(photos)
        self._by_path: dict[str, int | None] = {}
        self._by_digest: dict[int, int] = {}
        for number, (photo, name) in enumerate(zip(photos, self._names, strict=True)):
            self._by_path[name] = number
            # In a union, several photos may have one path: only their folders tell them apart.
            self._by_path[photo.path] = None if photo.path in self._by_path else number
            if photo.digest is not None and photo.status == "ok":
                self._by_digest.setdefault(photo.digest, number)

    def photos_of(self, file: VectorFile) -> np.ndarray:
        """Return the position of each row's photo, int64 [n]."""
        if file.paths is None:
            assert file.digests is not None
            return np.array([self._with_digest(file, digest) for digest in file.digests], np.int64)
        places = self._places(file, list(dict.fromkeys(file.paths)))
        found = np.array([places[path] for path in file.paths], np.int64)
        for at, digest in zip(found.tolist(), file.digests or [None] * len(found), strict=True):
            photo = self._photos[at]
            if digest is not None and photo.status == "ok" and digest != photo.digest:
                raise UserError(
                    f"{file.file}: {photo.path} has another digest than the photo of '{self._dataset.name}', so the "
                    "vector is of another file. Compute it again."
                )
        return found

    def _with_digest(self, file: VectorFile, digest: int | None) -> int:
        if digest is None or digest not in self._by_digest:
            said = "a row has no digest" if digest is None else f"the digest {digest} is that of no readable photo"
            raise UserError(f"{file.file}: {said} of '{self._dataset.name}'.")
        return self._by_digest[digest]

    def _places(self, file: VectorFile, paths: list[str]) -> dict[str, int]:
        found = {path: at for path in paths if (at := self._place(path)) is not None}
        others = [path for path in paths if path not in found]
        if others:
            where = f"the dataset '{self._dataset.name}'"
            found |= dict(zip(others, positions(others, self._names, file.file, where), strict=True))
        return found

    def _place(self, path: str) -> int | None:
        at = self._by_path.get(path)
        # A CSV has ' before what a spreadsheet would read as a formula.
        return self._by_path.get(path[1:]) if at is None and path.startswith("'") else at
