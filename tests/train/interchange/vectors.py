"""Files of vectors as a person writes them, and their import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.train.interchange.import_vectors import ImportedVectors, import_vectors
from orl_explorer.train.workspace import Workspace

BOX = ["x", "y", "w", "h"]


def paths(workspace: Workspace) -> list[str]:
    return [image.path for image in usable_images(workspace.store, dataset_named(workspace.store, "demo").id)]


def vectors(count: int, width: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def save(file: Path, rows: np.ndarray, **columns: Any) -> Path:
    """Write rows and the names of their photos, as a person does with numpy and pandas."""
    np.save(file, rows)
    pd.DataFrame(columns).to_csv(file.with_suffix(".csv"), index=False)
    return file


def photo_file(folder: Path, names: list[str], width: int = 6, seed: int = 0) -> Path:
    return save(folder / f"photos-{seed}.npy", vectors(len(names), width, seed), path=names)


def box_file(folder: Path, names: list[str], width: int = 4, seed: int = 1) -> Path:
    """Two boxes of each photo: its left half, and all of it."""
    rows = [(name, *box) for name in names for box in ((0, 0, 100, 120), (4, 0, 160, 120))]
    frame = pd.DataFrame(rows, columns=["path", *BOX])
    return save(folder / f"boxes-{seed}.npy", vectors(len(rows), width, seed), **frame)


def bring(workspace: Workspace, *files: Path, name: str = "clip", **how: Any) -> ImportedVectors:
    return import_vectors(workspace, files, dataset_named(workspace.store, "demo"), name, **how)


def counts(found: ImportedVectors) -> tuple[bool, int, int, int, int, int]:
    return found.new, found.photos, found.boxes, found.there, found.scaled, found.unreadable
