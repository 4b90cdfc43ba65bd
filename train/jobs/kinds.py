"""The kinds of run. Each is one class: the ids it works on, its settings, and its work.

A job is a run's row as an object: launching writes the row, ``job_of`` reads it. This module does not import torch;
the work does.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import Dataset, Encoder, Run
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.photos import dataset_by_id, dataset_named, usable_images
from orl_explorer.db.runs.evaluations import evaluation_of_run
from orl_explorer.db.runs.runs import LIVE, run_by_id
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import DELETED, set_by_id, set_of_run
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import (
    CorrespondenceConfig,
    EvaluateConfig,
    Protocol,
    data_state,
    protocol_named,
    read_evaluate_config,
    resolved,
)
from orl_explorer.train.evaluate.run import STATE
from orl_explorer.train.jobs.job import Job, Made, Saw, recorded_device
from orl_explorer.train.jobs.launchers.choice import is_ray_job
from orl_explorer.train.jobs.names import (
    free,
    refuse_taken_set,
    set_is_taken,
)
from orl_explorer.train.jobs.trainings import Adapt, Pretrain, Train, Training
from orl_explorer.train.mining import maps
from orl_explorer.train.mining.by_vectors import check_vectors, refuse_settings, settings_by
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.given import FILE as GIVEN
from orl_explorer.train.mining.mine import check
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Precision
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:
    from orl_explorer.train.mining.place import WorkPlace


class Mine(Job):
    """Stage 2: mine a correspondence set from a dataset with an encoder.

    workers: processes for selective search. revision: the dataset's revision at launch. imported: the file that the
    correspondences, or only the neighbours, were read from; a copy of them is in the run's folder. archived: the digest
    of the set, if that file is an archive; embed: whether to compute its features then.
    """

    kind: Literal["mine"] = "mine"
    dataset_id: int
    encoder_id: int
    config: MineConfig
    workers: int | None = None
    revision: int | None = None
    imported: str | None = None
    archived: str | None = None
    embed: bool = False

    label: ClassVar[str] = "stage 2"
    makes: ClassVar[Made] = "set"
    subject: ClassVar[str] = "dataset"

    @property
    def described(self) -> str:
        return "stage 2 (mining)"

    @classmethod
    def read(cls, values: dict[str, Any]) -> MineConfig:
        return MineConfig(**values)

    def named(self, workspace: Workspace) -> Self:
        dataset, encoder = self._rows(workspace)
        config = self.config if self.archived else settings_by(encoder, self.config)
        return self.model_copy(update={"revision": dataset.revision, "config": config})

    def freed(self, workspace: Workspace) -> Self:
        return self.model_copy(update={"name": free(workspace, self.name, set_is_taken)})

    def check(self, workspace: Workspace) -> None:
        if self.imported is None:  # an import was checked before its file was read
            dataset, encoder = self._rows(workspace)
            check_vectors(workspace, dataset, encoder, self.config)
            check(workspace, dataset, encoder, self.name, self.config)
        refuse_taken_set(workspace, self.name)
        if self.workers is not None and self.workers < 1:
            raise UserError(f"Invalid value for --workers: {self.workers}. Use at least 1.")

    def names(self, workspace: Workspace) -> dict[str, Any]:
        dataset, encoder = self._rows(workspace)
        return {"dataset": dataset.name, "encoder": encoder.name}

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        from orl_explorer.train.mining.given import Given, adopt
        from orl_explorer.train.mining.mine import mine
        from orl_explorer.train.mining.place import working

        if self.made(workspace, run_by_id(workspace.store, run_id)):  # by an attempt whose end was not recorded
            return
        asked = *self._rows(workspace), self.name, self.config
        how: dict[str, Any] = {"device": recorded_device(workspace, run_id), "progress": progress}
        with working(is_ray_job(run_by_id(workspace.store, run_id)), self.workers, progress) as place:
            if self.archived is not None:
                self._restore(workspace, run_id, place, how)
            elif self.imported is None:
                mine(workspace, *asked, run_id=run_id, place=place, **how)
            else:
                given = Given.load(workspace.run_folder(run_id) / GIVEN)
                adopt(workspace, *asked, given, run_id=run_id, place=place, **how)

    def _restore(self, workspace: Workspace, run_id: int, place: WorkPlace, how: dict[str, Any]) -> None:
        from orl_explorer.train.mining.digest import set_digest
        from orl_explorer.train.mining.restore import FILE, Restored, restore_set

        given = Restored.load(workspace.run_folder(run_id) / FILE)
        asked = *self._rows(workspace), self.name, self.config
        made = restore_set(workspace, *asked, given, run_id=run_id, embed=self.embed, place=place, **how)
        digest = set_digest(workspace.store, made)
        same = "as in the archive" if digest == self.archived else f"in the archive {self.archived}"
        how["progress"].log(f"Digest of the set: {digest}, {same}.")

    def made(self, workspace: Workspace, run: Run) -> bool:
        found = set_of_run(workspace.store, run.id)
        return found is not None and found.status == "complete"

    def saw(self, workspace: Workspace) -> Saw:
        """Compare the photos, and the annotations if they are the proposals."""
        revision, store = self._rows(workspace)[0].revision, workspace.store
        out = {*kept_out(store, self.dataset_id).tolist()}
        now = cache(lambda: {image.id for image in usable_images(store, self.dataset_id)} - out)

        def the_same(run: Run) -> bool:
            if self.config.proposals == "annotations" and run.params.get("revision") != revision:
                return False
            found = set_of_run(store, run.id)
            if found is None:
                return run.status != "done"
            if matched := write.images_with_neighbors(store, found.id):
                return matched == now()
            return write.filtered_images(store, found.id) <= now()

        return the_same

    def does_the_same(self, other: Job) -> bool:
        return super().does_the_same(other) and isinstance(other, Mine) and self.imported is other.imported is None

    def _rows(self, workspace: Workspace) -> tuple[Dataset, Encoder]:
        return dataset_by_id(workspace.store, self.dataset_id), encoder_by_id(workspace.store, self.encoder_id)


class MakeMap(Job):
    """A map of a dataset's photos, or of a set's RoIs, by an encoder. A map in progress is not started twice.

    set: the name of the set of id ``set_id``, which renaming the set changes too.
    """

    kind: Literal["map"] = "map"
    dataset_id: int
    encoder_id: int
    precision: Precision = "fp32"
    set_id: int | None = None
    set: str | None = None
    selection: int | None = None

    device: ClassVar[str] = "map"  # its own queue: a map of a few minutes should not wait for a training
    joins: ClassVar[bool] = True
    label: ClassVar[str] = "map"
    makes: ClassVar[Made] = "map"
    subject: ClassVar[str] = "dataset"

    @classmethod
    def showing(cls, shown: maps.MapOf) -> Self:
        """Return the job that makes a map."""
        what = f"RoIs of {shown.mined.name}" if shown.mined else shown.dataset.name
        return cls(
            name=f"map of {what} by {shown.encoder.name}",
            dataset_id=shown.dataset.id,
            encoder_id=shown.encoder.id,
            precision=shown.precision,
            set_id=shown.mined.id if shown.mined else None,
            set=shown.mined.name if shown.mined else None,
            selection=shown.selection,
        )

    def check(self, workspace: Workspace) -> None:
        maps.enough_points(workspace, self._shown(workspace))

    def names(self, workspace: Workspace) -> dict[str, Any]:
        shown = self._shown(workspace)
        return {"dataset": shown.dataset.name, "encoder": shown.encoder.name}

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        maps.make_map(workspace, self._shown(workspace), progress)

    def made(self, workspace: Workspace, run: Run) -> bool:
        return maps.find_map(workspace, self._shown(workspace)) is not None

    def _what(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name"})

    def _shown(self, workspace: Workspace) -> maps.MapOf:
        if self.set is not None:
            mined = None if self.set_id is None else set_by_id(workspace.store, self.set_id)
            if mined is None or mined.status == DELETED:
                raise UserError(f"The correspondence set '{self.set}' was deleted. Start another run.")
            return maps.rois_map(workspace, mined, self.selection)
        dataset = dataset_by_id(workspace.store, self.dataset_id)
        return maps.MapOf(dataset, encoder_by_id(workspace.store, self.encoder_id), self.precision)


class Evaluate(Job):
    """Measure an encoder by a protocol. data: a folder, or the name of the dataset ``dataset_id``."""

    kind: Literal["evaluate"] = "evaluate"
    encoder_id: int
    dataset_id: int | None = None
    data: str
    config: EvaluateConfig

    label: ClassVar[str] = "evaluation"
    makes: ClassVar[Made] = "evaluation"
    subject: ClassVar[str] = "data"

    @classmethod
    def on(cls, workspace: Workspace, encoder: Encoder, data: str, config: EvaluateConfig) -> Self:
        """Return the job for a folder, or for the name of a dataset. Raises StoreError or UserError."""
        whose = None
        if not protocol_named(config.protocol).takes_folder:
            whose = dataset_named(workspace.store, data).id
        return cls(encoder_id=encoder.id, dataset_id=whose, data=resolved(config, data), config=config)

    @classmethod
    def read(cls, values: dict[str, Any]) -> EvaluateConfig:
        return read_evaluate_config(values)

    @property
    def described(self) -> str:
        return f"evaluation ({self._protocol.title})"

    def named(self, workspace: Workspace) -> Self:
        encoder = encoder_by_id(workspace.store, self.encoder_id)
        return self.model_copy(update={"name": f"{encoder.name}-{self.config.protocol}"})

    def check(self, workspace: Workspace) -> None:
        encoder = encoder_by_id(workspace.store, self.encoder_id)
        if isinstance(self.config, CorrespondenceConfig):  # the one that may need no forward pass
            asked = MineConfig(proposals=self.config.proposals)
            refuse_settings(encoder, asked)
            if asked.maps_boxes:
                raise UserError(
                    f"Invalid value for proposals: {asked.proposals}. Pairs are compared among boxes that do not "
                    "depend on the encoder. Use search, annotations or the name of imported proposals."
                )
        else:
            refuse_vectors(encoder, f"the evaluation {self.config.protocol}")
            self._protocol.refuse(encoder)
        self._protocol.check(workspace, self._data(workspace), self.config)

    def names(self, workspace: Workspace) -> dict[str, Any]:
        return {"encoder": encoder_by_id(workspace.store, self.encoder_id).name}

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        from orl_explorer.train.evaluate.run import evaluate

        recorded_device(workspace, run_id)
        encoder = encoder_by_id(workspace.store, self.encoder_id)
        evaluate(workspace, encoder, self._data(workspace), self.config, run_id=run_id, progress=progress)

    def made(self, workspace: Workspace, run: Run) -> bool:
        return evaluation_of_run(workspace.store, run.id) is not None

    def saw(self, workspace: Workspace) -> Saw:
        """Compare the files of the folder, or the revision of the dataset."""
        now = cache(lambda: data_state(workspace, self._data(workspace), self.config))

        def the_same_data(run: Run) -> bool:
            kept = workspace.run_folder(run.id) / STATE
            return kept.read_text() == now() if kept.is_file() else run.status in LIVE

        return the_same_data

    def _what(self) -> dict[str, Any]:
        return super()._what() | ({"data": self.data} if self.dataset_id is None else {})

    @property
    def _protocol(self) -> Protocol:
        return protocol_named(self.config.protocol)

    def _data(self, workspace: Workspace) -> str:
        return self.data if self.dataset_id is None else dataset_by_id(workspace.store, self.dataset_id).name


EVERY: tuple[type[Job], ...] = (Pretrain, Mine, Train, Adapt, Evaluate, MakeMap)
KINDS = {kind.model_fields["kind"].default: kind for kind in EVERY}


def run_described(run: Run) -> str:
    """Describe a run for people, even if another version of the project wrote its row."""
    try:
        return job_of(run).described
    except UserError:
        return KINDS[run.kind].label if run.kind in KINDS else run.kind


def subject_of(run: Run) -> str:
    """Return the name of a run's input: a set, a dataset, or the data of an evaluation."""
    return str(run.params.get(KINDS[run.kind].subject, "")) if run.kind in KINDS else ""


def makes(run: Run) -> Made | None:
    """Return the kind of result of a run, or None if this version does not know the kind of run."""
    return KINDS[run.kind].makes if run.kind in KINDS else None


def trains(run: Run) -> bool:
    """Whether a run is a training. A training has curves and probes, and makes an encoder."""
    return issubclass(KINDS.get(run.kind, Job), Training)


def job_of(run: Run) -> Job:
    """Return the job of a run. Raises UserError if another version of the project wrote its row."""
    if run.kind not in KINDS:
        raise UserError(f"Run {run.id} has a kind that this version does not know: {run.kind}.")
    return KINDS[run.kind].of(run)
