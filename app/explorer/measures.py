"""Labels and explanations of the measures of a correspondence set, in groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orl_explorer.orl.duplicates import NEAR_DUPLICATE

_COSINE = "Cosine similarity of a pair's RoIs"
_MARGIN = "Similarity minus that of the next best key in the same neighbour"
_PART = "As above, but a RoI also counts if 70 % of it lies inside an object"

# By name in orl.measure.quality, which defines them; the most informative first.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Pairs": {
        "pairs_per_image": ("Pairs per photo", "Mean number of pairs with all K neighbours"),
        "distinct_pairs_per_image": (
            "Distinct pairs per photo",
            "The same, but pairs of the same two photos whose boxes overlap by IoU > 0.5 at both ends count once",
        ),
        "query_is_object": ("Query is an object", "Share of pairs whose query RoI has IoU ≥ 0.5 with an object"),
        "key_is_object": ("Key is an object", "Share of pairs whose key RoI has IoU ≥ 0.5 with an object"),
        "same_class": ("Same class", "Share of pairs whose RoIs match annotated objects of the same class"),
        "same_class_no_person": ("Same class, no persons", "The same without the class person"),
        "query_is_object_or_part": ("Query is an object or a part", _PART),
        "key_is_object_or_part": ("Key is an object or a part", _PART),
        "same_class_or_part": ("Same class, or parts", _PART),
        "same_class_no_person_or_part": ("Same class or parts, no persons", "The same without the class person"),
        "cycle": ("Consistent pairs", "Share of pairs where the key's nearest RoI in the query photo is the query RoI"),
    },
    "Boxes": {
        "rois_per_image": ("RoIs per photo", "Mean number of RoIs"),
        "corloc": ("CorLoc", "Share of photos with an object whose first RoI has IoU ≥ 0.5 with any object in it"),
        "recall": ("Objects found", "Share of annotated objects with IoU ≥ 0.5 with a RoI"),
        "ar_1": ("AR@1", "Share of objects found by the first RoI, averaged over required IoUs of 0.5 to 0.95 (COCO)"),
        "ar_10": ("AR@10", "The same with the first 10 RoIs of a photo"),
        "ar_100": ("AR@100", "The same with the first 100 RoIs of a photo"),
        "mbo": ("mBO", "Mean best overlap: the IoU of an object with the RoI that fits it best, averaged over objects"),
        "candidate_is_object": ("RoI is an object", "Share of all RoIs with IoU ≥ 0.5 with an annotated object"),
        "candidate_is_object_or_part": ("RoI is an object or a part", _PART),
    },
    "Coverage and hubs": {
        "image_coverage": ("Photos used", "Share of photos in a pair"),
        "roi_coverage": ("RoIs used", "Share of RoIs in a pair"),
        "area_coverage": ("Area used", "Share of the photos' area inside a RoI of a pair"),
        "image_hubness": (
            "Hubs among photos",
            "Skewness of how often a photo is a neighbour; large if a few photos dominate",
        ),
        "image_most_chosen": ("Most frequent neighbour", "Number of photos that have it as a neighbour"),
        "image_never_chosen": ("Never a neighbour", "Share of photos that are nobody's neighbour"),
        "roi_hubness": ("Hubs among RoIs", "Skewness of how often a RoI is a key"),
        "roi_most_chosen": ("Most frequent key", "Number of pairs that have it as the key"),
        "near_duplicates": (
            "Near-duplicates",
            f"Share of photos whose nearest neighbour has cosine ≥ {NEAR_DUPLICATE:g}, probably the same picture",
        ),
        "annotated_objects": ("Annotated objects", "Number at the time of the measurement"),
    },
    "Similarity and margin": {
        "similarity_p5": ("Similarity, 5 % quantile", _COSINE),
        "similarity_p25": ("Similarity, 25 %", _COSINE),
        "similarity_p50": ("Similarity, median", _COSINE),
        "similarity_p75": ("Similarity, 75 %", _COSINE),
        "similarity_p95": ("Similarity, 95 %", _COSINE),
        "margin_p5": ("Margin, 5 % quantile", _MARGIN),
        "margin_p25": ("Margin, 25 %", _MARGIN),
        "margin_p50": ("Margin, median", _MARGIN),
        "margin_p75": ("Margin, 75 %", _MARGIN),
        "margin_p95": ("Margin, 95 %", _MARGIN),
    },
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


def with_chance(quality: Mapping[str, float]) -> dict[str, list[Measured]]:
    """Return the measures of a set with their chance levels by group, the most informative first."""
    named = {name for words in GROUPS.values() for name in words}
    further = {
        name: (name.replace("_", " "), "") for name in quality if name not in named and not name.endswith(CHANCE)
    }
    found = {}
    for group, words in (GROUPS | {"Others": further}).items():
        known = [
            Measured(name, label, quality[name], quality.get(f"{name}{CHANCE}"), meaning)
            for name, (label, meaning) in words.items()
            if name in quality
        ]
        if known:
            found[group] = known
    return found
