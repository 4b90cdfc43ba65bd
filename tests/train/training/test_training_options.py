"""Options of a run beyond the paper: fewer pairs, initial weights, parts of a batch, precisions; and its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import CorrespondenceSet, Encoder, Run
from orl_explorer.db.people.verdicts import judge
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets.read import complete_set_named, training_rows
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import (
    BYOLConfig,
    DenseCLConfig,
    MLSConfig,
    MoCoConfig,
    MultiCropConfig,
    ORLConfig,
    SelfEMDConfig,
    SimCLRConfig,
)
from orl_explorer.train.training.presets import PRESETS, train_preset
from orl_explorer.train.training.start_from import refuse_unfit, refuse_wider, saw_labels, settled
from orl_explorer.train.training.trained_on import FILE, Correspondences, correspondences
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import launch_pretrain, mine, pretrain, train


@pytest.fixture(scope="module")
def mined(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine: MineConfig) -> Workspace:
    """A workspace with the sets 'set' (K = 3, N = 0.5) and 'fewer' (K = 2, N = 0.25)."""
    made = open_workspace(tmp_path_factory.mktemp("options") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    fewer = tiny_mine.model_copy(update={"neighbors": 2, "pair_ratio": 0.25})
    for name, config in (("set", tiny_mine), ("fewer", fewer)):
        run = add_run(made.store, Run(kind="mine", name=name, params={})).id
        mine(made, "demo", "starter", name, config, run_id=run, workers=2)
    return made


def gathered(workspace: Workspace, name: str, config: ORLConfig) -> Correspondences:
    dataset = dataset_named(workspace.store, "demo")
    return correspondences(workspace, complete_set_named(workspace.store, name), dataset, config)


SMALLEST = "timm:test_resnet"  # 0.4 million parameters


def learn(workspace: Workspace, config: TrainConfig, new_run: Callable, name: str, progress=None) -> Encoder:  # type: ignore[no-untyped-def]
    stage, subject = (train, "set") if isinstance(config, ORLConfig) else (pretrain, "demo")
    found = stage(workspace, subject, name, config, run_id=new_run(workspace, "run", name), progress=progress)  # type: ignore[operator]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("config", "own"),
    [
        (MultiCropConfig, {"local_size": 32}),
        (SimCLRConfig, {}),
        (MoCoConfig, {"queue": 16, "norm_group": 3}),
        (DenseCLConfig, {"queue": 16, "norm_group": 3}),
        (MLSConfig, {"queue": 16, "norm_group": 3, "dictionary": 8, "pseudo_labels": 2}),
        (SelfEMDConfig, {}),
        (BYOLConfig, {"backbone": "timm:test_byobnet"}),
    ],
)
def test_each_baseline_learns_and_its_encoder_can_mine(
    mined: Workspace,
    tiny_byol: BYOLConfig,
    tiny_mine: MineConfig,
    new_run: Callable,
    config: type[TrainConfig],
    own: dict,
) -> None:
    common = tiny_byol.model_dump(exclude={"method", "target_momentum"}) | {"backbone": SMALLEST, "epochs": 1}
    name = config.__name__
    row = learn(mined, config(**common | own), new_run, name)
    assert (row.kind, row.supervised, row.image_features) == ("stage1", False, 16)
    found = mine(mined, "demo", name, f"by {name}", tiny_mine, run_id=new_run(mined, "mine", name), workers=1)
    assert found.pair_count > 0


def test_a_backbone_of_timms_without_timm_is_refused_before_anything_starts(
    mined: Workspace, tiny_byol: BYOLConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.train.jobs.trainings.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"The backbone timm:resnet18 needs timm. Install it with: pip install "):
        launch_pretrain(mined, "demo", tiny_byol.model_copy(update={"backbone": "timm:resnet18"}))


def test_k_and_n_cut_at_training_are_those_of_a_set_that_was_mined_with_them(
    mined: Workspace, tiny_orl: ORLConfig
) -> None:
    cut = gathered(mined, "set", tiny_orl.model_copy(update={"neighbors": 2, "pair_ratio": 0.25}))
    assert cut.digest() == gathered(mined, "fewer", tiny_orl).digest()
    assert cut.digest() != gathered(mined, "set", tiny_orl).digest()
    assert len(cut.pairs) < len(gathered(mined, "set", tiny_orl).pairs)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"neighbors": 4}, "Invalid value for neighbors: 4. The set 'set' was mined with K = 3"),
        ({"pair_ratio": 0.6}, "Invalid value for pair_ratio: 0.6. The set 'set' was mined with N = 0.5"),
    ],
)
def test_more_than_was_mined_is_refused(mined: Workspace, tiny_orl: ORLConfig, changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        gathered(mined, "set", tiny_orl.model_copy(update=changes))


def test_a_set_whose_pairs_cover_the_photos_has_no_part_by_n(tiny_orl: ORLConfig) -> None:
    mined = CorrespondenceSet(name="covered", params={"neighbors": 10, "pair_ratio": 0.25, "cover_photo": True})
    refuse_wider(mined, tiny_orl.model_copy(update={"neighbors": 5}))
    with pytest.raises(
        UserError,
        match=r"^Invalid value for pair_ratio: 0\.1\. The set 'covered' was mined with cover_photo, which keeps pairs "
        r"beyond the best\. Mine again with --pair-ratio 0\.1\.$",
    ):
        refuse_wider(mined, tiny_orl.model_copy(update={"pair_ratio": 0.1}))


def test_pairs_that_somebody_found_wrong_can_be_left_out(mined: Workspace, tiny_orl: ORLConfig) -> None:
    whole = gathered(mined, "set", tiny_orl)
    row = next(r for r in training_rows(mined.store, complete_set_named(mined.store, "set").id))
    neighbor, pairs = row.neighbors[0]
    wrong = pairs[0]
    assert judge(mined.store, (row.image.id, wrong[:4]), (neighbor.id, wrong[4:]), "wrong", "ann")
    try:
        assert gathered(mined, "set", tiny_orl).digest() == whole.digest()
        without = gathered(mined, "set", tiny_orl.model_copy(update={"leave_out_wrong": True}))
        assert len(without.pairs) == len(whole.pairs) - 1
        here = slice(int(without.pair_start[0]), int(without.pair_start[1]))
        assert wrong.tolist() not in without.pairs[here].tolist()
    finally:
        judge(mined.store, (row.image.id, wrong[:4]), (neighbor.id, wrong[4:]), None, "ann")


def test_a_run_goes_on_with_what_it_began_with_whatever_is_judged_since(
    mined: Workspace, tiny_orl: ORLConfig, new_run: Callable, stop_after: Callable
) -> None:
    from orl_explorer.train.progress import Stopped

    config = tiny_orl.model_copy(update={"leave_out_wrong": True, "backbone": SMALLEST})
    run = new_run(mined, "train", "kept")
    with pytest.raises(Stopped):
        train(mined, "set", "kept", config, run_id=run, progress=stop_after(2))
    kept = Correspondences.load(mined.run_folder(run) / FILE)
    row = next(r for r in training_rows(mined.store, complete_set_named(mined.store, "set").id))
    neighbor, pairs = row.neighbors[0]
    judge(mined.store, (row.image.id, pairs[0][:4]), (neighbor.id, pairs[0][4:]), "wrong", "ann")
    try:
        row_1 = train(mined, "set", "kept", config, run_id=run)
        again = Correspondences.load(mined.run_folder(run) / FILE)
        assert (again.digest(), again.files) == (kept.digest(), kept.files)
        assert row_1 is not None
        other = train(mined, "set", "fresh", config, run_id=new_run(mined, "train", "fresh"))
        assert other is not None
        assert other.weights_sha256 != row_1.weights_sha256
    finally:
        judge(mined.store, (row.image.id, pairs[0][:4]), (neighbor.id, pairs[0][4:]), None, "ann")


def test_stage_3_can_start_from_another_encoder(
    mined: Workspace, tiny_byol: BYOLConfig, tiny_orl: ORLConfig, new_run: Callable, stop_after: Callable
) -> None:
    first = learn(mined, tiny_byol.model_copy(update={"epochs": 1}), new_run, "stage-1")
    heard = stop_after()
    # At a rate of nearly nothing what comes out is what went in.
    still = {"start_from": "stage-1", "epochs": 1, "rate_per_256": 1e-12, "weight_decay": 0.0}
    row = learn(mined, tiny_orl.model_copy(update=still), new_run, "from-stage-1", heard)
    assert "Starting from the encoder 'stage-1' with its projector." in heard.lines
    before, after = (weights.checkpoint_weights(mined.path / r.weights_path) for r in (first, row))
    torch.testing.assert_close(after.backbone["layer4.1.conv2.weight"], before.backbone["layer4.1.conv2.weight"])
    assert after.projector is not None and before.projector is not None
    torch.testing.assert_close(after.projector["fc1.weight"], before.projector["fc1.weight"])
    other_head = still | {"projection": 8}
    heard = stop_after()
    learn(mined, tiny_orl.model_copy(update=other_head), new_run, "other-head", heard)
    assert "Starting from the encoder 'stage-1' with a new projector." in heard.lines


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("nobody", "There is no such encoder"), ("starter", "Its architecture is efficientnet_lite0, .* is resnet18")],
)
def test_a_start_that_does_not_fit_is_refused(
    mined: Workspace, tiny_orl: ORLConfig, new_run: Callable, name: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=f"Invalid value for start_from: {name}. {sentence}"):
        learn(mined, tiny_orl.model_copy(update={"start_from": name}), new_run, "refused")


def test_the_starter_is_adapted_with_its_first_blocks_as_they_are(
    mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable
) -> None:
    changes = {"backbone": "efficientnet_lite0", "start_from": "starter", "freeze": -1, "epochs": 1}
    changes |= {"layer_decay": 0.5, "head_rate": 10}
    row = learn(mined, BYOLConfig(**(tiny_byol.model_dump() | changes)), new_run, "adapted")
    assert (row.architecture, row.supervised) == ("efficientnet_lite0", True)
    assert row.image_features == 1280  # without the new projector, as the starter
    before, after = (
        weights.checkpoint_weights(mined.path / encoder_named(mined.store, name).weights_path).backbone
        for name in ("starter", "adapted")
    )
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {"_bn0.running_mean", "_blocks.14._bn1.running_var", "_blocks.14._project_conv.weight"} <= same
    assert not {"_blocks.15._project_conv.weight", "_bn1.running_mean", "_bn1.weight"} & same


def test_a_transformer_learns_from_its_own_weights_and_can_mine(
    mined: Workspace, tiny_byol: BYOLConfig, tiny_mine: MineConfig, new_run: Callable
) -> None:
    first = weights.add(mined, "random:timm:test_vit", "a-vit")
    changes = {"backbone": "timm:test_vit", "start_from": "a-vit", "freeze": 2, "epochs": 1, "image_size": 96}
    row = learn(mined, BYOLConfig(**(tiny_byol.model_dump() | changes)), new_run, "adapted-vit")
    assert (row.architecture, row.supervised) == ("timm:test_vit", False)
    assert row.reading is not None and first.reading is not None
    assert (row.reading["pooling"], row.reading["learned_from"]) == ("mean", "nothing")
    assert row.reading["photo_size"] == first.reading["photo_size"]
    before, after = (weights.stored_weights(mined, each).backbone for each in (first, row))
    assert before.keys() == after.keys()
    assert torch.equal(before["blocks.0.mlp.fc1.weight"], after["blocks.0.mlp.fc1.weight"])
    assert not torch.equal(before["blocks.1.mlp.fc1.weight"], after["blocks.1.mlp.fc1.weight"])
    found = mine(mined, "demo", "adapted-vit", "by a vit", tiny_mine, run_id=new_run(mined, "mine", "v"), workers=1)
    assert found.pair_count > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"start_from": "starter", "freeze": 5},
            "Invalid value for freeze: 5. The backbone has 5 blocks, so at most 4",
        ),
        (
            {"backbone": "timm:test_vit", "image_size": 40},
            "cannot learn from views of 40 pixels: use a multiple of 16, such as 32 or 48",
        ),
        ({"backbone": "timm:no_such_network"}, "timm has no model 'no_such_network'"),
    ],
)
def test_what_cannot_learn_is_refused_before_anything_starts(
    mined: Workspace, tiny_byol: BYOLConfig, changes: dict, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        launch_pretrain(mined, "demo", BYOLConfig(**(tiny_byol.model_dump() | changes)))


@pytest.mark.parametrize("changes", [{"freeze": 1}, {"batch_norms": "frozen"}, {"backbone": ""}])
def test_random_weights_are_not_kept(mined: Workspace, tiny_byol: BYOLConfig, changes: dict) -> None:
    with pytest.raises(UserError, match="These settings adapt an encoder, but start_from names none"):
        launch_pretrain(mined, "demo", BYOLConfig(**(tiny_byol.model_dump() | changes)))


@pytest.mark.parametrize("method", PRESETS)
def test_the_preset_adapt_takes_the_architecture_of_its_encoder(mined: Workspace, method: str) -> None:
    preset = train_preset(method, "adapt")
    assert (preset.backbone, preset.start_from, preset.freeze, preset.batch_norms) == ("", "", -5, "frozen")
    whole = train_preset(method, "small" if preset.optimiser == "adamw" else "paper")
    assert preset.rate_per_256 == pytest.approx(whole.rate_per_256 / 10)
    with pytest.raises(UserError, match="start_from names none"):
        settled(mined.store, preset)
    named = with_settings(preset, {"start_from": "starter"})
    assert settled(mined.store, named) == with_settings(named, {"backbone": "efficientnet_lite0"})
    refuse_unfit(settled(mined.store, named))
    other = with_settings(named, {"backbone": "resnet18"})
    assert settled(mined.store, other) == other
    with pytest.raises(UserError, match="Invalid value for start_from: nobody. There is no such encoder"):
        settled(mined.store, with_settings(preset, {"start_from": "nobody"}))


def test_what_owes_anything_to_labels_says_so(mined: Workspace, tiny_orl: ORLConfig) -> None:
    found = complete_set_named(mined.store, "set")
    assert saw_labels(mined, "", found)  # the starter's pairs
    assert not saw_labels(mined, "", None)
    assert saw_labels(mined, "starter", None)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_half_precision_it_learns_nearly_the_same(
    mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable, precision: str
) -> None:
    config = tiny_byol.model_copy(update={"epochs": 1})
    whole = learn(mined, config, new_run, f"fp32-{precision}")
    half = learn(mined, config.model_copy(update={"precision": precision}), new_run, precision)
    a, b = (weights.checkpoint_weights(mined.path / r.weights_path).backbone["conv1.weight"] for r in (whole, half))
    assert a.dtype == b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999


def test_a_run_keeps_how_it_came_about(mined: Workspace, tiny_orl: ORLConfig, new_run: Callable) -> None:
    row = learn(mined, tiny_orl.model_copy(update={"epochs": 1, "backbone": SMALLEST}), new_run, "documented")
    folder = mined.run_folder(row.run_id or 0)
    kept = json.loads((folder / "provenance.json").read_text())
    assert (kept["method"], kept["seed"], kept["config"]["batch_size"]) == ("ORL", 0, 6)
    assert kept["trained_on"]["correspondence_set"] == "set"
    assert kept["trained_on"]["params"]["neighbors"] == 3
    assert kept["trained_on"]["pairs_sha256"] == Correspondences.load(folder / FILE).digest()
    (attempt,) = kept["attempts"]
    assert attempt["versions"]["torch"] == torch.__version__.split("+")[0]
    assert (attempt["processes"], attempt["device"]) == (1, "cpu")


def test_its_numbers_are_tensorboard_events_too(mined: Workspace, tiny_orl: ORLConfig, new_run: Callable) -> None:
    row = learn(mined, tiny_orl.model_copy(update={"backbone": SMALLEST}), new_run, "shown")
    events = EventAccumulator(str(mined.run_folder(row.run_id or 0) / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [1, 2, 3, 4]
    names = {"loss_inter", "learning_rate", "feature_spread", "gradient_norm", "data_wait", "images_per_second"}
    assert names <= set(events.Tags()["scalars"])


def test_kept_correspondences_come_back_as_they_were(tmp_path: Path, mined: Workspace, tiny_orl: ORLConfig) -> None:
    found = gathered(mined, "set", tiny_orl)
    found.save(tmp_path / FILE)
    again = Correspondences.load(tmp_path / FILE)
    assert again.files == found.files
    assert again.digest() == found.digest()
    np.testing.assert_array_equal(again.sizes, found.sizes)
