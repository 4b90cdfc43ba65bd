"""``orl sweep-train`` and ``orl reproduce``: many runs in a row, and one table of what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import Where, out, progress_bar
from orl_explorer.app.cli.names import named_option, some_dataset, some_encoder, some_set
from orl_explorer.app.cli.settings import ProtocolName, one_of, with_changes
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import evaluate_preset, protocol_named
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.settings import parse_grid, parse_settings
from orl_explorer.train.training.config import PRESET_HELP as TRAIN_PRESETS
from orl_explorer.train.training.config import ORLConfig, train_preset
from orl_explorer.train.workspace import open_workspace


def sweep_train_command(
    grid: Annotated[
        list[str],
        typer.Option(help="Values of a setting, of training or of mining: intra_weight=0,1. May be repeated."),
    ],
    data: Annotated[str, typer.Option(help="What the protocol measures on, as in `orl evaluate`.")],
    correspondence: Annotated[str, named_option(some_set, help="Name of a correspondence set; or else:")] = "",
    dataset: Annotated[str, named_option(some_dataset, help="Name of a dataset to mine by each cell's settings,")] = "",
    encoder: Annotated[str, named_option(some_encoder, help="with this encoder.")] = "",
    protocol: ProtocolName = "voc07-svm",
    preset: Annotated[str, one_of(TRAIN_PRESETS, help="Settings of training that do not vary.")] = "paper",
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change one of those: key=value.")] = None,
    mine_preset: Annotated[str, one_of(MINE_PRESETS, help="Settings of mining that do not vary.")] = "paper",
    mine_changes: Annotated[list[str] | None, typer.Option("--mine-set", help="Change one of those.")] = None,
    protocol_preset: Annotated[str, typer.Option(help="Settings of the protocol; its first preset by default.")] = "",
    protocol_changes: Annotated[list[str] | None, typer.Option("--protocol-set", help="Change one of those.")] = None,
    name: Annotated[str, typer.Option(help="What names of encoders and sets begin with.")] = "",
    to: Annotated[
        list[Path] | None,
        typer.Option("--out", help="File for the table (.csv, .json) or the plot (.png, .svg, .pdf). May be repeated."),
    ] = None,
    workspace: Where = None,
) -> None:
    """Train and evaluate a grid of settings (Table 5). Again at any time: what is done is not done twice."""
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
    table = Table(*(key.replace("_", " ") for key in values), described.headline_title, "encoder")
    for cell in found:
        table.add_row(*cell.settings.values(), f"{100 * cell.numbers[described.headline]:.1f}", cell.encoder)
    out.print(table)
    if "seed" in values:
        means = Table(*(key.replace("_", " ") for key in values if key != "seed"), "mean", "least", "greatest")
        for settings, some in trained_grid.averaged(found, described.headline):
            means.add_row(
                *settings.values(), *(f"{100 * v:.1f}" for v in (sum(some) / len(some), min(some), max(some)))
            )
        out.print(means)
    trained_grid.save_grid(found, described.headline, described.headline_title, to or [])


def reproduce_command(
    photos: Annotated[Path, typer.Argument(help="Folder of photos to train on: VOC2007 and others below it, or any.")],
    voc: Annotated[
        Path | None, typer.Option(help="Folder of VOC2007 to measure on, where it is not in PHOTOS.")
    ] = None,
    hours: Annotated[float | None, typer.Option(min=0.01, help="Time for all of it; epochs follow.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each training; or else --hours.")] = None,
    mining: Annotated[str, one_of(MINE_PRESETS, help="Preset of mining.")] = "paper",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change the preset small of every training: key=value.")
    ] = None,
    mine_changes: Annotated[list[str] | None, typer.Option("--mine-set", help="Change the preset of mining.")] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            help="Also train ORL on pairs by byol, or any encoder there is, mined by a preset: NAME or NAME:PRESET."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every training.")] = 0,
    workspace: Where = None,
) -> None:
    """Every method of the paper on photos of yours, small, in one table. Again at any time: it goes on."""
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
            bars.console.print(f"{row.method}: mAP {100 * row.numbers['map']:.1f}", highlight=False)
    rows = report.compared_rows(opened, rows)
    folder = report.save_report(opened, rows)
    report.draw_report(opened, rows, reproduction.gather_photos(opened, photos, voc).measured, folder)
    print(report.as_markdown(rows))
    out.print(f"Also in {folder}, with figures.", highlight=False, markup=False)
