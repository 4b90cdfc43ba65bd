"""The workspace: the folder that holds everything the project writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import URL

from orl_explorer.db.people.actions import Logged, log_action
from orl_explorer.db.runs.runs import run_by_id
from orl_explorer.db.store import Store, open_store, sqlite_url
from orl_explorer.train.account import account
from orl_explorer.train.disks import warn_of_network_disk
from orl_explorer.train.errors import UserError

DEFAULT = "workspace"
NO_FILE_NAME = '/\\:*?"<>|'  # characters that no file name can hold everywhere


@dataclass(frozen=True)
class Workspace:
    """An open workspace. It holds results; photos stay in their own folders. actor: returns who acts in it."""

    path: Path
    store: Store
    actor: Callable[[], str] = field(default=account, compare=False, repr=False)

    @property
    def embeddings(self) -> Path:
        """Memory-mapped features, one folder for each encoder."""
        return self.path / "embeddings"

    @property
    def encoders(self) -> Path:
        """Weights of added encoders. Trained encoders are in the folder of their run."""
        return self.path / "encoders"

    @property
    def thumbnails(self) -> Path:
        """Cache of resized photos and of crops, safe to delete."""
        return self.path / "thumbnails"

    @property
    def orders(self) -> Path:
        """Cache of the orders of each set's pairs, safe to delete."""
        return self.path / "orders"

    @property
    def search(self) -> Path:
        """Cache of the indices of large sets, and of pictures that people search with, safe to delete."""
        return self.path / "search"

    def log(self, action: Logged, subject: str, detail: str = "") -> None:
        """Note that the actor has done something. subject: such as ``run 3``. Raises StoreError."""
        log_action(self.store, self.actor(), action, subject, detail)

    def for_a_thread(self) -> Workspace:
        """Return the workspace for another thread, in which the present actor goes on to act."""
        who = self.actor()
        return replace(self, actor=lambda: who)

    def run_folder(self, run_id: int) -> Path:
        """Return the folder of a run: config.json, log.txt, checkpoints, encoder. Raises StoreError."""
        return (self.path / run_by_id(self.store, run_id).log_path).parent


def workspace_path(path: str | Path | None = None) -> Path:
    """Return the given folder, else ``$ORL_WORKSPACE``, else ``./workspace``."""
    return Path(path or os.environ.get("ORL_WORKSPACE") or DEFAULT).expanduser().absolute()


def open_workspace(path: str | Path | None = None, read_only: bool = False) -> Workspace:
    """Open a workspace, and create it if needed. Raises UserError if it cannot be written.

    Only its owner may enter a new one: it holds small copies of photos. An existing folder keeps its mode.
    A read-only workspace must exist, and its store refuses changes.
    """
    folder = workspace_path(path)
    if read_only:
        if not _has_store(folder):
            raise UserError(f"There is no workspace in {folder}. Create it by running the command without --read-only.")
        return Workspace(folder, open_store(_address(folder), read_only=True))
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot create the workspace {folder}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"The workspace {folder} is read-only. Choose another with --workspace DIR.")
    return Workspace(folder, open_store(_address(folder)))


def _address(folder: Path) -> URL:
    """Return the address of a workspace's store. Warn if it is a SQLite file on a network disk."""
    url = sqlite_url(folder / "orl.sqlite")
    if url.get_backend_name() == "sqlite" and url.database:
        warn_of_network_disk(Path(url.database).parent)
    return url


def open_to_look(path: str | Path | None = None) -> Workspace:
    """Open a workspace for a command that changes nothing. It may be on a read-only disk.

    Raises UserError if there is none: a mistyped folder is not made.
    """
    folder = workspace_path(path)
    if not _has_store(folder):
        raise UserError(
            f"There is no workspace in {folder}. Choose another with --workspace DIR, or make this one with "
            "`orl ingest PHOTOS` or `orl demo`."
        )
    return open_workspace(path, read_only=folder.is_dir() and bool(os.statvfs(folder).f_flag & os.ST_RDONLY))


def _has_store(folder: Path) -> bool:
    return "ORL_DATABASE_URL" in os.environ or (folder / "orl.sqlite").is_file()


def as_file_name(name: str) -> str:
    """Return the name of an encoder that is made from another name, which may hold what no file name can."""
    return "".join("-" if c in NO_FILE_NAME else c for c in name).lstrip(".") or "encoder"


def file_name(name: str) -> str:
    """Return a name of an encoder, of its file and its folder of features. Raises UserError if it is invalid."""
    if not name or any(c in name for c in NO_FILE_NAME) or name.startswith("."):
        raise UserError(f"Invalid name for an encoder: {name}. Use letters, digits, '-', '_' and '.'.")
    return name
