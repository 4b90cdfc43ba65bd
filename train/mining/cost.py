"""Estimate of the time and disk space that a mining run needs. Imports no torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache

from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.runs.runs import latest_metrics, runs
from orl_explorer.db.store import Store
from orl_explorer.orl.architectures import FORWARD, UNKNOWN
from orl_explorer.orl.pixels import ATTENTION_COARSE, ATTENTION_SIZE, INPUT_SIZE
from orl_explorer.orl.selective_search.readiness import is_compiled
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embeddings import FeatureKind
from orl_explorer.train.mining.features import widths_of

ASSUMED = 25.0  # 10^9 operations per second and core, if no run on this machine has measured it
ROIS, OPENCV, COMPILED = "rois_per_second", "proposals_per_second", "compiled_proposals_per_second"  # metrics of a run
LITE = 0.8  # 10^9 operations of the starter's network at 224 pixels, as in ``FORWARD``
SEARCHED = {OPENCV: 1.0, COMPILED: 7.0}  # photos per second and core by selective search at full size
MATCHED = 125.0  # photos per second for everything else, see docs/performance.md
ROW = 46  # bytes of a row of roi, candidate or pair in a store of COCO's size
BOX = 8  # bytes of a raw box
ONE_PASS = (ATTENTION_SIZE / INPUT_SIZE) ** 2  # cost of a whole photo's map, in RoIs
MAP = (1 + ATTENTION_COARSE**2) * ONE_PASS  # of an attention map


@dataclass(frozen=True)
class MiningWork:
    """Work of a mining run: photos to match; what to compute and to write.

    To compute: proposals by selective search, attention maps, RoIs, and boxes on maps, of so many photos.
    """

    photos: int
    proposals: int
    maps: int
    rois: int
    rows: int
    raw_boxes: int
    map_boxes: int = 0


@dataclass(frozen=True)
class MiningCost:
    """Estimated cost of a mining run.

    seconds: of the whole run. measured: whether earlier runs measured the speed of the longest phase.
    disk_bytes: of new features and rows.
    """

    seconds: float
    measured: bool
    disk_bytes: int


def estimate_mining(store: Store, encoder: Encoder, config: MineConfig, work: MiningWork) -> MiningCost:
    """Estimate the cost of a mining run from the speed of the newest runs with the same kind of work.

    With an accelerator it may take less, because it embeds while the processor searches.
    """
    cores = os.cpu_count() or 1
    mined = [run for run in runs(store) if run.kind == "mine"]
    embedding = _rate(store, [r for r in mined if r.encoder_id == encoder.id and _same(r, config, "precision")], ROIS)
    searched = [r for r in mined if _same(r, config, "proposal_scale") and _same(r, config, "segment_size")]
    searching = _rate(store, searched, proposals_metric())
    operations, map_cost, pass_cost = _operations(encoder)
    as_rois = work.rois + map_cost * work.maps + pass_cost * work.map_boxes
    embed = as_rois / (embedding or ASSUMED * cores / operations)
    search = work.proposals / (searching or SEARCHED[proposals_metric()] * cores / config.proposal_scale**2)
    decisive = embedding if embed >= search else searching
    nothing_long = not (work.rois or work.maps or work.map_boxes or work.proposals)
    widths = widths_of(encoder)
    counts: dict[FeatureKind, int] = {
        "rois": work.rois,
        "attention-and-looks": work.maps,
        "map-boxes": work.map_boxes,
    }
    features = sum(count * (4 * widths[kind] + 8) for kind, count in counts.items())  # float32, and a key
    return MiningCost(
        seconds=embed + search + work.photos / MATCHED,
        measured=nothing_long or decisive is not None,
        disk_bytes=features + work.rows * ROW + work.raw_boxes * BOX,
    )


def _operations(encoder: Encoder) -> tuple[float, float, float]:
    """Return the 10^9 operations of a RoI, and the cost in RoIs of an attention map and of one pass of a whole photo.

    From a table, or counted.
    """
    known = LITE if "lite0" in encoder.architecture else FORWARD.get(encoder.architecture)
    if known is not None and encoder.reading is None:
        return known, MAP, ONE_PASS
    if encoder.kind == VECTORS:
        return FORWARD[UNKNOWN], MAP, ONE_PASS
    from orl_explorer.orl.measured import FAILURES

    try:
        return _counted(encoder.architecture, json.dumps(encoder.reading))
    except FAILURES:  # its library is missing, which the run says
        return FORWARD[UNKNOWN], MAP, ONE_PASS


@lru_cache(maxsize=16)  # a page asks again at every change of any setting
def _counted(architecture: str, stored: str) -> tuple[float, float, float]:
    from orl_explorer.orl.operations import of_reading
    from orl_explorer.orl.reading import Reading, rounded

    read = json.loads(stored)
    reading = Reading.of(read)
    coarse = rounded(ATTENTION_COARSE * reading.photo_size, reading.multiple)
    sides = reading.crop_size, reading.photo_size, coarse
    crop, photo, small = of_reading(architecture, None if read is None else reading, sides)
    return crop, (photo + small) / crop, photo / crop


def proposals_metric() -> str:
    """Return the name of the metric that tells how many photos per second selective search takes from now on."""
    return COMPILED if is_compiled() else OPENCV


def _same(run: Run, config: MineConfig, setting: str) -> bool:
    return run.params.get("config", {}).get(setting) == getattr(config, setting)


def _rate(store: Store, newest_first: list[Run], name: str) -> float | None:
    for run in newest_first:
        rate = latest_metrics(store, run.id).get(name)
        if rate:
            return rate
    return None
