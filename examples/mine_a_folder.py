"""Mine a folder of photos, list the best pair of each query photo, and draw the best of all.

python examples/mine_a_folder.py ~/photos --workspace my-workspace --neighbors 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

import orl_explorer as orl


def main() -> None:
    parser = argparse.ArgumentParser(description="Mine a folder of photos.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--neighbors", type=int, default=10)
    parser.add_argument("--proposal-scale", type=float, default=1.0, help="0.5 is five times as fast")
    arguments = parser.parse_args()

    with orl.open_workspace(arguments.workspace) as workspace:
        dataset = workspace.ingest(arguments.photos)
        encoder = workspace.add_encoder("starter")
        found = workspace.mine(
            dataset,
            encoder,
            f"{dataset.name}-starter",
            preset="object",
            neighbors=arguments.neighbors,
            proposal_scale=arguments.proposal_scale,
        )

        pairs = workspace.pairs(found)
        best = pairs.sort_values("similarity", ascending=False).groupby("query_path", observed=True).head(1)
        print(best[["query_path", "key_path", "similarity", "cycle"]].head(10).to_string(index=False))

        top = best.iloc[0]
        figure = workspace.draw_pairs(found, top["query_path"], neighbor=top["neighbor_rank"], most=3)
        picture = workspace.path / "best-pairs.png"
        figure.savefig(picture)
        print(f"{len(pairs)} pairs of {found.image_count} photos. Saved {picture}")


if __name__ == "__main__":
    main()
