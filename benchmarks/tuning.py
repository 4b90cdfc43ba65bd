"""Measure how long the Tune page takes to update after a change of one setting, on a sample of a set's queries.

    python benchmarks/tuning.py --workspace DIR --set demo-starter --sample 24

Changes random settings one at a time to values of their sliders, and computes all numbers of the page after each
change. RoIs without a feature are left out, as on the page.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich import print as show
from rich.table import Table

from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.tuning import tuner
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.settings import slider
from orl_explorer.train.workspace import open_workspace


def main() -> None:
    """Measure the changes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--set", default="demo-starter")
    parser.add_argument("--sample", type=int, default=24)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workspace, rng = open_workspace(arguments.workspace), np.random.default_rng(arguments.seed)
    mined = complete_set_named(workspace.store, arguments.set)
    encoder = encoder_by_id(workspace.store, mined.encoder_id)
    subject = PreviewSubject(workspace, mined, dataset_by_id(workspace.store, mined.dataset_id), encoder)
    begun = time.perf_counter()
    found = tuner(subject, arguments.sample, 0)
    config = MineConfig.of(mined)
    found.numbers(config)
    measured = len(found.saved[1].measures)
    first = time.perf_counter() - begun
    taken: dict[str, list[float]] = {}
    slid = [name for name, field in MineConfig.model_fields.items() if field.annotation in (int, float)]
    slid.remove("proposal_scale")  # other scales need mining
    for _ in range(arguments.changes):
        name = slid[rng.integers(len(slid))]
        least, most, by = slider(MineConfig, name)
        if name == "object_weight" and found.unmapped(config.model_copy(update={name: 1.0})):
            continue
        steps = round((most - least) / by)
        value = type(getattr(config, name))(round(least + by * int(rng.integers(steps + 1)), 4))
        config = config.model_copy(update={name: value})
        begun = time.perf_counter()
        found.numbers(config)
        taken.setdefault(name, []).append(1000 * (time.perf_counter() - begun))
    table = Table("changed", "times", "p50, ms", "p95, ms", title=f"{arguments.set}: {len(found.queries)} queries")
    for name, each in [*taken.items(), ("any", [t for times in taken.values() for t in times])]:
        table.add_row(name.replace("_", " "), str(len(each)), *(f"{np.quantile(each, q):.0f}" for q in (0.5, 0.95)))
    show(table)
    show(f"The page's first numbers, {measured} measures: {first:.2f} s.")


if __name__ == "__main__":
    main()
