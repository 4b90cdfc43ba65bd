"""What a workspace holds, as DataFrames and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orl_explorer.app import records
from orl_explorer.app.api import frames
from orl_explorer.app.api.files import WorkspaceFiles
from orl_explorer.db.encoders import encoders
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Run
from orl_explorer.db.photos import datasets
from orl_explorer.db.runs.evaluations import evaluations
from orl_explorer.db.runs.runs import metrics, runs
from orl_explorer.db.sets.read import sets
from orl_explorer.orl.duplicates import NEAR_DUPLICATE
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launcher import reconcile
from orl_explorer.train.settings import Precision


@dataclass(frozen=True)
class WorkspaceTables(WorkspaceFiles):
    """The methods of a workspace that read its store."""

    def datasets(self) -> pd.DataFrame:
        """List the datasets."""
        return _table(records.dataset_record(row) for row in datasets(self.inner.store))

    def encoders(self) -> pd.DataFrame:
        """List the encoders."""
        return _table(records.encoder_record(row) for row in encoders(self.inner.store))

    def sets(self) -> pd.DataFrame:
        """List the correspondence sets, newest first. Settings and quality are columns of dictionaries."""
        return _table(records.set_record(self.inner, row) for row in sets(self.inner.store, complete_only=False))

    def runs(self) -> pd.DataFrame:
        """List the runs, newest first."""
        reconcile(self.inner)
        return _table(records.run_record(self.inner, row) for row in runs(self.inner.store))

    def evaluations(self) -> pd.DataFrame:
        """List the evaluations, newest first. The numbers of each are a dictionary."""
        return _table(records.evaluation_record(found) for found in evaluations(self.inner.store))

    def metrics(self, run: Run | Encoder | int) -> pd.DataFrame:
        """Return the metrics of a run, such as the loss of each step: step, name, value.

        Args:
            run: A run, its id, or the encoder that it trained.
        """
        run_id = run if isinstance(run, int) else run.run_id if isinstance(run, Encoder) else run.id
        if run_id is None:
            raise UserError(f"The encoder {run} was not trained in this workspace, so it has no metrics.")
        return pd.DataFrame(metrics(self.inner.store, run_id), columns=["step", "name", "value"])

    # A dataset and its features ---------------------------------------------------------------------------------

    def photos(self, dataset: Dataset | str) -> pd.DataFrame:
        """Return the readable photos: id, path (relative to the dataset's folder), file (absolute), width, height."""
        return frames.photos_frame(self.inner, self._dataset(dataset))

    def annotations(self, dataset: Dataset | str) -> pd.DataFrame:
        """Return the annotations: image_id, path, category, box x, y, w, h in pixels of the photo, difficult."""
        return frames.annotations_frame(self.inner, self._dataset(dataset))

    def features(self, encoder: Encoder | str, dataset: Dataset | str, *, precision: Precision = "fp32") -> np.ndarray:
        """Return image features, float32 [photos, D], in the order of ``photos``. Each row has unit length.

        Stored features are read. Missing features are computed and stored.

        Args:
            encoder: Encoder that computes the features.
            dataset: Dataset of the photos.
            precision: Precision of the forward passes, ``fp32`` or ``bf16``. Each has its own stored features.
        """
        with self._progress() as progress:
            return frames.image_features(
                self.inner, self._encoder(encoder), self._dataset(dataset), precision, progress
            )

    def near_duplicates(
        self, dataset: Dataset | str, encoder: Encoder | str, threshold: float = NEAR_DUPLICATE
    ) -> pd.DataFrame:
        """Return groups of photos that are nearly the same, as ``orl duplicates`` lists them. Photos are not changed.

        Each row is a photo: group (from 1, largest first), keep, path, width, height, objects (annotated), similarity
        to the photo of the group that should be kept, and the reason to keep that one. Missing features are computed
        and stored.

        Args:
            dataset: Dataset of the photos.
            encoder: Encoder whose image features are compared.
            threshold: Cosine similarity from which two photos are near-duplicates.
        """
        with self._progress() as progress:
            return frames.duplicates_frame(
                self.inner, self._dataset(dataset), self._encoder(encoder), threshold, progress
            )

    # A set --------------------------------------------------------------------------------------------------------

    def pairs(self, correspondence_set: CorrespondenceSet | str) -> pd.DataFrame:
        """Return one row per pair, sorted by query photo, then by neighbour, then by rank of the pair, best first.

        The columns are those of ``orl export --format parquet`` and the ids of photos and RoIs. Boxes are x, y, w, h in
        pixels of the photo. margin: similarity minus that of the next best key RoI. cycle: whether the query RoI is
        also the most similar one to the key RoI. A row takes about 100 bytes of memory.
        """
        return frames.pairs_frame(self.inner, self._set(correspondence_set))

    def rois(self, correspondence_set: CorrespondenceSet | str) -> pd.DataFrame:
        """Return the RoIs by photo and rank: roi_id, image_id, path, rank, box, and objectness if mining used it."""
        return frames.rois_frame(self.inner, self._set(correspondence_set))

    def neighbors(self, correspondence_set: CorrespondenceSet | str) -> pd.DataFrame:
        """Return the K neighbours of each photo, nearest first: ids and paths of query and key, rank, similarity."""
        return frames.neighbors_frame(self.inner, self._set(correspondence_set))

    def roi_features(self, correspondence_set: CorrespondenceSet | str) -> np.ndarray:
        """Return the RoI features, float32 [RoIs, C], in the order of ``rois``. Each row has unit length."""
        return frames.roi_features(self.inner, self._set(correspondence_set))


def _table(rows: Iterator[records.Record]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))
