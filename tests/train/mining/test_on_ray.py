"""Mining on a Ray cluster of two nodes finds what mining on this machine finds, whatever dies on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from orl_explorer.db.lost import set_root
from orl_explorer.db.models import Run
from orl_explorer.db.photos import usable_images
from orl_explorer.db.runs.runs import add_run
from orl_explorer.orl.selective_search import readiness
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining import ray_work
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.place import working
from orl_explorer.train.mining.propose import propose_photo
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine
from tests.train.mining.test_mining_resumed import rows_digest

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
T = TypeVar("T")
MEMORY = 80 * 1024**2  # bytes of a node's object store


def patiently(start: Callable[[], T]) -> T:
    """Start a node of Ray, which gives up after 30 seconds, however busy the machine is: three times at most."""
    for _ in range(2):
        try:
            return start()
        except Exception as problem:
            if "timed out during startup" not in str(problem):
                raise
    return start()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Two nodes with one core each, to which this process is connected. Tests may kill the second.

    The connection stays from test to test, and so do the workers of Ray, whose start takes seconds.
    """
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ |= {"RAY_worker_niceness": "0"}  # Ray's 15 would leave the cores to the tests beside these
    handler = signal.getsignal(signal.SIGTERM)
    made = patiently(
        lambda: Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False},
        )
    )
    patiently(lambda: made.add_node(num_cpus=1, object_store_memory=MEMORY))
    ray.init(made.address, log_to_driver=False)
    signal.signal(signal.SIGTERM, handler)
    yield made
    ray.shutdown()
    made.shutdown()
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def joined(cluster: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mining find the cluster, as ``ray start`` would."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)  # type: ignore[attr-defined]


@pytest.fixture
def fresh(template: Path, tmp_path: Path) -> Workspace:
    return open_workspace(shutil.copytree(template, tmp_path / "workspace"))


@pytest.fixture(scope="module")
def expected(template: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine: MineConfig) -> str:
    """The digest of the rows of a run on this machine alone."""
    workspace = open_workspace(shutil.copytree(template, tmp_path_factory.mktemp("plain") / "workspace"))
    return mined(workspace, tiny_mine, new(workspace), on_cluster=False)


def new(workspace: Workspace) -> int:
    return add_run(workspace.store, Run(kind="mine", name="set", params={})).id


def mined(
    workspace: Workspace, config: MineConfig, run: int, progress: Progress | None = None, on_cluster: bool = True
) -> str:
    with working(on_cluster, workers=1, progress=progress) as place:
        mine(workspace, "demo", "starter", "set", config, run_id=run, progress=progress, place=place)
    return rows_digest(workspace)


def test_a_cluster_finds_what_this_machine_finds(
    joined: None, fresh: Workspace, tiny_mine: MineConfig, expected: str, stop_after: Callable
) -> None:
    heard = stop_after()
    assert mined(fresh, tiny_mine, new(fresh), heard) == expected
    assert "Mining on Ray: 2 machines with 2 cores and 0 GPUs." in heard.lines
    assert "Proposals computed: 12, reused: 0." in heard.lines
    assert "Photos embedded: 12, reused: 0." in heard.lines


class Then(Progress):
    """Does something once, at the first finished item of each of some phases."""

    def __init__(self, **acts: Callable[[], object]) -> None:
        self.acts = {phase.replace("_", " "): act for phase, act in acts.items()}
        self.now = ""
        self.lines: list[str] = []

    def phase(self, name: str, total: int) -> None:
        self.now = name

    def advance(self, count: int = 1) -> None:
        self.acts.pop(self.now, lambda: None)()

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each task one photo, so that twelve photos make more tasks than can be under way."""
    monkeypatch.setattr("orl_explorer.train.mining.on_ray.SEARCHED", 1)
    monkeypatch.setattr("orl_explorer.train.mining.ray_crew.ROWS", 1)


def test_a_node_that_is_killed_costs_its_tasks_alone(
    joined: None, small_tasks: None, cluster, fresh: Workspace, tiny_mine: MineConfig, expected: str
) -> None:  # type: ignore[no-untyped-def]
    def kill_a_node() -> None:
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)

    def kill_the_second() -> None:
        kill_a_node()
        cluster.add_node(num_cpus=1, object_store_memory=MEMORY)

    heard = Then(Running_selective_search=kill_the_second, Embedding_RoIs=kill_a_node)
    assert mined(fresh, tiny_mine, new(fresh), heard) == expected
    assert heard.acts == {}
    assert "Proposals computed: 12, reused: 0." in heard.lines
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)


def test_a_run_that_was_stopped_goes_on_elsewhere(
    joined: None, small_tasks: None, fresh: Workspace, tiny_mine: MineConfig, expected: str, stop_after: Callable
) -> None:
    run = new(fresh)
    with pytest.raises(Stopped):
        mined(fresh, tiny_mine, run, stop_after(3))
    heard = stop_after()
    assert mined(fresh, tiny_mine, run, heard, on_cluster=False) == expected
    assert "Proposals computed: 9, reused: 3." in heard.lines


KILLED = """
import sys
from pathlib import Path
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import open_workspace
from tests.train.mining.test_on_ray import Then, mined
mined(
    open_workspace(sys.argv[1]), MineConfig.model_validate_json(sys.argv[3]), int(sys.argv[2]),
    Then(Embedding_photos=lambda: (print("now", flush=True), sys.stdin.read())),
)
"""


def test_a_driver_that_is_killed_goes_on_and_computes_nothing_twice(
    joined: None, fresh: Workspace, tiny_mine: MineConfig, expected: str, stop_after: Callable
) -> None:
    run = new(fresh)
    words = [str(fresh.path), str(run), tiny_mine.model_dump_json()]
    program = [sys.executable, "-c", KILLED, *words]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert "now\n" in iter(driver.stdout.readline, "")  # Ray may say something before
        driver.kill()
    heard = stop_after()
    assert mined(fresh, tiny_mine, run, heard, on_cluster=False) == expected
    assert "Proposals computed: 0, reused: 12." in heard.lines
    assert "Photos embedded: 0, reused: 12." in heard.lines


def test_photos_that_the_nodes_cannot_read_are_sent(
    joined: None,
    template: Path,
    own_photos: Path,
    tmp_path: Path,
    tiny_mine: MineConfig,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    stop_after: Callable,
) -> None:
    """The photos are in the current folder of this process, which is another one for the nodes."""
    workspace, heard = open_workspace(shutil.copytree(template, tmp_path / "workspace")), stop_after()
    monkeypatch.chdir(own_photos)
    for photo in own_photos.iterdir():
        os.utime(photo)
    set_root(workspace.store, 1, "/proc/self/cwd")
    assert mined(workspace, tiny_mine, new(workspace), heard) == expected
    assert [line for line in heard.lines if line.startswith("Skipped")] == []


def test_few_tasks_are_under_way(joined: None) -> None:
    """Of two cores: two tasks of four photos each, and as many that wait."""
    asked = 0

    def jobs() -> Iterator[tuple]:
        nonlocal asked
        for number in range(100):
            asked += 1
            yield (f"/nowhere/{number}.jpg", None, 0, 1.0, 100)

    with working(on_cluster=True) as place:
        found = place.search(jobs(), 100, Progress())
        most = 0
        for number, said in enumerate(found):
            assert said == "the file is not there any more"
            most = max(most, asked - number)
            time.sleep(0.005)
    assert (asked, most <= 20) == (100, True), most


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        with pytest.raises(UserError) as problem, working(on_cluster=True):
            pass
        return str(problem.value)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert said() == "This process is not a job of a Ray cluster: $RAY_ADDRESS is empty. Launch with --on ray."
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert said() == "Cannot connect to the Ray cluster at 127.0.0.1:1: [Errno 111] Connection refused."


NOISE = """
import ctypes, sys, threading
threading.Thread(target=lambda: [ctypes.CDLL(None).rand() for _ in iter(int, 1)], daemon=True).start()
from orl_explorer.train.mining import ray_work
ray_work.is_compiled = lambda: False
jobs = [(file, None, number, 0.5, 100) for number, file in enumerate(sys.argv[2:])]
boxes = ray_work.search_photos(jobs, {}, False)
import numpy as np
np.savez(sys.argv[1], *boxes)
"""


def test_opencvs_search_does_not_share_its_random_numbers(
    small_scenes: Path, tmp_path: Path, compiled_search: None
) -> None:
    """In a process whose other threads draw from libc's ``rand``, as those of a Ray worker do."""
    (tmp_path / readiness.SETTINGS).touch()  # keeps the helper process from the compiled search
    files = [str(file) for file in sorted(small_scenes.iterdir())[:4]]
    program = [sys.executable, "-c", NOISE, str(tmp_path / "found.npz"), *files]
    subprocess.run(program, cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])})
    with np.load(tmp_path / "found.npz") as found:
        for number, file in enumerate(files):
            wanted = propose_photo((file, None, number, 0.5, 100))
            assert found[f"arr_{number}"].tolist() == wanted.tolist()  # type: ignore[union-attr]


def test_content_is_searched_as_the_file_is(fresh: Workspace) -> None:
    photos = Photos.of(fresh.store, 1)
    file = photos.path(next(usable_images(fresh.store, 1)))
    job = (str(file), None, 5, 0.5, 100)
    gone = (f"{file}.gone.jpg", None, 5, 0.5, 100)
    here, sent, unread = ray_work.search_photos([job, gone, gone], {1: file.read_bytes()}, False)
    assert here.tolist() == sent.tolist()  # type: ignore[union-attr]
    assert unread == ray_work.Unread("the file is not there any more")
