"""Import of the reference's neighbours, and mining of RoIs and pairs between them."""

# ruff: noqa: F811  (fixtures of another module, asked for by name)
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.sets import read
from orl_explorer.db.sets.write import matched_images
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs import launcher
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace
from tests.named import import_neighbors
from tests.train.interchange.test_imports import fresh, listing, origin, sent, work  # noqa: F401

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture
def file(sent: Path) -> Path:
    """The neighbours of the set 'sent', with photos in reverse order."""
    (found,) = sent.glob("*_knn_instance.json")
    return found


def changed(file: Path, folder: Path, change: Callable[[dict], object]) -> Path:
    value = json.loads(file.read_text())
    change(value)
    (folder / "changed.json").write_text(json.dumps(value))
    return folder / "changed.json"


def test_with_the_neighbours_of_a_set_mining_finds_that_set(
    fresh: Workspace,
    origin: Workspace,
    file: Path,
    tiny_mine: MineConfig,
) -> None:
    other_k = tiny_mine.model_copy(update={"neighbors": 7})  # the file knows better
    work(fresh, import_neighbors(fresh, file, "demo", "starter", "back", other_k))
    made, first = (read.complete_set_named(w.store, n) for w, n in ((fresh, "back"), (origin, "sent")))
    assert MineConfig.of(made) == tiny_mine
    assert made.pair_count == first.pair_count
    for image in matched_images(origin.store, first.id):
        assert read.pairs_of(fresh.store, made.id, image) == read.pairs_of(origin.store, first.id, image)
        near = [
            [(n.rank, n.image.path) for n in read.neighbors_of(w.store, s.id, image)]
            for w, s in ((fresh, made), (origin, first))
        ]
        assert near[0] == near[1]


def test_neighbours_are_taken_as_they_are_given(
    fresh: Workspace,
    file: Path,
    tmp_path: Path,
    tiny_mine: MineConfig,
) -> None:
    def rotate(value: dict) -> None:
        lists = value["pseudo_annotations"]["knn_image_id"]
        value["pseudo_annotations"]["knn_image_id"] = [near[::-1] for near in lists]

    turned = changed(file, tmp_path, rotate)
    work(fresh, import_neighbors(fresh, turned, "demo", "starter", "turned", tiny_mine))
    made = read.complete_set_named(fresh.store, "turned")
    for image in matched_images(fresh.store, made.id):
        similarity = [n.similarity for n in read.neighbors_of(fresh.store, made.id, image)]
        assert similarity == sorted(similarity)
        assert {p.neighbor_rank for p in read.pairs_of(fresh.store, made.id, image)} == {1, 2, 3}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v["info"].clear(), 'lacks "knn_image_num" or "knn_image_id"'),
        (lambda v: v["pseudo_annotations"].pop("knn_image_id"), 'lacks "knn_image_num" or "knn_image_id"'),
        (lambda v: v["pseudo_annotations"]["knn_image_id"].pop(), "has neighbours of 11 images, but lists 12"),
        (lambda v: v["pseudo_annotations"]["knn_image_id"][0].pop(), 'has 2 neighbours, but "knn_image_num" is 3'),
        (lambda v: v["pseudo_annotations"]["knn_image_id"][0].__setitem__(0, 12), "has the neighbour 12, but images"),
        (lambda v: v["images"]["file_name"].pop(), "1 photos of 'demo', such as .*scene-000.jpg, are not in"),
    ],
)
def test_wrong_neighbours_are_refused_whole(
    fresh: Workspace,
    file: Path,
    tmp_path: Path,
    tiny_mine: MineConfig,
    change: Callable[[dict], object],
    sentence: str,
) -> None:
    wrong = changed(file, tmp_path, change)
    with pytest.raises(UserError, match=sentence):
        import_neighbors(fresh, wrong, "demo", "starter", "set", tiny_mine)
    assert not read.sets(fresh.store, complete_only=False)
    assert not launcher.runs(fresh.store)
