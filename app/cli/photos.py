"""``orl ingest``: the photos of mining."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from orl_explorer.app.cli.common import Json, Where, out, print_json, progress_bar
from orl_explorer.app.cli.settings import one_of
from orl_explorer.app.records import ingested_record
from orl_explorer.train.ingest.findings import sentences
from orl_explorer.train.ingest.layouts import LayoutName
from orl_explorer.train.words import plural, printable
from orl_explorer.train.workspace import open_workspace

if TYPE_CHECKING:
    from orl_explorer.train.ingest.ingest import Ingested


def ingest_command(
    path: Annotated[Path, typer.Argument(help="Folder of photos, of COCO, or of one year of VOC.")],
    layout: Annotated[
        str, one_of(get_args(LayoutName), help="Layout of PATH. auto: detect it. folder: photos without annotations.")
    ] = "auto",
    annotations: Annotated[
        Path | None, typer.Option(help="COCO json with annotations. Default: the one in PATH/annotations.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the dataset. Default: the name of the folder.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Add a folder of photos as a dataset. Run it again to add new and changed photos.

    Photos are files in the formats JPEG, PNG, WebP, TIFF, GIF, BMP, JPEG 2000, PPM and AVIF, and with the extra `heic`
    HEIC.
    """
    from orl_explorer.train.ingest.ingest import ingest as take_in

    opened = open_workspace(workspace)
    with progress_bar(total=False, json=json) as bar:
        task = bar.add_task("Reading photos", total=None)
        found = take_in(
            opened,
            path,
            layout=layout,
            annotations=annotations,
            name=name,
            report=lambda seen: bar.update(task, completed=seen),
        )
    if json:
        print_json(ingested_record(found))
        return
    dataset = found.dataset
    out.print(
        f"Dataset '{dataset.name}' ({dataset.layout}): {plural(dataset.image_count, 'photo')}, "
        f"{plural(dataset.annotation_count, 'annotated object')}; {found.new} new, {found.changed} changed, "
        f"{found.unchanged} unchanged, {dataset.unreadable_count} unreadable, {dataset.gone_count} gone.",
    )
    _tell_gone(found)
    for file, reason in found.unreadable[:10]:
        out.print(f"  unreadable: {printable(file)}: {reason}")
    if len(found.unreadable) > 10:
        out.print(f"  … and {len(found.unreadable) - 10} more")
    for line in sentences(found.findings):
        out.print(f"  {line}")


def _tell_gone(found: Ingested) -> None:
    """Name the photos that are gone since the last ingest, and count those that came back."""
    for file in found.gone:
        out.print(f"  gone: {printable(file)}")
    if found.renamed:
        out.print(f"  {found.renamed} of the gone photos have a new name: a new photo has the same content.")
    if found.returned:
        out.print(f"  {found.returned} photos that were gone or unreadable are as before.")
