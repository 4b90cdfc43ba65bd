"""Runs and their metrics. The processes of runs write them, and pages read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from orl_explorer.db.models import Metric, Run, now
from orl_explorer.db.store import Store, StoreError

WAITING, ACTIVE, ENDED = ("queued",), ("running", "stopping"), ("done", "failed", "cancelled", "crashed")
LIVE = WAITING + ACTIVE


def runs(store: Store, statuses: Sequence[str] | None = None) -> list[Run]:
    """Return runs, newest first."""
    query = select(Run).order_by(Run.id.desc())
    if statuses:
        query = query.where(Run.status.in_(statuses))
    with store.session() as session:
        return list(session.scalars(query))


def find_run(store: Store, run_id: int) -> Run | None:
    """Return the run of this id, or None."""
    with store.session() as session:
        return session.get(Run, run_id)


def run_by_id(store: Store, run_id: int) -> Run:
    """Return the run of this id. Raises StoreError if there is none."""
    found = find_run(store, run_id)
    if found is None:
        raise StoreError(f"There is no run {run_id}. See `orl runs list`.")
    return found


def add_run(store: Store, run: Run) -> Run:
    """Queue a run. Its id determines the path of its log."""
    with store.session() as session:
        session.add(run)
        session.flush()
        run.log_path = f"runs/{run.id}/log.txt"
        return run


def update_run(store: Store, run_id: int, only_if: Sequence[str] | None = None, **values: Any) -> bool:
    """Change a run's row, optionally only from some statuses. Returns whether a row changed."""
    statement = update(Run).where(Run.id == run_id).values(**values)
    if only_if:
        statement = statement.where(Run.status.in_(only_if))
    with store.session() as session:
        return session.connection().execute(statement).rowcount == 1


def begin_if_first(store: Store, run_id: int) -> bool:
    """Start a queued run if its device is free and no older run is queued for it."""
    earlier = (
        select(Run.id)
        .where(
            Run.device == select(Run.device).where(Run.id == run_id).scalar_subquery(),
            Run.status.in_(ACTIVE) | ((Run.status == "queued") & (Run.id < run_id)),
            Run.id != run_id,
        )
        .exists()
    )
    start = (
        update(Run)
        .where(Run.id == run_id, Run.status == "queued", ~earlier)
        .values(status="running", started_at=now(), heartbeat_at=now())
    )
    with store.session() as session:
        return session.connection().execute(start).rowcount == 1


def add_metrics(store: Store, run_id: int, rows: Sequence[tuple[int, str, float]]) -> None:
    """Add (step, name, value) rows. A resumed run repeats some steps and replaces their rows."""
    if not rows:
        return
    first = min(step for step, _, _ in rows)
    with store.session() as session:
        session.execute(
            delete(Metric).where(
                Metric.run_id == run_id, Metric.name.in_({name for _, name, _ in rows}), Metric.step >= first
            )
        )
        session.execute(insert(Metric), [{"run_id": run_id, "step": s, "name": n, "value": v} for s, n, v in rows])


def metrics(
    store: Store, run_id: int, after: int = -1, names: Sequence[str] | None = None
) -> list[tuple[int, str, float]]:
    """Return (step, name, value) of a run after a step, by name and step.

    With names given, the rows come straight from the key, however many there are before ``after``.
    """
    query = select(Metric.step, Metric.name, Metric.value).where(Metric.run_id == run_id, Metric.step > after)
    if names is not None:
        query = query.where(Metric.name.in_(names))
    with store.session() as session:
        rows = session.execute(query.order_by(Metric.name, Metric.step))
        return [(step, name, value) for step, name, value in rows]


def latest_metrics(store: Store, run_id: int) -> dict[str, float]:
    """Return the newest value of each metric of a run."""
    newest = select(Metric.name, func.max(Metric.step).label("step")).where(Metric.run_id == run_id)
    last = newest.group_by(Metric.name).subquery()
    with store.session() as session:
        rows = session.execute(
            select(Metric.name, Metric.value)
            .join(last, (last.c.name == Metric.name) & (last.c.step == Metric.step))
            .where(Metric.run_id == run_id)
        )
        return {name: value for name, value in rows}  # noqa: C416
