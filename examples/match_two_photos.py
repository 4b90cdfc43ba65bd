"""Match the regions of two photos, and save a picture of the best pairs. Needs no workspace.

python examples/match_two_photos.py first.jpg second.jpg --out pairs.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import orl_explorer as orl


def main() -> None:
    parser = argparse.ArgumentParser(description="Match the regions of two photos.")
    parser.add_argument("query", type=Path)
    parser.add_argument("key", type=Path)
    parser.add_argument("--encoder", default="starter", help="starter, torchvision:resnet50, or a checkpoint")
    parser.add_argument("--out", type=Path, default=Path("pairs.png"))
    arguments = parser.parse_args()

    found = orl.match_photos(arguments.query, arguments.key, arguments.encoder, pair_ratio=0.2)
    print(f"{len(found.query_rois)} and {len(found.key_rois)} RoIs, {len(found.pairs)} pairs")
    print(found.pairs.head().to_string(float_format="%.3f"))
    found.draw(most=5).savefig(arguments.out)
    print(f"Saved {arguments.out}")


if __name__ == "__main__":
    main()
