"""Saving figures, and the colours of their lines. Imports no torch, and matplotlib only to write a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish

if TYPE_CHECKING:  # takes half a second, needed only to draw
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
# The palette of Okabe and Ito: safe for colour-blind readers, visible on black and on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"


def line_look(number: int) -> dict[str, Any]:
    """Return the colour and marker of a line; together they distinguish more lines than either alone."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}


def refuse_format(path: Path) -> None:
    """Raise UserError if the file name does not end in a format for figures."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"Invalid file name: {path}. Use {', '.join(FORMATS[:-1])} or {FORMATS[-1]} as its ending.")


def save_figure(drawn: Figure, path: Path) -> None:
    """Write a figure atomically; the same figure gives the same file. Raises UserError."""
    import matplotlib

    refuse_format(path)
    form = path.suffix.lower()[1:]
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    with matplotlib.rc_context({"svg.hashsalt": "orl"}):
        publish(lambda file: drawn.savefig(file, format=form, metadata=undated), path)
