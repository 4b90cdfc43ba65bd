"""Demo scenes: pictures composed of cut-outs on backdrops of many kinds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from orl_explorer.train.demo.backdrops import BACKDROPS, Backdrop, Rng
from orl_explorer.train.demo.cutouts import Floats, blur, cutouts

Masks = list[NDArray[np.bool_]]

SIZES = ((480, 360), (480, 360), (480, 360), (480, 320), (500, 375), (360, 480))  # width, height
MIN_VISIBLE = 0.58  # leaves a margin above the documented 0.55
BULKY_SIDE = 100  # px; two objects of every scene have at least this width and height


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene: the tight box of its visible pixels, and its visible fraction.

    x, y: left and top pixel; w, h: width and height in pixels; visible: fraction of the object in (0, 1].
    """

    category: str
    x: int
    y: int
    w: int
    h: int
    visible: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A composed picture and its objects, back to front.

    image: uint8 [H, W, 3] RGB, row-major from the top left.
    """

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True, eq=False)
class Layer:
    """One placed object: rgba float32 [h, w, 4], premultiplied, its corner at column x and row y of the frame.

    stance: "stand", "lie", "edge" (cut off by the frame or the table) or "float"; depth: larger is nearer.
    """

    category: str
    rgba: Floats
    x: int
    y: int
    stance: str
    depth: float


@dataclass(frozen=True)
class Role:
    """How a category behaves: its stance, the longer side in px for a 480 px frame and the tilt in degrees.

    least: the smallest tilt in degrees (a thin thing fills its box better when it leans).
    """

    stance: str
    small: int
    large: int
    tilt: float
    bulky: bool = True
    least: float = 0


ROLES = {
    "astronaut": Role("edge", 190, 270, 6),
    "cameraman": Role("edge", 200, 270, 3),
    "cat": Role("edge", 160, 230, 6),
    "pagoda": Role("stand", 170, 260, 3),
    "motorcycle": Role("stand", 200, 280, 4),
    "horse": Role("stand", 160, 240, 4),
    "shuttle": Role("stand", 235, 305, 6, bulky=False),
    "cup": Role("lie", 130, 200, 10),
    "flower": Role("stand", 120, 190, 25),
    "coin": Role("stand", 98, 130, 25, bulky=False),
    "moon": Role("float", 120, 190, 25),
    "planet": Role("float", 120, 190, 25),
    "rocket": Role("float", 230, 310, 38, bulky=False, least=22),
}


# Relative frequency of a category on a kind of backdrop; 1 is usual.
LIKES: dict[str, dict[str, float]] = {
    "sky": {"moon": 2.2, "planet": 2.2, "rocket": 2.5, "shuttle": 2, "coin": 0.4, "pagoda": 0.5, "motorcycle": 0.6},
    "table": {"cup": 2, "flower": 1.6, "coin": 1.8, "moon": 0.4, "rocket": 0.2, "planet": 0.8},
    "flat": {"cup": 2, "flower": 2, "coin": 3, "rocket": 0.5, "pagoda": 0.5, "astronaut": 0.4, "cameraman": 0.3},
    "ground": {"motorcycle": 1.5, "pagoda": 1.6, "horse": 1.4, "rocket": 1.4, "cup": 0.8, "coin": 0.7},
    "room": {"motorcycle": 1.4, "horse": 1.4, "rocket": 0.2, "moon": 0.6, "coin": 0.9, "flower": 1.2},
}


@cache
def _premultiplied(category: str, index: int) -> Floats:
    rgba = cutouts()[category][index].rgba
    return np.dstack([rgba[..., :3] * rgba[..., 3:], rgba[..., 3]])


def _warp(rng: Rng, rgba: Floats, longest: float, tilt: float, least: float) -> Floats:
    """Size, mirror, turn and slightly skew a premultiplied cut-out into a tight float32 [h, w, 4]."""
    scale = longest / max(rgba.shape[:2])
    if scale < 0.75:  # warping alone would alias
        rgba, scale = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 1.0
    h, w = rgba.shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    bent = (corners - [w / 2, h / 2]) * scale * rng.uniform(0.95, 1.05, 2) * [rng.choice([-1, 1]), 1]
    bent += rng.uniform(-0.03, 0.03, (4, 2)) * longest
    lean = rng.normal(0, tilt / 2)
    turn = np.deg2rad(np.copysign(np.clip(abs(lean), least, tilt), lean))
    bent = bent @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    bent -= bent.min(0) - 1
    size = np.ceil(bent.max(0)).astype(int) + 1
    matrix = cv2.getPerspectiveTransform(corners, bent.astype(np.float32))
    return cv2.warpPerspective(rgba, matrix, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR)


def _relight(rng: Rng, rgba: Floats, ambient: Floats, vivid: float) -> Floats:
    """Vary an object's exposure, contrast and hue, and add some of the backdrop's light."""
    swing = rng.normal(0, 0.07 * vivid)  # turns hues by leaking a little of each channel into its neighbour
    hue = np.eye(3) * (1 - abs(swing)) + np.roll(np.eye(3), 1 if swing > 0 else -1, axis=0) * abs(swing)
    strength = rng.uniform(0.85, 1.2)
    saturation = np.eye(3) * strength + (1 - strength) / 3
    contrast = rng.uniform(0.9, 1.15)
    gain = (0.84 + 0.16 * ambient / max(float(ambient.mean()), 0.05)) * rng.uniform(0.9, 1.12)
    # All of it is one linear map; on premultiplied colour the constant term multiplies alpha.
    mix = np.eye(4)
    mix[:3, :3] = gain[:, None] * contrast * hue @ saturation
    mix[:3, 3] = gain * 0.45 * (1 - contrast)
    out = np.clip(cv2.transform(rgba, mix), 0, rgba[..., 3:])
    return blur(out, 0.6) if rng.random() < 0.2 else out


# ---------------------------------------------------------------- arrangement


def _footprint(layer: Layer, height: int, width: int, step: int = 1) -> NDArray[np.bool_]:
    """Return where a single layer is solid (alpha above 0.5), at every step-th row and column of the frame."""
    full = np.zeros((-(-height // step), -(-width // step)), bool)
    solid = layer.rgba[-layer.y % step :: step, -layer.x % step :: step, 3] > 0.5
    y, x = -(-layer.y // step), -(-layer.x // step)
    part = solid[max(-y, 0) : max(full.shape[0] - y, 0), max(-x, 0) : max(full.shape[1] - x, 0)]
    full[max(y, 0) : max(y, 0) + part.shape[0], max(x, 0) : max(x, 0) + part.shape[1]] = part
    return full


def visibility(layers: Sequence[Layer], height: int, width: int, step: int = 1) -> Masks:
    """Return where each layer, given back to front, is visible in the frame.

    Returns one bool [ceil(height / step), ceil(width / step)] mask per layer: its alpha is above 0.5 and that of
    no later layer is. A step above 1 looks at every step-th row and column only.
    """
    free = np.ones((-(-height // step), -(-width // step)), bool)
    masks: Masks = []
    for layer in reversed(layers):
        full = _footprint(layer, height, width, step)
        masks.append(full & free)
        free &= ~full
    return masks[::-1]


def _extent(layer: Layer, step: int = 1) -> float:
    """Return the layer's solid area in sampled pixels, including the part outside the frame."""
    return max(float((layer.rgba[::step, ::step, 3] > 0.5).sum()), 1.0)


def locate(layers: Sequence[Layer], masks: Masks) -> list[SceneObject]:
    """Box each layer's visible pixels: one SceneObject per bool [H, W] mask that visibility() made at step 1."""
    out = []
    for layer, mask in zip(layers, masks, strict=True):
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        if not len(columns):
            columns = rows = np.zeros(1, int)
        x, y, right, bottom = (int(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        share = min(float(mask.sum()) / _extent(layer), 1.0)
        out.append(SceneObject(layer.category, x, y, right - x, bottom - y, share))
    return out


def _cast(rng: Rng, kind: str) -> list[str]:
    """Choose the scene's categories: two bulky ones first, so that no scene is all small things."""
    likes = LIKES[kind]
    names = list(ROLES)
    weights = np.array([likes.get(name, 1.0) for name in names])
    bulky = weights * [ROLES[name].bulky for name in names]
    first = rng.choice(len(names), 2, replace=False, p=bulky / bulky.sum())
    weights[first] *= 0.05  # equal categories are rare ...
    count = rng.choice([1, 2, 3, 4, 5], p=[0.1, 0.3, 0.3, 0.2, 0.1])
    more = rng.choice(len(names), count, replace=False, p=weights / weights.sum())
    chosen = [names[i] for i in (*first, *more)]
    if "coin" in chosen:
        chosen += ["coin"] * int(rng.integers(3))  # ... except for coins
    return chosen[:7]


def _stance(rng: Rng, category: str, kind: str) -> str:
    stance = ROLES[category].stance
    if stance == "edge" or category == "rocket":
        return stance
    if kind in ("sky", "flat"):
        return "float" if kind == "sky" else "lie"
    if stance == "float":
        return "float" if kind == "ground" else "stand"  # indoors the moon is a ball
    return "float" if category == "shuttle" and rng.random() < 0.3 else stance


def _shape(rng: Rng, category: str, stage: Backdrop, crowd: int, ambient: Floats) -> Layer:
    """Warp and light one object and choose its height in the frame; its column is still open."""
    h, w = stage.image.shape[:2]
    role, stance = ROLES[category], _stance(rng, category, stage.kind)
    base, near = float(h), 0.6
    if stance in ("stand", "lie") and stage.kind != "flat":
        near = float(rng.uniform(0.65, 0.98) if stance == "lie" else rng.uniform(0.15, 0.93))
        base = stage.horizon + (h - stage.horizon) * near
    if stance == "edge" and stage.kind == "table" and rng.random() < 0.6:
        base, near = float(stage.horizon), 0.0  # sits behind the table
    longest = rng.uniform(role.small, role.large) * (1.12 - 0.04 * crowd)
    longest *= 0.9 + 0.25 * near if role.bulky or near > 0.5 else 1
    tilt = role.tilt * (1.0 if stance in ("stand", "edge") else 1.4)
    if stage.kind in ("sky", "flat") and stance != "edge":
        tilt = max(tilt, 22)
    rgba = _premultiplied(category, int(rng.integers(len(cutouts()[category]))))
    rgba = _warp(rng, rgba, longest * min(1, w / 410), min(tilt, 38), role.least)
    vivid = {"flower": 2.2, "planet": 2.2, "coin": 0.5}.get(category, 0.4 if stance == "edge" else 1.2)
    rgba = _relight(rng, rgba, ambient, vivid)
    oh = rgba.shape[0]
    if stance == "edge":
        sunk = rgba.shape[1] * (np.sin(np.deg2rad(role.tilt)) + 0.03)  # hides the cut even when tilted
        y = round(base - oh + sunk)
        rgba = rgba[: max(round(base) - y, 8)]
        depth = -1.0 if base < h else 2.0
    elif stance == "float" or stage.kind == "flat":
        ceiling = stage.horizon if stance == "float" and stage.kind != "sky" else h
        y = round(rng.uniform(-0.04 * oh, max(ceiling - oh * 1.02, 0.06 * oh)))
        depth = -2.0 if stance == "float" and stage.kind != "sky" else float(rng.random())
    else:
        y, depth = round(min(base, h - 3) - oh), near
    return Layer(category, rgba, 0, y, stance, depth)


def _settle(rng: Rng, placed: list[Layer], new: Layer, stage: Backdrop) -> list[Layer] | None:
    """Place a new object. Return all layers, with it at the emptiest place that hides none too much, or None."""
    h, w = stage.image.shape[:2]
    ow = new.rgba.shape[1]
    roam = 0 if new.stance == "edge" else 40 if stage.kind in ("sky", "flat") else 10 * (new.stance == "float")
    step = 6  # a coarse check is enough here; arrange() checks the result exactly
    later = sum(layer.depth <= new.depth for layer in placed)  # the new layer's place in the stack
    masks = visibility(placed, h, w, step)
    sizes = [_extent(layer, step) for layer in placed]
    cover = np.zeros((-(-h // step), -(-w // step)), bool)
    for layer in placed[later:]:
        cover |= _footprint(layer, h, w, step)
    best, best_cost = None, np.inf
    for _ in range(9):
        x = round(rng.uniform(-0.05 * ow, w - 0.95 * ow))
        y = min(new.y + round(rng.uniform(-roam, roam)), h - 4)
        tried = replace(new, x=x, y=y)
        full = _footprint(tried, h, w, step)
        shares = [float((m & ~full).sum()) / size for m, size in zip(masks[:later], sizes[:later], strict=True)]
        shares.append(float((full & ~cover).sum()) / _extent(new, step))
        off_centre = abs(x + ow / 2 - w / 2) / w if not placed else 0
        cost = sum(max(1 - share, 0) ** 1.5 for share in shares) + 0.25 * off_centre + 0.06 * rng.random()
        if min(shares) >= MIN_VISIBLE + 0.03 and cost < best_cost:
            best, best_cost = [*placed[:later], tried, *placed[later:]], cost
    return best


def arrange(seed: int, index: int) -> tuple[Backdrop, tuple[Layer, ...], Rng]:
    """Stage a scene: its backdrop, its layers back to front, and the generator left for the finish."""
    rng = np.random.default_rng([seed, index])
    while True:
        w, h = SIZES[rng.integers(len(SIZES))]
        stage = BACKDROPS[rng.integers(len(BACKDROPS))](rng, h, w)
        ambient = stage.image[::8, ::8].mean((0, 1))
        names = _cast(rng, stage.kind)
        placed: list[Layer] = []
        for name in names:
            placed = _settle(rng, placed, _shape(rng, name, stage, len(names), ambient), stage) or placed
        layers = tuple(placed)
        seen = locate(layers, visibility(layers, h, w))
        if (
            3 <= len(seen) <= 7
            and len({item.category for item in seen}) >= 2
            and min(item.visible for item in seen) >= MIN_VISIBLE
            and sum(min(item.w, item.h) >= BULKY_SIDE for item in seen) >= 2
        ):
            return stage, layers, rng


# ---------------------------------------------------------------- picture


def _throw_shadow(picture: Floats, layer: Layer, lean: float) -> None:
    """Darken the picture (float32 [H, W, 3], in place) where a layer stands in its light from one side."""
    alpha = np.ascontiguousarray(layer.rgba[..., 3])
    oh, ow = alpha.shape
    slide = 0.6 * lean * oh if layer.stance == "stand" else 0
    x0, x1 = max(int(layer.x + min(slide, 0)) - 24, 0), min(int(layer.x + ow + max(slide, 0)) + 24, picture.shape[1])
    y0, y1 = max(layer.y + (oh * 2 // 3 if slide else -16), 0), min(layer.y + oh + 24, picture.shape[0])
    size = ((x1 - x0 + 1) // 2, (y1 - y0 + 1) // 2)  # blurred pictures can be made at half size
    x, y = layer.x - x0, layer.y - y0

    def throw(part: Floats, affine: list[list[float]], soft: float) -> Floats:
        return blur(cv2.warpAffine(part, np.array(affine) / 2, size, flags=cv2.INTER_LINEAR), soft)

    if layer.stance == "stand":
        # Lay the silhouette down behind its feet, and darken the ground right under them.
        dark = throw(alpha, [[1, -slide / oh, x + slide], [0, 0.22, y + oh - 2 - 0.22 * oh]], 2.4) * 0.5
        feet = np.where(np.arange(oh)[:, None] > 0.86 * oh, alpha, np.float32(0))
        dark = np.maximum(dark, throw(feet, [[1, 0, x + 2 * lean], [0, 1, y + 2.4]], 1.6) * 0.7)
    elif layer.stance == "lie":
        dark = throw(alpha, [[1, 0, x + 8 * lean], [0, 1, y + 7]], 2.6) * 0.6
    else:
        dark = throw(alpha, [[1, 0, x + 8 * lean], [0, 1, y + 5]], 5) * 0.25
    light = 1 - cv2.resize(dark, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    picture[y0:y1, x0:x1] *= cv2.merge((light, light, light))


def paint(stage: Backdrop, layers: tuple[Layer, ...], rng: Rng) -> Floats:
    """Compose a staged scene into a finished picture: float32 [H, W, 3] RGB in [0, 1]."""
    picture = stage.image.copy()
    h, w = picture.shape[:2]
    lean = float(rng.choice([-1, 1]) * rng.uniform(0.5, 1))
    for layer in layers:
        if stage.kind != "sky" and not (layer.stance == "float" and stage.kind != "flat"):
            _throw_shadow(picture, layer, lean)
        oh, ow = layer.rgba.shape[:2]
        y0, y1, x0, x1 = max(layer.y, 0), min(layer.y + oh, h), max(layer.x, 0), min(layer.x + ow, w)
        rgba = layer.rgba[y0 - layer.y : y1 - layer.y, x0 - layer.x : x1 - layer.x]
        part = picture[y0:y1, x0:x1]
        behind = 1 - rgba[..., 3]
        part *= cv2.merge((behind, behind, behind))  # much faster than broadcasting over three channels
        part += rgba[..., :3]
    return _finish(picture, rng)


def _finish(picture: Floats, rng: Rng) -> Floats:
    """Simulate a camera: exposure, white balance, vignette, slight blur and grain."""
    h, w = picture.shape[:2]
    y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, w, dtype=np.float32)[None, :]
    warmth = float(rng.normal(0, 0.035))
    light = rng.uniform(0.97, 1.1) - rng.uniform(0.05, 0.22) * (x * x + y * y) / 2
    light += rng.uniform(-0.06, 0.06) * x + rng.uniform(-0.05, 0.02) * y
    light = light.astype(np.float32)
    out = picture * cv2.merge((light * (1 + warmth), light, light * (1 - warmth)))
    np.clip(out, 0, 1, out=out)
    out += (out - out * out) * (out - 0.45) * rng.uniform(0, 0.35)  # a gentle S curve
    if rng.random() < 0.2:
        out = blur(out, 0.7)
    grain = rng.standard_normal((h, w), np.float32) * np.float32(rng.uniform(0.002, 0.012))
    return np.clip(out + cv2.merge((grain, grain, grain)), 0, 1)


def compose_scene(seed: int, index: int) -> Scene:
    """Make scene number ``index`` of the demo set ``seed``. It depends only on these two numbers.

    The image is uint8 [H, W, 3] RGB, about 480 x 360; the boxes are integer pixels (x, y, w, h).
    """
    stage, layers, rng = arrange(seed, index)
    seen = locate(layers, visibility(layers, *stage.image.shape[:2]))
    picture = paint(stage, layers, rng)
    return Scene(np.round(picture * 255).astype(np.uint8), tuple(seen))
