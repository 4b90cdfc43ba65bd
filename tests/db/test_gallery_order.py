"""The gallery: pages, sorting and search, and *next* and *previous* in the same order."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest

from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.gallery.order import GalleryOrder, _Names, gallery_count, gallery_page, step
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.photos import FoundPhoto, add_photos, ensure_dataset, known_files
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets.read import rois_of
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs, add_candidates, add_pairs, begin_set
from orl_explorer.db.store import Store
from orl_explorer.train.workspace import Workspace

# path, candidates, similarities of its pairs
MINED: dict[str, tuple[int, list[float]]] = {
    "b/two.jpg": (3, [0.5, 0.9]),
    "a_1.jpg": (2, [0.25]),
    "b/one.jpg": (3, []),
    "a%1.jpg": (1, [0.75, 0.75]),
    "c.jpg": (5, [0.25]),
    "B.jpg": (4, []),
}
NOT_MINED = "z.jpg"


class Gallery:
    """A dataset of seven photos, six of them in a set."""

    def __init__(self, store: Store) -> None:
        self.store = store
        dataset = ensure_dataset(store, "trip", "/photos", "folder")
        other = ensure_dataset(store, "other", "/elsewhere", "folder")
        add_photos(store, other.id, [FoundPhoto("b/foreign.jpg", 9, 9)], {})
        paths = [*MINED, NOT_MINED]
        add_photos(store, dataset.id, [FoundPhoto(path, 64, 48) for path in paths], {})
        self.ids = {path: image.id for path, image in known_files(store, dataset.id, paths).items()}
        self.dataset_id, self.set_id = dataset.id, self._mine(dataset.id)

    def _mine(self, dataset: int) -> int:
        run = add_run(self.store, Run(kind="mine", name="set", params={}))
        row = Encoder(name="e", architecture="resnet18", kind="imported", supervised=False, weights_sha256="0")
        row.weights_path, row.image_features, row.roi_features = "e.pt", 4, 4
        encoder = add_encoder(self.store, row)
        mined = begin_set(self.store, "set", dataset, encoder.id, {}, run.id)
        boxes = {path: np.array([[i, 0, 9, 9] for i in range(count)], np.int16) for path, (count, _) in MINED.items()}
        add_candidates(
            self.store, mined.id, [CandidateRows(self.ids[path], own, 50, False) for path, own in boxes.items()]
        )
        rois = rois_of(self.store, mined.id, list(self.ids.values()))
        batch = []
        for path, (_, similar) in MINED.items():
            one = np.full(len(similar), rois[self.ids[path]].ids[0])
            cosine, cycle = np.array(similar, np.float32), np.ones(len(similar), bool)
            batch.append(MinedImage(self.ids[path], (MinedPairs(1, one, one, cosine, cosine / 2, cycle),)))
        add_pairs(self.store, mined.id, batch)
        return mined.id

    def order(self, sort: str = "name", descending: bool = False, search: str = "") -> GalleryOrder:
        return GalleryOrder(self.dataset_id, self.set_id, sort, descending, search)

    def paths(self, order: GalleryOrder, offset: int = 0, limit: int = 100) -> list[str]:
        return [tile.path for tile in gallery_page(self.store, order, offset, limit)]


@pytest.fixture
def gallery(workspace: Workspace) -> Gallery:
    return Gallery(workspace.store)


BY_NAME = ["B.jpg", "a%1.jpg", "a_1.jpg", "b/one.jpg", "b/two.jpg", "c.jpg", "z.jpg"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", BY_NAME),
        # Equal numbers come in the order of ids, which is that of MINED.
        ("pairs", ["b/one.jpg", "B.jpg", "a_1.jpg", "c.jpg", "b/two.jpg", "a%1.jpg"]),
        ("regions", ["a%1.jpg", "a_1.jpg", "b/two.jpg", "b/one.jpg", "B.jpg", "c.jpg"]),
        # Photos without a pair have no mean; they come first.
        ("similarity", ["b/one.jpg", "B.jpg", "a_1.jpg", "c.jpg", "b/two.jpg", "a%1.jpg"]),
    ],
)
def test_photos_are_sorted_upwards_and_downwards(gallery: Gallery, sort: str, expected: list[str]) -> None:
    assert gallery.paths(gallery.order(sort)) == expected
    assert gallery.paths(gallery.order(sort, descending=True)) == expected[::-1]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("sort", ["name", "pairs"])
def test_pages_laid_side_by_side_are_the_whole(gallery: Gallery, sort: str, size: int) -> None:
    order = gallery.order(sort)
    whole = gallery.paths(order)
    pages = [gallery.paths(order, offset, size) for offset in range(0, len(whole), size)]
    assert [path for page in pages for path in page] == whole
    assert gallery_count(gallery.store, order) == len(whole)
    assert gallery.paths(order, offset=len(whole)) == []


def test_a_tile_says_what_the_set_found(gallery: Gallery) -> None:
    tiles = {tile.path: tile for tile in gallery_page(gallery.store, gallery.order(), 0, 10)}
    two = tiles["b/two.jpg"]
    assert (two.width, two.height, two.status, two.pair_count, two.candidate_count) == (64, 48, "ok", 2, 3)
    assert two.mean_similarity == pytest.approx(0.7)
    assert (tiles["b/one.jpg"].pair_count, tiles["b/one.jpg"].mean_similarity) == (0, None)
    assert (tiles["z.jpg"].pair_count, tiles["z.jpg"].candidate_count) == (None, None)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("b/", ["b/one.jpg", "b/two.jpg"]),
        ("%", ["a%1.jpg"]),  # no wildcard
        ("_", ["a_1.jpg"]),
        ("one.jpg", ["b/one.jpg"]),
        ("no such photo", []),
    ],
)
def test_a_search_finds_what_the_path_contains(gallery: Gallery, search: str, expected: list[str]) -> None:
    order = gallery.order(search=search)
    assert gallery.paths(order) == expected
    assert gallery_count(gallery.store, order) == len(expected)


class UnreadText:
    """The text of two paths, which fails if it is read."""

    def __len__(self) -> int:
        return len("abc\nabcdefg\n")

    def __getitem__(self, at: slice) -> NoReturn:
        raise AssertionError(f"looked at {at}")


def test_a_part_longer_than_every_path_is_found_without_a_look() -> None:
    names = _Names(np.array([5, 9]), UnreadText(), np.array([0, 4]))  # type: ignore[arg-type]
    assert names.with_part("abcdefgh").tolist() == []
    with pytest.raises(AssertionError):
        names.with_part("abcdefg")


@pytest.mark.parametrize("search", ["", "b"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["name", "pairs", "regions", "similarity"])
def test_next_and_previous_follow_the_gallery(gallery: Gallery, sort: str, descending: bool, search: str) -> None:
    order = gallery.order(sort, descending, search)
    listed = [tile.id for tile in gallery_page(gallery.store, order, 0, 100)]
    forward = {here: step(gallery.store, order, here, True) for here in listed}
    backward = {here: step(gallery.store, order, here, False) for here in listed}
    assert forward == dict(zip(listed, [*listed[1:], None], strict=True))
    assert backward == dict(zip(listed, [None, *listed[:-1]], strict=True))


def test_without_a_set_photos_come_by_name(gallery: Gallery) -> None:
    order = GalleryOrder(gallery.dataset_id, None, "pairs")
    assert gallery.paths(order) == BY_NAME
    assert step(gallery.store, order, gallery.ids["c.jpg"], True) == gallery.ids["z.jpg"]


def test_a_photo_outside_the_set_has_no_place_in_its_order(gallery: Gallery) -> None:
    assert step(gallery.store, gallery.order("pairs"), gallery.ids[NOT_MINED], True) is None


def test_a_superseded_photo_is_not_shown(gallery: Gallery) -> None:
    add_photos(gallery.store, gallery.dataset_id, [FoundPhoto("c.jpg", 32, 24)], {"c.jpg": gallery.ids["c.jpg"]})
    tiles = [t for t in gallery_page(gallery.store, gallery.order(), 0, 10) if t.path == "c.jpg"]
    assert [(t.width, t.id != gallery.ids["c.jpg"]) for t in tiles] == [(32, True)]
