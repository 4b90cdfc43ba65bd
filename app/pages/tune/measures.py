"""What the Tune page measures: names, words and how values are written."""

from __future__ import annotations

from dataclasses import dataclass

from orl_explorer.app.explorer.tuning import Numbers
from orl_explorer.train.mining.config import MineConfig


@dataclass(frozen=True)
class Measure:
    """name: as ``Numbers.value`` knows it. share: whether it lies in [0, 1] and is written in percent."""

    name: str
    label: str
    share: bool
    meaning: str

    def written(self, value: float | None) -> str:
        """A value for a person to read; a dash where there is none."""
        if value is None:
            return "–"
        if self.share:
            return f"{100 * value:.1f} %"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"

    def difference(self, value: float | None, other: float | None) -> str:
        """How much more a value is than another."""
        if value is None or other is None:
            return ""
        more = value - other
        written = self.written(abs(more))
        if written == self.written(0.0):
            return "±0"
        return f"{'+' if more > 0 else '−'}{written.replace('%', 'points')}"


REGIONS = (
    Measure("raw", "Raw boxes a photo", False, "Before any rule, over the queries"),
    Measure("size", "… rejected: side < {min_size} px", False, "The first rule that a raw box breaks counts"),
    Measure("aspect", "… rejected: aspect > {max_aspect:g}", False, "The first rule that a raw box breaks counts"),
    Measure("overlap", "… rejected: IoU > {max_iou:g}", False, "With a box that was kept before it"),
    Measure("count", "… rejected: beyond {max_rois}", False, "The photo had its full number of RoIs already"),
    Measure("rois", "RoIs a photo", False, "What is kept, a fall-back box included"),
    Measure("fallback", "Photos that keep no box", True, "A fall-back box stands in"),
)
PAIRS = (
    Measure("pairs_per_image", "Pairs a photo", False, "With all its K neighbours"),
    Measure("similarity_mean", "Similarity, mean", False, "Cosine of the two RoIs of a pair"),
    Measure("margin_p50", "Margin, median", False, "How much closer the key is than any other RoI of the neighbour"),
    Measure("cycle", "Cycle", True, "Pairs whose way back leads to the same query RoI"),
    Measure("image_coverage", "Photos with a pair", True, "Share of the queries"),
    Measure("roi_coverage", "RoIs in a pair", True, "Share of the queries' RoIs"),
    Measure("area_coverage", "Area in a pair", True, "Share of the queries' area"),
)
OBJECTS = (
    Measure("query_is_object", "Query is object", True, "Its RoI has IoU ≥ 0.5 with an annotated object"),
    Measure("key_is_object", "Key is object", True, "Its RoI has IoU ≥ 0.5 with an annotated object"),
    Measure("same_class", "Same class", True, "Both RoIs are objects, of one class"),
    Measure("recall", "Objects found", True, "Annotated objects that some RoI has IoU ≥ 0.5 with"),
)
TO_EMBED = Measure("missing", "RoIs to embed", False, "RoIs of the sample that have no feature yet")
# What a heat map may show.
SWEPT = {
    m.name: m
    for m in (
        *(PAIRS[0], PAIRS[1], *OBJECTS[::2], OBJECTS[3], PAIRS[3], PAIRS[5], PAIRS[6], REGIONS[5]),
        TO_EMBED,
    )
}


def label(measure: Measure, config: MineConfig) -> str:
    """Its words, with the threshold that it speaks of."""
    return measure.label.format(**config.model_dump())


def known(measures: tuple[Measure, ...], *numbers: Numbers) -> list[Measure]:
    """Those that somebody can say something of."""
    return [m for m in measures if any(own.value(m.name) is not None for own in numbers)]
