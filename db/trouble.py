"""Errors of the database as sentences for the user, without the password of its address."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, IntegrityError

PAGES = 64 * 1024  # bytes; with fewer, SQLite cannot create its shared memory
LONGEST = 500  # bytes of a path that SQLite is sure to open: it refuses 512, with its own suffix
ALREADY_STORED = "Another process has stored the same at this moment. Run the command again."


class StoreError(Exception):
    """An error of the store, with a message for the user."""


def store_trouble(error: DBAPIError, url: URL | None = None) -> StoreError:
    """Return a message for an error of the database, without its password. url: of the database."""
    if url is not None and url.get_backend_name() == "postgresql":
        return _server_trouble(error, url)
    reason, file = str(error.orig), url.database if url is not None else None
    folder = Path(file).absolute().parent if file else None
    if "locked" in reason:
        return StoreError("The store is locked by another process. Try again when that process has finished.")
    # SQLite reports a full disk as an error of input and output if it cannot extend its shared memory.
    if "full" in reason or (("disk I/O" in reason or "unable to open" in reason) and _is_full(folder)):
        where = f"no space is left in {folder}" if folder else "the database's disk is full"
        return StoreError(f"Cannot write the store: {where}. Nothing was lost: free some space, then try again.")
    if "unable to open" in reason and file and len(os.fsencode(file)) > LONGEST:
        return StoreError(f"Cannot open the store {file}: its path is too long for SQLite. Choose another workspace.")
    if "readonly" in reason or "unable to open" in reason:
        return StoreError(f"Cannot write the store: {reason}.")
    if "locking protocol" in reason:
        return StoreError(f"The disk of {folder} cannot lock files. Choose a workspace on a disk of this machine.")
    if isinstance(error, IntegrityError) and "UNIQUE" in reason:
        return StoreError(ALREADY_STORED)
    return StoreError(f"The database reported an error: {reason}.")


def _server_trouble(error: DBAPIError, url: URL) -> StoreError:
    reason = _in_short(str(error.orig))
    where = f"{url.host or url.query.get('host') or 'this machine'}{f':{url.port}' if url.port else ''}"
    if "does not exist" in reason and reason.startswith(("database", "role")):
        return StoreError(f"The PostgreSQL server {where} has no such {reason.split()[0]}: {reason}. Create it first.")
    if "authentication failed" in reason or "no password supplied" in reason or "no pg_hba.conf entry" in reason:
        return StoreError(f"The PostgreSQL server {where} refuses the connection: {reason}. Check user and password.")
    unreachable = str(error.orig).startswith(("connection ", "failed to resolve"))
    if unreachable or error.connection_invalidated:
        return StoreError(f"The PostgreSQL server {where} cannot be reached: {reason}. Check its address.")
    if "permission denied" in reason:
        return StoreError(f"The database refuses this: {reason}. Let its role own the tables, or open it read-only.")
    if "No space left" in reason or "could not extend file" in reason:
        return StoreError(f"Cannot write the store: no space is left on the server {where}. Nothing was lost.")
    if isinstance(error, IntegrityError) and "duplicate key" in reason:
        return StoreError(ALREADY_STORED)
    return StoreError(f"The database reported an error: {reason}.")


def _in_short(reason: str) -> str:
    """Return the cause in what a server says, which repeats the address and gives advice on several lines."""
    first = reason.strip().splitlines()[0] if reason.strip() else "it gave no reason"
    for prefix in ("FATAL:", "failed:", "ERROR:"):
        first = first.rsplit(prefix, 1)[-1]
    return first.strip().rstrip(".")


def _is_full(folder: Path | None) -> bool:
    return folder is not None and folder.is_dir() and shutil.disk_usage(folder).free < PAGES
