"""Detection and instance segmentation (Table 3): Mask R-CNN on the encoder's backbone, measured by COCO's AP."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import MaskRCNN

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.orl.detector import DetectionTarget, build_detector, detector_rate, mirrored
from orl_explorer.orl.views import epoch_order, view_generator
from orl_explorer.train.encoders.weights import stored_weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.coco import Coco, PrecisionRecall, coco_average_precision, encoded
from orl_explorer.train.evaluate.parts import KeptParts
from orl_explorer.train.evaluate.protocols import DetectionConfig, Result
from orl_explorer.train.pools import drawn_batches
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training.checkpoints import load_checkpoint, save_checkpoint
from orl_explorer.train.training.distributed import choose_device
from orl_explorer.train.workspace import Workspace

Shown = tuple[Tensor, DetectionTarget]  # uint8 [3, H, W], and boxes, labels and masks
MIRROR = 0  # number of the generator that mirrors photos


def evaluate(
    workspace: Workspace, encoder: EncoderRow, data: str, config: DetectionConfig, *, run_id: int, progress: Progress
) -> Result:
    """Return COCO's AP of boxes and masks on the photos of ``val_json``: ``box_ap``, ``mask_ap``, by IoU and by size.

    Raises UserError if the folder, a photo or the encoder cannot be used, or the loss is not finite.
    """
    folder, device = workspace.run_folder(run_id), choose_device()
    learn, measure = _photos(Path(data).expanduser(), config)
    weights = stored_weights(workspace, encoder)
    torch.manual_seed(config.seed)
    try:
        detector = build_detector(
            encoder.architecture, weights.backbone, len(learn.categories), config.sides, config.longest
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    if device.type == "cuda":
        detector = nn.SyncBatchNorm.convert_sync_batchnorm(detector)
    detector.to(device)
    tune(detector, learn, config, folder, device, progress)
    found = _detect(detector, learn.categories, measure, folder, device, progress)
    return _summary(coco_average_precision(measure, found), learn, measure, config, device)


def tune(
    detector: MaskRCNN, learn: Coco, config: DetectionConfig, folder: Path, device: torch.device, progress: Progress
) -> None:
    """Train to the last step, from the newest checkpoint if the folder has one.

    The order of photos, all random draws and the learning rate are functions of the step, so a resumed run ends with
    the same weights on a CPU. Raises Stopped after saving a checkpoint, and UserError if the loss is not finite.
    """
    optimiser = torch.optim.SGD(
        detector.parameters(), lr=config.rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    step = 0
    saved = load_checkpoint(folder, progress)
    if saved is not None:
        detector.load_state_dict(saved["detector"])
        optimiser.load_state_dict(saved["optimizer"])
        step = saved["step"]
        progress.log(f"Resumed at step {step} of {config.iterations}.")
    progress.phase("Tuning", config.iterations)
    progress.advance(step)
    ids = learn.learnable()
    order = Order(len(ids), config, step)
    photos = DetectionPhotos(learn, ids, config.seed)
    batches = drawn_batches(DataLoader(photos, batch_sampler=order, num_workers=config.workers, collate_fn=list))
    detector.train()
    clock = time.perf_counter()
    while step < config.iterations:
        rate = detector_rate(step, config.rate, config.warmup, config.steps, config.gamma)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        numbers: dict[str, float] = {}
        for part in range(config.accumulate):
            # The detector draws sizes, anchors and RoIs from torch's generator.
            torch.manual_seed(_mixed(config.seed, step, part))
            losses = detector(*_on(device, next(batches)))
            loss = torch.stack(list(losses.values())).sum()
            (loss / config.accumulate).backward()
            for name, value in (losses | {"loss": loss}).items():
                numbers[name] = numbers.get(name, 0.0) + value.item() / config.accumulate
        if not math.isfinite(numbers["loss"]):
            raise UserError(f"The loss is not finite at step {step} (learning rate {rate:.3g}). Try a lower rate.")
        optimiser.step()
        step += 1
        now = time.perf_counter()
        took, clock = now - clock, now
        progress.metric(step, numbers | {"learning_rate": rate, "images_per_second": config.batch_size / took})
        stopping = _asked_to_stop(progress)
        if stopping or step % config.checkpoint_every == 0 or step == config.iterations:
            save_checkpoint(folder, step, {"detector": detector.state_dict(), "optimizer": optimiser.state_dict()})
        if stopping:
            raise Stopped


class DetectionPhotos(Dataset):
    """Training photos with their objects. Half of them are mirrored, by a function of (seed, epoch, photo)."""

    def __init__(self, learn: Coco, ids: list[int], seed: int) -> None:
        self._learn, self._ids, self._seed = learn, ids, seed

    def __getitem__(self, key: tuple[int, int]) -> Shown:
        """key: epoch and index."""
        image_id = self._ids[key[1]]
        photo = torch.from_numpy(self._learn.photo(image_id).copy()).permute(2, 0, 1)
        objects = self._learn.objects(image_id)
        target = {
            "boxes": torch.from_numpy(objects.boxes),
            "labels": torch.from_numpy(objects.classes),
            "masks": torch.from_numpy(objects.masks),
        }
        if view_generator(self._seed, *key, MIRROR).random() < 0.5:
            return mirrored(photo, target)
        return photo, target


@dataclass(frozen=True)
class Order:
    """The keys (epoch, index) of each forward pass from a step on. A batch may span two epochs."""

    count: int
    config: DetectionConfig
    first: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size = self.config.batch_size // self.config.accumulate
        last = self.config.iterations * self.config.batch_size
        orders: dict[int, list[int]] = {}
        for start in range(self.first * self.config.batch_size, last, size):
            keys = []
            for number in range(start, start + size):
                epoch, within = divmod(number, self.count)
                if epoch not in orders:
                    orders = {epoch - 1: orders.get(epoch - 1, []), epoch: self._order(epoch)}
                keys.append((epoch, orders[epoch][within]))
            yield keys

    def _order(self, epoch: int) -> list[int]:
        return epoch_order(self.config.seed, epoch, self.count).tolist()


def _photos(root: Path, config: DetectionConfig) -> tuple[Coco, Coco]:
    learn, measure = (
        Coco(root / file, root / photos)
        for file, photos in ((config.train_json, config.train_photos), (config.val_json, config.val_photos))
    )
    if learn.names != measure.names or learn.categories != measure.categories:
        raise UserError(f"{learn.file} and {measure.file} do not have the same categories.")
    files = {learn.file_of(i) for i in learn.images}
    if shared := sum(measure.file_of(i) in files for i in measure.images):
        raise UserError(
            f"{shared} photos are in both {learn.file} and {measure.file}. Test on photos that were not trained on."
        )
    if not learn.learnable() or not measure.learnable():
        raise UserError(f"{learn.file} and {measure.file} must each have objects that are not crowds.")
    return learn, measure


@torch.no_grad()
def _detect(
    detector: MaskRCNN, categories: list[int], measure: Coco, folder: Path, device: torch.device, progress: Progress
) -> list[dict[str, Any]]:
    """Return the detections in all photos, as rows for the evaluator. Those on disk are not computed again."""
    parts = KeptParts(folder)
    progress.phase("Detecting", len(measure.images))
    detector.eval()
    for image_id in measure.images:
        if str(image_id) not in parts:
            photo = torch.from_numpy(measure.photo(image_id).copy()).permute(2, 0, 1)
            [found] = detector([photo.to(device).float() / 255])
            rows = zip(
                found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), found["masks"], strict=True
            )
            parts.add(
                str(image_id),
                [
                    {
                        "image_id": image_id,
                        "category_id": categories[label - 1],
                        "bbox": [left, top, right - left, bottom - top],
                        "score": score,
                        "segmentation": encoded((mask[0] > 0.5).cpu().numpy()),
                    }
                    for (left, top, right, bottom), label, score, mask in rows
                ],
            )
        progress.advance()
    return [row for image_id in measure.images for row in parts[str(image_id)]]


def _summary(
    measured: dict[str, PrecisionRecall], learn: Coco, measure: Coco, config: DetectionConfig, device: torch.device
) -> Result:
    numbers = {f"{kind}_{name}": v for kind, found in measured.items() for name, v in found.overall.items()}
    numbers |= {"photos": float(len(measure.images)), "training_photos": float(len(learn.learnable()))}
    notes = [f"Fine-tuned for {config.iterations} steps of {config.batch_size} photos."]
    if device.type != "cuda":
        together = config.batch_size // config.accumulate
        notes.append(
            f"Fine-tuned on a CPU: batch norms are not synchronised and see the {together} photos of one forward pass."
        )
    return Result(numbers, {f"{kind}_ap": found.classes for kind, found in measured.items()}, notes)


def _on(device: torch.device, shown: list[Shown]) -> tuple[list[Tensor], list[DetectionTarget]]:
    images = [image.to(device, non_blocking=True).float() / 255 for image, _ in shown]
    return images, [{name: value.to(device) for name, value in target.items()} for _, target in shown]


def _mixed(seed: int, step: int, part: int) -> int:
    """Return a seed for torch from the three numbers."""
    return int(view_generator(seed, step, part, MIRROR).integers(2**62))


def _asked_to_stop(progress: Progress) -> bool:
    try:
        progress.advance()
    except Stopped:
        return True
    return False
