"""Mine annotated photos with encoders, by the presets, and print the rows of the table of quality.

    python benchmarks/encoders.py --encoder starter --encoder timm:vit_small_patch14_reg4_dinov2.lvd142m \\
        --photos VOCdevkit/VOC2007

--encoder is a source of `orl encoders add`, and --photos a folder of VOC or COCO. Nothing is kept unless --workspace
names a folder, which a second call continues.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich import print as show
from rich.table import Table

from orl_explorer import open_workspace

MEASURES = {  # of `Measures`, and their headings; those that a version does not have are left out
    "corloc": "CorLoc, %",
    "query_is_object": "query is object, %",
    "same_class": "pair of one class, %",
    "recall": "objects recalled, %",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", required=True, help="source; may be repeated")
    parser.add_argument("--photos", type=Path, action="append", required=True, help="folder; may be repeated")
    parser.add_argument("--preset", action="append", help="default: paper and object")
    parser.add_argument("--layer", type=int)
    parser.add_argument("--pooling", choices=("mean", "class", "head"))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--workspace", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measured(arguments, arguments.workspace or Path(temporary) / "workspace")


def measured(arguments: argparse.Namespace, folder: Path) -> None:
    """Mine all combinations and print the table."""
    table, headings = Table(), ("photos", "encoder", "preset", "ms a photo", "pairs")
    rows: list[tuple[list[str], dict[str, float]]] = []
    with open_workspace(folder) as workspace:
        for photos in arguments.photos:
            dataset = workspace.ingest(photos, name=photos.name.lower())
            for source in arguments.encoder:
                encoder = workspace.add_encoder(source, layer=arguments.layer, pooling=arguments.pooling)
                for preset in arguments.preset or ("paper", "object"):
                    start = time.perf_counter()
                    name = f"{dataset.name}-{encoder.name}-{preset}"
                    mined = workspace.mine(dataset, encoder, name, preset=preset, precision=arguments.precision)
                    cost = 1000 * (time.perf_counter() - start) / max(1, mined.image_count)
                    facts = [photos.name, encoder.name, preset, f"{cost:.0f}", f"{mined.pair_count:,}"]
                    rows.append((facts, workspace.quality(mined)))
    known = [name for name in MEASURES if any(name in quality for _, quality in rows)]
    for heading in (*headings, *(MEASURES[name] for name in known)):
        table.add_column(heading)
    for facts, quality in rows:
        table.add_row(*facts, *(f"{100 * quality[name]:.1f}" if name in quality else "–" for name in known))
    show(table)


if __name__ == "__main__":
    main()
