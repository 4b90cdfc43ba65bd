"""Runs as jobs of a Ray cluster, by Ray's Jobs API."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from orl_explorer.db.models import Run
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import without_secrets
from orl_explorer.train.jobs.launchers.base import PATIENT, RETENTIVE, Unreachable
from orl_explorer.train.workspace import Workspace

OPTIONS = ("memory", "num_cpus", "num_gpus")  # what a workspace may ask of Ray for each run
SPREAD = "mine"  # the kind of run whose work is done by other processes, which ask Ray for what they need
PORT = 8265  # of the dashboard, which serves the Jobs API
ADDRESSES = "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"  # environment variables that Ray prefers to a given address
PASSED_ON = ("ORL_", "OMP_NUM_THREADS", "PYTHONPATH", "GLOO_", "NCCL_")  # beginnings of variables that a run gets
_ASKING = threading.Lock()


class RayLauncher:
    """Submits a run as a job. Its handle is the address of the Jobs API and the job's name."""

    def __init__(self, address: str = "", options: Mapping[str, Any] | None = None) -> None:
        """address: host and port of the dashboard; "" for $RAY_ADDRESS or a cluster on this machine.

        Raises UserError if Ray is not installed.
        """
        if find_spec("ray") is None:
            raise UserError("Runs on Ray need ray. Install it with: pip install 'orl-explorer[ray]'.")
        self._address, self._options = address, dict(options or {})

    def start(self, workspace: Workspace, run: Run, command: Sequence[str]) -> str:
        """Submit the job. The run's log gets its output."""
        port = "" if ":" in self._address else f":{PORT}"
        client = _client(f"http://{self._address}{port}" if self._address else None)
        variables = {name: value for name, value in without_secrets(os.environ).items() if name.startswith(PASSED_ON)}
        # Ray lets its processes use one core, or as many as were asked for.
        options = {} if run.kind == SPREAD else self._options
        free = [] if "OMP_NUM_THREADS" in variables or "num_cpus" in options else ["env", "-u", "OMP_NUM_THREADS"]
        log = shlex.quote(str(workspace.path / run.log_path))
        try:
            job = client.submit_job(
                entrypoint=f"exec {shlex.join([*free, *command])} >>{log} 2>&1",
                runtime_env={"env_vars": PATIENT | RETENTIVE | variables},
                metadata={"orl": f"run {run.id}", "workspace": str(workspace.path)},
                **{f"entrypoint_{name}": value for name, value in options.items()},
            )
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            raise UserError(f"Ray refused the run: {_said(error)}.") from error
        return f"{client.get_address()} {job}"

    def alive(self, workspace: Workspace, run: Run) -> bool:
        """Whether the job is pending or running."""
        address, _, job = str(run.handle).partition(" ")
        client = _client(address)
        try:
            return not client.get_job_status(job).is_terminal()
        except RuntimeError as error:
            if "does not exist" in str(error):  # the cluster was started again
                return False
            raise Unreachable(f"Ray at {address} does not answer: {_said(error)}.") from error
        except OSError as error:
            raise Unreachable(f"Ray at {address} does not answer: {_said(error)}.") from error

    def stop(self, workspace: Workspace, run: Run) -> None:
        """Ask the job to end. Ray kills it after a few seconds."""
        address, _, job = str(run.handle).partition(" ")
        client = _client(address)
        try:
            client.stop_job(job)
        except (RuntimeError, OSError) as error:
            if "does not exist" not in str(error):
                raise Unreachable(f"Ray at {address} does not answer: {_said(error)}.") from error


def _client(address: str | None) -> Any:
    """Return a client of the Jobs API. Raises Unreachable."""
    from ray.job_submission import JobSubmissionClient

    with _ASKING:  # the environment belongs to all threads
        hidden = {name: os.environ.pop(name) for name in ADDRESSES if address and name in os.environ}
        try:
            return JobSubmissionClient(address)
        except Exception as error:  # of many kinds: no cluster, no connection, no such version
            where = f"at {address}" if address else "by $RAY_ADDRESS or on this machine"
            raise Unreachable(f"Cannot reach Ray's Jobs API {where}: {_said(error)}.") from error
        finally:
            os.environ.update(hidden)


def _said(error: Exception) -> str:
    """Return the first line of Ray's message."""
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
