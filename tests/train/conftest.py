"""Small data and settings, with which a whole mining or training takes a second or two."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import NewWorkspace

TINY_MINE = MineConfig(neighbors=3, min_size=32, max_rois=4, proposal_scale=0.5, pair_ratio=0.5)
TINY = {
    "backbone": "resnet18",
    "epochs": 2,
    "batch_size": 6,
    "image_size": 32,
    "warmup_epochs": 1,
    "hidden": 32,
    "projection": 16,
    "workers": 0,
    "precision": "fp32",
}


class StopAfter(Progress):
    """Stops a stage at its n-th advance, and keeps its log."""

    def __init__(self, advances: int | None = None) -> None:
        self.left = advances
        self.lines: list[str] = []
        self.phases: list[str] = []

    def phase(self, name: str, total: int) -> None:
        self.phases.append(name)

    def log(self, message: str) -> None:
        self.lines.append(message)

    def advance(self, count: int = 1) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                raise Stopped


@pytest.fixture
def stop_after() -> Callable[..., StopAfter]:
    """Return a progress that stops the stage at its n-th advance, or never without n."""
    return StopAfter


@pytest.fixture(scope="session")
def tiny_mine() -> MineConfig:
    """K = 3, half of the query's RoIs, at most 4 of them."""
    return TINY_MINE


@pytest.fixture(scope="session")
def tiny_byol() -> BYOLConfig:
    """Two epochs of a ResNet-18 at 32 pixels, with six photos per step and no loader process."""
    return BYOLConfig(**TINY)


@pytest.fixture(scope="session")
def tiny_orl() -> ORLConfig:
    """The same settings for stage 3."""
    return ORLConfig(**TINY, patch_size=32)


@pytest.fixture(scope="session")
def small_scenes(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The twelve demo photos at half their size, as a plain folder."""
    folder = tmp_path_factory.mktemp("small") / "scenes"
    folder.mkdir()
    for path in sorted((scenes / "images").iterdir()):
        with Image.open(path) as photo:
            photo.resize((photo.width // 2, photo.height // 2)).save(folder / path.name, quality=92)
    return folder


@pytest.fixture
def own_photos(small_scenes: Path, tmp_path: Path) -> Path:
    """Copies of the twelve photos, which a test may delete or replace."""
    return Path(shutil.copytree(small_scenes, tmp_path / "own"))


@pytest.fixture(scope="module")
def template(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace that is ready to be mined, to copy: the small scenes and the encoder 'starter'."""
    from orl_explorer.train.encoders import weights

    made = open_workspace(tmp_path_factory.mktemp("template") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    made.store.close()
    return made.path


@pytest.fixture
def photographed(small_scenes: Path, empty_workspace: NewWorkspace, tmp_path: Path) -> Workspace:
    """A workspace with only the small scenes, as dataset 'demo'."""
    made = empty_workspace(tmp_path / "photographed")
    ingest(made, small_scenes, name="demo")
    return made


@pytest.fixture
def ready(photographed: Workspace) -> Workspace:
    """A workspace with the small scenes and the encoder 'starter', ready to be mined."""
    from orl_explorer.train.encoders import weights

    weights.add(photographed, "starter", "starter")
    return photographed
