"""Semi-supervised learning (Table 2): fine-tune the whole network on few labels, over a grid of learning rates."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch.nn import functional as F

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.backbones import build_backbone, normalisation
from orl_explorer.orl.measure.classifiers import Classifier, right_within
from orl_explorer.train.encoders.weights import stored_weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.descent import Diverged, descend
from orl_explorer.train.evaluate.folders import Labelled, class_folders, kept
from orl_explorer.train.evaluate.parts import KeptParts
from orl_explorer.train.evaluate.protocols import Result, SemiConfig
from orl_explorer.train.evaluate.views import Statistics, Steps, centre_batches, training_batches
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.distributed import choose_device
from orl_explorer.train.workspace import Workspace


def evaluate(
    workspace: Workspace, encoder: EncoderRow, data: str, config: SemiConfig, *, run_id: int, progress: Progress
) -> Result:
    """Return the accuracy of the best cell of the grid on the validation photos, ``top1`` and ``top5``; both by cell.

    Raises UserError if the list of photos does not match the folder.
    """
    folder = workspace.run_folder(run_id)
    notes = [_how_drawn(config), "The rates were chosen on the validation photos, as for the published numbers."]

    def gather() -> tuple[Labelled, Labelled]:
        train, test = class_folders(data)
        return draw_labelled(train, config), test

    train, test = kept(folder, gather)
    weights = stored_weights(workspace, encoder)
    statistics = _trainable(encoder)
    steps, device, parts = Steps(len(train.files), config), choose_device(), KeptParts(folder)
    cells = [(rate, faster) for rate in config.rates for faster in config.head_multipliers]
    for number, (rate, faster) in enumerate(cells):
        name, cell = _name(rate, faster), folder / f"cell-{number + 1}"
        if name in parts:
            continue
        progress.phase(f"Tuning {number + 1} of {len(cells)}: {name}", steps.total)
        torch.manual_seed(config.seed)
        model = Classifier(encoder.architecture, weights.backbone, len(train.classes))
        model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        groups = [
            {"params": list(model.backbone.parameters()), "lr": rate},
            {"params": list(model.head.parameters()), "lr": rate * faster},
        ]
        try:
            descend(
                model,
                groups,
                lambda first: training_batches(train, "crop", steps, first, statistics, device),
                F.cross_entropy,
                steps,
                config.gamma,
                cell,
                progress,
                nesterov=False,
                reported=number * steps.total,
            )
            found = _measure(model, test, config, statistics, device, progress)
        except Diverged:
            progress.log(f"{name}: the loss is not finite. The cell counts as 0.")
            found = [0.0, 0.0]
        parts.add(name, found)
        shutil.rmtree(cell, ignore_errors=True)
    return _summary(cells, parts, train, test, notes)


def draw_labelled(train: Labelled, config: SemiConfig) -> Labelled:
    """Return the listed photos, or without a list a seeded share of each class, at least one. Raises UserError."""
    if config.list_file:
        chosen = _listed(train, Path(config.list_file).expanduser())
    else:
        rng = np.random.default_rng(config.seed)
        each = [np.flatnonzero(train.labels == c) for c in range(len(train.classes))]
        some = [rng.choice(own, max(1, round(config.fraction * len(own))), replace=False) for own in each if len(own)]
        chosen = np.sort(np.concatenate(some))
    if len(chosen) < 2:
        raise UserError(f"{len(chosen)} photo is too few to fine-tune a network. Use a larger fraction.")
    return Labelled([train.files[i] for i in chosen.tolist()], train.labels[chosen], train.classes)


def _listed(train: Labelled, file: Path) -> np.ndarray:
    """Return the positions of listed photos. A line begins with the end of a path; the rest is ignored."""
    try:
        names = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {file}: {error}.") from error
    position: dict[str, int] = {}
    count: Counter[str] = Counter()
    above = len(PurePosixPath(os.path.commonpath(train.files)).parts)
    for i, path in enumerate(train.files):
        parts = PurePosixPath(path).parts
        for name in ("/".join(parts[start:]) for start in range(min(above, len(parts) - 2), len(parts))):
            position[name] = i
            count[name] += 1
    unknown = [name for name in names if name not in position]
    if unknown or not names:
        raise UserError(
            f"{file} lists {unknown[0]}, which is not in train/." if unknown else f"{file} lists no photos."
        )
    several = next((name for name in names if count[name] > 1), None)
    if several is not None:
        raise UserError(f"{file} lists {several}, of which train/ has {count[several]}. Write it as CLASS/{several}.")
    return np.array(sorted({position[name] for name in names}))


def _how_drawn(config: SemiConfig) -> str:
    if config.list_file:
        return f"Trained on the photos listed in {config.list_file}."
    return f"Trained on a sample of {config.fraction:.0%} of each class (seed {config.seed}), not on a published list."


def _trainable(encoder: EncoderRow) -> Statistics:
    """Return the mean and deviation of RGB that an encoder expects. Raises UserError if it cannot be fine-tuned."""
    try:
        with torch.device("meta"):
            build_backbone(encoder.architecture)
        return normalisation(encoder.architecture)
    except ValueError as error:
        raise UserError(
            f"The encoder '{encoder.name}' cannot be fine-tuned: {error} Use a protocol with a frozen encoder, such as "
            "knn or linear."
        ) from error


def _measure(
    model: Classifier,
    test: Labelled,
    config: SemiConfig,
    statistics: Statistics,
    device: torch.device,
    progress: Progress,
) -> list[float]:
    progress.phase("Classifying", len(test.files))
    right = [0, 0]
    with torch.no_grad():
        model.eval()
        for images, labels in centre_batches(test, config, statistics, device):
            scores = model(images)
            for i, k in enumerate((1, 5)):
                right[i] += int(right_within(scores, labels, k).sum())
            progress.advance(len(labels))
    return [count / len(test.files) for count in right]


def _name(rate: float, faster: float) -> str:
    return f"rate {rate:g}, head x {faster:g}"


def _summary(
    cells: list[tuple[float, float]], parts: KeptParts, train: Labelled, test: Labelled, notes: list[str]
) -> Result:
    names = [_name(*cell) for cell in cells]
    values = {f"top{k}": {name: parts[name][i] for name in names} for i, k in enumerate((1, 5))}
    best = max(range(len(cells)), key=lambda i: values["top1"][names[i]])
    rate, faster = cells[best]
    numbers = {
        "top1": values["top1"][names[best]],
        "top5": values["top5"][names[best]],
        "best_rate": rate,
        "best_head_multiplier": faster,
        "labelled_photos": float(len(train.files)),
        "photos": float(len(test.files)),
    }
    return Result(numbers, values, notes)
