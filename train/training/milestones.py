"""The encoder of a training before its end: milestones, which are kept every so many epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orl_explorer.orl.dense import Dense, library_network
from orl_explorer.orl.method import Method
from orl_explorer.orl.reading import Reading
from orl_explorer.train.encoders.weights import Weights, save_weights
from orl_explorer.train.training.config import TrainConfig


class Milestones:
    """Keeps the encoder of every so many epochs in the folder of the run."""

    def __init__(self, folder: Path, config: TrainConfig, supervised: bool) -> None:
        self._folder, self._every, self._supervised = folder, config.keep_every, supervised

    def __call__(self, method: Method, epoch: int, step: int, saved: bool) -> dict[str, float]:
        """Write the encoder of an epoch, if it is one to keep."""
        if self._every and epoch % self._every == 0:
            save_weights(learned_weights(method, self._supervised), milestone(self._folder, epoch))
        return {}


def milestone(folder: Path, epoch: int) -> Path:
    """Return the file of the encoder after an epoch, from 1, in the folder of a run."""
    return folder / f"encoder-{epoch:06d}.pt"


def kept_epochs(folder: Path) -> list[int]:
    """Return the epochs of which a run has kept the encoder, ascending."""
    return sorted(int(path.stem.removeprefix("encoder-")) for path in folder.glob("encoder-??????.pt"))


def learned_weights(method: Method, supervised: bool) -> Weights:
    """Return the online backbone of a method and its projector, on the CPU, and how photos are read with them.

    An adapted encoder has a projector only if the one that it started from has, and not a linear one: a new one finds
    worse neighbours after few steps than pooled features do.
    """
    return Weights(
        method.architecture,
        {k: v.cpu() for k, v in library_network(method.backbone).state_dict().items()},
        {k: v.cpu() for k, v in method.projector.state_dict().items()} if method.keeps_projector else None,
        supervised,
        _reading(method, supervised),
    )


def _reading(method: Method, supervised: bool) -> Reading | None:
    """Return how the trained encoder is read; None: in the default way."""
    if not isinstance(method.backbone, Dense):
        return None
    reading = method.backbone.reading
    learned = "labels" if supervised else "nothing" if reading.learned_from == "labels" else reading.learned_from
    return replace(reading, learned_from=learned)
