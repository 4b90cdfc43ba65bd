"""Starting the project's own modules in a new process, whatever lies in the folder where a person works."""

from __future__ import annotations

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Command line that runs a module in a new process of this interpreter.

    ``-P`` keeps the current folder off the import path: a file of the user's that is called like one of ours or like a
    library, ``streamlit.py`` say, is never run. The processes that the new one spawns inherit this.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def keep_current_folder_out() -> None:
    """The same for what multiprocessing spawns from a process that was not started by ``module_command``."""
    os.environ["PYTHONSAFEPATH"] = "1"
