"""What a run would make, made once: by a run that did exactly this before, one to go on with, or a new one. No torch.

Runs are recognised by what they do: kind, settings, and what they saw, by ids and digests. Names say nothing: a set may
be deleted and another called the same, a data set may have grown since.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from orl_explorer.db.encoders import encoder_named, find_encoder
from orl_explorer.db.models import CorrespondenceSet, Encoder, Evaluation, Run
from orl_explorer.db.photos import dataset_by_id, dataset_named, usable_images
from orl_explorer.db.runs.evaluations import evaluation_of_run
from orl_explorer.db.runs.runs import ENDED, LIVE, find_run, runs
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import complete_set_named, find_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import (
    EvaluateConfig,
    data_state,
    protocol_named,
    read_evaluate_config,
    resolved,
)
from orl_explorer.train.evaluate.run import STATE
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.folders import can_go_on
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Settings
from orl_explorer.train.training.config import ORLConfig, TrainConfig, read_config
from orl_explorer.train.training.trained_on import FILE, Correspondences, correspondences, photos_alone
from orl_explorer.train.workspace import Workspace

# What changes how fast a run is and what it reports on its way, but not what it makes.
ASIDE = frozenset(("workers", "checkpoint_every", "knn_every"))
LOOK = 0.3  # seconds between looks at a run under way


@dataclass(frozen=True)
class Task:
    """What a run is asked for. ids: of its subject, by column of ``run``. same: whether a run of that subject and of
    these settings, which may have begun long ago, saw what it would see now.
    """

    kind: str
    ids: dict[str, int]
    config: Settings
    same: Callable[[Run], bool]


def pretraining(workspace: Workspace, dataset: str, config: TrainConfig) -> Task:
    """Stage 1, or a method to compare it with: the same as a run on the same photos. Raises StoreError."""
    row = dataset_named(workspace.store, dataset)
    now = cache(lambda: photos_alone(workspace, row))

    def same(run: Run) -> bool:
        kept = _trained_on(workspace, run)
        return kept is None or kept.shows_the_same(now())

    return Task("pretrain", {"dataset_id": row.id}, config, same)


def mining(workspace: Workspace, dataset: str, encoder: str, config: MineConfig) -> Task:
    """Stage 2: the same as a run on the same photos, and annotations where it mines those. Raises StoreError."""
    row, network = dataset_named(workspace.store, dataset), encoder_named(workspace.store, encoder)
    now = cache(lambda: {image.id for image in usable_images(workspace.store, row.id)})

    def same(run: Run) -> bool:
        if config.proposals == "annotations" and run.params.get("revision") != row.revision:
            return False
        found = find_set(workspace.store, run.name)
        if found is None or found.run_id != run.id:
            return run.status != "done"
        if matched := write.images_with_neighbors(workspace.store, found.id):
            return matched == now()
        return write.filtered_images(workspace.store, found.id) <= now()

    return Task("mine", {"dataset_id": row.id, "encoder_id": network.id}, config, same)


def training(workspace: Workspace, correspondence: str, config: ORLConfig) -> Task:
    """Stage 3: the same as a run on the same set, and the same verdicts where those count. Raises StoreError."""
    mined = complete_set_named(workspace.store, correspondence)
    dataset = dataset_by_id(workspace.store, mined.dataset_id)
    now = cache(lambda: correspondences(workspace, mined, dataset, config).digest())

    def same(run: Run) -> bool:
        kept = _trained_on(workspace, run) if config.leave_out_wrong else None
        return kept is None or kept.digest() == now()

    return Task("train", {"correspondence_set_id": mined.id}, config, same)


def evaluation(workspace: Workspace, encoder: str, data: str, config: EvaluateConfig) -> Task:
    """An evaluation: the same as a run on the same files, or on a data set since which nothing has changed."""
    ids, protocol = {"encoder_id": encoder_named(workspace.store, encoder).id}, protocol_named(config.protocol)
    if not protocol.takes_folder:
        ids["dataset_id"] = dataset_named(workspace.store, data).id
    where = resolved(config, data)
    now = cache(lambda: data_state(workspace, where, config))

    def same(run: Run) -> bool:
        if run.params.get("data") != where:
            return False
        kept = workspace.run_folder(run.id) / STATE
        return kept.read_text() == now() if kept.is_file() else run.status in LIVE

    return Task("evaluate", ids, config, same)


def pretrained(
    workspace: Workspace, dataset: str, config: TrainConfig, name: str, progress: Progress | None = None
) -> Encoder:
    """The encoder of stage 1, or of a method to compare it with, on a data set. Raises UserError or StoreError."""

    def launch() -> Run:
        return launcher.launch_pretrain(workspace, dataset, config, launcher.free_name(workspace, name))

    return _encoder(workspace, _done(workspace, pretraining(workspace, dataset, config), launch, progress))


def mined(
    workspace: Workspace,
    dataset: str,
    encoder: str,
    config: MineConfig,
    name: str,
    progress: Progress | None = None,
) -> CorrespondenceSet:
    """The complete set of a data set and an encoder. Raises UserError or StoreError."""

    def launch() -> Run:
        return launcher.launch_mine(workspace, dataset, encoder, _free_set(workspace, name), config)

    run = _done(workspace, mining(workspace, dataset, encoder, config), launch, progress)
    found = find_set(workspace.store, run.name)
    assert found is not None
    return found


def trained(
    workspace: Workspace, correspondence: str, config: ORLConfig, name: str, progress: Progress | None = None
) -> Encoder:
    """The encoder of stage 3 on a correspondence set. Raises UserError or StoreError."""

    def launch() -> Run:
        return launcher.launch_train(workspace, correspondence, config, launcher.free_name(workspace, name))

    return _encoder(workspace, _done(workspace, training(workspace, correspondence, config), launch, progress))


def evaluated(
    workspace: Workspace, encoder: str, data: str, config: EvaluateConfig, progress: Progress | None = None
) -> Evaluation:
    """What a protocol says of an encoder on some data. Raises UserError or StoreError."""

    def launch() -> Run:
        return launcher.launch_evaluate(workspace, encoder, data, config)

    run = _done(workspace, evaluation(workspace, encoder, data, config), launch, progress)
    found = evaluation_of_run(workspace.store, run.id)
    assert found is not None
    return found


def run_that_did(workspace: Workspace, task: Task) -> Run | None:
    """The run that does exactly this: a done one before one under way, and that before one to go on with."""
    same = [run for run in runs(workspace.store) if run.kind == task.kind and _does(workspace, run, task)]
    order = {"done": 0, "running": 1, "stopping": 1, "queued": 1}
    return min(same, key=lambda run: (order.get(run.status, 2), -run.id), default=None)


def _does(workspace: Workspace, run: Run, task: Task) -> bool:
    if any(getattr(run, column) != value for column, value in task.ids.items()) or "imported" in run.params:
        return False
    had = _settings(run)
    if had is None or type(had) is not type(task.config) or _what(had) != _what(task.config):
        return False
    if run.status == "done" and not _made(workspace, run):
        return False
    if not task.same(run):
        return False
    return run.status == "done" or run.status in LIVE or can_go_on(workspace, run)


def _trained_on(workspace: Workspace, run: Run) -> Correspondences | None:
    """What a run trains on; None where it has not begun to, and will take what there is then."""
    path = workspace.run_folder(run.id) / FILE
    return Correspondences.load(path) if path.is_file() else None


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


def _done(workspace: Workspace, task: Task, launch: Callable[[], Run], progress: Progress | None) -> Run:
    progress = progress or Progress()
    launcher.reconcile(workspace)
    run = run_that_did(workspace, task)
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
