"""Quality of a correspondence set before training on it: with annotations and without.

Annotations are used to measure pairs, never to mine them. Every share has its chance level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orl_explorer.orl.boxes import GRID, area, iou, lines_of_cells, shared_area
from orl_explorer.orl.duplicates import NEAR_DUPLICATE
from orl_explorer.orl.measure.discovery import HIT, Overlaps, average_recall, corloc, mean_best_overlap

OBJECT_IOU = HIT  # a RoI with at least this IoU with an annotated object covers that object
DISTINCT_IOU = 0.5  # two pairs of the same two photos with larger IoUs at both ends say the same
PART_INSIDE = 0.7  # a RoI with at least this share inside one annotated box covers the object or a part of it
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BLOCK = 4096  # images per table of images by classes
TOGETHER = 1 << 18  # pairs that are compared at once

Measures = dict[str, float]


@dataclass(frozen=True)
class Mined:
    """Results of mining some or all of n images, as flat arrays; image i has the RoIs ``start[i]:start[i + 1]``.

    sizes: int [n, 2], width and height. boxes: int16 [R, 4], x y w h. queries: int64 [m], positions of the images
    that were mined. neighbors: int64 [m, K], positions of their neighbours; nearness: float32 [m, K], their cosine.
    query, key: int64 [P], the RoIs of each pair; similarity, margin, cycle: float32 [P], as in
    ``orl.matching.Pairs``, NaN if not measured.
    """

    sizes: np.ndarray
    start: np.ndarray
    boxes: np.ndarray
    queries: np.ndarray
    neighbors: np.ndarray
    nearness: np.ndarray
    query: np.ndarray
    key: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    cycle: np.ndarray

    @property
    def image_of(self) -> np.ndarray:
        """The image of each RoI, int64 [R]."""
        return np.repeat(np.arange(len(self.sizes)), np.diff(self.start))

    @property
    def mined(self) -> np.ndarray:
        """Which images are queries, bool [n]."""
        found = np.zeros(len(self.sizes), bool)
        found[self.queries] = True
        return found


@dataclass(frozen=True)
class Objects:
    """Annotated objects of the same n images; image i has ``start[i]:start[i + 1]``.

    boxes: float [G, 4], x y w h. classes: int64 [G], indices into names. difficult: bool [G], including crowds, boxes
    around many objects. crowd: bool [G].
    """

    start: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    names: list[str]


def without_labels(mined: Mined) -> Measures:
    """Measure a set without annotations.

    ``cycle``: share of pairs whose key has the query RoI as its nearest. ``margin_…`` and ``similarity_…``: quantiles.
    ``…_hubness``: skewness of how often an image is a neighbour, or a RoI a key (0: equally often; large: a few hubs).
    ``…_coverage``: share of the queries, of their RoIs and of their area that is in a pair, as query or key.
    ``near_duplicates``: share of images whose nearest neighbour has a cosine of ``NEAR_DUPLICATE`` or more.
    ``distinct_pairs_per_image``: as ``pairs_per_image``, without those that ``distinct`` leaves out.
    """
    images, own = len(mined.queries), mined.mined[mined.image_of]
    used = np.zeros(len(mined.boxes), bool)
    used[mined.query] = used[mined.key] = True
    chosen = np.bincount(mined.neighbors.ravel(), minlength=len(mined.sizes))
    keys = np.bincount(mined.key, minlength=len(mined.boxes))
    cycle = mined.cycle[np.isfinite(mined.cycle)]
    return (
        {
            "rois_per_image": own.sum() / images,
            "pairs_per_image": len(mined.query) / images,
            "distinct_pairs_per_image": int(distinct(mined).sum()) / images,
        }
        | ({"cycle": _mean(cycle)} if len(cycle) else {})
        | _quantiles("similarity", mined.similarity)
        | _quantiles("margin", mined.margin[np.isfinite(mined.margin)])
        | {
            "image_hubness": skewness(chosen),
            "image_most_chosen": int(chosen.max(initial=0)),
            "image_never_chosen": _mean(chosen == 0),
            "roi_hubness": skewness(keys),
            "roi_most_chosen": int(keys.max(initial=0)),
            "image_coverage": len(np.unique(mined.image_of[used & own])) / images,
            "roi_coverage": _mean(used[own]),
            "area_coverage": _area_coverage(mined, used),
            "near_duplicates": _mean(mined.nearness[:, 0] >= NEAR_DUPLICATE),
        }
    )


def with_labels(mined: Mined, objects: Objects, seed: int = 0) -> Measures:
    """Measure with annotations whether RoIs cover objects and find them, and whether pairs are of one class.

    ``candidate_is_object``, ``query_is_object``, ``key_is_object``: share of candidates, and of the pairs' two sides,
    that overlap an object with IoU ≥ ``OBJECT_IOU``; ``same_class``: share of pairs whose RoIs both do, with objects
    of one class; ``same_class_no_person``: of one class other than ``person``. Names that end in ``_or_part`` also
    count RoIs inside an object. ``recall``: share of the objects, without difficult ones, that a candidate overlaps
    that much. ``ar_1``, ``ar_10``, ``ar_100``, ``mbo``: see ``orl.measure.discovery``, of the same objects.
    ``corloc``: of photos with an object, difficult ones included, but no crowds.
    Candidates and objects are those of the queries.

    ``…_chance``: for candidates and what they find, with the same boxes at random places of their photos; for a pair's
    sides and classes, with RoIs drawn at random from the same two photos.
    """
    moved, own = _moved(mined, np.random.default_rng(seed)), mined.mined[mined.image_of]
    found: Measures = {}
    real, chance = _cover_all(mined, mined.boxes, objects), _cover_all(mined, moved, objects)
    for suffix, classes, by_luck in (
        ("", real.classes, chance.classes),
        ("_or_part", real.with_parts, chance.with_parts),
    ):
        found[f"candidate_is_object{suffix}"] = _mean(classes[own] >= 0)
        found[f"candidate_is_object{suffix}_chance"] = _mean(by_luck[own] >= 0)
        shares = _per_image(mined, classes >= 0)
        for side, rois in (("query", mined.query), ("key", mined.key)):
            found[f"{side}_is_object{suffix}"] = _mean(classes[rois] >= 0)
            found[f"{side}_is_object{suffix}_chance"] = _mean(shares[mined.image_of[rois]])
        person = objects.names.index("person") if "person" in objects.names else -1
        for name, counted in (("same_class", classes), ("same_class_no_person", _without(classes, person))):
            both = (counted[mined.query] >= 0) & (counted[mined.query] == counted[mined.key])
            found[f"{name}{suffix}"] = _mean(both)
            found[f"{name}{suffix}_chance"] = _same_class_by_chance(mined, counted, len(objects.names))
    return found | _found_objects(mined, objects, real, "") | _found_objects(mined, objects, chance, "_chance")


def distinct(mined: Mined, most: float = DISTINCT_IOU) -> np.ndarray:
    """Return which pairs say something new, bool [P], greedily in their order.

    A pair says the same as an earlier one of the same query and neighbour if their query RoIs and their key RoIs both
    overlap by an IoU of more than ``most``.
    """
    image_of = mined.image_of
    first = np.flatnonzero(np.diff(image_of[mined.query], prepend=-1) | np.diff(image_of[mined.key], prepend=-1))
    sizes = np.diff(np.append(first, len(mined.query)))
    found = np.zeros(len(mined.query), bool)
    by_size = np.argsort(-sizes, kind="stable")  # photos with about as many pairs are compared at once
    while len(by_size):
        longest = int(sizes[by_size[0]])
        some = by_size[: max(1, TOGETHER // longest)]
        there = np.arange(longest) < sizes[some, None]
        places = first[some, None] + np.where(there, np.arange(longest), 0)
        new = _distinct(mined.boxes[mined.query[places]], mined.boxes[mined.key[places]], there, most)
        found[places[new]] = True
        by_size = by_size[len(some) :]
    return found


def _distinct(query: np.ndarray, key: np.ndarray, there: np.ndarray, most: float) -> np.ndarray:
    """Return which pairs are distinct, bool [S, n]. query, key: their boxes [S, n, 4]. there: bool [S, n]."""
    new = there.copy()
    for i in range(1, new.shape[1]):
        alike = new[:, :i] & (iou(query[:, i, None], query[:, :i]) > most)
        alike &= iou(key[:, i, None], key[:, :i]) > most
        new[:, i] &= ~alike.any(axis=1)
    return new


def _found_objects(mined: Mined, objects: Objects, cover: _Cover, suffix: str) -> Measures:
    """Return the measures of what the boxes of a coverage find, by name with a suffix."""
    own = np.repeat(mined.mined, np.diff(objects.start))
    counted, single = own & ~objects.difficult, own & ~objects.crowd
    with_object = np.bincount(np.repeat(np.arange(len(mined.sizes)), np.diff(objects.start)), single) > 0
    found = {"recall": _mean(cover.overlaps.best[counted] >= OBJECT_IOU)}
    found["corloc"] = corloc(cover.overlaps, with_object, single)
    found |= {f"ar_{most}": value for most, value in average_recall(cover.overlaps, counted).items()}
    found["mbo"] = mean_best_overlap(cover.overlaps, counted)
    return {f"{name}{suffix}": value for name, value in found.items()}


def object_classes(rois: np.ndarray, boxes: np.ndarray, classes: np.ndarray, part: bool = False) -> np.ndarray:
    """Return the class of the annotated object that each RoI covers, or -1: int64 [R].

    rois: [R, 4]. boxes: [G, 4] and classes: int64 [G], of the same image. The object of largest IoU counts. With
    ``part``, if no IoU is large enough, the object that holds most of the RoI counts; of several, the smallest.
    """
    whole, parts, _ = _cover(rois, boxes, classes)
    return parts if part else whole


@dataclass(frozen=True)
class _Cover:
    """Coverage by RoIs: class of each RoI's object or -1, int64 [R]; the same with parts; and all overlaps."""

    classes: np.ndarray
    with_parts: np.ndarray
    overlaps: Overlaps


def _cover(rois: np.ndarray, boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the class of each RoI's object or -1, int64 [B], the same with parts, and the IoUs, [B, G], of a photo."""
    if not len(boxes) or not len(rois):
        none = np.full(len(rois), -1, np.int64)
        return none, none, np.zeros((len(rois), len(boxes)))
    shared, own, theirs = shared_area(rois[:, None], boxes[None]), area(rois)[:, None], area(boxes)
    overlap = shared / (own + theirs - shared)
    enough = overlap >= OBJECT_IOU
    whole = np.where(enough.any(axis=1), classes[overlap.argmax(axis=1)], -1)
    inside = shared / own
    by_size = np.argsort(theirs, kind="stable")
    holder = by_size[inside[:, by_size].argmax(axis=1)]
    parts = np.where((whole < 0) & (inside.max(axis=1) >= PART_INSIDE), classes[holder], whole)
    return whole.astype(np.int64), parts.astype(np.int64), overlap


def _cover_all(mined: Mined, boxes: np.ndarray, objects: Objects) -> _Cover:
    """Compute the coverage image by image. boxes: of the RoIs, possibly moved."""
    classes, parts = np.full(len(boxes), -1, np.int64), np.full(len(boxes), -1, np.int64)
    best, hits = np.zeros(len(objects.boxes)), [(np.empty((3, 0), np.int64), np.empty(0))]
    for i in range(len(mined.sizes)):
        here, there = slice(*mined.start[i : i + 2]), slice(*objects.start[i : i + 2])
        classes[here], parts[here], overlap = _cover(boxes[here], objects.boxes[there], objects.classes[there])
        best[there] = overlap.max(axis=0, initial=0.0)
        rank, thing = np.nonzero(overlap >= HIT)
        if len(rank):
            hits.append((np.stack([rank, np.full(len(rank), i), thing + there.start]), overlap[rank, thing]))
    rank, image, thing = np.concatenate([places for places, _ in hits], axis=1)
    return _Cover(classes, parts, Overlaps(rank, image, thing, np.concatenate([values for _, values in hits]), best))


def _moved(mined: Mined, rng: np.random.Generator) -> np.ndarray:
    """Move every RoI to a random place of its photo, at the same size: int64 [R, 4]."""
    free = mined.sizes[mined.image_of] - mined.boxes[:, 2:]
    places = np.floor(rng.random(free.shape) * (free + 1)).astype(np.int64)
    return np.concatenate([places, mined.boxes[:, 2:]], axis=1)


def _same_class_by_chance(mined: Mined, classes: np.ndarray, names: int) -> float:
    """Return the mean probability, over the pairs, that RoIs drawn from their two photos are of one class."""
    if not len(mined.query):
        return 0.0
    images, image_of = len(mined.sizes), mined.image_of
    covering = classes >= 0
    counts = np.bincount(image_of[covering] * names + classes[covering], minlength=images * names)
    share = counts.reshape(images, names) / np.maximum(np.diff(mined.start), 1)[:, None]
    first, second = image_of[mined.query], image_of[mined.key]
    total = 0.0
    for start in range(0, len(first), BLOCK):
        part = slice(start, start + BLOCK)
        total += float((share[first[part]] * share[second[part]]).sum())
    return total / len(first)


def _per_image(mined: Mined, flags: np.ndarray) -> np.ndarray:
    total = np.bincount(mined.image_of, weights=flags, minlength=len(mined.sizes))
    return total / np.maximum(np.diff(mined.start), 1)


def _area_coverage(mined: Mined, used: np.ndarray) -> float:
    """Return the share of the photos' area that lies in a RoI of a pair, on a grid of cells."""
    covered = 0
    for i in mined.queries:
        here = slice(*mined.start[i : i + 2])
        down, across = lines_of_cells(mined.boxes[here][used[here]], *mined.sizes[i])
        covered += int((down.T.astype(np.float32) @ across.astype(np.float32) > 0).sum())
    return covered / (len(mined.queries) * GRID**2)


def _without(classes: np.ndarray, one: int) -> np.ndarray:
    return np.where(classes == one, -1, classes)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def skewness(counts: np.ndarray) -> float:
    """Return the skewness of numbers [n]: 0 if they spread evenly to both sides, large if few are much larger."""
    if not len(counts):
        return 0.0
    deviation = counts - counts.mean()
    spread = counts.std()
    return float((deviation**3).mean() / spread**3) if spread else 0.0


def _quantiles(name: str, values: np.ndarray) -> Measures:
    if not len(values):
        return {}
    each = zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
    return {f"{name}_p{round(quantile * 100)}": float(value) for quantile, value in each}
