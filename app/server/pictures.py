"""Routes that serve photos, crops and attention maps as cached pictures. They take ids, never paths."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orl_explorer.app.explorer import heat
from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.explorer.preview import encoder_features
from orl_explorer.app.server.cache import PictureCache, Recent
from orl_explorer.app.server.numbers import LARGEST, numeral
from orl_explorer.app.server.urls import PREFIX, WIDTHS, picture_urls
from orl_explorer.db.models import Image as Row
from orl_explorer.db.photos import image_by_id
from orl_explorer.db.store import StoreError
from orl_explorer.orl.attention import class_map, feature_map, roi_target
from orl_explorer.orl.opening import decoding
from orl_explorer.orl.pixels import Crop, DecodedPhoto, UnreadableImage, decode_photo, reduction
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

CROP = 96  # pixels
KEPT = 2**30  # bytes of pictures kept on disk: about 5,000 photos or 200,000 crops
DECODED = 2**28  # bytes of decoded photos kept in memory: 7 of 12 megapixels, or one of any size
AT_ONCE = 3  # photos that are decoded at the same time: a large one takes hundreds of megabytes
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


async def photo_route(request: Request) -> Response:
    """Answer with a photo, upright and resized, from the thumbnail cache."""
    image_id, width = request.path_params["image"], request.path_params["width"]
    if width not in WIDTHS:
        return PlainTextResponse(f"Widths are {WIDTHS}.", 404)
    return await answer(request, lambda: _photo(image_id, width), "image/jpeg")


async def crop_route(request: Request) -> Response:
    """Answer with a RoI of a photo, resized to a square as for the encoder."""
    image_id, box = request.path_params["image"], _numbers(request.path_params["box"], 4)
    if box is None:
        return PlainTextResponse("A box is x-y-w-h.", 404)
    return await answer(request, lambda: cropped(image_id, box), "image/jpeg")


async def attention_route(request: Request) -> Response:
    """Answer with an attention map as a picture with the photo's aspect ratio."""
    encoder_id, image_id = request.path_params["encoder"], request.path_params["image"]
    query, target = request.query_params, None
    for name, parts, sentence in (("roi", 5, "A RoI is image-x-y-w-h."), ("point", 3, "A point is image-x-y.")):
        if query.get(name):
            target = _numbers(query[name], parts)
            if target is None:
                return PlainTextResponse(sentence, 404)
    look = tuple(name for name in ("cells", "own", "class") if query.get(name) == "1")
    return await answer(request, lambda: _attention(workspace(), encoder_id, image_id, target, look), "image/png")


ROUTES = [
    Route(f"{PREFIX}/{{store}}/photo/{numeral('image')}/{numeral('width')}", photo_route),
    Route(f"{PREFIX}/{{store}}/crop/{numeral('image')}/{{box}}", crop_route),
    Route(f"{PREFIX}/{{store}}/attention/{numeral('encoder')}/{numeral('image')}", attention_route),
]


class MissingPicture(Exception):
    """A picture does not exist. The message says why."""


async def answer(
    request: Request, make: Callable[[], bytes], media_type: str, caching: dict[str, str] = FOREVER
) -> Response:
    """Answer with what ``make`` returns in a thread, 304 if the client has it, or the message of MissingPicture."""
    try:
        own = picture_urls().store
        if request.path_params.get("store", own) != own:
            raise MissingPicture("This picture belongs to another store.")
        data = await run_in_threadpool(make)
    except (MissingPicture, UnreadableImage) as error:
        return PlainTextResponse(str(error), 404, headers={"Cache-Control": "no-store"})
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=caching | {"ETag": etag})
    return Response(data, media_type=media_type, headers=caching | {"ETag": etag})


def _numbers(text: str, count: int) -> tuple[int, ...] | None:
    parts = text.split("-")
    if len(parts) != count or not all(p.isdecimal() and len(p) < 12 for p in parts):
        return None
    return tuple(int(p) for p in parts)


def _find(image_id: int) -> tuple[Row, Path]:
    found = image_by_id(workspace().store, image_id) if image_id <= LARGEST else None
    if found is None:
        raise MissingPicture(f"There is no photo {image_id}.")
    return found[0], Path(found[1].root) / found[0].path


def _open(image_id: int) -> Image.Image:
    _, file = _find(image_id)
    with _turn(image_id):
        return _decoded(file).image


def _turn(image_id: int) -> threading.Lock:
    """Return the lock behind which a photo is decoded: few photos at once, and none by two threads."""
    return _TURNS[image_id % AT_ONCE]


_TURNS = [threading.Lock() for _ in range(AT_ONCE)]
_DECODED: Recent[DecodedPhoto] = Recent(DECODED, lambda photo: 3 * photo.image.width * photo.image.height)


def _decoded(file: Path, reduce: int = 1) -> DecodedPhoto:
    """Return a photo's pixels, which nobody may change; a JPEG's at 1/reduce of its size. Raises UnreadableImage."""
    with decoding():
        stat = file.stat()
    stamp = (file, stat.st_size, stat.st_mtime_ns)
    whole = _DECODED.get((*stamp, 1))
    kept = whole if whole is not None and not whole.reducible else _DECODED.get((*stamp, reduce))
    if kept is None:
        kept = decode_photo(file, reduce)
        _DECODED.put((*stamp, reduce if kept.reducible else 1), kept)
    return kept


def _inside(box: tuple[int, ...], width: int, height: int) -> None:
    """Raise MissingPicture unless a box x y w h lies inside a photo."""
    x, y, w, h = box
    if w < 1 or h < 1 or x + w > width or y + h > height:
        raise MissingPicture("The box is not inside the photo.")


def _photo(image_id: int, width: int) -> bytes:
    row, file = _find(image_id)

    def made() -> bytes:
        with _turn(image_id):
            picture = _decoded(file).image.copy()
        picture.thumbnail((width, width), Image.Resampling.LANCZOS)
        return jpeg(picture, 88)

    return _kept(row, file, f"{width}", made)


def cropped(image_id: int, box: tuple[int, ...]) -> bytes:
    """Return the JPEG of a RoI x y w h. Raises MissingPicture, UnreadableImage."""
    row, file = _find(image_id)
    crop = Crop(np.array(box), CROP)

    def made() -> bytes:
        if row.status == "ok":
            _inside(box, row.width, row.height)  # before anything is decoded
        with _turn(image_id):
            photo = _decoded(file, reduction([crop], spare=2))
            _inside(box, photo.width, photo.height)  # the file may have changed
            pixels = photo.crop(crop)
        return jpeg(Image.fromarray(pixels), 85)

    return _kept(row, file, f"{'-'.join(map(str, box))}-{CROP}", made)


def _kept(row: Row, file: Path, what: str, make: Callable[[], bytes]) -> bytes:
    """Return a picture of a photo from the cache. A changed file under the same path has other pictures."""
    shown = hashlib.blake2b(f"{file}\0{row.size}\0{row.mtime_ns}".encode("utf-8", "surrogateescape"), digest_size=12)
    return _cache(workspace().thumbnails, workspace().store.read_only).get(f"{shown.hexdigest()}-{what}.jpg", make)


@lru_cache(maxsize=1)
def _cache(folder: Path, read_only: bool) -> PictureCache:
    return PictureCache(folder, KEPT, read_only)


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """Return a picture as a JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@lru_cache(maxsize=256)
def _attention(
    opened: Workspace, encoder_id: int, image_id: int, target: tuple[int, ...] | None, look: tuple[str, ...]
) -> bytes:
    try:
        with _FORWARD:
            if "class" in look:
                seen = class_map(encoder_features(opened, encoder_id).encoder, _open(image_id))
                return heat.coloured(seen, cells="cells" in look)
            features = _feature_map(opened, encoder_id, image_id)
            like = None if target is None else _target_features(opened, encoder_id, target)
    except (UserError, StoreError, ValueError) as problem:  # the encoder, its weights or its class token are missing
        raise MissingPicture(str(problem)) from problem
    return heat.painted(features, like, **dict.fromkeys(look, True))


_FORWARD = threading.Lock()  # a page requests many maps of few photos: one thread computes, the others reuse it


@lru_cache(maxsize=96)  # about 1 MB each
def _feature_map(opened: Workspace, encoder_id: int, image_id: int) -> np.ndarray:
    return feature_map(encoder_features(opened, encoder_id).encoder, _open(image_id))


@lru_cache(maxsize=96)
def _target_features(opened: Workspace, encoder_id: int, target: tuple[int, ...]) -> np.ndarray:
    """Return the target of a cosine map, float32 [C]: a point's cell in its photo's map, or a RoI feature."""
    image_id, *at = target
    if len(at) == 4:
        network = encoder_features(opened, encoder_id).encoder
        photo = _open(image_id)
        _inside(tuple(at), photo.width, photo.height)
        return roi_target(network, photo, at)
    row, (x, y) = _find(image_id)[0], at
    if x > row.width or y > row.height:
        raise MissingPicture("The point is not inside the photo.")
    return heat.at_point(_feature_map(opened, encoder_id, image_id), x / max(1, row.width), y / max(1, row.height))
