"""Maps of any backbone at several depths, pooled for linear classifiers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl_explorer.orl.dense import Dense

# Of a 224-pixel input, by side of the map: side of a window, step, padding. They make 12, 6, 4, 3 and 2 cells a side.
WINDOWS = {112: (10, 10, 4), 56: (16, 8, 0), 28: (13, 5, 0), 14: (8, 3, 0), 7: (6, 1, 0)}
CELLS = {2: 12, 4: 6, 8: 4, 16: 3, 32: 2}  # by stride; cells a side, of maps of other sizes


def depth_maps(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the last map of every resolution in a backbone, shallowest first; the last one is its output.

    images: float [B, 3, S, S], normalised. A ResNet has five: the stem's, before max pooling, and its four stages'.
    A ``Dense`` has one, since its blocks are not known.
    """
    if isinstance(backbone, Dense):
        return [backbone(images)]
    found: dict[int, Tensor] = {}

    def ran(_: nn.Module, __: tuple, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            found[output.shape[-1]] = output

    hooks = [block.register_forward_hook(ran) for block in _blocks(backbone)]
    try:
        last = backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    found[last.shape[-1]] = last
    sides = sorted((side for side in found if _stride(images.shape[-1], side) in CELLS), reverse=True)
    return [found[side] for side in sides if side >= last.shape[-1]]


def pool_depths(maps: list[Tensor], size: int) -> list[Tensor]:
    """Average each map over the cells of its depth: float [B, C, s, s] -> float [B, C, c, c].

    size: side of the images, in pixels.
    """
    return [pool_cells(each, CELLS[_stride(size, each.shape[-1])]) for each in maps]


def pool_cells(feature_map: Tensor, cells: int) -> Tensor:
    """Average a map over cells x cells parts: float [B, C, s, s] -> float [B, C, cells, cells].

    If the reference defines windows for this size, they are used: they overlap, or leave a margin.
    """
    side = feature_map.shape[-1]
    if side in WINDOWS and CELLS[224 // side] == cells:
        return F.avg_pool2d(feature_map, *WINDOWS[side])
    return F.adaptive_avg_pool2d(feature_map, cells)


def _stride(size: int, side: int) -> int:
    return min(max(2 ** round(math.log2(size / side)), min(CELLS)), max(CELLS))


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Return the parts of a backbone that run in sequence; nested sequences are flattened."""
    children = list(module.children())
    for child in children:
        if isinstance(child, nn.Sequential) or len(children) == 1:
            yield from _blocks(child)
        else:
            yield child


def depth_shapes(backbone: nn.Module, size: int) -> list[tuple[int, int]]:
    """Return the channels and cells per side of each pooled depth, from one black image."""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        black = torch.zeros(1, 3, size, size, device=next(backbone.parameters()).device)
        pooled = pool_depths(depth_maps(backbone, black), size)
    backbone.train(training)
    return [(each.shape[1], each.shape[2]) for each in pooled]
