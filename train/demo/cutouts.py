"""Object cut-outs for the demo scenes, taken from the photos that scikit-image and scikit-learn ship."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # always float32; loose because OpenCV and NumPy type their results differently
Point = tuple[float, float]

LONGEST = 340  # px; scenes never show an object much larger, so larger cut-outs would only cost time

# Hand-placed outlines, (x, y) in pixels of the shipped photo.
ASTRONAUT = (
    (152, 75), (160, 55), (178, 42), (195, 30), (215, 18), (240, 15), (262, 20), (285, 38), (297, 60),
    (301, 85), (298, 105), (288, 122), (277, 131), (270, 136), (262, 145), (258, 170), (262, 178),
    (285, 195), (300, 215), (304, 233), (325, 240), (345, 265), (355, 300), (361, 345), (375, 346),
    (400, 343), (425, 347), (450, 360), (475, 385), (490, 415), (496, 446), (20, 446), (24, 380),
    (26, 340), (38, 300), (45, 270), (60, 240), (85, 225), (105, 213), (115, 203), (113, 190), (118, 182),
    (125, 168), (140, 155), (165, 149), (183, 148), (180, 132), (170, 125), (160, 110), (154, 95),
)  # fmt: skip
SHUTTLE = (
    (405, 3), (416, 1), (428, 3), (434, 14), (437, 40), (443, 40), (450, 60), (453, 100), (455, 178),
    (456, 232), (452, 240), (458, 262), (470, 271), (470, 277), (445, 284), (415, 288), (390, 286),
    (362, 280), (360, 275), (374, 270), (368, 270), (366, 260), (375, 233), (354, 229), (355, 207),
    (378, 186), (378, 120), (380, 60), (388, 41), (395, 50), (396, 30), (399, 14),
)  # fmt: skip
CAMERAMAN = (
    (0, 250), (15, 238), (22, 225), (45, 195), (58, 165), (75, 145), (105, 128), (130, 124), (150, 106),
    (162, 104), (167, 88), (180, 75), (200, 64), (225, 68), (245, 82), (258, 97), (268, 115), (271, 128),
    (262, 132), (262, 139), (325, 139), (326, 152), (319, 160), (320, 169), (330, 172), (332, 195),
    (325, 213), (312, 230), (307, 246), (300, 248), (303, 262), (304, 274), (298, 281), (298, 292),
    (0, 292),
)  # fmt: skip
CAMERAMAN_GAP = (
    (255, 151), (259, 151), (260, 172), (267, 182), (274, 188), (275, 199), (262, 211), (261, 222), (250, 244),
    (247, 225), (243, 206), (241, 190), (245, 181), (252, 171),
)  # fmt: skip
MOTORCYCLE = (
    (93, 197), (112, 195), (140, 195), (138, 160), (143, 147), (155, 143), (165, 150), (167, 160), (195, 160),
    (225, 168), (245, 170), (258, 180), (272, 190), (290, 193), (320, 187), (350, 187), (357, 193),
    (375, 178), (400, 166), (425, 158), (438, 153), (425, 143), (412, 141), (398, 146), (362, 174),
    (356, 171), (358, 162), (385, 145), (402, 128), (415, 123), (430, 125), (437, 137), (456, 143),
    (468, 141), (470, 128), (484, 118), (500, 113), (504, 102), (520, 98), (531, 104), (538, 122),
    (552, 126), (561, 137), (563, 124), (572, 118), (581, 123), (581, 135), (575, 142), (563, 144),
    (562, 166), (554, 181), (540, 188), (551, 194), (551, 205), (546, 210), (566, 250), (578, 258),
    (582, 264), (600, 266), (622, 277), (638, 296), (645, 305), (645, 313), (665, 330), (678, 362),
    (684, 395), (683, 422), (672, 441), (655, 450), (630, 450), (605, 441), (580, 425), (555, 398),
    (535, 370), (520, 340), (514, 322), (507, 329), (505, 315), (510, 295), (526, 278), (521, 268),
    (505, 240), (497, 225), (490, 226), (480, 214), (470, 233), (479, 250), (476, 285), (475, 318),
    (463, 345), (440, 367), (415, 379), (390, 380), (345, 370), (336, 372), (338, 392), (336, 430), (342, 434),
    (325, 436), (322, 432), (329, 427), (327, 385), (320, 370), (290, 359), (279, 357), (277, 365),
    (262, 380), (240, 393), (215, 400), (195, 399), (170, 388), (150, 370), (133, 345), (124, 320),
    (122, 295), (126, 270), (135, 250), (147, 241), (146, 230), (130, 227), (113, 247), (105, 244),
    (112, 232), (97, 217), (93, 210),
)  # fmt: skip
MOTORCYCLE_GAP = ((516, 229), (543, 212), (563, 260), (566, 266), (551, 268), (535, 277), (530, 262))
CAT_CROWN = 100  # rows of fur mirrored above the photo, which cuts the forehead off; below, 36 rows of chest
CAT = (
    (34, 200), (30, 150), (33, 110), (35, 74), (43, 40), (53, 34), (78, 56), (102, 66), (150, 57), (220, 52),
    (280, 57), (318, 72), (345, 63), (376, 75), (396, 94), (398, 106), (384, 132), (364, 160), (354, 176),
    (362, 196), (366, 216), (358, 250), (345, 275), (326, 298), (318, 325), (314, 348), (306, 372),
    (300, 400), (302, 436), (20, 436), (22, 400), (24, 330), (32, 280), (38, 240),
)  # fmt: skip
PAGODA = (
    (196, 40), (196, 30), (212, 29), (215, 33), (213, 45), (217, 50), (217, 63), (228, 75), (245, 88),
    (262, 94), (267, 100), (280, 104), (292, 106), (300, 113), (318, 117), (320, 126), (305, 137), (294, 140),
    (293, 160), (303, 161), (325, 170), (330, 176), (327, 185), (320, 186), (320, 227), (328, 229),
    (327, 240), (332, 241), (345, 248), (351, 253), (348, 260), (342, 268), (342, 302), (349, 308),
    (349, 318), (305, 338), (270, 345), (175, 346), (150, 335), (110, 333), (75, 335), (74, 320),
    (80, 312), (80, 282), (62, 272), (63, 262), (75, 250), (88, 244), (93, 240), (94, 232), (100, 228),
    (101, 190), (84, 184), (85, 170), (103, 165), (112, 160), (119, 157), (119, 140), (108, 138), (95, 130),
    (96, 107), (115, 104), (122, 97), (150, 92), (175, 80), (190, 65), (193, 50),
)  # fmt: skip
ROCKET = (
    (322.5, 127), (328, 132), (333, 143), (334.5, 152), (334.5, 180), (332, 190), (332, 300), (332, 404), (313, 404),
    (313, 300), (313, 190), (311, 180), (311, 152), (312, 143), (317, 132),
)  # fmt: skip
COINS = (  # bounding boxes x, y, w, h of the best preserved coins
    (305, 15, 60, 57), (314, 155, 66, 64), (18, 232, 57, 57), (143, 235, 59, 53), (275, 238, 53, 52),
    (191, 28, 50, 46), (131, 28, 49, 47), (188, 169, 50, 49), (79, 173, 46, 45), (219, 239, 51, 50),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Cutout:
    """One object without its photo.

    rgba: float32 [H, W, 4], row-major from the top left, straight (not premultiplied) RGB and alpha in [0, 1].
    """

    category: str
    rgba: Floats


def _package(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The demo photos come with the package {name}, which is not installed.")
    return Path(spec.origin).parent


@cache
def cutout_photo(name: str) -> Floats:
    """Read one shipped photo: float32 [H, W, 3] RGB in [0, 1] (grey photos repeat their channel)."""
    folders = (_package("skimage") / "data", _package("sklearn") / "datasets" / "images")
    for folder in folders:
        if (path := folder / name).is_file():
            bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if bgr is None:
                raise ValueError(f"Cannot decode {path}. Reinstall the package that ships it.")
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    places = " or ".join(str(folder) for folder in folders)
    raise FileNotFoundError(f"The demo photo {name} is missing from {places}. Reinstall that package.")


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur of a float32 image [H, W] or [H, W, C]; sigma in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def polygon(shape: Sequence[int], points: Sequence[Point]) -> Floats:
    """Fill a polygon: float32 [H, W] in {0, 1} for corners given as (x, y) pixels."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(np.array(points) * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(np.float32)


def ellipse(shape: Sequence[int], centre: Point, axes: Point, angle: float = 0) -> Floats:
    """Fill an ellipse: float32 [H, W] in {0, 1}; centre (x, y) and half axes in pixels, angle in degrees."""
    points = np.array(cv2.ellipse2Poly((0, 0), (1000, 1000), 0, 0, 360, 3)) / 1000 * np.array(axes)
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return polygon(shape, [(x, y) for x, y in points @ rotation + np.array(centre)])


def _snap(rgb: Floats, outline: Floats, band: int) -> Floats:
    """Move a rough outline onto the picture's own edges, at most about ``band`` pixels away."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    edge_is_cut = cv2.copyMakeBorder(outline, band, band, band, band, cv2.BORDER_REPLICATE)
    sure = cv2.erode(edge_is_cut, kernel)[band:-band, band:-band]
    near = cv2.dilate(outline, kernel)
    labels = np.full(outline.shape, cv2.GC_BGD, np.uint8)
    labels[near > 0] = cv2.GC_PR_BGD
    labels[outline > 0] = cv2.GC_PR_FGD
    labels[sure > 0] = cv2.GC_FGD
    ys, xs = np.nonzero(near)
    y0, y1 = max(ys.min() - 12, 0), ys.max() + 13
    x0, x1 = max(xs.min() - 12, 0), xs.max() + 13
    roi = np.ascontiguousarray(labels[y0:y1, x0:x1])
    cv2.setRNGSeed(7)  # grabCut seeds its colour clusters at random
    picture = np.ascontiguousarray((rgb[y0:y1, x0:x1] * 255).astype(np.uint8))
    cv2.grabCut(picture, roi, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    mask = np.zeros_like(outline)
    mask[y0:y1, x0:x1] = np.isin(roi, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return cv2.medianBlur(mask, 5)


def _cut(category: str, rgb: Floats, mask: Floats, feather: float = 1.0) -> Cutout:
    """Turn a hard mask into a tight cut-out with a soft edge free of the old background's colour."""
    pad = 8
    rgb = cv2.copyMakeBorder(rgb, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    mask = cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    soft = blur(mask, feather)
    alpha = np.clip((soft - 0.3) / 0.6, 0, 1)  # a little inside the outline
    alpha = alpha * alpha * (3 - 2 * alpha)
    # The rim mixes object and old background: carry the colour of the inside outward over it.
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=2)
    colour, weight = blur(rgb * inside[..., None], 2.5), blur(inside, 2.5)
    spread = colour / np.maximum(weight, 1e-4)[..., None]
    known = np.clip(weight / 0.02, 0, 1)[..., None]
    keep = blur(inside, 0.8)[..., None]
    clean = rgb * keep + (spread * known + rgb * (1 - known)) * (1 - keep)
    ys, xs = np.nonzero(alpha > 0.02)
    window = np.s_[ys.min() - 1 : ys.max() + 2, xs.min() - 1 : xs.max() + 2]
    rgba = np.dstack([clean, alpha])[window]
    if (scale := LONGEST / max(rgba.shape[:2])) < 1:
        rgba = np.clip(cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 0, 1)
    return Cutout(category, np.ascontiguousarray(rgba, np.float32))


def _lit_sphere(category: str, texture: Floats, radius: int, ambient: float, gloss: float) -> Cutout:
    """Wrap a square texture around a ball lit from the upper left."""
    size = 2 * radius + 1
    y, x = (np.mgrid[:size, :size].astype(np.float32) - radius) / (radius - 1)
    rr = np.minimum(np.hypot(x, y), 1)
    z = np.sqrt(1 - rr * rr)
    bulge = np.where(rr > 1e-3, np.arcsin(rr) / (np.pi / 2) / np.maximum(rr, 1e-3), 2 / np.pi)
    half = (texture.shape[0] - 1) / 2
    skin = cv2.remap(
        texture, half + x * bulge * half, half + y * bulge * half, cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
    )
    light = np.clip(-0.5 * x - 0.52 * y + 0.69 * z, 0, 1)
    shine = np.clip(-0.3 * x - 0.32 * y + 0.9 * z, 0, 1) ** 60 * gloss
    shaded = np.clip(skin * (ambient + (1.12 - ambient) * light)[..., None] + shine[..., None], 0, 1)
    return _cut(category, shaded.astype(np.float32), (np.hypot(x, y) < 1).astype(np.float32), 0.8)


def _carved(category: str, shape: Floats, material: Floats, gloss: float) -> Cutout:
    """Give a silhouette the rounded relief and the surface of a carved figure."""
    depth = cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 5)
    height = blur(np.sqrt(np.minimum(depth, 60) * 34), 3.2)
    gx, gy = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    nz = 1 / np.sqrt(gx * gx + gy * gy + 1)
    light = np.clip((0.5 * gx + 0.6 * gy + 0.75) * nz, 0, 1)
    shine = np.clip((0.35 * gx + 0.45 * gy + 0.85) * nz, 0, 1) ** 24 * gloss
    rgb = np.clip(material * (0.28 + 0.95 * light)[..., None] + shine[..., None], 0, 1)
    return _cut(category, rgb.astype(np.float32), shape, 0.9)


def gradient_map(grey: Floats, *stops: tuple[float, float, float]) -> Floats:
    """Colour a grey picture [H, W] through evenly spaced RGB stops, dark to light: float32 [H, W, 3]."""
    at = np.linspace(0, 1, len(stops))
    return np.dstack([np.interp(grey, at, channel) for channel in zip(*stops, strict=True)]).astype(np.float32)


@cache
def wood() -> Floats:
    """Return the coffee photo's table top without the cup: float32 [240, 400, 3] RGB, grain along the x axis."""
    strip = np.ascontiguousarray(cutout_photo("coffee.png")[:, 484:600].transpose(1, 0, 2))
    flat = strip / np.maximum(blur(strip, 40), 0.05) * strip.mean((0, 1))
    return np.clip(np.vstack([flat, flat[::-1]])[:240], 0, 1).astype(np.float32)


def _snapped(category: str, name: str, outline: Sequence[Point], band: int, bottom: int | None = None) -> Cutout:
    rgb = cutout_photo(name)[:bottom]
    return _cut(category, rgb, _snap(rgb, polygon(rgb.shape, outline), band))


def _cat() -> Cutout:
    rgb = cv2.copyMakeBorder(cutout_photo("chelsea.png"), CAT_CROWN, 36, 0, 0, cv2.BORDER_REFLECT)
    rgb = np.clip((rgb - 0.4) * 1.15 + 0.46, 0, 1)  # the photo is rather dull
    return _cut("cat", rgb, polygon(rgb.shape, CAT), feather=2.2)


def _pagoda() -> Cutout:
    rgb = cutout_photo("china.jpg")
    rough = polygon(rgb.shape, PAGODA)
    mask = _snap(rgb, rough, 4)
    mask[290:] = rough[290:]  # tree tops hide the photo's own edge down here
    return _cut("pagoda", rgb, mask)


def _motorcycle() -> Cutout:
    rgb = cutout_photo("motorcycle_left.png")
    mask = _snap(rgb, polygon(rgb.shape, MOTORCYCLE), 2)
    return _cut("motorcycle", rgb, mask * (1 - polygon(rgb.shape, MOTORCYCLE_GAP)))


def _rocket() -> Cutout:
    """Make the rocket with a burning engine, wider than in the photo so that it is visible at scene size."""
    rgb = cutout_photo("rocket.jpg")
    body = _cut("rocket", rgb, polygon(rgb.shape, ROCKET), 0.8).rgba
    h, w = body.shape[0], round(body.shape[1] * 1.5)
    body = cv2.resize(body, (w, h), interpolation=cv2.INTER_CUBIC)
    body[..., :3] = (body[..., :3] * 0.45 + body[..., :3].mean(2, keepdims=True) * 0.55) * 1.35
    out = np.zeros((h + 84, w + 24, 4), np.float32)
    y, x = np.mgrid[: out.shape[0], : out.shape[1]].astype(np.float32)
    down = np.clip((y - h + 4) / 84, 0, 1)
    off = np.abs(x - out.shape[1] / 2) / (w * (0.36 + 0.3 * np.sin(np.pi * down**0.6)) * (1 - down) ** 0.7 + 1e-3)
    heat = np.clip(1 - off, 0, 1) * (y > h - 4) * (1 - down) ** 0.6
    out[..., :3] = gradient_map(np.clip(heat * 1.3, 0, 1), (0.95, 0.3, 0.05), (1, 0.75, 0.2), (1, 1, 0.92))
    out[..., 3] = np.clip(heat * 3, 0, 1)
    under = out[:h, 12 : 12 + w]
    cover = body[..., 3:]
    under[..., :3] = body[..., :3] * cover + under[..., :3] * (1 - cover)
    under[..., 3:] = np.maximum(cover, under[..., 3:])
    return Cutout("rocket", np.clip(out, 0, 1))


def _cup() -> Cutout:
    rgb = cutout_photo("coffee.png")
    spoon = ((396, 80), (403, 68), (413, 66), (423, 71), (424, 79), (414, 118), (396, 118))
    saucer = ellipse(rgb.shape, (278, 219), (200.5, 169), 3)
    return _cut("cup", rgb, np.maximum.reduce([
        saucer, ellipse(rgb.shape, (290.5, 113), (117.5, 94.5)), polygon(rgb.shape, spoon)
    ]))  # fmt: skip


def _cameraman() -> Cutout:
    rgb = cutout_photo("camera.png")[:292]
    mask = _snap(rgb, polygon(rgb.shape, CAMERAMAN) - polygon(rgb.shape, CAMERAMAN_GAP), 4)
    grey = rgb[..., 0]
    hair = (
        (158, 104), (180, 60), (225, 55), (262, 80), (280, 125), (262, 136), (254, 138), (236, 128), (210, 134),
        (205, 152), (196, 148), (196, 130), (184, 124), (176, 132), (170, 150), (160, 138),
    )  # fmt: skip
    skin = (
        (176, 128), (190, 122), (205, 134), (212, 126), (238, 122), (260, 136), (258, 172), (244, 196), (222, 199),
        (192, 194),
    )  # fmt: skip
    kit = ((256, 137), (327, 137), (322, 186), (275, 187), (258, 176))
    collar = ((160, 145), (170, 150), (192, 195), (178, 212))
    out = gradient_map(grey**0.8, (0.03, 0.05, 0.10), (0.45, 0.52, 0.66), (1, 1, 1))  # a navy coat
    for area, stops in (
        (hair, ((0.04, 0.03, 0.03), (0.5, 0.42, 0.38), (1, 0.95, 0.9))),
        (skin, ((0.10, 0.05, 0.04), (0.74, 0.48, 0.36), (1, 0.86, 0.74))),
        (kit, ((0.05, 0.05, 0.06), (0.55, 0.53, 0.50), (1, 0.98, 0.94))),
        (collar, ((0.06, 0.07, 0.1), (0.6, 0.62, 0.66), (1, 1, 1))),
    ):
        paint = blur(polygon(rgb.shape, area), 2.5)[..., None]
        out = out * (1 - paint) + gradient_map(grey, *stops) * paint
    return _cut("cameraman", out, mask)


def _coins() -> list[Cutout]:
    grey = cutout_photo("coins.png")[..., 0]
    metals = (
        ((0.13, 0.08, 0.02), (0.78, 0.57, 0.22), (1, 0.93, 0.66)),  # gold
        ((0.10, 0.11, 0.13), (0.62, 0.64, 0.66), (1, 1, 1)),  # silver
        ((0.13, 0.06, 0.03), (0.70, 0.42, 0.26), (1, 0.82, 0.66)),  # copper
    )
    out = []
    for i, (x, y, w, h) in enumerate(COINS):
        tile = grey[max(y - 4, 0) : y + h + 4, max(x - 4, 0) : x + w + 4]
        tile = cv2.resize(tile, None, fx=2.4, fy=2.4, interpolation=cv2.INTER_LANCZOS4)
        level, _ = cv2.threshold((blur(tile, 2) * 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
        found, _ = cv2.findContours(
            (blur(tile, 2) * 255 > level - 8).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        hull = cv2.convexHull(max(found, key=cv2.contourArea))[:, 0]
        mask = polygon(tile.shape, [(px, py) for px, py in hull])
        tile = cv2.bilateralFilter(np.clip(tile, 0, 1), 5, 0.09, 2)
        tile = np.clip((tile - tile[mask > 0].mean()) * 1.15 + 0.52, 0, 1)
        out.append(_cut("coin", gradient_map(tile, *metals[i % 3]), mask))
    return out


def _horses() -> list[Cutout]:
    silhouette = (cutout_photo("horse.png")[..., 0] < 0.5).astype(np.float32)
    h, w = silhouette.shape
    timber = cv2.resize(wood(), (w, h), interpolation=cv2.INTER_CUBIC)
    marble = blur(cutout_photo("moon.png")[:h, :w, 0], 1.5) * 1.6
    bronze = np.tile(np.array([0.62, 0.40, 0.20], np.float32), (h, w, 1)) * (
        0.7 + 0.6 * blur(cutout_photo("gravel.png"), 2)[:h, :w]
    )
    return [
        _carved("horse", silhouette, np.clip(timber * 1.25, 0, 1), 0.12),
        _carved("horse", silhouette, bronze, 0.5),
        _carved("horse", silhouette, np.clip(gradient_map(marble, (0.58, 0.56, 0.53), (0.82, 0.80, 0.77)), 0, 1), 0.2),
    ]


@cache
def cutouts() -> dict[str, tuple[Cutout, ...]]:
    """Return every object of the demo scenes by category (see Cutout for the arrays)."""
    flower = cutout_photo("flower.jpg")
    moon = gradient_map(np.clip(cutout_photo("moon.png")[..., 0] * 1.5, 0, 1), (0.1, 0.1, 0.12), (0.98, 0.96, 0.9))
    eye = cv2.resize(cutout_photo("retina.jpg"), (470, 470), interpolation=cv2.INTER_AREA)
    made = [
        _snapped("astronaut", "astronaut.png", ASTRONAUT, 5, bottom=444),
        _cat(),
        _snapped("shuttle", "astronaut.png", SHUTTLE, 3),
        _pagoda(),
        _motorcycle(),
        _rocket(),
        _cut("flower", flower, _snap(flower, ellipse(flower.shape, (307, 223), (137, 136)), 9)),
        _cup(),
        _cameraman(),
        *_coins(),
        *_horses(),
        *(_lit_sphere("moon", moon[y : y + 300, x : x + 300], 125, 0.2, 0) for y, x in ((0, 0), (200, 100))),
        _lit_sphere("planet", eye[55:415, 55:415], 125, 0.22, 0.12),
    ]
    kinds = dict.fromkeys(item.category for item in made)
    return {kind: tuple(item for item in made if item.category == kind) for kind in kinds}
