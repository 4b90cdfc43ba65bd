"""The origin of a run's result: what it worked on, and for each attempt the command, revision, versions and machine.

It is written into the run's folder when an attempt begins. This module does not import torch.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orl_explorer
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import Run, now
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.train.files import publish
from orl_explorer.train.run_folders import own_folder
from orl_explorer.train.workspace import Workspace

FILE = "provenance.json"  # in the folder of a run
SOURCES = Path(orl_explorer.__file__).resolve().parents[1]  # the folder of this package: a checkout, or site-packages
PACKAGES = (
    "orl-explorer",
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "opencv-contrib-python",
    "faiss-cpu",
    "sqlalchemy",
)
HEADLESS = "opencv-contrib-python-headless"  # in containers: the same without windows

Provenance = dict[str, Any]


def provenance(folder: Path) -> Provenance:
    """Return what a run's folder says of its origin; {} for a run of an earlier version, or one that has not begun."""
    try:
        found = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def begin_attempt(workspace: Workspace, run: Run) -> None:
    """Record that this process begins to work on a run. A resumed run adds an attempt.

    Raises UserError if the folder belongs to another run.
    """
    folder = own_folder(workspace, run.id)
    content = provenance(folder) | {"inputs": inputs_of(workspace, run)}
    content["attempts"] = [*content.get("attempts", []), _attempt(run.launcher)]
    _write(folder, content)


def add_to_attempt(folder: Path, content: Provenance, attempt: Provenance) -> None:
    """Add what the work knows once it begins: of the run, and of this attempt (device, processes, threads)."""
    kept = provenance(folder) | content
    attempts = kept.setdefault("attempts", [])
    if not attempts or (attempts[-1]["host"], attempts[-1]["pid"]) != (platform.node(), os.getpid()):
        attempts.append(_attempt(""))  # the work was called in a process of the caller's, without a worker
    attempts[-1] |= attempt
    _write(folder, kept)


def inputs_of(workspace: Workspace, run: Run) -> Provenance:
    """Return what a run works on, with digests where there are any."""
    found: Provenance = {}
    if run.dataset_id is not None:
        dataset = dataset_by_id(workspace.store, run.dataset_id)
        found["dataset"] = {"name": dataset.name, "revision": dataset.revision, "photos": dataset.image_count}
    if run.encoder_id is not None:
        encoder = encoder_by_id(workspace.store, run.encoder_id)
        named = {"name": encoder.name, "architecture": encoder.architecture}
        found["encoder"] = named | {"weights_sha256": encoder.weights_sha256}
    if run.correspondence_set_id is not None and (mined := set_by_id(workspace.store, run.correspondence_set_id)):
        found["correspondence_set"] = {"name": mined.name, "photos": mined.image_count, "pairs": mined.pair_count}
    return found


def _attempt(launcher: str) -> Provenance:
    return {
        "began_at": now().isoformat(timespec="seconds"),
        "host": platform.node(),
        "pid": os.getpid(),
        "launcher": launcher,
        "arguments": sys.argv,
        "git_revision": git_revision(),
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "platform": platform.platform(),
    }


def _write(folder: Path, content: Provenance) -> None:
    publish(lambda file: file.write(json.dumps(content, indent=1).encode()), folder / FILE)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return _version(HEADLESS) if name != HEADLESS and HEADLESS.startswith(name) else None


def git_revision() -> str | None:
    """Return the commit of the sources, with ``+`` if files have changed, or None outside a repository."""
    if not (SOURCES / ".git").exists():  # else git would find a repository around an installed package
        return None
    try:
        commit = _git(SOURCES, "rev-parse", "HEAD")
        return commit + ("+" if _git(SOURCES, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
