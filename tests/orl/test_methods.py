"""The parts of every method that the training loop uses: optimiser, batch norms, and copying to the slow network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.densecl import DenseCL
from orl_explorer.orl.lars import LARS
from orl_explorer.orl.method import Method
from orl_explorer.orl.mls import MLS
from orl_explorer.orl.moco import MoCo
from orl_explorer.orl.multicrop import MultiCropBYOL
from orl_explorer.orl.optimisers import optimiser_of
from orl_explorer.orl.orl_loss import ORL, ORLOverMoCo, ORLOverSimCLR
from orl_explorer.orl.self_emd import SelfEMD
from orl_explorer.orl.simclr import SimCLR

METHODS: dict[str, Callable[..., Method]] = {
    "byol": BYOL,
    "multicrop": MultiCropBYOL,
    "simclr": SimCLR,
    "moco": MoCo,
    "densecl": DenseCL,
    "mls": MLS,
    "selfemd": SelfEMD,
    "orl": ORL,
    "orl over simclr": ORLOverSimCLR,
    "orl over moco": ORLOverMoCo,
}


def made(name: str) -> Method:
    torch.manual_seed(0)
    return METHODS[name]("resnet18", 8, 8)


@pytest.mark.parametrize("name", [name for name in METHODS if not name.endswith("simclr")])
def test_all_but_simclr_learn_by_sgd_in_the_order_of_their_parameters(name: str) -> None:
    method = made(name)
    optimiser = method.optimiser(0.5, 0.8, 0.01)
    assert type(optimiser) is torch.optim.SGD
    (group,) = optimiser.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.8, 0.01)
    slow = ("target_", "key_")
    learnt = [id(p) for n, p in method.named_parameters() if not n.startswith(slow)]
    assert [id(p) for p in group["params"]] == learnt


def test_simclr_learns_by_lars_which_decays_no_bias_and_no_batch_norm() -> None:
    optimiser = made("simclr").optimiser(0.5, 0.8, 0.01)
    assert isinstance(optimiser, LARS)
    layers, rest = optimiser.param_groups
    assert [(g["lr"], g["momentum"], g["weight_decay"], g["adapt"]) for g in (layers, rest)] == [
        (0.5, 0.8, 0.01, True),
        (0.5, 0.8, 0.0, False),
    ]
    assert {p.ndim for p in layers["params"]} == {2, 4}
    assert {p.ndim for p in rest["params"]} == {1}


def test_batch_norms_see_all_processes_but_those_of_moco_and_what_builds_on_it() -> None:
    assert [name for name in METHODS if not made(name).synchronised] == ["moco", "densecl", "mls", "orl over moco"]


@pytest.mark.parametrize(
    ("name", "prefix"), [("byol", "target_"), ("orl", "target_"), ("moco", "key_"), ("orl over moco", "key_")]
)
def test_a_slow_network_catches_up_with_other_weights_and_statistics(name: str, prefix: str) -> None:
    method = made(name)
    with torch.no_grad():
        for tensor in (*method.backbone.parameters(), *method.projector.parameters()):
            tensor.fill_(3.0)
        method.backbone.get_buffer("bn1.running_mean").fill_(7.0)
    method.catch_up()
    for part in ("backbone", "projector"):
        slow, fast = method.get_submodule(prefix + part), method.get_submodule(part)
        torch.testing.assert_close(slow.state_dict(), fast.state_dict(), rtol=0, atol=0)
        assert not any(p.requires_grad for p in slow.parameters())
        assert all((p == 3.0).all() for p in slow.parameters())


def test_where_there_is_no_slow_network_nothing_follows_and_nothing_catches_up() -> None:
    method = made("simclr")
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.after_step(0, 1)
    method.catch_up()
    torch.testing.assert_close(method.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sgd", (1 - 0.1 * (2 + 0.5), 1 - 0.1 * (2 + 0.5))),  # decays both
        ("lars", (1 - 0.1 * 0.001, 1 - 0.1 * 2)),  # |weight| / |d| · d = 1
        ("adamw", (1 - 0.1 * 0.5 - 0.1, 1 - 0.1)),
    ],
)
def test_one_step_of_each_optimiser_by_hand(kind: str, expected: tuple[float, float]) -> None:
    weight, bias = (nn.Parameter(torch.ones(shape)) for shape in ((1, 1), (1,)))
    optimiser = optimiser_of(kind, [{"params": [weight, bias], "scale": 0.5}], 0.1, 0.9, 0.5)
    assert {group["scale"] for group in optimiser.param_groups} == {0.5}
    for parameter in (weight, bias):
        parameter.grad = torch.full_like(parameter, 2.0)
    optimiser.step()
    assert (weight.item(), bias.item()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "first", "middle", "last"),
    [
        ("byol", 0.99, 0.995, 1.0),
        ("orl", 0.99, 0.995, 1.0),
        ("moco", 0.999, 0.999, 0.999),
        ("simclr", None, None, None),
    ],
)
def test_the_momentum_of_the_slow_network(name: str, first: float, middle: float, last: float) -> None:
    found = [made(name).slow_momentum(step, 100) for step in (0, 50, 100)]
    assert found == [None if value is None else pytest.approx(value) for value in (first, middle, last)]
