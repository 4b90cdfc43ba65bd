"""Why mining chose a pair of RoIs, or did not: the numbers that decide, with what each of them means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orl_explorer.train.mining import candidates
from orl_explorer.train.mining.candidates import Described


@dataclass(frozen=True)
class Fact:
    """A number about a pair, in words. meaning: one sentence."""

    name: str
    value: str
    meaning: str


def rank_of(similar: np.ndarray, query: Described, key: Described, pair: tuple[int, int]) -> int:
    """The rank of a pair, 1 the best, among all of the two photos as mining would choose. similar: float32 [B_q, B_k].

    Equal ones come in row-major order.
    """
    worth = candidates.worth(similar, query.traits, key.traits).ravel()
    here = pair[0] * similar.shape[1] + pair[1]
    return 1 + int((worth > worth[here]).sum()) + int((worth[:here] == worth[here]).sum())


def facts_of(
    similar: np.ndarray,
    described: tuple[Described, Described],
    objectness: tuple[float, float] | None,
    pair: tuple[int, int],
    limit: int,
) -> tuple[Fact, ...]:
    """Return what decides on a pair.

    similar: cosines of all RoIs of the two photos, float32 [B_q, B_k]. objectness: of the pair's two RoIs; None if the
    settings do not use it. limit: how many pairs of the two photos are kept at most.
    """
    query, key = described
    q, k = pair
    cosine, row, column = float(similar[pair]), similar[q], similar[:, k]
    others = np.delete(row, k)
    back = int(column.argmax())
    facts = [
        Fact("cosine", f"{cosine:.3f}", "Cosine similarity of the features of the two RoIs."),
        Fact(
            "for the query RoI",
            _place(row, k),
            "Rank of this neighbour RoI among all RoIs of the neighbour, by cosine to the query RoI.",
        ),
        Fact(
            "for the neighbour RoI",
            _place(column, q),
            "Rank of this query RoI among all RoIs of the query photo, by cosine to the neighbour RoI.",
        ),
    ]
    if len(others):
        margin = f"{cosine - float(others.max()):+.3f}".replace("-", "−")
        meaning = "The cosine less that of the best other RoI of the neighbour. Negative: another one is more similar."
        facts.append(Fact("margin", margin, meaning))
    facts.append(
        Fact(
            "way back",
            "this RoI" if back == q else f"RoI {back + 1} instead",
            "The query photo's RoI that is most similar to the neighbour RoI. Consistent pairs come back to their own.",
        )
    )
    if objectness is not None:
        meaning = "Score of both RoIs as whole objects, by the encoder's attention: the query's, then the neighbour's."
        facts.append(Fact("objectness", " and ".join(f"{value:.2f}" for value in objectness), meaning))
    if candidates.bonus(query.traits.merit, key.traits.merit) is not None:
        meaning = (
            "The cosine, plus the objectness and sparseness of both RoIs by their weights. Pairs are chosen by it."
        )
        facts.append(Fact("worth", f"{float(candidates.worth(similar, query.traits, key.traits)[pair]):.3f}", meaning))
    kept = f"at most {limit} are" if limit > 1 else "only the first is"
    further = ", and further ones that cover the photo" if query.traits.cells is not None else ""
    meaning = f"Rank among all pairs of the two photos. With these settings, {kept} kept{further}."
    facts.append(Fact("choice", f"{rank_of(similar, query, key, pair):,} of {similar.size:,}", meaning))
    return tuple(facts)


def _place(values: np.ndarray, index: int) -> str:
    return f"{1 + int((values > values[index]).sum())} of {len(values)}"
