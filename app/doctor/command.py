"""``orl doctor``. It imports nothing that a broken installation may lack; ``app.cli`` imports everything."""

from __future__ import annotations

import json as to_json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orl_explorer.app.doctor import Checked
from orl_explorer.app.doctor.installation import check_devices, check_disk, check_installation, check_search
from orl_explorer.app.doctor.workspace import check_workspace
from orl_explorer.app.options import Json, Where

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(workspace: Where = None, json: Json = False) -> None:
    """Check the installation and the workspace, and say what to do about each problem. Nothing is changed.

    The exit code is 1 if there is a problem, and 0 if there are only warnings.
    """
    raise typer.Exit(report(workspace, json))


def report(workspace: Path | None, json: bool) -> int:
    """Print the results of all checks. Return the exit code."""
    out = Console()
    folder = Path(workspace or os.environ.get("ORL_WORKSPACE") or "workspace")
    with redirect_stdout(sys.stderr):  # OpenCV prints there if NumPy is missing
        checked = list(_checks(folder.expanduser().absolute()))
    problems, warnings = (sum(one.state == state for one in checked) for state in ("problem", "warning"))
    if json:
        print(to_json.dumps([asdict(one) for one in checked], indent=1))
    else:
        table = Table("area", "state")
        table.add_column("subject", overflow="fold")
        table.add_column("found", overflow="fold")
        for one in checked:
            found = Text(one.found + (f". {one.advice}" if one.advice else ""))
            table.add_row(one.area, Text(one.state, style=COLOURS[one.state]), Text(one.subject), found)
        out.print(table)
        out.print(f"Problems: {problems}. Warnings: {warnings}.", highlight=False)
    return 1 if problems else 0


def _checks(folder: Path) -> Iterator[Checked]:
    yield from check_installation()
    yield from check_devices()
    yield from check_search()
    yield from check_disk(folder)
    yield from check_workspace(folder)
