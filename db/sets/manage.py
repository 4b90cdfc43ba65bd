"""Renaming and deleting correspondence sets, and looking up their dependents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from orl_explorer.db.models import (
    Candidate,
    CorrespondenceSet,
    DeletedSet,
    Encoder,
    ImageComparison,
    Neighbor,
    Pair,
    Run,
    SetComparison,
    SetImage,
)
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.runs.runs import LIVE
from orl_explorer.db.sets.pairs import marked_pairs
from orl_explorer.db.sets.read import DELETED
from orl_explorer.db.store import Store, StoreError, in_byte_order


@dataclass(frozen=True)
class Dependents:
    """Rows that depend on a set.

    live: active runs that read or write it. trained: ended runs that trained on it, oldest first; encoders: their
    results. compared: names of the sets that it was compared with. verdicts: number of its pairs with a verdict;
    verdicts belong to RoIs and are kept.
    """

    live: list[Run]
    trained: list[Run]
    encoders: list[Encoder]
    compared: list[str]
    verdicts: int


def dependents(store: Store, set_id: int) -> Dependents:
    """Return the dependents of a set."""
    verdicts = len(marked_pairs(store, set_id, "any", None))
    pair = SetComparison.first_id, SetComparison.second_id
    with store.session() as session:
        using = _using(session, set_id)
        made = select(Encoder).where(Encoder.run_id.in_([run.id for run in using])).order_by(Encoder.id)
        others = select(*pair).where(or_(*(side == set_id for side in pair)))
        ids = {other for row in session.execute(others) for other in row} - {set_id}
        names = (
            select(CorrespondenceSet.name)
            .where(CorrespondenceSet.id.in_(ids))
            .order_by(in_byte_order(CorrespondenceSet.name))
        )
        return Dependents(
            [run for run in using if run.status in LIVE],
            [run for run in using if run.status not in LIVE and run.correspondence_set_id == set_id],
            list(session.scalars(made)),
            list(session.scalars(names)),
            verdicts,
        )


def _using(session: Session, set_id: int) -> Sequence[Run]:
    """Return the runs that trained on a set, those that made a map of its RoIs, and the run that mines it."""
    mining = select(CorrespondenceSet.run_id).where(CorrespondenceSet.id == set_id).scalar_subquery()
    uses = (Run.correspondence_set_id == set_id) | (Run.id == mining) | _maps(set_id)
    return session.scalars(select(Run).where(uses).order_by(Run.id)).all()


def _maps(set_id: int) -> ColumnElement[bool]:
    """Whether a run makes a map of a set's RoIs."""
    return and_(Run.kind == "map", Run.params["set_id"].as_integer() == set_id)


def rename_set(store: Store, set_id: int, name: str) -> None:
    """Rename a complete set, also in the runs that used it.

    Raises StoreError if the name is empty or taken, or the set is in use or not complete.
    """
    name = " ".join(name.split())
    with store.session() as session:
        found = _set(session, set_id)
        if not name:
            raise StoreError("A correspondence set needs a name.")
        taken = session.scalar(select(CorrespondenceSet.id).where(CorrespondenceSet.name == name))
        if taken not in (None, set_id):
            raise StoreError(f"The correspondence set '{name}' already exists. Choose another name.")
        if found.status != "complete":
            raise StoreError(
                f"The correspondence set '{found.name}' is not complete. Wait for its run before renaming it."
            )
        _refuse_in_use(session, found)
        for run in session.scalars(select(Run).where(Run.correspondence_set_id == set_id)):
            run.params = run.params | {"correspondence": name}
        for run in session.scalars(select(Run).where(_maps(set_id))):
            run.params = run.params | {"set": name}
        found.name = name


def delete_set(store: Store, set_id: int, author: str) -> None:
    """Delete a set: hide it in one transaction, then remove its rows in blocks of photos.

    RoIs, verdicts and tags are kept, since they belong to no single set, and so are runs and encoders that used it.
    ``deleted_set`` keeps a record of the set. Raises StoreError if there is no such set, or a run uses it.
    """
    with store.session() as session:
        found = _set(session, set_id)
        _refuse_in_use(session, found)
        columns = ("id", "name", "dataset_id", "encoder_id", "params", "pair_count", "quality", "created_at")
        session.add(DeletedSet(**{name: getattr(found, name) for name in columns}, author=author))
        session.execute(update(Run).where(Run.correspondence_set_id == set_id).values(correspondence_set_id=None))
        for compared in (ImageComparison, SetComparison):
            session.execute(delete(compared).where((compared.first_id == set_id) | (compared.second_id == set_id)))
        found.status, found.name = DELETED, f"{found.name} (deleted set {set_id})"  # frees its name
    remove_rows(store)


def remove_rows(store: Store) -> None:
    """Remove the rows of deleted sets, including those of interrupted attempts.

    Removing millions of rows in one transaction would exceed the timeout of other writers.
    """
    with store.session() as session:
        gone = session.scalars(select(CorrespondenceSet.id).where(CorrespondenceSet.status == DELETED)).all()
    for set_id in gone:
        while _remove_some(store, set_id):
            pass


def _remove_some(store: Store, set_id: int) -> bool:
    of_set = select(SetImage.image_id).where(SetImage.set_id == set_id).order_by(SetImage.image_id)
    with store.session() as session:
        images = session.scalars(of_set.limit(CHUNK)).all()
        for table in (Pair, Candidate, Neighbor, SetImage):
            here = table.set_id == set_id
            if images:
                here &= table.image_id.between(images[0], images[-1])
            session.execute(delete(table).where(here))
        if not images:
            session.execute(delete(CorrespondenceSet).where(CorrespondenceSet.id == set_id))
        return bool(images)


def deleted_sets(store: Store) -> list[DeletedSet]:
    """Return the records of deleted sets, newest first."""
    with store.session() as session:
        return list(session.scalars(select(DeletedSet).order_by(DeletedSet.deleted_at.desc(), DeletedSet.id.desc())))


def _set(session: Session, set_id: int) -> CorrespondenceSet:
    found = session.get(CorrespondenceSet, set_id)
    if found is None or found.status == DELETED:
        raise StoreError("This correspondence set no longer exists.")
    return found


def _refuse_in_use(session: Session, found: CorrespondenceSet) -> None:
    live = next((run for run in _using(session, found.id) if run.status in LIVE), None)
    if live is not None:
        raise StoreError(
            f"Run {live.id} ({live.name}) uses the correspondence set '{found.name}'. Wait for it, "
            f"or stop it with `orl runs stop {live.id}`."
        )
