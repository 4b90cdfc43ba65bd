"""Checks during a training: rank and k-NN accuracy of features, probes, and the alarm."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.probes import probed_pairs, probed_steps
from orl_explorer.db.runs.runs import add_run, metrics
from orl_explorer.db.sets.read import complete_set_named, neighbor_ids_of, rois_of
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.pixels import UnreadableImage
from orl_explorer.train.progress import Progress
from orl_explorer.train.training import monitors
from orl_explorer.train.training.alarms import COLLAPSE, Collapse, collapsed
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.training.monitors import FeatureCheck, Probes, embed
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import pretrain, train


@pytest.fixture
def mined(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the twelve annotated scenes with the set 'demo-starter'."""
    shutil.copytree(mined_workspace.path, tmp_path / "workspace")
    return open_workspace(tmp_path / "workspace")


@pytest.fixture
def byol() -> BYOL:
    torch.manual_seed(0)
    return BYOL("resnet18", 32, 16).train()


def features(workspace: Workspace, config: BYOLConfig) -> FeatureCheck:
    return FeatureCheck(workspace, dataset_named(workspace.store, "demo").id, config, Progress())


def test_the_check_is_a_knn_classifier_of_the_largest_objects_category(
    mined: Workspace, tiny_byol: BYOLConfig, byol: BYOL, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = features(mined, tiny_byol)
    seen: dict[str, np.ndarray] = {}

    def one_hot(method: BYOL, pixels: np.ndarray) -> torch.Tensor:
        seen["pixels"] = pixels
        return torch.eye(4)[[0, 0, 1, 1, 2, 3, 0, 0, 1, 1, 2, 2]]

    labels = torch.tensor([0, 0, 1, 2, 2, 2, 0, 0, 1, 1, 2, 2])
    monkeypatch.setattr(monitors, "embed", one_hot)
    monkeypatch.setattr(check, "_sample", (np.zeros((12, 32, 32, 3), np.uint8), labels))
    # Bank: features 0 1 2 0 1 2 with categories 0 1 2 0 1 2; queries: 0 1 3 0 1 2 with 0 2 2 0 1 2.
    found = check(byol, epoch=2, step=4, saved=True)
    assert found["knn_accuracy"] in (pytest.approx(4 / 6), pytest.approx(5 / 6))  # feature 3 is near to nothing
    assert found["knn_chance"] == pytest.approx(2 / 6)  # categories are even; the lowest, 0, stands for them
    # Four orthogonal directions with 4, 4, 3 and 1 photos: singular values 2, 2, √3 and 1.
    shares = np.sqrt([4, 4, 3, 1]) / np.sqrt([4, 4, 3, 1]).sum()
    assert found["feature_rank"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_photos_and_categories_of_the_check_are_those_of_the_data_set(
    mined: Workspace, tiny_byol: BYOLConfig, byol: BYOL
) -> None:
    check = features(mined, tiny_byol)
    pixels, labels = check._photos()
    assert pixels.shape == (12, 32, 32, 3)
    assert len(labels) == 12
    again = features(mined, tiny_byol.model_copy(update={"seed": 9}))
    np.testing.assert_array_equal(again._photos()[0], pixels)  # whatever the run's seed


@pytest.mark.parametrize(("every", "epochs"), [(0, []), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5])])
def test_it_comes_every_so_many_epochs_and_at_the_end(
    mined: Workspace, tiny_byol: BYOLConfig, byol: BYOL, every: int, epochs: list[int]
) -> None:
    check = features(mined, tiny_byol.model_copy(update={"knn_every": every, "epochs": 5}))
    assert [e for e in range(1, 6) if check(byol, e, e, False)] == epochs


def test_without_annotations_only_the_rank_is_told_and_without_photos_nothing(
    mined: Workspace, photographed: Workspace, tiny_byol: BYOLConfig, byol: BYOL, scenes: Path, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    config = tiny_byol.model_copy(update={"knn_every": 1})
    found = features(photographed, config)(byol, 1, 1, True)
    assert found.keys() == {"feature_rank"}
    assert 1 < found["feature_rank"] <= dataset_named(photographed.store, "demo").image_count
    monkeypatch.setattr("orl_explorer.train.photos.Photos.path", lambda *_: Path("/gone.jpg"))
    assert features(mined, config)(byol, 1, 1, True) == {}


def test_looking_changes_nothing(mined: Workspace, tiny_byol: BYOLConfig, byol: BYOL) -> None:
    before = {name: value.clone() for name, value in byol.state_dict().items()}
    state = torch.get_rng_state()
    found = embed(byol, np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8))
    assert tuple(found.shape) == (5, 512)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    assert byol.backbone.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in byol.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_checks_and_probes_leave_what_is_learnt_as_it_is(
    mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable
) -> None:
    config = tiny_byol.model_copy(update={"checkpoint_every": 1})
    digests = []
    for every in (0, 1):
        run = new_run(mined, "pretrain", f"every-{every}")
        row = pretrain(mined, "demo", f"every-{every}", config.model_copy(update={"knn_every": every}), run_id=run)
        assert row is not None
        digests.append(row.weights_sha256)
    assert digests[0] == digests[1]


def test_probes_are_matched_anew_at_every_checkpoint_and_kept(
    mined: Workspace, tiny_orl: ORLConfig, new_run: Callable
) -> None:
    run = add_run(mined.store, Run(kind="train", name="probed", params={})).id
    train(mined, "demo-starter", "probed", tiny_orl.model_copy(update={"checkpoint_every": 1}), run_id=run)
    assert probed_steps(mined.store, run) == [2, 4]
    first, second = (probed_pairs(mined.store, run, step) for step in (2, 4))
    assert {(p.image_id, p.neighbor_id) for p in first} == {(p.image_id, p.neighbor_id) for p in second}
    assert len({p.image_id for p in first}) == 4
    assert [p.similarity for p in first] != [p.similarity for p in second]
    found = complete_set_named(mined.store, "demo-starter")
    for query in {p.image_id for p in first}:
        rois = len(rois_of(mined.store, found.id, [query])[query].ids)
        of_it = [p for p in first if p.image_id == query]
        nearest = list(neighbor_ids_of(mined.store, found.id, [query])[query])[:2]
        assert {p.neighbor_id for p in of_it} == set(nearest)
        for neighbor in nearest:
            ranks = [p.rank for p in of_it if p.neighbor_id == neighbor]
            assert len(ranks) == max(1, int(0.1 * min(20, rois)))  # N, of the twenty RoIs that a probe takes at most
            assert ranks == list(range(1, len(ranks) + 1))


def test_what_a_probe_finds_is_what_matching_finds(mined: Workspace, tiny_orl: ORLConfig, byol: BYOL) -> None:
    run = add_run(mined.store, Run(kind="train", name="probed", params={})).id
    found = complete_set_named(mined.store, "demo-starter")
    probes = Probes(mined, found, tiny_orl, run, Progress())
    similarity = probes(byol, 1, 7, saved=True)["probe_similarity"]
    pairs = probed_pairs(mined.store, run, 7)
    best = [p.similarity for p in pairs if p.rank == 1]
    assert similarity == pytest.approx(np.mean(best), abs=1e-6)
    assert probes(byol, 1, 8, saved=False) == {}
    assert probed_steps(mined.store, run) == [7]
    probes(byol, 1, 7, saved=True)  # an attempt before may have been killed after it wrote
    assert len(probed_pairs(mined.store, run, 7)) == len(pairs)


def test_stage_1_probes_with_the_newest_set_of_its_data_set(
    mined: Workspace, tiny_byol: BYOLConfig, new_run: Callable
) -> None:
    run = new_run(mined, "pretrain", "probed")
    pretrain(mined, "demo", "probed", tiny_byol, run_id=run)
    assert probed_steps(mined.store, run) == [4]
    assert {name for _, name, _ in metrics(mined.store, run)} == set()  # a silent call reports to nobody


def test_features_that_are_not_finite_numbers_are_left_out_with_a_line(
    mined: Workspace, tiny_orl: ORLConfig, byol: BYOL, stop_after: Callable
) -> None:
    torch.nn.init.constant_(next(byol.backbone.parameters()), float("inf"))
    dataset, found, heard = (
        dataset_named(mined.store, "demo"),
        complete_set_named(mined.store, "demo-starter"),
        stop_after(),
    )
    assert FeatureCheck(mined, dataset.id, tiny_orl, heard)(byol, 2, 4, saved=True) == {}
    run = add_run(mined.store, Run(kind="train", name="p", params={})).id
    assert Probes(mined, found, tiny_orl, run, heard)(byol, 1, 7, saved=True) == {}
    assert heard.lines == [
        "The check of features leaves out epoch 2: they are not finite numbers.",
        "The probes leave out epoch 1: its features are not finite numbers.",
    ]
    assert probed_steps(mined.store, run) == []


def test_the_check_and_the_probes_name_photos_that_they_leave_out(
    mined: Workspace, tiny_orl: ORLConfig, byol: BYOL, stop_after: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise UnreadableImage("the file is not there any more")

    monkeypatch.setattr(monitors, "read_image", lost)
    monkeypatch.setattr(monitors, "read_crops", lost)
    dataset, found = dataset_named(mined.store, "demo"), complete_set_named(mined.store, "demo-starter")
    heard = stop_after()
    check = FeatureCheck(mined, dataset.id, tiny_orl, heard)
    assert check(byol, 2, 4, saved=True) == {}
    assert len(heard.lines) == 12
    assert min(heard.lines) == "The check of features leaves out images/scene-000.jpg: the file is not there any more."
    probes = Probes(mined, found, tiny_orl, add_run(mined.store, Run(kind="train", name="p", params={})).id, heard)
    assert probes(byol, 1, 7, saved=True) == {}
    assert heard.lines[-1].startswith("The probes leave out images/scene-")


@pytest.mark.parametrize(
    ("spreads", "expected"),
    [([0.5] * 60, False), ([0.01] * 49, False), ([0.01] * 50, True), ([0.5] * 9 + [0.01] * 50, True)],
)
def test_fifty_steps_without_spread_are_a_collapse(spreads: list[float], expected: bool) -> None:
    assert collapsed(spreads) == expected


def test_the_alarm_is_raised_once_for_each_collapse() -> None:
    alarm = Collapse()
    said = [alarm.seen(value) for value in [0.01] * 60 + [0.5] * 3 + [0.01] * 50]
    assert [i for i, line in enumerate(said) if line] == [49, 112]
    assert said[49] == COLLAPSE
