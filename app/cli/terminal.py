"""What commands print: names as people gave them, in tables, or in lines where the terminal is too narrow for one."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from orl_explorer.train.words import visible

NARROW = 60  # columns of a terminal from which on tables fit


class Terminal(Console):
    """Prints texts without markup, so that a name in brackets stays whole, and escapes what would steer a terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False)
        if self.width < 1:  # COLUMNS=0; Rich would print nothing
            self.width = 80

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts and tables. A terminal too narrow for a table gets a line for each cell.

        Of a text, control characters other than line ends are escaped. Its lines are broken on a terminal alone.
        """
        options = {"soft_wrap": not self.is_terminal} | options
        for one in objects:
            if isinstance(one, Table):
                super().print(_cells(one) if self.width < NARROW else one, **options | {"soft_wrap": False})
            else:
                super().print(_lines(one) if isinstance(one, str) else one, **options)


class TextTable(Table):
    """A table whose cells are folded, never shortened, and hold no control characters."""

    def __init__(self, *headings: str, **options: Any) -> None:
        super().__init__(**options)
        for heading in headings:
            self.add_column(visible(heading), overflow="fold")

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row of texts."""
        if not self.columns:  # of a table without headings
            for _ in cells:
                self.add_column(overflow="fold")
        super().add_row(*(visible(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def _cells(table: Table) -> str:
    headings = [column.header for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return "\n\n".join(
        "\n".join(f"{heading}: {cell}" if heading else f"{cell}" for heading, cell in zip(headings, row, strict=True))
        for row in rows
    )


def _lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))
