"""The settings of stage 2: mining. Defaults are the paper's. Free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.orl.boxes import BoxRules, Fallback
from orl_explorer.orl.proposals import proposal_method
from orl_explorer.train.settings import Precision, Settings

RankedBy = Literal["search", "objectness"]


class MineConfig(Settings):
    """Stage 2. Defaults are the paper's."""

    neighbors: int = Field(10, ge=1, le=100, description="K: nearest images of each image")
    pair_ratio: float = Field(
        0.1, gt=0, le=1, description="N: pairs kept per neighbour, as a share of the query's RoIs"
    )
    min_size: int = Field(96, ge=1, le=4096, description="Smallest side of a RoI, in pixels of the photo")
    max_aspect: float = Field(3.0, ge=1, le=100, description="Largest ratio of a RoI's sides")
    max_iou: float = Field(0.5, ge=0, le=1, description="Largest overlap (IoU) of a RoI with one already kept")
    max_rois: int = Field(100, ge=1, le=1000, description="Most RoIs of an image")
    min_similarity: float = Field(-1.0, ge=-1, le=1, description="Smallest cosine similarity of a pair")
    proposals: str = Field(
        "search", min_length=1, description="Raw boxes: search (selective search), annotations, or the name of imported"
    )
    proposal_scale: float = Field(
        1.0, ge=0.1, le=1, description="Selective search runs on the photo resized by this; 0.5 is 4 to 5 x faster"
    )
    fallback: Fallback = Field("first", description="RoI of an image that keeps none: its first raw box, or the image")
    ranked_by: RankedBy = Field(
        "search", description="Raw boxes that are judged first: selective search's own order, or the likeliest objects"
    )
    object_weight: float = Field(
        0.0, ge=0, le=100, description="Weight of both RoIs' objectness beside their similarity when pairs are chosen"
    )
    sparse_weight: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of how few channels both RoIs' features stand on beside their similarity when pairs are "
        "chosen: those of backgrounds stand on many",
    )
    precision: Precision = Field(
        "fp32", description="Of the forward passes; bf16 is twice as fast on CPUs that have it, and changes some pairs"
    )

    @classmethod
    def of(cls, mined: CorrespondenceSet) -> MineConfig:
        """What a set was mined with."""
        return cls(**mined.params)

    @property
    def rules(self) -> BoxRules:
        """The thresholds of the candidate filter."""
        return BoxRules(self.min_size, self.max_aspect, self.max_iou, self.max_rois, self.fallback)

    @property
    def needs_objectness(self) -> bool:
        """Whether anything depends on how likely boxes hold objects."""
        return self.ranked_by == "objectness" or self.object_weight > 0

    @property
    def method(self) -> str:
        """Name of the raw proposals that this setting filters."""
        match self.proposals:
            case "search":
                return proposal_method(self.proposal_scale)
            case "annotations":
                return self.proposals
        return imported_method(self.proposals)


def imported_method(name: str) -> str:
    """Name under which the raw boxes of a proposals file are kept."""
    return f"imported:{name}"


OBJECT = MineConfig(
    ranked_by="objectness",
    object_weight=0.25,
    sparse_weight=0.25,
    max_rois=25,
    max_iou=0.75,
    pair_ratio=0.5,
    fallback="image",
)
MINE_PRESETS: dict[str, MineConfig] = {"paper": MineConfig(), "object": OBJECT}
