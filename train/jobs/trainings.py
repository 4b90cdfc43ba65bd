"""The kinds of run that make encoders: stage 1 and its baselines, stage 3, and the adaptation of an encoder."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, Self

from orl_explorer.db.encoders import encoder_by_id, find_encoder
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Run
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.runs.runs import run_by_id
from orl_explorer.db.sets.read import paired_image_count, set_by_id
from orl_explorer.orl.architectures import TIMM
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.job import Job, Made, Saw, recorded_device
from orl_explorer.train.jobs.names import (
    encoder_is_taken,
    free,
    refuse_taken_encoder,
)
from orl_explorer.train.jobs.trackers import TrackerName, refuse_missing_tracker
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.adapt_config import ADAPTED, AdaptConfig, counted_pairs, refuse_adapted
from orl_explorer.train.training.config import TrainConfig, refuse_uneven
from orl_explorer.train.training.methods import ORLConfig, read_config
from orl_explorer.train.training.presets import smaller_batch
from orl_explorer.train.training.start_from import refuse_unfit, refuse_wider, settled, start_encoder
from orl_explorer.train.training.trained_on import FILE as TRAINED_ON
from orl_explorer.train.training.trained_on import Correspondences, correspondences, photos_alone
from orl_explorer.train.workspace import Workspace, as_file_name


def most_processes() -> int:
    """Return how many processes may share a training: one per core, or 64 for machines with many GPUs and few cores."""
    return max(64, os.cpu_count() or 1)


class MakesEncoder(Job):
    """A job whose result is an encoder, in the folder of its run."""

    makes: ClassVar[Made] = "encoder"

    def named(self, workspace: Workspace) -> Self:
        return self if self.name else self.model_copy(update={"name": self.stem(workspace)}).freed(workspace)

    def stem(self, workspace: Workspace) -> str:
        """Return the default name of the encoder; `freed` may add a number."""
        raise NotImplementedError

    def freed(self, workspace: Workspace) -> Self:
        return self.model_copy(update={"name": free(workspace, self.name, encoder_is_taken)})

    def made(self, workspace: Workspace, run: Run) -> bool:
        encoder = find_encoder(workspace.store, run.name)
        return encoder is not None and encoder.run_id == run.id and (workspace.path / encoder.weights_path).is_file()


class Training(MakesEncoder):
    """Stages 1 and 3: train an encoder in one process, or in several that work together.

    log_to: a tracker that gets its numbers too.
    """

    config: TrainConfig
    processes: int = 1
    log_to: TrackerName | None = None

    method: ClassVar[str]  # of early runs, whose settings do not name it

    @property
    def described(self) -> str:
        return f"{self.label} ({self.config.title})"

    @property
    def together(self) -> int:
        return self.processes

    @classmethod
    def read(cls, values: dict[str, Any]) -> TrainConfig:
        return read_config({"method": cls.method} | values)

    def named(self, workspace: Workspace) -> Self:
        settings = settled(workspace.store, self.config)
        return super(Training, self.model_copy(update={"config": settings})).named(workspace)

    def share(self, nodes: int) -> None:
        refuse_uneven(self.config, nodes * self.processes)

    def _check(self, workspace: Workspace, photos: int, there_are: str) -> None:
        config = self.config
        if not 1 <= self.processes <= most_processes():
            raise UserError(f"Invalid value for --processes: {self.processes}. Use 1 to {most_processes()}.")
        refuse_uneven(config, self.processes)
        if self.log_to:
            refuse_missing_tracker(self.log_to)
        if photos < config.batch_size:
            raise UserError(
                f"A batch of {config.batch_size} photos is too large: {there_are}. "
                f"{smaller_batch(config, photos, self.processes)}"
            )
        if config.backbone.startswith(TIMM) and find_spec("timm") is None:
            raise UserError(
                f"The backbone {config.backbone} needs timm. Install it with: pip install 'orl-explorer[timm]'."
            )
        refuse_unfit(config)
        if config.start_from:
            start_encoder(workspace, config.start_from, config.backbone)
        refuse_taken_encoder(workspace, self.name)


def trained_on(workspace: Workspace, run: Run) -> Correspondences | None:
    """Return the data that a training uses, or None if it has not started and not gathered any yet."""
    path = workspace.run_folder(run.id) / TRAINED_ON
    return Correspondences.load(path) if path.is_file() else None


class Pretrain(Training):
    """Stage 1, or a baseline, on the photos of a dataset."""

    kind: Literal["pretrain"] = "pretrain"
    dataset_id: int

    label: ClassVar[str] = "stage 1"
    subject: ClassVar[str] = "dataset"
    method: ClassVar[str] = "byol"

    def stem(self, workspace: Workspace) -> str:
        return as_file_name(f"{self._dataset(workspace).name}-{self.config.method}")

    def check(self, workspace: Workspace) -> None:
        dataset = self._dataset(workspace)
        photos = dataset.image_count
        self._check(workspace, photos, f"the dataset '{dataset.name}' has {photos}")

    def names(self, workspace: Workspace) -> dict[str, Any]:
        return {"dataset": self._dataset(workspace).name}

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        from orl_explorer.train.training.stages import pretrain

        pretrain(workspace, self._dataset(workspace), self.name, self.config, run_id=run_id, progress=progress)

    def saw(self, workspace: Workspace) -> Saw:
        now = cache(lambda: photos_alone(workspace, self._dataset(workspace)))

        def the_same_photos(run: Run) -> bool:
            kept = trained_on(workspace, run)
            return kept is None or kept.shows_the_same(now())

        return the_same_photos

    def _dataset(self, workspace: Workspace) -> Dataset:
        return dataset_by_id(workspace.store, self.dataset_id)


class OnPairs(Job):
    """A job that learns from a correspondence set. Its id is None once it is deleted. correspondence: its name then."""

    correspondence_set_id: int | None
    correspondence: str = ""

    subject: ClassVar[str] = "correspondence"

    @property
    def pairs(self) -> ORLConfig:
        """Settings that say which of the set's pairs count."""
        raise NotImplementedError

    def row(self, workspace: Workspace) -> Run:
        run = super().row(workspace)
        run.dataset_id = self.mined(workspace).dataset_id  # the dataset of its photos, for readers of the row
        return run

    def saw(self, workspace: Workspace) -> Saw:
        """Compare the verdicts, if the settings leave out wrong pairs."""
        mined = self.mined(workspace)
        dataset = dataset_by_id(workspace.store, mined.dataset_id)
        now = cache(lambda: correspondences(workspace, mined, dataset, self.pairs).digest())

        def the_same_pairs(run: Run) -> bool:
            kept = trained_on(workspace, run) if self.pairs.leave_out_wrong else None
            return kept is None or kept.digest() == now()

        return the_same_pairs

    def mined(self, workspace: Workspace) -> CorrespondenceSet:
        """Return the set. Raises UserError if it was deleted."""
        if self.correspondence_set_id is None:
            raise UserError(f"The correspondence set '{self.correspondence}' was deleted. Start another run.")
        found = set_by_id(workspace.store, self.correspondence_set_id)
        assert found is not None  # a foreign key
        return found


class Train(OnPairs, Training):
    """Stage 3 on a correspondence set."""

    kind: Literal["train"] = "train"
    config: ORLConfig

    label: ClassVar[str] = "stage 3"
    method: ClassVar[str] = "orl"

    @property
    def pairs(self) -> ORLConfig:
        return self.config

    def stem(self, workspace: Workspace) -> str:
        return as_file_name(f"{self.mined(workspace).name}-orl")

    def check(self, workspace: Workspace) -> None:
        mined = self.mined(workspace)
        if not mined.pair_count:
            raise UserError(
                f"The correspondence set '{mined.name}' has no pairs. Mine again with a lower --min-similarity."
            )
        refuse_wider(mined, self.config)
        paired = paired_image_count(workspace.store, mined.id)
        self._check(workspace, paired, f"the set '{mined.name}' has {paired} with pairs")

    def names(self, workspace: Workspace) -> dict[str, Any]:
        return {"correspondence": self.mined(workspace).name}

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        from orl_explorer.train.training.stages import train

        train(workspace, self.mined(workspace), self.name, self.config, run_id=run_id, progress=progress)


class Adapt(OnPairs, MakesEncoder):
    """Learn a linear projector of an encoder from the pairs of a set. The encoder's network stays as it is."""

    kind: Literal["adapt"] = "adapt"
    encoder_id: int
    config: AdaptConfig

    label: ClassVar[str] = "adaptation"

    @classmethod
    def to(
        cls, workspace: Workspace, mined: CorrespondenceSet, encoder: Encoder | None, name: str, config: AdaptConfig
    ) -> Self:
        """Return the job that adapts an encoder. None: that of the set, or the one that it was adapted from."""
        row = encoder or encoder_by_id(workspace.store, mined.encoder_id)
        while encoder is None and row.kind == ADAPTED and row.run_id is not None:
            earlier = run_by_id(workspace.store, row.run_id).encoder_id
            assert earlier is not None  # of every run of this kind
            row = encoder_by_id(workspace.store, earlier)
        return cls(name=name, correspondence_set_id=mined.id, encoder_id=row.id, config=config)

    @property
    def pairs(self) -> ORLConfig:
        return counted_pairs(self.config)

    @classmethod
    def read(cls, values: dict[str, Any]) -> AdaptConfig:
        return AdaptConfig(**values)

    def stem(self, workspace: Workspace) -> str:
        return as_file_name(f"{self._encoder(workspace).name}-adapted")

    def check(self, workspace: Workspace) -> None:
        mined, encoder = self.mined(workspace), self._encoder(workspace)
        if not mined.pair_count:
            raise UserError(f"The correspondence set '{mined.name}' has no pairs to learn from.")
        refuse_vectors(encoder, "adapting it")
        if encoder.kind == ADAPTED:
            refuse_adapted(encoder.name)
        refuse_taken_encoder(workspace, self.name)

    def names(self, workspace: Workspace) -> dict[str, Any]:
        return {"correspondence": self.mined(workspace).name, "encoder": self._encoder(workspace).name}

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        from orl_explorer.train.training.adapting import adapt

        asked = self.mined(workspace), self._encoder(workspace), self.name, self.config
        device = recorded_device(workspace, run_id)
        adapt(workspace, *asked, run_id=run_id, device=device, progress=progress)

    def _encoder(self, workspace: Workspace) -> Encoder:
        return encoder_by_id(workspace.store, self.encoder_id)
