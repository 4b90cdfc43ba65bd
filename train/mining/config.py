"""The settings of stage 2: mining. Defaults are the paper's. Free of torch."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Literal

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.orl.boxes import BoxRules, Fallback
from orl_explorer.orl.duplicates import NEAR_DUPLICATE
from orl_explorer.orl.selective_search.opencv import MIN_SIZE
from orl_explorer.orl.selective_search.proposals import proposal_method
from orl_explorer.train.settings import Precision, Settings, setting

RankedBy = Literal["search", "objectness"]
ScoredBy = Literal["contrast", "layout"]
NeighborSearch = Literal["exact", "cells"]

OWN_SOURCES = ("search", "map", "search+map", "annotations")  # of raw boxes; other names are of imported proposals
RAW = "Raw boxes, precision and search"  # heading of settings that may require computing the whole dataset again
NO_MINIMUM = -10.0  # of what pairs are worth


class MineConfig(Settings):
    """Stage 2. Defaults are the paper's."""

    neighbors: int = setting(
        10,
        ge=1,
        le=100,
        help="K: number of nearest neighbours of each photo",
        label="K · neighbours",
        url="k",
        slider=(1, 30, 1),
        grid=(3, 5, 10, 20),
    )
    pair_ratio: float = setting(
        0.1,
        gt=0,
        le=1,
        help="N: pairs to keep per neighbour, as a share of the query's RoIs",
        label="N · pairs per neighbour, share of RoIs",
        url="n",
        slider=(0.01, 1, 0.01),
        grid=(0.05, 0.1, 0.2, 0.5),
    )
    min_size: int = setting(
        96,
        ge=1,
        le=4096,
        help="Minimum side of a RoI, in pixels of the photo",
        label="Min size, px",
        url="size",
        slider=(16, 256, 4),
        grid=(48, 64, 96, 128),
    )
    max_aspect: float = setting(
        3.0,
        ge=1,
        le=100,
        help="Maximum ratio of a RoI's sides",
        url="aspect",
        slider=(1, 6, 0.1),
        grid=(1.5, 2, 3, 4),
    )
    max_iou: float = setting(
        0.5,
        ge=0,
        le=1,
        help="Maximum overlap (IoU) of a RoI with a RoI already kept",
        label="Max IoU",
        url="iou",
        slider=(0.1, 0.95, 0.05),
        grid=(0.3, 0.5, 0.65, 0.75),
    )
    max_rois: int = setting(
        100,
        ge=1,
        le=1000,
        help="Maximum number of RoIs per photo",
        label="Max RoIs",
        url="rois",
        slider=(1, 100, 1),
        grid=(10, 25, 50, 100),
    )
    spread_after: int = setting(
        1000,
        ge=1,
        le=1000,
        help="Number of RoIs after which further ones must overlap all of them by at most the IoU of spread RoIs. So "
        "a few likely RoIs may be near-alike, and the rest find other objects. 1000: never",
        label="Spread RoIs after",
        url="spread",
        slider=(1, 1000, 1),
        grid=(8, 16, 1000),
    )
    spread_iou: float = setting(
        0.5,
        ge=0,
        le=1,
        help="Maximum overlap (IoU) of spread RoIs with RoIs already kept",
        label="Spread RoIs, max IoU",
        term="max IoU of spread RoIs",
        url="spreadiou",
        slider=(0.1, 0.95, 0.05),
        grid=(0.3, 0.5, 0.65),
    )
    min_similarity: float = setting(
        -1.0,
        ge=-1,
        le=1,
        help="Minimum cosine similarity of a pair",
        url="sim",
        slider=(-1, 1, 0.01),
        grid=(-1, 0.3, 0.5, 0.7),
    )
    object_weight: float = setting(
        0.0,
        ge=0,
        le=100,
        help="Weight with which objectness (how likely a RoI is to hold an object) is added to similarity when pairs "
        "are chosen",
        label="Objectness in pairs",
        url="obj",
        slider=(0, 3, 0.05),
        grid=(0, 0.25, 0.5, 1),
    )
    sparse_weight: float = setting(
        0.0,
        ge=0,
        le=100,
        help="Weight with which the sparseness of RoI features is added to similarity when pairs are chosen. Features "
        "of objects are sparser than those of backgrounds",
        label="Sparseness in pairs",
        url="sparse",
        slider=(0, 3, 0.05),
        grid=(0, 0.25, 0.5, 1),
    )
    min_worth: float = setting(
        NO_MINIMUM,
        ge=NO_MINIMUM,
        le=100,
        help="Minimum worth of a pair: similarity plus the weighted objectness and sparseness of both RoIs, by which "
        "pairs are chosen. So photos without likely objects have fewer pairs. -10: no minimum",
        label="Min worth of a pair",
        url="worth",
        slider=(NO_MINIMUM, 3, 0.05),
        grid=(NO_MINIMUM, 0.5, 0.7, 0.9),
    )
    cover_photo: bool = setting(
        False,
        help="Cover the photo: with its nearest neighbour, also keep the best pair of each RoI that adds a twentieth "
        "or more of the photo to the area of the pairs of the two, whatever its worth",
        label="Cover the photo",
        term="cover photo",
        url="cover",
        choices=(False, True),
        words={False: "no", True: "yes"},
        grid=(False, True),
    )
    consistent_only: bool = setting(
        False,
        help="Keep only pairs whose way back ends at the same RoI: the query RoI is the most similar one of its photo "
        "to the key. Others take no place among the N best",
        label="Consistent pairs only",
        url="consistent",
        choices=(False, True),
        words={False: "no", True: "yes"},
        grid=(False, True),
    )
    distinct_iou: float = setting(
        1.0,
        ge=0,
        le=1,
        help="Maximum overlap (IoU) of two pairs of the same two photos at both ends. Of pairs that overlap more, only "
        "the best is kept. 1: keeps all",
        label="Distinct pairs, max IoU",
        term="max IoU of pairs",
        url="distinct",
        slider=(0.3, 1, 0.05),
        grid=(0.3, 0.5, 0.75, 1),
    )
    ranked_by: RankedBy = setting(
        "search",
        help="Order in which raw boxes are filtered. search: order of selective search. objectness: likely "
        "objects first",
        label="Order of raw boxes",
        term="ranked by",
        url="ranked",
        words={"search": "search order", "objectness": "likely objects"},
        grid=("search", "objectness"),
    )
    scored_by: ScoredBy = setting(
        "contrast",
        help="How objectness is computed. contrast: attention and looks of a box against those around it. layout: "
        "also prefers boxes of varied looks, away from the photo's edges and low in the photo",
        label="Objectness by",
        term="objectness by",
        url="scored",
        words={"contrast": "contrast", "layout": "contrast and layout"},
        grid=("contrast", "layout"),
    )
    fallback: Fallback = setting(
        "first",
        help="RoI of a photo whose raw boxes are all rejected. first: its first raw box. image: the whole photo",
        label="Photo without RoIs gets",
        term="fallback",
        url="fall",
        words={"first": "first raw box", "image": "whole photo"},
    )
    proposals: str = setting(
        "search",
        min_length=1,
        help="Source of raw boxes: search (selective search), map (likely objects on the encoder's own map), "
        "search+map (both), annotations, or the name of imported proposals",
        label="Raw boxes",
        term="proposals",
        url="props",
        words={"search": "search", "map": "map", "search+map": "both", "annotations": "annotated"},
        group=RAW,
    )
    proposal_scale: float = setting(
        1.0,
        ge=0.1,
        le=1,
        help="Scale of the photo for selective search. 0.5 makes it 5 times as fast",
        label="Selective search on photos of",
        term="proposal scale",
        url="scale",
        choices=(1.0, 0.5),
        words={1.0: "full size"},
        form="× {:g}",
        group=RAW,
    )
    segment_size: int = setting(
        MIN_SIZE,
        ge=1,
        le=10_000,
        help="Minimum size of the regions that selective search starts from, in pixels of the resized photo. At half "
        "the scale, 25 finds smaller objects than 100",
        label="First regions of selective search, px",
        term="first regions",
        url="first",
        choices=(100, 25),
        form="from {:g} px",
        group=RAW,
    )
    precision: Precision = setting(
        "fp32",
        help="Precision of forward passes. fp32-onnx: by ONNX Runtime on the CPU, faster, equal up to rounding. bf16: "
        "about twice as fast on CPUs that support it, and changes some pairs",
        label="Precision of forward passes",
        term="precision",
        url="prec",
        group=RAW,
    )

    neighbor_search: NeighborSearch = setting(
        "exact",
        help="Search of nearest neighbours. exact: compares all photos. cells: compares each photo with those in "
        "nearby cells, for a million photos or more, and misses a few neighbours",
        label="Search of neighbours",
        term="neighbour search",
        url="near",
        words={"exact": "exact", "cells": "nearby cells"},
        group=RAW,
    )

    skip_duplicates: bool = setting(
        False,
        help="Skip near-duplicates: of each group of photos that are nearly the same, only the largest is a neighbour, "
        "and of other groups alone",
        label="Skip near-duplicates",
        url="skip",
        choices=(False, True),
        words={False: "no", True: "yes"},
        group=RAW,
    )
    duplicate_similarity: float = setting(
        NEAR_DUPLICATE,
        gt=0,
        le=1,
        help="Cosine similarity of features from which two photos are near-duplicates, if they are skipped",
        label="Near-duplicates, min similarity",
        term="near-duplicates from",
        url="same",
        slider=(0.5, 1, 0.01),
        group=RAW,
    )

    @classmethod
    def of(cls, mined: CorrespondenceSet) -> MineConfig:
        """Return the settings that a set was mined with."""
        return cls(**mined.params)

    @property
    def rules(self) -> BoxRules:
        """The thresholds of the candidate filter: the settings of the same names."""
        return BoxRules(**{rule.name: getattr(self, rule.name) for rule in fields(BoxRules)})

    @property
    def needs_objectness(self) -> bool:
        """Whether any setting needs the objectness of boxes."""
        return self.ranked_by == "objectness" or self.object_weight > 0

    @property
    def counts_vary(self) -> bool:
        """Whether two photos may have another number of pairs than N says."""
        fewer = self.min_similarity > -1 or self.least_worth > -math.inf
        return fewer or self.consistent_only or self.distinct_iou < 1 or self.cover_photo

    @property
    def least_worth(self) -> float:
        """Least worth of a pair; minus infinity if there is no minimum."""
        return self.min_worth if self.min_worth > NO_MINIMUM else -math.inf

    @property
    def searches(self) -> bool:
        """Whether raw boxes come from selective search, alone or with others."""
        return self.proposals in ("search", "search+map")

    @property
    def maps_boxes(self) -> bool:
        """Whether raw boxes come from the encoder's map, alone or with others. They belong to the encoder."""
        return self.proposals in ("map", "search+map")

    @property
    def method(self) -> str:
        """Name of the stored proposals that these settings filter. Nothing is stored as ``annotations`` or ``map``."""
        if self.searches:
            return proposal_method(self.proposal_scale, self.segment_size)
        return self.proposals if self.proposals in OWN_SOURCES else imported_method(self.proposals)

    @property
    def raw(self) -> str:
        """Name of the raw boxes, which differs wherever they do."""
        return f"{self.method}+map" if self.searches and self.maps_boxes else self.method


def imported_method(name: str) -> str:
    """Return the name under which the raw boxes of a proposals file are stored."""
    return f"imported:{name}"


OBJECT = MineConfig(
    ranked_by="objectness",
    scored_by="layout",
    object_weight=0.2,
    sparse_weight=0.5,
    min_worth=0.8,
    cover_photo=True,
    min_size=48,
    max_rois=36,
    max_iou=0.75,
    spread_after=16,
    spread_iou=0.5,
    pair_ratio=0.7,
    fallback="image",
)
MINE_PRESETS: dict[str, MineConfig] = {"paper": MineConfig(), "object": OBJECT}
PRESET_HELP = {
    "paper": "the published settings",
    "object": "pairs of RoIs that are likely to hold objects, found without labels",
}
