"""ORL Explorer: object-level self-supervised learning from ordinary scene photos, made visible.

``import orl_explorer as orl`` gives the Python API: ``orl.open_workspace`` for datasets, encoders, correspondence sets
and trainings, ``orl.match_photos`` for two photos without a workspace. It is stable: CHANGELOG.md announces breaking
changes one release ahead.

The subpackages are its layers: ``orl`` the method, ``db`` the store, ``train`` the stages, ``app`` the command line and
the explorer. In the repository they are links to the folders at its top, see docs/decisions/0010-one-package.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orl_explorer.app.api.matching import PhotoMatch, match_photos
    from orl_explorer.app.api.workspace import Workspace, open_workspace
    from orl_explorer.db.store import StoreError
    from orl_explorer.train.errors import UserError

__all__ = ["PhotoMatch", "StoreError", "UserError", "Workspace", "match_photos", "open_workspace"]

# Imported on first use: each process of a run imports this package, and few need pandas or the version.
_HOME = {
    "PhotoMatch": "app.api.matching",
    "StoreError": "db.store",
    "UserError": "train.errors",
    "Workspace": "app.api.workspace",
    "match_photos": "app.api.matching",
    "open_workspace": "app.api.workspace",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("orl-explorer")
    except PackageNotFoundError:  # a copy of the sources that was not installed
        return "0"
