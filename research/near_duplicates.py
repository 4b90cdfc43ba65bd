"""Cosine similarity of photos and altered copies of them, and of different photos: the choice of ``NEAR_DUPLICATE``.

    python research/near_duplicates.py --workspace DIR --dataset voc07 --encoder starter

The dataset must have been mined once with the encoder. Copies are made of a sample of its photos, in memory. Prints two
Markdown tables: the cosines of photos and their copies by alteration, and by threshold the share of the copies that are
found and of the photos whose nearest other photo counts as a near-duplicate.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.orl.pixels import center_crop, read_image
from orl_explorer.train.mining.features import Features, photo_keys
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import open_workspace

THRESHOLDS = (0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
Picture = PIL.Image.Image


def reencoded(photo: Picture, quality: int) -> Picture:
    """Return a photo that was written as JPEG and read again."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return PIL.Image.open(buffer).convert("RGB")


def resized(photo: Picture, scale: float) -> Picture:
    """Return a smaller photo."""
    return photo.resize((round(photo.width * scale), round(photo.height * scale)), PIL.Image.Resampling.BICUBIC)


def cropped(photo: Picture, share: float) -> Picture:
    """Return the upper left of a photo, with this share of both sides."""
    return photo.crop((0, 0, round(photo.width * share), round(photo.height * share)))


ALTERED: dict[str, Callable[[Picture], Picture]] = {
    "JPEG, quality 75": lambda photo: reencoded(photo, 75),
    "JPEG, quality 30": lambda photo: reencoded(photo, 30),
    "half the size": lambda photo: resized(photo, 0.5),
    "a quarter of the size": lambda photo: resized(photo, 0.25),
    "half the size, quality 30": lambda photo: reencoded(resized(photo, 0.5), 30),
    "cropped to 95 % of each side": lambda photo: cropped(photo, 0.95),
    "cropped to 90 %": lambda photo: cropped(photo, 0.9),
    "cropped to 80 %": lambda photo: cropped(photo, 0.8),
    "mirrored": lambda photo: photo.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT),
    "grey": lambda photo: photo.convert("L").convert("RGB"),
}


def main() -> None:
    """Measure the cosines and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--encoder", default="starter")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workspace = open_workspace(arguments.workspace)
    dataset = dataset_named(workspace.store, arguments.dataset)
    images, photos = list(usable_images(workspace.store, dataset.id)), Photos.of(workspace.store, dataset.id)
    features = Features(workspace, encoder_named(workspace.store, arguments.encoder))
    every = features.images.get(photo_keys(images))
    drawn = np.random.default_rng(arguments.seed).permutation(len(images))[: arguments.sample]
    found: dict[str, list[float]] = {name: [] for name in ALTERED}
    for at in drawn.tolist():
        photo = read_image(photos.path(images[at]))
        crops = np.stack([center_crop(alter(photo)) for alter in ALTERED.values()])
        cosines = features.encoder.embed_images(crops) @ every[at]
        for name, cosine in zip(ALTERED, cosines.tolist(), strict=True):
            found[name].append(cosine)
    print("| copy | least | 5 % | median |\n|---|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {min(values):.3f} | {np.quantile(values, 0.05):.3f} | {np.median(values):.3f} |")
    others = every @ every.T
    np.fill_diagonal(others, -1)
    nearest = others.max(axis=1)
    print("\n| threshold | " + " | ".join(found) + " | other photos |\n|---" + "|---" * (len(found) + 1) + "|")
    for least in THRESHOLDS:
        shares = [np.mean(np.array(values) >= least) for values in found.values()] + [np.mean(nearest >= least)]
        print(f"| {least:g} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
