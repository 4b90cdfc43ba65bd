"""Files and folders that appear whole or not at all, whenever the process or the machine dies."""

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
    """Put a file in its place, or in that of an older one: write aside, fsync, rename, fsync the folder.

    Several threads and processes may do so at once; the last one's stays. lasting: unless it is, nothing is fsynced,
    and the file may be damaged or gone when the machine dies.
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
    """Where to fill a folder, which takes the place of an older one at the end of the block."""
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
    """Where to write; what is there at the end of the block, a file or a folder, becomes the target.

    When the block raises, nothing is left. Raises UserError when something has the target's name, or the disk is full.
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
    """Turn what the system says of a path into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"Cannot write {path}: the disk is full.") from error
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
