"""Measure mining photos again whose features are known, with the store on SQLite and on PostgreSQL, in turns.

    createdb remining
    python benchmarks/remining.py --workspace workspace --set voc-starter --database postgresql:///remining

The workspace, which is only read, needs a complete set. Its store is copied to a SQLite file and to the database, which
has to be empty, and is so afterwards. Each turn mines one more set on either, with the encoder of the first set and one
neighbour less. The numbers are CPU seconds of this process and of the server, which must run on this machine.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich import print as show
from sqlalchemy import URL
from two_databases import as_table, emptied, server_clock

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.runs.runs import add_run, update_run
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.db.store import database_url, open_store
from orl_explorer.db.transfer.copying import copy_store
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.mine import mine
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace, open_workspace


class Phases(Progress):
    """The CPU seconds of each phase, of this process and of the server of a store."""

    def __init__(self, workspace: Workspace) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._server = server_clock(workspace.store)
        self._name, self._since = "Beginning", self._now()

    def _now(self) -> float:
        return time.process_time() + self._server()

    def phase(self, name: str, total: int) -> None:
        """End the present phase and start this one."""
        now = self._now()
        self.seconds[self._name] += now - self._since
        self._name, self._since = name, now


def mined(workspace: Workspace, name: str, first: str) -> dict[str, float]:
    """Mine a set with one neighbour less than another set has. Return the CPU seconds of its phases."""
    store = workspace.store
    known = complete_set_named(store, first)
    dataset, encoder = dataset_by_id(store, known.dataset_id), encoder_by_id(store, known.encoder_id)
    settings = MineConfig.of(known)
    run = add_run(store, Run(kind="mine", name=name, params={}, status="running"))
    clock, config = Phases(workspace), settings.model_copy(update={"neighbors": settings.neighbors - 1})
    mine(workspace, dataset, encoder, name, config, run_id=run.id, progress=clock)
    clock.phase("End", 1)
    update_run(store, run.id, status="done")
    return clock.seconds


def main() -> None:
    """Mine in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--set", required=True, help="name of a complete set of the workspace")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--database", required=True, help="address of an empty PostgreSQL database on this machine")
    arguments = parser.parse_args()
    url = database_url(arguments.database)
    if url is None or url.get_backend_name() != "postgresql":
        raise UserError("--database needs an address of an empty PostgreSQL database.")
    emptied(url, True).close()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "workspace"
        shutil.copytree(arguments.workspace, place, ignore=shutil.ignore_patterns("orl.sqlite*", "runs", "thumbnails"))
        source = open_workspace(arguments.workspace, read_only=True).store
        both = {}
        for name, where in (("SQLite", URL.create("sqlite", database=str(place / "orl.sqlite"))), ("PostgreSQL", url)):
            copy_store(source, where)
            both[name] = Workspace(place, open_store(where))
        took: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for turn in range(arguments.turns):
            for name, workspace in list(both.items())[:: 1 if turn % 2 == 0 else -1]:
                phases = mined(workspace, f"again {turn}", arguments.set)
                for phase, seconds in phases.items():
                    took[phase][name].append(seconds)
                took["in all"][name].append(sum(phases.values()))
        show(as_table("mining again, CPU s of client and server", took, 1))
        both["PostgreSQL"].store.close()
    emptied(url, False).close()


if __name__ == "__main__":
    main()
