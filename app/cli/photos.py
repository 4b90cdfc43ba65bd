"""``orl ingest`` and ``orl encoders``: the inputs of mining."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from orl_explorer.app.cli.common import Json, Where, out, pass_on, print_json, progress_bar
from orl_explorer.app.cli.settings import one_of
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.app.records import encoder_record, ingested_record
from orl_explorer.db.encoders import encoders as all_encoders
from orl_explorer.train.ingest.findings import sentences
from orl_explorer.train.ingest.layouts import LayoutName
from orl_explorer.train.words import plural, printable
from orl_explorer.train.workspace import open_to_look, open_workspace

if TYPE_CHECKING:
    from orl_explorer.train.ingest.ingest import Ingested

encoders_app = typer.Typer(help="List and add encoders.", invoke_without_command=True)


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


@encoders_app.callback()
def encoders_command(context: typer.Context, workspace: Where = None, json: Json = False) -> None:
    """List and add encoders."""
    pass_on(context, workspace, json)
    if context.invoked_subcommand is None:
        list_encoders(workspace, json)


@encoders_app.command("list")
def list_encoders(workspace: Where = None, json: Json = False) -> None:
    """List the encoders."""
    rows = all_encoders(open_to_look(workspace).store)
    if json:
        print_json([encoder_record(row) for row in rows])
        return
    table = TextTable("name", "architecture", "kind", "trained", "features", "source")
    for row in rows:
        trained = "with labels" if row.supervised else "without labels"
        table.add_row(row.name, row.architecture, row.kind, trained, str(row.roi_features), row.source)
    out.print(table if table.row_count else "No encoders yet. Add one with `orl encoders add starter --name starter`.")


@encoders_app.command("add")
def add_encoder_command(
    source: Annotated[
        str, typer.Argument(help="starter, torchvision:NAME, random:NAME (of a ResNet), or a checkpoint file.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the encoder. Default: a name made from SOURCE.")] = None,
    architecture: Annotated[
        str, typer.Option(help="Architecture of a checkpoint file, such as timm:NAME. Default: detected from the file.")
    ] = "",
    part: Annotated[
        str,
        typer.Option(
            help="Network to read from a checkpoint file that holds several, such as teacher. Default: the online one, "
            "the teacher, or the model itself rather than its moving average."
        ),
    ] = "",
    workspace: Where = None,
) -> None:
    """Add an encoder: the starter, torchvision's weights, random weights, or a checkpoint."""
    from orl_explorer.train.encoders.weights import add, default_name

    def tell(line: str) -> None:
        out.print(line)

    row = add(open_workspace(workspace), source, name or default_name(source), architecture, tell, part)
    trained = "supervised (ImageNet labels)" if row.supervised else "self-supervised, according to its file"
    if source.startswith("random:"):
        trained = "random weights"
    out.print(f"Encoder '{row.name}': {row.architecture}, {row.roi_features} features, {trained}.")
