"""What the last ingest of a dataset left out or changed, by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, func, select

from orl_explorer.db.models import Image, StoredFinding
from orl_explorer.db.photos import count_change, members_of
from orl_explorer.db.store import Store, in_byte_order, insert_rows


@dataclass(frozen=True)
class Finding:
    """A finding: its kind, the file or name it is about, the number of things it stands for, and its reason."""

    kind: str
    name: str
    count: int = 1
    detail: str = ""
    image_id: int | None = None


@dataclass(frozen=True)
class Tally:
    """The findings of a kind: the number of names, and of the files, boxes or annotations they stand for."""

    names: int
    count: int


def replace_findings(store: Store, dataset_id: int, findings: Iterable[Finding]) -> None:
    """Replace the findings of a dataset, in one transaction."""
    columns = ("dataset_id", "kind", "image_id", "name", "count", "detail")
    rows = [(dataset_id, f.kind, f.image_id, f.name, f.count, f.detail) for f in findings]
    with store.session() as session:
        session.execute(delete(StoredFinding).where(StoredFinding.dataset_id == dataset_id))
        insert_rows(session, StoredFinding, columns, rows)
        count_change(session, [dataset_id])


def tallies(store: Store, dataset_id: int) -> dict[str, Tally]:
    """Return the number of a dataset's findings by kind. The findings of a union are those of its parts."""
    with store.session() as session:
        ours = StoredFinding.dataset_id.in_(members_of(session, dataset_id))
        question = (
            select(StoredFinding.kind, func.count(), func.sum(StoredFinding.count))
            .where(ours)
            .group_by(StoredFinding.kind)
        )
        rows = session.execute(question.order_by(in_byte_order(StoredFinding.kind))).all()
        return {kind: Tally(names, int(count)) for kind, names, count in rows}


def findings_of(
    store: Store, dataset_id: int, kind: str | None = None, limit: int | None = None, offset: int = 0
) -> list[Finding]:
    """Return a dataset's findings, of one kind or of all, in the order in which the ingest met them."""
    with store.session() as session:
        question = select(StoredFinding).where(StoredFinding.dataset_id.in_(members_of(session, dataset_id)))
        if kind is not None:
            question = question.where(StoredFinding.kind == kind)
        rows = session.scalars(question.order_by(StoredFinding.id).limit(limit).offset(offset)).all()
    return [Finding(row.kind, row.name, row.count, row.detail, row.image_id) for row in rows]


def lost_photos(store: Store, dataset_id: int, status: str, limit: int | None = None, offset: int = 0) -> list[Finding]:
    """Return the current photos of a dataset in a state (unreadable, gone) as findings, by path."""
    with store.session() as session:
        ours = Image.dataset_id.in_(members_of(session, dataset_id))
        question = select(Image.id, Image.path, Image.error).where(ours, Image.superseded_by.is_(None))
        question = question.where(Image.status == status).order_by(in_byte_order(Image.path), Image.id)
        rows = session.execute(question.limit(limit).offset(offset)).all()
    return [Finding(status, row.path, 1, row.error or "", row.id) for row in rows]
