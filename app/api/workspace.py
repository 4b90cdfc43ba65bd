"""A workspace as notebooks and scripts use it: every stage is a method, every result a row, a DataFrame or an array."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from orl_explorer.app import records
from orl_explorer.app.api import frames
from orl_explorer.app.bars import Bars, notebook_console, progress_bars
from orl_explorer.db.encoders import encoder_named, encoders
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Evaluation, Run
from orl_explorer.db.photos import dataset_named, datasets, unite
from orl_explorer.db.runs.evaluations import evaluations
from orl_explorer.db.runs.runs import metrics, runs
from orl_explorer.db.sets.read import complete_set_named, sets
from orl_explorer.train import workspace as folder
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import evaluate_preset
from orl_explorer.train.formats import SetFormat
from orl_explorer.train.jobs import once
from orl_explorer.train.jobs.kinds import Evaluate, Mine
from orl_explorer.train.jobs.launcher import reconcile
from orl_explorer.train.jobs.trainings import Pretrain, Train
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Precision, preset_named, with_settings
from orl_explorer.train.training.config import ORLConfig, train_preset

if TYPE_CHECKING:
    from orl_explorer.app.api.drawing import PairFigure

LISTED = 5  # unreadable photos that a warning names


@dataclass(frozen=True)
class Workspace:
    """One folder with everything that was ingested, mined and trained, as ``open_workspace`` opens it.

    Give a dataset, an encoder or a set as a row, which these methods return, or by its name. Each stage runs in a
    process of its own, exactly as from the command line: the explorer shows it, and interrupting the call stops it.
    Call a stage again with the same inputs and settings to get the earlier result, or to resume the earlier run.

    Methods raise ``UserError`` or ``StoreError`` with a message that says what is wrong and what to do.
    """

    inner: folder.Workspace
    bars: bool = True  # whether stages show progress bars

    @property
    def path(self) -> Path:
        """Folder of the workspace."""
        return self.inner.path

    def ingest(
        self, path: str | Path, name: str | None = None, *, layout: str = "auto", annotations: str | Path | None = None
    ) -> Dataset:
        """Add the photos below a folder to a dataset; call it again to add new and changed photos.

        Photos stay where they are. A warning counts and names the photos that cannot be read.

        Args:
            path: folder of photos, of COCO, or of a VOC year.
            name: of the dataset; by default that of the folder.
            layout: ``auto``, ``folder``, ``coco`` or ``voc``.
            annotations: COCO json, if it is not in ``path/annotations``.
        """
        from orl_explorer.train.ingest.ingest import ingest

        where = Path(path).expanduser()
        found = ingest(
            self.inner, where, layout=layout, annotations=None if annotations is None else Path(annotations), name=name
        )
        if found.unreadable:
            named = "; ".join(f"{file}: {reason}" for file, reason in found.unreadable[:LISTED])
            more = f"; and {len(found.unreadable) - LISTED} more" if len(found.unreadable) > LISTED else ""
            warnings.warn(f"{len(found.unreadable)} photos cannot be read: {named}{more}.", stacklevel=2)
        return found.dataset

    def add_encoder(self, source: str | Path, name: str | None = None, *, architecture: str = "") -> Encoder:
        """Add an encoder. Adding the same weights under the same name again returns the encoder that is there.

        Args:
            source: ``starter``, ``torchvision:resnet50``, ``random:resnet50``, or the path of a checkpoint.
            name: by default made from the source: ``starter``, ``torchvision-resnet50``, or the file's stem.
            architecture: of a checkpoint that does not tell it, such as ``timm:vit_small_patch16_224``.
        """
        from orl_explorer.train.encoders.weights import add, default_name

        with self._progress() as progress:
            return add(self.inner, str(source), name or default_name(str(source)), architecture, progress.log)

    def pretrain(
        self,
        dataset: Dataset | str | Sequence[str],
        name: str = "",
        *,
        method: str = "byol",
        preset: str = "paper",
        processes: int = 1,
        **settings: Any,
    ) -> Encoder:
        """Stage 1: train an encoder on whole photos, and wait for it.

        Args:
            dataset: one dataset, or the names of several to train on together.
            name: of the encoder; by default DATASET-METHOD.
            method: ``byol``, ``multicrop``, ``simclr`` or ``moco``.
            preset: ``paper``, or ``small`` for a trial on a CPU.
            processes: training processes, one for each GPU.
            **settings: changes to the preset, such as ``epochs=100``.
        """
        config = with_settings(train_preset(method, preset), settings)
        job = Pretrain(name=name, dataset_id=self._dataset(dataset).id, config=config, processes=processes)
        with self._progress() as progress:
            return once.trained(self.inner, job, progress, exact=bool(name))

    def mine(
        self,
        dataset: Dataset | str | Sequence[str],
        encoder: Encoder | str,
        name: str,
        *,
        preset: str = "paper",
        workers: int | None = None,
        **settings: Any,
    ) -> CorrespondenceSet:
        """Stage 2: find neighbours, RoIs and pairs, and wait for the set.

        Args:
            dataset: one dataset, or the names of several to mine as one.
            encoder: that measures how alike photos and RoIs are.
            name: of the correspondence set.
            preset: ``paper``, the published thresholds, or ``object``, pairs of likely objects.
            workers: processes for selective search; by default one for each core.
            **settings: changes to the preset, such as ``neighbors=5``.
        """
        config = with_settings(preset_named(MINE_PRESETS, preset), settings)
        ids = {"dataset_id": self._dataset(dataset).id, "encoder_id": self._encoder(encoder).id}
        with self._progress() as progress:
            return once.mined(self.inner, Mine(name=name, config=config, workers=workers, **ids), progress, exact=True)

    def train(
        self,
        correspondence_set: CorrespondenceSet | str,
        name: str = "",
        *,
        preset: str = "paper",
        processes: int = 1,
        **settings: Any,
    ) -> Encoder:
        """Stage 3: train an encoder on a correspondence set, and wait for it.

        Args:
            correspondence_set: a complete set.
            name: of the encoder; by default SET-orl.
            preset: ``paper``, or ``small`` for a trial on a CPU.
            processes: training processes, one for each GPU.
            **settings: changes to the preset, such as ``start_from="starter"``.
        """
        config = with_settings(train_preset("orl", preset), settings)
        assert isinstance(config, ORLConfig)
        mined = self._set(correspondence_set)
        job = Train(name=name, correspondence_set_id=mined.id, config=config, processes=processes)
        with self._progress() as progress:
            return once.trained(self.inner, job, progress, exact=bool(name))

    def evaluate(
        self, encoder: Encoder | str, protocol: str, data: Dataset | str | Path, *, preset: str = "", **settings: Any
    ) -> Evaluation:
        """Measure an encoder by a protocol, and wait for the numbers: they are in ``.summary``, as shares of 1.

        Args:
            encoder: whose frozen or fine-tuned features are measured.
            protocol: such as ``voc07-svm``, ``knn`` or ``correspondence``; docs/evaluation.md describes them.
            data: a folder, or a dataset, as the protocol asks for.
            preset: settings to start from; by default the protocol's first preset.
            **settings: changes to the preset.
        """
        config = with_settings(evaluate_preset(protocol, preset), settings)
        measured_on = data.name if isinstance(data, Dataset) else str(data)
        job = Evaluate.on(self.inner, self._encoder(encoder), measured_on, config)
        with self._progress() as progress:
            return once.evaluated(self.inner, job, progress)

    # Tables -----------------------------------------------------------------------------------------------------

    def datasets(self) -> pd.DataFrame:
        """List the datasets."""
        return _table(records.dataset_record(row) for row in datasets(self.inner.store))

    def encoders(self) -> pd.DataFrame:
        """List the encoders."""
        return _table(records.encoder_record(row) for row in encoders(self.inner.store))

    def sets(self) -> pd.DataFrame:
        """List the correspondence sets, newest first, with their settings and measures as dictionaries."""
        return _table(records.set_record(self.inner, row) for row in sets(self.inner.store, complete_only=False))

    def runs(self) -> pd.DataFrame:
        """List the runs, newest first."""
        reconcile(self.inner)
        return _table(records.run_record(self.inner, row) for row in runs(self.inner.store))

    def evaluations(self) -> pd.DataFrame:
        """List the evaluations, newest first, with their numbers as dictionaries."""
        return _table(records.evaluation_record(found) for found in evaluations(self.inner.store))

    def metrics(self, run: Run | Encoder | int) -> pd.DataFrame:
        """Return the numbers that a run reported: step, name, value. run: a run, its id, or the encoder it trained."""
        run_id = run if isinstance(run, int) else run.run_id if isinstance(run, Encoder) else run.id
        if run_id is None:
            raise UserError(f"The encoder {run} was not trained in this workspace, so it has no metrics.")
        return pd.DataFrame(metrics(self.inner.store, run_id), columns=["step", "name", "value"])

    # A dataset and its features ---------------------------------------------------------------------------------

    def photos(self, dataset: Dataset | str) -> pd.DataFrame:
        """Return the readable photos: id, path below the dataset's folder, file, width, height."""
        return frames.photos_frame(self.inner, self._dataset(dataset))

    def annotations(self, dataset: Dataset | str) -> pd.DataFrame:
        """Return the annotated objects: image_id, path, category, x, y, w, h in pixels as shown, difficult."""
        return frames.annotations_frame(self.inner, self._dataset(dataset))

    def features(self, encoder: Encoder | str, dataset: Dataset | str, *, precision: Precision = "fp32") -> np.ndarray:
        """Return image features, float32 [photos, D], unit rows, in the order of ``photos``.

        Features that mining has stored are read; the others are computed and stored.
        """
        with self._progress() as progress:
            return frames.image_features(
                self.inner, self._encoder(encoder), self._dataset(dataset), precision, progress
            )

    # A set --------------------------------------------------------------------------------------------------------

    def pairs(self, correspondence_set: CorrespondenceSet | str) -> pd.DataFrame:
        """Return the pairs, one a row, best first within a query photo and its neighbour.

        The columns are those of ``orl export --format parquet``, and the ids of photos and RoIs. Boxes are x, y, w, h
        in pixels as shown. A pair takes about 100 bytes.
        """
        return frames.pairs_frame(self.inner, self._set(correspondence_set))

    def rois(self, correspondence_set: CorrespondenceSet | str) -> pd.DataFrame:
        """Return the RoIs by photo and rank: roi_id, image_id, path, rank, box, and objectness if it was used."""
        return frames.rois_frame(self.inner, self._set(correspondence_set))

    def neighbors(self, correspondence_set: CorrespondenceSet | str) -> pd.DataFrame:
        """Return the K neighbours of each photo, nearest first: query_id, rank, key_id, similarity, both paths."""
        return frames.neighbors_frame(self.inner, self._set(correspondence_set))

    def roi_features(self, correspondence_set: CorrespondenceSet | str) -> np.ndarray:
        """Return the set's RoI features, float32 [RoIs, C], unit rows, in the order of ``rois``."""
        return frames.roi_features(self.inner, self._set(correspondence_set))

    def quality(self, correspondence_set: CorrespondenceSet | str) -> dict[str, float]:
        """Measure a set: without labels, and against the annotations if there are any."""
        from orl_explorer.train.mining.quality import quality_of

        return dict(quality_of(self.inner, self._set(correspondence_set).name))

    def sweep(
        self,
        dataset: Dataset | str,
        encoder: Encoder | str,
        grid: Mapping[str, Sequence[float | str]],
        *,
        preset: str = "paper",
        sample: int = 200,
        seed: int = 0,
        **settings: Any,
    ) -> pd.DataFrame:
        """Try a grid of mining settings on a sample of query photos: one row a cell, its settings, then its measures.

        Args:
            dataset: that was mined with the encoder before.
            encoder: whose stored features are used.
            grid: values by setting, such as ``{"neighbors": [5, 10]}``.
            preset: settings that do not vary.
            sample: query photos.
            seed: of the sample.
            **settings: changes to the preset.
        """
        from orl_explorer.train.mining.sweep import cell_rows, sweep

        base = with_settings(preset_named(MINE_PRESETS, preset), settings)
        names = self._dataset(dataset).name, self._encoder(encoder).name
        with self._progress() as progress:
            cells = sweep(self.inner, *names, grid, base=base, sample=sample, seed=seed, progress=progress)
        return pd.DataFrame(cell_rows(cells))

    def draw_pairs(
        self, correspondence_set: CorrespondenceSet | str, query: str | int, neighbor: int = 1, most: int = 8
    ) -> PairFigure:
        """Draw the pairs of a query photo and one of its neighbours.

        Args:
            correspondence_set: a complete set.
            query: path of the photo below the dataset's folder, or its id.
            neighbor: rank of the neighbour, from 1.
            most: pairs to draw, best first.
        """
        from orl_explorer.app.api.drawing import draw_set_pairs

        return draw_set_pairs(self.inner, self._set(correspondence_set), query, neighbor, most)

    def export(self, correspondence_set: CorrespondenceSet | str, form: SetFormat, to: str | Path) -> Path:
        """Write a set to a file (a folder, for ``reference``) in one of the formats of ``orl export``."""
        from orl_explorer.train.interchange.exports import export

        with self._progress() as progress:
            export(self.inner, self._set(correspondence_set).name, form, Path(to), progress=progress)
        return Path(to)

    def close(self) -> None:
        """Close the store."""
        self.inner.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


def open_workspace(path: str | Path | None = None, *, read_only: bool = False, bars: bool = True) -> Workspace:
    """Open a workspace. A new one is made if there is none.

    Args:
        path: its folder; by default ``$ORL_WORKSPACE``, else ``./workspace``.
        read_only: refuse every change.
        bars: show progress bars.
    """
    return Workspace(folder.open_workspace(path, read_only), bars)


def _table(rows: Iterator[records.Record]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))
