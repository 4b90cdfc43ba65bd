"""Batch norms that have seen photos: their running statistics set by forward passes, all weights as they were.

A network as initialised normalises nothing in eval mode. Every training sets these statistics, whatever it learns, so
untrained weights that have seen the same photos are its fair baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.orl.grouped_norm import BatchNorm
from orl_explorer.orl.pixels import UnreadableImage, read_image
from orl_explorer.train.encoders.state_dicts import Weights
from orl_explorer.train.encoders.weights import build
from orl_explorer.train.errors import UserError
from orl_explorer.train.photos import Photos
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

PHOTOS, BATCH = 512, 32  # at most so many photos, spread evenly over the dataset, and so many in a pass


def having_seen(
    workspace: Workspace, weights: Weights, dataset: str, tell: Callable[[str], object] = lambda _: None
) -> Weights:
    """Return weights whose batch norms hold the mean statistics of a dataset's photos, each as evaluations see it.

    tell: called with the number of photos that cannot be read, and why the first cannot. Raises UserError if the
    network has no batch norm, or the dataset fewer than two photos that can be read.
    """
    encoder = build(weights)
    norms = [module for module in encoder.backbone.modules() if isinstance(module, BatchNorm)]
    if not norms:
        raise UserError(f"{weights.architecture} has no batch norm, so it cannot have seen photos. Leave --seen out.")
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    found = dataset_named(workspace.store, dataset)
    images, photos = list(usable_images(workspace.store, found.id)), Photos.of(workspace.store, found.id)
    crops, unread = [], []
    for place in np.unique(np.linspace(0, len(images) - 1, min(PHOTOS, len(images))).astype(int)):
        try:
            crops.append(encoder.reading.photo(read_image(photos.path(images[place]))))
        except UnreadableImage as problem:
            unread.append(f"{images[place].path}: {problem}")
    if unread:
        tell(f"{plural(len(unread), 'photo')} could not be read and set no statistics. The first is {unread[0]}")
    if len(crops) < 2:
        raise UserError(f"The dataset '{dataset}' has fewer than two photos that can be read.")
    with torch.no_grad():
        for some in np.array_split(np.stack(crops), max(1, len(crops) // BATCH)):
            encoder.backbone(encoder.normalise(some))
    learned: nn.Module = encoder.network
    return replace(weights, backbone={name: value.clone() for name, value in learned.state_dict().items()})
