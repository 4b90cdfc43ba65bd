"""Runs and their metrics. The processes of runs write them, and pages read them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from orl_explorer.db.models import Metric, Run, now
from orl_explorer.db.store import Store, StoreError, in_byte_order

WAITING, ACTIVE, ENDED = ("queued",), ("running", "stopping"), ("done", "failed", "cancelled", "crashed")
LIVE = WAITING + ACTIVE
LOCAL = "local"  # the launcher of runs that share a queue: those of one host and device
QUEUE_ONLY = "queue-only"  # the launcher of runs whose processes a person starts, by `orl worker`
QUEUES = 0x6F726C << 32  # the upper half of the keys by which PostgreSQL locks a queue

Owner = tuple[str, int | None]  # host and pid of the process that works on a run


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


def update_run(
    store: Store, run_id: int, only_if: Sequence[str] | None = None, owner: Owner | None = None, **values: Any
) -> bool:
    """Change a run's row, optionally only from some statuses or of one owner. Returns whether a row changed."""
    statement = update(Run).where(Run.id == run_id).values(**values)
    if only_if:
        statement = statement.where(Run.status.in_(only_if))
    if owner:
        statement = statement.where(_belongs_to(owner))
    with store.session() as session:
        return session.connection().execute(statement).rowcount == 1


def take_run(store: Store, run_id: int, owner: Owner, **values: Any) -> bool:
    """Make a process the owner of a live run, unless another process is. Returns whether it is the owner."""
    free = or_(Run.pid.is_(None), _belongs_to(owner))
    statement = update(Run).where(Run.id == run_id, Run.status.in_(LIVE), free)
    with store.session() as session:
        taken = statement.values(host=owner[0], pid=owner[1], **values)
        return session.connection().execute(taken).rowcount == 1


def waits_for_worker(run: Run) -> bool:
    """Whether a run is queued until a person starts a worker."""
    return run.status == "queued" and run.launcher == QUEUE_ONLY and run.pid is None


def begin_if_first(store: Store, run_id: int) -> bool:
    """Start a queued run if it is its turn. Only local runs wait: for the earlier ones of their host and device."""
    with store.session() as session:
        run = session.get(Run, run_id)
        if run is None:
            return False
        start = update(Run).where(Run.id == run_id, Run.status == "queued")
        if run.launcher == LOCAL:
            _lock_queue(session, run)
            start = start.where(~_earlier(run).exists())
        begun = start.values(status="running", started_at=now(), heartbeat_at=now())
        return session.connection().execute(begun).rowcount == 1


def earlier_runs(store: Store, run: Run) -> list[Run]:
    """Return the runs that a queued local run waits for."""
    if run.launcher != LOCAL:
        return []
    with store.session() as session:
        return list(session.scalars(_earlier(run)))


def _earlier(run: Run) -> Select[Run]:
    return select(Run).where(
        Run.launcher == LOCAL,
        Run.host == run.host,
        Run.device == run.device,
        Run.status.in_(ACTIVE) | ((Run.status == "queued") & (Run.id < run.id)),
        Run.id != run.id,
    )


def _lock_queue(session: Session, run: Run) -> None:
    """Let one process at a time look at a queue and start its run. SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        queue = QUEUES + zlib.crc32(f"{run.host} {run.device}".encode())
        session.execute(select(func.pg_advisory_xact_lock(queue)))


def _belongs_to(owner: Owner) -> ColumnElement[bool]:
    host, pid = owner
    return and_(Run.host == host, Run.pid.is_(None) if pid is None else Run.pid == pid)


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
        rows = session.execute(query.order_by(in_byte_order(Metric.name), Metric.step))
        return [(step, name, value) for step, name, value in rows]


def metrics_by_step(
    store: Store, run_id: int, after: int = -1, window: int = 500
) -> Iterator[list[tuple[int, dict[str, float]]]]:
    """Yield the metrics of a run after a step: (step, {name: value}) in lists of up to ``window`` steps, in order."""
    with store.session() as session:
        names = list(session.scalars(select(Metric.name).where(Metric.run_id == run_id).distinct()))
        newest = session.scalar(select(func.max(Metric.step)).where(Metric.run_id == run_id))
    columns = select(Metric.step, Metric.name, Metric.value).where(Metric.run_id == run_id, Metric.name.in_(names))
    while newest is not None and after < newest:
        here = columns.where(Metric.step > after, Metric.step <= after + window).order_by(Metric.step, Metric.name)
        found: dict[int, dict[str, float]] = {}
        with store.session() as session:
            for step, name, value in session.execute(here):
                found.setdefault(step, {})[name] = value
        if found:
            yield list(found.items())
        after += window


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
