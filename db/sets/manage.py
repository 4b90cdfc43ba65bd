"""Renaming and deleting correspondence sets, and what depends on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, or_, select, update
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
from orl_explorer.db.store import Store, StoreError


@dataclass(frozen=True)
class Dependents:
    """What came from a set, or needs it.

    live: runs under way that read or write it. trained: ended runs that trained on it, oldest first; encoders: what
    those made. compared: names of the sets that it was compared with. verdicts: number of its pairs that somebody
    judged; verdicts are on RoIs and stay.
    """

    live: list[Run]
    trained: list[Run]
    encoders: list[Encoder]
    compared: list[str]
    verdicts: int


def dependents(store: Store, set_id: int) -> Dependents:
    """Look up what depends on a set."""
    verdicts = len(marked_pairs(store, set_id, "any", None))
    pair = SetComparison.first_id, SetComparison.second_id
    with store.session() as session:
        using = _using(session, set_id)
        made = select(Encoder).where(Encoder.run_id.in_([run.id for run in using])).order_by(Encoder.id)
        others = select(*pair).where(or_(*(side == set_id for side in pair)))
        ids = {other for row in session.execute(others) for other in row} - {set_id}
        names = select(CorrespondenceSet.name).where(CorrespondenceSet.id.in_(ids)).order_by(CorrespondenceSet.name)
        return Dependents(
            [run for run in using if run.status in LIVE],
            [run for run in using if run.status not in LIVE and run.correspondence_set_id == set_id],
            list(session.scalars(made)),
            list(session.scalars(names)),
            verdicts,
        )


def _using(session: Session, set_id: int) -> Sequence[Run]:
    """Runs that trained on a set, and the one that mines it."""
    mining = select(CorrespondenceSet.run_id).where(CorrespondenceSet.id == set_id).scalar_subquery()
    return session.scalars(
        select(Run).where((Run.correspondence_set_id == set_id) | (Run.id == mining)).order_by(Run.id)
    ).all()


def rename_set(store: Store, set_id: int, name: str) -> None:
    """Give a complete set another name; runs that trained on it know it by the new one.

    Raises StoreError when the name is empty or taken, or the set is in use or not complete.
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
        found.name = name


def delete_set(store: Store, set_id: int, author: str) -> None:
    """Delete a set: gone for every reader in one transaction, then its rows are removed, some photos at a time.

    RoIs, verdicts and tags stay, as they are not of one set, and so do runs and encoders that came from it; what is
    known of the set goes to ``deleted_set``. Raises StoreError when there is no such set, or a run uses it.
    """
    with store.session() as session:
        found = _set(session, set_id)
        _refuse_in_use(session, found)
        columns = ("id", "name", "dataset_id", "encoder_id", "params", "pair_count", "quality", "created_at")
        session.add(DeletedSet(**{name: getattr(found, name) for name in columns}, author=author))
        session.execute(update(Run).where(Run.correspondence_set_id == set_id).values(correspondence_set_id=None))
        for compared in (ImageComparison, SetComparison):
            session.execute(delete(compared).where((compared.first_id == set_id) | (compared.second_id == set_id)))
        found.status, found.name = DELETED, f"{found.name} (deleted set {set_id})"  # its name is free again
    remove_rows(store)


def remove_rows(store: Store) -> None:
    """Remove the rows of deleted sets, also of those where an earlier attempt was interrupted.

    Millions of them in one transaction would keep every other writer waiting for longer than it is ready to.
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
        if not images:
            session.execute(delete(CorrespondenceSet).where(CorrespondenceSet.id == set_id))
            return False
        for table in (Pair, Candidate, Neighbor, SetImage):
            here = (table.set_id == set_id) & table.image_id.between(images[0], images[-1])
            session.execute(delete(table).where(here))
        return True


def deleted_sets(store: Store) -> list[DeletedSet]:
    """Sets that were deleted, newest first."""
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
