"""``orl sweep-train`` and ``orl reproduce``: several training runs and one table of their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Where, out, progress_bar
from orl_explorer.app.cli.names import named_option, some_dataset, some_encoder, some_set
from orl_explorer.app.cli.settings import ProtocolName, of_training, one_of, with_changes
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import Protocol, SVMConfig, evaluate_preset, protocol_named
from orl_explorer.train.experiments.plan import DEFAULT as DEFAULT_METHODS
from orl_explorer.train.experiments.plan import METHODS, OtherPairs, ReproduceAsked
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.settings import parse_grid, parse_settings
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.presets import PRESET_HELP as TRAIN_PRESETS
from orl_explorer.train.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from orl_explorer.train.experiments.grid import Trained

FROM_RANDOM = {name: said for name, said in TRAIN_PRESETS.items() if name != "adapt"}
MineChanges = Annotated[
    list[str] | None, typer.Option("--mine-set", help="Change a mining setting: key=value. May be repeated.")
]
TrainChanges = Annotated[
    list[str] | None, typer.Option("--set", help="Change a training setting: key=value. May be repeated.")
]
RowMining = Annotated[
    str, one_of(MINE_PRESETS, help="Preset of the mining settings. Selective search runs on photos of half the size.")
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
OtherEncoders = Annotated[
    list[str] | None,
    typer.Option(
        help="Also train ORL on pairs that another encoder finds: ENCODER or ENCODER:MINING-PRESET, such as "
        "starter:object. byol stands for the encoders of BYOL that this command trains, and likewise other methods. "
        "The preset annotations pairs annotated boxes. May be repeated."
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
    base = of_training("orl", preset, changes)
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
    _show_grid(opened, found, [*values], described)
    trained_grid.save_grid(found, described.headline, described.headline_title, to or [])


def _show_grid(workspace: Workspace, found: Sequence[Trained], settings: list[str], protocol: Protocol) -> None:
    """Print a row for each cell, and over several seeds the mean and the extremes."""
    table = TextTable(*(key.replace("_", " ") for key in settings), protocol.headline_title, "encoder")
    for cell in found:
        table.add_row(*cell.settings.values(), f"{100 * cell.numbers[protocol.headline]:.1f}", cell.encoder)
    out.print(table)
    if "seed" in settings:
        _show_means(workspace, found, protocol)


def _show_means(workspace: Workspace, found: Sequence[Trained], protocol: Protocol) -> None:
    """Print a row for each combination of the settings except the seed. SVMs keep scores, which are compared."""
    from orl_explorer.train.experiments.grid import ahead_of_first, averaged

    rows, ahead, why_not = averaged(found, protocol.headline), [], ""
    if protocol.config is SVMConfig and len(rows) > 1:
        try:
            ahead = ["", *(estimate.signed() for estimate in ahead_of_first(workspace, found))]
        except UserError as gone:
            why_not = str(gone)
    columns = [*(key.replace("_", " ") for key in rows[0][0]), "mean", "least", "greatest"]
    table = TextTable(*columns, *(["ahead of the first row"] if ahead else []))
    for number, (values, some) in enumerate(rows):
        spread = sum(some) / len(some), min(some), max(some)
        table.add_row(*values.values(), *(f"{100 * share:.1f}" for share in spread), *ahead[number : number + 1])
    out.print(table)
    if why_not:
        out.print(why_not)


def reproduce_command(
    photos: Annotated[
        Path, typer.Argument(help="Folder of photos to train on. It may contain VOC2007 and other folders.")
    ],
    voc: Annotated[Path | None, typer.Option(help="Folder VOC2007 to measure on, if it is not in PHOTOS.")] = None,
    methods: Annotated[
        str,
        typer.Option(
            help=f"Methods to train, separated by commas: {', '.join(METHODS)}. The base of an ORL is trained too.",
        ),
    ] = ",".join(DEFAULT_METHODS),
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds that each method is trained with.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="First of these seeds.")] = 0,
    preset: Annotated[str, one_of(FROM_RANDOM, help="Preset of the training settings.")] = "small",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each training run. Default: those of the preset.")
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Hours of this call. Then it stops at a checkpoint, and the same command goes on next time."
        ),
    ] = None,
    mining: RowMining = "paper",
    changes: TrainChanges = None,
    mine_changes: MineChanges = None,
    pairs: OtherEncoders = None,
    workspace: Where = None,
) -> None:
    """Train methods of the paper on your photos, with several seeds, and compare them on VOC2007.

    Run it again to continue.
    """
    from orl_explorer.train.experiments import report as reports
    from orl_explorer.train.experiments import reproduce as reproduction
    from orl_explorer.train.experiments.subject import gather_photos

    opened = open_workspace(workspace)
    asked = ReproduceAsked(
        methods=[name.strip() for name in methods.split(",") if name.strip()],
        epochs=epochs,
        preset=preset,
        changes=parse_settings(changes or []),
        mining=mining,
        mine_changes=parse_settings(mine_changes or []),
        pairs=[OtherPairs(name, other or mining) for name, _, other in (p.partition(":") for p in pairs or [])],
        seeds=range(seed, seed + seeds),
    )
    found = []
    with progress_bar() as bars:
        for each in reproduction.reproduce(opened, photos, asked, voc=voc, hours=hours, progress=Bars(bars)):
            found.append(each)
            bars.console.print(f"{each.title}, seed {each.seed}: mAP {100 * each.numbers['map']:.1f}")
    if not found:
        return
    report = reports.ReproduceReport(opened, found)
    folder = report.save()
    reports.draw_report(opened, report, gather_photos(opened, photos, voc).measured, folder)
    print(report.markdown())
    out.print(f"Wrote the tables and figures to {folder}.")
