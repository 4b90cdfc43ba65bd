"""Probes: the pairs that an encoder in training finds between the same few photos at every checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import delete, insert, select

from orl_explorer.db.models import ProbePair, both_rois
from orl_explorer.db.store import Store


@dataclass(frozen=True)
class Probe:
    """Pairs of a query photo and one neighbour at a step, best first.

    query, key: roi ids, int64 [n]. similarity: float32 [n], cosine.
    """

    image_id: int
    neighbor_id: int
    query: np.ndarray
    key: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class ProbedPair:
    """A probed pair: boxes int16 [4], x y w h, and similarity."""

    step: int
    image_id: int
    neighbor_id: int
    rank: int
    query: np.ndarray
    key: np.ndarray
    similarity: float


def keep_probes(store: Store, run_id: int, step: int, probes: Sequence[Probe]) -> None:
    """Write the probes of a step, and replace those of an earlier attempt."""
    rows = [
        {
            "run_id": run_id,
            "step": step,
            "image_id": probe.image_id,
            "neighbor_id": probe.neighbor_id,
            "rank": rank,
            "query_roi_id": query,
            "key_roi_id": key,
            "similarity": similarity,
        }
        for probe in probes
        for rank, (query, key, similarity) in enumerate(
            zip(probe.query.tolist(), probe.key.tolist(), probe.similarity.tolist(), strict=True), 1
        )
    ]
    with store.session() as session:
        session.execute(delete(ProbePair).where(ProbePair.run_id == run_id, ProbePair.step == step))
        if rows:
            session.execute(insert(ProbePair), rows)


def probed_steps(store: Store, run_id: int) -> list[int]:
    """Return the steps at which a run wrote probes."""
    with store.session() as session:
        steps = select(ProbePair.step).where(ProbePair.run_id == run_id).distinct().order_by(ProbePair.step)
        return list(session.scalars(steps))


def probed_pairs(store: Store, run_id: int, *steps: int) -> list[ProbedPair]:
    """Return the pairs of some steps, by step, query photo, neighbour and rank."""
    query, key = both_rois()
    with store.session() as session:
        rows = session.execute(
            select(ProbePair, query, key)
            .join(query, query.id == ProbePair.query_roi_id)
            .join(key, key.id == ProbePair.key_roi_id)
            .where(ProbePair.run_id == run_id, ProbePair.step.in_(steps))
            .order_by(ProbePair.step, ProbePair.image_id, ProbePair.neighbor_id, ProbePair.rank)
        )
        return [
            ProbedPair(
                pair.step,
                pair.image_id,
                pair.neighbor_id,
                pair.rank,
                np.array([q.x, q.y, q.w, q.h], np.int16),
                np.array([k.x, k.y, k.w, k.h], np.int16),
                pair.similarity,
            )
            for pair, q, k in rows
        ]
