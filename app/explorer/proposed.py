"""The RoIs that mining would compare on a few photos of a dataset, found in a blink and stored nowhere."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from orl_explorer.db.models import Image
from orl_explorer.db.photos import usable_images
from orl_explorer.orl.selective_search.readiness import is_compiled
from orl_explorer.train.mining.candidates import candidates, searches
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.propose import propose_photo
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace

FEW = 6  # photos


class Proposed(NamedTuple):
    """A photo with the boxes of its RoIs, int16 [B, 4], x y w h."""

    image: Image
    boxes: np.ndarray


def first_rois(opened: Workspace, dataset_id: int) -> list[Proposed]:
    """Return the RoIs of a dataset's first photos by the preset ``paper``, without photos that cannot be read.

    Empty where selective search is not compiled: OpenCV would take seconds.
    """
    if not is_compiled():
        return []
    images = list(islice(usable_images(opened.store, dataset_id), FEW))
    photos = Photos.of(opened.store, dataset_id)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_searched, searches(images, photos, MineConfig())))
    return [
        Proposed(image, candidates(image, raw, MineConfig(), None).filtered.boxes)
        for image, raw in zip(images, found, strict=True)
        if not isinstance(raw, str)
    ]


_searched = lru_cache(maxsize=8 * FEW)(propose_photo)  # a page is drawn again at every click
