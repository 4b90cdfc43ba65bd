"""``orl encoders``: the networks of mining."""

from __future__ import annotations

import shlex
from typing import Annotated, get_args

import typer

from orl_explorer.app.cli.common import Json, Where, out, pass_on, print_json
from orl_explorer.app.cli.names import named_option, some_dataset, some_encoder
from orl_explorer.app.cli.settings import one_of
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.app.records import encoder_record
from orl_explorer.app.told import LEARNED, encoder_facts
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.encoders import encoders as all_encoders
from orl_explorer.orl.reading import LARGEST, SMALLEST, Choices, LearnedFrom, Pooling
from orl_explorer.train.workspace import open_to_look, open_workspace

encoders_app = typer.Typer(help="List, add and show encoders.", invoke_without_command=True)


@encoders_app.callback()
def encoders_command(context: typer.Context, workspace: Where = None, json: Json = False) -> None:
    """List, add and show encoders."""
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
        trained = "with random weights" if row.source.startswith("random:") else LEARNED[row.learned_from]
        table.add_row(row.name, row.architecture, row.kind, trained, str(row.roi_features), row.source)
    out.print(table if table.row_count else "No encoders yet. Add one with `orl encoders add starter --name starter`.")


_Source = Annotated[
    str,
    typer.Argument(
        help="starter, torchvision:NAME, timm:NAME, timm-local:FOLDER, hf:FOLDER (of transformers), random:NAME or "
        "random:timm:NAME (with @SEED for another seed), a checkpoint file, or run:ID for the newest checkpoint of a "
        "training (run:ID@EPOCH for an epoch that it kept)."
    ),
]
_Name = Annotated[str | None, typer.Option(help="Name of the encoder. Default: a name made from SOURCE.")]
_Architecture = Annotated[
    str, typer.Option(help="Architecture of a checkpoint file, such as timm:NAME. Default: detected from the file.")
]
_Part = Annotated[
    str,
    typer.Option(
        help="Network to read from a checkpoint file that holds several, such as teacher. Default: the online one, "
        "the teacher, or the model itself rather than its moving average."
    ),
]
_Layer = Annotated[
    int | None,
    typer.Option(help="Stage or block whose map is used, from 1, or from the end as -2. Default: the last."),
]
_Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=SMALLEST,
        max=LARGEST,
        help="Side of the square to which a photo is resized for objectness and boxes on the map, pixels, rounded to "
        "the patch. Default: 640.",
    ),
]
_CropSize = Annotated[
    int | None,
    typer.Option(min=SMALLEST, max=LARGEST, help="Side of a crop, pixels, rounded to the patch. Default: 224."),
]
_Pooling = Annotated[
    str | None,
    one_of(
        get_args(Pooling),
        "--pooling",
        help="Feature of a crop: mean of the map, class token, or what the network's own head pools. Default: what "
        "the weights were trained for.",
    ),
]
_LearnedFrom = Annotated[
    str | None,
    one_of(
        get_args(LearnedFrom),
        "--learned-from",
        help="What the weights learned from, if it cannot be known. nothing: photos alone.",
    ),
]
_Seen = Annotated[
    str,
    named_option(
        some_dataset,
        help="Dataset whose photos set the statistics of the batch norms, in forward passes. The fair baseline of a "
        "training is random weights that have seen its photos.",
    ),
]


@encoders_app.command("add")
def add_encoder_command(
    source: _Source,
    name: _Name = None,
    architecture: _Architecture = "",
    part: _Part = "",
    layer: _Layer = None,
    size: _Size = None,
    crop_size: _CropSize = None,
    pooling: _Pooling = None,
    learned_from: _LearnedFrom = None,
    seen: _Seen = "",
    workspace: Where = None,
) -> None:
    """Add an encoder: the starter, weights of torchvision, timm or transformers, random ones, a checkpoint, or a run's.

    Features depend on the options --layer, --size, --crop-size and --pooling. An encoder keeps them.
    """
    from orl_explorer.train.training.early import add_any

    def tell(line: str) -> None:
        out.print(line)

    choices = Choices(layer, size, crop_size, pooling, learned_from)
    row = add_any(open_workspace(workspace), source, name or "", architecture, tell, part, choices, seen)
    trained = LEARNED[row.learned_from]
    if row.reading is None:
        trained = f"of {row.source}" if row.run_id is not None else f"trained {trained}"
    if source.startswith("random:"):
        trained = "random weights"
    out.print(f"Encoder '{row.name}': {row.architecture}, {row.roi_features} features, {trained}.")
    if row.reading is not None:
        out.print(f"See how photos are read with it: orl encoders show {shlex.quote(row.name)}")


@encoders_app.command("show")
def show_encoder_command(
    name: Annotated[str, typer.Argument(help="Name of the encoder.", autocompletion=some_encoder)],
    json: Json = False,
    workspace: Where = None,
) -> None:
    """Show an encoder: its weights, and how photos are read with it."""
    from orl_explorer.train.encoders.weights import reading_of

    row = encoder_named(open_to_look(workspace).store, name)
    reading = reading_of(row)
    if json:
        print_json(encoder_record(row) | {"reading": reading.stored()})
        return
    table = TextTable("", row.name)
    for label, value in encoder_facts(row, reading).items():
        table.add_row(label, value)
    out.print(table)
