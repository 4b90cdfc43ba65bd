"""``orl evaluate`` and ``orl evaluations``: measure encoders on downstream tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from orl_explorer.app.cli.common import (
    Detach,
    Json,
    On,
    QueueOnly,
    Where,
    bounded,
    follow_run,
    out,
    pass_on,
    print_json,
)
from orl_explorer.app.cli.names import EncoderName
from orl_explorer.app.cli.settings import ChangesOption, ProtocolArgument, with_changes
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.app.records import evaluation_record
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.runs.evaluations import (
    Evaluated,
    evaluation_by_id,
    evaluation_of_run,
    evaluation_values,
    evaluations,
)
from orl_explorer.train.evaluate.compared import columns, headline
from orl_explorer.train.evaluate.protocols import PROTOCOLS, Protocol, evaluate_preset
from orl_explorer.train.jobs.kinds import Evaluate
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.jobs.launchers.choice import placement
from orl_explorer.train.workspace import Workspace, open_to_look, open_workspace

evaluations_app = typer.Typer(help="List, compare and show evaluations.", invoke_without_command=True)


def _by_protocol(said: Callable[[Protocol], str]) -> str:
    """Say it of each protocol, and once for those of which the same holds."""
    names: dict[str, list[str]] = {}
    for name, protocol in PROTOCOLS.items():
        names.setdefault(said(protocol), []).append(name)
    return "; ".join(f"{', '.join(some)}: {text}" for text, some in names.items())


DATA = _by_protocol(lambda protocol: protocol.data)
PRESET = _by_protocol(lambda protocol: ", ".join(protocol.presets))


def evaluate_command(
    protocol: ProtocolArgument,
    encoder: EncoderName,
    data: Annotated[str, typer.Option(help=f"Data to measure on. {DATA}.")],
    preset: Annotated[
        str, typer.Option(help=f"Preset of the settings. Default: the first preset of the protocol. {PRESET}.")
    ] = "",
    changes: ChangesOption = None,
    on: On = "",
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Evaluate an encoder by a protocol."""
    config = with_changes(evaluate_preset(protocol, preset), changes)
    opened = open_workspace(workspace)
    job = Evaluate.on(opened, encoder_named(opened.store, encoder), data, config)
    run = launch(opened, job, placed=placement(opened, on, queue_only=queue_only))
    follow_run(opened, run, detach)
    if not detach and (found := evaluation_of_run(opened.store, run.id)) is not None:
        _show(opened, evaluation_by_id(opened.store, found.id))


@evaluations_app.callback()
def evaluations_(context: typer.Context, workspace: Where = None, json: Json = False) -> None:
    """List, compare and show evaluations."""
    pass_on(context, workspace, json)
    if context.invoked_subcommand is None:
        list_evaluations(workspace, json)


@evaluations_app.command("list")
def list_evaluations(workspace: Where = None, json: Json = False) -> None:
    """List the evaluations, newest first."""
    opened = open_to_look(workspace)
    found = evaluations(opened.store)
    if json:
        print_json([evaluation_record(each) for each in found])
        return
    table = TextTable("id", "encoder", "protocol", "result", "data", "run")
    for each in found:
        row = each.evaluation
        table.add_row(str(row.id), each.encoder.name, row.protocol, _headline(each), row.data, str(row.run_id))
    out.print(table if table.row_count else "No evaluations yet. Start one with `orl evaluate`.")


@evaluations_app.command("table")
def table_of_encoders(workspace: Where = None, json: Json = False) -> None:
    """Compare encoders: one row per protocol, data and settings, with the newest result of each encoder in %."""
    found = columns(evaluations(open_to_look(workspace).store))
    if json:
        print_json([{"column": c.label, "encoders": {e.encoder.name: headline(e) for e in c.found}} for c in found])
        return
    if not found:
        out.print("No evaluations yet. Start one with `orl evaluate`.")
        return
    names = list(dict.fromkeys(each.encoder.name for column in found for each in column.found))
    table = TextTable("column", *names)
    for column in found:
        shares = {each.encoder.name: headline(each) for each in column.found}
        table.add_row(f"{column.label}: {column.headline}", *(_percent(shares.get(name)) for name in names))
    out.print(table)


@evaluations_app.command("show")
def show_evaluation(
    evaluation_id: Annotated[
        int, typer.Argument(metavar="ID", callback=bounded, help="Number of the evaluation, as in `orl evaluations`.")
    ],
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Show all results of an evaluation."""
    opened = open_to_look(workspace)
    found = evaluation_by_id(opened.store, evaluation_id)
    if json:
        values = evaluation_values(opened.store, evaluation_id)
        print_json(evaluation_record(found) | {"params": found.evaluation.params, "values": values})
        return
    _show(opened, found)


def _show(opened: Workspace, found: Evaluated) -> None:
    row, values = found.evaluation, evaluation_values(opened.store, found.evaluation.id)
    numbers = TextTable("number", "value", title=f"{found.encoder.name} by {row.protocol}", title_justify="left")
    for name, value in row.summary.items():
        if name != "notes":
            numbers.add_row(name.replace("_", " "), f"{value:.4g}")
    out.print(numbers)
    # Names with the same keys share a table.
    by_keys: dict[tuple[str, ...], list[str]] = {}
    for name, each in values.items():
        by_keys.setdefault(tuple(each), []).append(name)
    for keys, names in by_keys.items():
        table = TextTable("", *(name.replace("_", " ") for name in names))
        for key in keys:
            table.add_row(key, *(f"{values[name][key]:.4g}" for name in names))
        out.print(table)
    for note in row.summary.get("notes", []):
        out.print(note)


def _headline(found: Evaluated) -> str:
    protocol = PROTOCOLS.get(found.evaluation.protocol)
    return f"{protocol.headline_title} {_percent(headline(found))}" if protocol else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
