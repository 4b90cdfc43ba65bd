"""Atomic writes of files and folders, even if the process or the machine dies."""

from __future__ import annotations

import errno
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, BinaryIO, cast

from orl_explorer.train.errors import UserError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

# Causes by error number; {folder} is where the file was to be written.
_CAUSES = {
    errno.ENOSPC: "no space is left in {folder}. Free some space, then try again.",
    errno.EDQUOT: "the disk quota of {folder} is used up. Free some space, then try again.",
    errno.EROFS: "{folder} is on a read-only disk. Choose another folder.",
    errno.EACCES: "{folder} is not writable. Choose another folder, or change its permissions.",
    errno.EPERM: "{folder} is not writable. Choose another folder, or change its permissions.",
}
DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors of the disk, whatever was being done


def publish(write: Callable[[BinaryIO], object], path: Path, lasting: bool = True, mode: int = 0o666) -> None:
    """Write or replace a file atomically: write a temporary file, fsync, rename, fsync the folder.

    Several threads and processes may write the same file; the last one wins. lasting: if false, nothing is fsynced, and
    the file may be damaged or lost if the machine dies. mode: who may read the file, less the umask. Raises UserError
    that names the cause if the file cannot be written; an existing file is untouched then.
    """
    with said_plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
        try:
            with writing(aside, mode) as file:
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
def writing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file for writing. A full disk raises OSError, even if the writer reports it as an error of its own."""
    raw = _Watched(path, "wb", opener=lambda name, flags: os.open(name, flags, mode))
    with io.BufferedWriter(raw) as file:
        try:
            yield cast(BinaryIO, file)
        except Exception as error:
            if raw.failed is not None and error is not raw.failed:  # torch.save raises RuntimeError
                raise raw.failed from error
            raise


class _Watched(io.FileIO):
    """A file that remembers why it could not be written."""

    failed: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failed = error
            raise


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
    refuse_existing(target)
    with said_plainly(target):
        scratch = Path(mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
        try:
            made = scratch / target.name
            yield made
            made.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def refuse_existing(target: Path) -> None:
    """Raise UserError if a file or folder that is to be written is there."""
    with said_plainly(target):  # a name may be too long
        there = target.exists()
    if there:
        raise UserError(f"{target} already exists. Choose another --out, or remove it.")


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """Turn an OSError about a path into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error


def cannot_write(path: Path | str, error: OSError) -> str:
    """Return the sentence for a file or folder that cannot be written: the folder and the cause."""
    is_folder = error.errno != errno.ENAMETOOLONG and Path(path).is_dir()  # which raises for such a name
    folder = path if is_folder else Path(path).parent
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}.")
    return f"Cannot write {path}: {cause.format(folder=folder)}"
