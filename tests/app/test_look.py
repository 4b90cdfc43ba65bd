"""The data that the pair page shows of two photos of the mined demo, and its payload."""

from __future__ import annotations

import base64
from contextlib import nullcontext

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from orl_explorer.app.explorer import opened, pair, preview
from orl_explorer.app.explorer.pair import (
    Asked,
    Looked,
    MissingWork,
    PairName,
    RankedNeighbor,
    RankedPair,
    RoiMatch,
    RoiName,
    Seen,
    SeenPhoto,
    look,
)
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.rejections import Rejected
from orl_explorer.app.explorer.why import Fact
from orl_explorer.app.pages.pair.payload import Around, Heat, payload
from orl_explorer.app.server.urls import PictureUrls
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.gallery.order import GalleryOrder
from orl_explorer.db.models import Image
from orl_explorer.db.people.verdicts import judge
from orl_explorer.db.photos import dataset_named, image_by_id
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import BoxFeatures, PooledFeatures
from orl_explorer.train.workspace import Workspace
from tests.conftest import MINED

CLOSE = 2e-3  # between processors, of a cosine


@pytest.fixture
def subject(here: Workspace) -> PreviewSubject:
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    return PreviewSubject(here, mined, dataset_named(here.store, "demo"), encoder_named(here.store, "starter"))


def asked(
    subject: PreviewSubject, image_id: int = 3, config: MineConfig = MINED, author: str = "ann", **more: object
) -> Asked:
    found = image_by_id(subject.workspace.store, image_id)
    assert found is not None
    order = GalleryOrder(subject.dataset.id, subject.mined.id)
    return Asked(found[0], config, order, author, **more)  # type: ignore[arg-type]


def seen(looked: Looked | None) -> Looked:
    assert looked is not None
    return looked


def test_a_query_its_neighbours_and_the_pairs_with_the_nearest(subject: PreviewSubject) -> None:
    looked = seen(look(subject, asked(subject)))
    assert looked.query.photo.path == "images/scene-002.jpg"
    assert (looked.query.photo.id, looked.query.photo.width, looked.query.photo.height) == (3, 480, 360)
    assert looked.query.boxes[:3] == ((252, 46, 180, 154), (156, 160, 148, 116), (148, 46, 332, 314))
    assert looked.query.counts == {"raw": 800, "kept": 38, "size": 564, "aspect": 17, "overlap": 181, "count": 0}
    assert looked.query.fallback is False
    assert len(looked.query.rejected) == 120
    why = "480 × 360 px: IoU 0.603 with box 3, over max IoU 0.5"
    assert looked.query.rejected[0] == Rejected(102, (0, 0, 480, 360), "overlap", why, 2)
    assert (looked.rank, looked.neighbor.photo.path) == (1, "images/scene-007.jpg")
    assert looked.neighbor.boxes[:2] == ((82, 166, 150, 122), (352, 218, 128, 106))
    assert [(n.rank, n.photo.id, n.pairs) for n in looked.neighbors] == [(1, 8, 3), (2, 11, 3), (3, 5, 3), (4, 12, 3)]
    cosines = [n.similarity for n in looked.neighbors]
    assert cosines == pytest.approx([0.6289, 0.5968, 0.5832, 0.5089], abs=CLOSE)
    assert [(p.rank, p.q, p.k, p.verdict) for p in looked.pairs] == [(1, 32, 9, None), (2, 3, 9, None), (3, 6, 9, None)]
    assert [p.similarity for p in looked.pairs] == pytest.approx([0.8279, 0.8006, 0.7572], abs=CLOSE)
    assert (looked.similar.shape, looked.limit) == ((38, 24), 3)
    assert looked.similar[32, 9] == looked.similar.max()
    assert (looked.selected, looked.outside, looked.roi, looked.matches) == (None, None, None, None)
    assert (looked.held, looked.explained, looked.agreement, looked.missing) == (True, "", None, MissingWork())
    assert looked.following is not None
    assert (looked.following.id, looked.following.path) == (4, "images/scene-003.jpg")


def test_a_selected_pair_outside_the_set_has_its_rank_and_a_clicked_roi_its_matches(subject: PreviewSubject) -> None:
    looked = seen(look(subject, asked(subject, rank=2, pair=PairName(0, 1), roi=RoiName("query", False, 1))))
    assert looked.selected == PairName(0, 1)
    assert looked.outside is not None
    assert (looked.outside.q, looked.outside.k, looked.outside.verdict) == (0, 1, None)
    assert looked.outside.rank == pytest.approx(589, abs=5)
    assert looked.outside.similarity == pytest.approx(0.3528, abs=CLOSE)
    facts = {fact.name: fact.value for fact in looked.facts}
    assert list(facts) == ["cosine", "for the query RoI", "for the neighbour RoI", "margin", "way back", "choice"]
    assert (facts["cosine"], facts["choice"].split()[0]) == ("0.353", str(looked.outside.rank))
    assert looked.matches is not None
    assert [(m.rank, m.photo_id, m.index, m.box) for m in looked.matches] == [
        (1, 8, 1, (352, 218, 128, 106)),
        (2, 11, 9, (98, 96, 142, 102)),
        (3, 5, 7, (6, 148, 118, 106)),
        (4, 12, 13, (196, 96, 102, 148)),
    ]
    cosines = [m.similarity for m in looked.matches]
    assert cosines == pytest.approx([0.5385, 0.5273, 0.3972, 0.4229], abs=CLOSE)


def test_a_clicked_raw_box_is_explained(subject: PreviewSubject) -> None:
    looked = seen(look(subject, asked(subject, rank=99, roi=RoiName("query", True, 0))))
    assert (looked.rank, looked.neighbor.photo.id) == (4, 12)
    assert looked.matches is None
    assert looked.explained == (
        "At min size 30 it passes this rule but is still rejected: sides 4.60 to 1, over max aspect 3."
    )


@pytest.mark.parametrize("pair", [PairName(38, 0), PairName(0, 24)])
def test_a_pair_of_boxes_that_are_not_there_is_not_selected(subject: PreviewSubject, pair: PairName) -> None:
    looked = seen(look(subject, asked(subject, pair=pair)))
    assert (looked.selected, looked.outside) == (None, None)


def test_what_has_to_be_computed_is_told_before_and_counted(subject: PreviewSubject) -> None:
    preview._opened_sources.cache_clear()
    told: list[MissingWork] = []

    def meanwhile(missing: MissingWork) -> nullcontext:
        told.append(missing)
        return nullcontext()

    small = asked(subject, config=MINED.model_copy(update={"min_size": 60}), roi=RoiName("query", False, 0))
    looked = seen(look(subject, small, meanwhile))
    assert told == [MissingWork(), MissingWork(), MissingWork(boxes=looked.missing.boxes)]
    assert looked.missing.boxes > 20
    assert looked.matches is not None
    assert [m.similarity is None for m in looked.matches] == [False, True, True, True]
    assert looked.matches[1] == RoiMatch(2, 11)
    assert seen(look(subject, small)).missing == MissingWork()


def test_an_approximation_says_how_far_it_agrees(subject: PreviewSubject) -> None:
    quick = PreviewSubject(subject.workspace, subject.mined, subject.dataset, subject.encoder, approximate=True)
    looked = seen(look(quick, asked(subject)))
    assert looked.agreement is not None
    assert looked.agreement[1] == 3
    assert 0 <= looked.agreement[0] <= 3


@pytest.mark.parametrize("least", [-1.0, 0.2])
def test_a_view_asks_the_store_a_few_questions_however_many_neighbours_it_needs(
    subject: PreviewSubject, least: float
) -> None:
    question = asked(subject, config=MINED.model_copy(update={"min_similarity": least}))
    look(subject, question)  # reads once what is kept in memory
    tables = list[str]()
    event.listen(
        subject.workspace.store.engine,
        "before_cursor_execute",
        lambda _, __, statement, *___: tables.append(statement.split("FROM ")[1].split()[0]),
    )
    look(subject, question)
    photos, pages = ["dataset", "set_image", "neighbor", "proposal", "proposal"], ["correspondence_set", "image"]
    assert tables == [*photos, "verdict", *pages]


def test_everybody_sees_their_own_verdicts(subject: PreviewSubject) -> None:
    best = seen(look(subject, asked(subject)))
    pair = best.pairs[0]
    sides = (3, best.query.boxes[pair.q]), (8, best.neighbor.boxes[pair.k])
    assert judge(subject.workspace.store, *sides, "good", "ann")
    assert [p.verdict for p in seen(look(subject, asked(subject))).pairs] == ["good", None, None]
    assert [p.verdict for p in seen(look(subject, asked(subject, author="bob"))).pairs] == [None, None, None]


@pytest.mark.parametrize("other", [0, 999])
def test_a_photo_that_is_gone_and_not_in_the_set_has_nothing_to_see(subject: PreviewSubject, other: int) -> None:
    order = GalleryOrder(subject.dataset.id)
    gone = Image(id=other, path="new.jpg", status="gone", error="it is not there")
    assert look(subject, Asked(gone, MINED, order, "ann")) is None


URLS = PictureUrls("0123456789ab")
BY_HAND = Looked(
    config=MineConfig(pair_ratio=0.5, min_similarity=0.25),
    held=True,
    query=Seen(
        SeenPhoto(7, "one/a.jpg", 70, 400, 300),
        ((10, 20, 100, 110), (30, 40, 120, 130)),
        (Rejected(5, (0, 0, 9, 8), "size", "9 × 8 px: too small", None),),
        {"raw": 3, "kept": 2, "size": 1, "aspect": 0, "overlap": 0, "count": 0},
        False,
    ),
    neighbor=Seen(SeenPhoto(9, "two/b.jpg", 90, 200, 100), ((1, 2, 96, 97),), (), {"raw": 1, "kept": 1}, False),
    rank=2,
    neighbors=(
        RankedNeighbor(1, SeenPhoto(8, "two/c.jpg", 80, 10, 10), 0.75, None),
        RankedNeighbor(2, SeenPhoto(9, "two/b.jpg", 90, 200, 100), 0.5, 1),
    ),
    pairs=(RankedPair(1, 1, 0, 0.5, "good"),),
    similar=np.array([[0.125], [0.5]], np.float32),
    selected=PairName(0, 0),
    outside=RankedPair(2, 0, 0, 0.125, "wrong"),
    refused="",
    facts=(Fact("cosine", "0.125", "Cosine similarity."),),
    roi=RoiName("query", False, 1),
    matches=(RoiMatch(1, 8), RoiMatch(2, 9, 0, (1, 2, 96, 97), 0.5)),
    explained="",
    agreement=None,
    following=SeenPhoto(11, "one/d.jpg", 110, 10, 10),
    missing=MissingWork(),
)
AROUND = Around(
    URLS,
    Heat(4, "mine", True),
    own_heat=5,
    approximate=False,
    can_judge=True,
    dataset="d",
    mined="s",
    encoder="e (supervised)",
    settings="K 2",
    changed=["K 2 (4)"],
)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that knows only its arguments."""

    def refused() -> Workspace:
        raise AssertionError("there is no workspace")

    monkeypatch.setattr(opened, "workspace", refused)
    monkeypatch.delenv("ORL_WORKSPACE", raising=False)


def test_a_payload_is_made_of_a_record_alone(alone: None) -> None:
    there = "/app/static/0123456789ab"
    sent = payload(BY_HAND, AROUND)
    matrix = sent.pop("matrix")  # type: ignore[misc]
    assert matrix is not None
    assert (matrix["rows"], matrix["columns"]) == (2, 1)
    assert np.frombuffer(base64.b64decode(matrix["values"]), "<i2").tolist() == [1250, 5000]
    assert len(sent["attention"].pop("colors")) == 6  # type: ignore[misc]
    assert sent == {
        "query": {
            "id": 7,
            "name": "one/a.jpg",
            "url": f"{there}/photo/7/1280?v=70",
            "width": 400,
            "height": 300,
            "boxes": [[10, 20, 100, 110], [30, 40, 120, 130]],
            "rejected": [
                {"raw": 5, "box": [0, 0, 9, 8], "rule": "size", "why": "9 × 8 px: too small", "blocker": None}
            ],
        },
        "neighbor": {
            "id": 9,
            "name": "two/b.jpg",
            "url": f"{there}/photo/9/1280?v=90",
            "width": 200,
            "height": 100,
            "boxes": [[1, 2, 96, 97]],
            "rejected": [],
            "rank": 2,
            "similarity": 0.5,
        },
        "neighbors": [
            {
                "rank": 1,
                "id": 8,
                "name": "c.jpg",
                "thumb": f"{there}/photo/8/320?v=80",
                "similarity": 0.75,
                "pairs": None,
            },
            {"rank": 2, "id": 9, "name": "b.jpg", "thumb": f"{there}/photo/9/320?v=90", "similarity": 0.5, "pairs": 1},
        ],
        "pairs": [{"rank": 1, "q": 1, "k": 0, "similarity": 0.5, "verdict": "good"}],
        "selected": {"q": 0, "k": 0},
        "outside": {
            "q": 0,
            "k": 0,
            "similarity": 0.125,
            "verdict": "wrong",
            "note": "Not in the set: rank 2 of 2 × 1; only the first is kept",
        },
        "roi": "q1",
        "matches": {
            "side": "query",
            "index": 1,
            "items": [
                {"rank": 1, "id": 8, "index": None, "box": None, "similarity": None},
                {"rank": 2, "id": 9, "index": 0, "box": [1, 2, 96, 97], "similarity": 0.5},
            ],
        },
        "explained": None,
        "reasons": {
            "q": 0,
            "k": 0,
            "facts": [{"name": "cosine", "value": "0.125", "meaning": "Cosine similarity."}],
            "cells": [
                {
                    "title": "neighbour: cosine to the query RoI",
                    "photo": f"{there}/photo/9/320?v=90",
                    "heat": f"{there}/attention/5/9?roi=7-10-20-100-110&own=1",
                    "width": 200,
                    "height": 100,
                    "box": [1, 2, 96, 97],
                },
                {
                    "title": "query: cosine to the neighbour RoI",
                    "photo": f"{there}/photo/7/320?v=70",
                    "heat": f"{there}/attention/5/7?roi=9-1-2-96-97&own=1",
                    "width": 400,
                    "height": 300,
                    "box": [10, 20, 100, 110],
                },
            ],
        },
        "attention": {
            "query": f"{there}/attention/4/7?roi=7-10-20-100-110",
            "neighbor": f"{there}/attention/4/9?roi=7-10-20-100-110",
            "label": "cosine to query RoI 1 · mine",
            "low": "0",
            "high": "1",
        },
        "place": {"data": "d", "set": "s", "q": "7"},
        "caption": [
            "Correspondence set s, changed: K 2 (4). K 2.",
            "Query one/a.jpg; neighbour 2 of 2, two/b.jpg, cosine 0.500.",
            "Encoder e (supervised).",
        ],
        "crop_url": f"{there}/crop/{{image}}/{{x}}-{{y}}-{{w}}-{{h}}",
        "can_judge": True,
        "prefetch": [f"{there}/photo/11/1280?v=110"],
    }


def test_a_payload_asks_no_store_and_makes_no_forward_pass(
    subject: PreviewSubject, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = asked(subject, rank=2, pair=PairName(0, 1), roi=RoiName("query", False, 1))
    looked = seen(look(subject, everything))

    def refused(*_: object) -> None:
        raise AssertionError("a page looks, then tells")

    for features in (BoxFeatures, PooledFeatures):
        monkeypatch.setattr(features, "get", refused)
    event.listen(Engine, "before_cursor_execute", refused)
    try:
        sent = payload(looked, AROUND)
        with pytest.raises(AssertionError, match="a page looks, then tells"):
            look(subject, everything)
    finally:
        event.remove(Engine, "before_cursor_execute", refused)
    assert sent["selected"] == {"q": 0, "k": 1}
    assert sent["outside"] is not None
    assert sent["matches"] is not None
    assert len(sent["neighbors"]) == 4


def test_a_photo_without_neighbours_and_a_deleted_set_are_sentences(
    subject: PreviewSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "neighbors", lambda *_: [])
    with pytest.raises(UserError, match=r"^This photo has no neighbour in the set\.$"):
        look(subject, asked(subject))
    monkeypatch.setattr(pair.read, "set_by_id", lambda *_: None)
    with pytest.raises(UserError, match=r"^The set was deleted\.$"):
        look(subject, asked(subject))
