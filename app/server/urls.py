"""Addresses of the pictures that this server hands out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orl_explorer.app.explorer.opened import workspace

PREFIX = "/app/static"  # the one path that Streamlit takes for a URL of its own
WIDTHS = (320, 1280)  # pixels: thumbnails, and the photos of the pair view


@dataclass(frozen=True)
class PictureUrls:
    """Addresses of the pictures of one store: browsers keep them, and another store's ids are the same numbers.

    store: what tells it from others.
    """

    store: str

    @property
    def prefix(self) -> str:
        """Where they all begin."""
        return f"{PREFIX}/{self.store}"

    def photo(self, image_id: int, mtime_ns: int, width: int = WIDTHS[1]) -> str:
        """A photo at most ``width`` wide; a changed file has another address."""
        return f"{self.prefix}/photo/{image_id}/{width}?v={mtime_ns}"

    def any_photo(self, width: int) -> str:
        """Template of any photo's address, for the map to fill."""
        return f"{self.prefix}/photo/{{image}}/{width}"

    @property
    def any_crop(self) -> str:
        """Template of the address of any RoI's crop."""
        return f"{self.prefix}/crop/{{image}}/{{x}}-{{y}}-{{w}}-{{h}}"

    def crop(self, image_id: int, box: Iterable[int]) -> str:
        """The crop of a RoI x y w h."""
        return self.any_crop.format(image=image_id, **dict(zip("xywh", box, strict=True)))

    def attention(self, encoder_id: int, image_id: int, roi: tuple[int, tuple[int, ...]] | None = None) -> str:
        """An attention map: the activation norm, or the cosine to a RoI given as (image id, box)."""
        to = f"?roi={roi[0]}-{'-'.join(map(str, roi[1]))}" if roi else ""
        return f"{self.prefix}/attention/{encoder_id}/{image_id}{to}"

    @property
    def any_attention(self) -> str:
        """Template of any map's address for the attention page to fill.

        It adds ``?point=image-x-y`` or ``?roi=image-x-y-w-h``, ``cells=1``, ``own=1``.
        """
        return f"{self.prefix}/attention/{{encoder}}/{{image}}"


def picture_urls() -> PictureUrls:
    """Those of the store that this server shows."""
    return PictureUrls(workspace().store.identity[:12])
