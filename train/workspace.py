"""The one folder that holds everything a project of the user's produces."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orl_explorer.db.runs.runs import run_by_id
from orl_explorer.db.store import Store, open_store, sqlite_url
from orl_explorer.train.errors import UserError

DEFAULT = "workspace"


@dataclass(frozen=True)
class Workspace:
    """An opened workspace. Photos stay where they are; only what is made of them lives here."""

    path: Path
    store: Store

    @property
    def embeddings(self) -> Path:
        """Memory-mapped features, one folder for each encoder."""
        return self.path / "embeddings"

    @property
    def encoders(self) -> Path:
        """Weights of added encoders; those of trained ones lie with their run."""
        return self.path / "encoders"

    @property
    def thumbnails(self) -> Path:
        """Cache of resized photos and of crops, safe to delete."""
        return self.path / "thumbnails"

    @property
    def orders(self) -> Path:
        """Cache of the orders of each set's pairs, safe to delete."""
        return self.path / "orders"

    def run_folder(self, run_id: int) -> Path:
        """config.json, log.txt, checkpoints and encoder of one run. Raises StoreError when there is no such run."""
        return (self.path / run_by_id(self.store, run_id).log_path).parent


def workspace_path(path: str | Path | None = None) -> Path:
    """The folder meant: the one given, else ``$ORL_WORKSPACE``, else ``./workspace``."""
    return Path(path or os.environ.get("ORL_WORKSPACE") or DEFAULT).expanduser().absolute()


def open_workspace(path: str | Path | None = None, read_only: bool = False) -> Workspace:
    """Open a workspace, making it if there is none. Raises UserError when it cannot be written.

    One that is opened for reading only has to be there, and its store refuses whatever would change it.
    """
    folder = workspace_path(path)
    if read_only:
        if not (folder / "orl.sqlite").is_file() and "ORL_DATABASE_URL" not in os.environ:
            raise UserError(f"There is no workspace in {folder}. Create it by running the command without --read-only.")
        return Workspace(folder, open_store(sqlite_url(folder / "orl.sqlite"), read_only=True))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot create the workspace {folder}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"The workspace {folder} is read-only. Choose another with --workspace DIR.")
    return Workspace(folder, open_store(sqlite_url(folder / "orl.sqlite")))


def file_name(name: str) -> str:
    """The name of an encoder, which its file and its folder of features have too. Raises UserError."""
    if not name or any(c in name for c in '/\\:*?"<>|') or name.startswith("."):
        raise UserError(f"Invalid name for an encoder: {name}. Use letters, digits, '-', '_' and '.'.")
    return name
