"""``orl verdicts``: what people's verdicts on the pairs of a set say of it."""

from __future__ import annotations

from typing import Annotated

import typer

from orl_explorer.app.cli.common import Json, Where, out, print_json
from orl_explorer.app.cli.names import SetArgument
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.app.records import judged_record
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.orl.measure.judged import Share
from orl_explorer.train.mining.judging import FEW, TARGET, VerdictSummary, verdicts_on_set
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import open_to_look

SHOWN = 20  # rows of the table of agreement


def verdicts_command(
    name: SetArgument,
    target: Annotated[float, typer.Option(help="Share of good pairs that the proposed threshold must reach.")] = TARGET,
    random: Annotated[
        int | None,
        typer.Option(
            help="Count only verdicts on this many pairs drawn at random, as the page Judge pairs draws them. Only "
            "then is the share of wrong pairs an unbiased estimate."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random sample.")] = 1,
    json: Json = False,
    workspace: Where = None,
) -> None:
    """Sum up people's verdicts on a set: the share of wrong pairs, how far people agree, and a proposed threshold."""
    opened = open_to_look(workspace)
    found = verdicts_on_set(opened, complete_set_named(opened.store, name), target, random, seed)
    if json:
        print_json(judged_record(found))
        return
    if not found.pairs:
        out.print("Nobody has judged a pair of these yet. Judge some on the page Judge pairs of `orl explore`.")
        return
    of = "" if random is None else f" of a random sample of {random:,}"
    out.print(f"{plural(found.pairs, 'judged pair')}{of}, {plural(sum(found.people.values()), 'verdict')}.")
    said = "an unbiased estimate" if random is not None else "not an estimate for the set: use --random"
    out.print(f"Wrong: {_share(found.wrong)}. This is {said}.")
    out.print(_proposed(found, target))
    if found.few:
        out.print(f"These are few verdicts: with fewer than {FEW}, the numbers are hardly more than guesses.")
    if found.agreements:
        table = TextTable("people", "pairs", "agreed", "Cohen's kappa", "95 % interval")
        for each in found.agreements[:SHOWN]:
            by = each.found
            kappa = "undefined" if by.kappa is None else f"{by.kappa:.2f}"
            limits = "" if by.interval is None else f"{by.interval[0]:.2f} to {by.interval[1]:.2f}"
            table.add_row(f"{each.first}, {each.second}", f"{by.pairs}", f"{by.agreed / by.pairs:.0%}", kappa, limits)
        out.print(table)


def _proposed(found: VerdictSummary, target: float) -> str:
    if found.threshold is None or found.stays is None:
        return f"At no cosine are {100 * target:g} % of the judged pairs at or above it good."
    least, good, stays = found.threshold.least, found.threshold.good, found.stays
    return (
        f"At cosine {least:g} or more, good: {_share(good)}. {stays.count:,} of {plural(stays.total, 'pair')} stay "
        f"({100 * stays.value:.1f} %): `orl mine --min-similarity {least:g}`, with the "
        "set’s other settings, makes that set."
    )


def _share(found: Share) -> str:
    if not found.total:
        return "no pair found good or wrong"
    low, high = (f"{100 * end:.1f}" for end in found.interval)
    return f"{found.count:,} of {found.total:,}, {100 * found.value:.1f} % (95 % interval {low} to {high} %)"
