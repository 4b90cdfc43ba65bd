"""The revision of the sources that a run records."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from orl_explorer.train import provenance


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_sources_are_where_the_package_lies() -> None:
    assert (provenance.SOURCES / "orl_explorer" / "__init__.py").is_file()
    assert (provenance.SOURCES / "pyproject.toml").is_file()


def test_the_revision_is_the_commit_with_a_mark_where_files_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "One")
    monkeypatch.setattr(provenance, "SOURCES", tmp_path)
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.git_revision() == commit
    (tmp_path / "a.py").write_text("2")
    assert provenance.git_revision() == f"{commit}+"


def test_an_installed_package_has_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(provenance, "SOURCES", tmp_path / "site-packages")
    assert provenance.git_revision() is None


def test_opencv_without_windows_is_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(name: str) -> str:
        if name == "opencv-contrib-python":
            raise PackageNotFoundError(name)
        return f"{name} 5"

    monkeypatch.setattr(provenance, "version", installed)
    assert provenance._version("opencv-contrib-python") == "opencv-contrib-python-headless 5"
    assert provenance._version("torch") == "torch 5"
