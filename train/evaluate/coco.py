"""COCO's photos, objects and average precision, by faster-coco-eval. This module does not import torch."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from orl_explorer.orl.opening import open_photo
from orl_explorer.orl.pixels import UnreadableImage, read_image
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

LAYOUT = "annotations/instances_train2017.json, annotations/instances_val2017.json, train2017/*.jpg and val2017/*.jpg"
NEEDED = {"images": ("id", "file_name", "width", "height"), "categories": ("id", "name")}
NEEDED_OF_OBJECTS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")
# The first six numbers of the evaluator's summary. The other six are recalls.
STATS = ("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large")
KINDS = {"box": "bbox", "mask": "segm"}


@dataclass(frozen=True)
class CocoObjects:
    """The objects of a photo: boxes float32 [n, 4], x1 y1 x2 y2; classes int64 [n], from 1; masks uint8 [n, H, W]."""

    boxes: np.ndarray
    classes: np.ndarray
    masks: np.ndarray


class Coco:
    """A COCO json and the folder of its photos. Boxes and masks are in the frame that the json declares."""

    def __init__(self, file: Path, photos: Path) -> None:
        """Read the file. Raises UserError if it is not a COCO json with masks."""
        from faster_coco_eval import COCO

        content = read_json(file)
        self.file, self._photos = file, photos
        with _silently():
            self.truth = COCO()
            self.truth.dataset = content
            self.truth.createIndex()
        self.categories: list[int] = sorted(self.truth.getCatIds())
        self.names = [str(self.truth.cats[c]["name"]) for c in self.categories]
        self.images: list[int] = sorted(self.truth.getImgIds())

    def learnable(self) -> list[int]:
        """Return the ids of the photos with objects to train on. Crowds do not count."""
        return [i for i in self.images if self._rows(i)]

    def file_of(self, image_id: int) -> Path:
        """Return the path of a photo."""
        return self._photos / self.truth.imgs[image_id]["file_name"]

    def photo(self, image_id: int) -> np.ndarray:
        """Read a photo in the frame of its annotations, uint8 [H, W, 3] RGB. Raises UserError."""
        row, path = self.truth.imgs[image_id], self.file_of(image_id)
        declared = row["width"], row["height"]
        try:
            shown = read_image(path)
        except UnreadableImage as error:
            raise UserError(f"Cannot read {path}: {error}.") from error
        if shown.size == declared:
            return np.asarray(shown)
        # Most annotations refer to the stored pixels, before the rotation that EXIF asks for.
        with open_photo(path) as photo:
            stored = photo.rgb(upright=False)
            if stored.size != declared:
                raise UserError(
                    f"{path} is {shown.width} x {shown.height}, but {self.file} says {row['width']} x {row['height']}."
                )
            return np.asarray(stored)

    def objects(self, image_id: int) -> CocoObjects:
        """Return the objects of a photo to train on."""
        rows = self._rows(image_id)
        x, y, w, h = np.array([row["bbox"] for row in rows], np.float32).T
        return CocoObjects(
            np.stack([x, y, x + w, y + h], 1),
            np.array([self.categories.index(row["category_id"]) + 1 for row in rows], np.int64),
            np.stack([self.truth.annToMask(row) for row in rows]),
        )

    def _rows(self, image_id: int) -> list[dict[str, Any]]:
        rows = self.truth.imgToAnns[image_id]
        return [row for row in rows if not row["iscrowd"] and row["bbox"][2] >= 1 and row["bbox"][3] >= 1]


@dataclass(frozen=True)
class PrecisionRecall:
    """COCO's average precision, shares of 1: the six of its summary, and that of each category by name.

    A number without annotations is left out.
    """

    overall: dict[str, float]
    classes: dict[str, float]


def coco_average_precision(found: Coco, detections: list[dict[str, Any]]) -> dict[str, PrecisionRecall]:
    """Return COCO's AP of the detections, by ``box`` and ``mask``.

    detections: ``image_id``, ``category_id``, ``bbox`` x y w h, ``segmentation`` as RLE, ``score``.
    """
    from faster_coco_eval import COCOeval_faster

    measured = {}
    for kind, iou_type in KINDS.items():
        # If a row has a box, the evaluator takes the box's area, not the mask's, as the size of the object.
        kept = ("bbox",) if kind == "box" else ("segmentation",)
        results = [{k: d[k] for k in ("image_id", "category_id", "score", *kept)} for d in detections]
        with _silently():
            judge = COCOeval_faster(found.truth, _results(found, results), iou_type)
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        of_class = judge.eval["precision"][:, :, :, 0, -1].mean(axis=(0, 1))  # IoU, recall; all areas, 100 detections
        measured[kind] = PrecisionRecall(
            {name: value for name, value in zip(STATS, judge.stats.tolist(), strict=False) if value >= 0},
            {name: value for name, value in zip(found.names, of_class.tolist(), strict=True) if value >= 0},
        )
    return measured


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask, bool [H, W], for the evaluator and JSON."""
    from faster_coco_eval import mask as masks

    run_lengths = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in run_lengths["size"]], "counts": run_lengths["counts"].decode("ascii")}


def read_json(file: Path) -> dict[str, Any]:
    """Read a COCO json with masks. Raises UserError with the missing part."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        for part, names in NEEDED.items():
            for name in names:
                _ = [row[name] for row in content[part]]
        missing = next((n for n in NEEDED_OF_OBJECTS if any(n not in row for row in content["annotations"])), None)
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not a COCO annotation file ({type(error).__name__}: {error}).") from error
    if missing:
        raise UserError(
            f"Some annotations in {file} have no '{missing}'. Detection needs COCO's instances, with masks."
        )
    return content


def check_coco(workspace: Workspace, data: str, config: Any) -> None:
    """Raise UserError if a folder has no COCO files, or the evaluator is not installed."""
    if find_spec("faster_coco_eval") is None:
        raise UserError(
            "Evaluating detection needs faster-coco-eval. Install it with: pip install 'orl-explorer[detection]'."
        )
    root = Path(data).expanduser()
    if not root.is_dir():
        raise UserError(f"There is no folder {root}. Expected: a folder with {LAYOUT}.")
    for setting in ("train_json", "val_json", "train_photos", "val_photos"):
        path = root / getattr(config, setting)
        if not (path.is_file() if setting.endswith("json") else path.is_dir()):
            raise UserError(f"There is no {path}. Expected: {LAYOUT}. Give another name with --set {setting}=….")


def _results(found: Coco, rows: list[dict[str, Any]]) -> Any:
    if rows:
        return found.truth.loadRes(rows)
    from faster_coco_eval import COCO

    nothing = COCO()
    nothing.dataset = {name: found.truth.dataset[name] for name in NEEDED} | {"annotations": []}
    nothing.createIndex()
    return nothing


def _silently() -> contextlib.redirect_stdout[io.StringIO]:
    return contextlib.redirect_stdout(io.StringIO())
