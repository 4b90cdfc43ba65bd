"""Labelled photos of an evaluation, from VOC's lists or from folders of classes. Does not import torch."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orl_explorer.db.photos import dataset_named
from orl_explorer.orl.formats import SUFFIXES
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.ingest.voc import read_voc
from orl_explorer.train.ingest.walk import walk
from orl_explorer.train.workspace import Workspace

VOC = "VOCdevkit/VOC2007 with JPEGImages/*.jpg and ImageSets/Main/CLASS_SPLIT.txt"
END = 4096  # bytes by which two files of one size are told apart
FOLDERS = "a folder with train/CLASS/photo.jpg and val/CLASS/photo.jpg"


@dataclass(frozen=True)
class Labelled:
    """The photos of a split.

    files: n paths. labels: of VOC int8 [n, C], 1 for shown, 0 for only difficult, -1 for not shown; else int64 [n].
    """

    files: list[str]
    labels: np.ndarray
    classes: list[str]


def voc_root(data: str) -> Path:
    """Return the folder VOC2007, from its own path or its parent's. Raises UserError with the expected layout."""
    root = _folder(data, VOC)
    root = root / "VOC2007" if (root / "VOC2007").is_dir() else root
    for part in ("ImageSets/Main", "JPEGImages"):
        if not (root / part).is_dir():
            raise UserError(f"{root} has no folder {part}. Expected: {VOC}.")
    return root


def voc_split(root: Path, split: str) -> Labelled:
    """Read a split of VOC from the lists of its classes: ``id 1``, ``id -1``, or ``id 0`` for difficult photos.

    Raises UserError if lists are missing or differ in their photos.
    """
    lists = sorted((root / "ImageSets" / "Main").glob(f"*_{split}.txt"))
    if not lists:
        raise UserError(
            f"{root / 'ImageSets/Main'} has no list CLASS_{split}.txt. Choose another split with "
            f"--set train_split=… and --set test_split=… (found: {', '.join(_splits(root)) or 'none'})."
        )
    ids: list[str] = []
    columns: list[np.ndarray] = []
    for file in lists:
        words = file.read_text(encoding="utf-8", errors="replace").split()
        if not columns:
            ids = words[::2]
        if words[::2] != ids or not set(words[1::2]) <= {"1", "0", "-1"} or len(words) % 2:
            raise UserError(f"{file} must list the photos of {lists[0].name} in the same order, each with 1, 0 or -1.")
        columns.append(np.array(words[1::2], np.int8))
    if not ids:
        raise UserError(f"{lists[0]} lists no photos.")
    files = [str(root / "JPEGImages" / f"{i}.jpg") for i in ids]
    return Labelled(files, np.stack(columns, axis=1), [f.stem.removesuffix(f"_{split}") for f in lists])


def voc_splits(data: str, train: str, test: str) -> tuple[Labelled, Labelled]:
    """Read two splits. Raises UserError if their classes differ or they share a photo."""
    root = voc_root(data)
    learn, measure = voc_split(root, train), voc_split(root, test)
    if learn.classes != measure.classes:
        raise UserError(f"The splits {train} and {test} in {root / 'ImageSets/Main'} have different classes.")
    if shared := set(learn.files) & set(measure.files):
        raise UserError(f"{len(shared)} photos are in both {train} and {test}. Choose splits that share no photos.")
    return learn, measure


def voc_largest(data: str, train: str, test: str) -> tuple[Labelled, Labelled]:
    """Read two splits with one class per photo, that of its largest object. Photos without objects are left out."""
    found = []
    learn, measure = voc_splits(data, train, test)
    for split in (learn, measure):
        files, labels = [], []
        for file in split.files:
            annotation = Path(file).parents[1] / "Annotations" / f"{Path(file).stem}.xml"
            if not annotation.is_file():
                raise UserError(f"There is no {annotation}. The class of a photo is that of its largest object.")
            annotated = read_voc(annotation)
            if annotated.noted:
                raise UserError(f"{annotation}: {annotated.noted[0].detail} has no name or no proper box.")
            boxes = [b for b in annotated.boxes if not b.difficult and b.category in split.classes]
            if boxes:
                files.append(file)
                labels.append(split.classes.index(max(boxes, key=lambda b: b.w * b.h).category))
        found.append(Labelled(files, np.array(labels, np.int64), split.classes))
    return found[0], found[1]


def class_folders(data: str) -> tuple[Labelled, Labelled]:
    """Read ``train`` and ``val``, each with one folder per class. Raises UserError with the expected layout."""
    root, classes = _known_classes(data)
    found = []
    for split in ("train", "val"):
        paths = [path for path in walk(root / split) if "/" in path]
        if not paths:
            raise UserError(f"{root / split} has no photos ({', '.join(sorted(SUFFIXES))}). Expected: {FOLDERS}.")
        number = {name: i for i, name in enumerate(classes)}
        labels = np.array([number[path.split("/", 1)[0]] for path in paths], np.int64)
        found.append(Labelled([str(root / split / path) for path in paths], labels, classes))
    return found[0], found[1]


def _known_classes(data: str) -> tuple[Path, list[str]]:
    root = _folder(data, FOLDERS)
    classes = _classes(root / "train")
    unknown = sorted(set(_classes(root / "val")) - set(classes))
    if unknown:
        raise UserError(f"{root / 'train'} has no class {unknown[0]}, but {root / 'val'} has.")
    if len(classes) == 1:
        raise UserError(f"{root / 'train'} has one class, {classes[0]}. An accuracy needs two or more.")
    return root, classes


def is_voc(data: str) -> bool:
    """Whether a folder has VOC's lists."""
    root = Path(data).expanduser()
    return any((r / "ImageSets" / "Main").is_dir() for r in (root, root / "VOC2007"))


def check_voc(workspace: Workspace, data: str, config: Any) -> None:
    """Raise UserError if a folder has no VOC lists of the two splits."""
    voc_splits(data, config.train_split, config.test_split)


def check_voc_svm(workspace: Workspace, data: str, config: Any) -> None:
    """Raise UserError as ``check_voc`` does, or if a class has too few training photos for the folds."""
    from orl_explorer.orl.measure.svm import FOLDS

    train, _ = voc_splits(data, config.train_split, config.test_split)
    for name, positives in zip(train.classes, (train.labels > 0).sum(axis=0).tolist(), strict=True):
        if positives < FOLDS or len(train.files) - positives < FOLDS:
            raise UserError(
                f"{positives} of the {len(train.files)} photos of {config.train_split} show the class {name}. "
                f"{FOLDS} folds need {FOLDS} photos with it and {FOLDS} without it. Add photos, or remove the lists of "
                "this class from ImageSets/Main."
            )


def check_folders(workspace: Workspace, data: str, config: Any) -> None:
    """Raise UserError if a folder has no classes in ``train`` and ``val``."""
    _known_classes(data)


def check_voc_or_folders(workspace: Workspace, data: str, config: Any) -> None:
    """Raise UserError if a folder has neither layout."""
    if is_voc(data):
        check_voc(workspace, data, config)
    elif (_folder(data, FOLDERS) / "train").is_dir():
        check_folders(workspace, data, config)
    else:
        raise UserError(f"{data} has neither ImageSets/Main nor train. Expected: {VOC}, or {FOLDERS}.")


def check_dataset(workspace: Workspace, data: str, config: Any) -> None:
    """Raise UserError or StoreError if a dataset does not exist or has no annotations."""
    if not dataset_named(workspace.store, data).annotation_count:
        raise UserError(f"The dataset '{data}' has no annotations to measure against. Ingest it with annotations.")


def state_of(data: str) -> str:
    """Return a SHA-256 of the names, sizes and times of all files in a folder, as 64 hex digits."""
    sha = hashlib.sha256()
    for folder, folders, files in os.walk(data):
        folders.sort()
        for name in sorted(files) + [name for name in folders if Path(folder, name).is_symlink()]:
            path = Path(folder, name)
            found = path.stat() if path.exists() else path.lstat()
            sha.update(f"{path.relative_to(data)}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(errors="replace"))
    return sha.hexdigest()


def kept(folder: Path, gather: Callable[[], tuple[Labelled, Labelled]]) -> tuple[Labelled, Labelled]:
    """Return the two splits as they were at the start of the run. Later changes of the folders do not count."""
    path = folder / "photos.npz"
    if not path.is_file():
        arrays: dict[str, Any] = {}
        for split, found in zip(("train", "test"), gather(), strict=True):
            arrays |= {f"{split}_files": np.array(found.files), f"{split}_labels": found.labels}
            arrays["classes"] = np.array(found.classes)
        written = io.BytesIO()
        np.savez(written, **arrays)
        publish(lambda file: file.write(written.getbuffer()), path)
    with np.load(path) as stored:
        classes = stored["classes"].tolist()
        train, test = (
            Labelled(stored[f"{split}_files"].tolist(), stored[f"{split}_labels"], classes)
            for split in ("train", "test")
        )
    return train, test


def shared_photos(folder: Path) -> list[str]:
    """Return a note if test photos of a run are training photos too, also under other names; else nothing.

    Two files are taken for the same if they have one size and one end: the ends of compressed pixels differ.
    """
    if not (folder / "photos.npz").is_file():
        return []
    train, test = kept(folder, lambda: _never())
    known = {_end(file) for file in train.files}
    shared = [file for file in test.files if (end := _end(file)) is not None and end in known]
    if not shared:
        return []
    return [f"{len(shared)} of the {len(test.files)} test photos are training photos too, such as {shared[0]}."]


def _never() -> tuple[Labelled, Labelled]:
    raise AssertionError("the photos are kept")


def _end(file: str) -> tuple[int, bytes] | None:
    """Return the size of a file and the digest of its last bytes; None if it cannot be read."""
    try:
        with Path(file).open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - END))
            return size, hashlib.sha256(opened.read()).digest()[:16]
    except OSError:
        return None


def _folder(data: str, expected: str) -> Path:
    path = Path(data).expanduser()
    if not path.is_dir():
        raise UserError(f"There is no folder {path}. Expected: {expected}.")
    return path


def _classes(folder: Path) -> list[str]:
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".") if folder.is_dir() else []
    if not found:
        raise UserError(f"{folder} has no folders of classes. Expected: {FOLDERS}.")
    return found


def _splits(root: Path) -> list[str]:
    names = {path.stem.rpartition("_")[2] for path in (root / "ImageSets" / "Main").glob("*_*.txt")}
    return sorted(names)
