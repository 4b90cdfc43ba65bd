"""Progress bars, on a terminal and in a notebook."""

from __future__ import annotations

from importlib.util import find_spec

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from orl_explorer.train.progress import Progress


class _Bars(rich.progress.Progress):
    """Bars of which a file or a pipe shows the last state, on lines of its own."""

    def stop(self) -> None:
        """Stop the bars. Rich ends their line on a terminal alone."""
        ended = self.live.is_started and any(task.visible for task in self.tasks)
        super().stop()
        if ended and not self.console.is_terminal and not self.console.is_jupyter:
            self.console.line()


def progress_bars(total: bool = True, console: Console | None = None) -> rich.progress.Progress:
    """Return progress bars: with a total, or a mere count."""
    columns = [TextColumn("{task.description}", markup=False), BarColumn()]
    more = (
        [MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
        if total
        else [TextColumn("{task.completed:.0f}")]
    )
    return _Bars(*columns, *more, console=console)


def notebook_console() -> Console:
    """Return a console that a notebook without ipywidgets can show too: the bars then appear when they are full."""
    plain = Console().is_jupyter and find_spec("ipywidgets") is None
    return Console(force_jupyter=False) if plain else Console()


class Bars(Progress):
    """Shows what a stage reports."""

    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None, visible=False)

    def phase(self, name: str, total: int) -> None:
        self._bars.reset(self._task, description=name, total=total, visible=True)

    def advance(self, count: int = 1) -> None:
        self._bars.advance(self._task, count)

    def log(self, message: str) -> None:
        self._bars.console.print(message, highlight=False, markup=False)
