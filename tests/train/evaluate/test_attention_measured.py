"""The protocol ``attention`` with a known encoder, on photos with objects inside and outside its maps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import AnnotatedBox, dataset_named, replace_annotations
from orl_explorer.orl.reading import PLAIN
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.attention import evaluate
from orl_explorer.train.evaluate.protocols import AttentionConfig, Result, protocol_named
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import evaluate as evaluate_by_name


class Bright:
    """An encoder that responds only to red, with one cell per 32 pixels."""

    looked = 0
    reading = PLAIN

    def feature_map(self, pixels: np.ndarray) -> np.ndarray:
        Bright.looked += 1
        return pixels[16::32, 16::32, :1].transpose(2, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two photos of 448 x 448 with a red square in a corner: annotated where it is, and in the corner across.

    A third has only a crowd, and a fourth nothing.
    """
    folder = tmp_path_factory.mktemp("corners")
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    boxes = {1: ([0, 0, 224, 224], 0), 2: ([224, 224, 224, 224], 0), 3: ([0, 0, 224, 224], 1)}
    images = []
    for number in (1, 2, 3, 4):
        photo = Image.new("RGB", (448, 448))
        photo.paste((200, 0, 0), (0, 0, 224, 224))
        photo.save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 448, "height": 448})
    rows = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": box, "iscrowd": crowd} for i, (box, crowd) in boxes.items()
    ]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "square"}]}
    (folder / "annotations" / "all.json").write_text(json.dumps(content))
    made = open_workspace(tmp_path_factory.mktemp("measured") / "workspace")
    ingest(made, folder, name="corners")
    weights.add(made, "random:resnet18", "chance")
    return made


@pytest.fixture
def measured(
    annotated: Workspace, new_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, float]]:
    """Numbers of one run, which may be attempted several times."""
    monkeypatch.setattr("orl_explorer.train.evaluate.attention.load_encoder", lambda *_: Bright())
    run = new_run(annotated, "evaluate", "bright")
    annotated.run_folder(run).mkdir(parents=True)

    def measure(progress: Progress | None = None, **settings: int) -> dict[str, float]:
        row, config = encoder_named(annotated.store, "chance"), AttentionConfig(**settings)
        return evaluate(annotated, row, "corners", config, run_id=run, progress=progress or Progress()).numbers

    return measure


def test_a_map_on_the_object_and_one_beside_it_are_averaged(measured: Callable) -> None:
    numbers = measured()
    assert numbers["photos"] == 2  # not those without an object that annotators were sure of
    # One map covers its object but for the smooth edge, and the other touches its own nowhere.
    assert numbers["activation_mean_iou"] == pytest.approx(0.5, abs=0.06)
    assert numbers["activation_pointing"] == pytest.approx(0.5)
    assert numbers["activation_pointing_chance"] == pytest.approx(0.25)
    # A fifth of the photo, all of it in the quarter that is the object: IoU 0.8, and 0.
    assert numbers["activation_top_iou"] == pytest.approx(0.4, abs=0.08)
    assert numbers["activation_top_iou_chance"] == pytest.approx(0.2 * 0.25 / (0.45 - 0.05), abs=0.03)
    assert numbers["activation_mean_iou_low"] < 0.1
    assert numbers["activation_mean_iou_high"] > 0.9


def test_a_map_that_never_looks_is_measured_on_the_same_photos(measured: Callable) -> None:
    numbers = measured()
    # The top fifth is a disc of radius sqrt(0.2 / pi) around the middle, a quarter of which each corner has.
    assert numbers["centre_prior_top_iou"] == pytest.approx(0.05 / (0.2 + 0.25 - 0.05), abs=0.005)
    assert numbers["centre_prior_pointing"] == pytest.approx(0.25, abs=0.01)


def test_a_stopped_measurement_goes_on_with_the_photos_that_are_left(measured: Callable, stop_after: Callable) -> None:
    Bright.looked = 0
    with pytest.raises(Stopped):
        measured(stop_after(1))
    assert Bright.looked == 1
    again = measured()
    assert Bright.looked == 2
    assert again["photos"] == 2


def test_only_so_many_photos_are_drawn(measured: Callable) -> None:
    assert measured(photos=1)["photos"] == 1


def test_photos_whose_objects_are_smaller_than_a_pixel_are_counted(
    annotated: Workspace, measured: Callable, new_run: Callable, tmp_path: Path
) -> None:
    shutil.copytree(annotated.path, tmp_path / "copy")
    own = open_workspace(tmp_path / "copy")
    row = encoder_named(own.store, "chance")

    def measure() -> Result:
        run = new_run(own, "evaluate", "bright")
        own.run_folder(run).mkdir(parents=True)
        return evaluate(own, row, "corners", AttentionConfig(), run_id=run, progress=Progress())

    speck = AnnotatedBox("square", 100.2, 100.2, 0.1, 0.1, False)
    replace_annotations(own.store, {1: (speck,)})
    assert measure().notes == ["1 photo left out: every object is smaller than a pixel at the maps' size."]
    replace_annotations(own.store, {2: (speck,)})
    with pytest.raises(UserError, match=r"^Every annotated object of 'corners' is smaller than a pixel"):
        measure()


def test_photos_without_annotations_are_refused_with_a_sentence(annotated: Workspace, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    ingest(annotated, tmp_path, name="plain")
    with pytest.raises(UserError, match="The dataset 'plain' has no annotations to measure against"):
        protocol_named("attention").check(annotated, "plain", AttentionConfig())


def test_an_evaluation_whose_annotations_change_meanwhile_starts_over(
    annotated: Workspace, tmp_path: Path, new_run: Callable, stop_after: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.train.evaluate.attention.load_encoder", lambda *_: Bright())
    place = open_workspace(shutil.copytree(annotated.path, tmp_path / "workspace"))
    run, asked = new_run(place, "evaluate", "bright"), ("chance", "corners", AttentionConfig())
    place.run_folder(run).mkdir(parents=True)
    with pytest.raises(Stopped):
        evaluate_by_name(place, *asked, run_id=run, progress=stop_after(1))
    across = (AnnotatedBox("square", 224, 224, 224, 224),)
    replace_annotations(place.store, {1: across, 2: across})
    heard, before = stop_after(), Bright.looked
    found = evaluate_by_name(place, *asked, run_id=run, progress=heard)
    assert "The dataset 'corners' has changed since this evaluation began. It starts over." in heard.lines
    assert Bright.looked - before == 2
    assert found.summary["activation_pointing"] == 0.0
    state = (place.run_folder(run) / "measured_on.txt").read_text()
    assert state == f"revision {dataset_named(place.store, 'corners').revision}"
