"""Walking a folder of photos: which files are taken, and which are passed over with a word."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from orl_explorer.orl.formats import OTHER_PICTURES, PACKED_SUFFIXES, SUFFIXES
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.findings import (
    ANNOTATIONS_NOT_TAKEN,
    CLOSED_FOLDER,
    HIDDEN,
    LINK_BACK,
    LINKED_TWICE,
    NOT_A_FILE,
    NOT_UTF8,
    OTHER_FORMAT,
    PACKED,
    Findings,
)
from orl_explorer.train.words import is_utf8

ANNOTATION_SUFFIXES = (".json", ".xml")


def walk(
    root: Path, below: str = "", findings: Findings | None = None, suffixes: Collection[str] | None = SUFFIXES
) -> Iterator[str]:
    """Yield the paths of image files in a folder and its subfolders, relative to it, sorted, without hidden ones.

    Links to folders elsewhere are followed. Links back into the tree are passed over, as are names that are not UTF-8
    and whatever is no file. findings: gets what is passed over. suffixes: of the files; None for all files.
    Raises UserError if the folder itself cannot be read.
    """
    return _Walk(root, Findings() if findings is None else findings, suffixes).files(below)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is passed over because of its name."""
    return name.startswith(".") or name == "__MACOSX"


def loosely(name: str) -> str:
    """Return a name without what systems change of it: capitals, and the encoding of accents."""
    return unicodedata.normalize("NFC", name).casefold()


class _Walk:
    def __init__(self, root: Path, findings: Findings, suffixes: Collection[str] | None) -> None:
        self._root, self._findings, self._suffixes = root, findings, suffixes
        self._real_root = os.path.realpath(root)
        self._entered: set[tuple[int, int]] = set()  # devices and inodes of the folders above and of followed links

    def files(self, below: str) -> Iterator[str]:
        """Yield the files of a folder and its subfolders, which may be nested more deeply than Python's calls."""
        open_folders = [(below, iter(self._entries(below, first=True)))]
        while open_folders:
            folder, entries = open_folders[-1]
            entry = next(entries, None)
            if entry is None:
                open_folders.pop()
                continue
            path = f"{folder}{entry.name}"
            if not is_utf8(entry.name):
                self._findings.add([NOT_UTF8.of(path)])
            elif self._is_folder(entry):
                if is_hidden(entry.name):
                    self._findings.add([HIDDEN.of(path)])
                elif self._enter(entry, path):
                    open_folders.append((f"{path}/", iter(self._entries(f"{path}/"))))
            elif self._is_taken(entry, path):
                yield path

    def _entries(self, below: str, first: bool = False) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / below) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if first:
                raise UserError(f"Cannot read the folder {self._root / below}: {error.strerror}.") from error
            self._findings.add([CLOSED_FOLDER.of(below.rstrip("/"), detail=(error.strerror or "").lower())])
            return []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:  # a link to itself
            return False

    def _enter(self, entry: os.DirEntry[str], path: str) -> bool:
        """Return whether to walk a folder: not if a link leads to a folder that is walked anyway."""
        if entry.is_symlink() and self._inside(entry.path) is not None:
            self._findings.add([LINK_BACK.of(path)])
            return False
        found = entry.stat()
        here = found.st_dev, found.st_ino
        if here in self._entered or os.path.samestat(found, self._root.stat()):
            self._findings.add([LINK_BACK.of(path)])
            return False
        self._entered.add(here)
        return True

    def _inside(self, path: str) -> str | None:
        """Return where a link leads, relative to the root, or None if it leads elsewhere."""
        real = os.path.realpath(path)
        if real == self._real_root:
            return ""
        return real.removeprefix(self._real_root + "/") if real.startswith(self._real_root + "/") else None

    def _is_taken(self, entry: os.DirEntry[str], path: str) -> bool:
        suffix = PurePosixPath(entry.name).suffix.lower()
        if is_hidden(entry.name):
            if suffix in SUFFIXES:
                self._findings.add([HIDDEN.of(path)])
            return False
        if self._suffixes is not None and suffix not in self._suffixes:
            if suffix in OTHER_PICTURES:
                self._findings.add([OTHER_FORMAT.of(suffix)])
            elif suffix in PACKED_SUFFIXES:
                self._findings.add([PACKED.of(suffix, detail=f"such as {path}")])
            elif suffix in ANNOTATION_SUFFIXES or (suffix == ".txt" and self._is_label(path)):
                self._findings.add([ANNOTATIONS_NOT_TAKEN.of(suffix, detail=f"such as {path}")])
            return False
        try:
            is_file = entry.is_file()
        except OSError:
            self._findings.add([LINK_BACK.of(path)])
            return False
        if not is_file:
            if entry.is_symlink() and not Path(entry.path).exists():
                return True  # a link to nothing: told as a photo that cannot be read
            self._findings.add([NOT_A_FILE.of(path)])
            return False
        if self._suffixes is not None and entry.is_symlink() and self._is_walked(self._inside(entry.path)):
            self._findings.add([LINKED_TWICE.of(path)])
            return False
        return True

    def _is_label(self, path: str) -> bool:
        """Return whether a text lies where YOLO keeps the labels of a photo."""
        file = self._root / path
        return file.parent.name == "labels" or any(file.with_suffix(s).exists() for s in (".jpg", ".jpeg", ".png"))

    def _is_walked(self, inside: str | None) -> bool:
        """Return whether the file that a link leads to is taken under its own name."""
        if inside is None or any(is_hidden(part) for part in inside.split("/")):
            return False
        return PurePosixPath(inside).suffix.lower() in (self._suffixes or ())
