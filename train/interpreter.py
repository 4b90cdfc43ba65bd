"""Starting the project's modules in new processes, unaffected by files in the current folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

MEETING = "ORL_MEETING"  # environment variable: the file at which the processes of a training meet, as an URL

SECRETS = ("ORL_PASSWORD", "ORL_OIDC_")  # beginnings of the variables that only the explorer's gate needs


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module in a new process of this interpreter.

    ``-P`` keeps the current folder off the import path: a user's file with the name of a module of the project or
    of a library, such as ``streamlit.py``, is never run. Child processes inherit this.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def torchrun(command: Sequence[str], nodes: int, processes: int) -> list[str]:
    """Return the command that starts a module several times. processes: on each of the nodes.

    command: of ``module_command``. The first four words start torchrun; where the nodes meet may follow them.
    """
    python, safe, *module = command
    shape = [f"--nnodes={nodes}", f"--nproc-per-node={processes}"]
    return [python, safe, "-m", "torch.distributed.run", *shape, *module]


def keep_current_folder_out() -> None:
    """Apply ``-P`` to processes that multiprocessing spawns from one that ``module_command`` did not start."""
    os.environ["PYTHONSAFEPATH"] = "1"


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without passwords of the explorer: a run also executes code of other packages."""
    return {name: value for name, value in environment.items() if not name.startswith(SECRETS)}
