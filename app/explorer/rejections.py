"""Why a raw box was rejected: by which rule, by how much, and what would keep it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from orl_explorer.orl.boxes import BoxRules, BoxVerdict, Filtered

PlainBox = tuple[int, int, int, int]  # x, y, width, height in pixels of the photo as shown
Rule = Literal["size", "aspect", "overlap", "count"]
RULES: dict[BoxVerdict, Rule] = {
    BoxVerdict.SIZE: "size",
    BoxVerdict.ASPECT: "aspect",
    BoxVerdict.OVERLAP: "overlap",
    BoxVerdict.COUNT: "count",
}
NO_LIMIT = 1_000_000  # more RoIs than a photo has raw boxes


@dataclass(frozen=True)
class Rejected:
    """A rejected raw box, by index, with its rule and reason. ``blocker``: the RoI that it overlaps."""

    raw: int
    box: PlainBox
    rule: Rule
    why: str
    blocker: int | None


def explain_rejections(raw: np.ndarray, filtered: Filtered, rules: BoxRules, most: int | None = None) -> list[Rejected]:
    """Explain the rejected ones of raw boxes int16 [M, 4], the ``most`` largest, largest first."""
    rejected = np.flatnonzero(filtered.verdict != BoxVerdict.KEPT)
    area = raw[rejected, 2].astype(int) * raw[rejected, 3]
    order = rejected[np.argsort(-area, kind="stable")]
    return [_rejected(raw, filtered, rules, i) for i in order[:most].tolist()]


def as_box(row: np.ndarray) -> PlainBox:
    """Return a box int16 [4] as plain numbers."""
    x, y, w, h = row.tolist()
    return x, y, w, h


def counterfactual_text(
    raw: np.ndarray, filtered: Filtered, rules: BoxRules, index: int, refilter: Callable[[BoxRules], Filtered]
) -> str:
    """Describe which setting would keep a rejected raw box; "" for a kept one.

    raw: int16 [M, 4]. refilter: filters all boxes by other rules. The rule that rejected the box is relaxed until it
    passes. That may keep other boxes too, which then reject it.
    """
    w, h = (int(v) for v in raw[index, 2:])
    match BoxVerdict(int(filtered.verdict[index])):
        case BoxVerdict.SIZE:
            loose, words = replace(rules, min_size=min(w, h)), f"min size {min(w, h)}"
        case BoxVerdict.ASPECT:
            aspect = math.ceil(max(w, h) / min(w, h) * 100) / 100
            loose, words = replace(rules, max_aspect=aspect), f"max aspect {aspect:g}"
        case BoxVerdict.OVERLAP:
            overlap = math.ceil(float(filtered.overlap[index]) * 1000 + 1e-3) / 1000  # above it, as float32 has it
            if _by_spread(filtered, rules, index):
                loose, words = replace(rules, spread_iou=overlap), f"max IoU of spread RoIs {overlap:g}"
            else:
                loose, words = replace(rules, max_iou=overlap), f"max IoU {overlap:g}"
        case BoxVerdict.COUNT:
            loose, words = replace(rules, max_rois=NO_LIMIT), "any number of RoIs"
        case _:
            return ""
    again = refilter(loose)
    if again.verdict[index] != BoxVerdict.KEPT:
        return f"At {words} it passes this rule but is still rejected: {_why(raw, again, loose, index)}."
    place = _candidate(again, raw[index]) + 1
    if loose.max_rois == NO_LIMIT:
        return f"It is box {place}. Kept at max RoIs {place}."
    return f"Kept at {words}, as box {place}."


def _rejected(raw: np.ndarray, filtered: Filtered, rules: BoxRules, index: int) -> Rejected:
    box, rule = as_box(raw[index]), RULES[BoxVerdict(int(filtered.verdict[index]))]
    why = f"{box[2]} × {box[3]} px: {_why(raw, filtered, rules, index)}"
    return Rejected(index, box, rule, why, _blocker(raw, filtered, index))


def _why(raw: np.ndarray, filtered: Filtered, rules: BoxRules, index: int) -> str:
    short, long = sorted(int(v) for v in raw[index, 2:])
    match BoxVerdict(int(filtered.verdict[index])):
        case BoxVerdict.SIZE:
            return f"its shorter side is {rules.min_size - short} px under min size {rules.min_size}"
        case BoxVerdict.ASPECT:
            return f"sides {long / short:.2f} to 1, over max aspect {rules.max_aspect:g}"
        case BoxVerdict.OVERLAP:
            box = _candidate(filtered, raw[filtered.blocker[index]]) + 1
            spread = _by_spread(filtered, rules, index)
            limit = f"of spread RoIs {rules.spread_iou:g}" if spread else f"{rules.max_iou:g}"
            return f"IoU {filtered.overlap[index]:.3f} with box {box}, over max IoU {limit}"
        case _:
            return f"the photo already had {rules.max_rois} RoIs"


def _blocker(raw: np.ndarray, filtered: Filtered, index: int) -> int | None:
    blocker = int(filtered.blocker[index])
    return None if blocker < 0 else _candidate(filtered, raw[blocker])


def _candidate(filtered: Filtered, box: np.ndarray) -> int:
    """Return the index of a kept box among the candidates, which are all different."""
    return int(np.flatnonzero((filtered.boxes == box).all(axis=1))[0])


def _by_spread(filtered: Filtered, rules: BoxRules, index: int) -> bool:
    """Return whether only the limit of spread RoIs rejects a box that overlaps another."""
    return bool(filtered.overlap[index] <= np.float32(rules.max_iou))
