"""``orl datasets move``, the summary of ``orl ingest``, and ``Workspace.move``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import orl_explorer as orl
from orl_explorer.app.cli import app


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, and a workspace without them."""
    monkeypatch.setenv("ORL_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def said(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.exception
    return " ".join(done.stdout.split())


def test_the_summary_of_an_ingest_names_gone_photos(photos: Path) -> None:
    said("ingest", str(photos))
    (photos / "1.png").rename(photos / "one.png")
    told = said("ingest", str(photos))
    assert "3 photos, 0 annotated objects; 1 new, 0 changed, 2 unchanged, 0 unreadable, 1 gone." in told
    assert "gone: 1.png 1 of the gone photos have a new name: a new photo has the same content." in told
    (photos / "one.png").rename(photos / "1.png")
    assert "1 photos that were gone or unreadable are as before." in said("ingest", str(photos))


def test_a_dataset_moves_on_the_command_line(photos: Path) -> None:
    said("ingest", str(photos), "--name", "trip")
    new = photos.rename(photos.parent / "new")
    (new / "1.png").unlink()
    refused = CliRunner().invoke(app, ["datasets", "move", "trip", str(new)])
    assert str(refused.exception) == (
        f"{new} does not hold the photos of 'trip': of 3, 2 are there, 1 (such as 1.png) is missing. To move the "
        "dataset nevertheless, accept missing photos (--accept-missing)."
    )
    told = said("datasets", "move", "trip", str(new), "--check", "--accept-missing")
    assert f"The photos of 'trip' are in {new} now: 2 there, 1 missing, 0 different. Compared the content of 2." in told
    assert "gone: 1.png" in told
    [row] = json.loads(said("datasets", "--json"))
    assert (row["photos"], row["unreadable"], row["gone"], row["root"]) == (2, 0, 1, str(new))


def test_a_dataset_moves_in_python_and_gone_photos_are_warned_of(photos: Path) -> None:
    workspace = orl.open_workspace()
    dataset = workspace.ingest(photos, name="trip")
    new = photos.rename(photos.parent / "new")
    assert workspace.move(dataset, new).root == str(new)
    (new / "1.png").unlink()
    with pytest.warns(UserWarning, match=r"^1 photos are gone: 1.png.$"):
        workspace.ingest(new, name="trip")
