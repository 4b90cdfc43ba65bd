"""Samples of a set's pairs for people to judge, and what their verdicts say of the set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np

from orl_explorer.db.gallery.order import shuffled
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.people.judged import JudgedPair, judged_pairs
from orl_explorer.orl.measure.judged import Agreement, Share, Threshold, compare_verdicts, lowest_threshold
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.orders import (
    MatchOrder,
    PairOrders,
    make_matches,
    match_rows,
    orders_of,
    position_of,
)
from orl_explorer.train.workspace import Workspace

FEW = 50  # judged pairs, below which shares and agreement are too uncertain to act on
TARGET = 0.9  # share of good pairs that a threshold is asked for
MOST = 1000  # pairs of a sample

Draw = Literal["random", "margin", "near"]


@dataclass(frozen=True)
class PairSample:
    """Which pairs of a set are judged, in which order; the same pairs whenever it is drawn.

    draw: ``random`` (by the seed), ``margin`` (smallest first), ``near`` (closest to a cosine first). count: how many.
    category: only pairs whose query RoI covers an annotated object of it. A larger sample begins with the smaller one.
    """

    draw: Draw = "random"
    count: int = 200
    seed: int = 0
    near: float = 0.5
    category: str | None = None

    @property
    def is_random(self) -> bool:
        """Whether each pair is as likely to be in it as any other, so that shares estimate those of the set."""
        return self.draw == "random"


def sample_keys(workspace: Workspace, mined: CorrespondenceSet, found: PairOrders, sample: PairSample) -> np.ndarray:
    """Return the keys of a sample's pairs, in its order, int64 [at most count]. found: the orders of the set."""
    return _keys(_Drawn(workspace, mined.id, found.revision, mined, found), sample)


@dataclass(frozen=True)
class PeopleAgree:
    """How far two people agree, by name."""

    first: str
    second: str
    found: Agreement


@dataclass(frozen=True)
class VerdictSummary:
    """What verdicts say of a set.

    pairs: number of pairs with a verdict. interesting: those of them that nobody found good or wrong. divided: keys of
    those that one person found good and another one wrong, int64 [n]. wrong: share of wrong ones by most people's
    verdict, without those on which as many say good as wrong. people: number of verdicts by person. agreements: of each
    two people with common pairs, most pairs first. threshold: the lowest cosine that the target asks for, if any, and
    stays: the share of the set's pairs at or above it.
    """

    pairs: int
    interesting: int
    divided: np.ndarray
    wrong: Share
    people: dict[str, int]
    agreements: list[PeopleAgree]
    threshold: Threshold | None
    stays: Share | None

    @property
    def few(self) -> bool:
        """Whether there are too few verdicts to act on."""
        return self.wrong.total < FEW


def verdict_summary(
    workspace: Workspace,
    mined: CorrespondenceSet,
    found: PairOrders,
    target: float = TARGET,
    among: Iterable[int] | None = None,
) -> VerdictSummary:
    """Sum up the verdicts on a set's pairs. among: keys of a sample; by default, all that anybody judged."""
    pairs = judged_pairs(workspace.store, mined.id, among)
    said = [pair for pair in pairs if pair.good is not None]
    cosine, good = np.array([p.similarity for p in said], np.float32), np.array([p.good for p in said], bool)
    threshold = lowest_threshold(cosine, good, target)
    return VerdictSummary(
        pairs=len(pairs),
        interesting=sum(not pair.opinions for pair in pairs),
        divided=np.array([pair.key for pair in pairs if pair.divided], np.int64),
        wrong=Share(int((~good).sum()), len(good)),
        people=dict(Counter(who for pair in pairs for who in pair.verdicts).most_common()),
        agreements=_agreements(pairs),
        threshold=threshold,
        stays=None if threshold is None else Share(pairs_at_least(found, threshold.least), len(found.keys)),
    )


def verdicts_on_set(
    workspace: Workspace, mined: CorrespondenceSet, target: float, random: int | None, seed: int
) -> VerdictSummary:
    """Sum up the verdicts on all pairs of a complete set, or on a random sample of them. Raises UserError.

    random: size of the sample; None for all.
    """
    if not 0 < target <= 1:
        raise UserError(f"Invalid value for target: {target:g}. Use more than 0 and at most 1.")
    if random is not None and not 1 <= random <= MOST:
        raise UserError(f"Invalid size of a random sample: {random}. Use 1 to {MOST}.")
    if seed < 0:
        raise UserError(f"Invalid value for seed: {seed}. Use at least 0.")
    found = orders_of(workspace, mined) or make_matches(workspace, mined)
    sample = None if random is None else sample_keys(workspace, mined, found, PairSample(count=random, seed=seed))
    return verdict_summary(workspace, mined, found, target, None if sample is None else sample.tolist())


def pairs_at_least(found: PairOrders, similarity: float) -> int:
    """Return how many pairs of a set have at least this similarity."""
    rows = found.by["similarity"]
    return len(rows) - position_of(found, rows, MatchOrder(descending=False), similarity)


def _agreements(pairs: Sequence[JudgedPair]) -> list[PeopleAgree]:
    both: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for pair in pairs:
        said = pair.opinions
        for first, second in combinations(sorted(said), 2):
            both.setdefault((first, second), []).append((said[first], said[second]))
    ordered = sorted(both.items(), key=lambda item: (-len(item[1]), item[0]))
    return [PeopleAgree(*names, compare_verdicts(*np.array(verdicts).T)) for names, verdicts in ordered]


@dataclass(frozen=True)
class _Drawn:
    """A set whose samples are kept in memory by its id."""

    workspace: Workspace
    set_id: int
    revision: int
    mined: CorrespondenceSet = field(compare=False)
    found: PairOrders = field(compare=False)


@lru_cache(maxsize=32)
def _keys(drawn: _Drawn, sample: PairSample) -> np.ndarray:
    found, count = drawn.found, sample.count
    if sample.draw == "random" and sample.category is None:
        return shuffled(found.keys, sample.seed, count)
    order = MatchOrder("margin" if sample.draw == "margin" else "similarity", False, category=sample.category)
    rows = match_rows(drawn.workspace, drawn.mined, found, order)
    if sample.draw == "random":
        return shuffled(found.keys[rows], sample.seed, count)
    if sample.draw == "near":
        at = position_of(found, rows, order, sample.near)
        rows = rows[max(0, at - count) : at + count]
        rows = rows[np.argsort(np.abs(found.similarity[rows] - np.float32(sample.near)), kind="stable")]
    return found.keys[rows[:count]]
