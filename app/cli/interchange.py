"""``orl import``, ``orl export`` and ``orl export-encoder``: files of the reference implementation and other tools."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, get_args

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Detach, On, QueueOnly, Where, follow_run, out, progress_bar
from orl_explorer.app.cli.names import SetArgument, named_option, some_dataset, some_encoder
from orl_explorer.app.cli.settings import ChangesOption, MinePreset, one_of, with_changes
from orl_explorer.app.told import import_told
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.formats import EncoderFormat, SetFormat
from orl_explorer.train.interchange.vector_files import is_vector_file
from orl_explorer.train.jobs.launchers.choice import placement
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.mining.part_files import is_part
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace, open_workspace

import_app = typer.Typer(
    help="Import files of the paper's code, vectors from elsewhere, and files of `orl propose` and `orl embed`."
)

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
            "json. verdicts, tags: CSV of the verdicts and tags of people. settings: JSON of the mining settings. "
            "archive: the whole set as one file, for `orl import archive` where the same photos are.",
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
    out.print(f"{to}: {_exported(mined, form, to)} of '{mined.name}'.")


def _exported(mined: CorrespondenceSet, form: str, to: Path) -> str:
    """Say what a file holds of a set."""
    if form == "settings":
        return "the settings"
    if form in ("verdicts", "tags"):
        with to.open(newline="") as lines:
            return plural(sum(1 for _ in csv.reader(lines)) - 1, form.removesuffix("s"))
    return ", ".join(
        plural(count, one)
        for count, one in ((mined.image_count, "photo"), (mined.candidate_count, "RoI"), (mined.pair_count, "pair"))
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
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="JSON file of the paper's code, or all files of `orl propose`."),
    ],
    dataset: Annotated[
        str,
        named_option(some_dataset, help="Name of the dataset with the photos. Files of `orl propose` name it already."),
    ] = "",
    name: Annotated[
        str, typer.Option(help="Name of the proposals of a JSON file, for `orl mine --proposals NAME`.")
    ] = "",
    images: Annotated[
        Path | None,
        typer.Option(
            help="COCO json with the photos in the order of a JSON file. Default: the dataset's annotations/*.json."
        ),
    ] = None,
    workspace: Where = None,
) -> None:
    """Import raw boxes from a file …_selective_search_proposal.json, or from all parts that `orl propose` wrote."""
    from orl_explorer.train.interchange.imports import import_proposals as bring

    opened = open_workspace(workspace)
    known = dataset_named(opened.store, dataset) if dataset else None
    if _are_parts(files):
        if name or images:
            raise UserError("Files of `orl propose` need neither --name nor --images. Leave them out.")
        _import_boxes(opened, files, dataset)
        return
    if len(files) > 1 or known is None or not name:
        raise UserError("To import a JSON file, give one FILE, --dataset and --name.")
    with progress_bar() as bars:
        found = bring(opened, files[0], known, name, images=images, progress=Bars(bars))
    left_out = f"; skipped {found.unreadable} unreadable photos" if found.unreadable else ""
    out.print(f"Proposals '{name}': {found.boxes} boxes of {plural(found.photos, 'photo')}{left_out}.")


def _are_parts(files: list[Path]) -> bool:
    """Return whether the files are parts, by their content. Raises UserError if only some are."""
    parts = [is_part(file) for file in files]
    if any(parts) and not all(parts):
        raise UserError(f"{files[parts.index(False)]} is not a file of `orl propose`, as the others are.")
    return all(parts)


def _import_boxes(opened: Workspace, files: list[Path], dataset: str) -> None:
    from orl_explorer.train.interchange.import_parts import differing_versions, import_boxes

    with progress_bar() as bars:
        found = import_boxes(opened, files, dataset, Bars(bars))
    for line in differing_versions(files):
        out.print(line)
    there = f"; {plural(found.there, 'photo')} had some already" if found.there else ""
    lost = f"; {plural(found.unreadable, 'photo')} could not be read" if found.unreadable else ""
    out.print(f"Raw boxes of {plural(found.photos, 'photo')} of '{found.dataset.name}' ({found.method}){there}{lost}.")


@import_app.command("features")
def import_features_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            help="Vectors: NAME.npy with NAME.csv beside it, or NAME.parquet. Or all files of `orl embed --part`.",
        ),
    ],
    dataset: Annotated[
        str,
        named_option(
            some_dataset, help="Name of the dataset with the photos. Default: the one in the files of `--part`."
        ),
    ] = "",
    encoder: Annotated[
        str,
        named_option(
            some_encoder, help="Name of the encoder that the vectors become, or that they are added to. Not for parts."
        ),
    ] = "",
    supervised: Annotated[
        bool, typer.Option("--supervised", help="The vectors come from an encoder that was trained with labels.")
    ] = False,
    workspace: Where = None,
) -> None:
    """Import vectors that were computed elsewhere as an encoder, or the parts that `orl embed --part` wrote.

    Vectors of photos and of boxes (.npy, .parquet) become an encoder without a network: mine and explore with it. All
    rows are checked before anything is stored, and scaled to unit length. Import more for the same --encoder if the
    dataset grows.

    Parts are added to the features of the encoder that they name. Files on the disk of the workspace are linked, others
    are copied.
    """
    opened, vectors = open_workspace(workspace), [is_vector_file(file) for file in files]
    if any(vectors):
        if not all(vectors):
            raise UserError(f"{files[vectors.index(False)]} ends neither in .npy nor in .parquet, as the others do.")
        if not dataset or not encoder:
            raise UserError("To import vectors, give --dataset and --encoder, the name that they get.")
        _import_vectors(opened, files, dataset, encoder, supervised)
        return
    if other := next((file for file in files if not is_part(file)), None):
        raise UserError(f"{other} is neither a file of vectors (.npy, .parquet) nor one of `orl embed --part`.")
    if encoder or supervised:
        raise UserError("Files of `orl embed --part` name their encoder. Leave out --encoder and --supervised.")
    _import_parts(opened, files, dataset)


def _import_vectors(opened: Workspace, files: list[Path], dataset: str, encoder: str, supervised: bool) -> None:
    from orl_explorer.train.interchange.import_vectors import import_vectors

    with progress_bar() as bars:
        rows = dataset_named(opened.store, dataset)
        found = import_vectors(opened, files, rows, encoder, supervised=supervised, progress=Bars(bars))
    for line in import_told(found):
        out.print(line)
    if found.new and not found.encoder.supervised:
        out.print("It counts as trained without labels. If it was trained with labels, import it with --supervised.")


def _import_parts(opened: Workspace, files: list[Path], dataset: str) -> None:
    from orl_explorer.train.interchange.import_parts import differing_versions, import_features

    with progress_bar() as bars:
        found = import_features(opened, files, dataset, Bars(bars))
    for line in differing_versions(files):
        out.print(line)
    rows = ", ".join(f"{count:,} {kind}" for kind, count in found.rows.items())
    there = f"; {found.there:,} of them were there already" if found.there else ""
    lost = f"; {plural(found.unreadable, 'photo')} could not be read" if found.unreadable else ""
    out.print(f"Features of '{found.encoder.name}' from {plural(found.files, 'file')}: {rows}{there}{lost}.")


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


@import_app.command("archive")
def import_archive_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive of `orl export --format archive`.")],
    dataset: Annotated[
        str, named_option(some_dataset, help="Name of the dataset with its photos. Default: the name in the archive.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the new correspondence set. Default: that in the archive.")] = "",
    leave_out: Annotated[
        bool,
        typer.Option("--leave-out", help="Import the rest if photos are missing or have another content here."),
    ] = False,
    by_name: Annotated[
        bool,
        typer.Option("--by-name", help="Also take photos of the same name and size whose files have another content."),
    ] = False,
    embed: Annotated[
        bool, typer.Option("--embed", help="Also compute the features of its photos and RoIs, with its encoder.")
    ] = False,
    on: On = "",
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Import a set that was mined elsewhere from its archive. Photos are found by the digests of their files.

    Nothing is computed, unless you ask with --embed. If the workspace has an encoder with the same weights, the set
    uses it.
    """
    from orl_explorer.train.interchange.archive_files import read_archive
    from orl_explorer.train.interchange.import_archive import import_archive, lost_in_words

    archive, opened = read_archive(file), open_workspace(workspace)
    rows = dataset_named(opened.store, dataset or archive.manifest["dataset"])
    how = {"leave_out": leave_out, "by_name": by_name, "embed": embed}
    placed = placement(opened, on, queue_only=queue_only)
    with progress_bar() as bars:
        found = import_archive(opened, archive, rows, name, **how, placed=placed, progress=Bars(bars))
    for line in lost_in_words(found.matched):
        out.print(line)
    total = plural(len(found.matched.image_ids), "photo")
    out.print(f"{found.photos:,} of {total} of '{archive.name}' are in '{rows.name}'.")
    if found.left_out:
        out.print(f"{plural(found.left_out, 'photo')} had no neighbour left, and {_are(found.left_out)} left out too.")
    if found.neighbors != archive.config.neighbors:
        out.print(f"K is {found.neighbors} instead of {archive.config.neighbors}: each photo has so many left.")
    if found.absent:
        out.print(
            f"Its encoder '{found.encoder.name}' is not in this workspace. Explore, Matches, Compare and training need "
            "none. For Pair and Tune, add it: `orl encoders add`, with the same weights."
        )
    elif not embed:
        out.print("Pair and Tune compute features when they need them. `--embed` computes them all at once.")
    follow_run(opened, found.run, detach)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
