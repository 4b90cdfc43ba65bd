"""Raw boxes of photos: those that mining stored, and those of photos that it has not seen, found on demand.

Those of the encoder's map are among them, if the settings use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from orl_explorer.db.models import Image
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.db.store import Store
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import cannot_read
from orl_explorer.train.mining.candidates import raw_boxes, searches, with_map
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import MapBoxes
from orl_explorer.train.mining.propose import Search, propose_all
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.remembered import Remembered

REMEMBERED = 500  # photos, about 12 kB each


class RawBoxes:
    """Raw boxes of photos: from the store, else searched on demand and kept in memory.

    Writes nothing. Threads may share it.
    """

    def __init__(self, store: Store, photos: Photos, map_boxes: MapBoxes) -> None:
        self._store, self._photos, self._map_boxes = store, photos, map_boxes
        self._remembered = Remembered[Search, np.ndarray](REMEMBERED)

    def missing(self, images: Sequence[Image], config: MineConfig) -> int:
        """Count the photos on which selective search has to run."""
        if not config.searches:
            return 0
        ids = set(missing_proposals(self._store, [image.id for image in images], config.method))
        unknown = [image for image in images if image.id in ids]
        return sum(job not in self._remembered for job in searches(unknown, self._photos, config))

    def get(self, images: Sequence[Image], config: MineConfig) -> dict[int, np.ndarray]:
        """Return raw boxes int16 [M, 4] by image id, in rank order.

        Raises UserError if a photo cannot be read, or has no imported proposals.
        """
        found = raw_boxes(self._store, images, config)
        unknown = [image for image in images if image.id not in found]
        if unknown and not config.searches:
            raise UserError(
                f"{unknown[0].path} has no proposals '{config.proposals}', the raw boxes of this set. Import them for "
                "all photos of the dataset with `orl import proposals`."
            )
        for image, job in zip(unknown, searches(unknown, self._photos, config), strict=True):
            found[image.id] = self._remembered.get(job, partial(_searched, job))
        rows = self._map_boxes.get(images, config)
        return {image.id: with_map(found[image.id], rows[image.id], image) for image in images}


def _searched(job: Search) -> np.ndarray:
    [boxes] = propose_all([job], 1, 1, Progress())
    if isinstance(boxes, str):
        raise cannot_read(job[0], boxes)
    return boxes
