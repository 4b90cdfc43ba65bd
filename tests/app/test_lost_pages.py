"""What the explorer and the command line say about photos that are gone, and about a folder that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from orl_explorer.db.lost import GONE, Lost, mark_lost
from orl_explorer.db.models import CorrespondenceSet, Dataset, Image
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.jobs.sets import rename
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words

pytestmark = pytest.mark.both_databases

LOST = {2: Lost(GONE, "the file is not there any more"), 4: Lost("unreadable", "image file is truncated")}


def _supersede(here: Workspace, image_id: int) -> None:
    """Give a photo's file a new row, as an ingest does after the file has changed."""
    with here.store.session() as session:
        old = session.get(Image, image_id)
        assert old is not None
        same = {c.name: getattr(old, c.name) for c in Image.__table__.columns if c.name not in ("id", "superseded_by")}
        old.superseded_by = image_id  # leaves the unique index before its successor is added
        session.flush()
        new = Image(**same)
        session.add(new)
        session.flush()
        old.superseded_by = new.id


@pytest.fixture
def moved(here: Workspace, tmp_path: Path) -> Path:
    """The folder that the photos lie in while the store names another."""
    real = Path(dataset_named(here.store, "demo").root)
    with here.store.session() as session:
        found = session.merge(dataset_named(here.store, "demo"))
        found.root = str(tmp_path / "unmounted")
    return real


def test_the_gallery_counts_gone_photos(here: Workspace, show: Show) -> None:
    mark_lost(here.store, LOST)
    at = show("explore")
    assert not at.exception
    assert ":red[1 unreadable] · :red[1 gone]" in words(at)


def test_the_pair_page_says_that_a_photo_is_gone_and_shows_its_pairs(here: Workspace, show: Show) -> None:
    mark_lost(here.store, LOST)
    at = show("pair", q="2")
    assert not at.exception
    [told] = [warning.value for warning in at.warning if "001" in warning.value]
    assert told.startswith(r"images/scene\-001\.jpg is gone: the file is not there any more; noticed ")
    assert told.endswith("The set keeps its boxes and pairs. New sets leave the photo out.")


def test_pages_say_that_a_photo_has_changed_since_the_set_was_mined(here: Workspace, show: Show) -> None:
    _supersede(here, 2)
    _supersede(here, 4)
    mark_lost(here.store, {4: Lost("unreadable", "image file is truncated")})  # marks the row that the file has now
    for page in ("pair", "attention"):
        at = show(page, q="2")
        assert not at.exception
        assert [w.value for w in at.warning if "001" in w.value] == [
            r"images/scene\-001\.jpg has changed since the set was mined. The picture is the present one; boxes, pairs "
            "and similarities are those of the earlier one. New sets use the present one."
        ]
        at = show(page, q="4")
        [told] = [w.value for w in at.warning if "003" in w.value]
        assert told.startswith(r"images/scene\-003\.jpg cannot be read: image file is truncated; noticed ")
        assert told.endswith("The set keeps its boxes and pairs. New sets leave the photo out.")


def test_a_card_of_matches_says_what_became_of_a_photo(here: Workspace, show: Show) -> None:
    mark_lost(here.store, LOST | {8: Lost("unreadable", "image file is truncated")})
    _supersede(here, 6)
    cards = component(show("matches", by="Most similar"))["cards"]
    told = {side["name"]: side["lost"] for card in cards for side in (card["query"], card["key"]) if side["lost"]}
    assert told == {"scene-001.jpg": "gone", "scene-007.jpg": "unreadable", "scene-005.jpg": "changed"}


def test_attention_names_a_lost_photo_that_is_in_no_set(here: Workspace, show: Show) -> None:
    mark_lost(here.store, {2: Lost("unreadable", "image file is truncated")})
    with here.store.session() as session:
        session.execute(update(CorrespondenceSet).values(status="deleted"))
    [told] = [w.value for w in show("attention", q="2").warning]
    assert told.startswith(r"images/scene\-001\.jpg cannot be read: image file is truncated; noticed ")
    assert told.endswith("UTC. New sets leave the photo out.")


def test_a_set_says_which_of_its_photos_are_lost(here: Workspace, show: Show) -> None:
    mark_lost(here.store, LOST)
    assert "Photos lost since it was mined: 1 gone, 1 unreadable." in words(show("sets"))


def test_a_folder_that_is_not_there_can_be_named_anew(here: Workspace, show: Show, moved: Path, tmp_path: Path) -> None:
    at = show("explore")
    assert not at.exception
    assert [w.value.replace("\\", "") for w in at.warning] == [
        f"The folder {tmp_path}/unmounted of the dataset 'demo' is not there. Mount it, or, if the photos are "
        "elsewhere, run `orl datasets move demo FOLDER`."
    ]
    assert "The folder of this dataset is not there." in words(at)
    field = next(t for t in at.text_input if t.label == "Folder that holds the photos now")
    field.input(str(tmp_path))
    button = next(b for b in at.button if b.label == "Move dataset")
    button.click().run()
    assert "does not hold the photos of 'demo': of 12, 0 are there" in at.error[0].value.replace("\\", "")
    field = next(t for t in at.text_input if t.label == "Folder that holds the photos now")
    field.input(f"{moved}/")
    next(b for b in at.button if b.label == "Move dataset").click().run()
    assert not at.exception
    assert dataset_named(here.store, "demo").root == str(moved)
    assert not at.warning


def test_a_read_only_explorer_says_so_without_a_form(
    here: Workspace, show: Show, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.app.pages.start.read_only", lambda: True)
    at = show("explore")
    assert len(at.warning) == 1
    assert not [b for b in at.button if b.label == "Move dataset"]


def test_no_setting_is_tried_on_a_lost_photo(here: Workspace, show: Show) -> None:
    mark_lost(here.store, LOST)
    at = show("tune")
    assert not at.exception
    assert "Tried on 10 of the 12 photos of the set" in words(at)
    assert "Photos of the set that are not drawn: 1 gone, 1 unreadable." in words(at)


def test_a_set_that_was_renamed_or_deleted_elsewhere_is_followed_or_named(here: Workspace, show: Show) -> None:
    at = show("matches")
    rename(here, "demo-starter", "mine")
    at.run()
    assert not at.exception
    assert at.session_state["set"] == "mine"
    with here.store.session() as session:
        session.execute(update(CorrespondenceSet).values(status="deleted"))
    at.run()
    assert not at.exception
    assert [toast.value for toast in at.toast] == ["The set mine was deleted."]
    assert not at.run().toast


def test_a_dataset_of_few_photos_can_be_mined_with_fewer_neighbours(here: Workspace, show: Show) -> None:
    with here.store.session() as session:
        session.execute(update(CorrespondenceSet).values(status="deleted"))
        session.execute(update(Dataset).values(image_count=5))
    at = show("explore")
    next(b for b in at.button if b.label == "Mine set").click().run()
    assert at.error[0].value.replace("\\", "") == (
        "K = 10 neighbours need at least 11 photos. The dataset 'demo' has 5. Lower K (--neighbors) or add photos."
    )
    assert next(n for n in at.number_input if n.label == "K · neighbours").value == 10
