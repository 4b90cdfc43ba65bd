"""The three verbs of a launcher, and the environment that it gives to a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from orl_explorer.db.models import Run
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import without_secrets
from orl_explorer.train.workspace import Workspace

# Waiting threads should sleep soon: a spinning thread occupies a core that the explorer or another run needs. They
# should not sleep at once: the next operation of a network follows within microseconds, and waking a thread takes as
# long as a small operation.
PATIENT = {"GOMP_SPINCOUNT": "3000"}
# glibc keeps freed memory, because the next step needs it again. Pages that were returned to the system would have to
# be cleared first, which takes up to a fifth of a training step.
RETENTIVE = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


class Launcher(Protocol):
    """Starts, finds and ends the processes of runs."""

    def start(self, workspace: Workspace, run: Run, command: Sequence[str]) -> str:
        """Start the command of a run. Return the handle by which the launcher knows it. Raises UserError."""

    def alive(self, workspace: Workspace, run: Run) -> bool:
        """Whether the run waits or works there. Raises Unreachable if nobody can say."""

    def stop(self, workspace: Workspace, run: Run) -> None:
        """End the run by force. Raises Unreachable."""


class Unreachable(UserError):
    """The engine that schedules a run does not answer."""


def environment() -> dict[str, str]:
    """Return the environment of a run that is started from here."""
    return PATIENT | RETENTIVE | without_secrets(os.environ)
