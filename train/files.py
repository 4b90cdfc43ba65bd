"""Atomic writes of files and folders, even if the process or the machine dies."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO

from orl_explorer.train.errors import UserError


def publish(write: Callable[[BinaryIO], object], path: Path, lasting: bool = True) -> None:
    """Write or replace a file atomically: write a temporary file, fsync, rename, fsync the folder.

    Several threads and processes may write the same file; the last one wins. lasting: if false, nothing is fsynced, and
    the file may be damaged or lost if the machine dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with aside.open("wb") as file:
            write(file)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    if not lasting:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which replaces the given folder at the end of the block."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.{threading.get_ident()}")
    aside.mkdir(parents=True)
    try:
        yield aside
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path to write a file or a folder to, which becomes the target at the end of the block.

    If the block raises, nothing is left. Raises UserError if the target exists, or the disk is full.
    """
    if target.exists():
        raise UserError(f"{target} already exists. Choose another --out, or remove it.")
    with said_plainly(target):
        scratch = Path(mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
        try:
            made = scratch / target.name
            yield made
            made.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """Turn an OSError about a path into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"Cannot write {path}: the disk is full.") from error
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
