"""What any object of the Python API on a workspace has, and its files for other programs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orl_explorer.app.api.told import warn_of_lost
from orl_explorer.app.bars import Bars, notebook_console, progress_bars
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder
from orl_explorer.db.photos import dataset_named, unite
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train import workspace as folder
from orl_explorer.train.formats import SetFormat
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Precision

if TYPE_CHECKING:
    from orl_explorer.app.share.choice import Pictures


@dataclass(frozen=True)
class WorkspaceFiles:
    """An open workspace: what is written to files for other programs, and read from theirs."""

    inner: folder.Workspace
    bars: bool = True  # whether stages show progress bars

    @property
    def path(self) -> Path:
        """Folder of the workspace."""
        return self.inner.path

    def export(self, correspondence_set: CorrespondenceSet | str, form: SetFormat, to: str | Path) -> Path:
        """Export a correspondence set to a file or folder that does not exist yet. Return its path.

        Args:
            correspondence_set: A complete correspondence set.
            form: Format, as in ``orl export --format``: ``reference``, ``parquet``, ``csv``, ``coco``, ``verdicts``,
                ``tags``, ``settings`` or ``archive``.
            to: File to write. For ``reference``: folder to write three files to.
        """
        from orl_explorer.train.interchange.exports import export

        with self._progress() as progress:
            export(self.inner, self._set(correspondence_set).name, form, Path(to), progress=progress)
        return Path(to)

    def embed(
        self,
        dataset: Dataset | str,
        encoder: Encoder | str,
        to: str | Path,
        *,
        rois: CorrespondenceSet | str | None = None,
        precision: Precision = "fp32",
    ) -> Path:
        """Write features to a file that does not exist yet, for other programs. Return its path.

        Stored features are used. Missing features are computed and stored. If photos cannot be read, they have no row,
        and a warning counts and names them.

        Args:
            dataset: Dataset of the photos.
            encoder: Encoder that computes the features.
            to: ``NAME.npy`` for an array float32 [n, D], with the photo of each row in ``NAME.csv``, or
                ``NAME.parquet`` for one table of both.
            rois: Set of the dataset whose RoIs are embedded, in the order of ``rois(set)``. Default: the photos, in the
                order of ``photos(dataset)``.
            precision: Precision of the forward passes.
        """
        from orl_explorer.train.interchange.embedding import embed_to_file
        from orl_explorer.train.training.distributed import choose_device

        rows = self._dataset(dataset), self._encoder(encoder)
        mined = None if rois is None else self._set(rois)
        with self._progress() as progress:
            made = embed_to_file(
                self.inner,
                *rows,
                Path(to),
                mined=mined,
                precision=precision,
                device=str(choose_device()),
                progress=progress,
            )
        warn_of_lost(made.lost)
        return Path(to)

    def import_features(
        self,
        files: str | Path | Sequence[str | Path],
        dataset: Dataset | str,
        encoder: str,
        *,
        supervised: bool = False,
    ) -> Encoder:
        """Import vectors that were computed elsewhere, as an encoder without a network. Return the encoder.

        It mines and is explored by these vectors. What needs a network raises UserError. All rows are checked before
        anything is stored, and scaled to unit length. docs/interchange.md describes the files.

        Args:
            files: One file or several, of vectors of photos and of boxes: ``NAME.npy`` with ``NAME.csv`` beside it, or
                ``NAME.parquet``.
            dataset: Dataset of the photos.
            encoder: Name of the new encoder. If it exists, the vectors are added to it.
            supervised: Whether the vectors come from an encoder that was trained with labels.
        """
        from orl_explorer.train.interchange.import_vectors import import_vectors

        paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
        whose = self._dataset(dataset)
        with self._progress() as progress:
            return import_vectors(self.inner, paths, whose, encoder, supervised=supervised, progress=progress).encoder

    def import_archive(
        self, file: str | Path, dataset: Dataset | str | None = None, name: str = "", *, leave_out: bool = False
    ) -> CorrespondenceSet:
        """Import a set that was mined elsewhere, from the archive that ``export`` writes. Return the set.

        Photos are found by the digests of their files. A warning counts those that are left out.

        Args:
            file: Archive.
            dataset: Dataset with its photos. Default: that of the name in the archive.
            name: Name of the new set. Default: that in the archive.
            leave_out: Whether to import the rest if photos are missing or have another content here.
        """
        from orl_explorer.train.interchange.archive_files import read_archive
        from orl_explorer.train.interchange.import_archive import import_archive, lost_in_words
        from orl_explorer.train.jobs.once import until_done

        archive = read_archive(Path(file))
        whose = self._dataset(archive.manifest["dataset"] if dataset is None else dataset)
        with self._progress() as progress:
            found = import_archive(self.inner, archive, whose, name, leave_out=leave_out, progress=progress)
            made = until_done(self.inner, found.run, progress)
        for line in lost_in_words(found.matched):
            warnings.warn(line, stacklevel=2)
        return complete_set_named(self.inner.store, made.name)

    def share(
        self,
        correspondence_set: CorrespondenceSet | str,
        to: str | Path,
        *,
        photos: int | None = None,
        selection: str | None = None,
        pictures: Pictures = "thumbnails",
        only_chosen: bool = False,
        verdicts: bool = False,
    ) -> Path:
        """Write a set as a folder that opens in any browser, from disk, without a server or a network. Return its path.

        Args:
            correspondence_set: A complete correspondence set.
            to: Folder to write. It must not exist, or be empty. Open its ``index.html``.
            photos: Number of query photos, the first by name. Default: all, up to 5000.
            selection: Name of a selection. Only its photos are query photos.
            pictures: ``thumbnails``: photos of at most 640 pixels. ``full``: photos in their own size too.
            only_chosen: Whether to leave out neighbours that are not query photos themselves, with their pairs.
            verdicts: Whether to include verdicts on pairs, without the names of people.
        """
        from orl_explorer.app.share.choice import ShareRequest, choose
        from orl_explorer.app.share.folder import refuse_folder, write_folder

        refuse_folder(self.inner.store, Path(to))
        asked = ShareRequest(photos, selection, pictures, only_chosen, verdicts)
        with self._progress() as progress:
            write_folder(choose(self.inner, self._set(correspondence_set).name, asked), Path(to), progress)
        return Path(to)

    def close(self) -> None:
        """Close the workspace. A ``with`` block closes it too."""
        self.inner.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _dataset(self, given: Dataset | str | Sequence[str]) -> Dataset:
        if isinstance(given, Dataset):
            return given
        return dataset_named(self.inner.store, given) if isinstance(given, str) else unite(self.inner.store, given)

    def _encoder(self, given: Encoder | str) -> Encoder:
        return encoder_named(self.inner.store, given) if isinstance(given, str) else given

    def _set(self, given: CorrespondenceSet | str) -> CorrespondenceSet:
        return complete_set_named(self.inner.store, given if isinstance(given, str) else given.name)

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        if not self.bars:
            yield Progress()
            return
        with progress_bars(console=notebook_console()) as shown:
            yield Bars(shown)
