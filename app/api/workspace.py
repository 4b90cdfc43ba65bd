"""A workspace for notebooks and scripts: each stage is a method, each result is a row, a DataFrame or an array."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from orl_explorer.app import records
from orl_explorer.app.api import frames
from orl_explorer.app.api.tables import WorkspaceTables
from orl_explorer.app.api.told import warn_of
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Evaluation
from orl_explorer.orl.reading import choices_of
from orl_explorer.train import workspace as folder
from orl_explorer.train.evaluate.protocols import evaluate_preset
from orl_explorer.train.jobs import once
from orl_explorer.train.jobs.datasets import Accepted, move_photos
from orl_explorer.train.jobs.kinds import Evaluate, Mine
from orl_explorer.train.jobs.trackers import TrackerName
from orl_explorer.train.jobs.trainings import Adapt, Pretrain, Train
from orl_explorer.train.mining.by_vectors import settings_by
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.mining.judging import TARGET, verdicts_on_set
from orl_explorer.train.settings import preset_named, with_settings
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.presets import train_preset

if TYPE_CHECKING:
    from orl_explorer.app.api.drawing import PairFigure


@dataclass(frozen=True)
class Workspace(WorkspaceTables):
    """An open workspace: the folder of all datasets, encoders, correspondence sets and runs.

    ``open_workspace`` returns it. An argument for a dataset, an encoder or a set is its name, or the object that
    another method returned. Each stage runs in its own process, as from the command line: the explorer shows the run,
    and interrupting the call stops it. If you call a stage again with the same inputs and settings, it returns the
    earlier result, or resumes the earlier run if that did not finish.

    Methods raise ``UserError`` or ``StoreError``. The message says what is wrong and what to do.
    """

    def ingest(
        self, path: str | Path, name: str | None = None, *, layout: str = "auto", annotations: str | Path | None = None
    ) -> Dataset:
        """Add the photos of a folder and its subfolders as a dataset. Call it again to add new and changed photos.

        Photos stay where they are. If some photos cannot be read, a warning counts and names them.

        Args:
            path: Folder of photos, of COCO, or of one year of VOC, such as ``VOCdevkit/VOC2007``.
            name: Name of the dataset. Default: the name of the folder.
            layout: ``auto`` (detect it), ``folder`` (photos without annotations), ``coco`` or ``voc``.
            annotations: COCO json with annotations. Default: the one in ``path/annotations``.
        """
        from orl_explorer.train.ingest.ingest import ingest

        file, where = Path(annotations) if annotations else None, Path(path).expanduser()
        found = ingest(self.inner, where, layout=layout, annotations=file, name=name)
        warn_of(found)
        return found.dataset

    def move(
        self, dataset: Dataset | str, path: str | Path, *, check: bool = False, accept: Collection[Accepted] = ()
    ) -> Dataset:
        """Name the folder that holds a dataset's photos now. Sets, tags, features and runs stay.

        Args:
            dataset: The dataset, or its name.
            path: Folder that holds the photos, under the same names and with the same sizes.
            check: Compare the content of all photos, not of a sample.
            accept: ``missing`` marks absent photos as gone. ``different`` leaves changed ones to the next ingest.
        """
        name, root = self._dataset(dataset).name, Path(path).expanduser()
        return move_photos(self.inner, name, root, check=check, accept=accept).dataset

    def add_encoder(
        self,
        source: str | Path,
        name: str | None = None,
        *,
        architecture: str = "",
        part: str = "",
        seen: str = "",
        **choices: Any,
    ) -> Encoder:
        """Add an encoder. If its weights have been added under this name before, return the existing encoder.

        Args:
            source: ``starter``, ``torchvision:resnet50``, ``timm:NAME``, ``timm-local:FOLDER``, ``hf:FOLDER``,
                ``random:resnet50``, the path of a checkpoint, ``run:ID`` for the newest checkpoint of a training, or
                ``run:ID@EPOCH`` for an epoch that it kept (``keep_every``).
            name: Name of the encoder. Default: a name made from the source, such as ``torchvision-resnet50``.
            architecture: Architecture of the checkpoint, such as ``timm:vit_small_patch16_224``. Default: detected.
            part: Network to read from a checkpoint that holds several, such as ``teacher``.
            seen: Name of a dataset whose photos set the statistics of the batch norms.
            **choices: How photos are read with it: ``layer``, ``photo_size``, ``crop_size``, ``pooling`` (``mean``,
                ``class`` or ``head``), ``learned_from``. An encoder keeps them.
        """
        from orl_explorer.train.training.early import add_any

        with self._progress() as progress:
            read = choices_of(choices)
            return add_any(self.inner, str(source), name or "", architecture, progress.log, part, read, seen)

    def pretrain(
        self,
        dataset: Dataset | str | Sequence[str],
        name: str = "",
        *,
        method: str = "byol",
        preset: str = "paper",
        processes: int = 1,
        log: TrackerName | None = None,
        **settings: Any,
    ) -> Encoder:
        """Train an encoder on whole photos (stage 1). Return it when training is done.

        Args:
            dataset: One dataset, or the names of several, which are used as one.
            name: Name of the new encoder. Default: DATASET-METHOD.
            method: ``byol``, ``multicrop``, ``simclr``, ``moco``, ``densecl``, ``mls`` or ``selfemd``.
            preset: ``paper`` (published settings, for GPUs) or ``small`` (a quick check on a CPU).
            processes: Number of training processes. Use one per GPU.
            log: Tracker that gets the curves too: ``wandb``, ``mlflow`` or ``trackio``.
            **settings: Settings that differ from the preset, such as ``epochs=100``.
        """
        config = with_settings(train_preset(method, preset), settings)
        job = Pretrain(name=name, dataset_id=self._dataset(dataset).id, config=config, processes=processes, log_to=log)
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
        """Mine neighbours, RoIs and pairs (stage 2). Return the correspondence set when it is complete.

        Args:
            dataset: One dataset, or the names of several, which are used as one.
            encoder: Encoder whose features measure the similarity of photos and of RoIs.
            name: Name of the new correspondence set.
            preset: ``paper`` (published settings) or ``object`` (pairs of RoIs that are likely to hold objects).
            workers: Number of processes for selective search. Default: one per core.
            **settings: Settings that differ from the preset, such as ``neighbors=5``.
        """
        by = self._encoder(encoder)
        config = settings_by(by, with_settings(preset_named(MINE_PRESETS, preset), settings))
        ids = {"dataset_id": self._dataset(dataset).id, "encoder_id": by.id}
        with self._progress() as progress:
            return once.mined(self.inner, Mine(name=name, config=config, workers=workers, **ids), progress, exact=True)

    def train(
        self,
        correspondence_set: CorrespondenceSet | str,
        name: str = "",
        *,
        preset: str = "paper",
        processes: int = 1,
        log: TrackerName | None = None,
        **settings: Any,
    ) -> Encoder:
        """Train an encoder on a correspondence set by ORL (stage 3). Return it when training is done.

        Args:
            correspondence_set: A complete correspondence set.
            name: Name of the new encoder. Default: SET-orl.
            preset: ``paper`` (published settings, for GPUs) or ``small`` (a quick check on a CPU).
            processes: Number of training processes. Use one per GPU.
            log: Tracker that gets the curves too: ``wandb``, ``mlflow`` or ``trackio``.
            **settings: Settings that differ from the preset, such as ``epochs=100``.
        """
        config = with_settings(train_preset("orl", preset), settings)
        assert isinstance(config, ORLConfig)
        mined = self._set(correspondence_set)
        job = Train(name=name, correspondence_set_id=mined.id, config=config, processes=processes, log_to=log)
        with self._progress() as progress:
            return once.trained(self.inner, job, progress, exact=bool(name))

    def adapt(
        self,
        correspondence_set: CorrespondenceSet | str,
        name: str = "",
        *,
        encoder: Encoder | str | None = None,
        **settings: Any,
    ) -> Encoder:
        """Adapt an encoder to a correspondence set: learn a linear projector on top of it. Return the new encoder.

        Args:
            correspondence_set: A complete correspondence set, whose pairs it learns from.
            name: Name of the new encoder. Default: ENCODER-adapted.
            encoder: Encoder to adapt. Default: the set's, or the one that it was made from if that is adapted already.
            **settings: Settings of the adaptation, such as ``steps=600``.
        """
        row = None if encoder is None else self._encoder(encoder)
        job = Adapt.to(self.inner, self._set(correspondence_set), row, name, with_settings(AdaptConfig(), settings))
        with self._progress() as progress:
            return once.trained(self.inner, job, progress, exact=bool(name))

    def evaluate(
        self, encoder: Encoder | str, protocol: str, data: Dataset | str | Path, *, preset: str = "", **settings: Any
    ) -> Evaluation:
        """Evaluate an encoder by a protocol. Return the evaluation, whose numbers are in ``.summary``, as shares of 1.

        Args:
            encoder: Encoder to evaluate.
            protocol: Name of the protocol, such as ``voc07-svm``, ``knn`` or ``correspondence``; docs/evaluation.md
                describes them all.
            data: Folder or dataset to measure on. The protocol determines which.
            preset: Preset of the settings. Default: the first preset of the protocol.
            **settings: Settings that differ from the preset.
        """
        config = with_settings(evaluate_preset(protocol, preset), settings)
        measured_on = data.name if isinstance(data, Dataset) else str(data)
        job = Evaluate.on(self.inner, self._encoder(encoder), measured_on, config)
        with self._progress() as progress:
            return once.evaluated(self.inner, job, progress)

    # Measures ---------------------------------------------------------------------------------------------------

    def search(
        self,
        correspondence_set: CorrespondenceSet | str,
        photo: str | Path,
        box: Sequence[int] | None = None,
        *,
        top: int = 20,
        **filters: Any,
    ) -> pd.DataFrame:
        """Return the RoIs of a set that are most similar to a box of any photo, best first, as ``orl search`` does.

        The columns are image_id, path, roi_id, x, y, w, h, similarity, and category (of the annotated object that the
        RoI covers). The box is embedded by the set's encoder.

        Args:
            correspondence_set: A complete correspondence set.
            photo: File of the photo, of the dataset or not.
            box: x, y, w, h in pixels of the photo. Default: the whole photo.
            top: Maximum number of RoIs, up to 1000.
            **filters: ``least`` (a similarity), ``category``, ``once=True`` (one RoI of each photo).
        """
        return frames.search_frame(self.inner, self._set(correspondence_set), Path(photo), box, top, filters)

    def quality(self, correspondence_set: CorrespondenceSet | str) -> dict[str, float]:
        """Measure the quality of a set: without labels, and against annotations if the photos have them."""
        from orl_explorer.train.mining.quality import quality_of

        return dict(quality_of(self.inner, self._set(correspondence_set).name))

    def verdicts(
        self,
        correspondence_set: CorrespondenceSet | str,
        target: float = TARGET,
        *,
        random: int | None = None,
        seed: int = 1,
    ) -> dict[str, Any]:
        """Sum up people's verdicts on the pairs of a set, as ``orl verdicts --json`` does.

        Args:
            correspondence_set: A complete correspondence set.
            target: Share of good pairs at or above the proposed threshold.
            random: Size of a random sample of the page *Judge pairs*. Only verdicts on it count, so that the share of
                wrong pairs is an unbiased estimate. Default: all verdicts.
            seed: Seed of the sample.
        """
        found = verdicts_on_set(self.inner, self._set(correspondence_set), target, random, seed)
        return records.judged_record(found)

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
        """Measure combinations of mining settings on a sample of query photos, without mining the whole dataset.

        Each row of the DataFrame has one combination of settings and its measures.

        Args:
            dataset: Dataset that has been mined with the encoder.
            encoder: Encoder whose stored features are used.
            grid: Values of each setting that varies, such as ``{"neighbors": [5, 10]}``.
            preset: Preset of the settings that do not vary.
            sample: Number of query photos, drawn at random.
            seed: Seed of the sample.
            **settings: Settings that differ from the preset.
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
            correspondence_set: A complete correspondence set.
            query: Path of the query photo, relative to the dataset's folder, or its id.
            neighbor: Rank of the neighbour, from 1.
            most: Maximum number of pairs to draw, best first.
        """
        from orl_explorer.app.api.drawing import draw_set_pairs

        return draw_set_pairs(self.inner, self._set(correspondence_set), query, neighbor, most)


def open_workspace(path: str | Path | None = None, *, read_only: bool = False, bars: bool = True) -> Workspace:
    """Open a workspace. Create it if it does not exist.

    Args:
        path: Folder of the workspace. Default: ``$ORL_WORKSPACE``, else ``./workspace``.
        read_only: Whether to refuse every change. The workspace must exist.
        bars: Whether to show progress bars.
    """
    return Workspace(folder.open_workspace(path, read_only), bars)
