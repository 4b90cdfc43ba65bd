"""What a run would make, made once: by a run that did exactly this before, one to go on with, or a new one. No torch.

Runs are recognised by what they do, their kind, subject and settings, and not by their names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orl_explorer.db.correspondences import find_set
from orl_explorer.db.encoders import find_encoder
from orl_explorer.db.evaluations import evaluation_of_run
from orl_explorer.db.models import CorrespondenceSet, Encoder, Evaluation, Run
from orl_explorer.db.runs import ENDED, find_run, runs
from orl_explorer.train import runs as launcher
from orl_explorer.train.config import MineConfig, Settings
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import EvaluateConfig, protocol_named, read_evaluate_config
from orl_explorer.train.methods import ORLConfig, TrainConfig, read_config
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

# What changes how fast a run is and what it reports on its way, but not what it makes.
ASIDE = frozenset(("workers", "checkpoint_every", "knn_every"))
LOOK = 0.3  # seconds between looks at a run under way


def pretrained(
    workspace: Workspace, dataset: str, config: TrainConfig, name: str, progress: Progress | None = None
) -> Encoder:
    """The encoder of stage 1, or of a method to compare it with, on a data set. Raises UserError or StoreError."""
    run = _done(
        workspace,
        "pretrain",
        {"dataset": dataset},
        config,
        lambda: launcher.launch_pretrain(workspace, dataset, config, launcher.free_name(workspace, name)),
        progress,
    )
    return _encoder(workspace, run)


def mined(
    workspace: Workspace,
    dataset: str,
    encoder: str,
    config: MineConfig,
    name: str,
    progress: Progress | None = None,
) -> CorrespondenceSet:
    """The complete set of a data set and an encoder. Raises UserError or StoreError."""
    run = _done(
        workspace,
        "mine",
        {"dataset": dataset, "encoder": encoder},
        config,
        lambda: launcher.launch_mine(workspace, dataset, encoder, _free_set(workspace, name), config),
        progress,
    )
    found = find_set(workspace.store, run.name)
    assert found is not None
    return found


def trained(
    workspace: Workspace, correspondence: str, config: ORLConfig, name: str, progress: Progress | None = None
) -> Encoder:
    """The encoder of stage 3 on a correspondence set. Raises UserError or StoreError."""
    run = _done(
        workspace,
        "train",
        {"correspondence": correspondence},
        config,
        lambda: launcher.launch_train(workspace, correspondence, config, launcher.free_name(workspace, name)),
        progress,
    )
    return _encoder(workspace, run)


def evaluated(
    workspace: Workspace, encoder: str, data: str, config: EvaluateConfig, progress: Progress | None = None
) -> Evaluation:
    """What a protocol says of an encoder on some data. Raises UserError or StoreError."""
    where = str(Path(data).expanduser().resolve()) if protocol_named(config.protocol).takes_folder else data
    run = _done(
        workspace,
        "evaluate",
        {"encoder": encoder, "data": where},
        config,
        lambda: launcher.launch_evaluate(workspace, encoder, data, config),
        progress,
    )
    found = evaluation_of_run(workspace.store, run.id)
    assert found is not None
    return found


def run_that_did(workspace: Workspace, kind: str, subject: dict[str, str], config: Settings) -> Run | None:
    """The run that does exactly this: a done one before one under way, and that before one to go on with."""
    same = [run for run in runs(workspace.store) if run.kind == kind and _does(workspace, run, subject, config)]
    order = {"done": 0, "running": 1, "stopping": 1, "queued": 1}
    return min(same, key=lambda run: (order.get(run.status, 2), -run.id), default=None)


def _does(workspace: Workspace, run: Run, subject: dict[str, str], config: Settings) -> bool:
    if any(run.params.get(key) != value for key, value in subject.items()) or "imported" in run.params:
        return False
    had = _settings(run)
    if had is None or type(had) is not type(config) or _what(had) != _what(config):
        return False
    return run.status != "done" or _made(workspace, run)


def _settings(run: Run) -> Settings | None:
    """The settings of a run; None where another version of the project wrote them."""
    values = run.params["config"]
    try:
        match run.kind:
            case "mine":
                return MineConfig(**values)
            case "evaluate":
                return read_evaluate_config(values)
        return read_config({"method": "byol" if run.kind == "pretrain" else "orl"} | values)
    except (UserError, ValueError):
        return None


def _what(config: Settings) -> dict[str, Any]:
    return {name: value for name, value in config.model_dump(mode="json").items() if name not in ASIDE}


def _made(workspace: Workspace, run: Run) -> bool:
    """Whether what a run made is still there."""
    match run.kind:
        case "mine":
            found = find_set(workspace.store, run.name)
            return found is not None and found.status == "complete" and found.run_id == run.id
        case "evaluate":
            return evaluation_of_run(workspace.store, run.id) is not None
    encoder = find_encoder(workspace.store, run.name)
    return encoder is not None and encoder.run_id == run.id and (workspace.path / encoder.weights_path).is_file()


def _done(
    workspace: Workspace,
    kind: str,
    subject: dict[str, str],
    config: Settings,
    launch: Callable[[], Run],
    progress: Progress | None,
) -> Run:
    progress = progress or Progress()
    launcher.reconcile(workspace)
    run = run_that_did(workspace, kind, subject, config)
    if run is None:
        run = launch()
    elif run.status == "done":
        progress.log(f"Run {run.id} has made '{run.name}' already.")
        return run
    elif run.status in ENDED:
        progress.log(f"Run {run.id} goes on with '{run.name}'.")
        run = launcher.resume(workspace, run.id)
    ended = _followed(workspace, run, progress)
    if ended.status != "done":
        raise UserError(
            f"Run {run.id} ('{run.name}') is {ended.status}{': ' + ended.error if ended.error else '.'} "
            "What is done stays done; the same command goes on from here."
        )
    progress.log(f"Run {run.id} has made '{run.name}'.")
    return ended


def _followed(workspace: Workspace, run: Run, progress: Progress) -> Run:
    """Tell how far a run is until it ends; whoever interrupts this stops the run, which keeps what it has."""
    phase, told = "", 0
    try:
        while True:
            now = find_run(workspace.store, run.id) or run
            if now.phase != phase:
                phase, told = now.phase, 0
                progress.phase(f"{now.name}: {phase}", now.total)
            progress.advance(now.progress - told)
            told = now.progress
            if now.status in ENDED:
                return now
            if not launcher.is_alive(now):
                launcher.reconcile(workspace)
            time.sleep(LOOK)
    except BaseException:
        if not _ended(workspace, run):
            launcher.stop(workspace, run.id)
        raise


def _ended(workspace: Workspace, run: Run) -> bool:
    now = find_run(workspace.store, run.id)
    return now is None or now.status in ENDED


def _encoder(workspace: Workspace, run: Run) -> Encoder:
    found = find_encoder(workspace.store, run.name)
    assert found is not None
    return found


def _free_set(workspace: Workspace, stem: str) -> str:
    number = 1
    while launcher.set_is_taken(workspace, name := stem if number == 1 else f"{stem}-{number}"):
        number += 1
    return name
