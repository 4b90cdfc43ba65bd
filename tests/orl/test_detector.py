"""The detector on a backbone: its weights, sizes and learning rate, and the mirroring of objects."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.detector import build_detector, detector_rate, mirrored


@pytest.mark.parametrize(("architecture", "channels"), [("resnet18", [64, 128, 256, 512])])
def test_the_backbone_keeps_its_weights_and_everything_learns(architecture: str, channels: list[int]) -> None:
    weights = build_backbone(architecture)[0].state_dict()
    detector = build_detector(architecture, weights, 3, [64, 96], 128)
    tuned = detector.backbone.body.state_dict()
    assert list(tuned) == list(weights)
    assert all(torch.equal(tuned[name], value) for name, value in weights.items())
    assert all(parameter.requires_grad for parameter in detector.parameters())
    assert [block[0].in_channels for block in detector.backbone.fpn.inner_blocks] == channels
    norms = [m for m in detector.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20 + 8  # of the ResNet-18, and two for each depth of the pyramid
    assert detector.roi_heads.box_predictor.cls_score.out_features == 4  # three classes and the background


def test_sides_are_drawn_while_it_learns_and_the_last_one_tests() -> None:
    detector = build_detector("resnet18", build_backbone("resnet18")[0].state_dict(), 1, [64, 96], 128)
    image, box = torch.zeros(3, 100, 200), {"boxes": torch.tensor([[0.0, 0.0, 50.0, 50.0]])}

    def shown() -> tuple[int, ...]:
        return tuple(detector.transform.resize(image, dict(box))[0].shape[1:])

    torch.manual_seed(0)
    detector.train()
    assert {shown() for _ in range(20)} == {(64, 128)}  # 96 would be 192 wide, more than the longest side
    detector.transform.max_size = 400
    assert {shown() for _ in range(20)} == {(64, 128), (96, 192)}
    detector.eval()
    assert shown() == (96, 192)


def test_what_is_no_resnet_has_no_pyramid() -> None:
    with pytest.raises(ValueError, match="'efficientnet_lite0' is not a ResNet"):
        build_detector("efficientnet_lite0", {}, 1, [64], 64)


def test_the_rate_ramps_up_and_falls_at_each_milestone() -> None:
    rates = [detector_rate(step, 0.02, 1000, (60_000, 80_000), 0.1) for step in (0, 500, 1000, 59_999, 60_000, 80_000)]
    assert rates == pytest.approx([2e-5, 0.01001, 0.02, 0.02, 0.002, 0.0002])


def test_a_mirrored_image_takes_its_boxes_and_masks_along() -> None:
    image = torch.arange(8.0).view(1, 2, 4)
    mask = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 0]]])
    target = {"boxes": torch.tensor([[0.0, 0.0, 1.5, 2.0]]), "labels": torch.tensor([3]), "masks": mask}
    turned, found = mirrored(image, target)
    assert turned[0].tolist() == [[3, 2, 1, 0], [7, 6, 5, 4]]
    assert found["boxes"].tolist() == [[2.5, 0, 4, 2]]
    assert found["masks"].tolist() == [[[0, 0, 1, 1], [0, 0, 0, 1]]]
    assert found["labels"].tolist() == [3]
    again = mirrored(turned, found)
    assert torch.equal(again[0], image)
    assert torch.equal(again[1]["boxes"], target["boxes"])


def test_the_pyramid_has_a_level_for_each_depth_and_one_above() -> None:
    detector = build_detector("resnet18", build_backbone("resnet18")[0].state_dict(), 1, [64], 64).eval()
    with torch.no_grad():
        levels = detector.backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(level.shape[1:]) for level in levels.values()] == [(256, side, side) for side in (16, 8, 4, 2, 1)]


def test_without_warm_up_the_rate_starts_at_its_peak() -> None:
    assert detector_rate(0, 0.02, 0, (), 0.1) == 0.02
