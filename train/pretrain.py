"""Stages 1 and 3 as functions: from photos, or from a correspondence set, to a registered encoder."""

from __future__ import annotations

import torch

from db.correspondences import complete_set_named
from db.models import Encoder as EncoderRow
from db.photos import dataset_by_id, dataset_named
from orl.bootstrap import Bootstrap
from orl.byol import BYOL
from orl.object_level import ORL
from train import weights
from train.config import TrainConfig
from train.data import ImageViews, RoiViews, correspondences, photo_files
from train.engine import fit
from train.progress import Progress
from train.workspace import Workspace


def pretrain(
    workspace: Workspace, dataset: str, name: str, config: TrainConfig, *, run_id: int, progress: Progress | None = None
) -> EncoderRow:
    """Stage 1: BYOL on whole photos, from random weights. Registers the online network as an encoder."""
    progress = progress or Progress()
    files = photo_files(workspace, dataset_named(workspace.store, dataset))
    progress.log(f"Stage 1 (BYOL) on {len(files)} photos of '{dataset}': {config.backbone}, seed {config.seed}.")
    torch.manual_seed(config.seed)
    method = BYOL(config.backbone, config.hidden, config.projection)
    fit(method, ImageViews(files, config), config, workspace.run_folder(run_id), progress)
    return _register(workspace, method, name, "stage1", run_id)


def train(
    workspace: Workspace,
    correspondence: str,
    name: str,
    config: TrainConfig,
    *,
    run_id: int,
    progress: Progress | None = None,
) -> EncoderRow:
    """Stage 3: ORL on a correspondence set, from random weights. Registers the online network as an encoder."""
    progress = progress or Progress()
    mined = complete_set_named(workspace.store, correspondence)
    found = correspondences(workspace, mined, dataset_by_id(workspace.store, mined.dataset_id))
    progress.log(
        f"Stage 3 (ORL) on the set '{correspondence}': {len(found.queries)} of {mined.image_count} photos have a pair, "
        f"{len(found.pairs)} pairs; {config.backbone}, seed {config.seed}."
    )
    torch.manual_seed(config.seed)
    lambdas = (config.image_weight, config.intra_weight, config.inter_weight)
    method = ORL(config.backbone, config.hidden, config.projection, lambdas)
    fit(method, RoiViews(found, config), config, workspace.run_folder(run_id), progress)
    return _register(workspace, method, name, "stage3", run_id)


def _register(workspace: Workspace, method: Bootstrap, name: str, kind: str, run_id: int) -> EncoderRow:
    """Save the online backbone and projector beside the run, ready for mining: the loop closes."""
    learned = weights.Weights(
        method.architecture,
        {k: v.cpu() for k, v in method.backbone.state_dict().items()},
        {k: v.cpu() for k, v in method.projector.state_dict().items()},
    )
    path = workspace.run_folder(run_id) / "encoder.pt"
    weights.save(learned, path)
    return weights.register(workspace, learned, path, name=name, kind=kind, source=f"run {run_id}", run_id=run_id)
