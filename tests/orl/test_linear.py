"""The linear projector: what it does to features, and how it learns from pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.heads import Head, LinearProjector, build_head, head_of, mlp
from orl_explorer.orl.linear import learn_projector


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def random_projector(inputs: int, outputs: int) -> LinearProjector:
    torch.manual_seed(0)
    made = LinearProjector(inputs, outputs)
    torch.nn.init.normal_(made.linear.weight)
    torch.nn.init.normal_(made.linear.bias)
    return made


def test_a_new_linear_projector_changes_nothing() -> None:
    features = unit(np.random.default_rng(0).normal(size=(3, 8)))
    np.testing.assert_allclose(LinearProjector(8, 8).project(features), features, atol=1e-7)


def test_it_multiplies_unit_features_and_adds_its_bias() -> None:
    made = LinearProjector(2, 2)
    with torch.no_grad():
        made.linear.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
        made.linear.bias.copy_(torch.tensor([0.0, -1.2]))
    # (3, 4) has the unit vector (0.6, 0.8), and becomes (0.8, 1.2 - 1.2)
    torch.testing.assert_close(made(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.8, 0.0]]))
    np.testing.assert_allclose(made.project(np.array([[0.6, 0.8]], np.float32)), [[1, 0]], atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_projected_feature_does_not_depend_on_its_batch(threads: int) -> None:
    made, before = random_projector(1280, 1280), torch.get_num_threads()
    features = unit(np.random.default_rng(1).normal(size=(150, 1280)))
    torch.set_num_threads(threads)
    try:
        whole = made.project(features)
        for size in (1, 2, 63, 64, 65, 149):
            parts = [made.project(features[at : at + size]) for at in range(0, 150, size)]
            np.testing.assert_array_equal(np.concatenate(parts), whole)
    finally:
        torch.set_num_threads(before)
    assert made.project(features[:0]).shape == (0, 1280)


def test_photos_and_rois_go_through_a_linear_projector_alike() -> None:
    torch.manual_seed(0)
    plain, projected = EncoderNetwork("resnet18"), EncoderNetwork("resnet18", Head(0, 16, "linear"))
    projected.backbone.load_state_dict(plain.backbone.state_dict())
    made = random_projector(512, 16)
    assert projected.projector is not None
    projected.projector.load_state_dict(made.state_dict())
    assert (projected.image_features, projected.roi_features, projected.features) == (16, 16, 512)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), np.uint8)
    expected = made.project(plain.embed_rois(pixels))
    np.testing.assert_array_equal(projected.embed_rois(pixels), expected)
    np.testing.assert_array_equal(projected.embed_images(pixels), expected)
    np.testing.assert_array_equal(projected.embed_means(pixels), plain.embed_means(pixels))  # for cells of maps
    box = np.array([[0, 0, 64, 64]])
    assert projected.pool_boxes(pixels[0], box).shape == (1, 16)


def test_the_names_of_a_state_tell_a_linear_head_from_the_others() -> None:
    head = Head(0, 16, "linear")
    assert head_of(build_head(512, head).state_dict()) == head
    assert head_of(mlp(512, 32, 16).state_dict()) == Head(32, 16, "bootstrap")
    assert head_of({"weight": torch.zeros(16, 512), "bias": torch.zeros(16)}) is None  # of somebody else


def slowly(mean: Tensor, pairs: list[tuple[Tensor, Tensor]], rate: float, temperature: float) -> tuple[Tensor, list]:
    """The same by loops: each view against its partner and all other views, and Adam by its formulas."""
    weight = torch.eye(len(mean), dtype=torch.float64)
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    losses = []
    for step, (query, key) in enumerate(pairs, 1):
        w = weight.clone().requires_grad_()
        views = [w @ (view.double() - mean.double()) for view in [*query, *key]]
        count, total = len(query), torch.zeros((), dtype=torch.float64)
        for i, view in enumerate(views):
            partner = (i + count) % (2 * count)
            cosines = {
                j: (view @ other) / (view.norm() * other.norm()) / temperature
                for j, other in enumerate(views)
                if j != i
            }
            total = total - cosines[partner] + torch.logsumexp(torch.stack([*cosines.values()]), 0)
        loss = total / (2 * count)
        (gradient,) = torch.autograd.grad(loss, w)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        size = (second / (1 - 0.999**step)).sqrt() + 1e-8
        weight = weight - rate * first / (1 - 0.9**step) / size
        losses.append(float(loss.detach()))
    return weight, losses


def test_it_learns_as_the_loss_and_adam_are_written() -> None:
    draw = np.random.default_rng(3)
    pairs = [tuple(torch.from_numpy(unit(draw.normal(size=(4, 6)))) for _ in range(2)) for _ in range(3)]
    mean = torch.full((6,), 0.1)
    losses: list[float] = []
    made = learn_projector(mean, pairs, 0.01, 0.3, losses.append)  # type: ignore[arg-type]
    weight, expected = slowly(mean, pairs, 0.01, 0.3)  # type: ignore[arg-type]
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(made.linear.weight.double(), weight, atol=1e-5, rtol=0)
    torch.testing.assert_close(made.linear.bias.double(), -weight @ mean.double(), atol=1e-5, rtol=0)
    assert not made.linear.weight.requires_grad


def test_without_a_step_it_only_subtracts_the_mean() -> None:
    made = learn_projector(torch.tensor([0.5, 0.0]), [], 0.01, 0.3)
    np.testing.assert_allclose(made.project(np.array([[0.6, 0.8]], np.float32)), [[0.12403, 0.99228]], atol=1e-5)


def test_pairs_come_closer_and_others_part() -> None:
    """Features that share most of their length, as after a ReLU: the small rest says what they show."""
    draw = np.random.default_rng(4)
    kinds = draw.normal(size=(8, 32))

    def seen(shown: np.ndarray) -> np.ndarray:
        return unit(5 + kinds[shown] + 2 * draw.normal(size=(len(shown), 32)))

    def pair() -> tuple[Tensor, Tensor]:
        shown = np.arange(8)
        return torch.from_numpy(seen(shown)), torch.from_numpy(seen(shown))

    shown = np.repeat(np.arange(8), 20)
    features = seen(shown)

    def nearest_alike(rows: np.ndarray) -> float:
        cosines = rows @ rows.T
        np.fill_diagonal(cosines, -math.inf)
        return float((shown[cosines.argmax(axis=1)] == shown).mean())

    losses: list[float] = []
    pairs = (pair() for _ in range(200))
    made = learn_projector(torch.from_numpy(features.mean(axis=0)), pairs, 0.01, 0.3, losses.append)
    assert losses[0] > losses[-1]
    before, after = nearest_alike(features), nearest_alike(made.project(features))
    assert after > before + 0.1
