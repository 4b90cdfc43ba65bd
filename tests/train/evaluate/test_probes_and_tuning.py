"""Linear probes, fine-tuning, k-NN and quality of pairs on a few photos, also resumed after a stop."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from orl_explorer.db.models import Run
from orl_explorer.db.people.kept_out import KEPT_OUT
from orl_explorer.db.people.tags import tag_photos
from orl_explorer.db.photos import usable_images
from orl_explorer.db.runs.runs import add_run
from orl_explorer.orl.backbones import IMAGENET
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import Labelled, class_folders
from orl_explorer.train.evaluate.protocols import CorrespondenceConfig, KNNConfig, LinearConfig, SemiConfig, data_state
from orl_explorer.train.evaluate.semi import draw_labelled
from orl_explorer.train.evaluate.views import LabelledViews, Steps, training_batches
from orl_explorer.train.progress import Stopped
from orl_explorer.train.workspace import Workspace

LINEAR = LinearConfig(image_size=64, epochs=4, steps=(3,), batch_size=5, workers=0, views="centre")
CROPS = LINEAR.model_copy(update={"views": "colour"})
SEMI = SemiConfig(
    image_size=64, epochs=3, steps=(2,), batch_size=5, workers=0, fraction=1, rates=(0.01,), head_multipliers=(1, 10)
)


@pytest.mark.parametrize("config", [LINEAR, CROPS], ids=["centre", "colour"])
def test_colours_are_told_apart_at_the_best_depth(classes: Path, evaluated: Callable, config: LinearConfig) -> None:
    row, values = evaluated(classes, config)
    assert list(values["top1"]) == ["1", "2", "3", "4", "5"]
    assert row.summary["top1"] == max(values["top1"].values()) == 1.0
    assert row.summary["best_depth"] == 1 + list(values["top1"].values()).index(1.0)
    assert row.summary["photos"] == 4
    assert set(values["top5"].values()) == {1.0}  # there are only two classes


@pytest.mark.parametrize("config", [LINEAR, CROPS], ids=["centre", "colour"])
def test_probes_that_were_stopped_go_on_to_the_same_weights(
    place: Workspace, classes: Path, evaluated: Callable, stop_after: Callable, config: LinearConfig
) -> None:
    row, values = evaluated(classes, config)
    run = add_run(place.store, Run(kind="evaluate", name="r18", params={})).id
    for advances in (2, 6, 4):  # among the photos or at the first step, in an epoch, at the end of one
        with pytest.raises(Stopped):
            evaluated(classes, config, stop_after(advances), run)
    again, others = evaluated(classes, config, None, run)
    assert (again.summary, others) == (row.summary, values)
    one, other = (heads(place, number) for number in (row.run_id, run))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def heads(place: Workspace, run: int) -> dict[str, torch.Tensor]:
    newest = max(place.run_folder(run).glob("checkpoint-*.pt"))
    return torch.load(newest, weights_only=True)["model"]


def test_loading_processes_change_nothing(classes: Path, evaluated: Callable, place: Workspace) -> None:
    alone, _ = evaluated(classes, CROPS)
    helped, _ = evaluated(classes, CROPS.model_copy(update={"workers": 2}))
    one, other = (heads(place, row.run_id) for row in (alone, helped))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_rate_that_is_too_high_is_a_sentence(classes: Path, evaluated: Callable) -> None:
    with pytest.raises(UserError, match="The loss is not finite at rate = 1e\\+38. Try a lower rate."):
        evaluated(classes, LINEAR.model_copy(update={"rate": 1e38}))


def test_a_photo_that_a_loading_process_cannot_read_is_a_sentence(
    classes: Path, evaluated: Callable, tmp_path: Path
) -> None:

    shutil.copytree(classes, tmp_path / "copy")
    broken = tmp_path / "copy" / "train" / "red" / "red-train-3.jpg"
    broken.write_bytes(b"no photo")
    with pytest.raises(UserError) as refused:
        evaluated(tmp_path / "copy", CROPS.model_copy(update={"workers": 1}))
    assert str(refused.value) == f"Cannot read {broken}: not an image that Pillow can identify."


def test_every_photo_is_seen_once_in_an_epoch_and_none_alone() -> None:
    steps = Steps(11, LINEAR)  # five at a time: 5, and 6 rather than 5 and 1
    assert steps.per_epoch == 2
    for epoch in (0, 1):
        batches = [steps.batch(2 * epoch + i) for i in (0, 1)]
        assert [len(batch) for batch in batches] == [5, 6]
        assert sorted(batches[0] + batches[1]) == list(range(11))
    assert steps.batch(0) != steps.batch(2)
    assert [Steps(n, LINEAR).per_epoch for n in (1, 4, 5, 6, 10, 12)] == [1, 1, 1, 1, 2, 3]


def test_views_are_functions_of_seed_epoch_and_photo(classes: Path) -> None:
    train, _ = class_folders(str(classes))
    views = LabelledViews(train, "colour", 64, seed=0)
    (pixels, light, label), (again, same, _) = views[2, 3], views[2, 3]
    assert torch.equal(pixels, again)
    assert torch.equal(light, same)
    assert label == train.labels[3]
    assert not torch.equal(views[1, 3][0], pixels)
    assert not torch.equal(LabelledViews(train, "colour", 64, seed=1)[2, 3][0], pixels)
    assert LabelledViews(train, "crop", 64, seed=0)[2, 3][1].tolist() == [0, 0, 0]


def test_light_is_added_to_pixels_between_0_and_1(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = class_folders(str(classes))
    few = Labelled(train.files[:2], train.labels[:2], train.classes)
    steps, cpu = Steps(2, LINEAR), torch.device("cpu")
    monkeypatch.setattr("orl_explorer.train.evaluate.views.draw_lighting", lambda _: np.zeros(3, np.float32))
    dark, _ = next(training_batches(few, "colour", steps, 0, IMAGENET, cpu))
    monkeypatch.setattr("orl_explorer.train.evaluate.views.draw_lighting", lambda _: np.float32([0.1, 0.2, 0.3]))
    lit, _ = next(training_batches(few, "colour", steps, 0, IMAGENET, cpu))
    added = (lit - dark).mean(dim=(0, 2, 3))
    np.testing.assert_allclose(added, [0.1 / 0.229, 0.2 / 0.224, 0.3 / 0.225], rtol=1e-4)


def test_tuning_tries_every_cell_and_reports_the_best(classes: Path, evaluated: Callable) -> None:
    row, values = evaluated(classes, SEMI)
    assert list(values["top1"]) == ["rate 0.01, head x 1", "rate 0.01, head x 10"]
    assert row.summary["top1"] == max(values["top1"].values()) >= 0.5
    assert row.summary["labelled_photos"] == 12
    assert row.summary["notes"][0] == ("Trained on a sample of 100% of each class (seed 0), not on a published list.")


def test_tuning_that_was_stopped_goes_on_to_the_same_numbers(
    place: Workspace, classes: Path, evaluated: Callable, stop_after: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores: list[torch.Tensor] = []
    monkeypatch.setattr(
        "orl_explorer.train.evaluate.semi.right_within",
        lambda s, labels, k: (scores.append(s), s.argmax(1) == labels)[1],
    )
    row, values = evaluated(classes, SEMI)
    straight, scores = scores[:], []
    run = add_run(place.store, Run(kind="evaluate", name="r18", params={})).id
    for advances in (4, 9, 8):  # in the first cell, in the second, and once more there
        with pytest.raises(Stopped):
            evaluated(classes, SEMI, stop_after(advances), run)
    again, others = evaluated(classes, SEMI, None, run)
    assert (again.summary, others) == (row.summary, values)
    assert torch.equal(scores[-1], straight[-1])
    assert not list(place.run_folder(run).glob("cell-*"))  # nothing is left of finished cells


def test_a_cell_that_diverges_counts_as_0_and_the_others_go_on(
    classes: Path, evaluated: Callable, stop_after: Callable
) -> None:
    listener = stop_after()
    config = SEMI.model_copy(update={"rates": (1e30, 0.01), "head_multipliers": (1.0,)})
    row, values = evaluated(classes, config, listener)
    assert values["top1"]["rate 1e+30, head x 1"] == 0
    assert row.summary["best_rate"] == 0.01
    assert any("the loss is not finite. The cell counts as 0" in line for line in listener.lines)


def test_a_seeded_sample_takes_the_same_share_of_every_class(classes: Path) -> None:
    train, _ = class_folders(str(classes))
    half = draw_labelled(train, SEMI.model_copy(update={"fraction": 0.5}))
    assert half.labels.tolist() == [0] * 3 + [1] * 3
    assert half.files == draw_labelled(train, SEMI.model_copy(update={"fraction": 0.5})).files
    assert half.files != draw_labelled(train, SEMI.model_copy(update={"fraction": 0.5, "seed": 1})).files
    assert draw_labelled(train, SEMI.model_copy(update={"fraction": 0.01})).labels.tolist() == [0, 1]  # one at least


def test_a_published_list_names_the_photos(classes: Path, tmp_path: Path) -> None:
    train, _ = class_folders(str(classes))
    file = tmp_path / "list.txt"
    config = SEMI.model_copy(update={"list_file": str(file)})
    file.write_text("red/red-train-2.jpg 1\ngreen-train-5.jpg\n\n")
    found = draw_labelled(train, config)
    assert [Path(f).name for f in found.files] == ["green-train-5.jpg", "red-train-2.jpg"]
    file.write_text("red-train-9.jpg\n")
    with pytest.raises(UserError, match="lists red-train-9.jpg, which is not in train/."):
        draw_labelled(train, config)
    file.write_text("red-train-2.jpg")
    with pytest.raises(UserError, match="1 photo is too few to fine-tune a network"):
        draw_labelled(train, config)
    file.write_text("\n")
    with pytest.raises(UserError, match="lists no photos"):
        draw_labelled(train, config)


def test_the_nearest_photos_vote_for_the_class(classes: Path, voc: Path, evaluated: Callable) -> None:
    row, values = evaluated(classes, KNNConfig(ks=(1, 3, 50), k=3))
    assert row.summary["accuracy"] == values["accuracy"]["3"] == 1.0
    assert list(values["accuracy"]) == ["1", "3", "12"]  # there are only twelve to ask
    assert row.summary["chance"] == 0.5
    row, _ = evaluated(voc, KNNConfig())
    assert row.summary["photos"] == 8
    assert row.summary["notes"] == [
        "A photo's class is that of its largest object.",
        "The accuracy is that with k = 12: there are no more training photos.",
    ]


def test_quality_of_pairs_is_that_of_a_sweep_with_boxes_of_the_store(
    mined_workspace: Workspace, tmp_path: Path
) -> None:

    from orl_explorer.train.mining.config import MineConfig
    from orl_explorer.train.mining.sweep import sweep
    from orl_explorer.train.workspace import open_workspace
    from tests.named import evaluate, evaluation

    shutil.copytree(mined_workspace.path, tmp_path / "mined")
    mined = open_workspace(tmp_path / "mined")
    run = add_run(mined.store, Run(kind="evaluate", name="x", params={})).id
    config = CorrespondenceConfig(queries=4, neighbors=3, proposal_scale=0.5)
    row = evaluate(mined, "starter", "demo", config, run_id=run)
    base = MineConfig(neighbors=3, proposal_scale=0.5)
    [cell] = sweep(mined, "demo", "starter", {}, base=base, sample=4)
    assert {name: row.summary[name] for name in cell.measures} == pytest.approx(cell.measures)
    assert row.data == "demo"
    before = data_state(mined, "demo", config)
    images = [image.id for image in usable_images(mined.store, 1)]
    tag_photos(mined.store, images[:10], KEPT_OUT, "ann")
    assert data_state(mined, "demo", config) != before
    again = add_run(mined.store, Run(kind="evaluate", name="y", params={})).id
    left = evaluate(mined, "starter", "demo", config.model_copy(update={"neighbors": 1}), run_id=again)
    assert (len(images), left.summary["queries"]) == (12, 2.0)
    for source in ("map", "search+map"):
        with pytest.raises(UserError, match="Pairs are compared among boxes that do not depend on the encoder"):
            evaluation(mined, "starter", "demo", CorrespondenceConfig(proposals=source)).check(mined)


def test_a_listed_name_that_several_classes_have_is_asked_for_with_its_class(tmp_path: Path) -> None:
    files = ["/t/train/cat/1.jpg", "/t/train/dog/1.jpg", "/t/train/dog/2.jpg"]
    train, file = Labelled(files, np.array([0, 1, 1]), ["cat", "dog"]), tmp_path / "list.txt"
    config = SEMI.model_copy(update={"list_file": str(file)})
    file.write_text("2.jpg\n1.jpg\n")
    with pytest.raises(UserError) as refusal:
        draw_labelled(train, config)
    assert str(refusal.value) == f"{file} lists 1.jpg, of which train/ has 2. Write it as CLASS/1.jpg."
    file.write_text("2.jpg\ncat/1.jpg\n")
    assert draw_labelled(train, config).files == ["/t/train/cat/1.jpg", "/t/train/dog/2.jpg"]
    train.files[:2] = ["/t/train/cat/x/1.jpg", "/t/train/dog/x/1.jpg"]
    file.write_text("2.jpg\nx/1.jpg\n")
    with pytest.raises(UserError, match="lists x/1.jpg, of which train/ has 2. Write it as CLASS/x/1.jpg."):
        draw_labelled(train, config)
    file.write_text("2.jpg\ncat/x/1.jpg\n")
    assert draw_labelled(train, config).files == ["/t/train/cat/x/1.jpg", "/t/train/dog/2.jpg"]
