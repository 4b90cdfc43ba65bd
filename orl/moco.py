"""MoCo v2: contrast of a view with its partner's slow features and a queue of earlier ones (Tables 1-4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl_explorer.orl.bootstrap import follow_slowly, frozen_copy
from orl_explorer.orl.distributed import gather_rows
from orl_explorer.orl.grouped_norm import in_one_pass
from orl_explorer.orl.heads import mlp, pool
from orl_explorer.orl.method import Method, Terms
from orl_explorer.orl.trainable import build_trainable
from orl_explorer.orl.views import Pipeline, View

PIPELINE = Pipeline(blur=0.5, solarize=0.0, jitter=(0.4, 0.4, 0.4, 0.1), scale=(0.2, 1.0))


class MoCo(Method):
    """A network for queries, a slow one for keys, and the newest keys as negatives.

    Batch statistics are computed over groups of images, and keys are shuffled between groups. If a query and its key
    were normalised with the same images, the network could recognise the key by the statistics. MoCo's authors shuffle
    between eight GPUs with 32 images each.
    """

    synchronised = False  # groups are smaller than a process's batch on purpose
    queue: Tensor  # [K, D], unit rows
    seen: Tensor  # scalar, number of keys added to the queue so far

    def __init__(
        self,
        architecture: str,
        hidden: int = 2048,
        projection: int = 128,
        temperature: float = 0.2,
        queue: int = 65_536,
        momentum: float = 0.999,
        group: int = 32,
    ) -> None:
        """Build both networks. group: number of images that are normalised together."""
        super().__init__()
        self.architecture, self.temperature, self.momentum, self.group = architecture, temperature, momentum, group
        self.backbone, features = build_trainable(architecture)
        self.projector = mlp(features, hidden, projection, "moco")
        self.key_backbone = frozen_copy(self.backbone)
        self.key_projector = frozen_copy(self.projector)
        self.register_buffer("queue", F.normalize(torch.randn(queue, projection)))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @property
    def backbones(self) -> tuple[nn.Module, ...]:
        """The backbone of queries and that of keys."""
        return self.backbone, self.key_backbone

    def views(self, size: int) -> tuple[View, ...]:
        """Return the crops of query and key, through one pipeline."""
        return tuple(View(f"image_{i}", PIPELINE, size) for i in (1, 2))

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return one term, ``image``, about log(K + 1) at the start. views: image_1 for queries, image_2 for keys."""
        queries = self._in_groups(self.backbone, self.projector, views["image_1"])
        with torch.no_grad():
            generator = torch.Generator().manual_seed(int(self.seen))
            order = torch.randperm(len(queries), generator=generator).to(queries.device)
            shuffled = self._in_groups(self.key_backbone, self.key_projector, views["image_2"][order])
            keys = F.normalize(shuffled.float())[order.argsort()]
        loss = queue_loss(queries, keys, self.queue, self.temperature)
        if self.training:
            self._enqueue(gather_rows(keys))
        return {"image": loss}, queries

    def slow_momentum(self, step: int, total: int) -> float:
        """Return the momentum of the network for keys, which is constant."""
        return self.momentum

    def after_step(self, step: int, total: int) -> None:
        """Update the slow network."""
        follow_slowly(self.key_backbone, self.backbone, self.momentum)
        follow_slowly(self.key_projector, self.projector, self.momentum)

    def catch_up(self) -> None:
        """Make the network for keys equal to that for queries."""
        self.key_backbone.load_state_dict(self.backbone.state_dict())
        self.key_projector.load_state_dict(self.projector.state_dict())

    def _in_groups(self, backbone: nn.Module, projector: nn.Module, images: Tensor) -> Tensor:
        return projector(pool(torch.cat(in_one_pass(backbone, images.split(self.group)))))  # no norm after the backbone

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        size = len(self.queue)
        places = (self.seen + torch.arange(len(keys), device=keys.device)) % size
        # A new tensor, because the backward pass of the loss still needs the old one.
        self.queue = self.queue.index_copy(0, places[-size:], keys[-size:])
        self.seen += len(keys)


def queue_loss(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE of queries against own keys and the queue: float [B, D], unit [B, D], unit [K, D] -> scalar."""
    unit = F.normalize(queries.float())
    own = (unit * keys).sum(1, keepdim=True)  # B 1
    logits = torch.cat([own, unit @ queue.T], dim=1) / temperature  # B 1+K
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
