"""Linear SVMs on a few positives of each class of VOC07 (Fig. 3): mean and deviation of mAP over seeded samples.

For each k, the reference chooses the cost with the largest mAP on the test split, averaged over the samples. This
module reports that mAP and a second one, whose cost is chosen for each sample on the training photos that it did not
draw. The second uses no label of a test photo.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.measure.svm import COSTS
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.features import keep_array
from orl_explorer.train.evaluate.folders import kept, voc_splits
from orl_explorer.train.evaluate.machines import LowShotJob, fit_low_shot
from orl_explorer.train.evaluate.parts import KeptParts, in_processes
from orl_explorer.train.evaluate.protocols import LowShotConfig, Result
from orl_explorer.train.evaluate.voc07_svm import cells_of
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace


def evaluate(
    workspace: Workspace, encoder: EncoderRow, data: str, config: LowShotConfig, *, run_id: int, progress: Progress
) -> Result:
    """Return mAP averaged over all k, ``reference_map`` and ``clean_map``, and mean and standard deviation for each k.

    Raises UserError if a class has no positive, or no photo is left to choose the cost on.
    """
    folder = workspace.run_folder(run_id)
    train, test = kept(folder, lambda: voc_splits(data, config.train_split, config.test_split))
    for split, name in ((train, config.train_split), (test, config.test_split)):
        empty = [c for i, c in enumerate(split.classes) if not (split.labels[:, i] > 0).any()]
        if empty:
            raise UserError(f"No photo of {name} shows {', '.join(empty)}. Low-shot needs every class in both splits.")
    learn, measure = cells_of(workspace, encoder, config, (train, test), folder, progress)

    files = {name: folder / f"{name}.npy" for name in ("learn", "measure")}
    for file, array in zip(files.values(), (learn, measure), strict=True):
        keep_array(array, file)
    parts = KeptParts(folder)
    jobs = [
        LowShotJob(
            f"k {k}, sample {sample}, {name}",
            str(files["learn"]),
            str(files["measure"]),
            train.labels[:, c],
            test.labels[:, c],
            k,
            (config.seed, k, sample, c),
        )
        for k in config.ks
        for sample in range(config.samples)
        for c, name in enumerate(train.classes)
    ]
    todo = [job for job in jobs if job.name not in parts]
    progress.phase("Fitting low-shot SVMs", len(todo))
    with closing(in_processes(fit_low_shot, todo, config.workers, progress)) as all_found:
        for found in all_found:
            parts.add(found.name, {"test": found.test.tolist(), "rest": found.rest.tolist()})
            progress.advance()
    for file in files.values():
        file.unlink()

    shape = (len(config.ks), config.samples, len(train.classes), len(COSTS))
    tested = np.array([parts[job.name]["test"] for job in jobs]).reshape(shape)
    rest = np.array([parts[job.name]["rest"] for job in jobs]).reshape(shape)
    return summarise(tested, rest, config)


def summarise(tested: np.ndarray, rest: np.ndarray, config: LowShotConfig) -> Result:
    """Choose one cost for all classes in both ways, and return mean and deviation of mAP over the samples.

    tested, rest: float64 [k, sample, class, cost], average precision on the test split and on the training photos that
    were not drawn. rest is NaN if no positive was left.
    """
    by_cost = tested.mean(axis=2)  # mAP of every k, sample and cost
    if np.isnan(rest).all(axis=(2, 3)).any():
        raise UserError("A sample drew all positives, so none is left to choose the cost on. Use smaller ks.")
    chosen = np.nanmean(rest, axis=2).argmax(axis=2)
    of_all = np.broadcast_to(by_cost.mean(axis=1).argmax(axis=1)[:, None], chosen.shape)
    ways = {
        way: np.take_along_axis(by_cost, costs[..., None], 2)[..., 0]
        for way, costs in (("reference", of_all), ("clean", chosen))
    }
    numbers, values = {}, {}
    for way, maps in ways.items():
        numbers[f"{way}_map"] = float(maps.mean())
        values[f"{way}_mean"] = {str(k): float(v) for k, v in zip(config.ks, maps.mean(axis=1), strict=True)}
        values[f"{way}_std"] = {str(k): float(v) for k, v in zip(config.ks, maps.std(axis=1), strict=True)}
    notes = [
        "reference: one cost for each k, with the largest mAP on the test photos, averaged over the samples.",
        "clean: one cost for each sample, with the largest mAP on the training photos that it did not draw.",
    ]
    return Result(numbers, values, notes)
