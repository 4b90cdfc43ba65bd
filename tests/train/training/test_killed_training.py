"""A training killed at random moments, also while it writes a checkpoint, ends with the same bits."""

from __future__ import annotations

import io
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

from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.runs.runs import add_run
from orl_explorer.train.encoders import weights
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine, pretrain, train

pytestmark = pytest.mark.slow

KILLS = 10
EPOCHS = 6  # of two steps; a checkpoint after each
SLOW = 0.4  # seconds that half a checkpoint takes
SMALLEST = "timm:test_resnet"  # 0.4 million parameters
REAL_SAVE = torch.save


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
    """Copy the workspace under a name."""

    def copy(name: str) -> Workspace:
        shutil.copytree(template, tmp_path / name)
        return open_workspace(tmp_path / name)

    return copy


def learn(workspace: Workspace, config: TrainConfig, run_id: int, progress: Progress | None = None) -> Encoder:
    """Work on a run, instead of its process."""
    stage, subject = (train, "set") if isinstance(config, ORLConfig) else (pretrain, "demo")
    found = stage(workspace, subject, "learnt", config, run_id=run_id, progress=progress)  # type: ignore[operator]
    assert found is not None
    return found


class Speaking(Progress):
    """Writes a byte to a pipe at every step, and one when half of a checkpoint is written."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def advance(self, count: int = 1) -> None:
        os.write(self.pipe, b".")

    def save(self, payload: object, file) -> None:  # type: ignore[no-untyped-def]
        """A substitute for ``torch.save``, slow enough to be killed while it writes."""
        whole = io.BytesIO()
        REAL_SAVE(payload, whole)
        content = whole.getbuffer()
        file.write(content[: len(content) // 2])
        file.flush()
        os.write(self.pipe, b".")
        time.sleep(SLOW)
        file.write(content[len(content) // 2 :])


def killed(attempt: Callable[[Progress], object], after: int, delay: float) -> bool:
    """Work in a new process group, and kill the group some time after the n-th byte.

    Return False if it ended before.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        try:
            speaking = Speaking(writing)
            torch.save = speaking.save
            attempt(speaking)
        finally:
            os._exit(0)
    os.close(writing)
    heard = 0
    while heard < after and (said := os.read(reading, 1)):
        heard += len(said)
    os.close(reading)
    if heard == after:
        time.sleep(delay)
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return heard == after


@pytest.mark.parametrize(("stage", "workers"), [("byol", 0), ("orl", 2)])
def test_killed_ten_times_at_random_it_learns_bitwise_what_it_would_have_learnt(
    copied: Callable[[str], Workspace],
    tiny_byol: BYOLConfig,
    tiny_orl: ORLConfig,
    new_run: Callable,
    stage: str,
    workers: int,
) -> None:
    tiny = {"byol": tiny_byol, "orl": tiny_orl}[stage]
    changes = {"epochs": EPOCHS, "checkpoint_every": 1, "workers": workers, "knn_every": 0, "backbone": SMALLEST}
    config = tiny.model_copy(update=changes)
    whole = copied("whole")
    expected = learn(whole, config, new_run(whole, stage, "learnt")).weights_sha256

    workspace = copied("killed")
    run = new_run(workspace, stage, "learnt")
    # An attempt tells where it begins, of two steps, then that it writes: the fourth byte is always of a checkpoint.
    chance = random.Random(f"{stage} {workers}")
    moments = [4] * 4 + [chance.randint(1, 7) for _ in range(KILLS - 4)]
    chance.shuffle(moments)
    half_written, begun_again = 0, 0
    for after in moments:
        workspace.store.close()  # no connection goes through a fork
        while not killed(partial(learn, workspace, config, run), after, chance.uniform(0, SLOW / 2)):
            begun_again += 1  # it came to its end in spite of all; from the start again
            workspace = copied(f"again-{begun_again}")
            run = new_run(workspace, stage, "learnt")
            workspace.store.close()
        half_written += bool(list(workspace.run_folder(run).glob(".checkpoint-*")))
    assert half_written
    assert learn(workspace, config, run).weights_sha256 == expected


def test_a_truncated_newest_checkpoint_falls_back_to_the_one_before_and_says_so(
    copied: Callable[[str], Workspace], tiny_orl: ORLConfig, new_run: Callable, stop_after: Callable
) -> None:
    config = tiny_orl.model_copy(update={"epochs": 3, "checkpoint_every": 1, "backbone": SMALLEST})
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
    assert any(line.startswith("Skipped a damaged checkpoint: ") and str(newest) in line for line in heard.lines)
    assert any(line.startswith("Resumed at step ") for line in heard.lines)
