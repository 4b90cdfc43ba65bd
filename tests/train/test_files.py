"""Writes to a disk that is full or may not be written: one sentence, and nothing half-written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from orl_explorer.train import files
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.mining.features import finite
from orl_explorer.train.workspace import as_file_name, file_name

WRITERS: dict[str, Callable[[BinaryIO], object]] = {
    "bytes": lambda file: file.write(bytes(200_000)),
    "torch": lambda file: torch.save({"a": torch.zeros(50_000)}, file),
    "numpy": lambda file: np.savez(file, a=np.zeros(50_000)),
}
CAUSES = {
    errno.ENOSPC: "no space is left in {folder}. Free some space, then try again.",
    errno.EDQUOT: "the disk quota of {folder} is used up. Free some space, then try again.",
    errno.EROFS: "{folder} is on a read-only disk. Choose another folder.",
    errno.EACCES: "{folder} is not writable. Choose another folder, or change its permissions.",
    errno.EIO: "Input/output error.",
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("number", CAUSES)
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, number: int
) -> None:
    (tmp_path / "e.pt").write_text("old")
    monkeypatch.setattr(files._Watched, "write", _failing(number))
    with pytest.raises(UserError) as refusal:
        publish(WRITERS[writer], tmp_path / "e.pt")
    assert str(refusal.value) == f"Cannot write {tmp_path / 'e.pt'}: {CAUSES[number].format(folder=tmp_path)}"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("e.pt", "old")]


def _failing(number: int) -> Callable[[files._Watched, object], int]:
    def write(self: files._Watched, data: object) -> int:
        self.failed = OSError(number, os.strerror(number))
        raise self.failed

    return write


def test_features_that_are_not_finite_name_the_photo_and_the_encoder() -> None:
    rows = np.array([[1, 0], [0, np.nan], [np.inf, 0]], np.float32)
    with pytest.raises(UserError) as refusal:
        finite(rows, ["a.jpg", "b.jpg", "c.jpg"], "mine")
    assert str(refusal.value) == (
        "The encoder 'mine' computes features of b.jpg that are not finite numbers: its weights overflow. "
        "Use --precision fp32 or another encoder."
    )
    assert finite(rows[:1], ["a.jpg"], "mine") is not None


def test_the_default_name_of_an_encoder_can_be_a_file_name() -> None:
    assert as_file_name("demo-orl") == "demo-orl"
    assert as_file_name(r".v <b>1</b>\*?:|-orl") == "v -b-1--b-------orl"
    assert file_name(as_file_name("...")) == "encoder"


def test_a_secret_file_is_for_its_owner_alone_from_the_start(tmp_path: Path) -> None:
    modes = []
    publish(lambda file: modes.append(Path(file.name).stat().st_mode), tmp_path / "secret", mode=0o600)
    assert [stat.S_IMODE(mode) for mode in modes] == [0o600]
