"""What an ingest left out or changed: stored by kind, replaced as a whole, counted, and a filter of the gallery."""

from __future__ import annotations

from pathlib import Path

import pytest

from orl_explorer.db.findings import Finding, Tally, findings_of, replace_findings, tallies
from orl_explorer.db.gallery.order import GalleryOrder, gallery_ids
from orl_explorer.db.photos import FoundPhoto, add_photos, count_photos, ensure_dataset, unite
from orl_explorer.db.store import Store, open_store

CLIPPED = Finding("box-clipped", "a.jpg", 2, "beyond the right side", image_id=1)
UNREAD = [Finding("other-picture", "x.heic", detail=".heic"), Finding("other-picture", "y.heic", detail=".heic")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(f"sqlite:///{tmp_path}/orl.sqlite")
    for name, paths in {"one": ("a.jpg", "b.jpg", "c.jpg"), "two": ("d.jpg",)}.items():
        dataset = ensure_dataset(store, name, f"/{name}", "folder").id
        add_photos(store, dataset, [FoundPhoto(p, error="cut" if p == "c.jpg" else None) for p in paths], {})
        count_photos(store, dataset)
    return store


def test_findings_are_read_in_their_order_and_counted_by_kind(store: Store) -> None:
    replace_findings(store, 1, [UNREAD[0], CLIPPED, UNREAD[1]])
    assert findings_of(store, 1) == [UNREAD[0], CLIPPED, UNREAD[1]]
    assert findings_of(store, 1, "other-picture", limit=1, offset=1) == [UNREAD[1]]
    assert tallies(store, 1) == {"box-clipped": Tally(1, 2), "other-picture": Tally(2, 2)}
    assert tallies(store, 2) == {}


def test_findings_of_the_next_ingest_replace_those_of_the_last(store: Store) -> None:
    replace_findings(store, 1, [CLIPPED])
    replace_findings(store, 2, UNREAD)
    replace_findings(store, 1, [])
    assert (findings_of(store, 1), findings_of(store, 2)) == ([], UNREAD)


def test_a_union_has_the_findings_of_its_parts(store: Store) -> None:
    union = unite(store, ["one", "two"]).id
    replace_findings(store, 1, [CLIPPED])
    replace_findings(store, 2, UNREAD)
    assert tallies(store, union) == {"box-clipped": Tally(1, 2), "other-picture": Tally(2, 2)}


def test_the_gallery_shows_the_photos_of_a_finding_or_of_a_state(store: Store) -> None:
    def shown(found: str) -> list[int]:
        return gallery_ids(store, GalleryOrder(1, found=found)).tolist()

    assert (shown("box-clipped"), shown("unreadable"), shown("gone")) == ([], [3], [])
    replace_findings(store, 1, [CLIPPED, *UNREAD])
    assert (shown("box-clipped"), shown("other-picture")) == ([1], [])
