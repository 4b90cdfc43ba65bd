"""The protocol ``detection``: COCO's AP by hand, a short run, the same run after a kill, and wrong folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Encoder
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.coco import Coco, check_coco, coco_average_precision, encoded
from orl_explorer.train.evaluate.detection import Order, evaluate
from orl_explorer.train.evaluate.protocols import DetectionConfig, Result
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training.checkpoints import load_checkpoint
from orl_explorer.train.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

SIDE = 64
TINY = DetectionConfig(
    iterations=2, steps=(1,), warmup=1, rate=0.01, batch_size=2, sides=(64,), longest=64, workers=0, checkpoint_every=50
)


def rectangle(x: int, y: int, w: int, h: int) -> list[list[int]]:
    """A polygon around a box."""
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def row(number: int, image: int, category: int, box: tuple[int, int, int, int], crowd: int = 0) -> dict[str, Any]:
    """An annotation whose mask is its box."""
    where = {"bbox": list(box), "area": box[2] * box[3], "segmentation": rectangle(*box)}
    return {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd} | where


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO's layout: three training photos, one of them without an object, and two test photos."""
    root = tmp_path_factory.mktemp("coco")
    (root / "annotations").mkdir()
    categories = [{"id": 3, "name": "red"}, {"id": 7, "name": "green"}]
    colours = {3: (220, 20, 20), 7: (20, 220, 20)}
    placed = {
        "train2017": {1: [(3, (8, 8, 24, 24))], 2: [(7, (30, 20, 28, 36))], 3: []},
        "val2017": {4: [(3, (10, 10, 40, 40)), (7, (40, 4, 20, 20))], 5: [(7, (0, 0, 30, 30))]},
    }
    for split, photos in placed.items():
        (root / split).mkdir()
        images, rows = [], []
        for number, objects in photos.items():
            photo = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
            for category, (x, y, w, h) in objects:
                photo.paste(colours[category], (x, y, x + w, y + h))
                rows.append(row(100 * number + len(rows), number, category, (x, y, w, h)))
            photo.save(root / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        content = {"images": images, "annotations": rows, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a random encoder."""
    made = open_workspace(tmp_path_factory.mktemp("detection") / "workspace")
    weights.add(made, "random:resnet18", "chance")
    return made


@pytest.fixture(scope="module")
def measured(folder: Path) -> Coco:
    """The test photos."""
    return Coco(folder / "annotations" / "instances_val2017.json", folder / "val2017")


def detection(image: int, category: int, box: tuple[int, int, int, int], score: float) -> dict[str, Any]:
    """A detected box that fills its mask."""
    mask = np.zeros((SIDE, SIDE), bool)
    x, y, w, h = box
    mask[y : y + h, x : x + w] = True
    return {
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "score": score,
        "segmentation": encoded(mask),
    }


def test_perfect_detections_have_an_ap_of_1(measured: Coco) -> None:
    every = [detection(a["image_id"], a["category_id"], tuple(a["bbox"]), 0.9) for a in measured.truth.anns.values()]
    for found in coco_average_precision(measured, every).values():
        assert found.overall["ap"] == pytest.approx(1)
        assert found.classes == pytest.approx({"red": 1, "green": 1})


def test_ap_is_what_it_comes_to_by_hand(measured: Coco) -> None:
    # Red: the one object is found with IoU 32 * 40 / 1600 = 0.8, right at the thresholds 0.5, 0.55, …, 0.8: 7 of 10.
    # Green: first a false alarm, then one of two objects exactly, and the other not at all. Precision 1/2 up to a
    # recall of 1/2: 51 of the 101 points of recall (0, 0.01, …, 0.50) have 1/2, the others nothing.
    some = [
        detection(4, 3, (10, 10, 32, 40), 0.9),
        detection(5, 7, (40, 40, 20, 20), 0.8),
        detection(4, 7, (40, 4, 20, 20), 0.7),
    ]
    for found in coco_average_precision(measured, some).values():
        assert found.classes == pytest.approx({"red": 0.7, "green": 51 / 101 / 2})
        assert found.overall["ap"] == pytest.approx((0.7 + 51 / 202) / 2)
        assert found.overall["ap_50"] == pytest.approx((1 + 51 / 202) / 2)
        assert found.overall["ap_75"] == pytest.approx((1 + 51 / 202) / 2)
        assert "ap_large" not in found.overall  # no object has 96 x 96 pixels


def test_nothing_found_is_an_ap_of_0(measured: Coco) -> None:
    assert [found.overall["ap"] for found in coco_average_precision(measured, []).values()] == [0, 0]


@pytest.fixture
def attempt(known: Workspace, folder: Path, new_run: Callable) -> Callable[..., tuple[Result, dict[str, Any]]]:
    """Evaluate in a new run, which each progress but the last stops. Also return the last checkpoint."""
    run = new_run(known, "evaluate", "chance-detection")
    known.run_folder(run).mkdir(parents=True)

    def once(*progresses: Progress) -> tuple[Result, dict[str, Any]]:
        encoder = encoder_named(known.store, "chance")
        for progress in progresses:
            with pytest.raises(Stopped):
                evaluate(known, encoder, str(folder), TINY, run_id=run, progress=progress)
        result = evaluate(known, encoder, str(folder), TINY, run_id=run, progress=Progress())
        saved = load_checkpoint(known.run_folder(run), Progress())
        assert saved is not None
        return result, saved

    return once


@pytest.fixture(scope="module")
def untroubled(known: Workspace, folder: Path) -> tuple[Result, dict[str, Any]]:
    """The result of a run that is not stopped."""
    from orl_explorer.db.models import Run
    from orl_explorer.db.runs.runs import add_run

    run = add_run(known.store, Run(kind="evaluate", name="whole", params={})).id
    known.run_folder(run).mkdir(parents=True)
    encoder = encoder_named(known.store, "chance")
    result = evaluate(known, encoder, str(folder), TINY, run_id=run, progress=Progress())
    saved = load_checkpoint(known.run_folder(run), Progress())
    assert saved is not None
    return result, saved


def test_a_short_run_ends_with_numbers_and_says_how_it_came_to_them(untroubled: tuple[Result, dict]) -> None:
    result, saved = untroubled
    assert saved["step"] == 2
    assert {"box_ap", "box_ap_50", "mask_ap", "mask_ap_75"} <= set(result.numbers)
    assert all(0 <= result.numbers[name] <= 1 for name in ("box_ap", "mask_ap"))
    assert (result.numbers["photos"], result.numbers["training_photos"]) == (2, 2)
    assert set(result.values["box_ap"]) == {"red", "green"}
    assert result.notes[0] == "Fine-tuned for 2 steps of 2 photos."
    if not torch.cuda.is_available():
        assert "batch norms are not synchronised and see the 2 photos of one forward pass" in result.notes[1]


def test_every_layer_was_tuned(untroubled: tuple[Result, dict], known: Workspace) -> None:
    before = weights.stored_weights(known, encoder_named(known.store, "chance")).backbone
    after = untroubled[1]["detector"]
    learned = [name for name in before if name.endswith(("weight", "bias"))]
    assert not any(torch.equal(after[f"backbone.body.{name}"], before[name]) for name in learned)


def test_a_run_stopped_at_every_stage_learns_and_finds_bitwise_the_same(
    attempt: Callable, untroubled: tuple[Result, dict], stop_after: Callable
) -> None:
    # The first advance says where the run is, the next ones are steps, and then photos.
    result, saved = attempt(stop_after(2), stop_after(3))
    assert all(torch.equal(saved["detector"][name], value) for name, value in untroubled[1]["detector"].items())
    assert result == untroubled[0]


def test_the_order_goes_on_where_it_stopped_and_runs_over_the_end_of_an_epoch() -> None:
    config = TINY.model_copy(update={"batch_size": 4, "accumulate": 2, "iterations": 4})
    whole = list(Order(3, config, 0))
    assert [len(part) for part in whole] == [2] * 8
    assert list(Order(3, config, 2)) == whole[4:]
    flat = [key for part in whole for key in part]
    assert [epoch for epoch, _ in flat] == [i // 3 for i in range(16)]
    assert [sorted(index for _, index in flat[i : i + 3]) for i in range(0, 15, 3)] == [[0, 1, 2]] * 5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"val_json": "val.json"},
            r"There is no .*val\.json. Expected: annotations/instances_train2017.json.*val_json=",
        ),
        ({"train_photos": "photos"}, r"There is no .*photos. Expected: .* --set train_photos="),
    ],
)
def test_a_missing_file_is_answered_with_the_layout(
    known: Workspace, folder: Path, changes: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        check_coco(known, str(folder), TINY.model_copy(update=changes))


def test_photos_of_both_splits_are_refused(known: Workspace, folder: Path, tmp_path: Path, new_run: Callable) -> None:
    same = TINY.model_copy(update={"val_json": TINY.train_json, "val_photos": TINY.train_photos})
    with pytest.raises(UserError, match="3 photos are in both"):
        evaluate(known, _encoder(known), str(folder), same, run_id=1, progress=Progress())


def test_annotations_without_masks_and_photos_of_another_size_are_refused(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    content["images"][0]["width"] = 10
    (tmp_path / "size.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"4.png is 64 x 64, but .*size.json says 10 x 64"):
        Coco(tmp_path / "size.json", folder / "val2017").photo(4)
    del content["annotations"][0]["segmentation"]
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="have no 'segmentation'. Detection needs COCO's instances, with masks"):
        Coco(tmp_path / "boxes.json", folder / "val2017")
    (tmp_path / "text.json").write_text("[]")
    with pytest.raises(UserError, match="is not a COCO annotation file"):
        Coco(tmp_path / "text.json", folder / "val2017")


def test_a_photo_that_exif_turns_is_read_in_the_frame_of_its_annotations(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    for declared, shape in (((40, 20), (20, 40, 3)), ((20, 40), (40, 20, 3))):
        image = {"id": 1, "file_name": "turned.jpg", "width": declared[0], "height": declared[1]}
        content = {"images": [image], "annotations": [], "categories": []}
        (tmp_path / "one.json").write_text(json.dumps(content))
        assert Coco(tmp_path / "one.json", tmp_path).photo(1).shape == shape


def test_crowds_are_measured_but_not_learned(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    content["annotations"][-1]["iscrowd"] = 1
    (tmp_path / "crowd.json").write_text(json.dumps(content))
    found = Coco(tmp_path / "crowd.json", folder / "val2017")
    assert found.learnable() == [4]
    objects = found.objects(4)
    assert objects.classes.tolist() == [1, 2]
    assert objects.boxes.tolist() == [[10, 10, 50, 50], [40, 4, 60, 24]]
    assert objects.masks.sum(axis=(1, 2)).tolist() == [1600, 400]


def _encoder(known: Workspace) -> Encoder:
    return encoder_named(known.store, "chance")
