"""Checkpoints: tensors and the step, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from orl_explorer.train.encoders.checkpoint_files import read_torch
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.progress import Progress

KEPT = 2  # the newest, and the one before it in case the newest is damaged


def save_checkpoint(folder: Path, step: int, payload: dict[str, Any]) -> Path:
    """Write the checkpoint of a step and delete old ones."""
    path = folder / f"checkpoint-{step:09d}.pt"
    publish(lambda file: torch.save(payload | {"step": step}, file), path)
    # The name of an incomplete file of a killed process begins with a dot.
    for old in (*_newest_first(folder)[KEPT:], *folder.glob(".checkpoint-*")):
        old.unlink()
    return path


def load_checkpoint(folder: Path, progress: Progress) -> dict[str, Any] | None:
    """Return the newest readable checkpoint, or None. Skips and logs damaged ones."""
    for path in _newest_first(folder):
        try:
            return read_torch(path)
        except UserError as error:
            progress.log(f"Skipped a damaged checkpoint: {error}")
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.pt"), reverse=True)
