"""Linear probes (Table 1): classifiers at five depths of the frozen backbone, trained together. The best counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.measure.classifiers import DepthHeads, right_within, summed_loss
from orl_explorer.orl.multi_depth import depth_maps, depth_shapes, pool_depths
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.descent import Batches, Diverged, descend
from orl_explorer.train.evaluate.features import SPLITS, features_of
from orl_explorer.train.evaluate.folders import Labelled, class_folders, kept
from orl_explorer.train.evaluate.protocols import LinearConfig, Result
from orl_explorer.train.evaluate.views import Steps, centre, centre_batches, training_batches
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.distributed import choose_device
from orl_explorer.train.workspace import Workspace

Splits = tuple[Labelled, Labelled]
AT_ONCE = 256  # stored rows


def evaluate(
    workspace: Workspace, encoder: EncoderRow, data: str, config: LinearConfig, *, run_id: int, progress: Progress
) -> Result:
    """Return the accuracy of the best depth on the validation photos, ``top1`` and ``top5``; both by depth."""
    folder, device = workspace.run_folder(run_id), choose_device()
    splits = train, test = kept(folder, lambda: class_folders(data))
    network = load_encoder(workspace, encoder, str(device))
    torch.manual_seed(config.seed)
    heads = DepthHeads(depth_shapes(network.backbone, config.image_size), len(train.classes)).to(device)
    steps = Steps(len(train.files), config)
    if config.views == "centre":
        batches, measured = _stored(network, encoder, splits, heads, steps, folder, device, progress)
    else:
        batches, measured = _seen(network, splits, steps, device)

    progress.phase("Training classifiers", steps.total)
    try:
        groups = [{"params": list(heads.parameters()), "lr": config.rate}]
        descend(heads.train(), groups, batches, summed_loss, steps, config.gamma, folder, progress, nesterov=True)
    except Diverged as error:
        raise UserError(f"The loss is not finite at rate = {config.rate:g}. Try a lower rate.") from error

    progress.phase("Classifying", len(test.files))
    right = torch.zeros(2, len(heads.shapes))
    with torch.no_grad():
        heads.eval()
        for pooled, labels in measured:
            for depth, scores in enumerate(heads(pooled)):
                for row, k in enumerate((1, 5)):
                    right[row, depth] += right_within(scores, labels, k).sum().item()
            progress.advance(len(labels))
    top1, top5 = (right / len(test.files)).tolist()
    best = max(range(len(top1)), key=top1.__getitem__)
    names = [str(depth + 1) for depth in range(len(top1))]
    numbers = {"top1": top1[best], "top5": top5[best], "best_depth": float(best + 1), "photos": float(len(test.files))}
    values = {"top1": dict(zip(names, top1, strict=True)), "top5": dict(zip(names, top5, strict=True))}
    notes = ["The depth was chosen on the validation photos, as for the published numbers."]
    return Result(numbers, values, notes)


def _seen(
    network: EncoderNetwork, splits: Splits, steps: Steps, device: torch.device
) -> tuple[Batches, Iterator[tuple[list[Tensor], Tensor]]]:
    """Return batches of pooled maps whose views differ in every epoch."""
    train, test = splits
    config = steps.config
    assert isinstance(config, LinearConfig)

    def pooled(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return pool_depths(depth_maps(network.backbone, images), config.image_size)

    def training(first: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        for images, labels in training_batches(train, config.views, steps, first, network.statistics, device):
            yield pooled(images), labels

    def measured() -> Iterator[tuple[list[Tensor], Tensor]]:
        for images, labels in centre_batches(test, config, network.statistics, device):
            yield pooled(images), labels

    return training, measured()


def _stored(
    network: EncoderNetwork,
    encoder: EncoderRow,
    splits: Splits,
    heads: DepthHeads,
    steps: Steps,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> tuple[Batches, Iterator[tuple[list[Tensor], Tensor]]]:
    """Return batches of pooled maps of centre crops, computed once and kept in the run's folder."""
    train_rows, test_rows = (
        features_of(
            folder,
            name,
            split.files,
            sum(channels * cells**2 for channels, cells in heads.shapes),
            encoder=encoder.name,
            weights_sha256=encoder.weights_sha256,
            view=lambda file: centre(file, steps.config.image_size),
            forward=network.embed_depths,
            device=str(device),
            progress=progress,
        )
        for name, split in zip(SPLITS, splits, strict=True)
    )
    train, test = (torch.from_numpy(split.labels) for split in splits)

    def training(first: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        for step in range(first, steps.total):
            batch = steps.batch(step)
            yield heads.split(torch.from_numpy(train_rows[batch]).to(device)), train[batch].to(device)

    def measured() -> Iterator[tuple[list[Tensor], Tensor]]:
        for start in range(0, len(test), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield heads.split(torch.tensor(test_rows[part]).to(device)), test[part].to(device)

    return training, measured()
