"""Tables as CSV, in which no cell is a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def no_formula(cell: str) -> str:
    """Return a text of a CSV with ``'`` before it if a spreadsheet would read it as a formula. A number is none."""
    return f"'{cell}" if cell[:1] in tuple("=+-@\t\r") and not NUMBER.fullmatch(cell) else cell


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the CSV lines of a table; None is empty. Cells that a spreadsheet would read as formulas are quoted."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow(no_formula(cell) if isinstance(cell, str) else cell for cell in row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
