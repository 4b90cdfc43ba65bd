"""The digest of a set: the same wherever the same photos have the same RoIs, neighbours and pairs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import digests_of
from orl_explorer.db.sets.read import set_rois
from orl_explorer.db.sets.whole import whole_set
from orl_explorer.db.store import Store
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.quality import as_mined


def set_digest(store: Store, mined: CorrespondenceSet) -> str:
    """Return the SHA-256 of a complete set, as hex digits.

    It covers the settings that are not the paper's, the encoder's weights and, of each photo, the digest of its file,
    its RoIs, neighbours and pairs with their numbers. Names, paths, ids and the order of the photos do not count.
    """
    paper = MineConfig().model_dump()
    own = {name: value for name, value in MineConfig.of(mined).model_dump().items() if value != paper[name]}
    whole = hashlib.sha256(json.dumps(own, sort_keys=True).encode())
    whole.update(encoder_by_id(store, mined.encoder_id).weights_sha256.encode())
    for one in sorted(_photos(store, mined)):
        whole.update(one)
    return whole.hexdigest()


def photos_digest(digests: np.ndarray) -> str:
    """Return the SHA-256 of some photos by the digests of their files, int64 [n]. Their order does not count."""
    return hashlib.sha256(np.sort(digests).astype("<i8").tobytes()).hexdigest()


def _photos(store: Store, mined: CorrespondenceSet) -> Iterator[bytes]:
    """Yield the BLAKE2b digest of what the set holds of each photo."""
    rows = whole_set(store, mined.id)
    objectness = set_rois(store, mined.id).objectness
    files, flat = digests_of(store, rows.images[:, 0]), as_mined(rows)
    bounds = np.searchsorted(rows.pairs[:, 0], np.append(rows.images[:, 0], np.iinfo(np.int64).max))
    for at, file in enumerate(files.tolist()):
        own, pairs = slice(*flat.start[at : at + 2]), slice(*bounds[at : at + 2])
        one = hashlib.blake2b(file.to_bytes(8, "little", signed=True), digest_size=32)
        for values, kind in (
            (flat.boxes[own], "<i2"),
            (objectness[own], "<f4"),
            (files[flat.neighbors[at]], "<i8"),
            (flat.nearness[at], "<f4"),
            (rows.pairs[pairs, 1], "<i2"),
            (flat.boxes[flat.query[pairs]], "<i2"),
            (flat.boxes[flat.key[pairs]], "<i2"),
            *((_plain(each[pairs]), "<f4") for each in (rows.similarity, rows.margin, rows.cycle)),
        ):
            one.update(np.ascontiguousarray(values, kind).tobytes())
        yield one.digest()


def _plain(values: np.ndarray) -> Any:
    """Return numbers with one NaN for all."""
    return np.where(np.isnan(values), np.float32(np.nan), values)
