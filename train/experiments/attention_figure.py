"""Attention maps of photos for several encoders side by side, as one figure (Fig. 4 of the paper)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.attention import AttentionKind, attention_map, enlarged
from orl_explorer.orl.pixels import UnreadableImage, read_image
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:  # the import takes half a second
    from matplotlib.figure import Figure

METHODS: dict[AttentionKind, str] = {
    "activation": "L2 norm of the last layer's activations over channels, each map scaled to its own range",
    "class": "attention of the class token in the layer that is used, mean of its heads, each map in its own range",
    "cosine": "cosine of every location to the photo's pooled feature, clipped at 0, on one scale for all",
}
COLOURS = "inferno"
OPACITY = 0.65  # of the colours over the grey photo
SIDE = 640  # pixels, longer side of a photo in the figure
COLUMN, GAP = 2.2, 0.06  # inches
TITLE, CAPTION = 0.5, 0.75  # inches above and below the photos
DOTS = 200  # per inch, of PNG files


@dataclass(frozen=True)
class FigureColumn:
    """The title of an encoder's column and its maps, float [h, w] in [0, 1], one per photo."""

    title: str
    maps: Sequence[np.ndarray]


def attention_figure(
    workspace: Workspace, files: Sequence[Path], encoders: Sequence[str], method: AttentionKind = "activation"
) -> Figure:
    """Draw the maps of photos, read upright, for encoders of a workspace. Raises UserError or StoreError."""
    from orl_explorer.train.encoders.weights import load_encoder

    if method not in METHODS:
        raise UserError(f"There is no map '{method}'. Known maps: {', '.join(METHODS)}.")
    rows = [encoder_named(workspace.store, name) for name in encoders]
    photos = [_read(file) for file in files]
    if not rows or not photos:
        raise UserError("A figure of attention maps needs at least one photo and one encoder.")
    columns = []
    for row in rows:
        network = load_encoder(workspace, row)
        try:
            maps = [attention_map(network, photo, method) for photo in photos]
        except ValueError as error:
            raise UserError(f"Cannot draw the encoder '{row.name}'. {error}") from error
        columns.append(FigureColumn(title(row), maps))
    return maps_figure(photos, columns, method)


def title(row: EncoderRow) -> str:
    """Return an encoder's name, and whether it was trained with labels or not at all."""
    if row.source.startswith("random:"):
        return f"{row.name}\n(random weights)"
    return f"{row.name}\n(trained with {row.learned_from})" if row.learned_from in ("labels", "text") else row.name


def maps_figure(photos: Sequence[Image.Image], columns: Sequence[FigureColumn], method: AttentionKind) -> Figure:
    """Draw one row per photo: the photo, upright RGB, then its maps. The caption names method and colours.

    columns: at least one.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure as NewFigure

    across = len(columns) + 1
    heights = [min(2.0, photo.height / photo.width) * COLUMN for photo in photos]
    width = across * (COLUMN + GAP) + GAP
    height = TITLE + sum(heights) + GAP * len(photos) + CAPTION
    drawn = NewFigure(figsize=(width, height), dpi=DOTS)
    top = height - TITLE
    for number, (photo, high) in enumerate(zip(photos, heights, strict=True)):
        shown = photo.copy()
        shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        pictures = [np.asarray(shown), *(overlay(shown, column.maps[number]) for column in columns)]
        top -= high
        for place, pixels in enumerate(pictures):
            left = GAP + place * (COLUMN + GAP)
            axes = drawn.add_axes((left / width, top / height, COLUMN / width, high / height))
            axes.imshow(pixels, interpolation="none")
            axes.set_axis_off()
        top -= GAP
    for place, name in enumerate(("photo", *(column.title for column in columns))):
        middle = GAP + place * (COLUMN + GAP) + COLUMN / 2
        above = (height - TITLE + GAP) / height
        drawn.text(middle / width, above, _wrapped(name, 28), ha="center", va="bottom", fontsize=8)
    bar = drawn.add_axes((2 * GAP / width, 0.5 / height, (COLUMN - 2 * GAP) / width, 0.1 / height))
    scale = drawn.colorbar(
        ScalarMappable(Normalize(0, 1), COLOURS), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1]
    )
    scale.ax.tick_params(labelsize=6, length=2, pad=1)
    beside = (3 * GAP + COLUMN) / width
    characters = round((width - COLUMN - 4 * GAP) * 17)
    words = f"Attention: {METHODS[method]}. Colours: {COLOURS}, over the grey photo."
    drawn.text(beside, 0.6 / height, textwrap.fill(words, characters), ha="left", va="top", fontsize=7)
    return drawn


def overlay(photo: Image.Image, heat: np.ndarray) -> np.ndarray:
    """Draw a map in colours over its grey photo: float [h, w] in [0, 1] -> uint8 [H, W, 3]."""
    from matplotlib import colormaps

    grey = np.asarray(photo.convert("L"), np.float32)[..., None]
    colours = colormaps[COLOURS](enlarged(heat, *photo.size))[..., :3] * 255
    return (OPACITY * colours + (1 - OPACITY) * grey).round().astype(np.uint8)


def _wrapped(name: str, width: int) -> str:
    return "\n".join(part for line in name.split("\n") for part in textwrap.wrap(line, width)[:2])


def _read(file: Path) -> Image.Image:
    if not file.exists():
        raise UserError(f"There is no file {file}.")
    try:
        return read_image(file)
    except UnreadableImage as error:
        raise UserError(f"Cannot read {file}: {error}.") from error
