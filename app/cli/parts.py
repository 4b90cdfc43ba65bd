"""``orl propose``, ``orl embed`` and ``orl features``: mining in parts on many machines, and features as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Where, out, progress_bar
from orl_explorer.app.cli.names import EncoderName, named_option, some_dataset, some_encoder, some_set
from orl_explorer.app.cli.settings import MinePreset, takes_flags, with_changes
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.interchange.vector_files import NPY, beside, is_vector_file
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.mining.parts import EMBEDDING, SEARCH, Part, Written, embed_part, propose_part
from orl_explorer.train.mining.place import Here
from orl_explorer.train.settings import Precision
from orl_explorer.train.words import plural, printable
from orl_explorer.train.workspace import open_workspace

NAMED = 10  # photos without a row that are named

features_app = typer.Typer(help="Manage stored features.")

OneDataset = Annotated[str, named_option(some_dataset, "--dataset", help="Name of the dataset.")]
PartOption = Annotated[str, typer.Option(help="Part of the dataset, such as 2/3: the second of three equal parts.")]
OutOption = Annotated[
    Path, typer.Option("--out", help="File to write. It appears when the part is complete. Run again to continue.")
]
EmbedOutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        help="File to write. NAME.npy: an array of float32, with the photo of each row in NAME.csv. NAME.parquet: one "
        "table of both. With --part: a file of any other name, for `orl import features`.",
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Number of processes for selective search. Default: one per core.")
]


@takes_flags(MineConfig, MINE_PRESETS, only=SEARCH)
def propose_command(
    dataset: OneDataset,
    part: PartOption,
    to: OutOption,
    flags: dict[str, Any],
    workers: WorkersOption = None,
    workspace: Where = None,
) -> None:
    """Run selective search on one part of a dataset and write the raw boxes to a file.

    The workspace is only read, so that it may be a copy or a read-only folder. `orl import proposals` reads the files.
    """
    asked, config = Part.parse(part), with_changes(MINE_PRESETS["paper"], [], flags)
    opened = open_workspace(workspace, read_only=True)
    with progress_bar() as bars:
        found = dataset_named(opened.store, dataset)
        made = propose_part(opened, found, config, asked, to, Here(workers), Bars(bars))
    _tell(to, part, "raw boxes", made)


@takes_flags(MineConfig, MINE_PRESETS, only=EMBEDDING)
def embed_command(
    dataset: OneDataset,
    encoder: EncoderName,
    to: EmbedOutOption,
    flags: dict[str, Any],
    rois: Annotated[
        str,
        named_option(
            some_set, "--rois", help="Name of a correspondence set: write the features of its RoIs, not of the photos."
        ),
    ] = "",
    part: Annotated[
        str,
        typer.Option(
            help="Part of the dataset, such as 2/3: the second of three equal parts. Writes a file for `orl import "
            "features`. Run again to continue."
        ),
    ] = "",
    boxes: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --part: file of `orl propose` with the raw boxes. May be repeated. Default: those in the store."
        ),
    ] = None,
    preset: MinePreset = "paper",
    workspace: Where = None,
) -> None:
    """Compute features of photos or of RoIs and write them to a file.

    Without --part, writes the features of all photos of the dataset, or with --rois those of the RoIs of a set, to a
    file for other programs (.npy or .parquet). Stored features are used; missing ones are computed and stored. Of the
    options for settings, only --precision counts.

    With --part, writes the features of a part of the photos, and of the RoIs that `orl mine` would keep with the same
    settings, to a file for `orl import features`. The workspace is only read.
    """
    if part:
        if rois or is_vector_file(to):
            raise UserError("With --part, give a file that ends neither in .npy nor in .parquet, and leave out --rois.")
        config = with_changes(MINE_PRESETS[preset], [], flags)
        _embed_part(workspace, (dataset, encoder), Part.parse(part), to, config, boxes or [])
        return
    if boxes or flags.keys() - {"precision"} or preset != "paper":
        raise UserError("Without --part, only --precision and --rois choose what is embedded. Leave the others out.")
    _embed_file(workspace, (dataset, encoder), to, rois, flags.get("precision", "fp32"))


def _embed_file(workspace: Path | None, names: tuple[str, str], to: Path, rois: str, precision: Precision) -> None:
    from orl_explorer.train.interchange.embedding import embed_to_file
    from orl_explorer.train.training.distributed import choose_device

    opened = open_workspace(workspace)
    rows = dataset_named(opened.store, names[0]), encoder_named(opened.store, names[1])
    mined = complete_set_named(opened.store, rois) if rois else None
    how: dict[str, Any] = {"precision": precision, "device": str(choose_device())}
    with progress_bar() as bars:
        made = embed_to_file(opened, *rows, to, mined=mined, progress=Bars(bars), **how)
    what = f"RoIs of {plural(made.photos, 'photo')}" if rois else "photos"
    named = f" Their photos: {beside(to)}." if to.suffix == NPY else ""
    out.print(f"{to}: {made.rows:,} {what}, {plural(made.width, 'number')} each, by '{names[1]}'.{named}")
    if made.lost:
        out.print(f"Without a row, since they could not be read: {plural(len(made.lost), 'photo')}.")
    for path, reason in [*made.lost.items()][:NAMED]:
        out.print(f"  {printable(path)}: {reason}")
    if len(made.lost) > NAMED:
        out.print(f"  … and {len(made.lost) - NAMED} more")


def _embed_part(
    workspace: Path | None, names: tuple[str, str], part: Part, to: Path, config: MineConfig, boxes: list[Path]
) -> None:
    from orl_explorer.train.training.distributed import choose_device

    opened = open_workspace(workspace, read_only=True)
    rows = dataset_named(opened.store, names[0]), encoder_named(opened.store, names[1])
    device = str(choose_device())
    with progress_bar() as bars:
        told = Bars(bars)
        made = embed_part(opened, *rows, config, part, to, Here(), boxes=boxes, device=device, progress=told)
    _tell(to, f"{part.number}/{part.count}", "features", made)


def _tell(to: Path, part: str, what: str, made: Written) -> None:
    """Print what a file holds."""
    rows = ", ".join(f"{count:,} {name}" for name, count in made.rows.items())
    lost = f"; {plural(made.lost, 'photo')} could not be read" if made.lost else ""
    state = "" if made.new else " It was complete already."
    out.print(f"{to}: {what} of part {part}, {plural(made.photos, 'photo')}: {rows}{lost}.{state}")


@features_app.callback()
def features_command() -> None:
    """Manage stored features."""


@features_app.command("compact")
def compact_command(
    name: Annotated[str, typer.Argument(metavar="ENCODER", help="Name of the encoder.", autocompletion=some_encoder)],
    workspace: Where = None,
) -> None:
    """Join the imported files of an encoder's features with its other features, and remove the files.

    Mining and the explorer read imported files where they are. Compact them if there are hundreds.
    """
    from orl_explorer.train.mining.compact import compact

    opened = open_workspace(workspace)
    with progress_bar() as bars:
        done = compact(opened, name, Bars(bars))
    out.print(f"Compacted {plural(done.files, 'file')} of '{name}': {plural(done.rows, 'row')} appended.")
