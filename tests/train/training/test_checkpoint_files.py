"""Checkpoints are written atomically, and the newest readable one is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.checkpoints import load_checkpoint, save_checkpoint


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save(folder: Path, step: int) -> Path:
    return save_checkpoint(folder, step, {"method": {"w": torch.full((1000,), float(step))}})


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (3, 6, 9, 12):
        save(tmp_path, step)
    assert names(tmp_path) == ["checkpoint-000000009.pt", "checkpoint-000000012.pt"]


def test_a_checkpoint_is_its_tensors_and_its_step(tmp_path: Path) -> None:
    save(tmp_path, 7)
    found = load_checkpoint(tmp_path, Progress())
    assert found is not None
    assert found["step"] == 7
    assert torch.equal(found["method"]["w"], torch.full((1000,), 7.0))


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, Progress()) is None
    assert load_checkpoint(tmp_path / "not made yet", Progress()) is None


@pytest.mark.parametrize("left", [0, 10, 1000, -100])
def test_a_damaged_newest_is_passed_over_and_the_log_says_so(tmp_path: Path, left: int, stop_after: Callable) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    newest.write_bytes(newest.read_bytes()[:left])
    heard = stop_after()
    found = load_checkpoint(tmp_path, heard)
    assert found is not None
    assert found["step"] == 1
    (line,) = heard.lines
    assert line.startswith("Skipped a damaged checkpoint: ")
    assert str(newest) in line


def test_a_write_that_fails_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def breaks(payload: object, file) -> None:  # type: ignore[no-untyped-def]
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", breaks)
    with pytest.raises(UserError, match=r"no space is left in .*\. Free some space"):
        save(tmp_path, 2)
    assert names(tmp_path) == ["checkpoint-000000001.pt"]


def test_a_file_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    real_replace = Path.replace
    monkeypatch.setattr("os.fsync", lambda _: events.append("fsync"))

    def replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    publish(lambda file: file.write(b"content"), tmp_path / "file.pt")
    assert events == ["fsync", "rename", "fsync"]  # the file, its name, the folder


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-000000003.pt.4711").write_bytes(b"half")
    save(tmp_path, 6)
    assert names(tmp_path) == ["checkpoint-000000006.pt"]
