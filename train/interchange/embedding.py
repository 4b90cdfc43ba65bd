"""Features of a dataset's photos, or of a set's RoIs, as a file for other programs. Missing ones are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Image
from orl_explorer.db.photos import current_images, photo_roots
from orl_explorer.db.sets.read import rois_of, set_images
from orl_explorer.train.encoders.precision import refuse_precision
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import refuse_existing
from orl_explorer.train.ingest.named_photos import shared_folder
from orl_explorer.train.interchange.vector_files import NPY, VectorRows, beside, is_vector_file, write_vectors
from orl_explorer.train.lost import leave_out
from orl_explorer.train.mining.embed import add_rois, embed_images, lost_of
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.photos import Photos, known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Precision
from orl_explorer.train.workspace import Workspace

BLOCK = 256  # photos whose rows are written at once


@dataclass(frozen=True)
class WrittenVectors:
    """Result of an export of features: rows, numbers in each, photos with a row, and why others have none, by path."""

    file: Path
    rows: int
    width: int
    photos: int
    lost: dict[str, str]


def embed_to_file(
    workspace: Workspace,
    dataset: Dataset,
    encoder: Encoder,
    out: Path,
    *,
    mined: CorrespondenceSet | None = None,
    precision: Precision = "fp32",
    device: str = "cpu",
    progress: Progress | None = None,
) -> WrittenVectors:
    """Write the features of a dataset's photos, or of the RoIs of a set of it, to a file that does not exist yet.

    mined: the set. Stored features are used, missing ones are computed and stored. Photos that cannot be read and have
    no stored feature have no row. Raises UserError.
    """
    progress = progress or Progress()
    refuse_precision(encoder, precision)
    if not is_vector_file(out):
        raise UserError(f"Invalid name for a file of features: {out}. It ends in .npy or .parquet.")
    for file in (out, beside(out)) if out.suffix == NPY else (out,):
        refuse_existing(file)
    if mined is not None and mined.dataset_id != dataset.id:
        raise UserError(f"The set '{mined.name}' is not of the dataset '{dataset.name}'. Choose a set of that dataset.")
    work = _Work(workspace, dataset, Features(workspace, encoder, device, precision), progress)
    found = work.photo_rows() if mined is None else work.roi_rows(mined)
    progress.phase("Writing features", found.rows)
    about = {"dataset": dataset.name, "encoder": encoder.name, "weights_sha256": encoder.weights_sha256}
    about |= {"precision": precision} | ({} if mined is None else {"set": mined.name})
    write_vectors(out, (found.rows, found.width), found.blocks, about, boxed=mined is not None)
    return WrittenVectors(out, found.rows, found.width, found.photos, found.lost)


@dataclass(frozen=True)
class _Found:
    """Rows to write, and how many they are."""

    rows: int
    width: int
    photos: int
    lost: dict[str, str]
    blocks: Iterator[VectorRows]


@dataclass(frozen=True)
class _Work:
    """Computes the missing features of photos or RoIs, and reads all of them."""

    workspace: Workspace
    dataset: Dataset
    features: Features
    progress: Progress

    @property
    def _photos(self) -> Photos:
        return Photos.of(self.workspace.store, self.dataset.id)

    def photo_rows(self) -> _Found:
        """Return the rows of all readable photos, in the order of ids."""
        stored, images = self.features.images, known_photos(self.workspace, self.dataset, self.progress)
        if stored.missing(photo_keys(images)):
            images = embed_images(self.features, images, self._photos, self.progress)
        with_row = {image.id for image in images}
        others = [i for i in current_images(self.workspace.store, self.dataset.id) if i.id not in with_row]
        lost = {image.path: image.error or image.status for image in others}

        def blocks() -> Iterator[VectorRows]:
            for some in batched(images, BLOCK):
                keys = photo_keys(some)
                yield VectorRows(self._names(some), keys, None, stored.get(keys))
                self.progress.advance(len(some))

        return _Found(len(images), stored.width, len(images), lost, blocks())

    def roi_rows(self, mined: CorrespondenceSet) -> _Found:
        """Return the rows of a set's RoIs, by photo and rank."""
        known_photos(self.workspace, self.dataset, self.progress)  # early rows have no digest yet
        stored, images = self.features.rois, list(set_images(self.workspace.store, mined.id))
        readable = [image for image in images if image.status == "ok"]
        given = self.workspace, mined.id, self.features, readable, self._photos, self.progress
        lost = lost_of(add_rois(*given)[1], readable, self._photos)
        leave_out(self.workspace, readable, self._photos, lost, self.progress)
        reasons = {image.id: image.error or image.status for image in images if image.status != "ok"}
        reasons |= {image_id: problem.reason for image_id, problem in lost.items()}
        counts = {}
        for image, _, there in self._boxes(mined, images):
            counts[image.id] = int(there.sum())
            if there.all():
                reasons.pop(image.id, None)
        by_path = {image.path: reasons[image.id] for image in images if image.id in reasons}

        def blocks() -> Iterator[VectorRows]:
            for some in batched(self._boxes(mined, images), BLOCK):
                own = [(image, boxes[there]) for image, boxes, there in some]
                names = self._names([image for image, _ in own])
                paths = [name for name, (_, boxes) in zip(names, own, strict=True) for _ in boxes]
                digests = np.repeat(photo_keys([image for image, _ in own]), [len(boxes) for _, boxes in own])
                boxes = np.concatenate([boxes for _, boxes in own])
                yield VectorRows(paths, digests, boxes, stored.get(roi_keys(digests, boxes)))
                self.progress.advance(len(boxes))

        total, photos = sum(counts.values()), sum(count > 0 for count in counts.values())
        return _Found(total, stored.width, photos, by_path, blocks())

    def _boxes(
        self, mined: CorrespondenceSet, images: Sequence[Image]
    ) -> Iterator[tuple[Image, np.ndarray, np.ndarray]]:
        """Yield photos with their RoIs, int16 [B, 4], and which of these have a feature."""
        for some in batched(images, BLOCK):
            rois = rois_of(self.workspace.store, mined.id, [image.id for image in some])
            for image in some:
                boxes = rois[image.id].boxes
                yield image, boxes, self.features.rois.have(roi_keys(image.digest or 0, boxes))

    def _names(self, images: Sequence[Image]) -> list[str]:
        """Return the paths of photos in the dataset's folder, or in the folder that holds all datasets of a union."""
        roots = photo_roots(self.workspace.store, self.dataset.id)
        if len(roots) == 1:
            return [image.path for image in images]
        folder = shared_folder([f"{root.rstrip('/')}/" for root in roots.values()])
        return [name.removeprefix(folder) for name in self._photos.names(images)]
