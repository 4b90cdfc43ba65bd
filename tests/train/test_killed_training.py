"""kill -9 at random moments of a training, also while a checkpoint is written: the same bits at the end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from db.models import Encoder, Run
from db.runs import add_run
from train import weights
from train.ingest import ingest
from train.methods import BYOLConfig, ORLConfig, TrainConfig
from train.mine import mine
from train.pretrain import pretrain, train
from train.progress import Progress, Stopped
from train.workspace import Workspace, open_workspace

KILLS = 10
EPOCHS = 6  # of two steps; a checkpoint after each


@pytest.fixture(scope="module")
def template(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine) -> Path:  # type: ignore[no-untyped-def]
    made = open_workspace(tmp_path_factory.mktemp("killed") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    run = add_run(made.store, Run(kind="mine", name="set", params={})).id
    mine(made, "demo", "starter", "set", tiny_mine, run_id=run, workers=2)
    made.store.close()
    return made.path


@pytest.fixture
def copied(template: Path, tmp_path: Path) -> Callable[[str], Workspace]:
    """A copy of the workspace under a name."""

    def copy(name: str) -> Workspace:
        shutil.copytree(template, tmp_path / name)
        return open_workspace(tmp_path / name)

    return copy


def learn(workspace: Workspace, config: TrainConfig, run_id: int, progress: Progress | None = None) -> Encoder:
    stage, subject = (train, "set") if isinstance(config, ORLConfig) else (pretrain, "demo")
    found = stage(workspace, subject, "learnt", config, run_id=run_id, progress=progress)  # type: ignore[operator]
    assert found is not None
    return found


def killed(attempt: Callable[[], object], seconds: float) -> bool:
    """Do it in a process of its own, which leads a group, and kill all of it after a while. False when it was done."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        try:
            attempt()
        finally:
            os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stage", ["byol", "orl"])
def test_killed_ten_times_at_random_it_learns_bitwise_what_it_would_have_learnt(
    copied: Callable[[str], Workspace],
    tiny_byol: BYOLConfig,
    tiny_orl: ORLConfig,
    new_run: Callable,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    workers: int,
) -> None:
    tiny = {"byol": tiny_byol, "orl": tiny_orl}[stage]
    config = tiny.model_copy(update={"epochs": EPOCHS, "checkpoint_every": 1, "workers": workers, "knn_every": 0})
    whole = copied("whole")
    started = time.monotonic()
    expected = learn(whole, config, new_run(whole, stage, "learnt")).weights_sha256
    took = time.monotonic() - started

    # A checkpoint is slow to write, so that many kills fall into it.
    real_save = torch.save

    def slow_save(payload: object, file) -> None:  # type: ignore[no-untyped-def]
        real_save(payload, file)
        file.flush()
        time.sleep(took / EPOCHS)

    monkeypatch.setattr(torch, "save", slow_save)
    workspace = copied("killed")
    run = new_run(workspace, stage, "learnt")
    chance, kills, half_written = random.Random(f"{stage} {workers}"), 0, 0
    folder = workspace.run_folder(run)
    while kills < KILLS:
        workspace.store.close()  # no connection goes through a fork
        if not killed(partial(learn, workspace, config, run), chance.uniform(0.05, 0.6) * took):
            shutil.rmtree(folder)  # it came to its end in spite of all; from the start again
            workspace = copied(f"again-{kills}")
            run = new_run(workspace, stage, "learnt")
            folder = workspace.run_folder(run)
            continue
        kills += 1
        half_written += bool(list(folder.glob(".checkpoint-*")))
    assert half_written
    monkeypatch.undo()
    assert learn(workspace, config, run).weights_sha256 == expected


def test_a_truncated_newest_checkpoint_falls_back_to_the_one_before_and_says_so(
    copied: Callable[[str], Workspace], tiny_orl: ORLConfig, new_run: Callable, stop_after: Callable
) -> None:
    config = tiny_orl.model_copy(update={"epochs": 3, "checkpoint_every": 1})
    whole = copied("whole")
    expected = learn(whole, config, new_run(whole, "train", "learnt")).weights_sha256

    workspace = copied("truncated")
    run = new_run(workspace, "train", "learnt")
    with pytest.raises(Stopped):
        learn(workspace, config, run, stop_after(6))
    newest = max(workspace.run_folder(run).glob("checkpoint-*.pt"))
    newest.write_bytes(newest.read_bytes()[:-1000])
    heard = stop_after()
    assert learn(workspace, config, run, heard).weights_sha256 == expected
    assert any(line.startswith("Passed over a damaged checkpoint: ") and str(newest) in line for line in heard.lines)
    assert any(line.startswith("Resumed at step ") for line in heard.lines)
