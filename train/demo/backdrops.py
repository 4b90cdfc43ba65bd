"""Backdrops of the demo scenes: skies, floors, walls and tables made from shipped photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import cv2
import numpy as np

from orl_explorer.train.demo.cutouts import Floats, blur, cutout_photo

Rng = np.random.Generator
Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A scene without objects. image: float32 [H, W, 3] RGB in [0, 1]; horizon: row where the ground begins.

    kind: "ground" (things stand on it under a sky), "room" (things stand on a floor), "table" (things stand on it,
    people sit behind it), "sky" (all floats) or "flat" (a surface seen from above).
    """

    image: Floats
    horizon: int
    kind: str


def _clouds(rng: Rng, h: int, w: int, coarse: int = 3) -> Floats:
    """Return a smooth random relief in about [0, 1], float32 [h, w]."""
    out = np.zeros((h, w), np.float32)
    for octave in range(4):
        n = coarse * 2**octave
        grid = rng.random((n, n + n // 2), np.float32)
        out += cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC) / 2**octave
    return out / 1.875


def _rgb(colour: Sequence[float]) -> Floats:
    return np.asarray(colour, np.float32)


def _ramp(h: int, w: int, top: Colour, bottom: Colour) -> Floats:
    t = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    return np.broadcast_to(_rgb(top) * (1 - t) + _rgb(bottom) * t, (h, w, 3)).copy()


def _pick(rng: Rng, *options: Colour) -> Colour:
    base = np.array(options[rng.integers(len(options))])
    r, g, b = np.clip(base * rng.uniform(0.9, 1.08) * rng.uniform(0.96, 1.04, 3), 0, 1)
    return (float(r), float(g), float(b))


def _planks(size: int = 512, boards: int = 7) -> Floats:
    """Draw floor boards with grain along the x axis and a mean near 1: float32 [size, size, 3]. No photo has any."""
    rng = np.random.default_rng(11)
    out: Floats = np.zeros((size, size), np.float32)
    for fine, long in ((size, 6), (size // 2, 14), (size // 6, 5), (size, 60)):
        grid = rng.standard_normal((fine, long), np.float32)
        out += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * 0.075
    y, x = np.mgrid[:size, :size].astype(np.float32)
    out[:] = cv2.remap(
        out, x, y + 5 * np.sin(x / 71) + 3 * np.sin(x / 29 + 1), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    edges = np.linspace(0, size, boards + 1).astype(int)
    for top, end in pairwise(edges.tolist()):
        joint = int(rng.integers(60, size - 60))
        out[top:end] = np.roll(out[top:end], int(rng.integers(size)), axis=1)
        out[top:end, :joint] += rng.normal(0, 0.07)
        out[top:end, joint:] += rng.normal(0, 0.07)
        out[top : top + 2] -= 0.3
        out[top:end, joint : joint + 2] -= 0.25
    out = blur(out, 0.7)[..., None]
    return 1 + out * _rgb([0.85, 1.0, 1.15])  # dark grain is redder


@cache
def _texture(name: str) -> Floats:
    """Return a surface without its large-scale light, with a mean near 1: float32, [H, W] or [H, W, 3] for wood."""
    if name == "wood":
        return _planks()
    grey = cutout_photo(name)[..., 0]
    grey = grey / np.maximum(blur(grey, 60), 0.05)
    return np.ascontiguousarray(grey.T) if name == "brick.png" else grey  # its courses run upright


def _surface(name: str, matrix: Floats, h: int, w: int, colour: Colour, contrast: float) -> Floats:
    """Project a surface into a frame of h x w pixels by a 3 x 3 homography and paint it."""
    seen = cv2.warpPerspective(_texture(name), matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    seen = (seen - 1) * np.float32(contrast) + 1
    return (seen if seen.ndim == 3 else seen[..., None]) * _rgb(colour)


def _flat(rng: Rng, name: str, h: int, w: int, colour: Colour, contrast: float) -> Floats:
    """Look straight at a surface: a random window of it, slightly turned."""
    zoom = rng.uniform(1.0, 1.25)
    turn = cv2.getRotationMatrix2D((0, 0), float(rng.uniform(-1, 3)), float(zoom))
    turn[:, 2] = rng.uniform(-25, -5, 2)
    if name == "brick.png":
        turn[1] *= max(0.72, (h + 30) / (512 * zoom))  # courses about as flat as a mason lays them
    return _surface(name, np.vstack([turn, [0, 0, 1]]), h, w, colour, contrast)


def _lay(
    rng: Rng, stage: Floats, horizon: int, name: str, colour: Colour, contrast: float, haze: float = 0.5
) -> Floats:
    """Cover everything below the horizon with a surface seen in perspective, fading into the distance."""
    h, w = stage.shape[:2]
    th, tw = _texture(name).shape[:2]
    times = 1.0 if name == "moon.png" else 1.5  # beyond its rim the surface is mirrored
    near, far, lean = rng.uniform(1.15, 1.5), rng.uniform(0.45, 0.6), rng.uniform(-0.2, 0.2)
    depth = h - horizon
    quad = np.array([[0.5 + lean - far, 0], [0.5 + lean + far, 0], [0.5 + near, 1], [0.5 - near, 1]]) * [w, depth]
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [tw * times, th * times]
    matrix = cv2.getPerspectiveTransform(source.astype(np.float32), quad.astype(np.float32))
    ground = _surface(name, matrix, depth, w, colour, contrast)
    rows = np.linspace(0, 1, depth, dtype=np.float32)[:, None, None]
    fade = haze * np.clip(1 - rows * 1.6, 0, 1) ** 1.5
    stage[horizon:] = (ground * (1 - fade) + _rgb(colour) * fade) * (0.86 + 0.2 * rows)
    stage[horizon] = (stage[horizon] + stage[horizon - 1]) / 2
    return stage


def _photo_crop(name: str, box: tuple[int, int, int, int], h: int, w: int, rng: Rng, soft: float) -> Floats:
    """Make a blurred background of h x w pixels from a window (x0, y0, x1, y1) of a photo, maybe mirrored."""
    x0, y0, x1, y1 = box
    crop = cutout_photo(name)[y0:y1, x0:x1]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return cv2.resize(blur(crop, soft * crop.shape[1] / w), (w, h), interpolation=cv2.INTER_CUBIC)


def _sky(rng: Rng, h: int, w: int) -> Floats:
    top, low = (
        ((0.30, 0.52, 0.82), (0.80, 0.90, 0.97)),
        ((0.42, 0.60, 0.80), (0.93, 0.90, 0.84)),
        ((0.36, 0.34, 0.58), (0.98, 0.72, 0.52)),
    )[rng.integers(3)]
    veil = np.clip((_clouds(rng, h, w) - 0.5) * 3.2, 0, 0.85)[..., None]
    return _ramp(h, w, top, low) * (1 - veil) + _rgb([1, 0.98, 0.96]) * veil


def _stars(rng: Rng, h: int, w: int) -> Floats:
    field = cutout_photo("hubble_deep_field.jpg")
    y, x = rng.integers(field.shape[0] - 640), rng.integers(field.shape[1] - 720)
    window = field[y : y + 640, x : x + 720]
    stars = np.clip(cv2.resize(window, (w, h), interpolation=cv2.INTER_AREA) * 1.3 - 0.06, 0, 1)
    glow = _rgb(_pick(rng, (0.12, 0.16, 0.42), (0.32, 0.12, 0.36), (0.06, 0.26, 0.34), (0.36, 0.16, 0.12)))
    mist = np.clip(_clouds(rng, h, w, 2) - 0.28, 0, 1)[..., None]
    return np.clip(stars + glow * mist * 1.5 + _rgb([0.02, 0.025, 0.06]), 0, 1)


def _space(rng: Rng, h: int, w: int) -> Backdrop:
    return Backdrop(_stars(rng, h, w), h, "sky")


def _open_sky(rng: Rng, h: int, w: int) -> Backdrop:
    return Backdrop(_sky(rng, h, w), h, "sky")


def _moonscape(rng: Rng, h: int, w: int) -> Backdrop:
    horizon = int(h * rng.uniform(0.52, 0.66))
    dust = _pick(rng, (0.55, 0.54, 0.53), (0.62, 0.48, 0.38))
    return Backdrop(_lay(rng, _stars(rng, h, w), horizon, "moon.png", dust, 1.1, 0.3), horizon, "ground")


def _meadow(rng: Rng, h: int, w: int) -> Backdrop:
    horizon = int(h * rng.uniform(0.42, 0.58))
    stage = _sky(rng, h, w)
    ridge = horizon - 8 - 26 * _clouds(rng, 8, w, 2)[4] + np.zeros((h, 1), np.float32)
    hills = np.clip((np.arange(h)[:, None] - ridge) / 2, 0, 1)[..., None].astype(np.float32)
    stage = stage * (1 - hills) + hills * _rgb(_pick(rng, (0.36, 0.48, 0.46), (0.44, 0.52, 0.58)))
    green = _pick(rng, (0.36, 0.46, 0.20), (0.46, 0.50, 0.24), (0.30, 0.44, 0.26))
    return Backdrop(_lay(rng, stage, horizon, "grass.png", green, 0.8), horizon, "ground")


def _lake(rng: Rng, h: int, w: int) -> Backdrop:
    horizon = int(h * rng.uniform(0.62, 0.72))
    view = _photo_crop("china.jpg", (356, 94, 540, 316), h, w, rng, 1.2)
    stage = np.clip((view - 0.5) * 1.3 + _rgb(_pick(rng, (0.31, 0.36, 0.41), (0.41, 0.36, 0.32))), 0, 1)
    name, colour = (("gravel.png", (0.66, 0.62, 0.56)), ("brick.png", (0.62, 0.50, 0.42)))[rng.integers(2)]
    return Backdrop(_lay(rng, stage, horizon, name, colour, 0.8), horizon, "ground")


def _launch_pad(rng: Rng, h: int, w: int) -> Backdrop:
    horizon = int(h * rng.uniform(0.68, 0.78))
    stage = np.clip(_photo_crop("rocket.jpg", (0, 40, 296, 404), h, w, rng, 1.3) * 1.25, 0, 1)
    asphalt = _pick(rng, (0.30, 0.31, 0.36), (0.36, 0.33, 0.32))
    return Backdrop(_lay(rng, stage, horizon, "gravel.png", asphalt, 0.7), horizon, "ground")


def _garden_table(rng: Rng, h: int, w: int) -> Backdrop:
    box = ((0, 20, 165, 330), (452, 20, 640, 330))[rng.integers(2)]
    stage = np.clip(_photo_crop("flower.jpg", box, h, w, rng, 7) * rng.uniform(1.5, 2.1), 0, 1)
    return _table(rng, stage, (0.62, 0.42, 0.26), (0.50, 0.34, 0.22), (0.72, 0.60, 0.46))


def _garage(rng: Rng, h: int, w: int) -> Backdrop:
    horizon = int(h * rng.uniform(0.5, 0.6))
    box = ((345, 0, 720, 170), (30, 0, 330, 190))[rng.integers(2)]
    stage = np.clip(_photo_crop("motorcycle_left.png", box, h, w, rng, 4.5) * 1.15, 0, 1)
    if rng.random() < 0.5:
        return _table(rng, stage, (0.55, 0.38, 0.24), (0.40, 0.42, 0.44))
    concrete = _pick(rng, (0.58, 0.56, 0.53), (0.50, 0.47, 0.44))
    return Backdrop(_lay(rng, stage, horizon, "moon.png", concrete, 0.35), horizon, "room")


def _table(rng: Rng, stage: Floats, *colours: Colour) -> Backdrop:
    h = stage.shape[0]
    horizon = int(h * rng.uniform(0.54, 0.66))
    stage = _lay(rng, stage, horizon, "wood", _pick(rng, *colours), 1.1, 0.2)
    stage[horizon : horizon + 2] *= 1.25  # the far edge catches the light
    return Backdrop(np.clip(stage, 0, 1), horizon, "table")


def _room(rng: Rng, h: int, w: int) -> Backdrop:
    horizon = int(h * rng.uniform(0.56, 0.68))
    if rng.random() < 0.5:
        paint = _pick(rng, (0.62, 0.36, 0.28), (0.80, 0.78, 0.74), (0.46, 0.52, 0.58), (0.70, 0.56, 0.42))
        wall = _flat(rng, "brick.png", h, w, paint, 0.75)
    else:
        paint = _pick(
            rng, (0.42, 0.60, 0.60), (0.86, 0.72, 0.50), (0.78, 0.52, 0.46), (0.52, 0.56, 0.72), (0.88, 0.85, 0.78)
        )
        wall = _rgb(paint) * (0.93 + 0.14 * _clouds(rng, h, w, 9))[..., None]
    x = np.linspace(-1, 1, w, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, h, dtype=np.float32)[:, None, None]
    lamp = rng.uniform(-0.8, 0.8)
    wall = wall * (0.72 + 0.45 * np.exp(-((x - lamp) ** 2) * 1.2 - (y + 0.5) ** 2))
    skirting = max(7, h // 36)
    wall[horizon - skirting : horizon] = _rgb([0.93, 0.92, 0.90])
    wall[horizon - skirting - 1 : horizon - skirting] *= 0.7
    boards = (("wood", (0.60, 0.42, 0.27)), ("wood", (0.74, 0.60, 0.44)), ("gravel.png", (0.52, 0.46, 0.44)))
    name, colour = boards[rng.integers(len(boards))]
    stage = _lay(rng, wall, horizon, name, _pick(rng, colour), 1.0 if name == "wood" else 0.3, 0.2)
    return Backdrop(np.clip(stage, 0, 1), horizon, "room")


def _studio(rng: Rng, h: int, w: int) -> Backdrop:
    colour = _rgb(_pick(
        rng, (0.90, 0.78, 0.66), (0.62, 0.76, 0.82), (0.93, 0.70, 0.66), (0.70, 0.80, 0.66), (0.55, 0.52, 0.70),
        (0.94, 0.84, 0.50), (0.78, 0.79, 0.80),
    ))  # fmt: skip
    horizon = int(h * rng.uniform(0.55, 0.65))
    x = np.linspace(-1, 1, w, dtype=np.float32)[None, :]
    y = (np.arange(h, dtype=np.float32)[:, None] - horizon) / h
    spot = np.exp(-((x - rng.uniform(-0.4, 0.4)) ** 2) * 0.9 - (y + 0.25) ** 2 * 3)
    sweep = 1 / (1 + np.exp(-y * 22))  # the paper's bend from wall to floor
    light = 0.66 + 0.34 * spot * (1 - 0.5 * sweep) + 0.16 * sweep
    paper = 0.98 + 0.04 * _clouds(rng, h, w, 24)
    return Backdrop(np.clip(colour * (light * paper)[..., None], 0, 1), horizon, "room")


def _from_above(rng: Rng, h: int, w: int) -> Backdrop:
    name, colour, contrast = (
        ("wood", (0.58, 0.40, 0.26), 1.1), ("wood", (0.74, 0.62, 0.48), 1.1), ("gravel.png", (0.58, 0.55, 0.50), 0.7),
        ("grass.png", (0.38, 0.48, 0.22), 0.8), ("brick.png", (0.60, 0.44, 0.36), 0.7),
    )[rng.integers(5)]  # fmt: skip
    surface = _flat(rng, name, h, w, _pick(rng, colour), contrast)
    return Backdrop(np.clip(surface * (0.8 + 0.4 * _clouds(rng, h, w, 2))[..., None], 0, 1), 0, "flat")


BACKDROPS: tuple[Callable[[Rng, int, int], Backdrop], ...] = (
    _space, _open_sky, _moonscape, _meadow, _meadow, _lake, _lake, _launch_pad, _garden_table, _garden_table, _garage,
    _garage, _room, _room, _room, _studio, _studio, _from_above, _from_above,
)  # fmt: skip
