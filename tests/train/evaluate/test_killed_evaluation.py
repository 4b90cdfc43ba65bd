"""An evaluation process that is killed and resumed gives the same numbers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.runs.evaluations import evaluation_of_run, evaluation_values
from orl_explorer.db.runs.runs import ENDED, run_by_id
from orl_explorer.train.evaluate.protocols import SVMConfig
from orl_explorer.train.jobs.launcher import read_log, reconcile, resume, wait
from orl_explorer.train.workspace import Workspace
from tests.named import launch_evaluate

pytestmark = pytest.mark.slow


def test_a_killed_evaluation_resumes_to_the_numbers_of_one_that_was_not(
    place: Workspace, voc: Path, evaluated: Callable
) -> None:
    config = SVMConfig(workers=0, bootstrap=50)
    straight, values = evaluated(voc, config)
    run = launch_evaluate(place, "r18", str(voc), config)
    assert (run.kind, run.encoder_id, run.params["data"]) == ("evaluate", straight.encoder_id, str(voc))
    parts = place.run_folder(run.id) / "train-2.vectors"
    deadline = time.monotonic() + 120
    while not parts.exists() or not parts.stat().st_size:  # it has begun to keep what it computes
        assert run_by_id(place.store, run.id).status not in ENDED, read_log(place, run)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(run_by_id(place.store, run.id).pid or 0, signal.SIGKILL)
    while run.id not in reconcile(place) and run_by_id(place.store, run.id).status != "crashed":
        assert time.monotonic() < deadline
    assert evaluation_of_run(place.store, run.id) is None

    ended = wait(place, resume(place, run.id).id)
    assert (ended.status, ended.exit_code) == ("done", 0), read_log(place, ended)
    found = evaluation_of_run(place.store, run.id)
    assert found is not None
    assert found.summary == straight.summary
    assert evaluation_values(place.store, found.id) == values
