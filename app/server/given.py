"""Pictures from outside of all datasets, which people give to search with: routes that take and serve them.

They are kept in the workspace's cache under a digest of their content, so that a link to a search shows the same
picture, until the cache is full. They are served re-encoded, never as they came.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from orl_explorer.app.explorer.opened import read_only, workspace
from orl_explorer.app.explorer.paths import allowed_path, readable_roots
from orl_explorer.app.server.cache import PictureCache, Recent
from orl_explorer.app.server.pictures import MissingPicture, answer, jpeg
from orl_explorer.app.server.urls import PREFIX, WIDTHS, picture_urls
from orl_explorer.orl.opening import UnreadableImage, open_bytes
from orl_explorer.orl.pixels import content_digest
from orl_explorer.train.errors import UserError

MOST_BYTES = 32 * 2**20  # of a file
MOST_PIXELS = 64_000_000  # decoded, 192 MB
KEPT = 2**28  # bytes of files in the cache
DECODED = 2**28  # bytes of decoded pictures in memory: one of any size
PATIENCE = 60.0  # seconds for a picture to arrive
RAW = "application/octet-stream"  # a page of another site cannot send this type without asking the server first
FORGOTTEN = "This picture is not kept any more. Give it again."


@dataclass(frozen=True)
class GivenPicture:
    """A picture. name: in URLs. width, height: as shown, pixels. digest: as ``file_digest`` of its file."""

    name: str
    width: int
    height: int
    digest: int

    @property
    def url(self) -> str:
        """URL of the picture, resized."""
        return f"{picture_urls().prefix}/given/{self.name}"


def given_url() -> str:
    """Return the URL to which a page sends a picture."""
    return f"{picture_urls().prefix}/given"


def keep_picture(data: bytes) -> GivenPicture:
    """Keep the content of a picture's file. Raises UnreadableImage with the reason if it is none that can be used."""
    if len(data) > MOST_BYTES:
        raise UnreadableImage(f"larger than {MOST_BYTES >> 20} MB")
    name = hashlib.blake2b(data, digest_size=16).hexdigest()
    found, _ = _decoded(name, data)
    _cache(workspace().search / "given", read_only()).get(name, lambda: data)
    return found


def keep_file(text: str) -> GivenPicture:
    """Keep a copy of a file on the server by its path, as a person typed it. Raises UserError.

    Who may add photos may name any file that these may be added from. On a read-only server nobody adds photos, so
    that files are read only below the folders that ``--photos-below`` names.
    """
    if "\0" in text or not text.strip():
        raise UserError("Enter the path of a picture on the server.")
    if read_only() and not readable_roots():
        raise UserError("This explorer is read-only and reads no files by their path. Drop the picture on the page.")
    path = allowed_path(text)
    try:
        if not path.is_file():
            raise UserError(f"There is no file {path}.")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"Cannot search with {path}: larger than {MOST_BYTES >> 20} MB.")
        return keep_picture(path.read_bytes())
    except OSError as problem:
        raise UserError(f"Cannot read {path}: {problem.strerror or problem}.") from problem
    except UnreadableImage as problem:
        raise UserError(f"Cannot search with {path}: {problem}.") from problem


def find(name: str) -> GivenPicture | None:
    """Return a kept picture, or None if there is none of this name."""
    try:
        return _read(name)[0]
    except (MissingPicture, UnreadableImage):
        return None


def pixels(name: str) -> Image.Image:
    """Return a kept picture in RGB, upright. Raises UnreadableImage if it is not kept any more."""
    try:
        return _read(name)[1]
    except MissingPicture as problem:
        raise UnreadableImage("it is not kept any more") from problem


def _read(name: str) -> tuple[GivenPicture, Image.Image]:
    if not re.fullmatch(r"[0-9a-f]{32}", name):
        raise MissingPicture("There is no such picture.")

    def missing() -> bytes:
        raise MissingPicture(FORGOTTEN)

    return _decoded(name, _cache(workspace().search / "given", read_only()).get(name, missing))


def _decoded(name: str, data: bytes) -> tuple[GivenPicture, Image.Image]:
    with _TURN:  # one at a time: a large picture takes hundreds of megabytes
        kept = _DECODED.get(name)
        if kept is None:
            with open_bytes(data) as photo:
                if photo.width * photo.height > MOST_PIXELS or max(photo.width, photo.height) > np.iinfo(np.int16).max:
                    raise UnreadableImage(f"too many pixels ({photo.width} × {photo.height})")
                image = photo.rgb()
            kept = GivenPicture(name, image.width, image.height, content_digest(data)), image
            _DECODED.put(name, kept)
        return kept


_TURN = threading.Lock()
_DECODED: Recent[tuple[GivenPicture, Image.Image]] = Recent(DECODED, lambda kept: 3 * kept[0].width * kept[0].height)


@lru_cache(maxsize=1)
def _cache(folder: Path, only_read: bool) -> PictureCache:
    return PictureCache(folder, KEPT, only_read)


_AT_ONCE = asyncio.Semaphore(4)  # pictures that arrive at the same time: each is in memory


async def take_route(request: Request) -> Response:
    """Keep the picture in the body. Answer with its name and size, or with the reason why it cannot be used."""
    if request.headers.get("content-type") != RAW:
        return PlainTextResponse(f"Send the picture as {RAW}.", 415)
    data = bytearray()
    try:
        async with _AT_ONCE, asyncio.timeout(PATIENCE):
            async for part in request.stream():
                data += part
                if len(data) > MOST_BYTES:
                    return PlainTextResponse(f"Cannot search with it: larger than {MOST_BYTES >> 20} MB.", 413)
            found = await run_in_threadpool(keep_picture, bytes(data))
    except (ClientDisconnect, TimeoutError):
        return PlainTextResponse("The picture did not arrive. Try again.", 400)
    except UnreadableImage as problem:
        return PlainTextResponse(f"Cannot search with it: {problem}.", 422)
    return JSONResponse({"name": found.name, "width": found.width, "height": found.height})


async def picture_route(request: Request) -> Response:
    """Answer with a kept picture, resized."""
    return await answer(request, lambda: _resized(request.path_params["name"]), "image/jpeg")


def _resized(name: str) -> bytes:
    picture = _read(name)[1].copy()
    picture.thumbnail((WIDTHS[1], WIDTHS[1]), Image.Resampling.LANCZOS)
    return jpeg(picture, 88)


GIVEN_ROUTES = [
    Route(f"{PREFIX}/{{store}}/given", take_route, methods=["POST"]),
    Route(f"{PREFIX}/{{store}}/given/{{name}}", picture_route),
]
