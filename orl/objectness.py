"""Objectness: how likely a box holds an object, without labels. Not in the paper.

Similarity alone prefers backgrounds. The paper names cluttered backgrounds as its limit and saliency as a possible
remedy (Sec. 5). Boxes are scored by the attention of the whole photo before embedding, by their features afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from orl_explorer.orl.boxes import TOGETHER, BoxRules, BoxVerdict, Filtered, area, filter_boxes, iou, judge_shape

# All numbers were chosen on the training half of VOC07's photos, see docs/results.md.
RING = 0.3  # width of the frame around a box, as a share of its sides
CENTRE = 0.25  # margin at each edge of a box that is not its middle, as a share of its sides
SAME = 0.6  # IoU of raw boxes that are nearly the same
EDGE = 0.01  # distance from an edge of the photo at which a box touches it, as a share of the photo's side


@dataclass(frozen=True)
class BoxWeights:
    """Weights of the terms of ``objectness``.

    surroundings: of the attention in the frame. level: score of a box whose attention is the photo's mean. size:
    exponent of the share of the photo that a box takes; 1 sums the attention in it, 0 takes the mean. likeness: of
    the likeness of a box's middle to the frame. recurrence: of each e-fold of raw boxes that are nearly the same.
    even: of the likeness of a box's cells to one another; a ground is even, an object is not. edges: of each edge of
    the photo that a box touches. low: of a box's centre below the photo's, as a share of its height.
    """

    surroundings: float
    level: float
    size: float
    likeness: float
    recurrence: float
    even: float = 0.0
    edges: float = 0.0
    low: float = 0.0


CONTRAST = BoxWeights(surroundings=0.2, level=0.05, size=0.8, likeness=0.6, recurrence=0.1)
LAYOUT = BoxWeights(
    surroundings=0.2, level=0.6, size=0.45, likeness=1.6, recurrence=0.25, even=2.0, edges=0.15, low=0.8
)


def objectness(
    boxes: np.ndarray, raw: np.ndarray, attention: np.ndarray, width: int, height: int, weights: BoxWeights = CONTRAST
) -> np.ndarray:
    """Score boxes of one photo by the encoder's attention and by the number of nearly equal raw boxes.

    boxes: [B, 4] and raw: [M, 4], x y w h in pixels of the photo of width x height. attention: float [1 + L, h, w],
    from ``orl.encoder.EncoderNetwork.attention`` of the whole photo. Returns float32 [B]: with S the first plane
    standardised over the photo, ``(mean of S inside + level − surroundings · mean of S in the frame)
    · share of area ** size − likeness · cosine of the sums of the other planes in the middle and in the frame
    + recurrence · log(1 + raw boxes of IoU > SAME) − even · evenness − edges · touched edges + low · (centre of the
    box as a share of the height − 0.5)``. Evenness is the length of the mean of the other planes inside, divided by
    the root of the mean square of their length in the photo. The frame is clipped to the photo. If nothing remains of
    it, its mean counts as 0 and the cosine as 1.
    """
    boxes = np.asarray(boxes, np.float64)
    planes = attention.astype(np.float64)
    planes[0] = _standardised(planes[0])
    sums = np.pad(planes.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    cells = np.array([planes.shape[2] / width, planes.shape[1] / height])
    low, high = boxes[:, :2] * cells, (boxes[:, :2] + boxes[:, 2:]) * cells
    frame, edge = RING * (high - low), CENTRE * (high - low)
    outer_low, outer_high = np.maximum(low - frame, 0), np.minimum(high + frame, planes.shape[:0:-1])
    inside, size = _total(sums, low, high), np.prod(high - low, axis=1)
    around, room = _total(sums, outer_low, outer_high) - inside, np.prod(outer_high - outer_low, axis=1) - size
    surrounded = room > 1e-6
    surroundings = np.divide(around[0], room, out=np.zeros(len(boxes)), where=surrounded)
    contrast = inside[0] / size + weights.level - weights.surroundings * surroundings
    alike = np.where(surrounded, _cosines(_total(sums[1:], low + edge, high - edge), around[1:]), 1.0)
    recurrence = np.log1p(_nearly_the_same(boxes, np.asarray(raw)))
    by_size = contrast * (area(boxes) / (width * height)) ** weights.size
    found = by_size - weights.likeness * alike + weights.recurrence * recurrence
    if weights.even:
        spread = math.sqrt((planes[1:] ** 2).sum(axis=0).mean())
        lengths = np.linalg.norm(inside[1:], axis=0) / size
        found -= weights.even * (lengths / spread if spread > 1e-12 else 1.0)
    return (found + _by_place(boxes, width, height, weights)).astype(np.float32)


def _by_place(boxes: np.ndarray, width: int, height: int, weights: BoxWeights) -> np.ndarray:
    """Return the terms of ``objectness`` that need only the place of boxes, float64 [B]."""
    sides = np.array([width, height])
    touched = (boxes[:, :2] <= EDGE * sides).sum(axis=1) + (boxes[:, :2] + boxes[:, 2:] >= (1 - EDGE) * sides).sum(
        axis=1
    )
    return weights.low * ((boxes[:, 1] + boxes[:, 3] / 2) / height - 0.5) - weights.edges * touched


def sparseness(features: np.ndarray) -> np.ndarray:
    """Return the sparseness of each feature (Hoyer 2004): 1 if a single channel is active, 0 if all are equal.

    features: float32 [B, C], unit rows. Returns float32 [B]. Textures activate all channels a little, objects
    a few channels strongly.
    """
    widest = math.sqrt(features.shape[1])  # the sum of a unit row whose channels are all alike
    return (widest - np.abs(features).sum(axis=1)) / (widest - 1)


def filter_by_objectness(
    raw: np.ndarray,
    rules: BoxRules,
    width: int,
    height: int,
    attention: np.ndarray,
    ranked: bool = True,
    known: np.ndarray | None = None,
    weights: BoxWeights = CONTRAST,
) -> tuple[Filtered, np.ndarray]:
    """Filter boxes as ``orl.boxes.filter_boxes`` does, likeliest objects first unless ``ranked`` is false.

    known: float32 [M], the raw boxes' objectness from earlier calls with these weights, NaN where unknown. This call
    fills in what it computes, so that later calls with other rules are faster. Returns the result and the candidates'
    objectness, float32 [B].
    """
    raw = np.asarray(raw, np.int16).reshape(-1, 4)
    known = np.full(len(raw), np.nan, np.float32) if known is None else known

    def score(asked: np.ndarray) -> np.ndarray:
        new = asked[np.isnan(known[asked])]
        if len(new):
            known[new] = objectness(raw[new], raw, attention, width, height, weights)
        return known[asked]

    judged = np.full(len(raw), -np.inf, np.float32)
    if ranked:
        fitting = np.flatnonzero(judge_shape(raw, rules) == BoxVerdict.KEPT)  # the many others need no score
        judged[fitting] = score(fitting)
    found = filter_boxes(raw, rules, width, height, judged if ranked else None)
    if found.fallback:
        return found, objectness(found.boxes, raw, attention, width, height, weights)
    kept = np.flatnonzero(found.verdict == BoxVerdict.KEPT)
    return found, score(kept[np.argsort(-judged[kept], kind="stable")])


def _standardised(plane: np.ndarray) -> np.ndarray:
    mean, spread = plane.mean(), plane.std()
    flat = spread <= 1e-6 * abs(mean)  # the rest is rounding
    return np.zeros(plane.shape) if flat else (plane - mean) / spread


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cosines of columns, float [L, B] both -> [B]; 1 where either is zero."""
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    return np.divide((one * other).sum(axis=0), lengths, out=np.ones(one.shape[1]), where=lengths > 1e-12)


def _nearly_the_same(boxes: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Count the raw boxes that each box overlaps with IoU > SAME: int64 [B]."""
    # Boxes with such an IoU differ in area by less than that factor, so most are skipped. A little wider, for rounding.
    raw = raw[np.argsort(area(raw), kind="stable")]
    sizes, own = area(raw), area(boxes)
    by_size, found = np.argsort(own, kind="stable"), np.zeros(len(boxes), np.int64)
    for start in range(0, len(boxes), TOGETHER):
        some = by_size[start : start + TOGETHER]
        least, most = own[some[0]] * SAME * 0.999, own[some[-1]] / SAME * 1.001
        near = raw[np.searchsorted(sizes, least) : np.searchsorted(sizes, most, "right")]
        found[some] = (iou(boxes[some][:, None], near[None]) > SAME).sum(axis=1)
    return found


def _total(sums: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return sums [L, n] over rectangles [n, 2] x y to x y, in fractions of cells, by summed-area tables [L, h, w]."""
    (left, top), (right, bottom) = low.T, high.T
    return _at(sums, bottom, right) - _at(sums, top, right) - _at(sums, bottom, left) + _at(sums, top, left)


def _at(sums: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    row = np.clip(y.astype(int), 0, sums.shape[1] - 2)
    column = np.clip(x.astype(int), 0, sums.shape[2] - 2)
    down, across = y - row, x - column
    upper = sums[:, row, column] * (1 - across) + sums[:, row, column + 1] * across
    lower = sums[:, row + 1, column] * (1 - across) + sums[:, row + 1, column + 1] * across
    return upper * (1 - down) + lower * down
