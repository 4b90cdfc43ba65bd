"""Compare a stored set with the same set matched on features rounded to float16.

python research/feature_precision.py --workspace DIR --set NAME
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.photos import digests_of
from orl_explorer.db.sets.read import complete_set_named, neighbor_ids_of, rois_of
from orl_explorer.db.sets.write import matched_images
from orl_explorer.orl.matching import nearest_neighbors, top_pairs
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, roi_keys
from orl_explorer.train.workspace import open_workspace


def main() -> None:
    """Match again and print how many pairs and orders differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--set", default="demo-starter")
    arguments = parser.parse_args()
    workspace = open_workspace(arguments.workspace)
    mined = complete_set_named(workspace.store, arguments.set)
    encoder = encoder_by_id(workspace.store, mined.encoder_id)
    config = MineConfig.of(mined)
    stored = Features(workspace, encoder)
    ids = np.array(sorted(matched_images(workspace.store, mined.id)))

    whole = stored.images.get(digests_of(workspace.store, ids))
    exact, rounded = (nearest_neighbors(v, ids, config.neighbors).ids for v in (whole, _half(whole)))
    neighbors = int((exact != rounded).any(axis=1).sum())

    rois = rois_of(workspace.store, mined.id, ids.tolist())
    digest = dict(zip(ids.tolist(), digests_of(workspace.store, ids).tolist(), strict=True))
    vectors = {i: stored.rois.get(roi_keys(digest[i], found.boxes)) for i, found in rois.items()}
    pairs = lost = lists = reordered = 0
    for query, keys in neighbor_ids_of(workspace.store, mined.id, ids.tolist()).items():
        for key in keys:
            kept = top_pairs(vectors[query], vectors[key], config.pair_ratio, config.min_similarity)
            again = top_pairs(_half(vectors[query]), _half(vectors[key]), config.pair_ratio, config.min_similarity)
            before, after = (list(zip(p.query, p.key, strict=True)) for p in (kept, again))
            pairs, lost = pairs + len(before), lost + len(set(before) - set(after))
            lists, reordered = lists + 1, reordered + (before != after)
    print(f"pairs that fall out                 {lost} of {pairs}")
    print(f"lists of pairs in another order     {reordered} of {lists}")
    print(f"lists of neighbours in another order {neighbors} of {len(ids)}")


def _half(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float16).astype(np.float32)


if __name__ == "__main__":
    main()
