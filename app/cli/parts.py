"""``orl propose``, ``orl embed`` and ``orl features``: mining in parts, on machines that share nothing but files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Where, out, progress_bar
from orl_explorer.app.cli.names import EncoderName, named_option, some_dataset, some_encoder
from orl_explorer.app.cli.settings import MinePreset, takes_flags, with_changes
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.mining.parts import EMBEDDING, SEARCH, Part, Written, embed_part, propose_part
from orl_explorer.train.mining.place import Here
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import open_workspace

features_app = typer.Typer(help="Manage stored features.")

OneDataset = Annotated[str, named_option(some_dataset, "--dataset", help="Name of the dataset.")]
PartOption = Annotated[str, typer.Option(help="Part of the dataset, such as 2/3: the second of three equal parts.")]
OutOption = Annotated[
    Path, typer.Option("--out", help="File to write. It appears when the part is complete. Run again to continue.")
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
    part: PartOption,
    to: OutOption,
    flags: dict[str, Any],
    boxes: Annotated[
        list[Path] | None,
        typer.Option(help="File of `orl propose` with the raw boxes. May be repeated. Default: those in the store."),
    ] = None,
    preset: MinePreset = "paper",
    workspace: Where = None,
) -> None:
    """Compute the features of one part of a dataset and write them to a file.

    Embeds the photos and the RoIs that `orl mine` would keep with the same settings. The workspace is only read. `orl
    import features` adds the files to the features of the encoder.
    """
    from orl_explorer.train.training.distributed import choose_device

    asked, config = Part.parse(part), with_changes(MINE_PRESETS[preset], [], flags)
    opened = open_workspace(workspace, read_only=True)
    rows = dataset_named(opened.store, dataset), encoder_named(opened.store, encoder)
    device = str(choose_device())
    with progress_bar() as bars:
        told = Bars(bars)
        made = embed_part(opened, *rows, config, asked, to, Here(), boxes=boxes or [], device=device, progress=told)
    _tell(to, part, "features", made)


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
