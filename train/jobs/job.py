"""The base class of every kind of run: the ids it works on, its settings, and its work. The kinds are in `kinds`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from orl_explorer.db.models import Run
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress
from orl_explorer.train.provenance import add_to_attempt
from orl_explorer.train.settings import Settings
from orl_explorer.train.workspace import Workspace

COLUMNS = ("dataset_id", "encoder_id", "correspondence_set_id")  # of a run's row: the rows it works on
# Settings that change the speed of a run and its progress reports, but not its result.
ASIDE = frozenset(("workers", "checkpoint_every", "keep_every", "knn_every"))

Saw = Callable[[Run], bool]
Made = Literal["encoder", "set", "evaluation", "map"]


def settings_of(run: Run) -> dict[str, Any]:
    """Return the settings of a run, with its subject."""
    own = {name: value for name, value in run.params.items() if name != "config" and value is not None}
    return own | run.params.get("config", {})


class Job(BaseModel):
    """The work of a run. ``name`` is the name of its result; if it is "", `named` chooses one."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    kind: str
    name: str = ""

    device: ClassVar[str] = "cpu"  # its queue, in which one run works at a time
    joins: ClassVar[bool] = False  # whether a live run that does the same is used instead of a new one
    label: ClassVar[str]  # of the kind, for people
    makes: ClassVar[Made]
    subject: ClassVar[str]  # the key of ``names`` that holds the name of its input

    @classmethod
    def of(cls, run: Run) -> Self:
        """Read the job from a run's row. Raises UserError if another version of the project wrote it."""
        fields = cls.model_fields.keys() - {"kind", "name", "config"}
        own = {name: value for name, value in run.params.items() if name in fields}
        own |= {name: getattr(run, name) for name in COLUMNS if name in fields}
        try:
            if "config" in cls.model_fields:
                own["config"] = cls.read(run.params.get("config", {}))
            return cls(name=run.name, **own)
        except ValidationError as error:
            raise UserError(f"Run {run.id} was written by another version of the project. Start a new run.") from error

    @classmethod
    def read(cls, values: dict[str, Any]) -> Settings:
        """Read the settings of a run. Raises UserError or ValidationError if another version wrote them."""
        raise NotImplementedError

    @property
    def described(self) -> str:
        """A description of the work, for people."""
        return self.label

    @property
    def together(self) -> int:
        """The number of processes that share the work."""
        return 1

    def named(self, workspace: Workspace) -> Self:
        """Return the job with the values that are fixed at launch, such as its name."""
        return self

    def freed(self, workspace: Workspace) -> Self:
        """Return the job under a free name: its own, or its own with a number."""
        return self

    def check(self, workspace: Workspace) -> None:
        """Check that the job can run. Raises UserError or StoreError if it cannot."""
        raise NotImplementedError

    def share(self, nodes: int) -> None:
        """Check that several machines can share the work. Raises UserError."""
        if nodes != 1:
            raise UserError(f"Only a training can use {nodes} machines. Leave out --nodes for this run ({self.label}).")

    def names(self, workspace: Workspace) -> dict[str, Any]:
        """Return the names of its inputs, which the run's row keeps for people to read."""
        raise NotImplementedError

    def row(self, workspace: Workspace) -> Run:
        """Return the row of a run that does the job."""
        own = self.model_dump(exclude={"kind", "name", "config", *COLUMNS}, exclude_none=True)
        ids = {name: getattr(self, name, None) for name in COLUMNS}
        settings = getattr(self, "config", None)
        config = {} if settings is None else {"config": settings.model_dump(mode="json")}
        params = own | self.names(workspace) | config
        return Run(kind=self.kind, name=self.name, device=self.device, params=params, **ids)

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        """Do the work as the run of this id. Continues where an earlier attempt of that run stopped."""
        raise NotImplementedError

    def made(self, workspace: Workspace, run: Run) -> bool:
        """Whether the result of a run of this job still exists."""
        raise NotImplementedError

    def saw(self, workspace: Workspace) -> Saw:
        """Return a function that tells whether an earlier run with equal input and settings saw the present data."""
        return lambda run: True

    def does_the_same(self, other: Job) -> bool:
        """Whether another job has the same input and settings. Names do not count."""
        return type(self) is type(other) and self._what() == other._what()

    def _what(self) -> dict[str, Any]:
        settings = getattr(self, "config", None)
        config = {} if settings is None else settings.model_dump(mode="json", exclude=set(ASIDE))
        ids = {name: getattr(self, name) for name in COLUMNS if name in type(self).model_fields}
        return ids | {"settings": type(settings), "config": config}


def recorded_device(workspace: Workspace, run_id: int) -> str:
    """Return the device that a run works on, and record it."""
    from orl_explorer.train.training.distributed import choose_device

    device = str(choose_device())
    add_to_attempt(workspace.run_folder(run_id), {}, {"device": device})
    return device
