"""Sums and means over the processes of one training. With a single process, each is the identity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def count() -> int:
    """Return the number of processes of this training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_rows(rows: Tensor) -> Tensor:
    """Return the part of rows of all processes, as ``gather_rows`` gives them, that is this process's."""
    return rows.chunk(count())[dist.get_rank()] if count() > 1 else rows


def gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows of all processes, in the order of ranks: float [B, D] -> float [P · B, D].

    Gradients flow back: each process sums the gradients that all processes compute for its rows.
    """
    return _Gather.apply(rows) if count() > 1 else rows


class _Sum(torch.autograd.Function):
    """Sum over processes, forward and backward."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()  # as its parts must be: of images in another order of memory, NCCL copies the bytes
        parts = [torch.empty_like(rows) for _ in range(count())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient).chunk(count())[dist.get_rank()]


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes, on any device.

    PyTorch's own ``SyncBatchNorm`` needs a GPU. Every process must have the same number of rows. Batch norms of timm
    drop and activate what they have normalised, so these have both too.
    """

    def __init__(self, features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True) -> None:
        super().__init__(features, eps, momentum, affine)
        self.drop: nn.Module = nn.Identity()
        self.act: nn.Module = nn.Identity()

    @classmethod
    def like(cls, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> SyncedBatchNorm:
        """Return a synchronised batch norm with the state of another one."""
        synced = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        for after in ("drop", "act"):
            if hasattr(norm, after):
                setattr(synced, after, getattr(norm, after))
        synced.load_state_dict(norm.state_dict())
        synced.train(norm.training)
        for own, old in zip(synced.parameters(), norm.parameters(), strict=True):
            own.requires_grad_(old.requires_grad)
        return synced

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (2, 4):
            raise ValueError(f"Invalid number of dimensions for batch normalisation: {input.ndim}. Use 2 or 4.")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise float [B, C] or [B, C, H, W]."""
        if not self.training or count() == 1:
            return self.act(self.drop(super().forward(input)))
        half = input.dtype in (torch.float16, torch.bfloat16)  # half precision is too coarse for sums of thousands
        return self.act(self.drop(self._normalise(input.float() if half else input).to(input.dtype)))

    def _normalise(self, input: Tensor) -> Tensor:
        rest = [d for d in range(input.ndim) if d != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        everywhere = input.numel() // input.shape[1] * count()
        mean = _Sum.apply(input.sum(rest)) / everywhere
        centred = input - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(rest)) / everywhere
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None and self.momentum is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (everywhere / (everywhere - 1)), self.momentum)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            return centred * (scale * self.weight).view(shape) + self.bias.view(shape)
        return centred * scale.view(shape)


def synchronise(network: nn.Module, device: torch.device) -> nn.Module:
    """Synchronise every batch norm over all processes: with PyTorch's class on CUDA, ``SyncedBatchNorm`` elsewhere."""
    if count() == 1:
        return network
    if device.type == "cuda":
        return _on_gpus(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, SyncedBatchNorm.like(child))
    return network


def _on_gpus(network: nn.Module) -> nn.Module:
    # PyTorch's conversion would lose the activations of timm's batch norms.
    if any(isinstance(module, nn.BatchNorm2d) and hasattr(module, "act") for module in network.modules()):
        from timm.layers import convert_sync_batchnorm

        return convert_sync_batchnorm(network)
    return nn.SyncBatchNorm.convert_sync_batchnorm(network)
