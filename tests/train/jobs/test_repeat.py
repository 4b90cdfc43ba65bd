"""The command that starts a run again."""

from __future__ import annotations

import shlex

import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.evaluate.protocols import evaluate_preset
from orl_explorer.train.jobs import kinds
from orl_explorer.train.jobs.job import Job
from orl_explorer.train.jobs.repeat import command_of
from orl_explorer.train.jobs.trainings import Adapt, Pretrain, Train
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.presets import train_preset
from orl_explorer.train.workspace import Workspace
from tests import shell


def every_kind(workspace: Workspace) -> list[Job]:
    store = workspace.store
    data, by, mined = (
        dataset_named(store, "demo"),
        encoder_named(store, "starter"),
        complete_set_named(store, "demo-starter"),
    )
    on = {"dataset_id": data.id}
    simclr = with_settings(train_preset("simclr", "small"), {"batch_size": 6, "start_from": ""})
    orl = with_settings(train_preset("orl", "paper"), {"batch_size": 6, "leave_out_wrong": True, "pair_ratio": 0.05})
    objects = with_settings(MINE_PRESETS["object"], {"neighbors": 3, "min_worth": 0.5})
    return [
        Pretrain(name="one", config=simclr, **on),
        Train(name="two three", correspondence_set_id=mined.id, config=orl),
        Adapt.to(workspace, mined, by, "three", AdaptConfig(steps=7, learning_rate=0.001)),
        kinds.Mine(name="four", encoder_id=by.id, config=objects, workers=1, revision=data.revision, **on),
        kinds.Evaluate.on(workspace, by, "demo", evaluate_preset("correspondence")).named(workspace),
    ]


def test_the_command_launches_a_run_that_does_the_same(
    mined_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Job] = []

    def launched(workspace: Workspace, job: Job, **_: object) -> Run:
        asked.append(job.named(workspace))
        raise SystemExit(0)

    for module in ("stages", "evaluations"):
        monkeypatch.setattr(f"orl_explorer.app.cli.{module}.launch", launched)
    for job in every_kind(mined_workspace):
        words = command_of(job.row(mined_workspace))
        assert shlex.split(shlex.join(words)) == words
        shell.orl(*words[1:], "--workspace", mined_workspace.path)
        assert asked[-1] == job
    assert len(asked) == 5


def test_settings_are_told_by_the_preset_from_which_fewest_differ(mined_workspace: Workspace) -> None:
    told = [shlex.join(command_of(job.row(mined_workspace))) for job in every_kind(mined_workspace)]
    simclr, _, adapt, objects, _ = told
    assert simclr == "orl pretrain --dataset demo --method simclr --name one --preset small --set batch_size=6"
    assert adapt == (
        "orl adapt --correspondence demo-starter --encoder starter --name three --set steps=7 --set learning_rate=0.001"
    )
    assert objects.startswith("orl mine --dataset demo --encoder starter --name four --preset object --set ")
    assert objects.endswith(" --workers 1")
    assert objects.count("--set") == 2


def test_an_import_and_a_run_of_another_version_have_no_command() -> None:
    assert command_of(Run(id=1, kind="sculpt", name="x", params={})) == []
    given = {"imported": "pairs.csv", "dataset": "demo", "encoder": "starter", "config": {}}
    assert command_of(Run(id=2, kind="mine", name="x", dataset_id=1, encoder_id=1, params=given)) == []
