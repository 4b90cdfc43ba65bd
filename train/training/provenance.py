"""A record of how a run made its weights, written beside them, so that the run can be repeated."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import orl_explorer
from orl_explorer.train.files import publish
from orl_explorer.train.run_folders import PROVENANCE
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.distributed import Processes

SOURCES = Path(orl_explorer.__file__).resolve().parents[1]  # the folder of this package: a checkout, or site-packages
PACKAGES = ("orl-explorer", "torch", "torchvision", "numpy", "pillow", "opencv-contrib-python", "sqlalchemy")
HEADLESS = "opencv-contrib-python-headless"  # in containers: the same without windows


def record(folder: Path, config: TrainConfig, processes: Processes, trained_on: dict[str, Any]) -> None:
    """Write settings, seed, data, versions, revision and machine. A resumed run adds an attempt."""
    path = folder / PROVENANCE
    attempt = {
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "git_revision": git_revision(),
        "device": str(processes.device),
        "processes": processes.size,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "arguments": sys.argv,
        "pid": os.getpid(),
    }
    content = json.loads(path.read_text()) if path.is_file() else {"attempts": []}
    content |= {"method": config.title, "seed": config.seed, "config": config.model_dump(), "trained_on": trained_on}
    content["attempts"].append(attempt)
    publish(lambda file: file.write(json.dumps(content, indent=1).encode()), path)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        if HEADLESS.startswith(name):
            return version(HEADLESS)
        raise


def git_revision() -> str | None:
    """Return the commit of the sources, with ``+`` if files have changed, or None outside a repository."""
    if not (SOURCES / ".git").exists():  # else git would find a repository around an installed package
        return None
    try:
        commit = _git(SOURCES, "rev-parse", "HEAD")
        return commit + ("+" if _git(SOURCES, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
