"""The encoder of a training before its end, and of the epochs that it kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import add_run, update_run
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Stopped
from orl_explorer.train.training.early import add_any, add_of_run
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.training.milestones import kept_epochs
from orl_explorer.train.workspace import Workspace
from tests import shell
from tests.named import pretrain


def a_run(workspace: Workspace, config: BYOLConfig, name: str) -> int:
    """The row of a training of two steps an epoch."""
    run = Run(kind="pretrain", name=name, params={"dataset": "demo", "config": config.model_dump()}, total=4)
    run_id = add_run(workspace.store, run).id
    update_run(workspace.store, run_id, status="running")
    return run_id


def test_epochs_that_were_kept_are_encoders_of_their_own(photographed: Workspace, tiny_byol: BYOLConfig) -> None:
    run = a_run(photographed, config := tiny_byol.model_copy(update={"keep_every": 1}), "trained")
    done = pretrain(photographed, "demo", "trained", config, run_id=run)
    assert done is not None
    assert kept_epochs(photographed.run_folder(run)) == [1, 2]
    first = add_any(photographed, f"run:{run}@1")
    assert (first.name, first.kind, first.run_id) == ("trained-epoch-1", "stage1", run)
    assert first.source == f"run {run}, epoch 1 of 2"
    assert not first.supervised
    assert first.weights_sha256 != done.weights_sha256
    assert add_any(photographed, f"run:{run}@2", "last").weights_sha256 == done.weights_sha256
    assert add_of_run(photographed, run, name="newest").weights_sha256 == done.weights_sha256
    assert load_encoder(photographed, encoder_named(photographed.store, "trained-epoch-1")).features == 512
    with pytest.raises(UserError, match=r"Run \d+ has no encoder of epoch 7. It kept those of 1, 2."):
        add_any(photographed, f"run:{run}@7")
    with pytest.raises(UserError, match="'run:9+' is not a run"):
        add_any(photographed, f"run:{'9' * 40}")


def test_what_a_stopped_run_has_learned_can_be_used(
    photographed: Workspace, tiny_byol: BYOLConfig, stop_after: Callable
) -> None:
    run = a_run(photographed, tiny_byol, "stopped")
    with pytest.raises(
        UserError, match="has no checkpoint that can be read. It writes one every 10 epochs, and when it is stopped"
    ):
        add_any(photographed, f"run:{run}")
    with pytest.raises(Stopped):
        pretrain(photographed, "demo", "stopped", tiny_byol, run_id=run, progress=stop_after(3))
    row = add_any(photographed, f"run:{run}")
    assert (row.name, row.source) == ("stopped-epoch-1", f"run {run}, epoch 1 of 2")
    assert load_encoder(photographed, row).features == 512
    with pytest.raises(UserError, match="It kept none: keep_every was 0."):
        add_any(photographed, f"run:{run}@1")


def test_what_is_no_training_is_refused(mined_workspace: Workspace) -> None:
    where = ("--workspace", mined_workspace.path)
    assert "Run 1 (mine) trains no encoder." in shell.refused("encoders", "add", "run:1", *where)
    assert "There is no run 99." in shell.refused("encoders", "add", "run:99", *where)
    assert "'run:x' is not a run. Write run:ID" in shell.refused("encoders", "add", "run:x", *where)
    assert "without further options" in shell.refused("encoders", "add", "run:1", "--layer", "2", *where)
