"""A training that is interrupted and resumed ends with bitwise the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orl_explorer.db.models import Encoder
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.orl import bootstrap
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.simclr import SimCLR
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.progress import Stopped
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training import data
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.training.trained_on import correspondences
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine, pretrain, train

STEPS = 4  # 12 photos, 6 at a time, 2 epochs
VIEWS = BYOL("resnet18", 8, 8).views(32)


@pytest.fixture(scope="module")
def mined(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine) -> Workspace:  # type: ignore[no-untyped-def]
    """A workspace with the set 'set', shared by the tests here. Each training has its own run."""
    from orl_explorer.db.models import Run

    made = open_workspace(tmp_path_factory.mktemp("training") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    run = add_run(made.store, Run(kind="mine", name="set", params={})).id
    mine(made, "demo", "starter", "set", tiny_mine, run_id=run, workers=2)
    return made


class Stage:
    """Trains stage 1 or 3 in a new run, and again in the same run after a stop."""

    def __init__(self, workspace: Workspace, kind: str, new_run: Callable) -> None:
        self.workspace, self.kind, self.new_run = workspace, kind, new_run

    def run(self, config: TrainConfig, *progresses: object) -> tuple[Encoder, int]:
        """Attempt the same run once for each progress. All but the last are stopped."""
        number = self.new_run(self.workspace, self.kind, "encoder")
        stage, subject = (pretrain, "demo") if self.kind == "pretrain" else (train, "set")
        for progress in progresses[:-1]:
            with pytest.raises(Stopped):
                stage(self.workspace, subject, f"e{number}", config, run_id=number, progress=progress)  # type: ignore[arg-type]
        last = progresses[-1] if progresses else None
        return stage(self.workspace, subject, f"e{number}", config, run_id=number, progress=last), number  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tiny(tiny_byol: BYOLConfig, tiny_orl: ORLConfig) -> dict[str, TrainConfig]:
    """Settings of each stage, and of stage 3 over another base, by kind and base."""
    queued = with_settings(tiny_orl, {"base": "moco", "queue": 16, "norm_group": 3})
    over_simclr = with_settings(tiny_orl, {"base": "simclr"})
    return {"pretrain": tiny_byol, "train": tiny_orl, "train moco": queued, "train simclr": over_simclr}


@pytest.fixture(scope="module")
def uninterrupted(mined: Workspace, tiny: dict[str, TrainConfig]) -> dict[str, str]:
    """The digest of the weights of each stage without interruption."""
    from orl_explorer.db.models import Run

    def number(workspace: Workspace, kind: str, name: str) -> int:
        return add_run(workspace.store, Run(kind=kind, name=name, params={})).id

    return {what: Stage(mined, what.split()[0], number).run(tiny[what])[0].weights_sha256 for what in tiny}


@pytest.mark.parametrize(
    ("what", "step", "workers"),
    [("pretrain", 2, 2), ("train", 3, 2), ("train", 1, 0), ("train moco", 3, 0), ("train simclr", 3, 0)],
)
def test_stopped_and_resumed_it_learns_bitwise_the_same(
    mined: Workspace,
    uninterrupted: dict[str, str],
    tiny: dict[str, TrainConfig],
    new_run: Callable,
    stop_after: Callable,
    what: str,
    step: int,
    workers: int,
) -> None:
    config = tiny[what].model_copy(update={"workers": workers})
    last = stop_after()
    # The first advance announces what was resumed, so the stop comes one step earlier than its number.
    encoder, run = Stage(mined, what.split()[0], new_run).run(config, stop_after(step + 1), last)
    assert f"Resumed at step {step} of {STEPS}." in last.lines
    assert encoder.weights_sha256 == uninterrupted[what]
    assert encoder.run_id == run


def test_a_network_that_drops_at_random_learns_the_same_when_resumed(
    mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable, stop_after: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = bootstrap.build_trainable

    def dropping(architecture: str) -> tuple[nn.Module, int]:
        backbone, features = built(architecture)
        backbone.register_forward_hook(lambda network, _, found: F.dropout2d(found, 0.5, network.training))
        return backbone, features

    monkeypatch.setattr(bootstrap, "build_trainable", dropping)
    whole, _ = Stage(mined, "pretrain", new_run).run(tiny_byol)
    resumed, _ = Stage(mined, "pretrain", new_run).run(tiny_byol, stop_after(3), stop_after())
    assert resumed.weights_sha256 == whole.weights_sha256


def test_stopped_twice_and_at_the_very_last_step_it_learns_the_same(
    mined: Workspace, uninterrupted: dict[str, str], tiny_byol: BYOLConfig, new_run: Callable, stop_after: Callable
) -> None:
    # The second attempt announces what it resumed, then does three steps: the last one is the fourth.
    progresses = stop_after(2), stop_after(4), stop_after()
    encoder, _ = Stage(mined, "pretrain", new_run).run(tiny_byol, *progresses)
    assert encoder.weights_sha256 == uninterrupted["pretrain"]
    assert f"Resumed at step {STEPS} of {STEPS}." in progresses[-1].lines


def test_the_seed_decides_what_is_learnt(mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable) -> None:
    stage = Stage(mined, "pretrain", new_run)
    one_step = tiny_byol.model_copy(update={"epochs": 1, "batch_size": 12})
    first, again = (stage.run(one_step)[0].weights_sha256 for _ in range(2))
    other = stage.run(one_step.model_copy(update={"seed": 1}))[0].weights_sha256
    assert first == again
    assert first != other


def test_what_was_learnt_is_an_encoder_with_a_projector_ready_for_mining(
    mined: Workspace, tiny_orl: ORLConfig, new_run: Callable
) -> None:
    row, run = Stage(mined, "train", new_run).run(tiny_orl.model_copy(update={"epochs": 1}))
    assert (row.kind, row.architecture) == ("stage3", "resnet18")
    assert (row.image_features, row.roi_features) == (16, 512)
    assert row.weights_path == f"runs/{run}/encoder.pt"
    assert weights.load_encoder(mined, row).image_features == 16


def test_the_loss_learning_rate_and_terms_are_reported_at_every_step(
    mined: Workspace, tiny_orl: ORLConfig, new_run: Callable, stop_after: Callable
) -> None:
    heard = stop_after()
    numbers: dict[int, dict[str, float]] = {}
    heard.metric = lambda step, values: numbers.__setitem__(step, values)
    Stage(mined, "train", new_run).run(tiny_orl.model_copy(update={"epochs": 1}), heard)
    assert list(numbers) == [1, 2]
    first = numbers[1]
    terms = first["loss_image"] + first["loss_intra"] + first["loss_inter"]
    assert first["loss"] == pytest.approx(terms, abs=1e-4)
    assert first["loss"] == pytest.approx(12, abs=4)
    # One epoch of two steps, all of it warm-up: 0.2 * 6 / 256 times the cosine times the ramp.
    assert first["learning_rate"] == pytest.approx(0.0046875 * 1e-4)
    assert numbers[2]["learning_rate"] == pytest.approx(0.0046875 * 0.5 * 0.50005)


def test_a_loss_that_is_not_finite_ends_the_training_with_a_sentence(
    mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.orl.bootstrap.regression_loss", lambda a, b: (a.sum() - b.sum()) * torch.nan)
    with pytest.raises(UserError, match=r"The loss is not finite at step 0 \(learning rate 4.69e-07\)") as refusal:
        Stage(mined, "pretrain", new_run).run(tiny_byol)
    assert str(refusal.value).count("scene-0") == 6  # every photo of the batch


def test_a_batch_larger_than_the_data_set_is_refused_with_a_sentence(
    mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable
) -> None:
    large = tiny_byol.model_copy(update={"batch_size": 16})
    with pytest.raises(UserError, match=r"A batch of 16 photos is too large: there are 12. .*=3"):
        Stage(mined, "pretrain", new_run).run(large)


@pytest.mark.parametrize(
    ("zero", "missing"),
    [
        ("image_weight", {"image_1", "image_2"}),
        ("intra_weight", {"roi", "roi_jittered"}),
        ("inter_weight", {"query_roi", "key_roi"}),
    ],
)
def test_a_branch_of_weight_0_draws_no_view_and_leaves_the_others_as_they_are(
    mined: Workspace, tiny_orl: ORLConfig, zero: str, missing: set[str]
) -> None:
    found = complete_set_named(mined.store, "set")
    rows = correspondences(mined, found, _dataset(mined), tiny_orl)
    whole = data.RoiViews(rows, VIEWS, tiny_orl)[0, 3]
    part = data.RoiViews(rows, VIEWS, tiny_orl.model_copy(update={zero: 0.0}))[0, 3]
    assert set(whole) - set(part) == missing
    for name, view in part.items():
        assert torch.equal(view, whole[name]), name


def test_the_first_view_of_each_branch_goes_through_pipeline_1_and_the_second_through_2(
    mined: Workspace, tiny_orl: ORLConfig
) -> None:
    rows = correspondences(mined, complete_set_named(mined.store, "set"), _dataset(mined), tiny_orl)
    views = data.RoiViews(rows, VIEWS, tiny_orl, changed=False)  # what is drawn, not yet done
    drawn = [views[epoch, index] for epoch in range(6) for index in range(len(views))]
    sigma, solarize = -2, -1
    for name in ("image_1", "roi", "query_roi"):
        changes = torch.stack([d[name + data.CHANGES] for d in drawn])
        assert (changes[:, sigma] > 0).all(), name
        assert (changes[:, solarize] == 0).all(), name
    for name in ("image_2", "roi_jittered", "key_roi"):
        changes = torch.stack([d[name + data.CHANGES] for d in drawn])
        assert 0 < (changes[:, sigma] > 0).float().mean() < 0.3, name  # one in ten
        assert 0.05 < changes[:, solarize].mean() < 0.4, name  # two in ten


def test_rois_go_through_the_pipelines_of_the_base(mined: Workspace, tiny_orl: ORLConfig) -> None:
    rows = correspondences(mined, complete_set_named(mined.store, "set"), _dataset(mined), tiny_orl)
    blurred_half = SimCLR("resnet18", 8, 8).views(32)
    views = data.RoiViews(rows, blurred_half, tiny_orl, changed=False)
    drawn = [views[epoch, index] for epoch in range(6) for index in range(len(views))]
    for name in data.VIEWS:
        changes = torch.stack([d[name + data.CHANGES] for d in drawn])
        assert 0.3 < (changes[:, -2] > 0).float().mean() < 0.7, name
        assert (changes[:, -1] == 0).all(), name


def test_views_depend_on_epoch_and_photo_only(mined: Workspace, tiny_orl: ORLConfig) -> None:
    rows = correspondences(mined, complete_set_named(mined.store, "set"), _dataset(mined), tiny_orl)
    first = data.RoiViews(rows, VIEWS, tiny_orl)
    views = {key: first[key] for key in [(0, 3), (1, 3), (0, 4)]}
    again = data.RoiViews(rows, VIEWS, tiny_orl)[0, 3]
    for name, view in again.items():
        assert torch.equal(view, views[0, 3][name]), name
        assert not torch.equal(view, views[1, 3][name]), name
        assert not torch.equal(view, views[0, 4][name]), name


def test_a_set_is_loaded_as_arrays_that_say_what_the_store_says(mined: Workspace, tiny_orl: ORLConfig) -> None:
    from orl_explorer.db.sets.read import training_rows

    found = complete_set_named(mined.store, "set")
    rows = correspondences(mined, found, _dataset(mined), tiny_orl)
    assert len(rows.pairs) == found.pair_count
    assert len(rows.rois) == found.candidate_count
    assert len(rows.queries) == 12
    for i, stored in enumerate(training_rows(mined.store, found.id)):
        assert rows.files[i].endswith(stored.image.path)
        assert rows.sizes[i].tolist() == [stored.image.width, stored.image.height]
        assert rows.rois[rows.roi_start[i] : rows.roi_start[i + 1]].tolist() == stored.rois.tolist()
        span = range(rows.neighbor_start[i], rows.neighbor_start[i + 1])
        for j, (neighbor, pairs) in zip(span, stored.neighbors, strict=True):
            assert rows.files[rows.neighbors[j]].endswith(neighbor.path)
            assert rows.pairs[rows.pair_start[j] : rows.pair_start[j + 1]].tolist() == pairs.tolist()


def _dataset(workspace: Workspace):  # type: ignore[no-untyped-def]
    from orl_explorer.db.photos import dataset_named

    return dataset_named(workspace.store, "demo")
