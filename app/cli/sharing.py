"""``orl share``: a set as a folder of static files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Where, out, progress_bar
from orl_explorer.app.cli.names import SetArgument
from orl_explorer.app.cli.settings import one_of
from orl_explorer.app.share.choice import Pictures, ShareRequest, choose
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import open_to_look


def share_command(
    name: SetArgument,
    to: Annotated[Path, typer.Option("--out", help="Folder to write. It must not exist, or be empty.")],
    photos: Annotated[
        int | None, typer.Option(help="Number of query photos, the first by name. Default: all, up to 5000.")
    ] = None,
    selection: Annotated[
        str | None, typer.Option(help="Name of a selection. Only its photos are query photos.")
    ] = None,
    pictures: Annotated[
        str,
        one_of(
            get_args(Pictures), help="thumbnails: photos of at most 640 pixels. full: photos in their own size too."
        ),
    ] = "thumbnails",
    alone: Annotated[
        bool,
        typer.Option(
            "--only-chosen", help="Leave out neighbours that are not query photos themselves, with their pairs."
        ),
    ] = False,
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="Include verdicts on pairs, without the names of people.")
    ] = False,
    workspace: Where = None,
) -> None:
    """Write a set as a folder that opens in any browser, from disk, without a server or a network.

    The folder holds photos without metadata, RoIs, pairs, settings and digests. Open its index.html.
    """
    from orl_explorer.app.share.folder import refuse_folder, write_folder

    opened = open_to_look(workspace)
    refuse_folder(opened.store, to)
    choice = choose(opened, name, ShareRequest(photos, selection, pictures, alone, verdicts))  # type: ignore[arg-type]
    out.print("The folder will hold:")
    for line in choice.described():
        out.print(f"- {line}")
    with progress_bar() as bars:
        lacking, size = write_folder(choice, to, Bars(bars))
    if lacking:
        out.print(f"{plural(lacking, 'picture')} could not be made: the photos are gone, unreadable or have changed.")
    out.print(f"Wrote {to}, {size / 1e6:,.1f} MB. Open {to / 'index.html'} in a browser.")
