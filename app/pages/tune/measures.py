"""Measures of the Tune page: names, labels, tooltips and formats."""

from __future__ import annotations

from dataclasses import dataclass

from orl_explorer.app.explorer.tuning import Numbers
from orl_explorer.train.mining.config import MineConfig


@dataclass(frozen=True)
class Measure:
    """One measure. name: as in ``Numbers.value``. share: in [0, 1], shown in percent."""

    name: str
    label: str
    share: bool
    meaning: str

    def written(self, value: float | None) -> str:
        """Format a value; a dash for None."""
        if value is None:
            return "–"
        if self.share:
            return f"{100 * value:.1f} %"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"

    def difference(self, value: float | None, other: float | None) -> str:
        """Format the difference of two values, with its sign."""
        if value is None or other is None:
            return ""
        more = value - other
        written = self.written(abs(more))
        if written == self.written(0.0):
            return "±0"
        return f"{'+' if more > 0 else '−'}{written.replace('%', 'points')}"


REGIONS = (
    Measure("raw", "Raw boxes per photo", False, "Mean number of boxes before filtering"),
    Measure("size", "… rejected: side < {min_size} px", False, "A box counts for the first rule that it breaks"),
    Measure("aspect", "… rejected: aspect > {max_aspect:g}", False, "A box counts for the first rule that it breaks"),
    Measure(
        "overlap",
        "… rejected: IoU > {max_iou:g}",
        False,
        "Boxes that overlap a box that is already kept, or, where RoIs are spread, by more than the IoU of spread RoIs",
    ),
    Measure("count", "… rejected: beyond {max_rois}", False, "Boxes after the maximum number of RoIs is reached"),
    Measure("rois", "RoIs per photo", False, "Boxes that are kept, including fall-back boxes"),
    Measure("fallback", "Photos without a kept box", True, "Each has one fall-back box instead"),
)
PAIRS = (
    Measure("pairs_per_image", "Pairs per photo", False, "Pairs with all K neighbours"),
    Measure(
        "distinct_pairs_per_image",
        "Distinct pairs per photo",
        False,
        "Pairs of the same two photos whose boxes overlap by IoU > 0.5 at both ends count once",
    ),
    Measure("similarity_mean", "Similarity, mean", False, "Cosine similarity of the two RoIs of a pair"),
    Measure("margin_p50", "Margin, median", False, "Similarity of a pair minus that of the next best key there"),
    Measure("cycle", "Cycle", True, "Share of pairs where the key's nearest RoI in the query photo is the query RoI"),
    Measure("image_coverage", "Photos with a pair", True, "Share of the queries"),
    Measure("roi_coverage", "RoIs in a pair", True, "Share of the queries' RoIs"),
    Measure("area_coverage", "Area in a pair", True, "Share of the queries' area"),
)
OBJECTS = (
    Measure("query_is_object", "Query is object", True, "Share of pairs whose query RoI matches an annotated object"),
    Measure("key_is_object", "Key is object", True, "Share of pairs whose key RoI matches an annotated object"),
    Measure("same_class", "Same class", True, "Share of pairs whose RoIs match annotated objects of the same class"),
    Measure("recall", "Objects found", True, "Share of annotated objects that a RoI matches (IoU ≥ 0.5)"),
    Measure("corloc", "CorLoc", True, "Share of photos whose first RoI matches any object (IoU ≥ 0.5)"),
    Measure("ar_10", "AR@10", True, "Objects found by the first 10 RoIs, averaged over IoUs of 0.5 to 0.95 (COCO)"),
    Measure("mbo", "mBO", True, "Mean best overlap: the IoU of an object with its best RoI, averaged over objects"),
)
TO_EMBED = Measure("missing", "RoIs to embed", False, "RoIs of the sample without a feature")
SWEPT = {  # measures that the heat map offers
    name: next(m for m in (*REGIONS, *PAIRS, *OBJECTS, TO_EMBED) if m.name == name)
    for name in (
        *("pairs_per_image", "distinct_pairs_per_image", "similarity_mean", "query_is_object", "same_class", "recall"),
        *("corloc", "cycle", "roi_coverage", "area_coverage", "rois", "missing"),
    )
}


def label(measure: Measure, config: MineConfig) -> str:
    """Return a measure's label with its threshold."""
    return measure.label.format(**config.model_dump())


def known(measures: tuple[Measure, ...], *numbers: Numbers) -> list[Measure]:
    """Return the measures that have a value in some of these numbers."""
    return [m for m in measures if any(own.value(m.name) is not None for own in numbers)]
