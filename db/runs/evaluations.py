"""Evaluations: results of protocols, by encoder and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from orl_explorer.db.models import Encoder, Evaluation, EvaluationValue
from orl_explorer.db.store import Store, StoreError, in_byte_order

Values = Mapping[str, Mapping[str, float]]  # by name, then by key, in the order in which a plot shows them


@dataclass(frozen=True)
class Evaluated:
    """An evaluation and its encoder."""

    evaluation: Evaluation
    encoder: Encoder


def keep_evaluation(store: Store, evaluation: Evaluation, values: Values) -> Evaluation:
    """Write the result of a run, and replace that of an earlier attempt of the same run."""
    with store.session() as session:
        session.execute(delete(Evaluation).where(Evaluation.run_id == evaluation.run_id))
        session.add(evaluation)
        session.flush()
        rows = [
            {"evaluation_id": evaluation.id, "name": name, "position": position, "key": key, "value": value}
            for name, each in values.items()
            for position, (key, value) in enumerate(each.items())
        ]
        if rows:
            session.execute(insert(EvaluationValue), rows)
        return evaluation


def evaluations(store: Store) -> list[Evaluated]:
    """Return all evaluations and their encoders, newest first."""
    query = select(Evaluation, Encoder).join(Encoder, Encoder.id == Evaluation.encoder_id)
    with store.session() as session:
        return [Evaluated(*row) for row in session.execute(query.order_by(Evaluation.id.desc()))]


def evaluation_by_id(store: Store, evaluation_id: int) -> Evaluated:
    """Return the evaluation of this id. Raises StoreError if there is none."""
    query = select(Evaluation, Encoder).join(Encoder, Encoder.id == Evaluation.encoder_id)
    with store.session() as session:
        row = session.execute(query.where(Evaluation.id == evaluation_id)).one_or_none()
    if row is None:
        raise StoreError(f"There is no evaluation {evaluation_id}. See `orl evaluations`.")
    return Evaluated(*row)


def evaluation_of_run(store: Store, run_id: int) -> Evaluation | None:
    """Return the evaluation of a finished run, or None."""
    with store.session() as session:
        return session.scalar(select(Evaluation).where(Evaluation.run_id == run_id))


def evaluation_values(store: Store, evaluation_id: int) -> dict[str, dict[str, float]]:
    """Return the values of an evaluation by name, then by key, in the stored order."""
    query = (
        select(EvaluationValue)
        .where(EvaluationValue.evaluation_id == evaluation_id)
        .order_by(in_byte_order(EvaluationValue.name), EvaluationValue.position)
    )
    found: dict[str, dict[str, float]] = {}
    with store.session() as session:
        for value in session.scalars(query):
            found.setdefault(value.name, {})[value.key] = value.value
    return found
