"""RoIs of a dataset's first photos, before anything is mined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.app.explorer import proposed
from orl_explorer.app.explorer.proposed import first_rois
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show

# Three boxes of which the paper's rules keep the first: the second overlaps it, the third is small.
RAW = np.array([[10, 20, 200, 150], [12, 22, 200, 150], [5, 5, 40, 40]], np.int16)


@pytest.fixture
def dataset_id(nowhere: Workspace, scenes: Path) -> int:
    ingest(nowhere, scenes, name="mine")
    return dataset_named(nowhere.store, "mine").id


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[tuple], np.ndarray | str]], None]:
    """Set what a search finds."""
    monkeypatch.setattr(proposed, "is_compiled", lambda: True)
    return lambda search: monkeypatch.setattr(proposed, "_searched", search)


def test_the_first_photos_show_the_rois_that_mining_would_compare(
    nowhere: Workspace, dataset_id: int, found: Callable
) -> None:
    found(lambda job: RAW if not job[0].endswith("scene-001.jpg") else "the file is empty")
    shown = first_rois(nowhere, dataset_id)
    assert [one.image.path[-13:] for one in shown] == [f"scene-{i:03d}.jpg" for i in (0, 2, 3, 4, 5)]
    assert [one.boxes.tolist() for one in shown] == [[[10, 20, 200, 150]]] * 5


def test_opencv_would_take_too_long(
    nowhere: Workspace, dataset_id: int, found: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(lambda job: pytest.fail("searched"))
    monkeypatch.setattr(proposed, "is_compiled", lambda: False)
    assert first_rois(nowhere, dataset_id) == []


def test_a_dataset_that_was_just_added_shows_its_rois(dataset_id: int, found: Callable, show: Show) -> None:
    found(lambda job: RAW)
    at = show("explore")
    assert not at.exception
    assert "RoIs that mining would compare" in [s.value for s in at.subheader]
    [drawn] = [h.body for h in at.get("html") if "first-rois" in h.body]
    assert drawn.count("<figure>") == 6
    assert "scene-000.jpg · 1 RoI<" in drawn
    assert 'alt="scene-000.jpg with 1 RoI"' in drawn
    assert "<i style" in drawn
