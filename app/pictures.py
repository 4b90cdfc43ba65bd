"""Routes that serve photos, crops and attention maps as cached pictures. They take ids, never paths."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.access import read_only
from app.preview import encoder_features
from db.encoders import encoder_by_id
from db.models import Image as Row
from db.photos import image_by_id
from orl.attention import activation_norm, cosine_map
from orl.pixels import INPUT_SIZE, UnreadableImage, crop_box, read_image
from train.workspace import Workspace, open_workspace

PREFIX = "/app/static"  # the one path that Streamlit takes for a URL of its own
WIDTHS = (320, 1280)  # pixels: thumbnails, and the photos of the pair view
CROP = 96  # pixels
MAP_SIDE = 448  # pixels, longer side of the photo that an attention map is computed on
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


@lru_cache(maxsize=1)
def workspace() -> Workspace:
    """The server's workspace, opened once."""
    return open_workspace(read_only=read_only())


def photo_url(image_id: int, mtime_ns: int, width: int = WIDTHS[1]) -> str:
    """URL of a photo at most ``width`` wide; a changed file has another one."""
    return f"{PREFIX}/photo/{image_id}/{width}?v={mtime_ns}"


def crop_url() -> str:
    """Template of the URL of a RoI's crop, for the pair view to fill."""
    return f"{PREFIX}/crop/{{image}}/{{x}}-{{y}}-{{w}}-{{h}}"


def attention_url(encoder_id: int, image_id: int, roi: tuple[int, tuple[int, ...]] | None = None) -> str:
    """URL of an attention map: the activation norm, or the cosine to a RoI given as (image id, box)."""
    to = f"?roi={roi[0]}-{'-'.join(map(str, roi[1]))}" if roi else ""
    return f"{PREFIX}/attention/{encoder_id}/{image_id}{to}"


async def photo(request: Request) -> Response:
    """A photo, upright and resized, from the thumbnail cache."""
    image_id, width = request.path_params["image"], request.path_params["width"]
    if width not in WIDTHS:
        return PlainTextResponse(f"Widths are {WIDTHS}.", 404)
    return await _answer(request, lambda: _photo(image_id, width), "image/jpeg")


async def crop(request: Request) -> Response:
    """A RoI of a photo, squashed to a square as the encoder sees it."""
    image_id, box = request.path_params["image"], _numbers(request.path_params["box"], 4)
    if box is None:
        return PlainTextResponse("A box is x-y-w-h.", 404)
    return await _answer(request, lambda: _crop(image_id, box), "image/jpeg")


async def attention(request: Request) -> Response:
    """An attention map as a picture of the photo's aspect ratio."""
    encoder_id, image_id = request.path_params["encoder"], request.path_params["image"]
    text = request.query_params.get("roi")
    roi = _numbers(text, 5) if text else None
    if text and roi is None:
        return PlainTextResponse("A RoI is image-x-y-w-h.", 404)
    return await _answer(request, lambda: _attention(encoder_id, image_id, roi), "image/png")


ROUTES = [
    Route(f"{PREFIX}/photo/{{image:int}}/{{width:int}}", photo),
    Route(f"{PREFIX}/crop/{{image:int}}/{{box}}", crop),
    Route(f"{PREFIX}/attention/{{encoder:int}}/{{image:int}}", attention),
]


class Missing(Exception):
    """There is no such picture; the message says why."""


async def _answer(request: Request, make: Callable[[], bytes], media_type: str) -> Response:
    try:
        data = await run_in_threadpool(make)
    except (Missing, UnreadableImage) as error:
        return PlainTextResponse(str(error), 404, headers={"Cache-Control": "no-store"})
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=FOREVER | {"ETag": etag})
    return Response(data, media_type=media_type, headers=FOREVER | {"ETag": etag})


def _numbers(text: str, count: int) -> tuple[int, ...] | None:
    parts = text.split("-")
    if len(parts) != count or not all(p.isdecimal() and len(p) < 12 for p in parts):
        return None
    return tuple(int(p) for p in parts)


def _find(image_id: int) -> tuple[Row, Path]:
    found = image_by_id(workspace().store, image_id)
    if found is None:
        raise Missing(f"There is no photo {image_id}.")
    return found[0], Path(found[1].root) / found[0].path


def _open(image_id: int) -> Image.Image:
    return read_image(_find(image_id)[1])


def _cut(picture: Image.Image, box: tuple[int, ...], size: int = INPUT_SIZE) -> np.ndarray:
    x, y, w, h = box
    if w < 1 or h < 1 or x + w > picture.width or y + h > picture.height:
        raise Missing("The box is not inside the photo.")
    return crop_box(picture, np.array(box), size)


def _photo(image_id: int, width: int) -> bytes:
    row, file = _find(image_id)
    cached = workspace().thumbnails / f"{image_id}-{row.mtime_ns}-{width}.jpg"
    if cached.is_file():
        return cached.read_bytes()
    picture = read_image(file)
    picture.thumbnail((width, width), Image.Resampling.LANCZOS)
    data = _jpeg(picture, 88)
    with contextlib.suppress(OSError):  # a full disk or a workspace that cannot be written: no cache then
        cached.parent.mkdir(exist_ok=True)
        aside = cached.with_name(f".{cached.name}.{os.urandom(8).hex()}")
        aside.write_bytes(data)
        aside.replace(cached)
    return data


def _crop(image_id: int, box: tuple[int, ...]) -> bytes:
    return _jpeg(Image.fromarray(_cut(_open(image_id), box, CROP)), 85)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@lru_cache(maxsize=256)
def _attention(encoder_id: int, image_id: int, roi: tuple[int, ...] | None) -> bytes:
    if encoder_by_id(workspace().store, encoder_id) is None:
        raise Missing(f"There is no encoder {encoder_id}.")
    network = encoder_features(workspace(), encoder_id).encoder
    picture = _open(image_id)
    scale = MAP_SIDE / max(picture.size)
    size = [max(32, round(side * scale / 32) * 32) for side in picture.size]
    features = network.feature_map(np.asarray(picture.resize((size[0], size[1]), Image.Resampling.BILINEAR)))
    if roi is None:
        heat = activation_norm(features)
    else:
        other = picture if roi[0] == image_id else _open(roi[0])
        heat = cosine_map(features, network.embed_rois(_cut(other, roi[1:])[None])[0])
    heat = cv2.resize(heat.astype(np.float32), (size[0], size[1]), interpolation=cv2.INTER_CUBIC)
    levels = (np.clip(heat, 0, 1) * 255).astype(np.uint8)
    encoded, data = cv2.imencode(".png", cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))
    assert encoded
    return data.tobytes()
