"""Boxes: overlap, the filter that turns raw proposals into candidate RoIs, and the jitter of stage 3.

Every box is ``x, y, w, h`` in pixels of the image as shown (EXIF orientation applied).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np

Fallback = Literal["first", "image"]
GRID = 32  # cells per side of a photo, for the area that boxes cover
TOGETHER = 32  # boxes whose overlaps with all later boxes are computed at once


class BoxVerdict(IntEnum):
    """Decision of the filter about a raw box: kept, or the first rule that rejected it."""

    KEPT = 0
    SIZE = 1
    ASPECT = 2
    OVERLAP = 3
    COUNT = 4


@dataclass(frozen=True)
class BoxRules:
    """Thresholds of the candidate filter (Sec. 3.2); the defaults are the paper's.

    ``fallback`` names the RoI of an image whose raw boxes are all rejected: ``first`` is the first raw box, as in
    the reference (often a few pixels), ``image`` is the whole image.
    """

    min_size: int = 96  # pixels, both sides
    max_aspect: float = 3.0  # w/h must lie in [1/max_aspect, max_aspect]
    max_iou: float = 0.5  # with any box already kept
    max_rois: int = 100
    fallback: Fallback = "first"
    spread_after: int = 1000
    spread_iou: float = 0.5


@dataclass(frozen=True)
class Filtered:
    """Result of the candidate filter.

    boxes: int16 [B, 4], x y w h, the candidates in the order in which they were judged (B >= 1).
    verdict: uint8 [M], a ``BoxVerdict`` for each raw box.
    blocker: int32 [M], for an OVERLAP the index of the kept raw box it overlaps, else -1.
    overlap: float32 [M], the IoU with that blocker, else 0.
    fallback: True if all raw boxes were rejected and ``boxes`` holds only the fall-back box.
    """

    boxes: np.ndarray
    verdict: np.ndarray
    blocker: np.ndarray
    overlap: np.ndarray
    fallback: bool

    def counts(self) -> dict[str, int]:
        """Return the number of raw boxes per verdict, and of candidates, by lower-case name."""
        tally = np.bincount(self.verdict, minlength=len(BoxVerdict))
        return {v.name.lower(): int(tally[v]) for v in BoxVerdict} | {"raw": len(self.verdict)}


def lines_of_cells(boxes: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows and columns of a photo's ``GRID`` x ``GRID`` cells have their middle in boxes, bool [B, GRID].

    boxes: [B, 4], x y w h, in pixels of the photo of width x height.
    """
    middles = (np.arange(GRID) + 0.5) / GRID
    x, y, w, h = boxes.astype(float).T[:, :, None]
    down = (y <= middles * height) & (middles * height < y + h)
    return down, (x <= middles * width) & (middles * width < x + w)


def each_once(boxes: np.ndarray) -> np.ndarray:
    """Return boxes int16 [M, 4], each once, in the order of the first of them."""
    as_numbers = np.ascontiguousarray(boxes).view(np.int64)  # a box is four 16-bit numbers
    return boxes[np.sort(np.unique(as_numbers, return_index=True)[1])]


def shared_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the area of the intersection of boxes [..., 4] and [..., 4], broadcast: float64 [...], square pixels."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    wide = np.minimum(a[..., 0] + a[..., 2], b[..., 0] + b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    high = np.minimum(a[..., 1] + a[..., 3], b[..., 1] + b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    return np.clip(wide, 0, None) * np.clip(high, 0, None)


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the area of boxes [..., 4]: float64 [...], square pixels."""
    return boxes[..., 2].astype(np.float64) * boxes[..., 3]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes [..., 4] and [..., 4], broadcast: float64 [...]."""
    a, b = np.asarray(a), np.asarray(b)
    shared = shared_area(a, b)
    return shared / (area(a) + area(b) - shared)


def judge_shape(boxes: np.ndarray, rules: BoxRules) -> np.ndarray:
    """Judge boxes [M, 4] by size and aspect alone: uint8 [M] of ``BoxVerdict``, ``KEPT`` for those that pass."""
    wide, high = boxes[:, 2].astype(np.float64), boxes[:, 3].astype(np.float64)
    verdict = np.zeros(len(boxes), dtype=np.uint8)
    # Compared as products: 1/3 is not a float, and a 300 x 100 box must pass a limit of 3.
    verdict[(wide > rules.max_aspect * high) | (high > rules.max_aspect * wide)] = BoxVerdict.ASPECT
    verdict[(wide < rules.min_size) | (high < rules.min_size)] = BoxVerdict.SIZE
    return verdict


def filter_boxes(
    raw: np.ndarray, rules: BoxRules, width: int, height: int, score: np.ndarray | None = None
) -> Filtered:
    """Reduce raw proposals to candidate RoIs by one greedy pass in rank order (Sec. 3.2).

    raw: int [M, 4], x y w h in rank order. width, height: of the image, for the fall-back to the whole image.
    score: float [M], if given, boxes are judged from the highest score to the lowest, equal ones in rank order (not in
    the paper). A box is judged by size, then aspect, then overlap with the boxes already kept, then the limit on their
    number. An image without raw boxes falls back to the whole image under either rule.
    """
    raw = np.asarray(raw, dtype=np.int16).reshape(-1, 4)
    verdict = judge_shape(raw, rules)
    blocker = np.full(len(raw), -1, dtype=np.int32)
    overlap = np.zeros(len(raw), dtype=np.float32)

    pending = np.flatnonzero(verdict == BoxVerdict.KEPT)
    if score is not None:
        pending = pending[np.argsort(-score[pending], kind="stable")]
    judged = _Judged(verdict, blocker, overlap)
    kept: list[int] = []
    near = min(rules.spread_after, rules.max_rois)
    pending = _keep(raw, pending, kept, near, rules.max_iou, judged)
    if near < rules.max_rois:
        limit = min(rules.max_iou, rules.spread_iou)
        pending = _drop_near(raw, pending, kept, limit, judged)
        pending = _keep(raw, pending, kept, rules.max_rois, limit, judged)
    verdict[pending] = BoxVerdict.COUNT

    if kept:
        return Filtered(raw[kept], verdict, blocker, overlap, fallback=False)
    whole = np.array([[0, 0, width, height]], dtype=np.int16)
    boxes = raw[:1] if rules.fallback == "first" and len(raw) else whole
    return Filtered(boxes, verdict, blocker, overlap, fallback=True)


class _Judged(NamedTuple):
    """The arrays of ``Filtered`` that the greedy pass fills in."""

    verdict: np.ndarray
    blocker: np.ndarray
    overlap: np.ndarray

    def reject(self, rejected: np.ndarray, blockers: np.ndarray | int, overlaps: np.ndarray) -> None:
        """Reject raw boxes, int [n], for their overlaps with kept ones."""
        self.verdict[rejected], self.blocker[rejected], self.overlap[rejected] = BoxVerdict.OVERLAP, blockers, overlaps


def _keep(
    raw: np.ndarray, pending: np.ndarray, kept: list[int], most: int, max_iou: float, judged: _Judged
) -> np.ndarray:
    """Keep pending boxes, int [n] in their order, until ``most`` are kept. Returns those not judged."""
    while len(pending):
        # In blocks: comparing one kept box at a time would spend most of the time on calls.
        some = pending[:TOGETHER]
        overlaps, free = iou(raw[some][:, None], raw[pending]), np.ones(len(pending), dtype=bool)
        for i, best in enumerate(some.tolist()):
            if not free[i]:
                continue
            if len(kept) == most:
                return pending[i:][free[i:]]
            kept.append(best)
            covered = free & (overlaps[i] > max_iou)
            covered[: i + 1] = False
            judged.reject(pending[covered], best, overlaps[i, covered])
            free &= ~covered
        pending = pending[len(some) :][free[len(some) :]]
    return pending


def _drop_near(raw: np.ndarray, pending: np.ndarray, kept: list[int], max_iou: float, judged: _Judged) -> np.ndarray:
    """Reject the pending boxes, int [n], that overlap a kept one by more than max_iou. Returns the others."""
    if not len(pending):
        return pending
    overlaps = iou(raw[kept][:, None], raw[pending])
    near = overlaps > max_iou
    covered, first = near.any(axis=0), near.argmax(axis=0)
    rejected = np.flatnonzero(covered)
    judged.reject(pending[rejected], np.array(kept)[first[rejected]], overlaps[first[rejected], rejected])
    return pending[~covered]


def outward(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Round boxes outward to whole pixels and clip them to an image of width x height.

    boxes: float [n, 4], x y w h. Returns int16 [m, 4]; boxes entirely outside the image are dropped.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    low = np.maximum(np.floor(boxes[:, :2]), 0)
    high = np.minimum(np.ceil(boxes[:, :2] + boxes[:, 2:]), [width, height])
    inside = (high > low).all(axis=1)
    return np.concatenate([low, high - low], axis=1)[inside].astype(np.int16)


def at_least(box: Sequence[int], side: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Return a box of an image of width x height, its sides grown about its centre to ``side``, or to the image's."""
    x, w = _grown(box[0], box[2], side, width)
    y, h = _grown(box[1], box[3], side, height)
    return x, y, w, h


def _grown(low: int, length: int, least: int, limit: int) -> tuple[int, int]:
    wanted = min(max(length, least), limit)
    return min(max(low - (wanted - length) // 2, 0), limit - wanted), wanted


def jitter_box(
    box: np.ndarray,
    width: int,
    height: int,
    rng: np.random.Generator,
    *,
    min_iou: float = 0.5,
    tries: int = 200,
) -> np.ndarray:
    """Draw the intra-RoI partner of a box (Sec. 3.3): near it, inside the image, IoU above ``min_iou``.

    box: int [4], x y w h. Area is scaled by U(0.5, 2), the aspect w/h is new and absolute,
    exp U(log 1/2, log 2), the centre moves by U(-0.5, 0.5) of the original's sides.
    Returns int16 [4]; the box itself if no try fits.
    """
    x, y, w, h = (int(v) for v in box)
    for _ in range(tries):
        area = w * h * rng.uniform(0.5, 2.0)
        aspect = math.exp(rng.uniform(math.log(0.5), math.log(2.0)))
        new_w, new_h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        new_x = round(x + w / 2 + rng.uniform(-0.5, 0.5) * w - new_w / 2)
        new_y = round(y + h / 2 + rng.uniform(-0.5, 0.5) * h - new_h / 2)
        inside = new_x >= 0 and new_y >= 0 and new_x + new_w <= width and new_y + new_h <= height
        if inside and new_w > 0 and new_h > 0:
            candidate = np.array([new_x, new_y, new_w, new_h], dtype=np.int16)
            if iou(box, candidate[None])[0] > min_iou:
                return candidate
    return np.array([x, y, w, h], dtype=np.int16)
