"""The kinds of run that train: stage 1 and its baselines, and stage 3."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, Self

from orl_explorer.db.encoders import find_encoder
from orl_explorer.db.models import CorrespondenceSet, Dataset, Run
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.orl.architectures import TIMM
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.job import Job, Made, Saw
from orl_explorer.train.jobs.names import (
    encoder_is_taken,
    free,
    refuse_taken_encoder,
)
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.config import ORLConfig, TrainConfig, read_config, refuse_uneven
from orl_explorer.train.training.start_from import refuse_wider, start_encoder
from orl_explorer.train.training.trained_on import FILE as TRAINED_ON
from orl_explorer.train.training.trained_on import Correspondences, correspondences, photos_alone
from orl_explorer.train.workspace import Workspace


class Training(Job):
    """What stages 1 and 3 have: they make an encoder, in one process or several together."""

    config: TrainConfig
    processes: int = 1

    makes: ClassVar[Made] = "encoder"
    method: ClassVar[str]  # of runs from before their settings said which

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
        return self if self.name else self.model_copy(update={"name": self.stem(workspace)}).freed(workspace)

    def stem(self, workspace: Workspace) -> str:
        """What the encoder is called where nobody named it, if that is free."""
        raise NotImplementedError

    def freed(self, workspace: Workspace) -> Self:
        return self.model_copy(update={"name": free(workspace, self.name, encoder_is_taken)})

    def made(self, workspace: Workspace, run: Run) -> bool:
        encoder = find_encoder(workspace.store, run.name)
        return encoder is not None and encoder.run_id == run.id and (workspace.path / encoder.weights_path).is_file()

    def _check(self, workspace: Workspace, photos: int, where: str) -> None:
        config = self.config
        if self.processes < 1:
            raise UserError(f"--processes {self.processes} will not do: a training needs at least one.")
        refuse_uneven(config, self.processes)
        if photos < config.batch_size:
            raise UserError(
                f"A batch of {config.batch_size} photos needs at least as many, and {where} has {photos}; "
                "use --preset small, or --set batch_size=… with a smaller one."
            )
        if config.backbone.startswith(TIMM) and find_spec("timm") is None:
            raise UserError(f"backbone = {config.backbone} needs timm: pip install 'orl-explorer[timm]'.")
        if config.start_from:
            start_encoder(workspace, config.start_from, config.backbone)
        refuse_taken_encoder(workspace, self.name)


def trained_on(workspace: Workspace, run: Run) -> Correspondences | None:
    """What a training trains on; None where it has not begun to, and will take what there is then."""
    path = workspace.run_folder(run.id) / TRAINED_ON
    return Correspondences.load(path) if path.is_file() else None


class Pretrain(Training):
    """Stage 1, or a method to compare it with, on a dataset's photos."""

    kind: Literal["pretrain"] = "pretrain"
    dataset_id: int

    label: ClassVar[str] = "stage 1"
    subject: ClassVar[str] = "dataset"
    method: ClassVar[str] = "byol"

    def stem(self, workspace: Workspace) -> str:
        return f"{self._dataset(workspace).name}-{self.config.method}"

    def check(self, workspace: Workspace) -> None:
        dataset = self._dataset(workspace)
        self._check(workspace, dataset.image_count, f"the dataset '{dataset.name}'")

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


class Train(Training):
    """Stage 3 on a correspondence set, by its id, None once it was deleted. correspondence: what it was called."""

    kind: Literal["train"] = "train"
    correspondence_set_id: int | None
    correspondence: str = ""
    config: ORLConfig

    label: ClassVar[str] = "stage 3"
    subject: ClassVar[str] = "correspondence"
    method: ClassVar[str] = "orl"

    def stem(self, workspace: Workspace) -> str:
        return f"{self._mined(workspace).name}-orl"

    def check(self, workspace: Workspace) -> None:
        mined = self._mined(workspace)
        if not mined.pair_count:
            raise UserError(f"The correspondence set '{mined.name}' has no pair; mine with a lower --min-similarity.")
        refuse_wider(mined, self.config)
        self._check(workspace, mined.image_count, f"the set '{mined.name}'")

    def names(self, workspace: Workspace) -> dict[str, Any]:
        return {"correspondence": self._mined(workspace).name}

    def row(self, workspace: Workspace) -> Run:
        run = super().row(workspace)
        run.dataset_id = self._mined(workspace).dataset_id  # where its photos are, for whoever reads the row
        return run

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        from orl_explorer.train.training.stages import train

        if self.correspondence_set_id is None:
            raise UserError(f"The correspondence set '{self.correspondence}' of run {run_id} was deleted.")
        train(workspace, self._mined(workspace), self.name, self.config, run_id=run_id, progress=progress)

    def saw(self, workspace: Workspace) -> Saw:
        """The same verdicts, where those count."""
        mined = self._mined(workspace)
        dataset = dataset_by_id(workspace.store, mined.dataset_id)
        now = cache(lambda: correspondences(workspace, mined, dataset, self.config).digest())

        def the_same_pairs(run: Run) -> bool:
            kept = trained_on(workspace, run) if self.config.leave_out_wrong else None
            return kept is None or kept.digest() == now()

        return the_same_pairs

    def _mined(self, workspace: Workspace) -> CorrespondenceSet:
        assert self.correspondence_set_id is not None
        found = set_by_id(workspace.store, self.correspondence_set_id)
        assert found is not None  # a foreign key
        return found
