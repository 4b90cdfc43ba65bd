"""The measures of a correspondence set in words: what each is called and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# By name in orl.quality, where they are defined. Those that end in _or_part count RoIs inside an object too.
WORDS = {
    "cycle": ("Consistent pairs", "share of pairs whose way back ends at the same query RoI"),
    "same_class": ("Same class", "share of pairs both of whose RoIs are annotated objects, of one class"),
    "same_class_no_person": ("Same class, no persons", "the same, of a class that is not person"),
    "query_is_object": ("Query is an object", "share of query RoIs with IoU of at least 0.5 to an annotated object"),
    "key_is_object": ("Key is an object", "share of key RoIs with IoU of at least 0.5 to an annotated object"),
    "candidate_is_object": ("RoI is an object", "share of all RoIs with IoU of at least 0.5 to an annotated object"),
    "recall": ("Objects found", "share of annotated objects that some RoI covers"),
    "same_class_or_part": ("Same class, or parts", "RoIs that lie inside an annotated object count too"),
    "same_class_no_person_or_part": ("Same class or parts, no persons", "the same, of a class that is not person"),
    "query_is_object_or_part": ("Query is an object or a part", "at least 70 % of the RoI lies inside an object"),
    "key_is_object_or_part": ("Key is an object or a part", "at least 70 % of the RoI lies inside an object"),
    "candidate_is_object_or_part": ("RoI is an object or a part", "at least 70 % of the RoI lies inside an object"),
    "rois_per_image": ("RoIs per photo", "regions that passed the filter"),
    "pairs_per_image": ("Pairs per photo", "with all of its neighbours"),
    "similarity_p5": ("Similarity, 5 % quantile", "cosine of a pair's RoIs"),
    "similarity_p25": ("Similarity, 25 %", "cosine of a pair's RoIs"),
    "similarity_p50": ("Similarity, median", "cosine of a pair's RoIs"),
    "similarity_p75": ("Similarity, 75 %", "cosine of a pair's RoIs"),
    "similarity_p95": ("Similarity, 95 %", "cosine of a pair's RoIs"),
    "margin_p5": ("Margin, 5 % quantile", "similarity over that of the query RoI's best other RoI in that neighbour"),
    "margin_p25": ("Margin, 25 %", "similarity over that of the query RoI's best other RoI in that neighbour"),
    "margin_p50": ("Margin, median", "similarity over that of the query RoI's best other RoI in that neighbour"),
    "margin_p75": ("Margin, 75 %", "similarity over that of the query RoI's best other RoI in that neighbour"),
    "margin_p95": ("Margin, 95 %", "similarity over that of the query RoI's best other RoI in that neighbour"),
    "image_coverage": ("Photos used", "share of photos that take part in a pair"),
    "roi_coverage": ("RoIs used", "share of RoIs that take part in a pair"),
    "area_coverage": ("Area used", "share of the photos' area that lies in a RoI of a pair"),
    "image_hubness": ("Hubs among photos", "skewness of how often a photo is a neighbour; large: a few everywhere"),
    "image_most_chosen": ("Most frequent neighbour", "how many photos have it"),
    "image_never_chosen": ("Never a neighbour", "share of photos"),
    "roi_hubness": ("Hubs among RoIs", "skewness of how often a RoI is a key"),
    "roi_most_chosen": ("Most frequent key", "how many pairs have it"),
    "near_duplicates": ("Near duplicates", "share of photos whose nearest neighbour has a cosine of at least 0.95"),
    "annotated_objects": ("Annotated objects", "when the set was measured"),
}
CHANCE = "_chance"


@dataclass(frozen=True)
class Measured:
    """One measure; ``chance`` is what RoIs placed or drawn at random would reach, None where that makes no sense."""

    name: str
    label: str
    value: float
    chance: float | None
    meaning: str


def with_chance(quality: Mapping[str, float]) -> list[Measured]:
    """All measures of a set, the telling ones first, each with its chance level."""
    order = [*(name for name in WORDS if name in quality), *(name for name in quality if name not in WORDS)]
    found = []
    for name in order:
        if not name.endswith(CHANCE):
            label, meaning = WORDS.get(name, (name.replace("_", " "), ""))
            found.append(Measured(name, label, quality[name], quality.get(f"{name}{CHANCE}"), meaning))
    return found
