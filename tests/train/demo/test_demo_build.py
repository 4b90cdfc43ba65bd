"""The demo as a dataset on disk, written atomically."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from orl_explorer.train.demo import build
from orl_explorer.train.demo.build import build_demo, compose, is_built, is_empty
from orl_explorer.train.demo.scenes import compose_scene
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.coco import read_coco
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def one_thread(_: int) -> ThreadPoolExecutor:
    """A substitute for the pool of processes that starts faster."""
    return ThreadPoolExecutor(1)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "helpers", one_thread)
        return compose(tmp_path_factory.mktemp("demo") / "three", count=3, seed=5)


def test_scenes_are_a_coco_data_set(three: Path) -> None:
    annotated = read_coco(three / "annotations" / "scenes.json")
    assert sorted(annotated) == ["scene-000.jpg", "scene-001.jpg", "scene-002.jpg"]
    for index, (name, found) in enumerate(sorted(annotated.items())):
        scene = compose_scene(5, index)
        with Image.open(three / "images" / name) as photo:
            assert photo.size == (found.width, found.height)
        boxes = [(b.category, b.x, b.y, b.w, b.h, b.difficult) for b in found.boxes]
        assert boxes == [(o.category, o.x, o.y, o.w, o.h, False) for o in scene.objects]


def test_the_same_seed_writes_the_same_bytes_in_processes_too(three: Path, tmp_path: Path) -> None:
    again = compose(tmp_path / "three", count=3, seed=5)
    assert len(digests(three)) == 4
    assert digests(again) == digests(three)


def test_an_interruption_leaves_no_half_folder_and_what_is_there_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(build, "helpers", one_thread)

    def interrupt(done: int, count: int) -> None:
        told.append((done, count))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compose(tmp_path / "demo", count=2, report=interrupt)
    assert told == [(1, 2)]
    assert not (tmp_path / "demo").exists()
    whole = compose(tmp_path / "demo", count=1)
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]
    (whole / "images" / "scene-000.jpg").write_bytes(b"mine")
    compose(tmp_path / "demo", count=1)
    assert (whole / "images" / "scene-000.jpg").read_bytes() == b"mine"


def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build, "helpers", one_thread)
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=f"^Cannot write {tmp_path}/demo: no space is left in {tmp_path}"):
        compose(tmp_path / "demo", count=2)
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "helpers", one_thread)
    compose(tmp_path / "demo", count=1, report=lambda *_: str(compose(tmp_path / "demo", count=1, seed=7)))
    assert [found.name for found in tmp_path.iterdir()] == ["demo"]
    assert sorted(found.name for found in (tmp_path / "demo").iterdir()) == ["annotations", "images"]


def test_a_mined_demo_is_built_and_not_built_again(mined_workspace: Workspace) -> None:
    workspace = open_workspace(mined_workspace.path)
    assert is_built(workspace)
    assert not is_empty(workspace)
    assert build_demo(workspace) is None


def test_the_demo_is_taken_in_and_mined_once(
    workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch, new_run: Callable
) -> None:
    launched: list[tuple] = []

    def launch(place: Workspace, job: Mine) -> int:
        launched.append((*job.names(place).values(), job.name, job.config))
        return new_run(place, "mine", "demo-starter")

    monkeypatch.setattr(build, "compose", lambda *_, **__: scenes)
    monkeypatch.setattr(build, "launch", launch)
    assert is_empty(workspace)
    build_demo(workspace)
    assert launched == [("demo", "starter", "demo-starter", build.CONFIG)]
    assert not is_built(workspace)
    again = build_demo(workspace)  # a run that is about to start: no second one
    assert again is not None
    assert len(launched) == 1
    changed = {"proposal_scale": 0.5, "pair_ratio": 0.2, "object_weight": 0.0, "scored_by": "contrast"}
    changed |= {"min_size": 96, "max_rois": 25, "spread_after": 1000}
    changed |= {"sparse_weight": 0.25, "min_worth": -10.0, "cover_photo": False}
    assert build.CONFIG.model_dump() == build.MINE_PRESETS["object"].model_dump() | changed
