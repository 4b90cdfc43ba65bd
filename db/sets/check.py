"""Checks of a set before its publication, by aggregates of the database: a set that breaks one is never complete."""

from __future__ import annotations

from sqlalchemy import Connection, Select, case, func, or_, select, union_all
from sqlalchemy.orm import Session

from orl_explorer.db.models import Candidate, CorrespondenceSet, Image, Neighbor, Pair, Roi, SetImage
from orl_explorer.db.store import StoreError

TOLERANCE = 1e-3  # of cosines, which rounding may take beyond 1


def refuse_broken(session: Session, set_id: int) -> None:
    """Raise StoreError that names the first photo whose rows break what a complete set promises.

    Each photo has K neighbours, ranked 1 to K, which differ from each other; its pairs are ranked without gaps and
    are as many as counted; each similarity is a cosine. Imported sets may give a photo itself as a neighbour: the
    reference leaves out the nearest photo, which is a copy if there is one.
    """
    mined = session.get_one(CorrespondenceSet, set_id)
    own = SetImage.set_id == set_id
    _refuse(session, mined, select(SetImage.image_id).where(own, SetImage.pair_count.is_(None)), "has no pairs yet")
    count = mined.params.get("neighbors")
    photos = session.scalar(select(func.count()).where(own)) or 0
    with_neighbors = session.scalar(select(func.count()).where(Neighbor.set_id == set_id, Neighbor.rank == 1))
    if count is not None and photos != with_neighbors:
        raise StoreError(_sentence(mined, f"{with_neighbors} of its {photos} photos have neighbours"))
    similarity = Neighbor.similarity
    most = func.max(Neighbor.rank)
    wrong = [
        most != func.count(),
        func.count(Neighbor.neighbor_id.distinct()) != func.count(),
        # Of values that are not numbers, no comparison holds in SQLite; in PostgreSQL, they are the largest.
        func.sum(case((similarity.between(-1 - TOLERANCE, 1 + TOLERANCE), 1), else_=0)) != func.count(),
    ]
    if count is not None:
        wrong.append(most != count)
    neighbors = select(Neighbor.image_id).where(Neighbor.set_id == set_id).group_by(Neighbor.image_id)
    _refuse(
        session,
        mined,
        neighbors.having(or_(*wrong)),
        "has neighbours that are not distinct photos with finite similarities",
    )
    ranked = (
        select(Pair.image_id, func.count().label("pairs"), func.max(Pair.rank).label("most"))
        .add_columns(
            func.sum(case((Pair.similarity.between(-1 - TOLERANCE, 1 + TOLERANCE), 1), else_=0)).label("cosines")
        )
        .where(Pair.set_id == set_id)
        .group_by(Pair.image_id, Pair.neighbor_rank)
        .subquery()
    )
    broken = select(ranked.c.image_id).where(or_(ranked.c.pairs != ranked.c.most, ranked.c.pairs != ranked.c.cosines))
    _refuse(session, mined, broken, "has pairs with gaps in their ranks, or without finite similarities")
    lost = lost_reference(session.connection(), set_id)
    if lost is not None:
        raise StoreError(_sentence(mined, f"it refers to a {lost} that is not there"))


def lost_reference(connection: Connection, set_id: int) -> str | None:
    """Return what rows of a set refer to though its photos do not have it: "photo" or "RoI"; None if there is no such.

    SQLite checks each reference as it is written. PostgreSQL would take three times as long for that as for writing
    the rows, so that its tables of neighbours, candidates and pairs have no foreign keys.
    """
    if connection.dialect.name != "postgresql":
        return None
    photos = select(SetImage.image_id).where(SetImage.set_id == set_id)
    rois = select(Roi.id).join(SetImage, SetImage.image_id == Roi.image_id).where(SetImage.set_id == set_id)
    of_photos = (Neighbor.image_id, Neighbor.neighbor_id, Candidate.image_id, Pair.image_id)
    of_rois = (Candidate.roi_id, Pair.query_roi_id, Pair.key_roi_id)
    for what, used, there in (("photo", of_photos, photos), ("RoI", of_rois, rois)):
        ids = union_all(*(select(column).where(column.class_.set_id == set_id) for column in used))
        if connection.execute(ids.subquery().select().except_(there).limit(1)).first() is not None:
            return what
    return None


def _refuse(session: Session, mined: CorrespondenceSet, broken: Select[int], what: str) -> None:
    image_id = session.scalar(broken.limit(1))
    if image_id is not None:
        path = session.scalar(select(Image.path).where(Image.id == image_id))
        raise StoreError(_sentence(mined, f"the photo {path} {what}"))


def _sentence(mined: CorrespondenceSet, what: str) -> str:
    return f"The set '{mined.name}' is not complete: {what}. Mine again under another name."
