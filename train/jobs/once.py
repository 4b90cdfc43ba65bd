"""Make each result once: reuse a finished run that did the same work, resume an unfinished one, or start a new one.

Two runs do the same work if their kind, settings and data are equal; data are compared by ids and digests. Names are
not enough: a set may be deleted and its name used again, and a dataset may grow. This module does not import torch.
"""

from __future__ import annotations

import time

from orl_explorer.db.encoders import find_encoder
from orl_explorer.db.models import CorrespondenceSet, Encoder, Evaluation, Run
from orl_explorer.db.runs.evaluations import evaluation_of_run
from orl_explorer.db.runs.runs import ENDED, LIVE, find_run, runs, waits_for_worker
from orl_explorer.db.sets.read import set_of_run
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.job import Job
from orl_explorer.train.jobs.kinds import Evaluate, Mine, job_of
from orl_explorer.train.jobs.trainings import MakesEncoder
from orl_explorer.train.progress import Progress
from orl_explorer.train.run_folders import can_go_on
from orl_explorer.train.workspace import Workspace

LOOK = 0.3  # seconds between two looks at a live run


def trained(
    workspace: Workspace, job: MakesEncoder, progress: Progress | None = None, *, exact: bool = False
) -> Encoder:
    """Return the encoder that a job makes. exact: see ``done``. Raises UserError or StoreError."""
    found = find_encoder(workspace.store, done(workspace, job, progress, exact=exact).name)
    assert found is not None
    return found


def mined(
    workspace: Workspace, job: Mine, progress: Progress | None = None, *, exact: bool = False
) -> CorrespondenceSet:
    """Return the complete set that a mining run makes. exact: see ``done``. Raises UserError or StoreError."""
    found = set_of_run(workspace.store, done(workspace, job, progress, exact=exact).id)
    assert found is not None
    return found


def evaluated(workspace: Workspace, job: Evaluate, progress: Progress | None = None) -> Evaluation:
    """Return the evaluation of an encoder by a protocol. Raises UserError or StoreError."""
    found = evaluation_of_run(workspace.store, done(workspace, job, progress).id)
    assert found is not None
    return found


def run_that_did(workspace: Workspace, job: Job, *, exact: bool = False) -> Run | None:
    """Return the run that does the same: a done one before an active one, and that before one to resume.

    exact: the run must also make it under the job's name.
    """
    saw = job.saw(workspace)

    def counts(run: Run) -> bool:
        if exact and _name_of_result(workspace, run) != job.name:
            return False
        try:
            if not job.does_the_same(had := job_of(run)):
                return False
        except UserError:  # of another version
            return False
        if run.status == "done" and not had.made(workspace, run):
            return False
        return saw(run) and (run.status == "done" or run.status in LIVE or can_go_on(workspace, run))

    same = [run for run in runs(workspace.store) if run.kind == job.kind and counts(run)]
    order = {"done": 0, "running": 1, "stopping": 1, "queued": 1}
    return min(same, key=lambda run: (order.get(run.status, 2), -run.id), default=None)


def _name_of_result(workspace: Workspace, run: Run) -> str:
    """Return the name of what a run makes. A set may have been renamed since."""
    found = set_of_run(workspace.store, run.id) if run.kind == "mine" else None
    return run.name if found is None else found.name


def done(workspace: Workspace, job: Job, progress: Progress | None = None, *, exact: bool = False) -> Run:
    """Return the run that has done a job: an earlier one, or a new one after its end. Raises UserError or StoreError.

    exact: keep to the job's name. Otherwise an earlier result under another name counts too, and a new one whose name
    is taken gets a number.
    """
    progress = progress or Progress()
    launcher.reconcile(workspace)
    run = run_that_did(workspace, job, exact=exact)
    if run is None:
        run = launcher.launch(workspace, job if exact else job.freed(workspace))
    elif run.status == "done":
        progress.log(f"Run {run.id} has already made '{run.name}'.")
        return run
    elif run.status in ENDED:
        progress.log(f"Resuming run {run.id} ('{run.name}').")
        run = launcher.resume(workspace, run.id)
    if waits_for_worker(run):
        progress.log(f"Run {run.id} waits for a worker. Start: {launcher.worker_line(workspace, run)}")
    return until_done(workspace, run, progress)


def until_done(workspace: Workspace, run: Run, progress: Progress) -> Run:
    """Follow a run to its end. Raises UserError if it does not end well."""
    ended = _followed(workspace, run, progress)
    if ended.status != "done":
        raise UserError(
            f"Run {run.id} ('{run.name}') is {ended.status}{': ' + ended.error if ended.error else '.'} "
            "Run the same command again to continue."
        )
    progress.log(f"Run {run.id} has made '{run.name}'.")
    return ended


def _followed(workspace: Workspace, run: Run, progress: Progress) -> Run:
    """Report the progress of a run until it ends. An interrupt stops the run, which keeps its checkpoints."""
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
            launcher.refresh(workspace, now)
            time.sleep(LOOK)
    except BaseException:
        if not _ended(workspace, run):
            launcher.stop(workspace, run.id)
        raise


def _ended(workspace: Workspace, run: Run) -> bool:
    now = find_run(workspace.store, run.id)
    return now is None or now.status in ENDED
