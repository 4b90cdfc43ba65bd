"""What every kind of run has: whose ids it works on, settings, and what it does with them. The kinds are in `kinds`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from orl_explorer.db.models import Run
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Settings
from orl_explorer.train.workspace import Workspace

COLUMNS = ("dataset_id", "encoder_id", "correspondence_set_id")  # of a run's row: what it works on
# What changes how fast a run is and what it reports on its way, but not what it makes.
ASIDE = frozenset(("workers", "checkpoint_every", "knn_every"))

Saw = Callable[[Run], bool]
Made = Literal["encoder", "set", "evaluation", "map"]


class Job(BaseModel):
    """What a run is asked to do. ``name`` is that of what it makes; "" for the one that `named` gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    kind: str
    name: str = ""

    device: ClassVar[str] = "cpu"  # its queue: one run at a time works there
    joins: ClassVar[bool] = False  # whether a run that is doing the same already is as good as another
    label: ClassVar[str]  # in words, as far as the kind alone tells
    makes: ClassVar[Made]
    subject: ClassVar[str]  # what of ``names`` says what it works on

    @classmethod
    def of(cls, run: Run) -> Self:
        """The job of a run's row. Raises UserError where another version of the project wrote it."""
        fields = cls.model_fields.keys() - {"kind", "name", "config"}
        own = {name: value for name, value in run.params.items() if name in fields}
        own |= {name: getattr(run, name) for name in COLUMNS if name in fields}
        try:
            if "config" in cls.model_fields:
                own["config"] = cls.read(run.params.get("config", {}))
            return cls(name=run.name, **own)
        except ValidationError as error:
            raise UserError(f"Run {run.id} was written by another version of the project; start a new run.") from error

    @classmethod
    def read(cls, values: dict[str, Any]) -> Settings:
        """The settings that a run keeps. Raises UserError or ValidationError where another version wrote them."""
        raise NotImplementedError

    @property
    def described(self) -> str:
        """What it does, in words."""
        return self.label

    @property
    def together(self) -> int:
        """Processes that do the work together."""
        return 1

    def named(self, workspace: Workspace) -> Self:
        """The job with everything that is settled when it is launched, its name above all."""
        return self

    def freed(self, workspace: Workspace) -> Self:
        """The job under a name that is free: its own, or that and a number."""
        return self

    def check(self, workspace: Workspace) -> None:
        """Raises UserError or StoreError when it cannot work."""
        raise NotImplementedError

    def names(self, workspace: Workspace) -> dict[str, Any]:
        """Of what it works on, for people to read in the row of the run."""
        raise NotImplementedError

    def row(self, workspace: Workspace) -> Run:
        """The row of a run that does it."""
        own = self.model_dump(exclude={"kind", "name", "config", *COLUMNS}, exclude_none=True)
        ids = {name: getattr(self, name, None) for name in COLUMNS}
        settings = getattr(self, "config", None)
        config = {} if settings is None else {"config": settings.model_dump(mode="json")}
        params = own | self.names(workspace) | config
        return Run(kind=self.kind, name=self.name, device=self.device, params=params, **ids)

    def work(self, workspace: Workspace, run_id: int, progress: Progress) -> None:
        """Do it, as the run of this id; or go on where an earlier attempt of that run stopped."""
        raise NotImplementedError

    def made(self, workspace: Workspace, run: Run) -> bool:
        """Whether what a run of this made is still there."""
        raise NotImplementedError

    def saw(self, workspace: Workspace) -> Saw:
        """Whether a run of the same subject and settings, which may have begun long ago, saw what it would see now."""
        return lambda run: True

    def does_the_same(self, other: Job) -> bool:
        """Whether another job makes the same of the same, under whatever name."""
        return type(self) is type(other) and self._what() == other._what()

    def _what(self) -> dict[str, Any]:
        settings = getattr(self, "config", None)
        config = {} if settings is None else settings.model_dump(mode="json", exclude=set(ASIDE))
        ids = {name: getattr(self, name) for name in COLUMNS if name in type(self).model_fields}
        return ids | {"settings": type(settings), "config": config}
