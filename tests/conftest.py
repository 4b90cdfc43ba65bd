"""Shared fixtures: an empty workspace, demo photos, a mined workspace to copy, real photos."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Literal
from uuid import uuid4

# Before torch is imported here or in a run's process: its threads would mostly wait for one another on tiny networks.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from PIL import Image
from sqlalchemy import URL, make_url, update

from orl_explorer.db.identity import StoreIdentity
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import add_run, run_by_id, update_run
from orl_explorer.db.store import open_store
from orl_explorer.db.transfer.copying import copy_store
from orl_explorer.orl.selective_search.readiness import can_compile, is_compiled
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.postgres import EMPTY, PostgresServer, postgres_programs

# An example may take long where other tests keep the cores busy.
hypothesis.settings.register_profile("unhurried", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("unhurried")

SCENES = 12
COMPILER = pytest.StashKey[subprocess.Popen]()
COMPILE = "from orl_explorer.orl.selective_search.readiness import compile_search; compile_search()"
MINED = MineConfig(neighbors=4, proposal_scale=0.5)

# `make unit` leaves out tests that mine, train, evaluate or open a browser: those with one of these fixtures. Modules
# that are slow for another reason have `pytestmark = pytest.mark.slow`.
SLOW_FIXTURES = {"mined_workspace", "ready", "evaluated", "tiny_mine", "tiny_byol", "tiny_orl", "serve", "browser"}

NewRun = Callable[..., int]
NewWorkspace = Callable[[Path], Workspace]
Database = Literal["sqlite", "postgresql"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test as slow that has a slow fixture, directly or through another."""
    for item in items:
        if isinstance(item, pytest.Function) and SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker(pytest.mark.slow)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of the store, and those of modules marked ``both_databases``, on SQLite and on PostgreSQL.

    Tests marked ``sqlite`` are about SQLite itself.
    """
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    of_the_store = Path(__file__).parent / "db" in metafunc.definition.path.parents
    if (of_the_store or "both_databases" in marks) and "sqlite" not in marks:
        metafunc.parametrize("database", ["sqlite", "postgresql"], scope="module")


@pytest.fixture(scope="module")
def database() -> Database:
    """The kind of database that the stores of a test are in."""
    return "sqlite"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with a database ``EMPTY`` to copy."""
    server = PostgresServer(postgres_programs())
    try:
        server.ask(f"CREATE DATABASE {EMPTY}")
        open_store(server.url(EMPTY)).close()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mined_database(mined_workspace: Workspace, postgres: PostgresServer) -> str:
    """The name of a database that holds the store of ``mined_workspace``, to copy."""
    postgres.ask("CREATE DATABASE mined")
    copy_store(mined_workspace.store, make_url(postgres.url("mined")))
    mined_workspace.store.close()
    return "mined"


@pytest.fixture(autouse=True)
def own_database(database: Database, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On PostgreSQL, a new database for each test, which ``ORL_DATABASE_URL`` names."""
    if database == "sqlite":
        yield
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create(EMPTY)
    monkeypatch.setenv("ORL_DATABASE_URL", url)
    yield
    server.drop(url)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile selective search beside the first tests of a parallel run: later ones search without processes."""
    parallel = session.config.getoption("numprocesses", None) and not hasattr(session.config, "workerinput")
    if parallel and can_compile():
        session.config.stash[COMPILER] = subprocess.Popen([sys.executable, "-c", COMPILE])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the compiler if it is still at work."""
    if (compiler := session.config.stash.get(COMPILER, None)) is not None:
        compiler.kill()
        compiler.wait()


@pytest.fixture(scope="session")
def compiled_search() -> None:
    """The compiled search, ready for the runs that a test starts."""
    if not is_compiled():
        subprocess.run([sys.executable, "-c", COMPILE], check=True)
    assert is_compiled()


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """End the loaders of a test that failed on purpose. They hold copies of all pipes, and whoever reads them waits."""
    yield
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


@pytest.fixture(autouse=True)
def own_import_path() -> Iterator[None]:
    """Take back what the code sets for processes that it starts: later ones could not import tests."""
    yield
    os.environ.pop("PYTHONSAFEPATH", None)


def _new_run(workspace: Workspace, kind: str, name: str, **params: object) -> int:
    return add_run(workspace.store, Run(kind=kind, name=name, params=params)).id


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a new store, to copy: the migrations take longer than most tests of a workspace."""
    path = tmp_path_factory.mktemp("empty") / "orl.sqlite"
    open_store(URL.create("sqlite", database=str(path))).close()
    return path


@pytest.fixture
def empty_workspace(empty_store: Path, database: Database) -> NewWorkspace:
    """Return a function that makes an empty workspace: ``empty_workspace(folder) -> Workspace``."""

    def make(folder: Path) -> Workspace:
        folder.mkdir(0o700, parents=True)
        if database == "sqlite":
            shutil.copy(empty_store, folder / "orl.sqlite")
        made = open_workspace(folder)
        if database == "sqlite":  # a store of its own, not a copy
            with made.store.session() as session:
                session.execute(update(StoreIdentity).values(identity=uuid4().hex))
        return made

    return make


@pytest.fixture
def workspace(empty_workspace: NewWorkspace, tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return empty_workspace(tmp_path / "workspace")


@pytest.fixture
def new_run() -> NewRun:
    """Return a function that writes a run without starting it: ``new_run(workspace, kind, name) -> id``."""
    return _new_run


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute no box and no feature of the same pixels twice, see ``tests/remembered.py``."""
    from tests.remembered import remember

    remember(monkeypatch)


@pytest.fixture
def runs_in_process(monkeypatch: pytest.MonkeyPatch, remembered: None) -> None:
    """Do the work of launched runs at once in the process of the test, which saves seconds of imports for each run."""
    from orl_explorer.train.jobs import launcher, worker

    def start(workspace: Workspace, run: Run) -> Run:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with (workspace.path / run.log_path).open("a") as log, redirect_stdout(log):
            worker.execute(workspace, run.id)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return run_by_id(workspace.store, run.id)

    monkeypatch.setattr(launcher, "_start", start)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 demo photos of about 480 x 360 as a COCO dataset: images/*.jpg and annotations/scenes.json."""
    from orl_explorer.train.demo.scenes import compose_scene

    folder = tmp_path_factory.mktemp("demo") / "scenes"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images: list[dict] = []
    boxes: list[dict] = []
    names: list[str] = []
    for index in range(SCENES):
        scene = compose_scene(2021, index)
        name = f"scene-{index:03d}.jpg"
        photo = Image.fromarray(scene.image)
        photo.save(folder / "images" / name, quality=92)
        images.append({"id": index + 1, "file_name": name, "width": photo.width, "height": photo.height})
        for item in scene.objects:
            if item.category not in names:
                names.append(item.category)
            where = {"image_id": index + 1, "category_id": names.index(item.category), "iscrowd": 0}
            boxes.append({"id": len(boxes) + 1, "bbox": [item.x, item.y, item.w, item.h]} | where)
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "annotations" / "scenes.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def mined_workspace(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The scenes as dataset 'demo', the encoder 'starter' and the complete set 'demo-starter' (K = 4).

    Shared by the whole session: read it, or copy ``mined_workspace.path`` and open the copy.
    """
    from orl_explorer.train.encoders import weights
    from orl_explorer.train.ingest.ingest import ingest
    from tests.named import mine

    made = open_workspace(tmp_path_factory.mktemp("mined") / "workspace")
    ingest(made, scenes, name="demo")
    weights.add(made, "starter", "starter")
    params = {"dataset": "demo", "encoder": "starter", "workers": 2, "config": MINED.model_dump()}
    run = _new_run(made, "mine", "demo-starter", **params)
    mined = mine(made, "demo", "starter", "demo-starter", MINED, run_id=run, workers=2)
    made.run_folder(run).mkdir(parents=True)
    (made.run_folder(run) / "log.txt").write_text("12:00:00  Set 'demo-starter' is complete.\n")
    ended = {"started_at": mined.created_at, "ended_at": mined.created_at, "exit_code": 0}
    update_run(made.store, run, status="done", dataset_id=mined.dataset_id, encoder_id=mined.encoder_id, **ended)
    made.store.close()  # folds the write-ahead log into the file, so that a copy is whole
    return made


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos, which are not redistributable: ``ORL_TEST_PHOTOS``, or ../shared/data."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ORL_TEST_PHOTOS") or beside)
    if not folder.is_dir():
        pytest.skip("no real photos; name their folder in ORL_TEST_PHOTOS")
    return folder
