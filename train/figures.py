"""Figures as files, and the colours of their lines. No torch; matplotlib only where something is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish

if TYPE_CHECKING:  # half a second that only those who draw should pay
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's, which the colour-blind can tell apart; they stand out from black and from white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"


def line_look(number: int) -> dict[str, Any]:
    """Colour and marker of one of several lines; neither alone tells more than a few of them apart."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}


def refuse_format(path: Path) -> None:
    """Raises UserError when a figure cannot be written under this name."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"Invalid file name: {path}. Use {', '.join(FORMATS[:-1])} or {FORMATS[-1]} as its ending.")


def save_figure(drawn: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the same figure gives the same file. Raises UserError."""
    import matplotlib

    refuse_format(path)
    form = path.suffix.lower()[1:]
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    try:
        with matplotlib.rc_context({"svg.hashsalt": "orl"}):
            publish(lambda file: drawn.savefig(file, format=form, metadata=undated), path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from error
