"""``orl datasets``: list datasets, and name the new folder of their photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orl_explorer.app.cli.common import Json, Where, out, pass_on, print_json, progress_bar
from orl_explorer.app.cli.names import some_dataset
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.app.records import dataset_record
from orl_explorer.db.photos import datasets
from orl_explorer.train.words import printable
from orl_explorer.train.workspace import open_to_look, open_workspace

datasets_app = typer.Typer(help="List datasets, and move them to another folder.", invoke_without_command=True)


@datasets_app.callback()
def datasets_command(context: typer.Context, workspace: Where = None, json: Json = False) -> None:
    """List datasets, and move them to another folder."""
    pass_on(context, workspace, json)
    if context.invoked_subcommand is None:
        list_datasets(workspace, json)


@datasets_app.command("list")
def list_datasets(workspace: Where = None, json: Json = False) -> None:
    """List the datasets."""
    rows = datasets(open_to_look(workspace).store)
    if json:
        print_json([dataset_record(row) for row in rows])
        return
    table = TextTable("name", "layout", "photos", "unreadable", "gone", "annotations", "folder")
    for row in rows:
        counts = row.image_count, row.unreadable_count, row.gone_count, row.annotation_count
        table.add_row(row.name, row.layout, *map(str, counts), row.root)
    out.print(table if table.row_count else "No datasets yet. Add one with `orl ingest FOLDER`.")


@datasets_app.command("move")
def move_command(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Name of the dataset.", autocompletion=some_dataset)],
    folder: Annotated[Path, typer.Argument(help="Folder that holds the photos now.")],
    check: Annotated[bool, typer.Option("--check", help="Compare the content of all photos, not of a sample.")] = False,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Mark photos as gone that FOLDER does not hold.")
    ] = False,
    accept_different: Annotated[
        bool,
        typer.Option("--accept-different", help="Move although photos differ. The next ingest reads them again."),
    ] = False,
    workspace: Where = None,
) -> None:
    """Name the folder that holds a dataset's photos now. Sets, tags, features and runs stay."""
    from orl_explorer.train.jobs.datasets import Accepted, move_photos

    opened = open_workspace(workspace)
    options: dict[Accepted, bool] = {"missing": accept_missing, "different": accept_different}
    accepted = [state for state, asked in options.items() if asked]
    with progress_bar() as bar:
        task = bar.add_task("Comparing photos", total=None)
        found = move_photos(
            opened,
            name,
            folder.expanduser(),
            check=check,
            accept=accepted,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    out.print(
        f"The photos of '{name}' are in {found.root} now: {len(found.stamps)} there, {len(found.missing)} missing, "
        f"{len(found.different)} different. Compared the content of {found.digests}.",
        soft_wrap=True,
    )
    for other in found.also:
        out.print(f"  The dataset '{other}' has the photos of this folder too.")
    for state, some in (("gone", found.missing), ("different", found.different)):
        for photo in some:
            out.print(f"  {state}: {printable(photo.path)}")
