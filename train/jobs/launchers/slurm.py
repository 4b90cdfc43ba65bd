"""Runs as jobs of SLURM, by its commands sbatch, squeue and scancel.

submitit would start a pickled function, write its output to files of its own, and ask sacct, which needs an accounting
database that small clusters lack. A run is a command already.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from orl_explorer.db.models import Run
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import torchrun
from orl_explorer.train.jobs.launchers.base import Unreachable, environment
from orl_explorer.train.workspace import Workspace

# Options of sbatch that a workspace may set.
OPTIONS = (
    *("account", "comment", "constraint", "cpus_per_gpu", "cpus_per_task", "exclude", "gpus_per_node"),
    *("gres", "mem", "mem_per_cpu", "mem_per_gpu", "nodelist", "partition", "qos", "reservation", "time"),
)
SETUP = "setup"  # lines of the shell before the run, such as `module load cuda`
PATIENCE = 30  # seconds for an answer of SLURM
PORTS = 20_000, 20_000  # the first port at which the machines of a job may meet, and how many there are


class SlurmLauncher:
    """Queues a run as a job. Its handle is the job's number."""

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """options: of sbatch, as in ``OPTIONS``. Raises UserError if SLURM is not installed here."""
        if shutil.which("sbatch") is None:
            raise UserError("There is no SLURM on this machine: sbatch is missing. Use a login node of the cluster.")
        self._options = dict(options or {})

    def start(self, workspace: Workspace, run: Run, command: Sequence[str]) -> str:
        """Submit the job. The run's log gets its output and what SLURM says about it."""
        given = {name: value for name, value in self._options.items() if name != SETUP}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        log = workspace.path / run.log_path
        # A job that SLURM starts again would find its run crashed. People resume runs.
        own = [f"--job-name=orl-{run.id}", f"--output={log}", "--open-mode=append", "--no-requeue"]
        shape = [f"--nodes={run.nodes}", "--ntasks-per-node=1"]
        script = _script(run, command, self._options.get(SETUP, []))
        said = _slurm("sbatch", "--parsable", *own, *shape, *options, script=script)
        return said.strip().split(";")[0]

    def alive(self, workspace: Workspace, run: Run) -> bool:
        """Whether SLURM lists the job: pending, running or suspended."""
        return bool(_slurm("squeue", "--noheader", "--format=%T", f"--jobs={run.handle}").strip())

    def stop(self, workspace: Workspace, run: Run) -> None:
        """Cancel the job. SLURM asks its processes to end, and kills them after a while."""
        _slurm("scancel", str(run.handle))


def _script(run: Run, command: Sequence[str], setup: Sequence[str]) -> str:
    lines = ["#!/bin/bash", *setup]
    if run.nodes == 1:
        return "\n".join([*lines, f"exec {shlex.join(command)}", ""])
    first, many = PORTS
    lines.append("export PYTHONSAFEPATH=1")  # torchrun starts its processes without -P
    # The address by which SLURM itself reaches the first machine. A node's name need not be a host's.
    lines.append('first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)')
    lines.append("head=$(scontrol show node \"$first\" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')")
    together = torchrun(command, run.nodes, run.processes // run.nodes)
    port = f"$(({first} + SLURM_JOB_ID % {many}))"
    meeting = f'--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head:{port}"'
    before, after = shlex.join(together[:4]), shlex.join(together[4:])
    return "\n".join([*lines, f"exec srun --kill-on-bad-exit=1 {before} {meeting} {after}", ""])


def _slurm(program: str, *arguments: str, script: str | None = None) -> str:
    """Run a command of SLURM and return its output. Raises UserError, or Unreachable if SLURM does not answer."""
    try:
        ended = subprocess.run(
            [program, *arguments],
            input=script,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"SLURM has not answered within {PATIENCE} seconds.") from error
    except OSError as error:
        raise Unreachable(f"Cannot start {program}: {error.strerror}.") from error
    said = " ".join(ended.stderr.split())
    if ended.returncode == 0:
        return ended.stdout
    if "Invalid job id" in said:  # SLURM has forgotten it
        return ""
    if "nable to contact" in said or "onnection refused" in said:
        raise Unreachable(f"SLURM does not answer: {said}.")
    raise UserError(f"SLURM refused: {said.removesuffix('.')}.")
