"""Where a copy of a store goes: an address of a database, or a folder for a workspace."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from orl_explorer.db.store import EXAMPLE, database_url
from orl_explorer.train.errors import UserError

BESIDE = "encoders, runs and embeddings"


@dataclass(frozen=True)
class NewStore:
    """The target of a copy. folder: of the workspace that it is in; None on a server."""

    url: URL
    folder: Path | None

    @property
    def shown(self) -> str:
        """Its name for people, without a password."""
        return str(self.folder) if self.folder else self.url.render_as_string(hide_password=True)

    def next_step(self, workspace: Path) -> str:
        """Return what to do so that the copy is used, and the store before is not."""
        last = "Both have the same identity, as a store and its backup have: use only one of them from now on."
        if self.folder is None:
            kept = f"keep --workspace {shlex.quote(str(workspace))}"
            return f"To use it, set ORL_DATABASE_URL to its address and {kept}. {last}"
        if self.folder == workspace:
            return f"To use it, unset ORL_DATABASE_URL. {last}"
        return f"Copy the folders {BESIDE} of {workspace} into it, and unset ORL_DATABASE_URL. {last}"


def new_store(to: str) -> NewStore:
    """Return the target that a person names, and create its folder. Raises UserError if it is neither."""
    if "://" in to:
        url = database_url(to)
        if url is None:
            raise UserError(f"Invalid value for --to. Use a folder, or an address such as {EXAMPLE}.")
        return NewStore(url, None)
    if not to.strip():
        raise UserError(f"The value of --to is empty. Use a folder, or an address such as {EXAMPLE}.")
    folder = Path(to).expanduser().absolute()
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot create the workspace {folder}: {error.strerror}.") from error
    return NewStore(URL.create("sqlite", database=str(folder / "orl.sqlite")), folder)
