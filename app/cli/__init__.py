"""The ``orl`` command line. Each command is thin: it calls one function of the project."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from orl_explorer.app.cli import (
    actions,
    attention,
    datasets,
    duplicates,
    encoders,
    evaluations,
    experiments,
    interchange,
    parts,
    photos,
    runs,
    search,
    sets,
    sharing,
    stages,
    start,
    verdicts,
    workspace,
)
from orl_explorer.app.cli.ending import exit_code_of
from orl_explorer.app.doctor.command import doctor
from orl_explorer.train.interpreter import keep_current_folder_out

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": start.demo,
    "explore": start.explore,
    "ingest": photos.ingest_command,
    "pretrain": stages.pretrain_command,
    "duplicates": duplicates.duplicates_command,
    "mine": stages.mine_command,
    "propose": parts.propose_command,
    "embed": parts.embed_command,
    "search": search.search_command,
    "quality": stages.quality,
    "verdicts": verdicts.verdicts_command,
    "sweep": stages.sweep_command,
    "train": stages.train_command,
    "adapt": stages.adapt_command,
    "evaluate": evaluations.evaluate_command,
    "sweep-train": experiments.sweep_train_command,
    "reproduce": experiments.reproduce_command,
    "export": interchange.export_command,
    "share": sharing.share_command,
    "export-encoder": interchange.export_encoder_command,
    "actions": actions.actions_command,
    "worker": runs.work_on_run,
    "doctor": doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.command("map")(stages.draw_map)
app.command("attention", cls=attention.Listing)(attention.attention_command)
app.add_typer(interchange.import_app, name="import", no_args_is_help=True)
app.add_typer(datasets.datasets_app, name="datasets")
app.add_typer(encoders.encoders_app, name="encoders")
app.add_typer(parts.features_app, name="features", no_args_is_help=True)
app.add_typer(evaluations.evaluations_app, name="evaluations")
app.add_typer(sets.sets_app, name="sets")
app.add_typer(runs.runs_app, name="runs")
app.add_typer(workspace.workspace_app, name="workspace")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"orl {version('orl-explorer')}")
        raise typer.Exit


@app.callback()
def orl(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Mine object correspondences in ordinary scene photos, explore them, and train encoders on them."""


def main() -> NoReturn:
    """Run the command line. A mistake of the user ends with a message and exit code 2, without a traceback."""
    keep_current_folder_out()
    sys.exit(exit_code_of(app, sys.argv[1:]))
