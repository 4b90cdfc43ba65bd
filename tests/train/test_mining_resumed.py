"""Mining that was stopped anywhere and resumed, or ran with other workers, finds the same."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from train.config import MineConfig
from train.errors import UserError
from train.ingest import ingest
from train.mine import mine
from train.progress import Stopped
from train.workspace import Workspace, open_workspace

TABLES = ("proposal", "roi", "set_image", "candidate", "neighbor", "pair")
LATE_PHASES = ("Embedding photos", "Finding neighbours", "Matching regions")


def rows_digest(workspace: Workspace) -> str:
    """SHA-256 over every row that a mining writes."""
    sha = hashlib.sha256()
    with workspace.store.session() as session:
        for table in TABLES:
            for row in sorted(map(tuple, session.execute(text(f"SELECT * FROM {table}")))):
                sha.update(repr(row).encode())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def template(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from train import weights

    made = open_workspace(tmp_path_factory.mktemp("template") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    made.store.close()
    return made.path


@pytest.fixture
def fresh(template: Path, tmp_path: Path) -> Callable[[], Workspace]:
    """Makes workspaces that are ready to be mined, each on its own."""
    made: list[Workspace] = []

    def copy() -> Workspace:
        path = tmp_path / f"copy-{len(made)}"
        shutil.copytree(template, path)
        made.append(open_workspace(path))
        return made[-1]

    return copy


@pytest.fixture(scope="module")
def uninterrupted(template: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine: MineConfig) -> str:
    """Digest of the rows of a mining with one worker that nothing disturbed."""
    from db.models import Run
    from db.runs import add_run

    path = tmp_path_factory.mktemp("whole") / "workspace"
    shutil.copytree(template, path)
    workspace = open_workspace(path)
    run = add_run(workspace.store, Run(kind="mine", name="set", params={})).id
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1)
    return rows_digest(workspace)


def test_two_workers_find_what_one_finds(
    fresh: Callable, tiny_mine: MineConfig, new_run: Callable, uninterrupted: str
) -> None:
    workspace = fresh()
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=new_run(workspace, "mine", "set"), workers=2)
    assert rows_digest(workspace) == uninterrupted


def test_stopped_in_every_phase_and_resumed_it_finds_the_same(
    fresh: Callable, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable, uninterrupted: str
) -> None:
    workspace = fresh()
    run = new_run(workspace, "mine", "set")
    stopped_in = []
    for _ in range(14):
        # Proposals of 12 photos advance one by one, the later phases a batch at a time.
        progress = stop_after(1 if stopped_in else 5)
        with pytest.raises(Stopped):
            mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1, progress=progress)
        stopped_in.append(progress.phases[-1])
        if stopped_in[-1] == "Finding neighbours":
            break
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1)
    assert set(stopped_in) >= {"Proposing regions", "Embedding photos", "Filtering regions", "Embedding regions"}
    assert stopped_in.count("Embedding regions") > 1
    assert rows_digest(workspace) == uninterrupted


@pytest.mark.parametrize("phase", LATE_PHASES)
def test_stopped_at_the_end_of_a_phase_and_resumed_it_finds_the_same(
    fresh: Callable, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable, uninterrupted: str, phase: str
) -> None:
    workspace = fresh()
    run = new_run(workspace, "mine", "set")

    progress = stop_after()
    advance = progress.advance
    totals: dict[str, int] = {}
    seen = {"count": 0}

    def note(name: str, total: int) -> None:
        progress.phases.append(name)
        totals[name] = total
        seen["count"] = 0

    def stop_at_the_last(count: int = 1) -> None:
        advance(count)
        seen["count"] += count
        if progress.phases[-1] == phase and seen["count"] >= totals[phase]:
            raise Stopped

    progress.phase, progress.advance = note, stop_at_the_last
    with pytest.raises(Stopped):
        mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1, progress=progress)
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1)
    assert rows_digest(workspace) == uninterrupted


def test_photos_that_change_between_stop_and_resume_are_refused_with_a_sentence(
    fresh: Callable, small_scenes: Path, tmp_path: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    photos = Path(shutil.copytree(small_scenes, tmp_path / "own"))
    workspace = fresh()
    ingest(workspace, photos, name="own")
    run = new_run(workspace, "mine", "set")
    progress = stop_after()

    def stop_when_matching(name: str, total: int) -> None:
        if name == "Matching regions":
            raise Stopped

    progress.phase = stop_when_matching
    with pytest.raises(Stopped):
        mine(workspace, "own", "starter", "set", tiny_mine, run_id=run, workers=1, progress=progress)
    os.utime(photos / "scene-002.jpg", (1, 1))  # another file now
    ingest(workspace, photos, name="own")
    with pytest.raises(UserError, match="photos of the data set have changed since this mining began"):
        mine(workspace, "own", "starter", "set", tiny_mine, run_id=run, workers=1)
