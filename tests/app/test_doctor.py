"""``orl doctor``: a whole workspace, and one fault at a time."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.app.doctor import Checked
from orl_explorer.app.doctor.installation import check_disk, check_installation, check_search
from orl_explorer.app.doctor.workspace import check_workspace
from orl_explorer.orl.selective_search import readiness
from orl_explorer.train import disks
from orl_explorer.train.mining.part_files import HEAD
from orl_explorer.train.workspace import Workspace
from tests import shell


@pytest.fixture
def copy(mined_workspace: Workspace, tmp_path: Path) -> Path:
    """A copy of the mined workspace, to damage."""
    return Path(shutil.copytree(mined_workspace.path, tmp_path / "copy"))


def states(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of each file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def execute(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "orl.sqlite") as connection:
        connection.execute(statement)
    connection.close()


def worse(folder: Path) -> list[Checked]:
    return [one for one in check_workspace(folder) if one.state != "ok"]


def test_a_whole_workspace_has_no_problem_and_stays_as_it_is(copy: Path) -> None:
    before = states(copy)
    found = {(one.area, one.subject): one for one in check_workspace(copy)}
    assert {one.state for one in found.values()} == {"ok"}
    assert found["datasets", "demo"].found == "12 photos, 8 of them read; 0 photos unreadable when ingested"
    assert found["features", "starter/images-2"].found == "12 rows"
    assert states(copy) == before


def _no_weights(folder: Path) -> None:
    (folder / "encoders/starter.pt").unlink()


def _damaged_weights(folder: Path) -> None:
    (folder / "encoders/starter.pt").write_bytes(b"zip?")


def _other_weights(folder: Path) -> None:
    execute(folder, "UPDATE encoder SET weights_sha256 = 'a'")


def _moved_photos(folder: Path) -> None:
    execute(folder, "UPDATE dataset SET root = '/gone'")


def _changed_photo(folder: Path) -> None:
    execute(folder, "UPDATE image SET size = 1 WHERE id = 1")


def _cut_features(folder: Path) -> None:
    os.truncate(folder / "embeddings/starter/images-2.vectors", 100)


def _no_header(folder: Path) -> None:
    (folder / "embeddings/starter/rois-2.json").write_text("{")


def _cut_part(folder: Path) -> None:
    (folder / "embeddings/starter/parts-2").mkdir()
    (folder / "embeddings/starter/parts-2/one.part").write_bytes(HEAD)


@pytest.mark.parametrize(
    ("break_it", "area", "subject", "said"),
    [
        (_no_weights, "encoders", "starter", "starter.pt is missing"),
        (_damaged_weights, "encoders", "starter", "starter.pt"),
        (_other_weights, "encoders", "starter", "has changed since the encoder 'starter' was added"),
        (_moved_photos, "datasets", "demo", "the folder /gone is missing"),
        (_changed_photo, "datasets", "demo", "1 of 8 photos tried cannot be read, such as images/scene-000.jpg"),
        (_cut_features, "features", "starter/images-2", "100 bytes of vectors are too few for 12 keys"),
        (_cut_part, "features", "starter/parts-2/one.part", "one.part is truncated. Copy it again"),
        (_no_header, "features", "starter/rois-2", "cannot be read: Expecting property name"),
    ],
)
def test_each_fault_is_a_problem_with_advice(
    copy: Path, break_it: Callable[[Path], None], area: str, subject: str, said: str
) -> None:
    break_it(copy)
    found = {(one.area, one.subject): one for one in worse(copy)}[area, subject]
    assert found.state == "problem"
    assert said in found.found
    assert found.advice


def test_a_missing_folder_of_photos_names_the_command_that_moves_a_dataset(copy: Path) -> None:
    _moved_photos(copy)
    [found] = [one for one in worse(copy) if one.area == "datasets"]
    assert found.advice == "Mount /gone, or, if the photos are elsewhere, run `orl datasets move demo FOLDER`."


def test_crashed_runs_and_orphaned_files_are_warnings(copy: Path) -> None:
    execute(copy, "UPDATE run SET status = 'crashed', error = 'Its process ended unexpectedly.'")
    (copy / "runs/77").mkdir()
    (copy / "encoders/old.pt").write_bytes(b"")
    assert [(one.area, one.subject, one.state, one.found) for one in worse(copy)] == [
        ("runs", "run 1 (mine)", "warning", "crashed: Its process ended unexpectedly"),
        ("files", "runs/77", "warning", "the store does not name it"),
        ("files", "encoders/old.pt", "warning", "the store does not name it"),
    ]


def test_a_damaged_store_is_a_problem(copy: Path) -> None:
    os.truncate(copy / "orl.sqlite", 5000)
    assert worse(copy)[0].state == "problem"
    (copy / "orl.sqlite").write_text("no database at all, but long enough to have a header of a hundred bytes" * 9)
    [found] = worse(copy)
    assert (found.state, found.found) == ("problem", "cannot be read: (sqlite3.DatabaseError) file is not a database")


def test_a_store_of_another_version_is_a_warning(copy: Path) -> None:
    execute(copy, "UPDATE alembic_version SET version_num = '0009'")
    [found] = worse(copy)
    assert (found.subject, found.state, found.found[:6]) == ("schema", "warning", "0009; ")


def test_without_a_workspace_none_is_made(tmp_path: Path) -> None:
    [found] = worse(tmp_path / "w")
    assert (found.state, found.found) == ("warning", f"there is no workspace in {tmp_path / 'w'}")
    assert not (tmp_path / "w").exists()


def test_an_unreachable_database_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_DATABASE_URL", "postgresql+nodriver://localhost/orl")
    [found] = worse(tmp_path)
    assert found.state == "problem"
    assert found.advice == "Check $ORL_DATABASE_URL, and that the server runs."


def test_a_file_in_place_of_the_workspace_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    [found] = [one for one in check_disk(tmp_path / "w") if one.state != "ok"]
    assert (found.state, found.found) == ("problem", f"{tmp_path / 'w'} is not a folder")


def test_a_workspace_on_a_network_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    there = str(tmp_path).replace(" ", "\\040")
    root = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    mounts.write_text(f"{root}22 21 0:40 / {there}/my\\040share rw - nfs4 server:/home rw\n")
    monkeypatch.setattr(disks, "MOUNTS", mounts)
    folder = tmp_path / "my share/orl"
    [found] = [one for one in check_disk(folder) if one.state != "ok"]
    assert (found.state, found.found) == ("warning", f"{folder} is on a network disk (nfs4)")
    assert all(one.state == "ok" for one in check_disk(tmp_path))


@pytest.mark.parametrize(
    ("compiled", "reason", "state", "found"),
    [
        (True, "", "ok", "compiled; finds what OpenCV finds"),
        (False, "", "ok", "by OpenCV; the next run with many photos compiles a faster one"),
        (False, "numba is too old.", "warning", "by OpenCV, which takes ten times as long"),
    ],
)
def test_the_selective_search_that_runs_use_is_named(
    monkeypatch: pytest.MonkeyPatch, compiled: bool, reason: str, state: str, found: str
) -> None:
    monkeypatch.setattr(readiness, "is_compiled", lambda: compiled)
    monkeypatch.setattr(readiness, "why_not_compiled", lambda: reason)
    [checked] = check_search()
    assert (checked.state, checked.found) == (state, found)
    assert checked.advice == (f"Reason: {reason}" if reason else "")


def test_a_missing_system_library_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    [found] = [one for one in check_installation() if one.state != "ok"]
    assert found.found == "cannot be imported: libGL.so.1: cannot open shared object file"
    assert found.advice == "Install the system libraries with: apt-get install libgl1 libglib2.0-0"


@pytest.mark.parametrize("missing", ["cv2", "torch", "sqlalchemy", "numpy", "pydantic"])
def test_it_runs_where_a_package_is_missing(copy: Path, missing: str) -> None:
    hide = f"import sys; sys.modules['{missing}'] = None; sys.argv[0] = 'orl'; "
    command = [sys.executable, "-c", hide + "from orl_explorer.__main__ import main; main()"]
    done = subprocess.run([*command, "doctor", "--json", "--workspace", copy], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    problems = [one for one in json.loads(done.stdout) if one["state"] == "problem"]
    assert [one for one in problems if one["area"] == "versions" and missing in one["found"]]
    other = subprocess.run([*command, "datasets", "--workspace", copy], capture_output=True, text=True)
    assert "Traceback" not in other.stderr


def test_the_exit_code_tells_whether_there_is_a_problem(copy: Path) -> None:
    command = [sys.executable, "-m", "orl_explorer", "doctor", "--workspace", str(copy)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    _no_weights(copy)
    done = shell.orl("doctor", "--workspace", copy)
    assert done.returncode == 1
    assert done.stdout.endswith("Problems: 1. Warnings: 0.\n")
    assert shell.orl("doctor", "--workspace", copy, "--wrong").returncode == 2
