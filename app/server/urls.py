"""URLs of the pictures of this server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.server.base_path import under

PREFIX = "/app/static"  # of the routes; the only path that Streamlit accepts as a URL of its own
WIDTHS = (320, 1280)  # pixels: thumbnails, and the photos of the pair view


@dataclass(frozen=True)
class PictureUrls:
    """URLs of the pictures of one store.

    store: identifies the store. Browsers cache pictures, and the ids of different stores are the same numbers.
    """

    store: str

    @property
    def prefix(self) -> str:
        """Common prefix of the URLs."""
        return under(f"{PREFIX}/{self.store}")

    def photo(self, image_id: int, mtime_ns: int, width: int = WIDTHS[1]) -> str:
        """Return the URL of a photo, at most ``width`` wide. A changed file has another URL."""
        return f"{self.prefix}/photo/{image_id}/{width}?v={mtime_ns}"

    def any_photo(self, width: int) -> str:
        """Return a template of the URLs of photos, for the Map page."""
        return f"{self.prefix}/photo/{{image}}/{width}"

    @property
    def any_crop(self) -> str:
        """Template of the URLs of crops."""
        return f"{self.prefix}/crop/{{image}}/{{x}}-{{y}}-{{w}}-{{h}}"

    def crop(self, image_id: int, box: Iterable[int]) -> str:
        """Return the URL of the crop of a RoI x y w h."""
        return self.any_crop.format(image=image_id, **dict(zip("xywh", box, strict=True)))

    def attention(
        self, encoder_id: int, image_id: int, roi: tuple[int, tuple[int, ...]] | None = None, *, own: bool = False
    ) -> str:
        """Return the URL of an attention map: activation norm, or cosine to a RoI given as (image id, box).

        own: show the cosine over the map's own range, not from 0 to 1.
        """
        to = f"?roi={roi[0]}-{'-'.join(map(str, roi[1]))}{'&own=1' * own}" if roi else ""
        return f"{self.prefix}/attention/{encoder_id}/{image_id}{to}"

    @property
    def any_attention(self) -> str:
        """Template of the URLs of attention maps, for the Attention page.

        The page adds ``?point=image-x-y`` or ``?roi=image-x-y-w-h``, ``cells=1``, ``own=1``.
        """
        return f"{self.prefix}/attention/{{encoder}}/{{image}}"


def picture_urls() -> PictureUrls:
    """Return the URLs of the server's own store."""
    return PictureUrls(workspace().store.identity[:12])
