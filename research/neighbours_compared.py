"""How well an encoder's features find photos and objects of one class: by its projector, and by pooled features.

    python research/neighbours_compared.py --dataset voc --encoders starter adapted

The dataset must have annotations. Prints a Markdown table. Of photos: the share of the ten nearest others that show a
class which the photo shows too, by pooled features and by the projector, which finds the neighbours of mining. Of
annotated boxes of at least 48 pixels a side: the share of the nearest, and of the ten nearest, of other photos that are
of the same class.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.orl.pixels import center_crop, crop_box, read_image
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import open_workspace

NEAREST, LEAST_SIDE, BATCH = 10, 48, 16


def main() -> None:
    """Read photos and boxes once, and measure each encoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--encoders", required=True, nargs="+")
    asked = parser.parse_args()
    workspace = open_workspace(asked.workspace)
    dataset = dataset_named(workspace.store, asked.dataset)
    photos, images = Photos.of(workspace.store, dataset.id), list(usable_images(workspace.store, dataset.id))
    objects = annotated_objects(workspace.store, sorted(image.id for image in images))
    boxes: dict[int, list[tuple[np.ndarray, str]]] = defaultdict(list)
    for i, box, name, hard in zip(
        objects.image_ids.tolist(), objects.boxes, objects.categories, objects.difficult, strict=True
    ):
        if not hard:
            boxes[i].append((box, name))
    shown = [image for image in images if image.id in boxes]
    whole, crops, names, owners = [], [], [], []
    for number, image in enumerate(shown):
        photo = read_image(photos.path(image))
        whole.append(center_crop(photo))
        for box, name in boxes[image.id]:
            if min(box[2:]) >= LEAST_SIDE:
                crops.append(crop_box(photo, box))
                names.append(name)
                owners.append(number)
    classes = [{name for _, name in boxes[image.id]} for image in shown]
    common = np.array([[bool(a & b) for b in classes] for a in classes])
    alike = np.array(names)[:, None] == np.array(names)
    print(f"{len(whole)} photos, {len(crops)} boxes.\n")
    print("| encoder | photos by pooled features | photos by projector | nearest box | ten nearest boxes |")
    print("|---|---|---|---|---|")
    for name in asked.encoders:
        encoder = load_encoder(workspace, encoder_named(workspace.store, name))
        pooled, projected = embedded(encoder.embed_rois, whole), embedded(encoder.embed_images, whole)
        of_boxes = embedded(encoder.embed_rois, crops)
        found = [nearest(features, np.arange(len(whole)), common, NEAREST) for features in (pooled, projected)]
        found += [nearest(of_boxes, np.array(owners), alike, count) for count in (1, NEAREST)]
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in found)} |", flush=True)


def embedded(embed: Callable[[np.ndarray], np.ndarray], pixels: list[np.ndarray]) -> np.ndarray:
    """Return the features of crops, unit rows: float32 [n, D]."""
    with torch.inference_mode():
        return np.concatenate([embed(np.stack(pixels[i : i + BATCH])) for i in range(0, len(pixels), BATCH)])


def nearest(features: np.ndarray, owners: np.ndarray, right: np.ndarray, count: int) -> float:
    """Return the share of right ones among the nearest rows of other photos. right: bool [n, n]."""
    similar = features @ features.T
    similar[owners[:, None] == owners] = -np.inf
    best = np.argsort(-similar, axis=1)[:, :count]
    return float(np.take_along_axis(right, best, axis=1).mean())


if __name__ == "__main__":
    main()
