"""``orl search``: the RoIs of a correspondence set that are most similar to a box of any photo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from orl_explorer.app.cli.common import Json, Where, out, print_json, progress_bar
from orl_explorer.app.cli.names import named_option, some_set
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.sets.read import complete_set_named, sets
from orl_explorer.db.store import Store
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.search import FIRST, Filters, hit_row, search_file
from orl_explorer.train.words import plural, printable
from orl_explorer.train.workspace import open_to_look

COLUMNS = ("image_id", "path", "roi_id", "x", "y", "w", "h", "similarity", "category")


def search_command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="Photo to search with, of the dataset or not.")],
    box: Annotated[
        str, typer.Option(metavar="X,Y,W,H", help="Box of the photo, in pixels. Default: the whole photo.")
    ] = "",
    name: Annotated[
        str, named_option(some_set, "--set", help="Name of the correspondence set. Default: the newest.")
    ] = "",
    top: Annotated[int, typer.Option(min=1, max=FIRST, help="Number of RoIs to list.")] = 20,
    min_similarity: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Least cosine similarity of the RoIs.")
    ] = None,
    category: Annotated[str, typer.Option(help="Only RoIs that cover an annotated object of this category.")] = "",
    once: Annotated[bool, typer.Option("--once", help="List only the best RoI of each photo.")] = False,
    json: Json = False,
    workspace: Where = None,
) -> None:
    """List the RoIs of a correspondence set that are most similar to a photo, or to a box of it.

    The set's encoder embeds the box as mining embeds a RoI. All RoIs of the set are compared; of a large set, the first
    thousand are chosen by a compact index, which the first search makes.
    """
    opened = open_to_look(workspace)
    mined = _set(opened.store, name)
    filters = Filters(min_similarity, category or None, None, once)
    with progress_bar(json=json) as bars:
        task = bars.add_task("Making the index", total=None, visible=False)

        def report(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, visible=True)

        found, embedded = search_file(opened, mined, photo, _box(box) if box else None, filters, report)
    rows = [hit_row(hit) for hit in found[:top]]
    if json:
        print_json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
        return
    table = TextTable("photo", "box", "similarity", "category")
    for _, path, _, x, y, w, h, similarity, covered in rows:
        table.add_row(printable(path), f"{x},{y},{w},{h}", f"{similarity:.3f}", covered or "")
    if rows:
        out.print(table)
    said = ",".join(map(str, embedded))
    out.print(
        f"{plural(len(rows), 'RoI')} of {mined.candidate_count:,} in '{mined.name}', by the box {said} of {photo}."
    )
    if box and embedded != _box(box):
        out.print("The box was grown to a cell of the encoder's map: of a smaller crop, it sees nothing.")


def _set(store: Store, name: str) -> CorrespondenceSet:
    if name:
        return complete_set_named(store, name)
    newest = next(iter(sets(store)), None)
    if newest is None:
        raise UserError("There is no correspondence set to search in. Make one with `orl mine`.")
    return newest


def _box(text: str) -> tuple[int, int, int, int]:
    if not re.fullmatch(r"\d{1,5}(,\d{1,5}){3}", text, re.ASCII):
        raise UserError(f"Invalid value for --box: '{text}'. Use X,Y,W,H in whole pixels, such as 40,60,200,150.")
    x, y, w, h = map(int, text.split(","))
    return x, y, w, h
