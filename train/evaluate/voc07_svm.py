"""Linear SVMs on VOC07 (Table 1): features of 2 x 2 cells, one cost per class, mAP on the test split."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.measure.average_precision import interval
from orl_explorer.orl.measure.svm import decide, in_span
from orl_explorer.orl.pixels import resize_short_side, squeeze
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.features import SPLITS, crops_of, features_of, keep_array, read_photo
from orl_explorer.train.evaluate.folders import Labelled, kept, voc_splits
from orl_explorer.train.evaluate.machines import ClassJob, fit_class
from orl_explorer.train.evaluate.parts import KeptParts, in_processes
from orl_explorer.train.evaluate.protocols import Result, SVMConfig, VOCConfig
from orl_explorer.train.evaluate.scores import Scores
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.distributed import choose_device
from orl_explorer.train.workspace import Workspace

CELLS = 2  # per side


def evaluate(
    workspace: Workspace, encoder: EncoderRow, data: str, config: SVMConfig, *, run_id: int, progress: Progress
) -> Result:
    """Return mAP of linear SVMs on frozen features, ``map``, its 95 % interval, and AP and cost of each class.

    Raises UserError if the test photos show none of the classes.
    """
    folder = workspace.run_folder(run_id)
    train, test = kept(folder, lambda: voc_splits(data, config.train_split, config.test_split))
    learn, measure = cells_of(workspace, encoder, config, (train, test), folder, progress)

    coordinates, basis = in_span(learn)
    rows = folder / "coordinates.npy"
    keep_array(coordinates, rows)
    parts = KeptParts(folder)
    targets = np.where(train.labels > 0, 1, -1)  # difficult photos are negatives here
    jobs = [
        ClassJob(name, str(rows), targets[:, c], config.seed)
        for c, name in enumerate(train.classes)
        if name not in parts
    ]
    progress.phase("Fitting SVMs", len(jobs))
    # Scores are kept instead of machines, because only the scores are used later.
    shown = measure.astype(np.float64) if basis is None else measure @ basis
    with closing(in_processes(fit_class, jobs, config.workers, progress)) as all_fitted:
        for fitted in all_fitted:
            scores = decide(shown, fitted.machine)
            found = {"scores": scores.tolist(), "cost": fitted.cost, "validated": fitted.validated.tolist()}
            parts.add(fitted.name, found)
            progress.advance()
    rows.unlink()
    return _measured(train.classes, Scores.kept_in(folder), parts, config, progress)


def cells_of(
    workspace: Workspace,
    encoder: EncoderRow,
    config: VOCConfig,
    splits: tuple[Labelled, Labelled],
    folder: Path,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of both splits in 2 x 2 cells: float32 [n, 4 C], unit rows.

    Photos are resized to a short side of 256 and then squashed to 224 x 224, as in the reference, to the encoder's
    size of crops, or to that of the settings.
    """
    device = str(choose_device())
    network = load_encoder(workspace, encoder, device)
    side = crops_of(network.reading, config.crop_size).crop_size
    train, test = (
        features_of(
            folder,
            name,
            split.files,
            network.channels * CELLS**2,
            encoder=encoder.name,
            weights_sha256=encoder.weights_sha256,
            view=lambda file: squeeze(resize_short_side(read_photo(file)), side),
            forward=lambda pixels: network.embed_cells(pixels, CELLS),
            device=device,
            progress=progress,
        )
        for name, split in zip(SPLITS, splits, strict=True)
    )
    return train, test


def _measured(classes: list[str], found: Scores, parts: KeptParts, config: SVMConfig, progress: Progress) -> Result:
    names = found.classes
    if not names:
        raise UserError(f"No photo of {config.test_split} shows any of the classes.")
    each = found.average_precisions()
    numbers = {"map": float(np.mean(each)), "photos": float(len(found.labels))}
    values = {"ap": dict(zip(names, each, strict=True)), "cost": {n: parts[n]["cost"] for n in names}}
    values["validated_ap"] = {n: max(parts[n]["validated"]) for n in names}
    if config.bootstrap:
        progress.phase("Drawing test photos", 1)
        draws = found.draws(config.bootstrap, config.seed)
        numbers["map_low"], numbers["map_high"] = interval(np.nanmean(draws, axis=1))
        ends = [interval(draws[:, c]) for c in range(len(names))]
        values["ap_low"] = dict(zip(names, (low for low, _ in ends), strict=True))
        values["ap_high"] = dict(zip(names, (high for _, high in ends), strict=True))
        progress.advance()
    missing = [name for name in classes if name not in names]
    notes = [f"No photo of {config.test_split} shows {', '.join(missing)}; the mean skips them."] if missing else []
    return Result(numbers, values, notes)
