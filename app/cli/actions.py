"""``orl actions``: who has launched, stopped, added and deleted what."""

from __future__ import annotations

from typing import Annotated

import typer

from orl_explorer.app.cli.common import Json, Where, bounded, out, print_json
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.db.marks import Action
from orl_explorer.db.people.actions import actions
from orl_explorer.train.workspace import open_to_look


def actions_command(
    limit: Annotated[
        int, typer.Option(min=1, callback=bounded, help="Number of actions to list, the newest ones.")
    ] = 50,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """List who launched, stopped and resumed runs, and added, moved, renamed and deleted data, newest first.

    The name is the e-mail address of whoever was logged in through an OpenID Connect provider, else the account that
    ran the command or the explorer. Times are UTC.
    """
    rows = actions(open_to_look(workspace).store, limit)
    if json:
        print_json([_record(row) for row in rows])
        return
    table = TextTable("when", "who", "action", "what", "")
    for row in rows:
        table.add_row(f"{row.created_at:%Y-%m-%d %H:%M}", row.author, row.action, row.subject, row.detail)
    out.print(table if table.row_count else "No actions yet.")


def _record(row: Action) -> dict[str, str]:
    at = f"{row.created_at:%Y-%m-%dT%H:%M:%SZ}"
    return {"at": at, "author": row.author, "action": row.action, "subject": row.subject, "detail": row.detail}
