"""Adapting an encoder to a set: what it learns from, what it makes, and what it refuses."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orl_explorer.db.encoders import encoder_named, find_encoder
from orl_explorer.db.models import CorrespondenceSet, Encoder, Run
from orl_explorer.db.people.verdicts import judge
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets.read import complete_set_named, training_rows
from orl_explorer.orl.heads import LinearProjector
from orl_explorer.orl.pixels import crop_box, read_image
from orl_explorer.train.encoders import weights
from orl_explorer.train.encoders.export import export_encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.trainings import Adapt
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training import adapting
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import NewRun
from tests.named import mine, pretrain, train

FEW = AdaptConfig(steps=6, batch_size=8, learning_rate=0.001)


class Said(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.phases: dict[str, int] = {}
        self.losses: list[tuple[int, float]] = []

    def metric(self, step: int, values: dict[str, float]) -> None:
        if "loss" in values:
            self.losses.append((step, values["loss"]))

    def log(self, message: str) -> None:
        self.lines.append(message)

    def phase(self, name: str, total: int) -> None:
        self.phases[name] = total


@pytest.fixture
def own(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the mined demo."""
    shutil.copytree(mined_workspace.path, tmp_path / "own")
    return open_workspace(tmp_path / "own")


@pytest.fixture
def adapted(own: Workspace, new_run: NewRun) -> Callable[..., Encoder]:
    """Return a function that adapts an encoder in this process."""

    def make(name: str = "adapted", config: AdaptConfig = FEW, encoder: str = "starter", **how: Any) -> Encoder:
        mined, by = complete_set_named(own.store, "demo-starter"), encoder_named(own.store, encoder)
        run = how.pop("run_id", None) or new_run(own, "adapt", name)
        return adapting.adapt(own, mined, by, name, config, run_id=run, **how)

    return make


def projector_of(workspace: Workspace, row: Encoder) -> dict[str, torch.Tensor]:
    found = weights.stored_weights(workspace, row).projector
    assert found is not None
    return found


def test_the_new_encoder_is_the_old_network_with_a_linear_projector(
    own: Workspace, adapted: Callable[..., Encoder]
) -> None:
    said = Said()
    row = adapted(progress=said)
    assert (row.kind, row.architecture, row.supervised) == ("adapted", "efficientnet_lite0", True)
    assert (row.image_features, row.roi_features) == (1280, 1280)
    old, new = (weights.stored_weights(own, encoder_named(own.store, name)) for name in ("starter", "adapted"))
    assert old.backbone.keys() == new.backbone.keys()
    assert all(torch.equal(old.backbone[name], new.backbone[name]) for name in old.backbone)
    assert {name: tuple(value.shape) for name, value in projector_of(own, row).items()} == {
        "linear.weight": (1280, 1280),
        "linear.bias": (1280,),
    }
    mined = complete_set_named(own.store, "demo-starter")
    assert said.lines[1] == f"Adapting 'starter' to the set 'demo-starter': {mined.pair_count:,} pairs of 12 photos."
    losses = re.fullmatch(r"Loss: (.+) in the first tenth of the steps, (.+) in the last.", said.lines[2])
    assert losses is not None
    assert math.log(2 * 8 - 1) > float(losses[1]) > float(losses[2])  # that of features that tell nothing apart
    assert said.phases["Embedding RoIs"] == 0
    assert [step for step, _ in said.losses] == [1, 2, 3, 4, 5, 6]
    assert [said.losses[at][1] for at in (0, -1)] == pytest.approx([float(losses[1]), float(losses[2])], abs=6e-4)


def test_stored_features_are_those_that_the_new_network_computes(
    own: Workspace, adapted: Callable[..., Encoder]
) -> None:
    row = adapted()
    features, network = Features(own, row), weights.load_encoder(own, row)
    dataset = dataset_named(own.store, "demo")
    photos, images = Photos.of(own.store, dataset.id), list(usable_images(own.store, dataset.id))
    mined = complete_set_named(own.store, "demo-starter")
    first = next(iter(training_rows(own.store, mined.id)))
    pixels = read_image(photos.path(first.image))
    stored = features.rois.get(roi_keys(first.image.digest or 0, first.rois))
    computed = network.embed_rois(np.stack([crop_box(pixels, box) for box in first.rois]))
    np.testing.assert_array_equal(stored, computed)
    assert features.rois.rows == Features(own, encoder_named(own.store, "starter")).rois.rows
    view = network.reading.photo(photos.read(first.image))
    np.testing.assert_array_equal(features.images.get(photo_keys([first.image])), network.embed_images(view[None]))
    assert features.images.have(photo_keys(images)).all()


def test_the_second_round_computes_no_feature(
    own: Workspace, adapted: Callable[..., Encoder], new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = adapted()

    def none(*_: object, **__: object) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(weights, "load_encoder", none)
    mined = complete_set_named(own.store, "demo-starter")
    config = MineConfig.of(mined)
    second = mine(own, "demo", "adapted", "second", config, run_id=new_run(own, "mine", "second"), workers=1)
    assert (second.encoder_id, second.candidate_count) == (row.id, mined.candidate_count)
    assert second.pair_count == mined.pair_count  # K neighbours, and N of the RoIs of each


def test_the_seed_alone_decides(own: Workspace, adapted: Callable[..., Encoder]) -> None:
    first, again = adapted("first"), adapted("again")
    assert first.weights_sha256 == again.weights_sha256
    other = adapted("other", with_settings(FEW, {"seed": 1}))
    assert other.weights_sha256 != first.weights_sha256


def test_an_interrupted_run_goes_on_with_what_it_learned(
    own: Workspace, adapted: Callable[..., Encoder], new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, change = new_run(own, "adapt", "cut"), adapting._changed

    def dies(*given: Any) -> Any:
        blocks = change(*given)
        yield next(blocks)
        raise KeyboardInterrupt

    monkeypatch.setattr(adapting, "AT_ONCE", 40)
    monkeypatch.setattr(adapting, "_changed", dies)
    with pytest.raises(KeyboardInterrupt):
        adapted("cut", run_id=run)
    monkeypatch.undo()
    said = Said()
    row = adapted("cut", run_id=run, progress=said)
    assert "Learning a projector" not in said.phases
    everything = Features(own, encoder_named(own.store, "starter")).rois.rows
    assert Features(own, row).rois.rows == everything
    assert said.lines[0] == f"Features of {everything - 40} RoIs were projected, not computed again."
    assert row.weights_sha256 == adapted("whole").weights_sha256


def test_without_steps_the_mean_of_the_rois_is_subtracted(own: Workspace, adapted: Callable[..., Encoder]) -> None:
    row = adapted(config=AdaptConfig(steps=0))
    mined = complete_set_named(own.store, "demo-starter")
    stored = Features(own, encoder_named(own.store, "starter")).rois
    rows = training_rows(own.store, mined.id)
    mean = np.concatenate([stored.get(roi_keys(row.image.digest or 0, row.rois)) for row in rows]).mean(axis=0)
    projector = projector_of(own, row)
    assert torch.equal(projector["linear.weight"], torch.eye(1280))
    np.testing.assert_allclose(projector["linear.bias"].numpy(), -mean, atol=1e-6)


def test_pairs_that_a_person_judged_wrong_are_left_out(own: Workspace, adapted: Callable[..., Encoder]) -> None:
    mined = complete_set_named(own.store, "demo-starter")
    said = Said()
    row = next(iter(training_rows(own.store, mined.id)))
    neighbor, pairs = row.neighbors[0]
    pair = pairs[0].tolist()
    judge(own.store, (row.image.id, pair[:4]), (neighbor.id, pair[4:]), "wrong", "ann")
    adapted(config=with_settings(FEW, {"leave_out_wrong": True}), progress=said)
    assert (
        said.lines[1] == f"Adapting 'starter' to the set 'demo-starter': {mined.pair_count - 1:,} pairs of 12 photos."
    )


def test_batches_have_at_most_the_photos_that_have_pairs(adapted: Callable[..., Encoder]) -> None:
    said = Said()
    adapted(config=AdaptConfig(steps=1), progress=said)
    assert said.lines[1] == "Batches are of 12 photos: so many have pairs."


def test_an_encoder_that_did_not_mine_the_set_can_learn_from_it(
    own: Workspace, adapted: Callable[..., Encoder], new_run: NewRun, tiny_byol: BYOLConfig
) -> None:
    pretrain(own, "demo", "ours", tiny_byol, run_id=new_run(own, "pretrain", "ours"))
    said = Said()
    row = adapted("ours-adapted", encoder="ours", progress=said)
    assert said.phases["Embedding RoIs"] == Features(own, row).rois.rows  # it had seen none of them
    assert (row.image_features, row.roi_features, row.supervised) == (512, 512, True)  # by the starter's pairs
    assert said.lines[-1] == "The linear projector takes the place of that of 'ours', for photos and RoIs alike."
    assert Features(own, row).images.rows == 0  # those of 'ours' went through its own projector


def test_an_adapted_encoder_is_not_adapted_again_but_what_it_was_made_from(
    own: Workspace, adapted: Callable[..., Encoder], new_run: NewRun, tmp_path: Path
) -> None:
    mined = complete_set_named(own.store, "demo-starter")
    starter = encoder_named(own.store, "starter")
    run = add_run(own.store, Run(kind="adapt", name="adapted", params={}, encoder_id=starter.id)).id
    row = adapted(run_id=run)
    with pytest.raises(UserError, match="The encoder 'adapted' is adapted already. Adapt the encoder that it was made"):
        Adapt.to(own, mined, row, "twice", FEW).check(own)
    second = CorrespondenceSet(name="second", dataset_id=mined.dataset_id, encoder_id=row.id)
    assert Adapt.to(own, second, None, "", FEW).encoder_id == starter.id
    export_encoder(own, "adapted", "safetensors", tmp_path / "adapted.safetensors")
    brought = weights.add(own, str(tmp_path / "adapted.safetensors"), "brought")
    assert (brought.kind, brought.weights_sha256) == ("imported", row.weights_sha256)
    with pytest.raises(UserError, match="The encoder 'brought' is adapted already"):
        adapted("twice", encoder="brought")


def test_a_training_from_an_adapted_encoder_has_no_projector_of_it(
    own: Workspace, adapted: Callable[..., Encoder], new_run: NewRun, tiny_orl: ORLConfig
) -> None:
    adapted()
    config = with_settings(tiny_orl, {"backbone": "efficientnet_lite0", "start_from": "adapted", "epochs": 1})
    said = Said()
    run = new_run(own, "train", "onwards")
    row = train(own, "demo-starter", "onwards", config, run_id=run, progress=said)
    assert row is not None
    assert weights.stored_weights(own, row).projector is None
    assert (
        "Starting from the encoder 'adapted' with a new projector. The new encoder will have none, as 'adapted' has a "
        "linear one, which belongs to its present features."
    ) in said.lines


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"correspondence_set_id": None, "correspondence": "gone"}, "The correspondence set 'gone' was deleted"),
        ({"name": "starter"}, "The encoder 'starter' already exists"),
    ],
)
def test_what_cannot_be_adapted_is_refused_before_a_run_starts(own: Workspace, change: dict, sentence: str) -> None:
    mined = complete_set_named(own.store, "demo-starter")
    job = Adapt.to(own, mined, None, "new", FEW)
    job.check(own)
    with pytest.raises(UserError, match=sentence):
        job.model_copy(update=change).check(own)


def test_rois_that_all_look_the_same_make_no_encoder(
    own: Workspace, adapted: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def same(stored: Embeddings, keys: np.ndarray) -> np.ndarray:
        return np.eye(1, stored.width, dtype=np.float32).repeat(len(keys), axis=0)

    monkeypatch.setattr(Embeddings, "get", same)
    with pytest.raises(UserError, match=r"^To 'starter', all RoIs of the set 'demo-starter' look the same\."):
        adapted()
    assert find_encoder(own.store, "adapted") is None


def test_numbers_that_overflow_make_no_encoder(
    own: Workspace, adapted: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowed(mean: torch.Tensor, *_: object) -> LinearProjector:
        made = LinearProjector(len(mean), len(mean))
        torch.nn.init.constant_(made.linear.bias, float("nan"))
        return made

    monkeypatch.setattr(adapting, "learn_projector", overflowed)
    with pytest.raises(UserError, match="not finite numbers. No encoder was added. Use a lower learning rate"):
        adapted()
    assert find_encoder(own.store, "adapted") is None
