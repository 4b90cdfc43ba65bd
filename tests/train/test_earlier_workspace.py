"""A workspace of the version before the single import package, with store revision 0008, opens and can be used.

tests/legacy/make.py says how it was made.
"""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.people.verdicts import verdicts_of
from orl_explorer.db.photos import datasets
from orl_explorer.db.runs.runs import runs
from orl_explorer.db.sets.read import complete_set_named, neighbors_of, pair_rows
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs import launcher
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.maps import find_map, make_map
from orl_explorer.train.mining.orders import make_matches, orders_of
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine, rois_map

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).parents[1] / "legacy" / "workspace-0008.tar.xz"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The folder of the workspace beside its photos, with paths as if it had been made here."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    with sqlite3.connect(tmp_path / "workspace" / "orl.sqlite") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0008",)]
        connection.execute("UPDATE dataset SET root = ?", (str(tmp_path / "photos"),))
    return tmp_path / "workspace"


@pytest.fixture
def earlier(unpacked: Path) -> Workspace:
    """The workspace, opened by this version."""
    opened = open_workspace(unpacked)
    weights.save_weights(weights.starter_weights(), opened.encoders / "starter.pt")  # which the archive leaves out
    return opened


def again(workspace: Workspace, name: str, heard: object = None) -> None:
    config = MineConfig(**complete_set_named(workspace.store, "first").params)
    run = next((run for run in runs(workspace.store) if run.name == name), None)
    assert run is not None
    mine(workspace, "demo", "starter", name, config, run_id=run.id, workers=1, progress=heard)  # type: ignore[arg-type]


def test_all_that_was_in_it_is_still_there(earlier: Workspace) -> None:
    (dataset,) = datasets(earlier.store)
    assert (dataset.name, dataset.image_count) == ("demo", 12)
    found = complete_set_named(earlier.store, "first")
    assert (found.image_count, found.candidate_count, found.pair_count) == (12, 48, 72)
    assert [n.image.path for n in neighbors_of(earlier.store, found.id, 1)] == ["01.jpg", "05.jpg", "10.jpg"]
    assert list(verdicts_of(earlier.store, 1, "ada").values()) == ["good"]
    assert [(run.id, run.kind, run.name, run.status) for run in reversed(runs(earlier.store))] == [
        (1, "mine", "first", "done"),
        (2, "mine", "second", "cancelled"),
        (3, "pretrain", "byol", "cancelled"),
    ]
    assert len(earlier.store.identity) == 32
    assert open_workspace(earlier.path).store.identity == earlier.store.identity


def test_its_photos_are_known_again_and_only_what_is_new_is_taken_in(earlier: Workspace) -> None:
    found = ingest(earlier, Path(datasets(earlier.store)[0].root), name="demo")
    assert (found.new, found.changed, found.unchanged) == (0, 0, 12)


def test_a_mining_that_was_stopped_goes_on_with_features_that_say_what_they_are_of(
    earlier: Workspace, stop_after: Callable
) -> None:
    heard = stop_after()
    again(earlier, "second", heard)
    assert "RoIs embedded: 48, reused: 0." in heard.lines  # its neighbours are stored, so no photo is embedded
    assert sum("were stored by an earlier version, without a record" in line for line in heard.lines) == 1
    first, second = (complete_set_named(earlier.store, name) for name in ("first", "second"))
    pairs = [pair_rows(earlier.store, s.id, list(range(1, 13))) for s in (first, second)]
    for query in range(1, 13):
        for one, other in zip(pairs[0][query], pairs[1][query], strict=True):
            assert one._replace(similarity=0, margin=0) == other._replace(similarity=0, margin=0)
            assert one.similarity == pytest.approx(other.similarity, abs=1e-5)


def test_its_training_goes_on(earlier: Workspace) -> None:
    done = launcher.wait(earlier, launcher.resume(earlier, 3).id)
    assert (done.status, done.error, done.log_path) == ("done", None, "runs/3/log.txt")
    assert encoder_named(earlier.store, "byol").run_id == 3


def test_its_orders_and_maps_are_made_anew(earlier: Workspace) -> None:
    found = complete_set_named(earlier.store, "first")
    assert orders_of(earlier, found) is None
    assert len(make_matches(earlier, found).keys) == found.pair_count
    assert find_map(earlier, rois_map(earlier, "first")) is None
    again(earlier, "second")
    assert len(make_map(earlier, rois_map(earlier, "first")).points) == found.candidate_count


def test_a_photo_that_has_changed_meanwhile_is_named(earlier: Workspace, stop_after: Callable) -> None:
    path = Path(datasets(earlier.store)[0].root) / "04.jpg"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match=r"can no longer be read, such as 04\.jpg\. Restore"):
        again(earlier, "second")
