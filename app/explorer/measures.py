"""Labels and explanations of the measures of a correspondence set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# By name in orl.measure.quality, which defines them. Names that end in _or_part count RoIs inside an object too.
WORDS = {
    "cycle": ("Consistent pairs", "share of pairs where the key's nearest RoI in the query photo is the query RoI"),
    "same_class": ("Same class", "share of pairs whose RoIs match annotated objects of the same class"),
    "same_class_no_person": ("Same class, no persons", "the same without the class person"),
    "query_is_object": ("Query is an object", "share of query RoIs with IoU ≥ 0.5 with an annotated object"),
    "key_is_object": ("Key is an object", "share of key RoIs with IoU ≥ 0.5 with an annotated object"),
    "candidate_is_object": ("RoI is an object", "share of all RoIs with IoU ≥ 0.5 with an annotated object"),
    "recall": ("Objects found", "share of annotated objects with IoU ≥ 0.5 with a RoI"),
    "same_class_or_part": ("Same class, or parts", "RoIs that lie inside an annotated object count too"),
    "same_class_no_person_or_part": ("Same class or parts, no persons", "the same without the class person"),
    "query_is_object_or_part": ("Query is an object or a part", "at least 70 % of the RoI lies inside an object"),
    "key_is_object_or_part": ("Key is an object or a part", "at least 70 % of the RoI lies inside an object"),
    "candidate_is_object_or_part": ("RoI is an object or a part", "at least 70 % of the RoI lies inside an object"),
    "rois_per_image": ("RoIs per photo", "mean number of RoIs"),
    "pairs_per_image": ("Pairs per photo", "mean number of pairs with all K neighbours"),
    "similarity_p5": ("Similarity, 5 % quantile", "cosine similarity of a pair's RoIs"),
    "similarity_p25": ("Similarity, 25 %", "cosine similarity of a pair's RoIs"),
    "similarity_p50": ("Similarity, median", "cosine similarity of a pair's RoIs"),
    "similarity_p75": ("Similarity, 75 %", "cosine similarity of a pair's RoIs"),
    "similarity_p95": ("Similarity, 95 %", "cosine similarity of a pair's RoIs"),
    "margin_p5": ("Margin, 5 % quantile", "similarity minus that of the next best key in the same neighbour"),
    "margin_p25": ("Margin, 25 %", "similarity minus that of the next best key in the same neighbour"),
    "margin_p50": ("Margin, median", "similarity minus that of the next best key in the same neighbour"),
    "margin_p75": ("Margin, 75 %", "similarity minus that of the next best key in the same neighbour"),
    "margin_p95": ("Margin, 95 %", "similarity minus that of the next best key in the same neighbour"),
    "image_coverage": ("Photos used", "share of photos in a pair"),
    "roi_coverage": ("RoIs used", "share of RoIs in a pair"),
    "area_coverage": ("Area used", "share of the photos' area inside a RoI of a pair"),
    "image_hubness": (
        "Hubs among photos",
        "skewness of how often a photo is a neighbour; large if a few photos dominate",
    ),
    "image_most_chosen": ("Most frequent neighbour", "number of photos that have it as a neighbour"),
    "image_never_chosen": ("Never a neighbour", "share of photos that are nobody's neighbour"),
    "roi_hubness": ("Hubs among RoIs", "skewness of how often a RoI is a key"),
    "roi_most_chosen": ("Most frequent key", "number of pairs that have it as the key"),
    "near_duplicates": ("Near duplicates", "share of photos whose nearest neighbour has cosine ≥ 0.95"),
    "annotated_objects": ("Annotated objects", "number at the time of the measurement"),
}
CHANCE = "_chance"


@dataclass(frozen=True)
class Measured:
    """One measure. ``chance``: its value for RoIs placed or drawn at random, None if not applicable."""

    name: str
    label: str
    value: float
    chance: float | None
    meaning: str


def with_chance(quality: Mapping[str, float]) -> list[Measured]:
    """Return all measures of a set with their chance levels, the most informative first."""
    order = [*(name for name in WORDS if name in quality), *(name for name in quality if name not in WORDS)]
    found = []
    for name in order:
        if not name.endswith(CHANCE):
            label, meaning = WORDS.get(name, (name.replace("_", " "), ""))
            found.append(Measured(name, label, quality[name], quality.get(f"{name}{CHANCE}"), meaning))
    return found
