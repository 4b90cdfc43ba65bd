"""Options and arguments for names in a workspace, with shell completion."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Protocol

import typer

from orl_explorer.db.encoders import encoders
from orl_explorer.db.photos import datasets
from orl_explorer.db.sets.read import sets
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.disks import NetworkDisk
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import open_workspace

Complete = Callable[[typer.Context, str], list[str]]


class Named(Protocol):
    """A row with a name."""

    @property
    def name(self) -> str:
        """Its name."""


def _names(read: Callable[[Store], Iterable[Named]]) -> Complete:
    """Return a completion of the names of some rows. It prints no errors and creates no workspace."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        warnings.simplefilter("ignore", NetworkDisk)
        try:
            store = open_workspace(context.params.get("workspace"), read_only=True).store
            names = [row.name for row in read(store)]
        except (UserError, StoreError):
            return []
        return [name for name in names if name.startswith(incomplete)]

    return complete


some_dataset, some_encoder, some_set = _names(datasets), _names(encoders), _names(sets)


def named_option(complete: Complete, *flags: str, help: str) -> Any:
    """Return an option for the name of an existing row."""
    return typer.Option(*flags, help=help, autocompletion=complete)


Datasets = Annotated[
    list[str],
    named_option(some_dataset, "--dataset", help="Name of the dataset. May be repeated: several are used as one."),
]
EncoderName = Annotated[str, named_option(some_encoder, help="Name of the encoder.")]
SetName = Annotated[str, named_option(some_set, help="Name of the correspondence set.")]
SetArgument = Annotated[
    str, typer.Argument(metavar="SET", help="Name of the correspondence set.", autocompletion=some_set)
]
