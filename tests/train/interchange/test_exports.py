"""The exact content of the exports of a small set."""

from __future__ import annotations

import csv
import errno
import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import Encoder, Image, Run
from orl_explorer.db.photos import FoundPhoto, add_photos, current_images, ensure_dataset, unite
from orl_explorer.db.proposals import add_proposals
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import rois_of
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs
from orl_explorer.train.errors import UserError
from orl_explorer.train.interchange import exports
from orl_explorer.train.interchange.exports import export
from orl_explorer.train.interchange.reference import json_parts
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace

A, B, C, D = [0, 0, 100, 100], [50, 0, 100, 100], [10, 20, 100, 120], [1, 2, 3, 4]
RAW = {1: [A, D, B], 2: [C], 3: [D]}
# of the query, the neighbour, and each pair's two RoIs, cosine, margin and cycle
PAIRS = {
    (1, 2): [(1, 0, 0.875, None, True), (0, 0, 0.125, None, False)],
    (1, 3): [],
    (2, 1): [(0, 1, 0.875, 0.75, True)],
    (2, 3): [(0, 0, 0.5, None, True)],
    (3, 2): [(0, 0, 0.5, None, True)],
    (3, 1): [(0, 0, 0.25, 0.125, True)],
}
NEAREST = {1: [2, 3], 2: [1, 3], 3: [2, 1]}


def made_by_hand(workspace: Workspace, config: MineConfig, objectness: dict[int, list[float]] | None = None) -> None:
    """The complete set 'set' of three photos. Their names are numbers in another order than their ids."""
    store = workspace.store
    dataset = ensure_dataset(store, "trip", "/photos", "coco")
    paths = [f"images/0000{number}.jpg" for number in (30, 25, 34)]
    add_photos(store, dataset.id, [FoundPhoto(path, 640, 480) for path in paths], {})
    row = Encoder(name="e", architecture="resnet18", kind="imported", supervised=False, weights_sha256="0")
    row.weights_path, row.image_features, row.roi_features = "e.pt", 4, 4
    add_encoder(store, row)
    run = add_run(store, Run(kind="mine", name="set", params={}))
    set_id = write.begin_set(store, "set", dataset.id, 1, config.model_dump(), run.id).id
    add_proposals(store, config.method, {i: np.array(boxes) for i, boxes in RAW.items()})
    kept = {1: [A, B], 2: [C], 3: [D]}
    scores = {i: None if objectness is None else np.array(objectness[i], np.float32) for i in kept}
    write.add_candidates(
        store, set_id, [CandidateRows(i, np.array(own), len(RAW[i]), i == 3, scores[i]) for i, own in kept.items()]
    )
    nearness = np.array([[0.75, 0.5], [0.75, 0.25], [0.5, 0.25]], np.float32)
    write.add_neighbors(store, set_id, np.array([1, 2, 3]), np.array(list(NEAREST.values())), nearness)
    rois = {i: own.ids for i, own in rois_of(store, set_id, [1, 2, 3]).items()}
    batch = []
    for image, nearest in NEAREST.items():
        found = []
        for rank, neighbor in enumerate(nearest, 1):
            pairs = PAIRS[image, neighbor]
            query, key = rois[image][[p[0] for p in pairs]], rois[neighbor][[p[1] for p in pairs]]
            cosine = np.array([p[2] for p in pairs], np.float32)
            margin = np.array([np.nan if p[3] is None else p[3] for p in pairs], np.float32)
            found.append(MinedPairs(rank, query, key, cosine, margin, np.array([p[4] for p in pairs], bool)))
        batch.append(MinedImage(image, tuple(found)))
    write.add_pairs(store, set_id, batch)
    write.publish_set(store, set_id)


@pytest.fixture
def here(workspace: Workspace) -> Workspace:
    made_by_hand(workspace, MineConfig(neighbors=2))
    return workspace


NAMES, NUMBERS = ["000025.jpg", "000030.jpg", "000034.jpg"], [25, 30, 34]
IMAGES = {"file_name": NAMES, "id": NUMBERS}
ROIS = [[C], [A, B], [D]]
INDICES = [[1, 2], [0, 2], [0, 1]]
MATCHED = [
    [[[*C, *B]], [[*C, *D]]],
    [[[*B, *C], [*A, *C]], []],
    [[[*D, *C]], [[*D, *A]]],
]


def test_the_references_three_files(here: Workspace, tmp_path: Path) -> None:
    export(here, "set", "reference", tmp_path / "out")
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "set_selective_search_proposal.json": json.dumps({"bbox": [[C], [A, D, B], [D]]}),
        "set_knn_instance.json": json.dumps(
            {
                "info": {"knn_image_num": 2},
                "images": IMAGES,
                "pseudo_annotations": {"image_id": NUMBERS, "knn_image_id": INDICES},
            }
        ),
        "set_instance_correspondence.json": json.dumps(
            {
                "info": {
                    "bbox_min_size": 96,
                    "bbox_max_aspect_ratio": 3.0,
                    "bbox_max_iou": 0.5,
                    "intra_bbox_num": 100,
                    "knn_image_num": 2,
                    "knn_bbox_pair_ratio": 0.1,
                },
                "images": IMAGES,
                "pseudo_annotations": {
                    "image_id": NUMBERS,
                    "bbox": ROIS,
                    "knn_image_id": INDICES,
                    "knn_bbox_pair": MATCHED,
                },
            }
        ),
    }


def test_blocks_leave_no_trace(here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("reference", "csv", "coco"):
        export(here, "set", form, tmp_path / form)
    monkeypatch.setattr(exports, "BLOCK", 1)
    for form in ("reference", "csv", "coco"):
        export(here, "set", form, tmp_path / f"{form}-1")
        if form != "reference":
            assert (tmp_path / form).read_bytes() == (tmp_path / f"{form}-1").read_bytes()
    for path in (tmp_path / "reference").iterdir():
        assert path.read_bytes() == (tmp_path / "reference-1" / path.name).read_bytes()


def test_a_coco_json_gives_order_names_and_ids(here: Workspace, tmp_path: Path) -> None:
    listed = [{"id": 9, "file_name": "000034.jpg"}, {"id": 8, "file_name": "000030.jpg"}]
    listing = tmp_path / "listing.json"
    listing.write_text(json.dumps({"images": [*listed, {"id": 7, "file_name": "000025.jpg"}], "annotations": []}))
    export(here, "set", "reference", tmp_path / "out", images=listing)
    found = json.loads((tmp_path / "out" / "set_instance_correspondence.json").read_text())
    assert found["images"] == {"file_name": ["000034.jpg", "000030.jpg", "000025.jpg"], "id": [9, 8, 7]}
    assert found["pseudo_annotations"]["knn_image_id"] == [[2, 1], [2, 0], [1, 0]]
    assert found["pseudo_annotations"]["bbox"] == [[D], [A, B], [C]]
    raw = json.loads((tmp_path / "out" / "set_selective_search_proposal.json").read_text())
    assert raw == {"bbox": [[D], [A, D, B], [C]]}

    listing.write_text(json.dumps({"images": listed}))
    with pytest.raises(UserError, match=r"1 photos of the set 'set', such as /photos/images/000025.jpg, are not in"):
        export(here, "set", "reference", tmp_path / "other", images=listing)
    listing.write_text(json.dumps({"images": [{"id": 1, "file_name": "x.jpg"}]}))
    with pytest.raises(UserError, match=r"x.jpg, which .*listing.json lists, is not in the set 'set'."):
        export(here, "set", "reference", tmp_path / "other", images=listing)


CSV = """\
"query_path","key_path","neighbor_rank","neighbor_similarity","pair_rank","query_x","query_y","query_w","query_h",\
"key_x","key_y","key_w","key_h","similarity","margin","cycle","query_objectness","key_objectness"
"000025.jpg","000030.jpg",1,0.75,1,10,20,100,120,50,0,100,100,0.875,0.75,true,,
"000025.jpg","000034.jpg",2,0.25,1,10,20,100,120,1,2,3,4,0.5,,true,,
"000030.jpg","000025.jpg",1,0.75,1,50,0,100,100,10,20,100,120,0.875,,true,,
"000030.jpg","000025.jpg",1,0.75,2,0,0,100,100,10,20,100,120,0.125,,false,,
"000034.jpg","000025.jpg",1,0.5,1,1,2,3,4,10,20,100,120,0.5,,true,,
"000034.jpg","000030.jpg",2,0.25,1,1,2,3,4,0,0,100,100,0.25,0.125,true,,
"""


def test_a_row_for_each_pair(here: Workspace, tmp_path: Path) -> None:
    export(here, "set", "csv", tmp_path / "pairs.csv")
    assert (tmp_path / "pairs.csv").read_text() == CSV
    export(here, "set", "parquet", tmp_path / "pairs.parquet")
    table = parquet.read_table(tmp_path / "pairs.parquet")
    assert table.schema.equals(exports.PAIRS)
    head = table.slice(0, 1).to_pylist()[0]
    assert list(head.values()) == [*NAMES[:2], 1, 0.75, 1, *C, *B, 0.875, 0.75, True, None, None]
    assert table.num_rows == 6
    about = json.loads(table.schema.metadata[b"orl"])
    assert (about["set"], about["dataset"], about["encoder"]) == ("set", "trip", "e")
    assert about["settings"]["neighbors"] == 2


def test_objectness_is_there_where_the_set_asked_for_it(workspace: Workspace, tmp_path: Path) -> None:
    config = MineConfig(neighbors=2, object_weight=1)
    made_by_hand(workspace, config, {1: [0.25, 0.5], 2: [0.75], 3: [-1]})
    export(workspace, "set", "parquet", tmp_path / "pairs.parquet")
    table = parquet.read_table(tmp_path / "pairs.parquet", columns=["query_objectness", "key_objectness"])
    assert [list(row.values()) for row in table.to_pylist()] == [
        [0.75, 0.5],
        [0.75, -1],
        [0.5, 0.75],
        [0.25, 0.75],
        [-1, 0.75],
        [-1, 0.25],
    ]
    export(workspace, "set", "coco", tmp_path / "rois.json")
    found = json.loads((tmp_path / "rois.json").read_text())["annotations"]
    assert [roi["objectness"] for roi in found] == [0.75, 0.25, 0.5, -1]


def test_rois_as_coco_annotations(here: Workspace, tmp_path: Path) -> None:
    export(here, "set", "coco", tmp_path / "rois.json")
    found = json.loads((tmp_path / "rois.json").read_text())
    assert found["info"]["description"] == "RoIs of the correspondence set 'set'"
    size = {"width": 640, "height": 480}
    assert found["images"] == [{"id": i, "file_name": n} | size for i, n in zip(NUMBERS, NAMES, strict=True)]
    assert found["categories"] == [{"id": 1, "name": "roi"}]
    same = {"category_id": 1, "iscrowd": 0}
    assert found["annotations"] == [
        {"id": 1, "image_id": 25, "bbox": C, "area": 12000, "rank": 1, "pairs": 2, "score": 0.875} | same,
        {"id": 2, "image_id": 30, "bbox": A, "area": 10000, "rank": 1, "pairs": 1, "score": 0.125} | same,
        {"id": 3, "image_id": 30, "bbox": B, "area": 10000, "rank": 2, "pairs": 1, "score": 0.875} | same,
        {"id": 4, "image_id": 34, "bbox": D, "area": 12, "rank": 1, "pairs": 2, "score": 0.5} | same,
    ]


@pytest.mark.parametrize(
    ("paths", "names", "numbers"),
    [
        (["b.jpg", "a.jpg"], ["a.jpg", "b.jpg"], [1, 2]),
        (["x/2.jpg", "x/1.jpg"], ["1.jpg", "2.jpg"], [1, 2]),
        (["x/1.jpg", "x/y/7.jpg"], ["1.jpg", "y/7.jpg"], [1, 7]),
        (["x/1.jpg", "xy/7.jpg"], ["x/1.jpg", "xy/7.jpg"], [1, 7]),
        (["x/1.jpg", "y/1.jpg"], ["x/1.jpg", "y/1.jpg"], [1, 2]),
    ],
)
def test_what_photos_are_called(
    monkeypatch: pytest.MonkeyPatch, here: Workspace, paths: list[str], names: list[str], numbers: list[int]
) -> None:
    photos = [Image(id=i, dataset_id=1, path=path) for i, path in enumerate(paths)]
    monkeypatch.setattr(exports.read, "set_images", lambda *_: photos)
    mined = exports.read.complete_set_named(here.store, "set")
    called, numbered = exports._roster(here.store, mined, None)
    assert (list(called.values()), list(numbered.values())) == (names, numbers)
    assert [paths[i] for i in called] == sorted(paths)


def test_photos_of_united_data_sets_are_called_by_their_folders_too(
    monkeypatch: pytest.MonkeyPatch, here: Workspace
) -> None:
    other = ensure_dataset(here.store, "other", "/photographs/x", "folder")
    add_photos(here.store, other.id, [FoundPhoto("images/000025.jpg", 640, 480)], {})
    whole = unite(here.store, ["trip", "other"])
    mined = exports.read.complete_set_named(here.store, "set")
    mined.dataset_id = whole.id
    monkeypatch.setattr(exports.read, "set_images", lambda *_: current_images(here.store, whole.id))
    called, numbered = exports._roster(here.store, mined, None)
    assert called == {
        4: "photographs/x/images/000025.jpg",
        2: "photos/images/000025.jpg",
        1: "photos/images/000030.jpg",
        3: "photos/images/000034.jpg",
    }
    assert numbered == {4: 1, 2: 2, 1: 3, 3: 4}


@pytest.mark.parametrize("form", ["reference", "parquet", "csv", "coco"])
def test_what_is_there_stays_and_a_full_disk_leaves_nothing(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(UserError, match=r"taken already exists. Choose another --out, or remove it."):
        export(here, "set", form, taken)
    assert taken.read_text() == "mine"

    def full(*_: object) -> Iterator[str]:
        yield from ()
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(exports.Exported, "blocks", full)
    with pytest.raises(UserError, match=r"Cannot write .*out: no space is left in .*Free some space"):
        export(here, "set", form, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("form", ["reference", "parquet", "csv", "coco"])
def test_a_file_that_may_not_grow_is_one_sentence(here: Workspace, tmp_path: Path, form: str) -> None:
    before = sorted(tmp_path.iterdir())
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*out: .*[Ff]ile too large"):
            export(here, "set", form, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(tmp_path.iterdir()) == before


def test_unknown_formats_sets_and_folders(here: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no format 'xml'. Known formats: reference, parquet, csv, coco."):
        export(here, "set", "xml", tmp_path / "out")
    with pytest.raises(UserError, match=r"Cannot write .*out: No such file or directory."):
        export(here, "set", "csv", tmp_path / "no" / "out")


def test_json_in_parts_is_json() -> None:
    value = {"a": [1, [2.5, None]], "b": {"c": 'ü"', "d": {}}, "e": True}
    assert "".join(json_parts(value)) == json.dumps(value)
    streamed = {"a": iter([[1], {"x": 2}, []]), "b": {"c": iter([])}}
    assert "".join(json_parts(streamed)) == json.dumps({"a": [[1], {"x": 2}, []], "b": {"c": []}})


def test_photos_with_names_of_formulas_are_quoted_in_csv_alone(here: Workspace, tmp_path: Path) -> None:
    with here.store.session() as session:
        for photo in session.query(Image):
            photo.path = f"=1+{Path(photo.path).name}"
    export(here, "set", "csv", tmp_path / "pairs.csv")
    export(here, "set", "parquet", tmp_path / "pairs.parquet")
    rows = list(csv.DictReader((tmp_path / "pairs.csv").open(newline="")))
    assert {row[side][:3] for row in rows for side in ("query_path", "key_path")} == {"'=1"}
    table = parquet.read_table(tmp_path / "pairs.parquet")
    assert [f"'{name}" for name in table["query_path"].to_pylist()] == [row["query_path"] for row in rows]
