"""``orl pretrain``, ``orl mine``, ``orl train``, and measures and maps of the photos and sets: the three stages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import typer

from orl_explorer.app.bars import Bars
from orl_explorer.app.cli.common import (
    Detach,
    Json,
    Nodes,
    On,
    QueueOnly,
    Where,
    follow_run,
    out,
    print_json,
    progress_bar,
)
from orl_explorer.app.cli.names import (
    Datasets,
    EncoderName,
    SetArgument,
    SetName,
    named_option,
    some_dataset,
    some_encoder,
    some_set,
)
from orl_explorer.app.cli.settings import (
    ChangesOption,
    MinePreset,
    TrainPreset,
    of_training,
    one_of,
    refuse_twice,
    takes_flags,
    with_changes,
)
from orl_explorer.app.cli.terminal import Terminal, TextTable
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named, unite
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.kinds import MakeMap, Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.jobs.launchers.choice import placement
from orl_explorer.train.jobs.trackers import TrackerName
from orl_explorer.train.jobs.trainings import Adapt, Pretrain, Train
from orl_explorer.train.mining.by_vectors import settings_by
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.mining.sweep import Cell
from orl_explorer.train.settings import parse_grid, parse_settings
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.alarms import too_few
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.presets import STAGE_1
from orl_explorer.train.workspace import open_workspace

# Measures in the table of a sweep, the most informative first.
SWEPT = (
    "rois_per_image",
    "pairs_per_image",
    "distinct_pairs_per_image",
    "cycle",
    "roi_coverage",
    "area_coverage",
    "recall",
    "corloc",
    "query_is_object",
    "same_class",
    "same_class_chance",
    "same_class_or_part",
    "same_class_or_part_chance",
)

ProcessesOption = Annotated[int, typer.Option(help="Number of training processes on each machine. Use one per GPU.")]

StartFrom = Annotated[
    str,
    named_option(
        some_encoder,
        "--start-from",
        help="Encoder whose weights to start from, instead of random ones. The preset adapt needs it. Its architecture "
        "is the backbone, unless --set backbone names another.",
    ),
]

LogOption = Annotated[
    TrackerName | None, typer.Option("--log", help="Send the curves to a tracker too, which must be installed.")
]


def pretrain_command(
    datasets: Datasets,
    name: Annotated[str, typer.Option(help="Name of the new encoder. Default: DATASET-METHOD.")] = "",
    method: Annotated[
        str, one_of(STAGE_1, help="Training method. ORL builds on byol. The others are methods to compare with.")
    ] = "byol",
    preset: TrainPreset = "paper",
    start_from: StartFrom = "",
    changes: ChangesOption = None,
    processes: ProcessesOption = 1,
    log_to: LogOption = None,
    on: On = "",
    nodes: Nodes = 1,
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Train an encoder on whole photos by BYOL or a baseline method (stage 1)."""
    opened = open_workspace(workspace)
    config = of_training(method, preset, changes, start_from)
    dataset = unite(opened.store, datasets)
    job = Pretrain(name=name, dataset_id=dataset.id, config=config, processes=processes, log_to=log_to)
    run = launch(opened, job, placed=placement(opened, on, nodes, queue_only))
    _tell_if_short(config, dataset.image_count)
    follow_run(opened, run, detach)


@takes_flags(MineConfig, MINE_PRESETS)
def mine_command(
    context: typer.Context,
    datasets: Datasets,
    encoder: EncoderName,
    name: Annotated[str, typer.Option(help="Name of the new correspondence set.")],
    preset: MinePreset = "paper",
    like: Annotated[
        str, named_option(some_set, help="Correspondence set whose settings to take, instead of a preset's.")
    ] = "",
    changes: ChangesOption = None,
    *,
    flags: dict[str, Any],
    workers: Annotated[int | None, typer.Option(help="Processes for selective search. Default: one per core.")] = None,
    on: On = "",
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Mine neighbours, RoIs and pairs into a new correspondence set (stage 2)."""
    opened = open_workspace(workspace)
    source = context.get_parameter_source("preset")
    if like and source is not None and source.name == "COMMANDLINE":
        raise UserError("--preset and --like both say which settings to start from. Give one of them.")
    start = MineConfig.of(complete_set_named(opened.store, like)) if like else MINE_PRESETS[preset]
    by, asked = encoder_named(opened.store, encoder), with_changes(start, changes, flags)
    config = settings_by(by, asked)
    job = Mine(name=name, config=config, workers=workers, dataset_id=unite(opened.store, datasets).id, encoder_id=by.id)
    run = launch(opened, job, placed=placement(opened, on, queue_only=queue_only))
    if config.proposals != asked.proposals:
        boxes = config.proposals
        out.print(f"'{encoder}' is imported vectors: RoIs are filtered from its own boxes, the proposals '{boxes}'.")
    follow_run(opened, run, detach)


def quality(name: SetArgument, json: Json = False, workspace: Where = None) -> None:
    """Measure the quality of a correspondence set, also against annotations if the photos have them."""
    from orl_explorer.app.cli.sets import measure_tables
    from orl_explorer.train.mining.quality import quality_of

    measures = quality_of(open_workspace(workspace), name)
    if json:
        print_json(measures)
        return
    out.print(*measure_tables(measures))
    if not measures["annotated_objects"]:
        out.print("The photos have no annotations, so measures of objects are missing.")


def sweep_command(
    dataset: Annotated[str, named_option(some_dataset, help="Name of a dataset that has been mined with the encoder.")],
    encoder: EncoderName,
    grid: Annotated[
        list[str],
        typer.Option(
            help="A mining setting and its values, such as neighbors=5,10,20, or a setting alone, such as neighbors, "
            "for its usual values. May be repeated."
        ),
    ],
    preset: MinePreset = "paper",
    changes: ChangesOption = None,
    sample: Annotated[int, typer.Option(min=1, help="Number of query photos, drawn at random.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    only: Annotated[
        Path | None,
        typer.Option(help="File that lists photos by path, one per line. The query photos are drawn from them."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="File to write all measures to, .csv or .json.")] = None,
    json: Json = False,
    workspace: Where = None,
) -> None:
    """Measure combinations of mining settings on a sample of query photos, without mining the whole dataset."""
    from orl_explorer.train.mining import sweep as sweeps

    if to is not None and to.suffix not in (".csv", ".json"):
        raise UserError(f"{to} must end in .csv or .json.")
    names = None if only is None else _lines(only)
    values = parse_grid(grid, MineConfig)
    refuse_twice("--set", parse_settings(changes or []), dict.fromkeys(values, "--grid"))
    opened, base = open_workspace(workspace), with_changes(MINE_PRESETS[preset], changes)
    with progress_bar(json=json) as bars:
        cells = sweeps.sweep(
            opened, dataset, encoder, values, base=base, sample=sample, seed=seed, only=names, progress=Bars(bars)
        )
    if to is not None:
        sweeps.save_cells(cells, to)
    if json:
        print_json(sweeps.cell_rows(cells))
        return
    out.print(_swept(cells, [*values]))
    if to is None:
        out.print("Save every measure of each cell with --to FILE, or print them with --json.")


def _swept(cells: Sequence[Cell], settings: list[str]) -> TextTable:
    """Return a table of the cells: their settings, then as many measures as fit into the terminal."""
    known = [name for name in SWEPT if name in cells[0].measures]
    columns = [*settings, *known]
    widths = [max(6, *map(len, name.split("_"))) for name in columns]  # the longest word of its heading
    fitting = sum(total < out.width for total in accumulate(width + 3 for width in widths))  # with borders
    columns = columns[: max(len(settings) + 1, fitting)]
    table = TextTable()
    for name, width in zip(columns, widths, strict=False):
        table.add_column(name.replace("_", " "), width=width)
    for cell in cells:
        shown = (f"{cell.measures[name]:.3g}" for name in columns[len(settings) :])
        table.add_row(*map(str, cell.settings.values()), *shown)
    return table


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {file}: {error}.") from error
    return [line.strip() for line in lines if line.strip()]


def draw_map(
    dataset: Annotated[str, named_option(some_dataset, help="Name of the dataset to map.")] = "",
    encoder: Annotated[
        str, named_option(some_encoder, help="Name of the encoder whose stored features the map uses.")
    ] = "",
    rois_of: Annotated[
        str, named_option(some_set, help="Name of a correspondence set, to map its RoIs instead of photos.")
    ] = "",
    on: On = "",
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Compute a map, which places photos or RoIs by the similarity of their features, for the explorer's Map page."""
    from orl_explorer.train.mining.maps import MapOf, rois_map

    opened = open_workspace(workspace)
    if bool(rois_of) == bool(dataset and encoder) or bool(dataset) != bool(encoder):
        raise UserError("Give either --rois-of SET, or both --dataset NAME and --encoder NAME.")
    if rois_of:
        shown = rois_map(opened, complete_set_named(opened.store, rois_of))
    else:
        shown = MapOf(dataset_named(opened.store, dataset), encoder_named(opened.store, encoder))
    placed = placement(opened, on, queue_only=queue_only)
    follow_run(opened, launch(opened, MakeMap.showing(shown), placed=placed), detach)


def train_command(
    correspondence: SetName,
    name: Annotated[str, typer.Option(help="Name of the new encoder. Default: SET-orl.")] = "",
    preset: TrainPreset = "paper",
    start_from: StartFrom = "",
    changes: ChangesOption = None,
    processes: ProcessesOption = 1,
    log_to: LogOption = None,
    on: On = "",
    nodes: Nodes = 1,
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Train an encoder on a correspondence set by ORL (stage 3)."""
    opened = open_workspace(workspace)
    config = of_training("orl", preset, changes, start_from)
    assert isinstance(config, ORLConfig)
    mined = complete_set_named(opened.store, correspondence)
    job = Train(name=name, correspondence_set_id=mined.id, config=config, processes=processes, log_to=log_to)
    run = launch(opened, job, placed=placement(opened, on, nodes, queue_only))
    _tell_if_short(config, mined.image_count)
    follow_run(opened, run, detach)


def _tell_if_short(config: TrainConfig, photos: int) -> None:
    """Say of a training on so many photos if it is probably too short."""
    seen = photos // config.batch_size * config.batch_size * config.epochs
    if said := too_few(config.start_from, seen):
        Terminal(stderr=True).print(said, style="yellow", soft_wrap=True)


def adapt_command(
    correspondence: SetName,
    encoder: Annotated[
        str,
        named_option(
            some_encoder,
            help="Encoder to adapt. Default: the set's, or the one that it was made from if that is adapted already.",
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the new encoder. Default: ENCODER-adapted.")] = "",
    changes: ChangesOption = None,
    on: On = "",
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Adapt an encoder to a correspondence set in a minute: its network stays, a linear projector is learned on top."""
    opened = open_workspace(workspace)
    config = with_changes(AdaptConfig(), changes)
    mined = complete_set_named(opened.store, correspondence)
    row = encoder_named(opened.store, encoder) if encoder else None
    job = Adapt.to(opened, mined, row, name, config)
    follow_run(opened, launch(opened, job, placed=placement(opened, on, queue_only=queue_only)), detach)
