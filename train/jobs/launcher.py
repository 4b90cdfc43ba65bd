"""Launching, watching, stopping and resuming runs. A run is its own process; its truth is its row in the store.

Nothing here imports torch, so that the explorer can start runs and stay light.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import time
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from orl_explorer.db.encoders import encoder_named, find_encoder
from orl_explorer.db.models import Run, now
from orl_explorer.db.photos import dataset_by_id, dataset_named
from orl_explorer.db.runs.runs import ENDED, LIVE, add_run, find_run, run_by_id, runs, update_run
from orl_explorer.db.sets.read import complete_set_named, find_set
from orl_explorer.orl.architectures import TIMM
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import EvaluateConfig, protocol_named, resolved
from orl_explorer.train.files import said_plainly
from orl_explorer.train.interchange.given import FILE, Given
from orl_explorer.train.interpreter import module_command
from orl_explorer.train.jobs.folders import new_folder, own_folder
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.maps import MapOf
from orl_explorer.train.mining.mine import Subject, check
from orl_explorer.train.settings import Settings
from orl_explorer.train.training.config import ORLConfig, TrainConfig, refuse_uneven
from orl_explorer.train.training.start_from import refuse_wider, start_encoder
from orl_explorer.train.workspace import Workspace, file_name

GRACE = 30.0  # seconds between asking a run to stop and killing it
# Threads that wait should soon sleep: spinning, they take the core that the explorer or another run has work for. Not
# at once: the next operation of a network comes in microseconds, and to wake a thread takes as long as a small one.
PATIENT = {"GOMP_SPINCOUNT": "3000"}
# Of glibc: what one step gives back, the next one asks for again. Given back to the system, it would come as pages that
# have to be cleared first, up to a fifth of a training step.
RETENTIVE = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
STALE = timedelta(seconds=60)  # without a heartbeat, a run on another host counts as lost


def launch_pretrain(workspace: Workspace, dataset: str, config: TrainConfig, name: str = "", processes: int = 1) -> Run:
    """Queue stage 1 on a data set. Raises UserError or StoreError when it cannot work."""
    subject = dataset_named(workspace.store, dataset)
    _check_training(workspace, config, processes, subject.image_count, f"the data set '{dataset}'")
    name = name or free_name(workspace, f"{dataset}-{config.method}")
    _refuse_taken_encoder(workspace, name)
    params = {"dataset": dataset, "processes": processes} | _dump(config)
    run = Run(kind="pretrain", name=name, dataset_id=subject.id, params=params)
    return _begin(workspace, run)


def launch_mine(
    workspace: Workspace, dataset: str, encoder: str, name: str, config: MineConfig, workers: int | None = None
) -> Run:
    """Queue stage 2 on a data set with an encoder. Raises UserError or StoreError when it cannot work."""
    subject = check(workspace, dataset, encoder, name, config)
    refuse_taken_set(workspace, name)
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers} will not do: selective search needs at least one process.")
    asked = {"dataset": dataset, "encoder": encoder, "workers": workers}
    params = asked | {"revision": subject.dataset.revision} | _dump(config)
    run = Run(kind="mine", name=name, dataset_id=subject.dataset.id, encoder_id=subject.encoder.id, params=params)
    return _begin(workspace, run)


def launch_given(
    workspace: Workspace, subject: Subject, name: str, config: MineConfig, given: Given, source: Path
) -> Run:
    """Queue the making of a set from correspondences that were read from a file, ``source``. Raises UserError."""
    refuse_taken_set(workspace, name)
    params = {"dataset": subject.dataset.name, "encoder": subject.encoder.name, "imported": str(source)} | _dump(config)
    run = Run(kind="mine", name=name, dataset_id=subject.dataset.id, encoder_id=subject.encoder.id, params=params)
    kept = workspace.path / f".{uuid4()}.npz"
    try:
        with said_plainly(workspace.path):
            given.save(kept)
            run = add_run(workspace.store, run)
            kept.rename(new_folder(workspace, run.id) / FILE)
    finally:
        kept.unlink(missing_ok=True)
    return _start(workspace, run_by_id(workspace.store, run.id))


def launch_map(workspace: Workspace, shown: MapOf) -> Run:
    """Queue the making of a map; one that is being made already is not begun again. It waits for no other kind."""
    params = {
        "dataset": shown.dataset.name,
        "encoder": shown.encoder.name,
        "precision": shown.precision,
        "set": shown.mined.name if shown.mined else None,
        "selection": shown.selection,
    }
    reconcile(workspace)
    for run in runs(workspace.store, LIVE):
        if run.kind == "map" and run.params == params:
            return run
    what = f"RoIs of {shown.mined.name}" if shown.mined else shown.dataset.name
    name = f"map of {what} by {shown.encoder.name}"
    run = Run(kind="map", name=name, dataset_id=shown.dataset.id, encoder_id=shown.encoder.id, params=params)
    run.device = "map"  # a queue of its own: minutes on one core should not wait for a night of training
    return _begin(workspace, run)


def refuse_taken_set(workspace: Workspace, name: str) -> None:
    """Raises UserError when a set has this name, or a run is making one."""
    if set_is_taken(workspace, name):
        raise UserError(f"The correspondence set name '{name}' is taken; sets never change, choose another name.")


def set_is_taken(workspace: Workspace, name: str) -> bool:
    """Whether a set has this name, or a run is making one."""
    return find_set(workspace.store, name) is not None or _in_the_making(workspace, "mine", name)


def launch_train(
    workspace: Workspace, correspondence: str, config: ORLConfig, name: str = "", processes: int = 1
) -> Run:
    """Queue stage 3 on a correspondence set. Raises UserError or StoreError when it cannot work."""
    mined = complete_set_named(workspace.store, correspondence)
    if not mined.pair_count:
        raise UserError(f"The correspondence set '{correspondence}' has no pair; mine with a lower --min-similarity.")
    refuse_wider(mined, config)
    _check_training(workspace, config, processes, mined.image_count, f"the set '{correspondence}'")
    name = name or free_name(workspace, f"{correspondence}-orl")
    _refuse_taken_encoder(workspace, name)
    run = Run(
        kind="train",
        name=name,
        dataset_id=dataset_by_id(workspace.store, mined.dataset_id).id,
        correspondence_set_id=mined.id,
        params={"correspondence": correspondence, "processes": processes} | _dump(config),
    )
    return _begin(workspace, run)


def launch_evaluate(workspace: Workspace, encoder: str, data: str, config: EvaluateConfig) -> Run:
    """Queue an evaluation of an encoder by the protocol of the settings. Raises UserError or StoreError.

    data: a folder, or the name of a data set of the workspace, as the protocol asks for.
    """
    row, protocol = encoder_named(workspace.store, encoder), protocol_named(config.protocol)
    protocol.check(workspace, data, config)
    where = resolved(config, data)
    run = Run(
        kind="evaluate",
        name=f"{encoder}-{config.protocol}",
        encoder_id=row.id,
        dataset_id=None if protocol.takes_folder else dataset_named(workspace.store, data).id,
        params={"encoder": encoder, "data": where} | {"config": config.model_dump(mode="json")},
    )
    return _begin(workspace, run)


def resume(workspace: Workspace, run_id: int) -> Run:
    """Queue an ended run again; it goes on from what it kept. Raises UserError when there is nothing to go on with."""
    reconcile(workspace)
    run = run_by_id(workspace.store, run_id)
    if run.status == "done":
        raise UserError(f"Run {run_id} is done; there is nothing to resume.")
    if run.status in ENDED:
        own_folder(workspace, run_id)
    queued: dict[str, Any] = {"status": "queued", "pid": None, "ended_at": None, "exit_code": None, "error": None}
    queued["heartbeat_at"] = now()  # or it would count as lost until its process is there
    if not update_run(workspace.store, run_id, only_if=ENDED, **queued):
        raise UserError(f"Run {run_id} is {run.status}; it needs no resuming.")
    return _start(workspace, run_by_id(workspace.store, run_id))


def request_stop(workspace: Workspace, run_id: int) -> Run:
    """Ask a run to stop at its next safe point. A queued one never starts."""
    reconcile(workspace)
    run = run_by_id(workspace.store, run_id)
    if run.status in ENDED:
        raise UserError(f"Run {run_id} has ended already ({run.status}).")
    update_run(workspace.store, run_id, only_if=("queued", "running"), status="stopping")
    return run_by_id(workspace.store, run_id)


def stop(workspace: Workspace, run_id: int, grace: float = GRACE) -> Run:
    """Ask a run to stop, wait, and kill it when it has not after ``grace`` seconds."""
    request_stop(workspace, run_id)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        run = run_by_id(workspace.store, run_id)
        if run.status in ENDED or not is_alive(run):
            break
        time.sleep(0.1)
    return kill(workspace, run_id)


def kill(workspace: Workspace, run_id: int) -> Run:
    """End a run's processes at once. What it published, checkpoints and finished batches, stays."""
    run = run_by_id(workspace.store, run_id)
    if run.host and run.host != platform.node() and is_alive(run):
        raise UserError(f"Run {run_id} lives on {run.host}, out of reach from here; stop it there.")
    if run.pid and is_alive(run):
        _signal_group(run.pid, signal.SIGTERM)
        if not _gone(run, within=3):
            _signal_group(run.pid, signal.SIGKILL)
            _gone(run, within=3)
    update_run(workspace.store, run_id, only_if=LIVE, status="cancelled", ended_at=now())
    return run_by_id(workspace.store, run_id)


def reconcile(workspace: Workspace) -> list[int]:
    """Mark runs whose process is gone as lost, or as cancelled where a stop was under way. Returns their ids."""
    gone = []
    for run in runs(workspace.store, LIVE):
        if not is_alive(run):
            status = "cancelled" if run.status == "stopping" else "lost"
            error = None if status == "cancelled" else "Its process is gone; resume it to go on from what it kept."
            if update_run(workspace.store, run.id, only_if=(run.status,), status=status, ended_at=now(), error=error):
                gone.append(run.id)
    return gone


def is_alive(run: Run) -> bool:
    """Whether a run's process still exists: same pid, same start. On another host, whether its heart beats."""
    if run.pid is None or run.pid_started_at is None:
        return now() - (run.heartbeat_at or run.created_at) < timedelta(seconds=10)  # about to be started
    if run.host != platform.node():
        return now() - (run.heartbeat_at or run.created_at) < STALE
    try:
        process = psutil.Process(run.pid)
        same = abs(process.create_time() - run.pid_started_at) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def identity() -> dict[str, Any]:
    """Host, pid and start time of this process, as a run's row keeps them."""
    return {"host": platform.node(), "pid": os.getpid(), "pid_started_at": psutil.Process().create_time()}


def read_log(workspace: Workspace, run: Run, last_bytes: int = 16_384) -> str:
    """The end of a run's log."""
    path = workspace.path / run.log_path
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - last_bytes))
        return file.read().decode(errors="replace")


def worker_command(workspace: Workspace, run_id: int) -> list[str]:
    """Command line of the process that does the work of a run."""
    return module_command("orl_explorer.train.jobs.worker", "--workspace", str(workspace.path), str(run_id))


def _begin(workspace: Workspace, run: Run) -> Run:
    """Start a run that was queued just now, in a folder of its own."""
    run = add_run(workspace.store, run)
    new_folder(workspace, run.id)
    return _start(workspace, run_by_id(workspace.store, run.id))


def _start(workspace: Workspace, run: Run) -> Run:
    with (workspace.path / run.log_path).open("ab") as log:
        process = subprocess.Popen(
            worker_command(workspace, run.id),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=PATIENT | RETENTIVE | os.environ,
        )
    started = psutil.Process(process.pid).create_time()
    update_run(
        workspace.store, run.id, host=platform.node(), pid=process.pid, pid_started_at=started, heartbeat_at=now()
    )
    _CHILDREN[run.id] = process
    return run_by_id(workspace.store, run.id)


# Handles of the processes started here: dropping one would leave a zombie until the next is started.
_CHILDREN: dict[int, subprocess.Popen] = {}


def _signal_group(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, what)  # the run leads its own session, so its workers are in its group


def _gone(run: Run, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not is_alive(run):
            return True
        time.sleep(0.05)
    return False


def _dump(config: Settings) -> dict[str, Any]:
    return {"config": config.model_dump()}


def _check_training(workspace: Workspace, config: TrainConfig, processes: int, photos: int, where: str) -> None:
    if processes < 1:
        raise UserError(f"--processes {processes} will not do: a training needs at least one.")
    refuse_uneven(config, processes)
    if photos < config.batch_size:
        raise UserError(
            f"A batch of {config.batch_size} photos needs at least as many, and {where} has {photos}; "
            "use --preset small, or --set batch_size=… with a smaller one."
        )
    if config.backbone.startswith(TIMM) and find_spec("timm") is None:
        raise UserError(f"backbone = {config.backbone} needs timm: pip install 'orl-explorer[timm]'.")
    if config.start_from:
        start_encoder(workspace, config.start_from, config.backbone)


def _in_the_making(workspace: Workspace, kind: str, name: str) -> bool:
    return any(r.kind == kind and r.name == name for r in runs(workspace.store, LIVE))


def _taken(workspace: Workspace, name: str) -> bool:
    making = _in_the_making(workspace, "pretrain", name) or _in_the_making(workspace, "train", name)
    return making or find_encoder(workspace.store, name) is not None


def _refuse_taken_encoder(workspace: Workspace, name: str) -> None:
    if _taken(workspace, file_name(name)):
        raise UserError(f"The encoder name '{name}' is taken; choose another.")


def free_name(workspace: Workspace, stem: str) -> str:
    """A name that no encoder has or is being made under: the stem, or the stem and a number."""
    number = 1
    while _taken(workspace, name := stem if number == 1 else f"{stem}-{number}"):
        number += 1
    return name


def wait(workspace: Workspace, run_id: int, every: float = 0.2) -> Run:
    """Block until a run has ended."""
    while True:
        run = find_run(workspace.store, run_id)
        if run is None or run.status in ENDED:
            return run_by_id(workspace.store, run_id)
        if not is_alive(run):
            reconcile(workspace)
        time.sleep(every)
