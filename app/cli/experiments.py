"""``orl sweep-train`` and ``orl reproduce``: several training runs and one table of their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Where, out, progress_bar
from orl_explorer.app.cli.names import named_option, some_dataset, some_encoder, some_set
from orl_explorer.app.cli.settings import ProtocolName, one_of, with_changes
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import Protocol, evaluate_preset, protocol_named
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.settings import parse_grid, parse_settings
from orl_explorer.train.training.methods import PRESET_HELP as TRAIN_PRESETS
from orl_explorer.train.training.methods import ORLConfig, train_preset
from orl_explorer.train.workspace import open_workspace

if TYPE_CHECKING:
    from orl_explorer.train.experiments.grid import Trained

MineChanges = Annotated[
    list[str] | None, typer.Option("--mine-set", help="Change a mining setting: key=value. May be repeated.")
]
TrainChanges = Annotated[
    list[str] | None, typer.Option("--set", help="Change a training setting: key=value. May be repeated.")
]
ProtocolPreset = Annotated[
    str, typer.Option(help="Preset of the protocol's settings. Default: the first preset of the protocol.")
]
ProtocolChanges = Annotated[
    list[str] | None,
    typer.Option("--protocol-set", help="Change a setting of the protocol: key=value. May be repeated."),
]
ResultFiles = Annotated[
    list[Path] | None,
    typer.Option("--out", help="File for the table (.csv, .json) or the plot (.png, .svg, .pdf). May be repeated."),
]
SmallChanges = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting of the training preset small: key=value. May be repeated."),
]
OtherEncoders = Annotated[
    list[str] | None,
    typer.Option(
        help="Also train ORL on pairs that another encoder finds: ENCODER or ENCODER:MINING-PRESET, such as byol. "
        "May be repeated."
    ),
]


def sweep_train_command(
    grid: Annotated[
        list[str],
        typer.Option(help="A training or mining setting and its values, such as intra_weight=0,1. May be repeated."),
    ],
    data: Annotated[str, typer.Option(help="Data to measure on, as in `orl evaluate`.")],
    correspondence: Annotated[str, named_option(some_set, help="Name of a correspondence set to train on.")] = "",
    dataset: Annotated[
        str,
        named_option(
            some_dataset,
            help="Name of a dataset to mine with each combination of mining settings, instead of --correspondence.",
        ),
    ] = "",
    encoder: Annotated[str, named_option(some_encoder, help="Name of the encoder that mines --dataset.")] = "",
    protocol: ProtocolName = "voc07-svm",
    preset: Annotated[
        str, one_of(TRAIN_PRESETS, help="Preset of the training settings that --grid does not vary.")
    ] = "paper",
    changes: TrainChanges = None,
    mine_preset: Annotated[
        str, one_of(MINE_PRESETS, help="Preset of the mining settings that --grid does not vary.")
    ] = "paper",
    mine_changes: MineChanges = None,
    protocol_preset: ProtocolPreset = "",
    protocol_changes: ProtocolChanges = None,
    name: Annotated[
        str,
        typer.Option(
            help="Prefix of the names of new encoders and sets. Default: the name of the set, or DATASET-ENCODER."
        ),
    ] = "",
    to: ResultFiles = None,
    workspace: Where = None,
) -> None:
    """Train and evaluate every combination of some settings (Table 5 of the paper). Run it again to continue."""
    from orl_explorer.train.experiments import grid as trained_grid

    if bool(correspondence) == bool(dataset and encoder) or bool(dataset) != bool(encoder):
        raise UserError("Give either --correspondence SET, or both --dataset NAME and --encoder NAME.")
    trained_grid.refuse_files(to or [])
    values = parse_grid(grid)
    base = with_changes(train_preset("orl", preset), changes)
    assert isinstance(base, ORLConfig)
    mining = with_changes(MINE_PRESETS[mine_preset], mine_changes)
    measure = with_changes(evaluate_preset(protocol, protocol_preset), protocol_changes)
    described = protocol_named(protocol)
    opened = open_workspace(workspace)
    described.check(opened, data, measure)
    if correspondence:
        subject = trained_grid.GridSubject(complete_set_named(opened.store, correspondence))
    else:
        rows = dataset_named(opened.store, dataset), encoder_named(opened.store, encoder)
        subject = trained_grid.GridSubject(photos=rows, mining=mining)
    with progress_bar() as bars:
        found = trained_grid.sweep_train(opened, subject, values, base, data, measure, name=name, progress=Bars(bars))
    _show_grid(found, [*values], described)
    trained_grid.save_grid(found, described.headline, described.headline_title, to or [])


def _show_grid(found: Sequence[Trained], settings: list[str], protocol: Protocol) -> None:
    """Print a row for each cell, and over several seeds the mean and the extremes."""
    from orl_explorer.train.experiments.grid import averaged

    table = TextTable(*(key.replace("_", " ") for key in settings), protocol.headline_title, "encoder")
    for cell in found:
        table.add_row(*cell.settings.values(), f"{100 * cell.numbers[protocol.headline]:.1f}", cell.encoder)
    out.print(table)
    if "seed" in settings:
        means = TextTable(*(key.replace("_", " ") for key in settings if key != "seed"), "mean", "least", "greatest")
        for values, some in averaged(found, protocol.headline):
            spread = sum(some) / len(some), min(some), max(some)
            means.add_row(*values.values(), *(f"{100 * share:.1f}" for share in spread))
        out.print(means)


def reproduce_command(
    photos: Annotated[
        Path, typer.Argument(help="Folder of photos to train on. It may contain VOC2007 and other folders.")
    ],
    voc: Annotated[Path | None, typer.Option(help="Folder VOC2007 to measure on, if it is not in PHOTOS.")] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Hours for the whole experiment, which determine the number of epochs. Give this or --epochs.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each training run. Give this or --hours.")
    ] = None,
    mining: Annotated[str, one_of(MINE_PRESETS, help="Preset of the mining settings.")] = "paper",
    changes: SmallChanges = None,
    mine_changes: MineChanges = None,
    pairs: OtherEncoders = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all training runs.")] = 0,
    workspace: Where = None,
) -> None:
    """Train all methods of the paper on your photos at a small scale, and compare them on VOC2007.

    Run it again to continue.
    """
    from orl_explorer.train.experiments import report
    from orl_explorer.train.experiments import reproduce as reproduction

    opened = open_workspace(workspace)
    others = [
        reproduction.OtherPairs(name, preset or mining) for name, _, preset in (p.partition(":") for p in pairs or [])
    ]
    rows = []
    with progress_bar() as bars:
        for row in reproduction.reproduce(
            opened,
            photos,
            voc=voc,
            epochs=epochs,
            hours=hours,
            mining=mining,
            changes=parse_settings(changes or []),
            mine_changes=parse_settings(mine_changes or []),
            pairs=others,
            seed=seed,
            progress=Bars(bars),
        ):
            rows.append(row)
            report.save_report(opened, rows)
            bars.console.print(f"{row.method}: mAP {100 * row.numbers['map']:.1f}")
    rows = report.compared_rows(opened, rows)
    folder = report.save_report(opened, rows)
    report.draw_report(opened, rows, reproduction.gather_photos(opened, photos, voc).measured, folder)
    print(report.as_markdown(rows))
    out.print(f"Wrote the table and figures to {folder}.")
