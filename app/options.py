"""Options that many commands share. It imports nothing that a broken installation may lack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Where = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        help="Folder for everything that ORL Explorer writes. Default: $ORL_WORKSPACE, else ./workspace.",
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once. The run continues in the background.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table or summary.")]
On = Annotated[
    str,
    typer.Option(
        metavar="LAUNCHER",
        help="What starts the run: local (this machine), ray, ray://HOST:PORT or slurm. Default: that of the "
        "workspace's settings.toml, else local.",
    ),
]
Nodes = Annotated[int, typer.Option(min=1, help="Number of machines that share a training, for slurm and workers.")]
QueueOnly = Annotated[
    bool, typer.Option("--queue-only", help="Start nothing. `orl worker ID` takes the run, on any machine.")
]
