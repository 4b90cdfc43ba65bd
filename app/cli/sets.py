"""``orl sets``: list, show, rename and delete correspondence sets."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated

import typer

from orl_explorer.app.cli.common import Json, Where, out, pass_on, print_json
from orl_explorer.app.cli.names import SetArgument
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.app.explorer.measures import with_chance
from orl_explorer.app.records import set_record, skipped_duplicates, states
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.lost import lost_of_set
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.manage import dependents
from orl_explorer.db.sets.read import sets as all_sets
from orl_explorer.train.jobs import sets as work
from orl_explorer.train.mining.quality import is_outdated, kept_measures
from orl_explorer.train.settings import as_text
from orl_explorer.train.workspace import Workspace, open_to_look, open_workspace

sets_app = typer.Typer(help="List, show, rename and delete correspondence sets.", invoke_without_command=True)


@sets_app.callback()
def sets_command(context: typer.Context, workspace: Where = None, json: Json = False) -> None:
    """List, show, rename and delete correspondence sets."""
    pass_on(context, workspace, json)
    if context.invoked_subcommand is None:
        list_sets(workspace, json)


@sets_app.command("list")
def list_sets(workspace: Where = None, json: Json = False) -> None:
    """List the sets, newest first."""
    opened = open_to_look(workspace)
    if json:
        print_json([set_record(opened, mined) for mined in all_sets(opened.store, complete_only=False)])
        return
    table = TextTable("name", "dataset", "encoder", "photos", "pairs", "differs from paper")
    for mined in all_sets(opened.store, complete_only=False):
        changed = (f"{name} {as_text(value)}" for name, (value, _) in work.differences_from_paper(mined).items())
        where = _from(opened, mined.dataset_id, mined.encoder_id)
        unfinished = "" if mined.status == "complete" else " (unfinished)"
        counts = str(mined.image_count), str(mined.pair_count)
        table.add_row(f"{mined.name}{unfinished}", *where, *counts, ", ".join(changed))
    out.print(table if table.row_count else "No correspondence sets yet. Make one with `orl mine`.")


@sets_app.command("show")
def show_set(name: SetArgument, json: Json = False, workspace: Where = None) -> None:
    """Show a set's settings, counts and quality, and the runs and encoders that use it."""
    opened = open_to_look(workspace)
    mined = work.set_named(opened, name)
    dataset, encoder = _from(opened, mined.dataset_id, mined.encoder_id)
    affected, different = dependents(opened.store, mined.id), work.differences_from_paper(mined)
    uses = {
        "trained_by_runs": [run.id for run in affected.trained + affected.live if run.kind != "mine"],
        "encoders_trained": [row.name for row in affected.encoders],
        "compared_with": affected.compared,
        "judged_pairs": affected.verdicts,
    }
    if json:
        print_json(set_record(opened, mined) | uses)
        return
    facts: dict[str, object] = {
        "set": mined.name,
        "status": mined.status,
        "created": f"{mined.created_at:%Y-%m-%d %H:%M} UTC",
        "dataset": dataset,
        "encoder": encoder,
        "mined by run": mined.run_id,
        "photos": mined.image_count,
        "RoIs": mined.candidate_count,
        "pairs": mined.pair_count,
    }
    photos = {"left out": (mined.summary or {}).get("left_out", {}), "lost since": lost_of_set(opened.store, mined.id)}
    facts |= {fact: states(counts) for fact, counts in photos.items() if counts}
    facts |= ({"near-duplicates": said} if (said := skipped_duplicates(mined)) else {}) | uses
    table = TextTable(show_header=False, box=None)
    for fact, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        table.add_row(fact.replace("_", " "), "" if shown is None else str(shown))
    for setting, value in mined.params.items():
        paper = f"  (paper: {as_text(different[setting][1])})" if setting in different else ""
        table.add_row(f"  {setting}", f"{as_text(value)}{paper}")
    out.print(table)
    out.print(*measure_tables(kept_measures(mined)))
    if is_outdated(mined):
        out.print(
            f"An earlier version measured this set. Measure it again with `orl quality {shlex.quote(mined.name)}`."
        )


def measure_tables(measures: Mapping[str, float]) -> list[TextTable]:
    """Return tables of the measures of a set with their chance levels, one for each group."""
    tables = []
    for group, measured in with_chance(measures).items():
        table = TextTable(group, "value", "by chance", "meaning")
        table.columns[0].width = 32  # alike in all tables
        table.columns[1].width = table.columns[2].width = 9
        for measure in measured:
            chance = "" if measure.chance is None else f"{measure.chance:.4g}"
            table.add_row(measure.label, f"{measure.value:.4g}", chance, measure.meaning)
        tables.append(table)
    return tables


@sets_app.command("rename")
def rename_command(
    name: SetArgument, new: Annotated[str, typer.Argument(help="New name of the set.")], workspace: Where = None
) -> None:
    """Rename a set."""
    now = work.rename(open_workspace(workspace), name, new)
    out.print(f"Renamed the correspondence set '{name}' to '{now}'.")


@sets_app.command("delete")
def delete_command(
    name: SetArgument,
    confirm: Annotated[
        str, typer.Option(help="Name of the set again, to confirm. Required if a run has trained on the set.")
    ] = "",
    workspace: Where = None,
) -> None:
    """Delete a set: its neighbours, RoIs and pairs. Photos, features, verdicts, runs and encoders are kept."""
    gone = work.delete(open_workspace(workspace), name, confirm)
    kept = []
    if gone.trained:
        kept.append(f"{len(gone.trained)} run{'s' * (len(gone.trained) > 1)} that trained on it")
    if gone.encoders:
        kept.append(f"the encoders {', '.join(row.name for row in gone.encoders)}")
    if gone.verdicts:
        kept.append(f"verdicts on {gone.verdicts} pairs")
    stays = f" Kept: {'; '.join(kept)}." if kept else ""
    out.print(f"Deleted the correspondence set '{name}'.{stays}")


def _from(opened: Workspace, dataset_id: int, encoder_id: int) -> tuple[str, str]:
    encoder = encoder_by_id(opened.store, encoder_id)
    return dataset_by_id(opened.store, dataset_id).name, f"{encoder.name}{' (supervised)' * encoder.supervised}"
