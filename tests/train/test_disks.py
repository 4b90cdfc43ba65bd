"""Network disks under a store in SQLite, and files that a folder lacks."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from orl_explorer.train import disks
from orl_explorer.train.disks import NetworkDisk, network_disk
from orl_explorer.train.missing import missing_files, missing_in_words
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.shell import orl

ROOT = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on NFS, below a mount with a space in its name."""
    share = tmp_path / "my share"
    share.mkdir()
    named = str(share).replace(" ", "\\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"{ROOT}22 21 0:40 / {named} rw shared:7 master:1 - nfs4 server:/home rw,vers=4.2\n")
    monkeypatch.setattr(disks, "MOUNTS", mounts)
    return share


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("nfs", True),
        ("nfs4", True),
        ("cifs", True),
        ("smb3", True),
        ("fuse.sshfs", True),
        ("lustre", True),
        ("ext4", False),
        ("overlay", False),
        ("fuse.fuse-overlayfs", False),
        ("fuseblk", False),
        ("tmpfs", False),
    ],
)
def test_a_network_disk_is_known_by_its_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, network: bool
) -> None:
    (tmp_path / "mountinfo").write_text(f"{ROOT}22 21 0:40 / {tmp_path} rw - {kind} source rw\n")
    monkeypatch.setattr(disks, "MOUNTS", tmp_path / "mountinfo")
    assert network_disk(tmp_path / "later") == (kind if network else "")


def test_a_link_to_a_network_disk_is_followed(mounted: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(mounted)
    assert network_disk(tmp_path / "link" / "w") == "nfs4"
    assert network_disk(tmp_path) == ""


def test_a_store_on_a_network_disk_is_opened_with_a_warning(mounted: Path, tmp_path: Path) -> None:
    open_workspace(mounted / "w")
    done = orl("runs", "--workspace", mounted / "w")
    assert done.returncode == 0
    assert done.stderr.startswith(f"Warning: {mounted}/w is on a network disk (nfs4). SQLite works there for one ")
    assert "orl workspace copy --to postgresql+psycopg://…" in done.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("error", NetworkDisk)
        open_workspace(tmp_path / "here")


def test_a_store_on_a_server_does_not_mind(mounted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORL_DATABASE_URL", f"sqlite:///{tmp_path}/elsewhere.sqlite")
    assert "network" not in orl("runs", "--workspace", mounted / "w").stderr


def test_a_folder_says_what_it_lacks_of_what_its_store_names(mined_workspace: Workspace, tmp_path: Path) -> None:
    shutil.copy(mined_workspace.path / "orl.sqlite", tmp_path / "orl.sqlite")
    opened = open_workspace(tmp_path)
    missing = missing_files(opened)
    assert missing == {"weights of": ["starter"], "folders of runs": ["1"], "features of": ["starter"]}
    assert missing_in_words(missing) == "weights of starter, folders of runs 1, features of starter"
    assert missing_in_words({"folders of runs": [*"12345"]}) == "folders of runs 1, 2, 3 and 2 more"
    assert missing_files(mined_workspace) == {}
    found = orl("doctor", "--workspace", tmp_path).stdout
    assert "not in this folder: folders of runs 1, features of starter" in " ".join(found.split())


@pytest.mark.parametrize("file", ["bf16/rois-2.vectors", "parts-2/00001-of-00001-0.part"])
def test_features_of_another_precision_or_from_parts_are_not_missing(
    mined_workspace: Workspace, tmp_path: Path, file: str
) -> None:
    opened = open_workspace(shutil.copytree(mined_workspace.path, tmp_path / "copy"))
    shutil.rmtree(opened.embeddings / "starter")
    assert missing_files(opened) == {"features of": ["starter"]}
    (opened.embeddings / "starter" / file).parent.mkdir(parents=True)
    (opened.embeddings / "starter" / file).touch()
    assert missing_files(opened) == {}
