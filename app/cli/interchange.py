"""``orl import``, ``orl export`` and ``orl export-encoder``: the reference implementation's files, and other tools'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Detach, Where, follow_run, out, progress_bar
from orl_explorer.app.cli.names import SetArgument, named_option, some_dataset, some_encoder
from orl_explorer.app.cli.settings import ChangesOption, MinePreset, one_of, with_changes
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.formats import EncoderFormat, SetFormat
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.workspace import open_workspace

import_app = typer.Typer(help="Bring proposals or correspondences of the reference implementation in.")

JsonFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON file of the reference implementation.")]
DatasetOption = Annotated[str, named_option(some_dataset, help="Name of the dataset whose photos the file is about.")]


def export_command(
    name: SetArgument,
    to: Annotated[Path, typer.Option("--out", help="File to write; a folder for the reference's three files.")],
    form: Annotated[
        str,
        one_of(
            get_args(SetFormat), "--format", help="parquet, csv: a row for each pair. coco: RoIs. verdicts, tags: csv."
        ),
    ] = "reference",
    images: Annotated[
        Path | None, typer.Option(help="COCO json of the same photos: take order, names and ids from it.")
    ] = None,
    workspace: Where = None,
) -> None:
    """Write a correspondence set for others to use."""
    from orl_explorer.train.interchange.exports import export as write

    opened = open_workspace(workspace)
    with progress_bar() as bars:
        mined = write(opened, name, form, to, images=images, progress=Bars(bars))
    out.print(
        f"{to}: {mined.image_count} photos, {mined.candidate_count} RoIs, {mined.pair_count} pairs of '{mined.name}'.",
        highlight=False,
        markup=False,
    )


def export_encoder_command(
    name: Annotated[str, typer.Argument(metavar="ENCODER", help="Name of the encoder.", autocompletion=some_encoder)],
    to: Annotated[Path, typer.Option("--out", help="File to write; its card goes to FILE.json.")],
    form: Annotated[str, one_of(get_args(EncoderFormat), "--format", help="Whose names and file.")] = "torchvision",
    workspace: Where = None,
) -> None:
    """Write an encoder for other programs, and a card that says how it came about."""
    from orl_explorer.train.encoders.export import export_encoder as write

    card = write(open_workspace(workspace), name, form, to)
    out.print(f"{to}: the encoder '{name}' for {form}; {card} says what it is.", highlight=False, markup=False)


@import_app.command("proposals")
def import_proposals_command(
    file: JsonFile,
    dataset: DatasetOption,
    name: Annotated[str, typer.Option(help="Name of the proposals, for `orl mine --proposals NAME`.")],
    images: Annotated[
        Path | None, typer.Option(help="COCO json in whose order FILE is; else the dataset's own annotations/*.json.")
    ] = None,
    workspace: Where = None,
) -> None:
    """Keep the raw boxes of a …_selective_search_proposal.json."""
    from orl_explorer.train.interchange.imports import import_proposals as bring

    opened = open_workspace(workspace)
    with progress_bar() as bars:
        found = bring(opened, file, dataset_named(opened.store, dataset), name, images=images, progress=Bars(bars))
    left_out = f"; {found.unreadable} photos cannot be read and were left out" if found.unreadable else ""
    out.print(f"Proposals '{name}': {found.boxes} boxes of {found.photos} photos{left_out}.", highlight=False)


@import_app.command("neighbors")
def import_neighbors_command(
    file: JsonFile,
    dataset: DatasetOption,
    encoder: Annotated[
        str, named_option(some_encoder, help="Name of the encoder that measures neighbours and matches RoIs.")
    ],
    name: Annotated[str, typer.Option(help="Name of the correspondence set to make.")],
    preset: MinePreset = "paper",
    changes: ChangesOption = None,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Mine RoIs and pairs between the neighbours of a …_knn_instance.json."""
    from orl_explorer.train.interchange.imports import import_neighbors as bring

    opened = open_workspace(workspace)
    config = with_changes(MINE_PRESETS[preset], changes)
    rows = dataset_named(opened.store, dataset), encoder_named(opened.store, encoder)
    with progress_bar() as bars:
        run = bring(opened, file, *rows, name, config, progress=Bars(bars))
    follow_run(opened, run, detach)


@import_app.command("correspondences")
def import_correspondences_command(
    file: JsonFile,
    dataset: DatasetOption,
    encoder: Annotated[
        str, named_option(some_encoder, help="Name of the encoder that measures similarities; FILE has none.")
    ],
    name: Annotated[str, typer.Option(help="Name of the correspondence set to make.")],
    proposals: Annotated[
        str | None, typer.Option(help="Name of imported proposals that the RoIs were chosen from; else the RoIs alone.")
    ] = None,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Make a set of an …_instance_correspondence.json: its RoIs, neighbours and pairs."""
    from orl_explorer.train.interchange.imports import import_correspondences as bring

    opened = open_workspace(workspace)
    rows = dataset_named(opened.store, dataset), encoder_named(opened.store, encoder)
    with progress_bar() as bars:
        run = bring(opened, file, *rows, name, proposals=proposals, progress=Bars(bars))
    follow_run(opened, run, detach)
