"""Linear classifiers: independent heads, initial weights, and training views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.measure.classifiers import (
    COMPONENTS,
    Classifier,
    DepthHeads,
    draw_colour,
    draw_lighting,
    right_within,
    stepped_rate,
    summed_loss,
)

SHAPES = [(4, 3), (8, 2)]


def test_heads_on_stored_rows_see_what_they_see_on_maps() -> None:
    torch.manual_seed(0)
    heads = DepthHeads(SHAPES, 5)
    maps = [torch.randn(6, 4, 3, 3), torch.randn(6, 8, 2, 2)]
    rows = torch.cat([m.flatten(1) for m in maps], dim=1)
    for one, other in zip(heads.split(rows), maps, strict=True):
        torch.testing.assert_close(one, other)


def test_heads_are_normalised_without_scale_or_shift_and_start_small() -> None:
    torch.manual_seed(0)
    heads = DepthHeads(SHAPES, 1000)
    names = {name.split(".")[0] for name, _ in heads.named_parameters()}
    assert names == {"heads"}
    for head in heads.heads:
        assert head.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert head.bias.abs().max().item() == 0
    bright = [100 + torch.randn(32, 4, 3, 3), torch.randn(32, 8, 2, 2)]
    dark = [bright[0] - 100, bright[1]]
    for one, other in zip(heads(bright), heads(dark), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_each_head_learns_as_if_it_were_alone() -> None:
    torch.manual_seed(0)
    heads = DepthHeads(SHAPES, 3)
    maps = [torch.randn(6, 4, 3, 3), torch.randn(6, 8, 2, 2)]
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    summed_loss(heads(maps), labels).backward()
    together = heads.heads[1].weight.grad.clone()
    heads.zero_grad()
    F.cross_entropy(heads(maps)[1], labels).backward()
    torch.testing.assert_close(heads.heads[1].weight.grad, together)


def test_a_classifier_starts_from_the_backbone_it_is_given_and_learns_all_of_it() -> None:
    torch.manual_seed(0)
    given = build_backbone("resnet18")[0].state_dict()
    model = Classifier("resnet18", given, 7)
    torch.testing.assert_close(model.backbone.state_dict()["layer1.0.conv1.weight"], given["layer1.0.conv1.weight"])
    model.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_label_is_right_within_k_when_it_is_among_the_k_best() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.9, 0.1, 0.5], [0.2, 0.1, 0.9]])
    labels = torch.tensor([1, 2, 1])
    assert right_within(scores, labels, 1).tolist() == [True, False, False]
    assert right_within(scores, labels, 2).tolist() == [True, True, False]
    assert right_within(scores, labels, 5).tolist() == [True, True, True]


def test_the_rate_falls_at_each_step() -> None:
    found = [stepped_rate(0.01, epoch, (8, 16, 24), 0.1) for epoch in (0, 7, 8, 15, 16, 24, 27)]
    assert found == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-5, 1e-5])


def test_colour_is_within_its_bounds_and_leaves_hue_alone() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_colour(rng, flip=True) for _ in range(300)]
    for name in ("brightness", "contrast", "saturation"):
        values = [getattr(each, name) for each in drawn]
        assert 0.6 <= min(values) < 0.65
        assert 1.35 < max(values) <= 1.4
    assert {(each.flip, each.hue, each.gray, each.sigma, each.solarize) for each in drawn} == {
        (True, 0.0, False, 0.0, False)
    }


def test_lighting_moves_along_the_principal_components_as_far_as_they_vary() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_lighting(rng) for _ in range(4000)])
    along = np.linalg.solve(COMPONENTS, drawn.T)
    np.testing.assert_allclose(along.std(axis=1), [0.02175, 0.00188, 0.00045], rtol=0.05)


def test_colours_change_in_every_order() -> None:
    rng = np.random.default_rng(0)
    assert {draw_colour(rng, flip=False).order for _ in range(500)} == set(range(24))


def test_lighting_moves_along_each_component_by_itself_and_either_way() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_lighting(rng) for _ in range(4000)])
    assert drawn.dtype == np.float32
    along = np.linalg.solve(COMPONENTS, drawn.T) / np.array([[0.02175], [0.00188], [0.00045]])
    np.testing.assert_allclose(np.corrcoef(along), np.eye(3), atol=0.06)
    np.testing.assert_allclose(along.mean(axis=1), 0, atol=0.06)
