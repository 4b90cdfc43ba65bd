"""Settings: how they are validated and changed, and those of mining. Free of torch; training's are in `train.methods`.

The field descriptions are the help texts of the command line and of the forms.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orl_explorer.orl.boxes import BoxRules, Fallback
from orl_explorer.orl.proposals import proposal_method
from orl_explorer.train.errors import UserError

RankedBy = Literal["search", "objectness"]
Precision = Literal["fp32", "bf16"]


class Settings(BaseModel):
    """Immutable, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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

S = TypeVar("S", bound=Settings)


def with_settings(preset: S, changes: dict[str, Any]) -> S:
    """A preset with some values changed. Raises UserError naming the setting, its value and what it may be."""
    known = type(preset).model_fields
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known settings: {', '.join(known)}."
            raise UserError(f"There is no setting '{name}'; {hint}")
    try:
        return type(preset).model_validate(preset.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ").rstrip(".")
        if not first["loc"]:
            raise UserError(f"{said[:1].upper()}{said[1:]}.") from error
        raise UserError(f"{first['loc'][0]} = {first['input']!s} will not do: {said[:1].lower()}{said[1:]}.") from error


def preset_named(presets: dict[str, S], name: str) -> S:
    """One of the presets. Raises UserError naming them."""
    if name not in presets:
        raise UserError(f"There is no preset '{name}'; known: {', '.join(presets)}.")
    return presets[name]


def parse_settings(assignments: Iterable[str]) -> dict[str, str]:
    """``["epochs=3", …]`` as a dictionary. Raises UserError on anything else."""
    changes = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name.strip():
            raise UserError(f"'{assignment}' is not of the form key=value.")
        changes[name.strip()] = value.strip()
    return changes
