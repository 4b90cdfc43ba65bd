"""Two photos side by side, with the boxes of their pairs and a line from each query RoI to its key RoI."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from orl_explorer.db.models import CorrespondenceSet, Image
from orl_explorer.db.sets.read import NeighborImage, PairRow, neighbors_of, pair_rows, set_images
from orl_explorer.train.errors import UserError
from orl_explorer.train.figures import line_look
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace

HEIGHT = 4.0  # inches, of both photos
GAP = 0.1
TITLE = 0.35


class PairFigure(Figure):
    """A matplotlib figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        """Return the picture, for a notebook."""
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def draw_set_pairs(
    workspace: Workspace, mined: CorrespondenceSet, query: str | int, neighbor: int, most: int
) -> PairFigure:
    """Draw pairs of a set. Raises UserError if the photo or the neighbour is not in the set."""
    image = _photo(workspace, mined, query)
    near = _neighbor(workspace, mined, image, neighbor)
    photos = Photos.of(workspace.store, mined.dataset_id)
    found: list[PairRow] = pair_rows(workspace.store, mined.id, [image.id])[image.id]
    own = [pair for pair in found if pair.neighbor_rank == neighbor][:most]
    return draw(
        (photos.read(image), photos.read(near.image)),
        (image.path, f"{near.image.path}, neighbour {neighbor}, similarity {near.similarity:.2f}"),
        [pair.query_box for pair in own],
        [pair.key_box for pair in own],
        [pair.similarity for pair in own],
    )


def draw(
    photos: tuple[PIL.Image.Image, PIL.Image.Image],
    titles: tuple[str, str],
    query: Sequence[Sequence[int]],
    key: Sequence[Sequence[int]],
    similarities: Sequence[float],
) -> PairFigure:
    """Draw pairs of boxes x, y, w, h of two photos, best first. Each pair has its own colour and its similarity."""
    widths = [HEIGHT * photo.width / photo.height for photo in photos]
    whole = sum(widths) + GAP, HEIGHT + TITLE
    figure = PairFigure(figsize=whole, dpi=100)
    left, right = (
        figure.add_axes((at / whole[0], 0, width / whole[0], HEIGHT / whole[1]))
        for at, width in zip((0, widths[0] + GAP), widths, strict=True)
    )
    for axes, photo, title in zip((left, right), photos, titles, strict=True):
        axes.imshow(np.asarray(photo), aspect="auto")
        axes.set_axis_off()
        axes.set_title(title, fontsize=9)
    for number, (own, other, similarity) in reversed([*enumerate(zip(query, key, similarities, strict=True))]):
        colour = line_look(number)["color"]
        _box(left, own, colour, f"{similarity:.2f}")
        _box(right, other, colour, "")
        ends = [(x + w / 2, y + h / 2) for x, y, w, h in (own, other)]
        figure.add_artist(
            ConnectionPatch(ends[0], ends[1], "data", "data", axesA=left, axesB=right, color=colour, lw=1.5, alpha=0.9)
        )
    return figure


def _box(axes: Axes, box: Sequence[int], colour: str, text: str) -> None:
    x, y, w, h = box
    for width, shade in ((4, "white"), (2, colour)):
        axes.add_patch(Rectangle((x, y), w, h, fill=False, lw=width, edgecolor=shade))
    if text:
        axes.text(x, y, text, fontsize=8, color="white", va="top", bbox={"facecolor": colour, "lw": 0, "pad": 1.5})


def _photo(workspace: Workspace, mined: CorrespondenceSet, query: str | int) -> Image:
    for image in set_images(workspace.store, mined.id):
        if query in (image.id, image.path):
            return image
    raise UserError(f"The photo {query!r} is not in the set '{mined.name}'. Name its path, or its id.")


def _neighbor(workspace: Workspace, mined: CorrespondenceSet, image: Image, rank: int) -> NeighborImage:
    found = neighbors_of(workspace.store, mined.id, image.id)
    if not 1 <= rank <= len(found):
        raise UserError(f"Invalid value for neighbor: {rank}. Use 1 to {len(found)}.")
    return found[rank - 1]
