"""The share of an encoder's pairs that show objects of one class, among boxes that do not depend on the encoder."""

from __future__ import annotations

import numpy as np

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.evaluate.protocols import CorrespondenceConfig, Result
from orl_explorer.train.lost import tell_left_out
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embed import embed_images
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.sweep import sweep
from orl_explorer.train.photos import Photos, known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.distributed import choose_device
from orl_explorer.train.workspace import Workspace


def evaluate(
    workspace: Workspace,
    encoder: EncoderRow,
    data: str,
    config: CorrespondenceConfig,
    *,
    run_id: int,
    progress: Progress,
) -> Result:
    """Return the quality of pairs between seeded queries and their neighbours: ``same_class`` and all other measures.

    data: an annotated dataset whose raw boxes are in the store. Missing features of photos are computed and kept.
    Raises UserError.
    """
    dataset = dataset_named(workspace.store, data)
    tell_left_out(dataset, progress)
    features = Features(workspace, encoder, str(choose_device()))
    photos, images = Photos.of(workspace.store, dataset.id), known_photos(workspace, dataset, progress)
    images = embed_images(features, images, photos, progress)
    queries = len(images) - int(np.isin([image.id for image in images], kept_out(workspace.store, dataset.id)).sum())
    mining = MineConfig(
        neighbors=config.neighbors,
        pair_ratio=config.pair_ratio,
        proposals=config.proposals,
        proposal_scale=config.proposal_scale,
        segment_size=config.segment_size,
    )
    [cell] = sweep(
        workspace, data, encoder.name, {}, base=mining, sample=config.queries, seed=config.seed, progress=progress
    )
    measures = {name: float(value) for name, value in cell.measures.items()}
    chances = {name.removesuffix("_chance") for name in measures if name.endswith("_chance")}
    values = {
        "measure": {name: measures[name] for name in measures if name in chances},
        "by_chance": {name: measures[f"{name}_chance"] for name in measures if name in chances},
    }
    return Result(measures | {"queries": float(min(config.queries, queries))}, values)
