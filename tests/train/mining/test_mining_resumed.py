"""Mining that is stopped and resumed, or runs with other workers, finds the same."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event, text

from orl_explorer.app.api.frames import pairs_frame
from orl_explorer.db.runs.runs import add_run, run_by_id
from orl_explorer.db.sets.read import complete_set_named, find_set
from orl_explorer.db.store import StoreError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs.worker import execute
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine, mining_of

TABLES = ("proposal", "roi", "set_image", "candidate", "neighbor", "pair")
LATE_PHASES = ("Embedding photos", "Finding neighbours", "Matching RoIs")


def rows_digest(workspace: Workspace) -> str:
    """Return the SHA-256 of every row that a mining run writes."""
    sha = hashlib.sha256()
    with workspace.store.session() as session:
        for table in TABLES:
            for row in sorted(map(tuple, session.execute(text(f"SELECT * FROM {table}")))):
                sha.update(repr(row).encode())
    return sha.hexdigest()


@pytest.fixture
def fresh(template: Path, tmp_path: Path) -> Callable[[], Workspace]:
    """Return a function that makes independent workspaces, ready to be mined."""
    made: list[Workspace] = []

    def copy() -> Workspace:
        path = tmp_path / f"copy-{len(made)}"
        shutil.copytree(template, path)
        made.append(open_workspace(path))
        return made[-1]

    return copy


@pytest.fixture(scope="module")
def uninterrupted(template: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine: MineConfig) -> str:
    """The digest of the rows of an uninterrupted mining run with one worker."""
    from orl_explorer.db.models import Run
    from orl_explorer.db.runs.runs import add_run

    path = tmp_path_factory.mktemp("whole") / "workspace"
    shutil.copytree(template, path)
    workspace = open_workspace(path)
    run = add_run(workspace.store, Run(kind="mine", name="set", params={})).id
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1)
    return rows_digest(workspace)


@pytest.mark.parametrize("workers", [2, 3])
def test_more_workers_find_what_one_finds(
    fresh: Callable, tiny_mine: MineConfig, new_run: Callable, uninterrupted: str, workers: int
) -> None:
    workspace = fresh()
    run = new_run(workspace, "mine", "set")
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=workers)
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
    assert set(stopped_in) >= {"Running selective search", "Embedding photos", "Filtering RoIs", "Embedding RoIs"}
    assert stopped_in.count("Embedding RoIs") > 1
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


PHASES = (
    *("Running selective search", "Embedding photos", "Filtering RoIs", "Embedding RoIs"),
    *("Finding neighbours", "Matching RoIs", "Measuring quality"),
)


class Telling(Progress):
    """Writes each phase to a pipe when it begins, one line each."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def phase(self, name: str, total: int) -> None:
        os.write(self._pipe, f"{name}\n".encode())


def mine_and_be_killed(workspace: Path, run: int, config: MineConfig, phase: str, delay: float) -> bool:
    """Mine in a new process and kill it some seconds into a phase. Return whether it ended before the kill."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()  # its workers die with it
        os.close(ours)
        progress = Telling(theirs)
        mine(open_workspace(workspace), "demo", "starter", "set", config, run_id=run, workers=1, progress=progress)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as phases:
        while (line := phases.readline()) and line.strip() != phase:
            pass
        time.sleep(delay)
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def test_killed_at_ten_random_moments_and_resumed_it_finds_the_same(
    fresh: Callable, tiny_mine: MineConfig, new_run: Callable, uninterrupted: str
) -> None:
    chance, killed = random.Random(3), 0
    while killed < 10:
        workspace = fresh()
        run = new_run(workspace, "mine", "set")
        workspace.store.close()  # no connection goes through a fork
        for phase in sorted(chance.choices(PHASES, k=7), key=PHASES.index):
            if mine_and_be_killed(workspace.path, run, tiny_mine, phase, chance.uniform(0, 0.1)):
                break
            killed += 1
            found = find_set(workspace.store, "set")
            if found is not None and found.status == "complete":
                break  # killed after its last commit, on the way out
            workspace.store.close()
        else:
            mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1)
        assert rows_digest(workspace) == uninterrupted


def full_store(workspace: Workspace) -> None:
    """Limit the store's file to three quarters of the pages that mining needs."""
    with workspace.store.engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    workspace.store.close()
    limit = f"PRAGMA max_page_count = {pages + 3}"
    event.listen(workspace.store.engine, "connect", lambda connection, _: connection.execute(limit))


def full_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise a full disk when the third batch of features is written."""
    calls = iter(range(100))

    def fsync(_: int) -> None:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("orl_explorer.train.mining.embeddings.os.fsync", fsync)


@pytest.mark.parametrize("full", ["store", "embeddings"])
def test_a_full_disk_ends_in_one_sentence_and_the_run_resumes(
    fresh: Callable,
    tiny_mine: MineConfig,
    new_run: Callable,
    uninterrupted: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    full: str,
) -> None:
    workspace = fresh()
    job = mining_of(workspace, "demo", "starter", tiny_mine, "set", workers=1)
    run = add_run(workspace.store, job.row(workspace)).id
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        if full == "store":
            full_store(workspace)
        else:
            full_embeddings(patch)
        assert execute(workspace, run) == 2
    signal.signal(signal.SIGTERM, handler)
    workspace.store.close()

    roomy = open_workspace(workspace.path)
    ended, said = run_by_id(roomy.store, run), capsys.readouterr()
    assert (ended.status, ended.exit_code) == ("failed", 2)
    assert ended.error is not None
    assert "no space is left in " in ended.error
    assert said.out.rstrip().endswith(ended.error)
    assert "Traceback" not in said.out + said.err
    mine(roomy, "demo", "starter", "set", tiny_mine, run_id=run, workers=1)
    assert rows_digest(roomy) == uninterrupted


def test_a_store_that_stays_locked_ends_in_one_sentence_and_the_run_resumes(
    fresh: Callable, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable, uninterrupted: str
) -> None:
    workspace = fresh()
    run = new_run(workspace, "mine", "set")
    workspace.store.close()
    event.listen(workspace.store.engine, "connect", lambda c, _: c.execute("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(workspace.path / "orl.sqlite", isolation_level=None)
    progress = stop_after()
    progress.phase = lambda name, _: other.execute("BEGIN IMMEDIATE") if name == "Matching RoIs" else None
    with pytest.raises(
        StoreError, match=r"^The store is locked by another process. Try again when that process has finished\.$"
    ):
        mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1, progress=progress)
    other.execute("ROLLBACK")
    other.close()
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1)
    assert rows_digest(workspace) == uninterrupted


def test_photos_that_change_after_the_neighbours_were_found_stay_in_the_set_as_they_were(
    fresh: Callable,
    small_scenes: Path,
    tmp_path: Path,
    tiny_mine: MineConfig,
    new_run: Callable,
    stop_after: Callable,
) -> None:
    photos = Path(shutil.copytree(small_scenes, tmp_path / "own"))
    workspace = fresh()
    ingest(workspace, photos, name="own")
    run = new_run(workspace, "mine", "set")
    progress = stop_after()

    def stop_when_matching(name: str, total: int) -> None:
        if name == "Matching RoIs":
            raise Stopped

    progress.phase = stop_when_matching
    with pytest.raises(Stopped):
        mine(workspace, "own", "starter", "set", tiny_mine, run_id=run, workers=1, progress=progress)
    os.utime(photos / "scene-002.jpg", (1, 1))  # another file now
    (photos / "scene-003.jpg").unlink()
    (photos / "scene-004.jpg").rename(photos / "more.jpg")
    ingest(workspace, photos, name="own")
    mine(workspace, "own", "starter", "set", tiny_mine, run_id=run, workers=1)
    mine(workspace, "demo", "starter", "twin", tiny_mine, run_id=new_run(workspace, "mine", "twin"), workers=1)
    resumed, twin = (pairs_frame(workspace, complete_set_named(workspace.store, name)) for name in ("set", "twin"))
    by_path = [column for column in twin if not column.endswith("_id")]
    assert resumed[by_path].equals(twin[by_path])


def test_photos_that_another_machine_searches_at_the_same_time_keep_its_boxes(
    fresh: Callable, tiny_mine: MineConfig, new_run: Callable
) -> None:
    workspace = fresh()

    class Meanwhile(Progress):
        """Mines another set with the same settings while the first photo of this one has been searched."""

        mined = False

        def advance(self, count: int = 1) -> None:
            if not self.mined:
                self.mined = True
                mine(workspace, "demo", "starter", "other", tiny_mine, run_id=new_run(workspace, "mine", "other"))

    run = new_run(workspace, "mine", "set")
    mine(workspace, "demo", "starter", "set", tiny_mine, run_id=run, workers=1, progress=Meanwhile())
    ours, other = (pairs_frame(workspace, complete_set_named(workspace.store, name)) for name in ("set", "other"))
    assert ours.equals(other)
