"""Imports of the reference's files restore what was exported, and import nothing of an invalid file."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import csv
from sqlalchemy import text

from orl_explorer.db.models import Image, Run
from orl_explorer.db.people.actions import actions
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.proposals import add_proposals, keep_proposals, proposals_of
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import read as rows
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.ingest.named_photos import positions
from orl_explorer.train.interchange import imports, reference
from orl_explorer.train.interchange.exports import export
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.kinds import job_of
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import NewRun
from tests.named import check, import_correspondences, import_proposals, mine

pytestmark = pytest.mark.usefixtures("remembered")

WRITTEN = ("roi", "proposal", "correspondence_set", "set_image", "candidate", "neighbor", "pair", "run")


@pytest.fixture(scope="module")
def listing(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO json that lists the photos backwards."""
    names = sorted((path.name for path in small_scenes.iterdir()), reverse=True)
    images = [{"id": 1000 + n, "file_name": name, "width": 1, "height": 1} for n, name in enumerate(names)]
    file = tmp_path_factory.mktemp("listing") / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return file


@pytest.fixture(scope="module")
def origin(template: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine: MineConfig) -> Workspace:
    """A workspace with the mined set 'sent'. Do not change it."""
    path = tmp_path_factory.mktemp("origin") / "workspace"
    shutil.copytree(template, path)
    made = open_workspace(path)
    run = add_run(made.store, Run(kind="mine", name="sent", params={}))
    mine(made, "demo", "starter", "sent", tiny_mine, run_id=run.id, workers=1)
    return made


@pytest.fixture(scope="module")
def sent(origin: Workspace, listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference's three files of the set 'sent'."""
    folder = tmp_path_factory.mktemp("sent") / "reference"
    export(origin, "sent", "reference", folder, images=listing)
    return folder


@pytest.fixture
def fresh(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with only the photos and the encoder, whose runs are queued but never started."""
    shutil.copytree(template, tmp_path / "fresh")
    monkeypatch.setattr(launcher, "_start", lambda _, run: run)
    return open_workspace(tmp_path / "fresh")


def work(workspace: Workspace, run: Run, progress: Progress | None = None) -> None:
    """Do the work of a run's process."""
    job_of(run).work(workspace, run.id, progress or Progress())


def bring(workspace: Workspace, file: Path, name: str = "sent", **options: Any) -> Run:
    return import_correspondences(workspace, file, "demo", "starter", name, **options)


def content(workspace: Workspace, *tables: str) -> dict[str, list[tuple]]:
    with workspace.store.session() as session:
        return {t: sorted(map(tuple, session.execute(text(f"SELECT * FROM {t}"))), key=repr) for t in tables or WRITTEN}


def test_what_went_out_comes_in_and_goes_out_the_same(
    fresh: Workspace, origin: Workspace, sent: Path, listing: Path, tmp_path: Path
) -> None:
    found = import_proposals(fresh, sent / "sent_selective_search_proposal.json", "demo", "theirs", images=listing)
    assert (found.photos, found.unreadable) == (12, 0)
    logged = actions(fresh.store)[0]
    assert (logged.action, logged.subject, logged.detail) == ("add", "proposals theirs", "of dataset demo")
    run = bring(fresh, sent / "sent_instance_correspondence.json", proposals="theirs")
    assert run.params["imported"] == str(sent / "sent_instance_correspondence.json")
    work(fresh, run)
    export(fresh, "sent", "reference", tmp_path / "again", images=listing)
    names = sorted(path.name for path in sent.iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (sent / name).read_bytes()

    # What the files do not say was measured again, and found the same.
    for workspace, file in ((origin, "before.csv"), (fresh, "after.csv")):
        export(workspace, "sent", "csv", tmp_path / file)
    before, after = (csv.read_csv(tmp_path / file) for file in ("before.csv", "after.csv"))
    for name in ("similarity", "margin", "neighbor_similarity"):
        one, other = (table[name].to_numpy(zero_copy_only=False) for table in (before, after))
        np.testing.assert_allclose(one, other, atol=1e-5)
    measured = ("similarity", "margin", "neighbor_similarity")
    assert before.drop_columns(measured).equals(after.drop_columns(measured))
    sets = [rows.complete_set_named(w.store, "sent") for w in (origin, fresh)]
    counts = [(s.image_count, s.candidate_count, s.pair_count, s.fallback_count) for s in sets]
    assert counts[0] == counts[1]
    assert sets[1].params == sets[0].params | {"proposals": "theirs", "proposal_scale": 1.0}
    assert sets[1].quality == pytest.approx(sets[0].quality, abs=1e-5)


def test_without_their_proposals_the_rois_are_kept_as_such(fresh: Workspace, sent: Path) -> None:
    run = bring(fresh, sent / "sent_instance_correspondence.json", "alone")
    work(fresh, run)
    made = rows.complete_set_named(fresh.store, "alone")
    ids = [image.id for image in usable_images(fresh.store, made.dataset_id)]
    rois = rows.rois_of(fresh.store, made.id, ids)
    raw = proposals_of(fresh.store, ids, "imported:alone")
    assert {i: boxes.tolist() for i, boxes in raw.items()} == {i: own.boxes.tolist() for i, own in rois.items()}
    add_proposals(fresh.store, "imported:other", raw)
    with pytest.raises(UserError, match="mported proposals 'other' already exist. Use them with --proposals other, or"):
        bring(fresh, sent / "sent_instance_correspondence.json", "other")


def test_mining_with_imported_proposals_finds_what_mining_with_search_finds(
    fresh: Workspace, origin: Workspace, sent: Path, listing: Path, tiny_mine: MineConfig, new_run: NewRun
) -> None:
    config = tiny_mine.model_copy(update={"proposals": "theirs"})
    with pytest.raises(UserError, match="12 of the 12 photos of 'demo' have no proposals 'theirs'"):
        check(fresh, "demo", "starter", "set", config)
    import_proposals(fresh, sent / "sent_selective_search_proposal.json", "demo", "theirs", images=listing)
    mine(fresh, "demo", "starter", "set", config, run_id=new_run(fresh, "mine", "set"), workers=1)
    tables = ("roi", "set_image", "candidate", "neighbor", "pair")
    assert content(fresh, *tables) == content(origin, *tables)


class StopIn(Progress):
    """Stops a stage after a block of one of its phases."""

    def __init__(self, phase: str) -> None:
        self.stop, self.now = phase, ""

    def phase(self, name: str, total: int) -> None:
        self.now = name

    def advance(self, count: int = 1) -> None:
        if self.now == self.stop:
            raise Stopped


def test_an_import_that_was_stopped_goes_on(
    fresh: Workspace, sent: Path, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("BLOCK", "MATCHED"):
        monkeypatch.setattr(f"orl_explorer.train.mining.given.{size}", 5)
    run = bring(fresh, sent / "sent_instance_correspondence.json", "alone")
    for phase in ("Storing RoIs", "Embedding photos", "Embedding RoIs", "Storing neighbours"):
        with pytest.raises(Stopped):
            work(fresh, run, StopIn(phase))
    for _ in range(2):
        with pytest.raises(Stopped):
            work(fresh, run, StopIn("Measuring pairs"))
    with pytest.raises(StoreError, match="not complete"):
        rows.complete_set_named(fresh.store, "alone")
    work(fresh, run)
    export(fresh, "alone", "reference", tmp_path / "again", images=listing)
    again = tmp_path / "again" / "alone_instance_correspondence.json"
    assert again.read_bytes() == (sent / "sent_instance_correspondence.json").read_bytes()


def test_pairs_keep_the_order_and_the_choice_of_the_file(fresh: Workspace, sent: Path, tmp_path: Path) -> None:
    found = read(sent)
    theirs = found["pseudo_annotations"]
    theirs["knn_image_id"][0] = [0, 5, 3]  # the photo itself, as duplicates make the reference do
    best = [[*theirs["bbox"][0][-1], *theirs["bbox"][k][0]] for k in (0, 5, 3)]
    theirs["knn_bbox_pair"][0] = [[best[0]], [], [best[2], [*theirs["bbox"][0][0], *theirs["bbox"][3][-1]]]]
    work(fresh, bring(fresh, written(tmp_path, found), "theirs"))
    made = rows.complete_set_named(fresh.store, "theirs")
    first = next(i for i in usable_images(fresh.store, 1) if i.path == found["images"]["file_name"][0])
    pairs = rows.pairs_of(fresh.store, made.id, first.id)
    assert [(p.neighbor_rank, p.rank, [*p.query_box, *p.key_box]) for p in pairs] == [
        (1, 1, best[0]),
        (3, 1, best[2]),
        (3, 2, theirs["knn_bbox_pair"][0][2][1]),
    ]


# What is wrong with a file ------------------------------------------------------------------------------


def read(sent: Path) -> dict[str, Any]:
    return json.loads((sent / "sent_instance_correspondence.json").read_text())


def written(folder: Path, value: Any) -> Path:
    file = folder / "file.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return file


def test_a_photo_with_one_box_may_have_it_without_a_list(
    fresh: Workspace, listing: Path, tmp_path: Path, small_scenes: Path
) -> None:
    file = written(tmp_path, {"bbox": [[1, 2, 30, 40], [], *[[[5, 6, 70.0, 80]]] * 10]})
    assert import_proposals(fresh, file, "demo", "few", images=listing).boxes == 11
    names = sorted((path.name for path in small_scenes.iterdir()), reverse=True)
    image = {i.path: i.id for i in usable_images(fresh.store, 1)}
    raw = proposals_of(fresh.store, list(image.values()), "imported:few")
    assert [raw[image[name]].tolist() for name in names[:3]] == [[[1, 2, 30, 40]], [], [[5, 6, 70, 80]]]


BOXES = [[[1, 2, 30, 40]]] * 12
WRONG_PROPOSALS = [
    ({"bbox": BOXES[1:]}, "has proposals of 11 images, but lists 12."),
    ({"bbox": [*BOXES, []]}, "has proposals of more images than the 12 that it lists."),
    ({"bbox": [[[1, 2, 30, 4000]], *BOXES[1:]]}, "the box [1, 2, 30, 4000] is not inside scene-011.jpg, which is"),
    ({"bbox": [[[-1, 2, 30, 40]], *BOXES[1:]]}, "the box [-1, 2, 30, 40] is not inside"),
    ({"bbox": [[[1, 2, 0, 40]], *BOXES[1:]]}, "the box [1, 2, 0, 40] is not inside"),
    ({"bbox": [[[1, 2, 3e9, 40]], *BOXES[1:]]}, "the boxes of image 0 are [[1, 2, 3000000000.0, 40]], not lists of"),
    ({"bbox": [*BOXES[1:], [[1, 2, 3]]]}, "the boxes of image 11 are [[1, 2, 3]], not lists of x, y, w, h in pixels."),
    ({"bbox": [*BOXES[1:], [[1, 2, 3, 4], [1]]]}, "the boxes of image 11 are"),
    ({"bbox": [*BOXES[1:], [[1, 2, 3.5, 4]]]}, "the boxes of image 11 are [[1, 2, 3.5, 4]]"),
    ({"bbox": [*BOXES[1:], [["a", "b", "c", "d"]]]}, "the boxes of image 11 are [['a', 'b', 'c', 'd']]"),
    ({"bbox": [*BOXES[1:], None]}, "the boxes of image 11 are None"),
    ({"images": [], "annotations": []}, 'is not a selective_search_proposal file: it has no "bbox".'),
    ('{"bbox": [[[1, 2, 30, 40]], [[1, 2', "is not complete, valid JSON:"),
    ("no json", "is not complete, valid JSON:"),
    ("", "is not complete, valid JSON:"),
]


@pytest.mark.parametrize(("value", "sentence"), WRONG_PROPOSALS, ids=[s for _, s in WRONG_PROPOSALS])
def test_wrong_proposals_are_refused_whole(
    fresh: Workspace, listing: Path, tmp_path: Path, value: Any, sentence: str
) -> None:
    before = content(fresh)
    with pytest.raises(UserError) as refusal:
        import_proposals(fresh, written(tmp_path, value), "demo", "x", images=listing)
    assert sentence in str(refusal.value)
    assert content(fresh) == before


def test_an_order_a_name_and_photos_are_needed(fresh: Workspace, listing: Path, tmp_path: Path) -> None:
    file = written(tmp_path, {"bbox": BOXES})
    with pytest.raises(UserError, match=r"does not hold exactly one annotations/\*.json. Name the COCO file"):
        import_proposals(fresh, file, "demo", "x")
    for name in ("", "search", "annotations", "map", "search+map"):
        with pytest.raises(UserError, match=f"Invalid name for imported proposals: {re.escape(name)}"):
            import_proposals(fresh, file, "demo", name, images=listing)
    with pytest.raises(UserError, match=r"file.json is not a COCO annotation file: it lists no images."):
        import_proposals(fresh, file, "demo", "x", images=file)
    with pytest.raises(UserError, match=r"Cannot read .*none.json: No such file or directory."):
        import_proposals(fresh, tmp_path / "none.json", "demo", "x", images=listing)
    fewer = json.loads(listing.read_text())
    fewer["images"].pop()
    (tmp_path / "fewer.json").write_text(json.dumps(fewer))
    with pytest.raises(UserError, match=r"1 photos of 'demo', such as scene-000.jpg, are not in .*fewer.json."):
        import_proposals(fresh, file, "demo", "x", images=tmp_path / "fewer.json")
    import_proposals(fresh, file, "demo", "x", images=listing)
    with pytest.raises(UserError, match="The dataset 'demo' already has proposals 'x'"):
        import_proposals(fresh, file, "demo", "x", images=listing)


def test_what_an_interrupted_import_left_is_kept_and_the_rest_is_added(
    fresh: Workspace, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_proposals(fresh.store, "imported:x", {n: np.array([[1, 2, 30, 40]]) for n in (1, 9)})
    file, before = written(tmp_path, {"bbox": BOXES}), content(fresh)

    def full(store: Store, method: str, block: dict[int, np.ndarray]) -> list[int]:
        if 7 in block:
            raise StoreError("The disk is full.")
        return keep_proposals(store, method, block)

    with monkeypatch.context() as patched, pytest.raises(StoreError, match="full"):
        patched.setattr(imports, "BLOCK", 5)  # photos 12 to 8 are stored, of which 9 was there
        patched.setattr(imports, "keep_proposals", full)
        import_proposals(fresh, file, "demo", "x", images=listing)
    assert content(fresh) == before
    assert import_proposals(fresh, file, "demo", "x", images=listing).boxes == 12
    ids = list(range(1, 13))
    boxes = proposals_of(fresh.store, ids, "imported:x")
    assert {image: own.tolist() for image, own in boxes.items()} == {n: [[1, 2, 30, 40]] for n in ids}


def test_boxes_that_photos_have_by_another_file_are_not_replaced(
    fresh: Workspace, listing: Path, tmp_path: Path
) -> None:
    """A set may have been mined with them."""
    add_proposals(fresh.store, "imported:x", {n: np.array([[0, 0, 9, 9]]) for n in (1, 2)})
    before, file = content(fresh), written(tmp_path, {"bbox": BOXES})
    with pytest.raises(UserError) as refusal:
        import_proposals(fresh, file, "demo", "x", images=listing)
    assert str(refusal.value) == (
        f"2 photos have other boxes in {file} than in 'x' of 'demo', such as scene-001.jpg. Choose another name."
    )
    assert content(fresh) == before


def drop(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda found: found.pop(key)


def put(value: Any, *keys: Any) -> Callable[[dict[str, Any]], Any]:
    def change(found: Any) -> None:
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = value

    return change


P = "pseudo_annotations"
WRONG_SETS = [
    (drop("info"), 'is not an instance_correspondence file: its "info" lacks bbox_min_size, bbox_max_aspect_ratio,'),
    (lambda f: f["info"].pop("bbox_max_iou"), 'its "info" lacks bbox_max_iou.'),
    (put(0, "info", "bbox_min_size"), "Invalid value for min_size: 0."),
    (put("many", "info", "knn_image_num"), "Invalid value for neighbors: many."),
    (drop("images"), 'it has no "images" with a "file_name" for each.'),
    (put("x.jpg", "images", "file_name", 3), "x.jpg, which"),
    (lambda f: f["images"].update(file_name=f["images"]["file_name"][:1] * 12), "scene-011.jpg twice."),
    (lambda f: f["images"]["file_name"].pop(), "has RoIs of more images than the 11 that it lists."),
    (lambda f: f[P].pop("bbox"), 'is not an instance_correspondence file: it has no "bbox".'),
    (lambda f: f[P]["bbox"].pop(), "has RoIs of 11 images, but lists 12."),
    (put([], P, "bbox", 0), "scene-011.jpg has no RoI."),
    (put([[0, 0, 9999, 9]], P, "bbox", 0), "the box [0, 0, 9999, 9] is not inside scene-011.jpg"),
    (put([[0, 0, 9]], P, "bbox", 0), "the boxes of image 0 are [[0, 0, 9]]"),
    (put([1, 2, 12], P, "knn_image_id", 0), "scene-011.jpg has the neighbour 12, but images are numbered 0 to 11."),
    (put([1, -2, 3], P, "knn_image_id", 0), "scene-011.jpg has the neighbour -2, but images"),
    (put([1, 2], P, "knn_image_id", 0), 'scene-011.jpg has 2 neighbours, but "knn_image_num" is 3.'),
    (put([1, 2, "a"], P, "knn_image_id", 0), "the neighbours of image 0 are [1, 2, 'a'], not a list of image numbers."),
    (lambda f: f[P].pop("knn_image_id"), "has neighbours of 0 images, but lists 12."),
    (lambda f: f[P].pop("knn_bbox_pair"), "has pairs of 0 images, but lists 12."),
    (put([[], []], P, "knn_bbox_pair", 0), "scene-011.jpg has pairs with 2 of its 3 neighbours."),
    (put([[[1] * 7], [], []], P, "knn_bbox_pair", 0), "the pairs of image 0 are not lists of 8 whole numbers for each"),
    (put(7, P, "knn_bbox_pair", 0), "the pairs of image 0 are not lists of 8 whole numbers for each neighbour."),
    (
        put([[[1] * 8], [], []], P, "knn_bbox_pair", 0),
        "names the box [1, 1, 1, 1], which is not a RoI of scene-011.jpg.",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG_SETS, ids=[s for _, s in WRONG_SETS])
def test_wrong_correspondences_are_refused_whole(
    fresh: Workspace, sent: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    before, folder = content(fresh), sorted(fresh.path.iterdir())
    found = read(sent)
    change(found)
    with pytest.raises(UserError) as refusal:
        bring(fresh, written(tmp_path, found))
    assert sentence in str(refusal.value)
    assert content(fresh) == before
    assert sorted(fresh.path.iterdir()) == folder


@pytest.mark.parametrize("other", ["sent_knn_instance.json", "sent_selective_search_proposal.json"])
def test_a_file_of_another_kind_is_refused(fresh: Workspace, sent: Path, listing: Path, other: str) -> None:
    with pytest.raises(UserError, match='is not an instance_correspondence file: its "info" lacks bbox_min_size'):
        bring(fresh, sent / other)
    with pytest.raises(UserError, match=r'is not a selective_search_proposal file: it has no "bbox".'):
        import_proposals(fresh, sent / "sent_instance_correspondence.json", "demo", "x", images=listing)


def test_a_truncated_file_of_correspondences_is_refused(fresh: Workspace, sent: Path, tmp_path: Path) -> None:
    whole = (sent / "sent_instance_correspondence.json").read_text()
    for share in (0.05, 0.3, 0.6, 0.99):
        with pytest.raises(UserError, match="is not complete, valid JSON"):
            bring(fresh, written(tmp_path, whole[: int(share * len(whole))]))


def test_names_that_are_not_known(fresh: Workspace, sent: Path) -> None:
    file = sent / "sent_instance_correspondence.json"
    with pytest.raises(StoreError, match="no dataset 'x'"):
        import_correspondences(fresh, file, "x", "starter", "set")
    with pytest.raises(StoreError, match="no encoder 'x'"):
        import_correspondences(fresh, file, "demo", "x", "set")
    with pytest.raises(UserError, match="no proposals 'x'"):
        bring(fresh, file, "set", proposals="x")
    bring(fresh, file, "set")
    with pytest.raises(UserError, match="'set' already exists"):
        bring(fresh, file, "set")


def test_photos_that_have_changed_since_the_file_was_read_are_noticed(fresh: Workspace, sent: Path) -> None:
    run = bring(fresh, sent / "sent_instance_correspondence.json")
    with fresh.store.session() as session:
        session.get_one(Image, 3).status = "unreadable"
    with pytest.raises(UserError, match="Photos of 'demo' have changed since the file was read. Import it again."):
        work(fresh, run)


def test_a_name_means_the_path_that_it_is_or_ends() -> None:
    paths = ["a/1.jpg", "b/1.jpg", "b/2.jpg", "1.jpg", "b/c-2.jpg"]
    found = positions(["b/1.jpg", "2.jpg", "1.jpg", "c-2.jpg"], paths, Path("f"), "the dataset")
    assert found == [1, 2, 3, 4]
    with pytest.raises(UserError, match=r"1.jpg, which f lists, matches several photos of here."):
        positions(["1.jpg"], paths[:3], Path("f"), "here")


def test_a_file_is_read_a_photo_at_a_time(tmp_path: Path) -> None:
    boxes = [[x, 2, 30, 40] for x in range(1000)]
    pairs = [[[1, 2, 3, 4, 5, 6, 7, 8]] * 5] * 10
    file = tmp_path / "big.json"
    with file.open("w") as out:
        theirs = {"bbox": iter([boxes] * 300), "knn_bbox_pair": iter([pairs] * 4000)}
        out.writelines(reference.json_parts({"pseudo_annotations": theirs}))
    size = file.stat().st_size
    assert size > 8_000_000
    tracemalloc.start()
    try:
        assert sum(len(own) for own in reference.read_rois(file)) == 300_000
        assert sum(len(with_each) for with_each in reference.read_pairs(file)) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_the_data_sets_own_annotations_give_the_order(workspace: Workspace, scenes: Path, tmp_path: Path) -> None:
    ingest(workspace, scenes, name="demo")
    assert import_proposals(workspace, written(tmp_path, {"bbox": BOXES}), "demo", "x").photos == 12
    assert dataset_named(workspace.store, "demo").layout == "coco"
