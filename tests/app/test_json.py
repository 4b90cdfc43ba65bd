"""``--json`` of every command that prints a table: the same facts for programs, and nothing else on standard output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orl_explorer.train.workspace import Workspace, open_workspace
from tests.shell import orl


@pytest.fixture
def place(mined_workspace: Workspace, tmp_path: Path) -> Path:
    return shutil.copytree(mined_workspace.path, tmp_path / "workspace")


def said(place: Path, *words: str) -> Any:
    done = orl(*words, "--json", "--workspace", place)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_version_is_printed() -> None:
    assert orl("--version").stdout == "orl 0.1.0\n"


def test_datasets_and_encoders(place: Path, scenes: Path) -> None:
    [dataset] = said(place, "datasets")
    dataset.pop("created_at")
    assert 20 < dataset.pop("annotations") < 200
    assert dataset == {
        "id": 1,
        "name": "demo",
        "layout": "coco",
        "root": str(scenes),
        "photos": 12,
        "unreadable": 0,
        "gone": 0,
    }
    [encoder] = said(place, "encoders")
    assert (encoder["name"], encoder["kind"], encoder["supervised"]) == ("starter", "starter", True)
    assert (encoder["image_features"], encoder["roi_features"]) == (1280, 1280)
    assert said(place, "encoders", "list") == [encoder]


def test_an_ingest(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (8, 6)).save(photos / "a.png")
    (photos / "b.jpg").write_text("no photo")
    (photos / "c.psd").write_text("")
    found = said(tmp_path / "new", "ingest", str(photos), "--name", "few")
    dataset = found.pop("dataset")
    assert (dataset["name"], dataset["photos"], dataset["unreadable"]) == ("few", 1, 1)
    assert found == {
        "new": 2,
        "changed": 0,
        "unchanged": 0,
        "unreadable": [{"path": "b.jpg", "reason": "not an image that Pillow can identify"}],
        "gone": [],
        "returned": 0,
        "renamed": 0,
        "findings": [{"kind": "other-format", "name": ".psd", "count": 1, "detail": "", "image_id": None}],
    }


def test_sets(place: Path) -> None:
    [mined] = said(place, "sets")
    assert (mined["name"], mined["dataset"], mined["encoder"]) == ("demo-starter", "demo", "starter")
    assert (mined["photos"], mined["settings"]["neighbors"], mined["status"]) == (12, 4, "complete")
    shown = said(place, "sets", "show", "demo-starter")
    uses = {"trained_by_runs": [], "encoders_trained": [], "compared_with": [], "judged_pairs": 0}
    assert shown == mined | uses
    assert said(place, "quality", "demo-starter") == mined["quality"]


def test_runs(place: Path) -> None:
    [run] = said(place, "runs")
    assert (run["id"], run["kind"], run["name"], run["status"], run["exit_code"]) == (
        1,
        "mine",
        "demo-starter",
        "done",
        0,
    )
    assert run["folder"] == str(place / "runs" / "1")
    assert run["params"]["config"]["neighbors"] == 4
    assert said(place, "runs", "show", "1") == run | {"metrics": {}}


def test_the_option_may_stand_before_the_subcommand(place: Path) -> None:
    before = orl("runs", "--json", "--workspace", place, "show", "1")
    assert json.loads(before.stdout)["id"] == 1


def test_a_sweep_prints_json_alone_and_its_progress_elsewhere(place: Path, tmp_path: Path) -> None:
    words = ["sweep", "--dataset", "demo", "--encoder", "starter", "--grid", "neighbors=2,3", "--sample", "4"]
    done = orl(*words, "--set", "proposal_scale=0.5", "--json", "--to", tmp_path / "cells.json", "--workspace", place)
    cells = json.loads(done.stdout)
    assert [cell["neighbors"] for cell in cells] == [2, 3]
    assert cells == json.loads((tmp_path / "cells.json").read_text())
    assert "Sweeping" in done.stderr


def test_nothing_yet_is_an_empty_list(tmp_path: Path) -> None:
    open_workspace(tmp_path)
    for table in ("datasets", "encoders", "sets", "runs", "evaluations"):
        assert said(tmp_path, table) == []
    assert said(tmp_path, "evaluations", "table") == []
