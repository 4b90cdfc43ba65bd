"""Background work in a thread of the server. Its results stay in the server's memory.

Work whose results are stored, or that outlives the server, is a run instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress, Stopped


class BackgroundWork(Progress):
    """A function that runs in a thread, with its progress and its error. It can be stopped at its next advance."""

    def __init__(self, do: Callable[[Progress], None]) -> None:
        self.name, self.done, self.total = "", 0, 0
        self.error: str | None = None
        self.stopped = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(do,), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the work is running."""
        return self._thread.is_alive()

    @property
    def share(self) -> float:
        """Share of the current phase that is done, in [0, 1]."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def stopping(self) -> bool:
        """Whether the work was asked to stop and is still running."""
        return self.running and self._stop.is_set()

    def stop(self) -> None:
        """Ask the work to stop. Finished results are kept."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Block until the work ends, or until that many seconds have passed."""
        self._thread.join(seconds)

    def phase(self, name: str, total: int) -> None:
        self.name, self.done, self.total = name, 0, total

    def advance(self, count: int = 1) -> None:
        self.done += count
        if self._stop.is_set():
            raise Stopped

    def _run(self, do: Callable[[Progress], None]) -> None:
        try:
            do(self)
        except Stopped:
            self.stopped = True
        except UserError as problem:
            self.error = str(problem)
        except Exception:
            self.error = "This failed. See the server's log."
            raise
