"""Networks of any library, read in one way: a map of the photo, a pooled feature, and the class token's attention."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from orl_explorer.orl.architectures import HF, RESNETS, TIMM
from orl_explorer.orl.backbones import Statistics, build_backbone, normalisation
from orl_explorer.orl.heads import pool
from orl_explorer.orl.map_boxes import centred, degrees
from orl_explorer.orl.reading import Choices, Reading, rounded

STAGES = 4  # of a ResNet
AT_ONCE = 16_384  # tokens of a pass; each counts more, the more there are in its image
FAR = 1024  # tokens of an image whose attention costs as much as all else
CELL = 16  # pixels of the side of a token, of networks whose patches are larger or that have none


class SeenMaps(NamedTuple):
    """What a network says of images: maps float [B, C, h, w], class tokens float [B, C], and its head's float [B, D].

    The last two are None where the reading does not ask for them.
    """

    maps: Tensor
    tokens: Tensor | None = None
    head: Tensor | None = None


class Dense(nn.Module, ABC):
    """A network and how it is read. It takes images of any size, and resizes those that the network cannot take."""

    def __init__(self, network: nn.Module, reading: Reading) -> None:
        """Keep both. network: in eval mode."""
        super().__init__()
        self.network, self.reading = network, reading

    @abstractmethod
    def read(self, images: Tensor) -> SeenMaps:
        """Run the network on images of a size that it takes, float [B, 3, H, W]."""

    def forward(self, images: Tensor) -> Tensor:
        """Compute maps: float [B, 3, H, W], normalised -> float [B, C, h, w]."""
        return self.read(self._fitted(images)).maps

    def pooled(self, images: Tensor) -> Tensor:
        """Compute pooled features: float [B, 3, H, W], normalised -> float [B, D]."""
        found = self.read(self._fitted(images))
        if self.reading.pooling == "mean":
            return pool(found.maps)
        chosen = found.tokens if self.reading.pooling == "class" else found.head
        assert chosen is not None
        return chosen

    def attended(self, images: Tensor) -> Tensor | None:
        """Compute how much the class token attends to each cell, the mean of the layer's heads: float [B, h, w].

        None if the network has no class token, or computes its attention in a way that cannot be seen.
        """
        if not self.reading.class_token:
            return None
        with _LastAttention() as last:
            maps = self.read(self._fitted(images)).maps
        return last.of_first_token(*maps.shape[2:], prefix=self.reading.prefix)

    def salient(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute maps, and how much each cell stands out: float [B, 3, H, W] -> [B, C, h, w] and [B, 1, h, w].

        By the reading's salience: the norm of the cell's channels; or, where norms are full of artefacts, how much the
        class token attends to the cell, or the share of the other cells that it does not resemble. Of these two, the
        median of a cell and its eight neighbours is taken, since artefacts are single cells. Raises RuntimeError if the
        attention can no longer be seen.
        """
        images = self._fitted(images)
        if self.reading.salience == "norm":
            maps = self.read(images).maps
            return maps, norms(maps)
        with _LastAttention() as last:
            maps = self.read(images).maps
        if self.reading.salience == "class":
            found = last.of_first_token(*maps.shape[2:], prefix=self.reading.prefix)
            if found is None:
                raise RuntimeError("The attention of the encoder's class token cannot be seen here. Add it again.")
        else:
            found = _unlike(maps)
        return maps, _medians(found[:, None].float())

    def images_at_once(self, height: int, width: int) -> int:
        """Return how many images of a size are run in one pass, so that memory is bounded."""
        side = min(self.reading.multiple, CELL)
        tokens = (height // side) * (width // side)
        return max(1, int(AT_ONCE / (tokens * (1 + tokens / FAR))))

    def _fitted(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        if self.reading.fixed:
            fitting = (self.reading.crop_size,) * 2
        else:
            fitting = rounded(height, self.reading.multiple), rounded(width, self.reading.multiple)
        if (height, width) == fitting:
            return images
        return F.interpolate(images.float(), fitting, mode="bilinear", antialias=True).to(images.dtype)


def norms(maps: Tensor) -> Tensor:
    """Return the norm of each cell's channels: float [B, C, h, w] -> float32 [B, 1, h, w]."""
    return maps.float().norm(dim=1, keepdim=True)


def _unlike(maps: Tensor) -> Tensor:
    """Return the share of the other cells that each cell does not resemble: float [B, C, h, w] -> [B, h, w]."""
    cells = maps.flatten(2).transpose(1, 2).float().cpu().numpy()
    alike = np.stack([degrees(each @ each.T) for each in map(centred, cells)])
    shares = 1 - alike / max(1, cells.shape[1] - 1)
    return torch.from_numpy(shares).to(maps.device, torch.float32).unflatten(1, maps.shape[2:])


def _medians(planes: Tensor) -> Tensor:
    """Return the median of each cell and its neighbours, those of the edge repeated: float [B, 1, h, w] both."""
    around = F.unfold(F.pad(planes, (1, 1, 1, 1), mode="replicate"), 3)
    return around.median(dim=1).values.view_as(planes)


class _LastAttention(TorchFunctionMode):
    """Keeps the queries and keys of the last attention that is computed inside."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, Any] | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self._last = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
        return func(*args, **kwargs)

    def of_first_token(self, high: int, wide: int, *, prefix: int) -> Tensor | None:
        """Return the attention of the first token to those of the map: float [B, high, wide]."""
        if self._last is None:
            return None
        query, key, bias = self._last["query"], self._last["key"], self._last.get("attn_mask")
        if query.ndim != 4 or key.shape[2] != prefix + high * wide:
            return None
        products = query[:, :, :1].float() @ key.float().transpose(2, 3)
        products *= self._last.get("scale") or query.shape[3] ** -0.5
        if bias is not None and bias.is_floating_point():  # positions of BEiT and EVA-02
            products += bias[..., :1, :]
        return products.softmax(dim=3)[:, :, 0, prefix:].mean(dim=1).unflatten(1, (high, wide))


class TrunkDense(Dense):
    """A ResNet of torchvision up to one of its stages, or the starter, at sizes that a person chose."""

    def read(self, images: Tensor) -> SeenMaps:
        stages = list(self.network.named_children())
        if self.reading.layer < self.reading.layers:
            names = [name for name, _ in stages]
            stages = stages[: names.index(f"layer{self.reading.layer}") + 1]
        for _, stage in stages:
            images = stage(images)
        return SeenMaps(images)


def library_network(backbone: nn.Module) -> nn.Module:
    """Return the module whose state dict has its library's names."""
    return backbone.network if isinstance(backbone, Dense) else backbone


def statistics(architecture: str, backbone: nn.Module) -> Statistics:
    """Return the mean and standard deviation of RGB in [0, 1] that a backbone expects."""
    return (backbone.reading.mean, backbone.reading.std) if isinstance(backbone, Dense) else normalisation(architecture)


def plan_trunk(architecture: str, choices: Choices, learned_from: str) -> Reading:
    """Return how a ResNet or the starter is read by a person's choices. Raises ValueError."""
    layers = STAGES if architecture in RESNETS else 1
    layer = choices.layer_of(layers)
    if choices.pooling not in (None, "mean"):
        raise ValueError(f"Invalid value for pooling: {choices.pooling}. A {architecture} has mean alone.")
    with torch.device("meta"):
        trunk, _ = build_backbone(architecture)
    mean, std = normalisation(architecture)
    start = Reading(layer=layer, layers=layers, mean=mean, std=std, learned_from=learned_from)  # type: ignore[arg-type]
    reading = choices.applied(start)
    with torch.device("meta"), torch.no_grad():
        shape = TrunkDense(trunk.eval(), reading)(torch.zeros(2, 3, 64, 64)).shape
    return Reading(**{**vars(reading), "stride": 64 // shape[2], "channels": shape[1], "features": shape[1]})


def build_dense(architecture: str, reading: Reading) -> Dense:
    """Build a network with random weights, to be read in a way. Raises ValueError if its library is missing."""
    if architecture.startswith(TIMM):
        from orl_explorer.orl.timm_dense import TimmDense

        return TimmDense.built(architecture, reading)
    if architecture.startswith(HF):
        from orl_explorer.orl.hf_dense import HfDense

        return HfDense.built(reading)
    return TrunkDense(build_backbone(architecture)[0], reading)
