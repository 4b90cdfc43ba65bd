"""``orl import``, ``orl export`` and ``orl export-encoder``: files of the reference implementation and other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Detach, On, QueueOnly, Where, follow_run, out, progress_bar
from orl_explorer.app.cli.names import SetArgument, named_option, some_dataset, some_encoder
from orl_explorer.app.cli.settings import ChangesOption, MinePreset, one_of, with_changes
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.formats import EncoderFormat, SetFormat
from orl_explorer.train.jobs.launchers.choice import placement
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import open_workspace

import_app = typer.Typer(help="Import files of the paper's code.")

JsonFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON file of the paper's code.")]
DatasetOption = Annotated[str, named_option(some_dataset, help="Name of the dataset with the photos of FILE.")]


def export_command(
    name: SetArgument,
    to: Annotated[
        Path, typer.Option("--out", help="File to write. For --format reference: folder to write three files to.")
    ],
    form: Annotated[
        str,
        one_of(
            get_args(SetFormat),
            "--format",
            help="reference: the files that the paper's code reads. parquet, csv: one row per pair. coco: RoIs as COCO "
            "json. verdicts, tags: CSV of the verdicts and tags of people. settings: JSON of the mining settings.",
        ),
    ] = "reference",
    images: Annotated[
        Path | None, typer.Option(help="COCO json of the same photos. The output uses its order, names and ids.")
    ] = None,
    workspace: Where = None,
) -> None:
    """Export a correspondence set to a file or folder."""
    from orl_explorer.train.interchange.exports import export as write

    opened = open_workspace(workspace)
    with progress_bar() as bars:
        mined = write(opened, name, form, to, images=images, progress=Bars(bars))
    out.print(
        f"{to}: {plural(mined.image_count, 'photo')}, {plural(mined.candidate_count, 'RoI')}, "
        f"{plural(mined.pair_count, 'pair')} of '{mined.name}'.",
    )


def export_encoder_command(
    name: Annotated[str, typer.Argument(metavar="ENCODER", help="Name of the encoder.", autocompletion=some_encoder)],
    to: Annotated[Path, typer.Option("--out", help="File to write. A description is written to FILE.json.")],
    form: Annotated[
        str,
        one_of(get_args(EncoderFormat), "--format", help="Program or file format to export for."),
    ] = "torchvision",
    workspace: Where = None,
) -> None:
    """Export an encoder for other programs, with a description of its training."""
    from orl_explorer.train.encoders.export import export_encoder as write

    card = write(open_workspace(workspace), name, form, to)
    out.print(f"{to}: the encoder '{name}' for {form}. Description: {card}.")


@import_app.command("proposals")
def import_proposals_command(
    file: JsonFile,
    dataset: DatasetOption,
    name: Annotated[str, typer.Option(help="Name of the proposals, for `orl mine --proposals NAME`.")],
    images: Annotated[
        Path | None,
        typer.Option(help="COCO json with the photos in the order of FILE. Default: the dataset's annotations/*.json."),
    ] = None,
    workspace: Where = None,
) -> None:
    """Import raw boxes from a file …_selective_search_proposal.json."""
    from orl_explorer.train.interchange.imports import import_proposals as bring

    opened = open_workspace(workspace)
    with progress_bar() as bars:
        found = bring(opened, file, dataset_named(opened.store, dataset), name, images=images, progress=Bars(bars))
    left_out = f"; skipped {found.unreadable} unreadable photos" if found.unreadable else ""
    out.print(f"Proposals '{name}': {found.boxes} boxes of {plural(found.photos, 'photo')}{left_out}.")


@import_app.command("neighbors")
def import_neighbors_command(
    file: JsonFile,
    dataset: DatasetOption,
    encoder: Annotated[
        str, named_option(some_encoder, help="Name of the encoder that computes similarities and matches RoIs.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new correspondence set.")],
    preset: MinePreset = "paper",
    changes: ChangesOption = None,
    on: On = "",
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Import neighbours from a file …_knn_instance.json, and mine RoIs and pairs with them."""
    from orl_explorer.train.interchange.imports import import_neighbors as bring

    opened = open_workspace(workspace)
    config = with_changes(MINE_PRESETS[preset], changes)
    rows = dataset_named(opened.store, dataset), encoder_named(opened.store, encoder)
    placed = placement(opened, on, queue_only=queue_only)
    with progress_bar() as bars:
        run = bring(opened, file, *rows, name, config, placed=placed, progress=Bars(bars))
    follow_run(opened, run, detach)


@import_app.command("correspondences")
def import_correspondences_command(
    file: JsonFile,
    dataset: DatasetOption,
    encoder: Annotated[
        str, named_option(some_encoder, help="Name of the encoder that computes similarities, which FILE lacks.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new correspondence set.")],
    proposals: Annotated[
        str | None,
        typer.Option(
            help="Name of the imported proposals that the RoIs were filtered from. Default: the RoIs themselves."
        ),
    ] = None,
    on: On = "",
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Import RoIs, neighbours and pairs from a file …_instance_correspondence.json as a set."""
    from orl_explorer.train.interchange.imports import import_correspondences as bring

    opened = open_workspace(workspace)
    rows = dataset_named(opened.store, dataset), encoder_named(opened.store, encoder)
    placed = placement(opened, on, queue_only=queue_only)
    with progress_bar() as bars:
        run = bring(opened, file, *rows, name, proposals=proposals, placed=placed, progress=Bars(bars))
    follow_run(opened, run, detach)
