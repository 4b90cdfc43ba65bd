"""The ``orl`` command line. Thin: every command calls one function that Python code can call too."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from db.encoders import encoders as all_encoders
from db.models import Run
from db.runs import ENDED, latest_metrics, run_by_id
from db.runs import runs as all_runs
from db.store import StoreError
from train import runs as launcher
from train.config import MINE_PRESETS, TRAIN_PRESETS, TrainConfig, parse_settings, preset_named, with_settings
from train.errors import UserError
from train.workspace import Workspace, open_workspace

MISTAKE = 2  # exit code of a user's mistake

app = typer.Typer(
    help="Mine, see, tune and train on object correspondences in ordinary scene photos.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
encoders_app = typer.Typer(help="The encoders of a workspace.", invoke_without_command=True)
runs_app = typer.Typer(help="The runs of a workspace.", invoke_without_command=True)
app.add_typer(encoders_app, name="encoders")
app.add_typer(runs_app, name="runs")
out = Console()

Where = Annotated[
    Path | None, typer.Option("--workspace", help="Folder of everything made; else $ORL_WORKSPACE, else ./workspace.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the run goes on by itself.")]
TrainPreset = Annotated[str, typer.Option(help="paper: the published constants. small: ResNet-18, for a CPU.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Change a setting: key=value. May be repeated.")]


@app.command()
def demo(workspace: Where = None, detach: Detach = False) -> None:
    """Compose the demo photos, add the starter encoder, mine them. Goes on where it was interrupted."""
    from train.demo.build import SCENES, build_demo

    opened = open_workspace(workspace)
    with _bar() as bar:
        task = bar.add_task("Composing scenes", total=SCENES)
        run = build_demo(opened, lambda done, total: bar.update(task, completed=done, total=total))
        bar.update(task, completed=SCENES)
    if run is None:
        out.print("The demo is ready; `orl explore` shows it.")
    else:
        _follow(opened, run, detach)


@app.command()
def explore(
    workspace: Where = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than 127.0.0.1 are open to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
) -> None:
    """Open the explorer in the browser's reach and say where."""
    opened = open_workspace(workspace)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"Cannot listen on {host}:{port} ({error.strerror}); choose another with --port."
            ) from error
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host
    out.print(
        f"ORL Explorer: [bold]http://{shown}:{port}[/]  (workspace {opened.path}; Ctrl-C ends it)", highlight=False
    )
    opened.store.close()
    environment = os.environ | {"ORL_WORKSPACE": str(opened.path)}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *_streamlit(host, port)], environment)


@app.command()
def ingest(
    path: Annotated[Path, typer.Argument(help="Folder of photos.")],
    layout: Annotated[str, typer.Option(help="auto, folder, coco or voc.")] = "auto",
    annotations: Annotated[Path | None, typer.Option(help="COCO json, where it is not in PATH/annotations.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set; else that of the folder.")] = None,
    workspace: Where = None,
) -> None:
    """Take photos into a data set; again at any time, for what is new or has changed."""
    from train.ingest import ingest as take_in

    opened = open_workspace(workspace)
    with _bar(total=False) as bar:
        task = bar.add_task("Reading photos", total=None)
        found = take_in(
            opened,
            path,
            layout=layout,
            annotations=annotations,
            name=name,
            report=lambda seen: bar.update(task, completed=seen),
        )
    dataset = found.dataset
    out.print(
        f"Data set '{dataset.name}' ({dataset.layout}): {dataset.image_count} photos, "
        f"{dataset.annotation_count} annotated objects; {found.new} new, {found.changed} changed, "
        f"{found.unchanged} as before, {dataset.unreadable_count} unreadable.",
        highlight=False,
        markup=False,
    )
    for file, reason in found.unreadable[:10]:
        out.print(f"  unreadable: {file}: {reason}", highlight=False, markup=False)
    if len(found.unreadable) > 10:
        out.print(f"  … and {len(found.unreadable) - 10} more")


@encoders_app.callback()
def encoders(context: typer.Context, workspace: Where = None) -> None:
    """List the encoders, or add one."""
    _pass_on(workspace)
    if context.invoked_subcommand is None:
        list_encoders(workspace)


@encoders_app.command("list")
def list_encoders(workspace: Where = None) -> None:
    """List the encoders."""
    table = Table("name", "architecture", "kind", "trained", "features", "source")
    for row in all_encoders(open_workspace(workspace).store):
        trained = "with labels" if row.supervised else "without labels"
        table.add_row(row.name, row.architecture, row.kind, trained, str(row.roi_features), row.source)
    out.print(table if table.row_count else "No encoders yet; `orl encoders add starter --name starter` adds one.")


@encoders_app.command("add")
def add_encoder(
    source: Annotated[str, typer.Argument(help="starter, torchvision:resnet50, or a checkpoint file.")],
    name: Annotated[str, typer.Option(help="Name in this workspace.")],
    workspace: Where = None,
) -> None:
    """Add an encoder: the starter, torchvision's weights, or a checkpoint."""
    from train.weights import add

    row = add(open_workspace(workspace), source, name)
    trained = "supervised (ImageNet labels)" if row.supervised else "self-supervised, as far as its file says"
    out.print(f"Encoder '{row.name}': {row.architecture}, {row.roi_features} features, {trained}.", highlight=False)


@app.command()
def pretrain(
    dataset: Annotated[str, typer.Option(help="Name of the data set.")],
    name: Annotated[str, typer.Option(help="Name of the encoder to make; else DATASET-byol.")] = "",
    preset: TrainPreset = "paper",
    changes: Changes = None,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Stage 1: train an encoder on whole photos (BYOL), from scratch."""
    opened = open_workspace(workspace)
    _follow(opened, launcher.launch_pretrain(opened, dataset, _train_config(preset, changes), name), detach)


@app.command()
def mine(
    dataset: Annotated[str, typer.Option(help="Name of the data set.")],
    encoder: Annotated[str, typer.Option(help="Name of the encoder.")],
    name: Annotated[str, typer.Option(help="Name of the correspondence set to make.")],
    preset: Annotated[str, typer.Option(help="paper: the published thresholds.")] = "paper",
    neighbors: Annotated[int | None, typer.Option(help="K: nearest images of each image. [paper: 10]")] = None,
    pair_ratio: Annotated[
        float | None, typer.Option(help="N: pairs per neighbour, as a share of the query's RoIs. [paper: 0.1]")
    ] = None,
    min_size: Annotated[int | None, typer.Option(help="Smallest side of a RoI, in pixels. [paper: 96]")] = None,
    max_aspect: Annotated[float | None, typer.Option(help="Largest ratio of a RoI's sides. [paper: 3]")] = None,
    max_iou: Annotated[float | None, typer.Option(help="Largest overlap with a RoI already kept. [paper: 0.5]")] = None,
    max_rois: Annotated[int | None, typer.Option(help="Most RoIs of an image. [paper: 100]")] = None,
    min_similarity: Annotated[float | None, typer.Option(help="Smallest similarity of a pair. [paper: -1]")] = None,
    proposal_scale: Annotated[
        float | None, typer.Option(help="Selective search runs on photos of this scale. [paper: 1.0]")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(help="RoI of a photo that keeps none: first raw box, or image. [paper: first]")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes for selective search; else one for each core.")] = None,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Stage 2: find neighbours, regions and pairs, into a new correspondence set."""
    opened = open_workspace(workspace)
    given = {
        "neighbors": neighbors,
        "pair_ratio": pair_ratio,
        "min_size": min_size,
        "max_aspect": max_aspect,
        "max_iou": max_iou,
        "max_rois": max_rois,
        "min_similarity": min_similarity,
        "proposal_scale": proposal_scale,
        "fallback": fallback,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    config = with_settings(preset_named(MINE_PRESETS, preset), changes)
    _follow(opened, launcher.launch_mine(opened, dataset, encoder, name, config, workers), detach)


@app.command()
def train(
    correspondence: Annotated[str, typer.Option(help="Name of the correspondence set.")],
    name: Annotated[str, typer.Option(help="Name of the encoder to make; else SET-orl.")] = "",
    preset: TrainPreset = "paper",
    changes: Changes = None,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Stage 3: train an encoder on a correspondence set (ORL), from scratch."""
    opened = open_workspace(workspace)
    _follow(opened, launcher.launch_train(opened, correspondence, _train_config(preset, changes), name), detach)


@runs_app.callback()
def runs(context: typer.Context, workspace: Where = None) -> None:
    """List, show, stop and resume runs."""
    _pass_on(workspace)
    if context.invoked_subcommand is None:
        list_runs(workspace)


@runs_app.command("list")
def list_runs(workspace: Where = None) -> None:
    """List the runs, newest first."""
    opened = open_workspace(workspace)
    launcher.reconcile(opened)
    table = Table("id", "kind", "name", "status", "progress", "created")
    for run in all_runs(opened.store):
        table.add_row(
            str(run.id), run.kind, run.name, run.status, _progress_of(run), f"{run.created_at:%Y-%m-%d %H:%M}"
        )
    out.print(table if table.row_count else "No runs yet; `orl mine`, `orl pretrain` and `orl train` start them.")


@runs_app.command("show")
def show_run(run_id: Annotated[int, typer.Argument(metavar="ID")], workspace: Where = None) -> None:
    """Show what a run does, how far it is and its newest numbers."""
    opened = open_workspace(workspace)
    launcher.reconcile(opened)
    run = run_by_id(opened.store, run_id)
    table = Table(show_header=False, box=None)
    facts: dict[str, object] = {
        "run": f"{run.id} ({run.kind})",
        "makes": run.name,
        "status": run.status,
        "progress": _progress_of(run),
        "error": run.error or "",
        "exit code": "" if run.exit_code is None else run.exit_code,
        "folder": opened.run_folder(run.id),
    }
    settings = run.params.get("config", {})
    facts |= {k: v for k, v in run.params.items() if k != "config" and v is not None}
    facts |= {f"  {key}": value for key, value in settings.items()}
    facts |= {key: f"{value:.4g}" for key, value in latest_metrics(opened.store, run.id).items()}
    for key, value in facts.items():
        if value != "":
            table.add_row(key, str(value))
    out.print(table)


@runs_app.command("logs")
def show_logs(run_id: Annotated[int, typer.Argument(metavar="ID")], workspace: Where = None) -> None:
    """Print a run's log."""
    opened = open_workspace(workspace)
    run = run_by_id(opened.store, run_id)
    print(launcher.read_log(opened, run, last_bytes=10_000_000), end="")


@runs_app.command("stop")
def stop_run(
    run_id: Annotated[int, typer.Argument(metavar="ID")],
    grace: Annotated[float, typer.Option(min=0, help="Seconds to wait before it is killed.")] = launcher.GRACE,
    workspace: Where = None,
) -> None:
    """Ask a run to stop at its next safe point; kill it when it does not."""
    run = launcher.stop(open_workspace(workspace), run_id, grace)
    out.print(f"Run {run.id} is {run.status}; `orl runs resume {run.id}` goes on.")


@runs_app.command("resume")
def resume_run(
    run_id: Annotated[int, typer.Argument(metavar="ID")], workspace: Where = None, detach: Detach = False
) -> None:
    """Go on with a stopped, failed or lost run from what it kept."""
    opened = open_workspace(workspace)
    _follow(opened, launcher.resume(opened, run_id), detach)


def _pass_on(workspace: Path | None) -> None:
    """``orl runs --workspace DIR list`` means the same as ``orl runs list --workspace DIR``."""
    if workspace is not None:
        os.environ["ORL_WORKSPACE"] = str(workspace)


def _streamlit(host: str, port: int) -> list[str]:
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.maxUploadSize": 1,
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "logger.level": "warning",
        "logger.hideWelcomeMessage": "true",
        "theme.light.primaryColor": "#0f7b6c",
        "theme.dark.primaryColor": "#3fb8a5",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return ["-m", "streamlit", "run", str(Path(__file__).with_name("server.py")), *flags]


def _train_config(preset: str, changes: list[str] | None) -> TrainConfig:
    return with_settings(preset_named(TRAIN_PRESETS, preset), parse_settings(changes or []))


def _bar(total: bool = True) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn()]
    more = (
        [MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
        if total
        else [TextColumn("{task.completed:.0f}")]
    )
    return Progress(*columns, *more, console=out)


def _progress_of(run: Run) -> str:
    return f"{run.phase} {run.progress}/{run.total}" if run.total else run.phase


def _follow(workspace: Workspace, run: Run, detach: bool) -> None:
    """Show a run's progress until it ends. Ctrl-C asks it to stop; a second one leaves it to itself."""
    if detach:
        out.print(f"Run {run.id} goes on by itself; `orl runs show {run.id}` tells how far it is.")
        return
    try:
        ended = _watch(workspace, run.id)
    except KeyboardInterrupt:
        out.print(f"Stopping run {run.id} …")
        ended = launcher.stop(workspace, run.id)
    if ended.status == "done":
        out.print(f"Run {run.id} is done: {run.kind} made '{run.name}'.", highlight=False)
        return
    reason = f": {ended.error}" if ended.error else "."
    out.print(
        f"Run {run.id} is {ended.status}{reason} `orl runs resume {run.id}` goes on.", highlight=False, markup=False
    )
    raise typer.Exit(ended.exit_code or 1)


def _watch(workspace: Workspace, run_id: int) -> Run:
    with _bar() as bar:
        task, phase, total = bar.add_task("Waiting", total=None), "", 0
        while True:
            run = run_by_id(workspace.store, run_id)
            if run.phase != phase:
                if phase:
                    bar.update(task, completed=total)
                    task = bar.add_task(run.phase)
                else:
                    bar.reset(task, description=run.phase)
                phase = run.phase
            total = run.total
            bar.update(task, completed=run.progress, total=run.total or None)
            if run.status in ENDED:
                return run
            if not launcher.is_alive(run):
                launcher.reconcile(workspace)
            time.sleep(0.3)


def main() -> NoReturn:
    """Entry point: a user's mistake is one sentence and exit code 2, never a traceback."""
    try:
        app()
    except (UserError, StoreError) as mistake:
        Console(stderr=True).print(str(mistake), style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(MISTAKE)
    sys.exit(0)
