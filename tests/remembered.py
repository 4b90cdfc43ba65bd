"""What mining computes of the same few photos in test after test, remembered: boxes and features by their pixels.

Tests of mining ask what is stored, reused and left out. The pixels that they embed are mostly those of twelve scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import blake2b
from weakref import WeakKeyDictionary

import numpy as np
import pytest

from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.onnx_backbone import OnnxBackbone
from orl_explorer.orl.selective_search.proposals import selective_search
from orl_explorer.train.mining import propose

_known: dict[tuple[object, ...], np.ndarray] = {}
_networks: WeakKeyDictionary[EncoderNetwork, tuple[int, bytes]] = WeakKeyDictionary()


def remember(patch: pytest.MonkeyPatch) -> None:
    """Search in a thread of this process, and compute no box and no feature twice."""
    patch.setattr(propose, "helpers", _thread)
    patch.setattr(propose, "selective_search", _searched)
    for name in ("embed_images", "embed_rois", "attention", "map_boxes"):
        patch.setattr(EncoderNetwork, name, _embedding(getattr(EncoderNetwork, name)))


@contextmanager
def _thread(_: int, prepare: Callable[[], object]) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(1, initializer=prepare)  # one, as libc's ``rand`` has one state
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _searched(image: np.ndarray, *settings: float) -> np.ndarray:
    key = ("search", _digest(image), *settings)
    if key not in _known:
        _known[key] = selective_search(image, *settings)
    return _known[key].copy()


def _embedding(compute: Callable[[EncoderNetwork, np.ndarray], np.ndarray]) -> Callable:
    def embed(network: EncoderNetwork, pixels: np.ndarray) -> np.ndarray:
        if isinstance(network.backbone, OnnxBackbone):  # its weights cannot be told
            return compute(network, pixels)
        keys = [(compute.__name__, _weights(network), _digest(each)) for each in pixels]
        new = [row for row, key in enumerate(keys) if key not in _known]
        if new:
            for row, feature in zip(new, compute(network, pixels[new]), strict=True):
                _known[keys[row]] = feature
        return np.stack([_known[key] for key in keys])

    return embed


def _weights(network: EncoderNetwork) -> bytes:
    """Digest of a network's weights, taken again if one of them was changed in place."""
    state = network.state_dict()
    changes = sum(tensor._version for tensor in state.values())
    found = _networks.get(network)
    if found is None or found[0] != changes:
        content = blake2b((network.architecture + network.reading.canonical()).encode(), digest_size=16)
        for tensor in state.values():
            content.update(tensor.detach().contiguous().view(-1).float().numpy().tobytes())
        found = _networks[network] = (changes, content.digest())
    return found[1]


def _digest(pixels: np.ndarray) -> bytes:
    return blake2b(np.ascontiguousarray(pixels).tobytes() + repr(pixels.shape).encode(), digest_size=16).digest()
