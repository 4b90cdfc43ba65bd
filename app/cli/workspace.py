"""``orl workspace``: copy the store of a workspace into another database."""

from __future__ import annotations

from typing import Annotated

import typer

from orl_explorer.app.cli.common import Json, Where, out, print_json, progress_bar
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.db.transfer.copying import copy_store
from orl_explorer.train.jobs.stores import new_store
from orl_explorer.train.workspace import open_workspace

workspace_app = typer.Typer(help="Copy the store of a workspace into another database.", no_args_is_help=True)


@workspace_app.callback()
def workspace_command() -> None:
    """Copy the store of a workspace into another database."""


@workspace_app.command("copy")
def copy_command(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL|DIR",
            help="Empty database, such as postgresql+psycopg://user@host/orl, or folder for a workspace with SQLite. "
            "A password is safer in ~/.pgpass or $PGPASSWORD than in the command.",
        ),
    ],
    json: Json = False,
    workspace: Where = None,
) -> None:
    """Copy the store, with all ids, from SQLite to PostgreSQL or back, and check that every row is the same.

    Files beside the store are not copied. Nothing is copied if a run is live or the target holds rows, or if the copy
    is interrupted. Whoever wants to write to the store waits meanwhile.
    """
    opened = open_workspace(workspace)
    target = new_store(to)
    with progress_bar(json=json) as bar:
        task = bar.add_task("Copying", total=None)
        copied = copy_store(
            opened.store,
            target.url,
            lambda doing, done, total: bar.update(task, description=doing, completed=done, total=total),
        )
    if json:
        print_json({"to": target.shown, "tables": [vars(table) for table in copied]})
        return
    table = TextTable("table", "rows", "digest")
    for one in copied:
        table.add_row(one.name, f"{one.rows:,}", one.digest)
    out.print(table)
    out.print(f"Copied {sum(one.rows for one in copied):,} rows to {target.shown}. {target.next_step(opened.path)}")
