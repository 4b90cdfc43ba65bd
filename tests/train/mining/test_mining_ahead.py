"""With an accelerator, mining searches the next photos while it embeds others, and finds the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orl_explorer.db.models import Image
from orl_explorer.db.sets.read import complete_set_named, set_images
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining import mine as stage
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features
from orl_explorer.train.progress import Progress, Stopped, Within, one_ahead
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine
from tests.train.mining.test_mining_resumed import rows_digest

pytestmark = pytest.mark.usefixtures("remembered")
PATIENCE = 60  # seconds that a thread waits for another one before the test fails
Make = Callable[[], Workspace]


@pytest.fixture
def make(own_photos: Path, tmp_path: Path) -> Make:
    """Return a function that makes workspaces with twelve photos and the starter."""
    made: list[Workspace] = []

    def new() -> Workspace:
        made.append(open_workspace(tmp_path / f"workspace-{len(made)}"))
        ingest(made[-1], own_photos, name="own")
        weights.add(made[-1], "starter", "starter")
        return made[-1]

    return new


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mine as with an accelerator, in parts of four photos, though the processor does all the work."""
    monkeypatch.setattr(Features, "on_accelerator", property(lambda _: True))
    monkeypatch.setattr(stage, "PART", 4)


def mined(workspace: Workspace, config: MineConfig, run: int, progress: Progress | None = None) -> None:
    mine(workspace, "own", "starter", "set", config, run_id=run, workers=1, progress=progress)


@pytest.fixture
def expected(make: Make, new_run: Callable, tiny_mine: MineConfig) -> str:
    """The rows of a run without an accelerator."""
    workspace = make()
    mined(workspace, tiny_mine, new_run(workspace, "mine", "set"))
    return rows_digest(workspace)


@pytest.mark.parametrize("config", [{}, {"object_weight": 0.25}], ids=["search", "with attention maps"])
def test_the_parts_give_the_same_rows(
    make: Make,
    tiny_mine: MineConfig,
    new_run: Callable,
    stop_after: Callable,
    request: pytest.FixtureRequest,
    config: dict,
) -> None:
    settings = tiny_mine.model_copy(update=config)
    plain = make()
    mined(plain, settings, new_run(plain, "mine", "set"))
    request.getfixturevalue("accelerated")
    workspace, heard = make(), stop_after()
    mined(workspace, settings, new_run(workspace, "mine", "set"), heard)
    assert rows_digest(workspace) == rows_digest(plain)
    assert heard.phases == [
        *("Checking photos", "Searching and embedding", "Finding neighbours", "Matching RoIs", "Measuring quality")
    ]
    assert [line for line in heard.lines if "computed" in line] == ["Proposals computed: 4, reused: 0."] * 3
    embedded = [line for line in heard.lines if line.startswith("RoIs embedded")]
    assert len(embedded) == 3
    assert all(line.endswith("reused: 0.") for line in embedded)


def test_a_part_is_searched_while_the_one_before_is_embedded_and_no_part_earlier(
    make: Make,
    tiny_mine: MineConfig,
    new_run: Callable,
    expected: str,
    accelerated: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    begun = [threading.Event() for _ in range(4)]
    begun[3].set()  # there is no fourth part
    search, embed = stage.propose_missing, stage.embed_rois
    numbers = {"search": iter(range(4)), "embed": iter(range(4))}

    def searched(*given: object) -> list[Image]:
        number = next(numbers["search"])
        events.append(f"search {number}")
        begun[number].set()
        return search(*given)  # type: ignore[arg-type]

    def embedded(*given: object) -> list[Image]:
        number = next(numbers["embed"])
        assert begun[number + 1].wait(PATIENCE), "the next part is not searched meanwhile"
        events.append(f"embedded {number}")
        return embed(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "propose_missing", searched)
    monkeypatch.setattr(stage, "embed_rois", embedded)
    workspace = make()
    mined(workspace, tiny_mine, new_run(workspace, "mine", "set"))
    assert rows_digest(workspace) == expected
    assert events.index("search 2") > events.index("embedded 0")
    assert sorted(events) == [*(f"embedded {n}" for n in range(3)), *(f"search {n}" for n in range(3))]


def test_stopped_after_each_part_and_resumed_it_finds_the_same(
    make: Make, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable, expected: str, accelerated: None
) -> None:
    workspace = make()
    run = new_run(workspace, "mine", "set")
    for part in (1, 2, 3):
        progress = stop_after(part)
        with pytest.raises(Stopped):
            mined(workspace, tiny_mine, run, progress)
        assert progress.phases[-1] == "Searching and embedding"
    mined(workspace, tiny_mine, run)
    assert rows_digest(workspace) == expected


class StoppedInTheThread(Progress):
    """Asked to stop as soon as another thread than the main one looks."""

    def check(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise Stopped


def test_a_stop_that_the_search_sees_first_ends_the_run(
    make: Make, tiny_mine: MineConfig, new_run: Callable, expected: str, accelerated: None
) -> None:
    workspace = make()
    run = new_run(workspace, "mine", "set")
    with pytest.raises(Stopped):
        mined(workspace, tiny_mine, run, StoppedInTheThread())
    mined(workspace, tiny_mine, run)
    assert rows_digest(workspace) == expected


@pytest.mark.parametrize("fails", ["propose_missing", "embed_rois"])
def test_what_fails_in_one_stage_ends_the_other_and_the_run_resumes(
    make: Make,
    tiny_mine: MineConfig,
    new_run: Callable,
    expected: str,
    accelerated: None,
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
) -> None:
    workspace = make()
    run, work, calls = new_run(workspace, "mine", "set"), getattr(stage, fails), iter(range(9))

    def failing(*given: object) -> list[Image]:
        if next(calls) == 1:
            raise UserError("The disk is full.")
        return work(*given)

    with monkeypatch.context() as patched:
        patched.setattr(stage, fails, failing)
        with pytest.raises(UserError, match=r"^The disk is full\.$"):
            mined(workspace, tiny_mine, run)
    mined(workspace, tiny_mine, run)
    assert rows_digest(workspace) == expected


def test_photos_that_vanish_meanwhile_are_left_out(
    make: Make, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable, accelerated: None
) -> None:
    workspace, heard = make(), stop_after()
    gone = "scene-003.jpg", "scene-006.jpg"

    def vanish(name: str, total: int) -> None:
        if name == "Searching and embedding":
            for path in gone:
                (own_photos / path).unlink()

    heard.phase = vanish
    mined(workspace, tiny_mine, new_run(workspace, "mine", "set"), heard)
    left = [i.path for i in set_images(workspace.store, complete_set_named(workspace.store, "set").id)]
    assert left == [f"scene-{number:03d}.jpg" for number in range(12) if number not in (3, 6)]
    assert [f"Skipped {path}: the file is not there any more." in heard.lines for path in gone] == [True, True]


def test_items_come_in_order_and_one_is_computed_ahead() -> None:
    made: list[int] = []

    def count() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            yield number

    items = one_ahead(count())
    assert next(items) == 0
    assert list(items) == [1, 2, 3]
    assert made == [0, 1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        list(one_ahead(1 // number for number in (1, 0)))


class Noting(Progress):
    """Keeps the metrics."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def metric(self, step: int, values: dict[str, float]) -> None:
        self.rows.append((step, values))


def test_rates_of_parts_are_steps_of_a_metric_and_abandoned_work_stops() -> None:
    outer = Noting()
    within = Within(outer)
    for name in ("rois", "photos", "rois"):
        within.metric(0, {name: 1.0})
    assert outer.rows == [(0, {"rois": 1.0}), (0, {"photos": 1.0}), (1, {"rois": 1.0})]
    within.advance()
    within.abandon()
    with pytest.raises(Stopped):
        within.advance()
