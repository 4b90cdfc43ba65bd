"""MoCo v2: contrast of a view with its partner's slow features and a queue of earlier ones (Tables 1-4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl_explorer.orl.bootstrap import follow_slowly, frozen_copy
from orl_explorer.orl.distributed import gather_rows, own_rows
from orl_explorer.orl.grouped_norm import in_one_pass
from orl_explorer.orl.heads import mlp, pool
from orl_explorer.orl.method import Method, Terms
from orl_explorer.orl.trainable import build_trainable
from orl_explorer.orl.views import Pipeline, View

PIPELINE = Pipeline(blur=0.5, solarize=0.0, jitter=(0.4, 0.4, 0.4, 0.1), scale=(0.2, 1.0))


class MoCo(Method):
    """A network for queries, a slow one for keys, and the newest keys as negatives.

    Batch statistics are computed over groups of images, and keys are shuffled between the groups of all processes. If a
    query and its key were normalised with the same images, the network could recognise the key by the statistics.
    MoCo's authors shuffle between eight GPUs with 32 images each.
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
        self.backbone, self.features = build_trainable(architecture)
        self.projector = mlp(self.features, hidden, projection, "moco")
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
        queries, keys = self.queries(views["image_1"]), self.keys(views["image_2"])
        loss = queue_loss(queries, keys, self.queue, self.temperature)
        if self.training:
            self.enqueue(queue=keys)
        return {"image": loss}, queries

    def queries(self, images: Tensor) -> Tensor:
        """Project a batch: float [B, 3, S, S] -> float [B, projection]."""
        return self.projector(pool(self.maps(self.backbone, images)))

    @torch.no_grad()
    def keys(self, images: Tensor) -> Tensor:
        """Project a batch with the slow network: float [B, 3, S, S] -> unit [B, projection]."""
        return F.normalize(self.key_projector(pool(self.key_maps(images))).float())

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

    def maps(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """Compute maps in groups: float [B, 3, S, S] -> float [B, C, h, w]."""
        return torch.cat(in_one_pass(backbone, images.split(self.group)))  # heads have no norm, so groups end here

    @torch.no_grad()
    def key_maps(self, images: Tensor) -> Tensor:
        """Compute the maps of keys, in the order of the images, which are shuffled between groups meanwhile."""
        everywhere = gather_rows(images)
        generator = torch.Generator().manual_seed(int(self.seen))  # all processes have seen as many keys
        order = torch.randperm(len(everywhere), generator=generator).to(images.device)
        maps = self.maps(self.key_backbone, everywhere[own_rows(order)])
        half = maps.dtype in (torch.float16, torch.bfloat16)  # which not all backends of processes send
        return own_rows(gather_rows(maps.float() if half else maps)[order.argsort()]).to(maps.dtype)

    @torch.no_grad()
    def enqueue(self, **keys: Tensor) -> None:
        """Put the keys of all processes in the place of the oldest.

        keys: one a photo, by the name of their queue: float [B, D], or [Q, B, D] for several queues in one.
        """
        for name, own in keys.items():
            rows = gather_rows(own.transpose(0, -2).contiguous()).transpose(0, -2)
            queue, count = getattr(self, name), rows.shape[-2]
            size = queue.shape[-2]
            places = (self.seen + torch.arange(count, device=rows.device)) % size
            # A new tensor, because the backward pass of the loss still needs the old one.
            setattr(self, name, queue.index_copy(-2, places[-size:], rows[..., -size:, :]))
        self.seen += count


def queue_loss(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE of queries against own keys and the queue: float [B, D], unit [B, D], unit [K, D] -> scalar."""
    unit = F.normalize(queries.float())
    own = (unit * keys).sum(1, keepdim=True)  # B 1
    logits = torch.cat([own, unit @ queue.T], dim=1) / temperature  # B 1+K
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
