"""Compare mining settings on a dataset against its annotations, for the tables of docs/results.md.

    python research/settings_compared.py --workspace DIR --dataset voc07 --encoder starter --only val.txt

The dataset must have been mined once with the encoder and the preset ``paper``. Queries are a sample of the photos, or
of the photos listed in a file: a split that no setting was chosen on. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orl_explorer.train.mining.config import MINE_PRESETS, NO_MINIMUM
from orl_explorer.train.mining.sweep import sweep
from orl_explorer.train.workspace import open_workspace

PAIRS: dict[str, Any] = {  # as the preset object chose them before
    "object_weight": 0.1,
    "sparse_weight": 0.25,
    "pair_ratio": 0.5,
    "min_worth": NO_MINIMUM,
    "cover_photo": False,
}
BEFORE: dict[str, Any] = PAIRS | {
    "scored_by": "contrast",
    "object_weight": 0.25,
    "min_size": 96,
    "max_rois": 25,
    "spread_after": 1000,
}
SPREAD: dict[str, Any] = {"max_rois": 36, "spread_after": 16}
LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "**paper**": ("paper", {}),
    "K = 5": ("paper", {"neighbors": 5}),
    "K = 20": ("paper", {"neighbors": 20}),
    "N = 0.05": ("paper", {"pair_ratio": 0.05}),
    "N = 0.2": ("paper", {"pair_ratio": 0.2}),
    "min size 128": ("paper", {"min_size": 128}),
    "max aspect 2": ("paper", {"max_aspect": 2}),
    "max IoU 0.3": ("paper", {"max_iou": 0.3}),
    "first 25 RoIs, N = 0.5": ("paper", {"max_rois": 25, "pair_ratio": 0.5}),
    "objectness in pairs, λ = 0.25": ("paper", {"object_weight": 0.25}),
    "consistent pairs only": ("paper", {"consistent_only": True}),
    "ranked by objectness": ("paper", {"ranked_by": "objectness"}),
    "object as it was before": ("object", BEFORE),
    "… scored by layout, λ = 0.1": ("object", BEFORE | {"scored_by": "layout", "object_weight": 0.1}),
    "… 36 RoIs, spread after 16": ("object", BEFORE | SPREAD),
    "… 36 RoIs, spread after 16, min size 64": ("object", BEFORE | SPREAD | {"min_size": 64}),
    "… all of these": ("object", PAIRS | {"min_size": 64}),
    "… min size 48": ("object", PAIRS),
    "… λ = 0.2, μ = 0.5": ("object", PAIRS | {"object_weight": 0.2, "sparse_weight": 0.5}),
    "… N = 0.7": ("object", {"min_worth": NO_MINIMUM, "cover_photo": False}),
    "… min worth 0.8": ("object", {"cover_photo": False}),
    "**object**: … cover the photo": ("object", {}),
    "object, min worth 0.7": ("object", {"min_worth": 0.7}),
    "object, min worth 0.9": ("object", {"min_worth": 0.9}),
    "object, N = 0.1": ("object", {"pair_ratio": 0.1}),
    "object, N = 0.1, distinct pairs": ("object", {"pair_ratio": 0.1, "distinct_iou": 0.5}),
    "object, consistent pairs only": ("object", {"consistent_only": True}),
    "object, never spread": ("object", {"spread_after": 1000}),
    "annotated boxes as RoIs (Table 5d)": ("paper", {"proposals": "annotations", "fallback": "image"}),
}
MEASURES = {  # heading: name, and whether it is a share
    "RoIs": ("rois_per_image", False),
    "pairs": ("pairs_per_image", False),
    "distinct": ("distinct_pairs_per_image", False),
    "query is object": ("query_is_object", True),
    "same class": ("same_class", True),
    "chance": ("same_class_chance", True),
    "without person": ("same_class_no_person", True),
    "same class, object or part": ("same_class_or_part", True),
    "its chance": ("same_class_or_part_chance", True),
    "recall": ("recall", True),
    "CorLoc": ("corloc", True),
    "AR@10": ("ar_10", True),
    "AR@100": ("ar_100", True),
    "mBO": ("mbo", True),
    "cycle": ("cycle", True),
    "RoIs used": ("roi_coverage", True),
    "area used": ("area_coverage", True),
}


def main() -> None:
    """Measure every line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--encoder", default="starter")
    parser.add_argument("--precision", default="fp32", help="of the stored features")
    parser.add_argument("--only", type=Path, help="file that lists the photos to draw queries from")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--lines", nargs="+", help="texts of the lines to measure; by default all")
    arguments = parser.parse_args()
    workspace = open_workspace(arguments.workspace)
    names = arguments.only.read_text().split() if arguments.only else None
    print("|", " | ".join(["settings", *MEASURES]), "|")
    print("|---" * (len(MEASURES) + 1) + "|")
    for line, (preset, changes) in LINES.items():
        if arguments.lines and not any(text in line for text in arguments.lines):
            continue
        grid = {name: [value] for name, value in changes.items()}
        base = MINE_PRESETS[preset].model_copy(update={"precision": arguments.precision})
        (cell,) = sweep(
            workspace, arguments.dataset, arguments.encoder, grid, base=base, sample=arguments.sample, only=names
        )
        shown = [
            f"{100 * cell.measures[m]:.1f} %" if share else f"{cell.measures[m]:.1f}" for m, share in MEASURES.values()
        ]
        print("|", " | ".join([line, *shown]), "|", flush=True)


if __name__ == "__main__":
    main()
