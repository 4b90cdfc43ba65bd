"""Train an encoder on a correspondence set, and compare the pairs that it finds with those of the encoder before.

python examples/train_and_compare.py demo-starter --workspace workspace --epochs 20
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import orl_explorer as orl

MEASURES = ["cycle", "margin_p50", "roi_coverage", "query_is_object", "same_class"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on a correspondence set and compare encoders.")
    parser.add_argument("correspondence_set")
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()

    with orl.open_workspace(arguments.workspace) as workspace:
        name = arguments.correspondence_set
        settings = {"epochs": arguments.epochs, "batch_size": arguments.batch_size}
        trained = workspace.train(name, preset="small", **settings)
        before = workspace.quality(name)

        # Mine the same photos with the same settings, by the encoder that was just trained.
        mined = workspace.sets().set_index("name").loc[name]
        again = workspace.mine(mined["dataset"], trained, f"{name}-again", **mined["settings"])
        after = workspace.quality(again)

        columns = {mined["encoder"]: before, trained.name: after}
        table = pd.DataFrame(columns).reindex(MEASURES).dropna()
        print(table.to_string(float_format="%.3f"))


if __name__ == "__main__":
    main()
