"""Maps at five depths of a backbone, and their pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.multi_depth import depth_maps, depth_shapes, pool_cells, pool_depths


@pytest.mark.parametrize(
    ("architecture", "channels"),
    [
        ("resnet18", [64, 64, 128, 256, 512]),
        ("resnet50", [64, 256, 512, 1024, 2048]),
        ("efficientnet_lite0", [16, 24, 40, 112, 1280]),
    ],
)
def test_there_are_five_depths_of_halving_resolution(architecture: str, channels: list[int]) -> None:
    backbone = build_backbone(architecture)[0].eval()
    with torch.no_grad():
        maps = depth_maps(backbone, torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, side, side) for c, side in zip(channels, [32, 16, 8, 4, 2], strict=True)
    ]
    assert not backbone._forward_hooks
    assert all(not module._forward_hooks for module in backbone.modules())


def test_a_resnets_depths_are_its_stem_and_its_four_stages() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("resnet18")[0].eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        x = backbone.relu(backbone.bn1(backbone.conv1(images)))
        expected = [x.clone()]
        x = backbone.maxpool(x)
        for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
            x = stage(x)
            expected.append(x.clone())
        found = depth_maps(backbone, images)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_wrapped_backbone_has_the_same_depths() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("resnet18")[0].eval()
    images = torch.randn(1, 3, 64, 64)

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = backbone

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.trunk(x)

    with torch.no_grad():
        for one, other in zip(depth_maps(Wrapped(), images), depth_maps(backbone, images), strict=True):
            torch.testing.assert_close(one, other)


def test_pooled_depths_of_a_resnet_50_are_as_long_as_the_references() -> None:
    shapes = depth_shapes(build_backbone("resnet50")[0], 224)
    assert shapes == [(64, 12), (256, 6), (512, 4), (1024, 3), (2048, 2)]
    assert [channels * cells**2 for channels, cells in shapes] == [9216, 9216, 8192, 9216, 8192]


def test_the_last_map_is_averaged_over_overlapping_windows_of_six() -> None:
    feature_map = torch.arange(49.0).view(1, 1, 7, 7)
    pooled = pool_cells(feature_map, 2)
    grid = np.arange(49.0).reshape(7, 7)
    expected = [[grid[:6, :6].mean(), grid[:6, 1:].mean()], [grid[1:, :6].mean(), grid[1:, 1:].mean()]]
    np.testing.assert_allclose(pooled[0, 0], expected)


def test_maps_of_other_sizes_are_cut_into_even_cells() -> None:
    feature_map = torch.arange(16.0).view(1, 1, 4, 4)
    np.testing.assert_allclose(pool_cells(feature_map, 2)[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    assert [tuple(p.shape) for p in pool_depths([torch.zeros(1, 8, 48, 48), torch.zeros(1, 9, 3, 3)], 96)] == [
        (1, 8, 12, 12),
        (1, 9, 2, 2),
    ]


def test_an_encoders_cells_are_its_pooled_map_with_unit_length() -> None:
    torch.manual_seed(0)
    encoder = EncoderNetwork("resnet18")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    found = encoder.embed_cells(pixels)
    maps = torch.from_numpy(np.stack([encoder.feature_map(p) for p in pixels]))
    expected = pool_cells(maps, 2).flatten(1)
    expected = expected / expected.norm(dim=1, keepdim=True)
    assert found.shape == (3, 2048)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_features_do_not_depend_on_what_was_embedded_along() -> None:
    torch.manual_seed(0)
    encoder = EncoderNetwork("resnet18").fold()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    together = encoder.embed_depths(pixels)
    np.testing.assert_array_equal(encoder.embed_depths(pixels[:1])[0], together[0])
    assert together.shape == (3, 64 * 144 + 64 * 36 + 128 * 16 + 256 * 9 + 512 * 4)
