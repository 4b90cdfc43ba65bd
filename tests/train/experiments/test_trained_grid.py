"""A grid of trainings: each cell is an ordinary run that is done once, and one table lists all cells."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update

from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_named, ensure_dataset
from orl_explorer.db.runs.runs import add_run, run_by_id, runs, update_run
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import AttentionConfig, KNNConfig
from orl_explorer.train.evaluate.scores import Estimate, Scores
from orl_explorer.train.experiments.grid import (
    GridSubject,
    Trained,
    ahead_of_first,
    averaged,
    plot,
    refuse_files,
    save_grid,
    sweep_train,
)
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs import once
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import evaluation, pretraining, rows

pytestmark = pytest.mark.usefixtures("runs_in_process")


class Heard(Progress):
    """Keeps the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def labelled(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes in folders of two classes, for the k-NN protocol."""
    root = tmp_path_factory.mktemp("labelled")
    for number, path in enumerate(sorted(small_scenes.iterdir())):
        place = root / ("train" if number % 3 else "val") / f"class-{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).symlink_to(path)
    return root


@pytest.fixture(scope="module")
def prepared(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the scenes and a random encoder."""
    made = open_workspace(tmp_path_factory.mktemp("grid") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "random:resnet18", "chance")
    return made


def test_a_grid_is_trained_once_and_again_only_where_it_grew(
    prepared: Workspace, labelled: Path, tiny_mine: MineConfig, tiny_orl: ORLConfig, tmp_path: Path
) -> None:
    subject = GridSubject(photos=rows(prepared, "demo", "chance"), mining=tiny_mine)
    base = tiny_orl.model_copy(update={"epochs": 1, "batch_size": 12, "checkpoint_every": 1})
    measure = KNNConfig(ks=(1,), k=1)

    def sweep(grid: dict[str, list[str]], settings: ORLConfig = base) -> tuple[list[Trained], list[str]]:
        heard = Heard()
        return sweep_train(prepared, subject, grid, settings, str(labelled), measure, progress=heard), heard.lines

    found, _ = sweep({"neighbors": ["2"], "inter_weight": ["1", "0"]})
    assert [cell.settings for cell in found] == [
        {"neighbors": "2", "inter_weight": "1"},
        {"neighbors": "2", "inter_weight": "0"},
    ]
    assert [cell.encoder for cell in found] == [
        "demo-chance-neighbors=2-inter_weight=1",
        "demo-chance-neighbors=2-inter_weight=0",
    ]
    assert {cell.correspondence for cell in found} == {"demo-chance-neighbors=2"}  # mined once for both
    kinds = sorted(run.kind for run in runs(prepared.store))
    assert kinds == ["evaluate", "evaluate", "mine", "train", "train"]
    trained = [run for run in runs(prepared.store) if run.kind == "train"]
    assert sorted(run.params["config"]["inter_weight"] for run in trained) == [0, 1]
    assert {run.params["config"]["neighbors"] for run in trained} == {0}  # K was mining's
    assert {run.params["config"]["neighbors"] for run in runs(prepared.store) if run.kind == "mine"} == {2}

    # Another order, another number of loader processes: nothing new to do.
    again, lines = sweep(
        {"inter_weight": ["0", "1"], "neighbors": ["2"]}, base.model_copy(update={"workers": 1, "knn_every": 3})
    )
    assert len(runs(prepared.store)) == 5
    assert again[0].numbers == found[1].numbers
    assert sum("already" in line for line in lines) == 6

    save_grid(found, "accuracy", "accuracy", [tmp_path / "grid.csv", tmp_path / "grid.json", tmp_path / "grid.png"])
    with (tmp_path / "grid.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [row["inter_weight"] for row in lines] == ["1", "0"]
    assert float(lines[0]["accuracy"]) == found[0].numbers["accuracy"]
    assert json.loads((tmp_path / "grid.json").read_text())[1]["encoder"] == found[1].encoder
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (1100, 720)


def finished(workspace: Workspace, config: dict, status: str, dataset: str = "demo", **ids: int) -> Run:
    """Write a run of stage 1 that has ended."""
    params = {"dataset": dataset, "processes": 1, "config": config}
    ids = {"dataset_id": dataset_named(workspace.store, dataset).id} | ids
    run = add_run(workspace.store, Run(kind="pretrain", name="x", params=params, **ids))
    update_run(workspace.store, run.id, status=status)
    return run_by_id(workspace.store, run.id)


def recognised(workspace: Workspace, config: BYOLConfig, dataset: str = "demo") -> int | None:
    same = once.run_that_did(workspace, pretraining(workspace, dataset, config))
    return None if same is None else same.id


def test_a_run_is_recognised_by_all_that_decides_what_it_makes(
    photographed: Workspace, tiny_byol: BYOLConfig, tmp_path: Path
) -> None:
    run = finished(photographed, tiny_byol.model_dump(), "failed")
    ensure_dataset(photographed.store, "other", str(tmp_path), "folder")

    def found(**changes: object) -> int | None:
        return recognised(photographed, tiny_byol.model_copy(update=changes))

    assert found() == found(workers=3, checkpoint_every=7, knn_every=0) == run.id
    assert found(seed=1) is found(epochs=3) is found(batch_size=4) is None
    assert recognised(photographed, tiny_byol, "other") is None


def test_a_run_that_is_done_counts_only_while_what_it_made_is_there(
    photographed: Workspace, tiny_byol: BYOLConfig
) -> None:
    finished(photographed, tiny_byol.model_dump(), "done")  # its encoder is nowhere
    assert recognised(photographed, tiny_byol) is None


def test_settings_of_another_version_are_never_the_same(photographed: Workspace, tiny_byol: BYOLConfig) -> None:
    finished(photographed, {"method": "byol", "warp": 9}, "failed")
    assert recognised(photographed, tiny_byol) is None


def test_a_cell_that_was_cut_short_goes_on_in_the_run_that_it_had(prepared: Workspace, tiny_byol: BYOLConfig) -> None:
    config = tiny_byol.model_copy(update={"seed": 5, "epochs": 1})
    first = finished(prepared, config.model_dump(), "crashed")
    with prepared.store.session() as session:
        session.execute(update(Run).where(Run.id == first.id).values(name="cut-short"))
    heard = Heard()
    encoder = once.trained(prepared, pretraining(prepared, "demo", config, "another"), heard)
    assert (encoder.name, encoder.run_id) == ("cut-short", first.id)
    assert heard.lines[0] == f"Resuming run {first.id} ('cut-short')."


def test_a_run_that_fails_is_told_with_its_reason(prepared: Workspace) -> None:
    missing = AttentionConfig(photos=3)
    with pytest.raises(UserError, match="has no annotations to measure against"):
        once.evaluated(prepared, evaluation(prepared, "chance", "demo", missing))


def test_mistakes_are_found_before_anything_runs(
    prepared: Workspace, labelled: Path, tiny_orl: ORLConfig, tmp_path: Path
) -> None:
    before, subject = len(runs(prepared.store)), GridSubject(photos=rows(prepared, "demo", "chance"))
    for grid, data, sentence in (
        ({"warp": ["1"]}, labelled, "There is no setting 'warp'"),
        ({"epochs": ["1", "many"]}, labelled, "Invalid value for epochs: many. Use 1 to 100000."),
        ({"min_size": ["0"]}, labelled, "Invalid value for min_size: 0."),
        ({"epochs": ["1"]}, tmp_path, "has neither ImageSets/Main nor train"),
    ):
        with pytest.raises(UserError, match=sentence):
            sweep_train(prepared, subject, grid, tiny_orl, str(data), KNNConfig())
    with pytest.raises(UserError, match=r"grid.xls must end in .csv, .json for the table or .png, .svg, .pdf"):
        refuse_files([tmp_path / "grid.xls"])
    assert len(runs(prepared.store)) == before


def cell(accuracy: float, **settings: str) -> Trained:
    return Trained(settings, "set", "encoder", 0, {"accuracy": accuracy})


def test_combinations_are_compared_with_the_first_by_photo_and_seed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, perfect, last = np.array([[1], [-1], [1], [-1]]), [4.0, 1.0, 3.0, 2.0], [1.0, 4.0, 2.0, 3.0]
    found, kept = [], {}  # average precision 1 and 0.5
    for inter, seed, values in (("0", "0", last), ("0", "1", last), ("1", "0", perfect), ("1", "1", last)):
        run = add_run(workspace.store, Run(kind="evaluate", name="x", params={})).id
        found.append(Trained({"inter_weight": inter, "seed": seed}, "set", "encoder", run, {}))
        kept[workspace.run_folder(run)] = Scores(["cat"], np.array([values]).T, labels)
    monkeypatch.setattr(Scores, "kept_in", kept.__getitem__)
    [estimate] = ahead_of_first(workspace, found)
    assert estimate.value == 0.25  # half a point for seed 0, none for seed 1
    assert 0 <= estimate.low < 0.25 < estimate.high
    assert Estimate(0.081, -0.046, 0.1153).signed() == "+8.1 (−4.6 to +11.5)"


def test_seeds_are_averaged_and_others_are_lines() -> None:
    found = [
        cell(0.50, neighbors="1", inter_weight="1", seed="0"),
        cell(0.60, neighbors="1", inter_weight="1", seed="1"),
        cell(0.40, neighbors="1", inter_weight="0", seed="0"),
        cell(0.70, neighbors="10", inter_weight="1", seed="0"),
    ]
    groups = averaged(found, "accuracy")
    assert groups == [
        ({"neighbors": "1", "inter_weight": "1"}, [0.5, 0.6]),
        ({"neighbors": "1", "inter_weight": "0"}, [0.4]),
        ({"neighbors": "10", "inter_weight": "1"}, [0.7]),
    ]
    [axes] = plot(found, "accuracy", "accuracy").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10"]
    lines = {c.get_label(): c.lines[0].get_ydata().tolist() for c in axes.containers}
    assert lines["inter_weight = 1"] == pytest.approx([55, 70])
    assert lines["inter_weight = 0"] == pytest.approx([40])
    assert axes.get_ylabel() == "accuracy (%)"
