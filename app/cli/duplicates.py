"""``orl duplicates``: list photos of a dataset that are nearly the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orl_explorer.app.cli.common import Json, Where, out, print_json
from orl_explorer.app.cli.names import EncoderName, named_option, some_dataset
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.orl.duplicates import NEAR_DUPLICATE
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.mining.duplicates import COLUMNS, duplicate_rows, duplicates_csv, find_duplicates
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import open_to_look

SHOWN = 20  # groups in the table


def duplicates_command(
    dataset: Annotated[str, named_option(some_dataset, help="Name of the dataset.")],
    encoder: EncoderName,
    threshold: Annotated[
        float, typer.Option(min=0.01, max=1, help="Cosine similarity from which two photos are near-duplicates.")
    ] = NEAR_DUPLICATE,
    to: Annotated[Path | None, typer.Option(help="CSV file to write all groups to.")] = None,
    json: Json = False,
    workspace: Where = None,
) -> None:
    """List groups of near-duplicates among the photos of a dataset, and say which photo of each to keep."""
    opened = open_to_look(workspace)
    found = dataset_named(opened.store, dataset)
    groups = find_duplicates(opened, found, encoder_named(opened.store, encoder), threshold)
    if to is not None:
        if to.suffix != ".csv":
            raise UserError(f"{to} must end in .csv.")
        publish(lambda file: file.write(duplicates_csv(groups).encode()), to)
    if json:
        print_json([dict(zip(COLUMNS, row, strict=True)) for row in duplicate_rows(groups)])
        return
    photos = sum(len(group.photos) for group in groups)
    if groups:
        table = TextTable("group", "keep", "photo", "pixels", "objects", "similarity")
        for number, keep, path, width, height, objects, cosine, why in duplicate_rows(groups[:SHOWN]):
            said = f"yes: {why}" if keep else ""
            table.add_row(f"{number}", said, path, f"{width} × {height}", f"{objects}", f"{cosine:.3f}")
        out.print(table)
    if len(groups) > SHOWN:
        out.print(f"{plural(len(groups) - SHOWN, 'further group')}: write all with --to FILE.csv.")
    out.print(
        f"{plural(len(groups), 'group')} of near-duplicates, {photos:,} of {plural(found.image_count, 'photo')} "
        f"(cosine {threshold:g} or more)."
    )
    if groups:
        out.print("`orl mine --skip-duplicates` keeps one photo of each group as a neighbour. No file is changed.")
