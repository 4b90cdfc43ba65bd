"""``import orl_explorer as orl``: stages, tables, arrays and pictures, as a notebook uses them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow.parquet
import pytest

import orl_explorer as orl
from orl_explorer.app.api.drawing import PairFigure
from orl_explorer.app.told import encoder_facts
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.runs.runs import runs
from orl_explorer.orl.boxes import BoxRules, filter_boxes
from orl_explorer.orl.matching import top_pairs
from orl_explorer.orl.pixels import center_crop, crop_box, read_image
from orl_explorer.orl.reading import PLAIN
from orl_explorer.orl.selective_search.proposals import selective_search
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.workspace import Workspace as Folder


@pytest.fixture
def place(mined_workspace: Folder, tmp_path: Path) -> orl.Workspace:
    return orl.open_workspace(shutil.copytree(mined_workspace.path, tmp_path / "workspace"), bars=False)


def test_the_package_offers_what_it_names_and_imports_nothing_large_before() -> None:
    program = """
import sys, orl_explorer as orl
print(sorted(m for m in ("torch", "pandas", "sqlalchemy", "matplotlib") if m in sys.modules))
print([name for name in orl.__all__ if not getattr(orl, name).__doc__], set(orl.__all__) <= set(dir(orl)))
print("torch" in sys.modules)
try:
    orl.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[]",
        "[] True",
        "False",
        "module 'orl_explorer' has no attribute 'nothing'",
    ]


def test_a_stage_that_was_done_is_not_done_again(place: orl.Workspace) -> None:
    found = place.mine("demo", "starter", "demo-starter", neighbors=4, proposal_scale=0.5)
    assert (found.id, found.name, len(runs(place.inner.store))) == (1, "demo-starter", 1)


def test_a_name_that_is_taken_by_other_settings_is_refused_not_numbered(place: orl.Workspace) -> None:
    with pytest.raises(orl.UserError, match="'demo-starter'"):
        place.mine("demo", "starter", "demo-starter", neighbors=3, proposal_scale=0.5)
    assert place.sets()["name"].tolist() == ["demo-starter"]


@pytest.mark.usefixtures("runs_in_process")
def test_the_same_settings_under_another_name_are_another_set(place: orl.Workspace) -> None:
    found = place.mine("demo", "starter", "twin", neighbors=4, proposal_scale=0.5)
    assert (found.name, found.status, found.run_id) == ("twin", "complete", 2)
    first, second = place.pairs("demo-starter"), place.pairs(found)
    pd.testing.assert_frame_equal(first, second)


def test_an_interrupted_call_stops_its_run_and_the_next_one_resumes_it(
    place: orl.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("orl_explorer.train.jobs.once.time", SimpleNamespace(sleep=interrupt))
        with pytest.raises(KeyboardInterrupt):
            place.mine("demo", "starter", "cut", neighbors=2)
    assert place.runs()[["id", "name", "status"]].iloc[0].tolist() == [2, "cut", "cancelled"]
    found = place.mine("demo", "starter", "cut", neighbors=2)
    assert (found.run_id, found.status) == (2, "complete")
    assert len(place.runs()) == 2


@pytest.mark.usefixtures("runs_in_process")
def test_a_dataset_grows_and_unreadable_photos_are_named(tmp_path: Path, scenes: Path) -> None:
    place = orl.open_workspace(tmp_path / "workspace", bars=False)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        shutil.copy(scenes / "images" / f"scene-{number:03d}.jpg", photos)
    assert place.ingest(photos).image_count == 2
    (photos / "broken.jpg").write_bytes(b"no picture")
    with pytest.warns(
        UserWarning, match=r"^1 photos cannot be read: broken.jpg: not an image that Pillow can identify.$"
    ):
        dataset = place.ingest(photos, "photos")
    assert (dataset.name, dataset.image_count, dataset.unreadable_count) == ("photos", 2, 1)
    assert place.photos(dataset)["path"].tolist() == ["scene-000.jpg", "scene-001.jpg"]
    assert place.photos(dataset)["file"][0] == str(photos / "scene-000.jpg")


def test_encoders_are_named_after_their_source(place: orl.Workspace) -> None:
    assert place.add_encoder("starter").id == 1
    assert place.add_encoder("random:resnet18").name == "random-resnet18"
    assert place.encoders()["name"].tolist() == ["starter", "random-resnet18"]
    assert repr(place.add_encoder("random:resnet18")) == "Encoder(id=2, kind='imported', name='random-resnet18')"


def test_a_set_goes_to_another_workspace_as_an_archive_and_to_a_folder(
    place: orl.Workspace, scenes: Path, tmp_path: Path
) -> None:
    file = place.export("demo-starter", "archive", tmp_path / "set.zip")
    with orl.open_workspace(tmp_path / "other", bars=False) as other:
        there = other.ingest(scenes, "elsewhere")
        made = other.import_archive(file, there)
        columns = ["query_path", "key_path", "similarity"]
        pd.testing.assert_frame_equal(other.pairs(made)[columns], place.pairs("demo-starter")[columns])
    shared = place.share("demo-starter", tmp_path / "shared", photos=3)
    assert (shared / "index.html").is_file()
    with pytest.raises(orl.UserError, match="not empty"):
        place.share("demo-starter", shared)


def test_pairs_are_those_of_the_parquet_export(place: orl.Workspace, tmp_path: Path) -> None:
    file = place.export("demo-starter", "parquet", tmp_path / "pairs.parquet")
    exported = pyarrow.parquet.read_table(file).to_pandas()
    pairs = place.pairs("demo-starter")
    paths = ["query_path", "key_path"]
    keys = [*paths, "neighbor_rank", "pair_rank"]
    for frame in (pairs, exported):
        for name in paths:
            frame[name] = frame[name].astype(str).str.rpartition("/")[2]
    mine, theirs = (frame.sort_values(keys).reset_index(drop=True) for frame in (pairs, exported))
    same = [name for name in exported.columns if not name.endswith("objectness")]  # nobody asked for it
    pd.testing.assert_frame_equal(mine[same], theirs[same], check_dtype=False)
    assert [*pairs.columns[-4:]] == ["query_id", "key_id", "query_roi_id", "key_roi_id"]


def test_ids_of_pairs_lead_to_rois_and_their_features(place: orl.Workspace) -> None:
    pairs, rois, features = place.pairs("demo-starter"), place.rois("demo-starter"), place.roi_features("demo-starter")
    row = pd.Series(range(len(rois)), index=rois["roi_id"])
    query, key = row[pairs["query_roi_id"]].to_numpy(), row[pairs["key_roi_id"]].to_numpy()
    np.testing.assert_allclose((features[query] * features[key]).sum(axis=1), pairs["similarity"], atol=1e-6)
    assert (rois["image_id"].to_numpy()[query] == pairs["query_id"]).all()
    assert (rois["x"].to_numpy()[key] == pairs["key_x"]).all()
    assert rois["rank"][rois["image_id"] == 3].tolist() == list(range(1, 1 + (rois["image_id"] == 3).sum()))


def test_objectness_of_pairs_is_that_of_their_rois(place: orl.Workspace) -> None:
    found = place.mine("demo", "starter", "objects", preset="object", neighbors=2, proposal_scale=0.5)
    pairs, rois = place.pairs(found), place.rois(found).set_index("roi_id")
    for side in ("query", "key"):
        of_rois = rois["objectness"].loc[pairs[f"{side}_roi_id"]].to_numpy()
        np.testing.assert_array_equal(pairs[f"{side}_objectness"], of_rois)
        assert len({*of_rois}) > 10


def test_features_are_the_encoders_of_each_photo(place: orl.Workspace) -> None:
    photos, features = place.photos("demo"), place.features("starter", "demo")
    assert features.shape == (12, 1280)
    encoder = load_encoder(place.inner, encoder_named(place.inner.store, "starter"))
    alone = encoder.embed_images(center_crop(read_image(Path(photos["file"][5])))[None])[0]
    np.testing.assert_array_equal(features[5], alone)
    other = place.features(place.add_encoder("random:resnet18"), "demo")  # never mined with: computed now
    assert other.shape == (12, 512)
    np.testing.assert_allclose(np.linalg.norm(other, axis=1), 1, atol=1e-6)


def test_near_duplicates_are_a_table(place: orl.Workspace) -> None:
    found = place.near_duplicates("demo", "starter", 0.65)
    assert [*found.columns] == ["group", "keep", "path", "width", "height", "objects", "similarity", "reason"]
    assert found["group"].tolist() == [1, 1, 1, 2, 2]
    assert found["keep"].tolist() == [True, False, False, True, False]
    cosines = place.features("starter", "demo")
    at = [place.photos("demo")["path"].tolist().index(path) for path in found["path"]]
    np.testing.assert_allclose(found["similarity"][1:3], cosines[at[1:3]] @ cosines[at[0]], atol=1e-4)
    assert place.near_duplicates("demo", "starter").empty
    place.add_encoder("random:timm:test_vit", "vit")  # never mined with: computed now
    assert len(place.near_duplicates("demo", "vit", 0.5)) > 1
    with pytest.raises(orl.UserError, match=r"^Invalid value for threshold: 1.5. Use more than 0 and at most 1.$"):
        place.near_duplicates("demo", "vit", 1.5)


def test_neighbours_are_the_nearest_photos(place: orl.Workspace) -> None:
    near, features = place.neighbors("demo-starter"), place.features("starter", "demo")
    cosines = features @ features.T
    np.fill_diagonal(cosines, -2)
    ids = place.photos("demo")["id"].to_numpy()
    for at, image_id in enumerate(ids):
        own = near[near["query_id"] == image_id]
        assert own["rank"].tolist() == [1, 2, 3, 4]
        assert own["key_id"].tolist() == ids[np.argsort(-cosines[at])[:4]].tolist()
        np.testing.assert_allclose(own["similarity"], np.sort(cosines[at])[::-1][:4], atol=1e-6)


def test_annotations_are_listed(place: orl.Workspace) -> None:
    found = place.annotations("demo")
    assert [*found.columns] == ["image_id", "path", "category", "x", "y", "w", "h", "difficult"]
    assert len(found) == place.datasets()["annotations"][0]


@pytest.mark.usefixtures("runs_in_process")
def test_a_training_its_numbers_and_an_evaluation(place: orl.Workspace) -> None:
    tiny = {"epochs": 1, "batch_size": 4, "image_size": 32, "hidden": 16, "projection": 8, "workers": 0, "knn_every": 0}
    encoder = place.train("demo-starter", preset="small", **tiny)
    assert (encoder.name, encoder.kind) == ("demo-starter-orl", "stage3")
    assert place.train("demo-starter", preset="small", **tiny).id == encoder.id  # done already
    adapted = place.adapt("demo-starter", steps=2)
    assert (adapted.name, adapted.kind) == ("starter-adapted", "adapted")
    assert encoder_facts(adapted, PLAIN)["feature"] == "mean of the map through a linear projector, 1280 numbers"
    numbers = place.metrics(encoder)
    assert numbers[numbers["name"] == "loss"]["step"].tolist() == [1, 2, 3]
    evaluation = place.evaluate("starter", "attention", "demo")
    assert 0 < evaluation.summary["activation_mean_iou"] < 1
    assert place.evaluations()["protocol"].tolist() == ["attention"]
    assert place.runs()["status"].tolist() == ["done"] * 4
    with pytest.raises(orl.UserError, match="was not trained in this workspace"):
        place.metrics(encoder_named(place.inner.store, "starter"))


@pytest.mark.usefixtures("runs_in_process")
def test_a_sweep_is_a_table(place: orl.Workspace) -> None:
    cells = place.sweep("demo", "starter", {"neighbors": [2, 3]}, sample=4, proposal_scale=0.5)
    assert cells["neighbors"].tolist() == [2, 3]
    assert place.quality("demo-starter")["annotated_objects"] == len(place.annotations("demo"))


def test_pairs_of_a_set_are_drawn(place: orl.Workspace) -> None:
    best = place.pairs("demo-starter").iloc[0]
    figure = place.draw_pairs("demo-starter", best["query_path"], neighbor=2, most=3)
    assert isinstance(figure, PairFigure)
    left, right = figure.axes
    assert left.get_title() == best["query_path"]
    assert "neighbour 2, similarity 0." in right.get_title()
    assert len(figure.artists) == len(right.patches) / 2 <= 3
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(orl.UserError, match=r"^Invalid value for neighbor: 5. Use 1 to 4.$"):
        place.draw_pairs("demo-starter", best["query_path"], neighbor=5)
    with pytest.raises(orl.UserError, match="is not in the set 'demo-starter'"):
        place.draw_pairs("demo-starter", "nowhere.jpg")


@pytest.mark.usefixtures("runs_in_process")
def test_two_photos_are_matched_as_mining_does(scenes: Path) -> None:
    files = [scenes / "images" / f"scene-{number:03d}.jpg" for number in (0, 1)]
    found = orl.match_photos(*files, min_size=48, max_rois=12, seed=3)

    def embed(crops: np.ndarray) -> np.ndarray:
        return np.concatenate([crops[:, ::32, ::32].reshape(len(crops), -1), np.ones((len(crops), 1))], 1)

    rules, boxes = BoxRules(min_size=48, max_rois=12), []
    for file in files:
        pixels = np.asarray(read_image(file))
        boxes.append(filter_boxes(selective_search(pixels, 3), rules, pixels.shape[1], pixels.shape[0]).boxes)
    np.testing.assert_array_equal(found.query_rois, boxes[0])
    np.testing.assert_array_equal(found.key_rois, boxes[1])
    assert found.similarity.shape == (len(boxes[0]), len(boxes[1]))
    assert found.pairs["similarity"].tolist() == [
        found.similarity[q, k] for q, k in found.pairs[["query", "key"]].to_numpy()
    ]
    assert found.pairs["similarity"][0] == found.similarity.max()
    assert found.titles == ("scene-000.jpg", "scene-001.jpg")
    assert len(found.draw(most=1).artists) == 1

    by_function = orl.match_photos(*files, embed, min_size=48, max_rois=12, seed=3)
    rows = []
    for file, own in zip(files, boxes, strict=True):
        features = embed(np.stack([crop_box(read_image(file), box) for box in own])).astype(np.float32)
        rows.append(features / np.linalg.norm(features, axis=1, keepdims=True))
    slow = top_pairs(rows[0], rows[1], 0.1)
    assert by_function.pairs["query"].tolist() == slow.query.tolist()
    assert by_function.pairs["key"].tolist() == slow.key.tolist()
    np.testing.assert_allclose(by_function.pairs["similarity"], slow.similarity, atol=1e-6)


@pytest.mark.usefixtures("runs_in_process")
def test_photos_may_be_files_images_and_arrays(scenes: Path) -> None:
    file = scenes / "images" / "scene-002.jpg"
    image = PIL.Image.open(file)

    def grey(crops: np.ndarray) -> np.ndarray:
        return crops[:, ::56, ::56, 0].reshape(len(crops), -1)

    first = orl.match_photos(file, image, grey)
    second = orl.match_photos(str(file), np.asarray(image), grey)
    pd.testing.assert_frame_equal(first.pairs, second.pairs)
    assert first.titles == ("scene-002.jpg", "key")
    assert (first.pairs["similarity"] > 0.999).all()  # a photo with itself
    assert (first.pairs["query"] == first.pairs["key"]).all()


def test_a_photo_or_an_encoder_that_cannot_be_used_is_one_sentence(scenes: Path, tmp_path: Path) -> None:
    file = scenes / "images" / "scene-000.jpg"
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    cases = [
        ((tmp_path / "broken.jpg", file), {}, "broken.jpg: not an image that Pillow can identify."),
        ((np.zeros((8, 8)), file), {}, r"A photo is a file, a PIL image, or an array uint8 \[H, W, 3\] of RGB."),
        ((file, file, "nothing"), {}, "'nothing' is not an encoder."),
        ((file, file, len), {"preset": "object"}, "A function has no attention map"),
        ((file, file, len), {"proposals": "search+map"}, "A function has no map, so it shows no boxes."),
        ((file, file, lambda crops: crops), {}, "The encoder returned an array of shape"),
        ((file, file), {"proposals": "annotations"}, "Invalid value for proposals: annotations."),
        ((file, file), {"neighbour": 3}, "There is no setting 'neighbour'"),
    ]
    for photos, settings, sentence in cases:
        with pytest.raises(orl.UserError, match=sentence):
            orl.match_photos(*photos, **settings)


@pytest.mark.usefixtures("runs_in_process")
def test_likely_objects_are_matched_by_the_encoders_attention(scenes: Path) -> None:
    files = [scenes / "images" / f"scene-{number:03d}.jpg" for number in (0, 1)]
    whole: dict[str, Any] = {"preset": "object", "min_worth": -10, "cover_photo": False}
    found = orl.match_photos(*files, "random:resnet18", precision="bf16", **whole)
    assert len(found.pairs) == max(1, int(0.7 * len(found.query_rois)))
    fewer = orl.match_photos(*files, "random:resnet18", **whole | {"min_worth": 100, "cover_photo": True})
    assert 0 < len(fewer.pairs) < len(found.pairs)  # those that cover the photo
    on_map = orl.match_photos(*files, "random:resnet18", proposals="map")
    both = orl.match_photos(*files, "random:resnet18", proposals="search+map", proposal_scale=0.5)
    assert both.query_rois[0].tolist() == on_map.query_rois[0].tolist()
    assert 0 < len(on_map.query_rois) < len(both.query_rois)


def test_a_workspace_closes_and_one_for_reading_refuses_changes(place: orl.Workspace, scenes: Path) -> None:
    place.close()
    with orl.open_workspace(place.path, read_only=True, bars=False) as shown:
        assert shown.sets()["name"].tolist() == ["demo-starter"]
        with pytest.raises(orl.StoreError, match="it was opened read-only"):
            shown.ingest(scenes, "again")
