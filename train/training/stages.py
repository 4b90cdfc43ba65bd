"""Stages 1 and 3 as functions: train an encoder on photos, or on a correspondence set, and register it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.lost import lost_images
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.photos import dataset_by_id, usable_images
from orl_explorer.db.sets.read import set_images, sets
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.dense import Dense, library_network
from orl_explorer.orl.densecl import DenseCL
from orl_explorer.orl.heads import head_of
from orl_explorer.orl.method import Method
from orl_explorer.orl.mls import MLS
from orl_explorer.orl.moco import MoCo
from orl_explorer.orl.multicrop import MultiCropBYOL
from orl_explorer.orl.orl_loss import ORL, ORLOverMoCo, ORLOverSimCLR
from orl_explorer.orl.pixels import CHANGED
from orl_explorer.orl.self_emd import SelfEMD
from orl_explorer.orl.simclr import SimCLR
from orl_explorer.orl.trainable import by_mean
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import file_problem, leave_out, present_photos, tell_left_out
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.provenance import add_to_attempt
from orl_explorer.train.run_folders import own_folder
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.data import ImageViews, RoiViews
from orl_explorer.train.training.distributed import Processes, joined_processes
from orl_explorer.train.training.engine import Check, fit, lower_precision
from orl_explorer.train.training.methods import (
    BASES,
    BYOLConfig,
    DenseCLConfig,
    MLSConfig,
    MultiCropConfig,
    ORLConfig,
    QueueConfig,
    SelfEMDConfig,
    SimCLRConfig,
)
from orl_explorer.train.training.milestones import Milestones, learned_weights
from orl_explorer.train.training.monitors import FeatureCheck, Probes
from orl_explorer.train.training.movement import Movement
from orl_explorer.train.training.start_from import refuse_unfit, saw_labels, start_encoder
from orl_explorer.train.training.trained_on import FILE, Correspondences, correspondences, photos_alone
from orl_explorer.train.workspace import Workspace


def pretrain(
    workspace: Workspace,
    dataset: Dataset,
    name: str,
    config: TrainConfig,
    *,
    run_id: int,
    progress: Progress | None = None,
) -> EncoderRow | None:
    """Train stage 1, or one of its baselines, on whole photos and register the encoder.

    Returns the encoder's row, or None in every process of ``torchrun`` but the first.
    """
    progress, folder = progress or Progress(), workspace.run_folder(run_id)
    with joined_processes() as processes:
        found = _kept(workspace, run_id, processes, lambda: _photos(workspace, dataset, progress))
        progress.log(
            f"Stage 1 ({config.title}) on {len(found.files)} photos of '{dataset.name}': {config.backbone}, "
            f"seed {config.seed}."
        )
        method = started_method(workspace, config, progress)
        views, on_gpu = method.views(config.image_size), processes.device.type == "cuda"
        data = ImageViews(found.files, views, config.seed, changed=not on_gpu, scale_blur=config.scale_blur)
        if processes.first:
            _record(folder, config, processes, {"dataset": dataset.name, "photos": len(found.files)})
        supervised = saw_labels(workspace, config.start_from, None)
        checks = [
            *_checks(workspace, dataset, method, config, run_id, supervised, progress),
            Probes(workspace, _newest_set(workspace, dataset), config, run_id, progress),
        ]
        fit(method, data, config, folder, progress, processes, checks)
        return _register(workspace, method, name, "stage1", run_id, supervised) if processes.first else None


def train(
    workspace: Workspace,
    mined: CorrespondenceSet,
    name: str,
    config: ORLConfig,
    *,
    run_id: int,
    progress: Progress | None = None,
) -> EncoderRow | None:
    """Train stage 3, ORL, on a correspondence set and register the encoder.

    Returns the encoder's row, or None in every process of ``torchrun`` but the first.
    """
    progress, folder = progress or Progress(), workspace.run_folder(run_id)
    dataset = dataset_by_id(workspace.store, mined.dataset_id)
    with joined_processes() as processes:
        found = _kept(workspace, run_id, processes, lambda: _pairs(workspace, mined, dataset, config, progress))
        progress.log(
            f"Stage 3 (ORL over {BASES[config.base].title}) on the set '{mined.name}': {len(found.queries)} of "
            f"{mined.image_count} photos have pairs, {len(found.pairs)} pairs in all; {config.backbone}, "
            f"seed {config.seed}."
        )
        method = started_method(workspace, config, progress)
        on_gpu = processes.device.type == "cuda"
        data = RoiViews(found, method.views(config.image_size), config, changed=not on_gpu)
        if processes.first:
            described = {"correspondence_set": mined.name, "params": mined.params, "pairs": len(found.pairs)}
            _record(folder, config, processes, described | {"pairs_sha256": found.digest()})
        supervised = saw_labels(workspace, config.start_from, mined)
        checks = [
            *_checks(workspace, dataset, method, config, run_id, supervised, progress),
            Probes(workspace, mined, config, run_id, progress),
        ]
        fit(method, data, config, folder, progress, processes, checks)
        return _register(workspace, method, name, "stage3", run_id, supervised) if processes.first else None


def _checks(
    workspace: Workspace,
    dataset: Dataset,
    method: Method,
    config: TrainConfig,
    run_id: int,
    supervised: bool,
    progress: Progress,
) -> list[Check]:
    """Return the checks that both stages have. Call it before the weights change."""
    return [
        Movement(method, config, progress),
        FeatureCheck(workspace, dataset.id, config, progress),
        Milestones(workspace.run_folder(run_id), config, supervised),
    ]


def _record(folder: Path, config: TrainConfig, processes: Processes, trained_on: dict[str, Any]) -> None:
    """Record settings, seed and data of a training, and the device, processes and threads of this attempt."""
    made = {"method": config.title, "seed": config.seed, "config": config.model_dump(), "trained_on": trained_on}
    where = {"device": str(processes.device), "processes": processes.size, "threads": torch.get_num_threads()}
    where["precision"] = str(lower_precision(config, processes.device) or torch.float32).removeprefix("torch.")
    add_to_attempt(folder, made, where)


def build_method(config: TrainConfig) -> Method:
    """Build the method of some settings, with random weights from torch's generator. Raises ValueError."""
    shape = config.backbone, config.hidden, config.projection
    match config:
        case BYOLConfig():
            return BYOL(*shape, config.target_momentum)
        case MultiCropConfig():
            return MultiCropBYOL(*shape, config.target_momentum, config.local_size, config.local_crops)
        case SimCLRConfig():
            return SimCLR(*shape, config.temperature)
        case SelfEMDConfig():
            return SelfEMD(*shape, config.target_momentum, config.dense_weight)
        case QueueConfig():
            return _with_queue(config)
        case ORLConfig():
            return _orl(config)
    raise ValueError(f"No method for {type(config).__name__}.")


def _with_queue(config: QueueConfig) -> Method:
    """Build MoCo v2, or a method that builds on it."""
    shape = config.backbone, config.hidden, config.projection
    shared = *shape, config.temperature, config.queue, config.key_momentum, config.norm_group
    match config:
        case DenseCLConfig():
            return DenseCL(*shared, config.dense_weight)
        case MLSConfig():
            return MLS(*shared, config.dictionary, config.pseudo_labels, config.label_weight)
    return MoCo(*shared)


def _orl(config: ORLConfig) -> Method:
    shape = config.backbone, config.hidden, config.projection
    lambdas = (config.image_weight, config.intra_weight, config.inter_weight)
    match config.base:
        case "byol":
            return ORL(*shape, config.target_momentum, lambdas)
        case "simclr":
            return ORLOverSimCLR(*shape, config.temperature, lambdas)
    return ORLOverMoCo(
        *shape, config.temperature, config.queue, config.key_momentum, config.norm_group, weights=lambdas
    )


def _newest_set(workspace: Workspace, dataset: Dataset) -> CorrespondenceSet | None:
    """Return the set whose photos and RoIs stage 1 probes."""
    return next((mined for mined in sets(workspace.store) if mined.dataset_id == dataset.id), None)


def started_method(workspace: Workspace, config: TrainConfig, progress: Progress) -> Method:
    """Return the method of a run with the weights that it starts from. Raises UserError."""
    torch.manual_seed(config.seed)
    try:
        method = build_method(config)
    except ValueError as error:
        raise UserError(str(error)) from error
    if config.start_from:
        _start_from(workspace, method, config.start_from, progress)
    refuse_unfit(config)
    method.adapt(config.freeze, config.layer_decay, config.batch_norms == "frozen", config.head_rate)
    return method


def _start_from(workspace: Workspace, method: Method, name: str, progress: Progress) -> None:
    """Replace random weights by an encoder's, in the slow network too. Raises UserError."""
    row = start_encoder(workspace, name, method.architecture)
    given = weights.stored_weights(workspace, row)
    _read_as(method, given, progress)
    try:
        library_network(method.backbone).load_state_dict(given.backbone)
    except RuntimeError as error:
        raise UserError(
            f"Invalid value for start_from: {name}. Its weights are not those of {given.architecture}."
        ) from error
    head = given.projector or {}
    shape = head_of(head)
    if same_head := shape == head_of(method.projector.state_dict()):
        method.projector.load_state_dict(head)
    method.keeps_projector = shape is not None and shape.kind != "linear"
    method.catch_up()
    had = "has none" if shape is None else "has a linear one, which belongs to its present features"
    left_out = "" if method.keeps_projector else f" The new encoder will have none, as '{name}' {had}."
    progress.log(f"Starting from the encoder '{name}' with {'its' if same_head else 'a new'} projector.{left_out}")


def _read_as(method: Method, given: weights.Weights, progress: Progress) -> None:
    """Read photos as the encoder does that a run starts from: size, mean and deviation. Raises UserError."""
    reading = given.reading
    if reading is None:
        return
    if reading.layer != reading.layers:
        raise UserError(
            f"Invalid value for start_from: the encoder is read at layer {reading.layer} of {reading.layers}, and a "
            "training uses the last. Add it again without --layer, under another name."
        )
    read = [backbone for backbone in method.backbones if isinstance(backbone, Dense)]
    for backbone in read:
        backbone.reading = by_mean(reading)
    if not read or reading.pooling != "mean":
        progress.log("The new encoder is read in the default way: its feature is the mean of the last map.")


def _photos(workspace: Workspace, dataset: Dataset, progress: Progress) -> Correspondences:
    """Return the photos for stage 1. Those that are gone, changed or unreadable are left out and logged."""
    photos = Photos.of(workspace.store, dataset.id)
    present_photos(workspace, list(usable_images(workspace.store, dataset.id)), photos, progress)
    tell_left_out(dataset_by_id(workspace.store, dataset.id), progress)
    return photos_alone(workspace, dataset)


def _pairs(
    workspace: Workspace, mined: CorrespondenceSet, dataset: Dataset, config: ORLConfig, progress: Progress
) -> Correspondences:
    """Return the pairs for stage 3. Those of photos that are gone or unreadable are left out and logged."""
    images, photos = list(set_images(workspace.store, mined.id)), Photos.of(workspace.store, dataset.id)
    earlier = lost_images(workspace.store, dataset.id)
    there_before = [image for image in images if image.id not in earlier]
    problems = {image.id: file_problem(photos.path(image), photos.stamp(image)) for image in there_before}
    changed = sum(problem is not None and problem.reason == CHANGED for problem in problems.values())
    lost = {image_id: problem for image_id, problem in problems.items() if problem and problem.reason != CHANGED}
    leave_out(workspace, there_before, photos, lost, progress)
    found = correspondences(workspace, mined, dataset, config)
    left_out = len(images) - len(there_before) + len(lost)
    if left_out:
        progress.log(
            f"Left out {left_out} of the set's {len(images)} photos, which are gone or unreadable, and their pairs."
        )
    if changed:
        progress.log(
            f"Photos that have changed since the set was mined: {changed}. The boxes of its pairs are cut from what "
            "the files hold now. To use the new photos, mine again."
        )
    return found


def _need_files(kept: Correspondences) -> None:
    """Raise UserError if photos of a run that is resumed are not there: it would not be the same run without them."""
    lost = [(file, problem) for file in kept.files if (problem := file_problem(Path(file)))]
    if lost:
        file, problem = lost[0]
        raise UserError(
            f"{len(lost)} of the {len(kept.files)} photos of this run cannot be read, such as {file}: {problem.reason}."
            " Restore them and resume the run, or start a new run, which leaves them out."
        )


def _kept(
    workspace: Workspace, run_id: int, processes: Processes, gather: Callable[[], Correspondences]
) -> Correspondences:
    """Return the run's data as it was at the start, without later photos and verdicts."""
    path = workspace.run_folder(run_id) / FILE
    if processes.first:
        own_folder(workspace, run_id)
        if path.is_file():
            _need_files(Correspondences.load(path))
        else:
            gather().save(path)
    processes.any(False)  # the others wait for the file
    return Correspondences.load(path)


def _register(workspace: Workspace, method: Method, name: str, kind: str, run_id: int, supervised: bool) -> EncoderRow:
    """Save the online backbone and projector in the run's folder, and register them for mining.

    Raises UserError if they are not finite: the loss of the last step, before its update, may have been.
    """
    learned = learned_weights(method, supervised)
    for tensor, value in {**learned.backbone, **(learned.projector or {})}.items():
        if not torch.isfinite(value).all():
            raise UserError(
                f"The trained weights are not finite numbers, such as the tensor {tensor}. No encoder was added. "
                "Start another run with a lower learning rate."
            )
    path = workspace.run_folder(run_id) / "encoder.pt"
    weights.save_weights(learned, path)
    source = f"run {run_id}"
    row = weights.described(workspace, learned, path, name=name, kind=kind, source=source, run_id=run_id)
    return add_encoder(workspace.store, row)
