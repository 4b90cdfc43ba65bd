"""Verdicts of people on pairs."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from orl_explorer.db.marks import Judgement, Verdict
from orl_explorer.db.models import Roi, both_rois
from orl_explorer.db.people.tags import count_pair_mark
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.store import Store


def judge(
    store: Store,
    query: tuple[int, Iterable[int]],
    key: tuple[int, Iterable[int]],
    verdict: Judgement | None,
    author: str,
) -> bool:
    """Store a person's verdict, or remove it with None, on a pair of boxes given as (image id, x y w h).

    Returns False if one of the boxes belongs to no set.
    """
    with store.session() as session:
        ids = []
        for image, (x, y, w, h) in ((query[0], map(int, query[1])), (key[0], map(int, key[1]))):
            ids.append(
                session.scalar(
                    select(Roi.id).where(Roi.image_id == image, Roi.x == x, Roi.y == y, Roi.w == w, Roi.h == h)
                )
            )
    if ids[0] is None or ids[1] is None:
        return False
    judge_pair(store, ids[0], ids[1], verdict, author)
    return True


def judge_pair(store: Store, query_roi_id: int, key_roi_id: int, verdict: Judgement | None, author: str) -> None:
    """Store a person's verdict on a pair of existing RoIs, or remove it with None."""
    with store.session() as session:
        found = session.get(Verdict, (query_roi_id, key_roi_id, author))
        if found is not None:
            session.delete(found)
            session.flush()
        if verdict is not None:
            session.add(Verdict(query_roi_id=query_roi_id, key_roi_id=key_roi_id, author=author, verdict=verdict))
        count_pair_mark(session, query_roi_id)


def verdicts_on(store: Store, pairs: Iterable[tuple[int, int]], author: str) -> dict[tuple[int, int], Judgement]:
    """Return a person's verdicts by pair (query RoI id, key RoI id)."""
    asked = set(pairs)
    queries = sorted({query for query, _ in asked})
    found: dict[tuple[int, int], Judgement] = {}
    with store.session() as session:
        for start in range(0, len(queries), CHUNK):
            own = Verdict.query_roi_id.in_(queries[start : start + CHUNK]) & (Verdict.author == author)
            rows = session.execute(select(Verdict.query_roi_id, Verdict.key_roi_id, Verdict.verdict).where(own))
            found |= {(query, key): verdict for query, key, verdict in rows if (query, key) in asked}
    return found


def verdicts_of(
    store: Store, query_image: int, author: str
) -> dict[tuple[tuple[int, ...], int, tuple[int, ...]], Judgement]:
    """Return verdicts on a query image's pairs: (query box, neighbour's image id, key box) -> verdict."""
    query, key = both_rois()
    with store.session() as session:
        rows = session.execute(
            select(Verdict.verdict, query, key)
            .join(query, query.id == Verdict.query_roi_id)
            .join(key, key.id == Verdict.key_roi_id)
            .where(query.image_id == query_image, Verdict.author == author)
        )
        return {((q.x, q.y, q.w, q.h), k.image_id, (k.x, k.y, k.w, k.h)): verdict for verdict, q, k in rows}


def wrong_pairs(store: Store) -> dict[tuple[int, int], set[tuple[int, ...]]]:
    """What anybody judged to be wrong: (query image id, neighbour's image id) -> query x y w h, key x y w h of each."""
    query, key = both_rois()
    wrong: dict[tuple[int, int], set[tuple[int, ...]]] = {}
    with store.session() as session:
        rows = session.execute(
            select(query, key)
            .select_from(Verdict)
            .join(query, query.id == Verdict.query_roi_id)
            .join(key, key.id == Verdict.key_roi_id)
            .where(Verdict.verdict == "wrong")
        )
        for q, k in rows:
            wrong.setdefault((q.image_id, k.image_id), set()).add((q.x, q.y, q.w, q.h, k.x, k.y, k.w, k.h))
    return wrong
