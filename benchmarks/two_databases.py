"""Writing and reading the synthetic store on SQLite and on PostgreSQL, in turns: ``store_scale.py --database URL``."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich import print as show
from rich.table import Table
from sqlalchemy import URL, event, inspect
from synthetic_store import build

from orl_explorer.db.postgresql import postgresql_engine
from orl_explorer.db.store import Store, database_url, open_store
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

MINING = (
    *("candidate, RoIs known", "neighbor of the second set", "pair of the second set"),
    "publication of synthetic-two",
)
Ask = Callable[[Store, np.random.Generator, list[int]], object]


def compare(arguments: argparse.Namespace, asked: dict[str, Ask]) -> None:
    """Build the store on both databases so many times, and put the same questions to both in turns. Print two tables.

    The numbers are CPU time, of this process and of the server, which must run on this machine: client and server wait
    for each other, so that is what they take on an idle machine. The database has to be empty, and is so afterwards.
    """
    url = database_url(arguments.database)
    if url is None or url.get_backend_name() != "postgresql":
        raise UserError("--database needs an address of an empty PostgreSQL database.")
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    answers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for turn in range(arguments.turns):
        with tempfile.TemporaryDirectory() as folder:
            stores = {"SQLite": open_store(f"sqlite:///{folder}/orl.sqlite"), "PostgreSQL": emptied(url, turn == 0)}
            servers = {name: server_clock(store) for name, store in stores.items()}
            for name, store in list(stores.items())[:: 1 if turn % 2 == 0 else -1]:
                clock = build(Workspace(Path(folder), store), arguments, servers[name])
                for what, took in clock.busy.items():
                    seconds[what][name].append(took)
                seconds["a second set in all"][name].append(sum(clock.busy[what] for what in MINING))
            _ask_both(stores, servers, asked, arguments, answers)
            for store in stores.values():
                store.close()
    emptied(url, False).close()
    show(as_table("written, CPU s of client and server", seconds, 1))
    show(as_table("query, p50 of CPU ms of client and server", answers, 1000))


def emptied(url: URL, first: bool) -> Store:
    """Open a new store in a database, without what was in it. first: raise UserError if it holds anything."""
    engine = postgresql_engine(url)
    with engine.begin() as connection:
        if first and inspect(connection).get_table_names():
            raise UserError("The database is not empty.")
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return open_store(url)


def server_clock(store: Store) -> Callable[[], float]:
    """Return what tells the CPU seconds of the servers of a store's connections, on this machine."""
    pids: set[int] = set()
    if store.engine.dialect.name == "postgresql":
        store.engine.dispose()
        event.listen(store.engine, "connect", lambda raw, _: pids.add(raw.info.backend_pid))
    return lambda: sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def _ask_both(
    stores: dict[str, Store],
    servers: dict[str, Callable[[], float]],
    asked: dict[str, Ask],
    arguments: argparse.Namespace,
    answers: dict[str, dict[str, list[float]]],
) -> None:
    ids = [*range(1, arguments.images + 1)]
    for question, ask in asked.items():
        draws = {name: np.random.default_rng(5) for name in stores}
        for turn in range(arguments.repeats + 3):
            for name, store in stores.items():
                began = time.process_time() + servers[name]()
                ask(store, draws[name], ids)
                if turn > 2:  # what is computed once is known by now
                    answers[question][name].append(time.process_time() + servers[name]() - began)


def as_table(head: str, found: dict[str, dict[str, list[float]]], unit: float) -> Table:
    """Return medians of numbers, by what was measured and by database, with their ratio."""
    table = Table(head, "SQLite", "PostgreSQL", "ratio")
    for what, by in found.items():
        one, other = (float(np.median(by[name])) * unit for name in ("SQLite", "PostgreSQL"))
        table.add_row(what, f"{one:.2f}", f"{other:.2f}", f"{other / one:.2f}" if one else "")
    return table
