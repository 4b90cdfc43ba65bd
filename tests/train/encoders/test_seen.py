"""Encoders whose batch norms have seen the photos of a dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.orl.pixels import read_image
from orl_explorer.train.encoders import seen
from orl_explorer.train.encoders.weights import add, load_encoder, stored_weights, weights_from
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.photos import Photos
from orl_explorer.train.training.early import add_any
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow


def test_statistics_are_the_means_of_the_photos_and_all_weights_as_they_were(
    photographed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "PHOTOS", 4)
    monkeypatch.setattr(seen, "BATCH", 2)
    row = add_any(photographed, "random:resnet18", seen="demo")
    assert (row.name, row.source) == ("random-resnet18-seen", "random:resnet18, batch norms of demo")
    found, plain = stored_weights(photographed, row).backbone, weights_from("random:resnet18").backbone
    for name, value in plain.items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(found[name], value), name
    images = list(usable_images(photographed.store, dataset_named(photographed.store, "demo").id))
    photos = Photos.of(photographed.store, images[0].dataset_id)
    add(photographed, "random:resnet18", "plain")
    reading = load_encoder(photographed, row).reading
    pixels = [reading.photo(read_image(photos.path(images[place]))) for place in (0, 3, 7, 11)]  # evenly spread
    mean, std = torch.tensor(reading.mean), torch.tensor(reading.std)
    batch = ((torch.tensor(np.stack(pixels)) / 255 - mean) / std).permute(0, 3, 1, 2)
    stem = torch.nn.functional.conv2d(batch, plain["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(found["bn1.running_mean"], stem.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)
    variances = [part.var(dim=(0, 2, 3)) for part in stem.split(2)]
    torch.testing.assert_close(found["bn1.running_var"], (variances[0] + variances[1]) / 2, atol=1e-4, rtol=1e-3)
    assert found["bn1.num_batches_tracked"] == 2
    again = add(photographed, "random:resnet18", "again", seen="demo")
    assert again.weights_sha256 == row.weights_sha256
    other = add(photographed, "random:resnet18@1", "other", seen="demo")
    assert other.weights_sha256 != row.weights_sha256


def test_what_cannot_have_seen_photos_is_refused(photographed: Workspace) -> None:
    with pytest.raises(UserError, match="timm:test_vit has no batch norm, so it cannot have seen photos"):
        add(photographed, "random:timm:test_vit", "vit", seen="demo")
    with pytest.raises(UserError, match="The encoder of a run is read as the run does"):
        add_any(photographed, "run:1", seen="demo")
    with pytest.raises(UserError, match="Invalid encoder 'random:resnet18@x'. Write random:NAME, or random:NAME@SEED"):
        add(photographed, "random:resnet18@x", "odd")
    with pytest.raises(UserError, match="Invalid encoder 'random:resnet18@9+'"):
        add(photographed, f"random:resnet18@{'9' * 40}", "odd")


def test_photos_that_cannot_be_read_are_counted_with_a_reason(
    workspace: Workspace, small_scenes: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(small_scenes, tmp_path / "own")
    ingest(workspace, own, name="demo")
    first, second = sorted(own.iterdir())[3:5]
    first.write_bytes(b"no photo any more")
    second.unlink()
    told: list[str] = []
    add(workspace, "random:resnet18", "fewer", tell=told.append, seen="demo")
    assert len(told) == 1
    assert told[0].startswith("2 photos could not be read and set no statistics. The first is ")
    assert first.name in told[0]
