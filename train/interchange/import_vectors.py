"""Import of vectors that were made elsewhere, as an encoder without a network: all rows of all files, or none.

The vectors of photos and boxes become the stored features of the encoder, and the boxes become imported proposals of
the same name, so that mining and the explorer find both where they look for those of any encoder.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orl_explorer.db.encoders import VECTORS, add_encoder, find_encoder
from orl_explorer.db.models import Dataset, Encoder, Image
from orl_explorer.db.proposals import drop_proposals, keep_proposals, missing_proposals, proposals_of
from orl_explorer.train.errors import UserError
from orl_explorer.train.interchange.vector_files import VectorFile
from orl_explorer.train.interchange.vector_rows import ImportedRows, listed, rows_of
from orl_explorer.train.jobs.names import refuse_taken_encoder
from orl_explorer.train.mining.config import OWN_SOURCES, imported_method
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.progress import Progress
from orl_explorer.train.words import plural, printable
from orl_explorer.train.workspace import Workspace, file_name

BLOCK = 64  # photos whose boxes are stored in one transaction
SAME = 1e-3  # numbers of unit vectors that differ by no more are the same up to rounding


@dataclass(frozen=True)
class ImportedVectors:
    """Result of an import of vectors.

    new: whether the encoder is new. photos, boxes: vectors added. there: rows whose vectors were there already. scaled:
    rows that did not have unit length. unreadable: rows of photos that cannot be read here, which are left out.
    """

    encoder: Encoder
    dataset: Dataset
    new: bool
    photos: int
    boxes: int
    there: int
    scaled: int
    unreadable: int


def import_vectors(
    workspace: Workspace,
    files: Sequence[Path],
    dataset: Dataset,
    name: str,
    *,
    supervised: bool = False,
    only_check: bool = False,
    progress: Progress | None = None,
) -> ImportedVectors:
    """Make an encoder of the vectors in some files, or add vectors to one that was made so.

    supervised: whether the vectors come from an encoder that was trained with labels. All rows are checked before
    anything is written. only_check: write nothing, and return what an import would add; the encoder of a new name has
    no id then. Raises UserError or StoreError.
    """
    workspace.store.refuse_read_only()
    progress = progress or Progress()
    known = _known(workspace, name, supervised)
    rows = rows_of(workspace, [VectorFile.read(file) for file in files], dataset, progress)
    encoder = known or _new(rows, name, supervised)
    incoming = _Incoming(workspace, dataset, encoder, rows, progress)
    incoming.check_widths()
    before = None if known is None else Features(workspace, known)
    boxes = incoming.new_boxes(before)
    checked = incoming.check_vectors(before)
    if known is None:
        encoder.weights_sha256 = checked.digest
    elif incoming.is_lost(before) and checked.digest != known.weights_sha256:
        raise UserError(
            f"The vectors of '{name}' are not in {workspace.embeddings / name} any more, and these are not the ones "
            "that it was made of. Import those first, or choose another name."
        )
    features = before or Features(workspace, encoder)
    added = incoming.counts(features)
    if not only_check:
        incoming.store(features, boxes)
        encoder = known or add_encoder(workspace.store, encoder)
        what = "encoder" if known is None else "vectors of encoder"
        workspace.log("add", f"{what} {name}", f"of dataset {dataset.name}")
    there = int(rows.used.sum()) - sum(added)
    return ImportedVectors(encoder, dataset, known is None, *added, there, checked.scaled, int((~rows.used).sum()))


def _known(workspace: Workspace, name: str, supervised: bool) -> Encoder | None:
    """Return the encoder of a name, if there is one. Raises UserError unless it is, or can be, imported vectors."""
    if file_name(name) in OWN_SOURCES:
        raise UserError(f"Invalid name for imported vectors: {name}. Choose another name.")
    row = find_encoder(workspace.store, name)
    if row is None:
        refuse_taken_encoder(workspace, name)
    elif row.kind != VECTORS:
        raise UserError(f"The encoder '{name}' has weights, which compute its features. Choose another name.")
    elif supervised and not row.supervised:
        raise UserError(f"The encoder '{name}' counts as trained without labels. Choose another name.")
    return row


def _new(rows: ImportedRows, name: str, supervised: bool) -> Encoder:
    """Return the row of a new encoder, still without its digest."""
    width = rows.width(boxed=False)
    if not width:
        raise UserError(
            "The files have vectors of boxes alone. Mining finds neighbours by vectors of photos: give a file of those "
            "too, without the columns x, y, w and h."
        )
    return Encoder(
        name=name,
        architecture=VECTORS,
        kind=VECTORS,
        supervised=supervised,
        weights_path="",
        image_features=width,
        roi_features=rows.width(boxed=True) or width,
        source=", ".join(printable(file.file.name) for file in rows.files),
    )


@dataclass(frozen=True)
class _Checked:
    """What the vectors of all rows are. digest: of the vectors, in whatever order and form the files have them."""

    digest: str
    scaled: int


@dataclass(frozen=True)
class _Incoming:
    """Rows on their way to an encoder."""

    workspace: Workspace
    dataset: Dataset
    encoder: Encoder
    rows: ImportedRows
    progress: Progress

    @property
    def _method(self) -> str:
        return imported_method(self.encoder.name)

    def check_widths(self) -> None:
        """Raise UserError if vectors have another length than those of the encoder."""
        wanted = {False: self.encoder.image_features, True: self.encoder.roi_features}
        for boxed, width in wanted.items():
            if (own := self.rows.width(boxed=boxed)) and own != width:
                what = "boxes" if boxed else "photos"
                raise UserError(
                    f"The vectors of {what} have {own} numbers, but those of '{self.encoder.name}' have {width}. "
                    "Import them under another name."
                )

    def is_lost(self, features: Features | None) -> bool:
        """Whether the store names vectors of the encoder that are not on disk."""
        return features is not None and not (features.images.rows and (features.rois.rows or not self._have_boxes()))

    def _have_boxes(self) -> bool:
        ids = [image.id for image in self.rows.photos]
        return len(missing_proposals(self.workspace.store, ids, self._method)) < len(ids)

    def new_boxes(self, features: Features | None) -> dict[int, np.ndarray]:
        """Return the boxes to store, int16 [B, 4] by image id, in the order of the files.

        Raises UserError if photos lack vectors or boxes, or have other boxes already.
        """
        photos, store = [image for image in self.rows.photos if image.status == "ok"], self.workspace.store
        with_vector = {*self.rows.keys[self.rows.used & ~self.rows.boxed].tolist()}
        lacking = [image for image in photos if image.digest not in with_vector]
        if features is not None and lacking:
            there = features.images.have(np.array([image.digest or 0 for image in lacking], np.int64))
            lacking = [image for image, has in zip(lacking, there, strict=True) if not has]
        self._refuse_lacking(lacking, "vector")
        own = self.rows.boxes_by_photo()
        missing = set(missing_proposals(store, [image.id for image in photos], self._method))
        if features is None and not own and len(missing) < len(photos):
            raise UserError(f"There are imported proposals '{self.encoder.name}' already. Choose another name.")
        if not own and len(missing) == len(photos):
            return {}  # vectors of photos alone
        self._refuse_lacking([i for i in photos if i.id in missing and i.id not in own], "box with a vector")
        for some in batched([i for i in photos if i.id in own and i.id not in missing], BLOCK):
            had = proposals_of(store, [image.id for image in some], self._method)
            for image in some:
                if not np.array_equal(had[image.id], own[image.id]):
                    raise UserError(
                        f"The boxes of {image.path} are not those that were imported as '{self.encoder.name}' before. "
                        "Import them under another name."
                    )
        return {image_id: boxes for image_id, boxes in own.items() if image_id in missing}

    def _refuse_lacking(self, photos: Sequence[Image], what: str) -> None:
        if photos:
            raise UserError(
                f"{plural(len(photos), 'photo')} of '{self.dataset.name}' {'has' if len(photos) == 1 else 'have'} no "
                f"{what} in {listed(self.rows.files)}, such as {photos[0].path}. Give each readable photo one."
            )

    def check_vectors(self, features: Features | None) -> _Checked:
        """Check all vectors, also against those that are stored and those of copies of a photo. Raises UserError."""
        rows, hashes, scaled = self.rows, list[bytes](), 0
        keys, counts = np.unique(rows.keys[rows.used], return_counts=True)
        copied = set(keys[counts > 1].tolist())  # of copies of one file
        first: dict[int, np.ndarray] = {}
        self.progress.phase("Checking vectors", len(rows))
        for start, vectors, changed in rows.vectors():
            scaled += changed
            for number, vector in enumerate(vectors, start):
                key = int(rows.keys[number])
                if not rows.used[number] or (key in first and self._is_same(number, first[key], vector)):
                    continue
                if key in copied:
                    first[key] = vector.copy()
                named = b"box" if rows.boxed[number] else b"photo"
                said = named + key.to_bytes(8, "little", signed=True) + vector.tobytes()
                hashes.append(hashlib.blake2b(said, digest_size=16).digest())
            if features is not None:
                self._refuse_conflict(features, start, vectors)
            self.progress.advance(len(vectors))
        return _Checked(hashlib.sha256(b"".join(sorted(hashes))).hexdigest(), scaled)

    def _is_same(self, number: int, first: np.ndarray, vector: np.ndarray) -> bool:
        """Return True if the vector of a copy is that of the first copy. Raises UserError if it is not."""
        if (np.abs(first - vector) > SAME).any():
            raise UserError(
                f"{self.rows.named(number)} is a copy of another photo, but its vector is another one. Keep one of the "
                "files, or give both the same vector."
            )
        return True

    def _refuse_conflict(self, features: Features, start: int, vectors: np.ndarray) -> None:
        here = slice(start, start + len(vectors))
        for boxed, stored in ((False, features.images), (True, features.rois)):
            chosen = np.flatnonzero(self.rows.used[here] & (self.rows.boxed[here] == boxed))
            keys = self.rows.keys[here][chosen]
            there = stored.have(keys)
            if not there.any():
                continue
            differ = (np.abs(stored.get(keys[there]) - vectors[chosen[there]]) > SAME).any(axis=1)
            if differ.any():
                first = start + int(chosen[there][differ][0])
                raise UserError(
                    f"{self.rows.named(first)} has another vector in '{self.encoder.name}' already. Import these under "
                    "another name."
                )

    def counts(self, features: Features) -> tuple[int, int]:
        """Return the number of vectors of photos and of boxes that are not on disk yet."""
        photos, boxes = self._fresh(features.images, boxed=False), self._fresh(features.rois, boxed=True)
        return int(photos.sum()), int(boxes.sum())

    def store(self, features: Features, boxes: Mapping[int, np.ndarray]) -> None:
        """Write vectors and boxes."""
        self._add(features.images, boxed=False)
        self._add(features.rois, boxed=True)
        self.progress.phase("Storing boxes", len(boxes))
        stored: list[int] = []  # photos that got their boxes from this import, not from another one meanwhile
        try:
            for some in batched(boxes.items(), BLOCK):
                stored += keep_proposals(self.workspace.store, self._method, dict(some))
                self.progress.advance(len(some))
        except BaseException:
            with contextlib.suppress(Exception):
                drop_proposals(self.workspace.store, stored, self._method)
            raise

    def _fresh(self, stored: Embeddings, *, boxed: bool) -> np.ndarray:
        """Return which rows are not on disk yet, bool [n]; of equal keys, the first."""
        rows = self.rows
        asked = np.flatnonzero(rows.used & (rows.boxed == boxed))
        first = asked[np.sort(np.unique(rows.keys[asked], return_index=True)[1])]
        fresh = np.zeros(len(rows), bool)
        fresh[first[~stored.have(rows.keys[first])]] = True
        return fresh

    def _add(self, stored: Embeddings, *, boxed: bool) -> None:
        """Append the fresh rows."""
        rows, fresh = self.rows, self._fresh(stored, boxed=boxed)
        if not fresh.any():
            return
        self.progress.phase("Storing vectors of boxes" if boxed else "Storing vectors of photos", int(fresh.sum()))

        def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for start, vectors, _ in rows.vectors():
                chosen = fresh[start : start + len(vectors)]
                if chosen.any():
                    yield rows.keys[start : start + len(vectors)][chosen], vectors[chosen]
                    self.progress.advance(int(chosen.sum()))

        stored.add(batches())
