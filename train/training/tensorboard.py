"""The numbers of a run as TensorBoard events, beside those in the store."""

from __future__ import annotations

from pathlib import Path

FOLDER = "tensorboard"  # in the folder of the run


class Board:
    """A writer of scalars. It purges events that a killed attempt wrote after its last checkpoint."""

    def __init__(self, folder: Path, step: int, on: bool) -> None:
        """on: True in the first process only."""
        self._writer = None
        if on:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(folder / FOLDER, purge_step=step + 1)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Write the scalars of a step."""
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Write buffered events to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write the last events and close the file."""
        if self._writer is not None:
            self._writer.close()
