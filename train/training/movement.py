"""How far a training has come: the distance of its weights from their start, and the renewals of its slow network."""

from __future__ import annotations

import torch

from orl_explorer.orl.method import Method
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.alarms import too_short
from orl_explorer.train.training.config import TrainConfig


class Movement:
    """Measures both at the end of each epoch. Make it before the training changes the weights.

    A long training moves the backbone by much of its norm, and renews the slow network hundreds of times: 924 times in
    the paper's.
    """

    def __init__(self, method: Method, config: TrainConfig, progress: Progress) -> None:
        self._config, self._progress = config, progress
        self._step, self._renewals = 0, 0.0
        self._start = {name: weight.detach().cpu().clone() for name, weight in _learned(method)}
        self._norm = torch.nn.utils.get_total_norm(self._start.values()).item()

    def __call__(self, method: Method, epoch: int, step: int, saved: bool) -> dict[str, float]:
        """Return ``weights_moved`` and, of a method with a slow network, ``target_renewals``.

        weights_moved: the 2-norm of the change of the backbone's learned weights, as a share of that of their start.
        target_renewals: the sum of 1 - momentum of the slow network over all steps so far.
        """
        changes = [weight.detach().cpu() - self._start[name] for name, weight in _learned(method)]
        share = torch.nn.utils.get_total_norm(changes).item() / self._norm
        if epoch == self._config.epochs and (said := too_short(self._config.model_dump(), share)):
            self._progress.log(said)
        moved = {"weights_moved": share}
        total = step // epoch * self._config.epochs
        momenta = [method.slow_momentum(before, total) for before in range(self._step, step)]
        self._step = step
        if None in momenta:
            return moved
        self._renewals += sum(1 - momentum for momentum in momenta if momentum is not None)
        return moved | {"target_renewals": self._renewals}


def _learned(method: Method) -> list[tuple[str, torch.Tensor]]:
    return [(name, weight) for name, weight in method.backbone.named_parameters() if weight.requires_grad]
