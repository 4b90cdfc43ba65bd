"""After Self-EMD: transport plans against plain loops, and the loss between maps.

Most tests leave the backbone out: the views are the maps.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from orl_explorer.orl.bootstrap import regression_loss
from orl_explorer.orl.heads import Head, head_of
from orl_explorer.orl.self_emd import SelfEMD, transport_loss, transport_plan
from tests.orl.test_peers import BATCH, SIDE, TINY, Rows, dot, leave_out_backbones, mean, random_maps, slow_cells, unit


def selfemd() -> SelfEMD:
    torch.manual_seed(0)
    method = SelfEMD(TINY, 24, 16).train()
    leave_out_backbones(method)
    return method


def slow_plan(cost: Rows, rows: list[float], columns: list[float]) -> Rows:
    """Sinkhorn's algorithm as it is published, on the kernel itself."""
    kernel = [[math.exp(-c / 0.1) for c in row] for row in cost]
    by_row, by_column = [1.0] * len(rows), [1.0] * len(columns)
    for _ in range(50):
        by_row = [mass / dot(row, by_column) for mass, row in zip(rows, kernel, strict=True)]
        by_column = [mass / sum(by_row[i] * kernel[i][j] for i in range(len(rows))) for j, mass in enumerate(columns)]
    return [[by_row[i] * kernel[i][j] * by_column[j] for j in range(len(columns))] for i in range(len(rows))]


def slow_transport(prediction: Rows, target: Rows) -> float:
    alike = [[dot(unit(p), unit(t)) for t in target] for p in prediction]
    rows = [max(m, 0.0) + 1e-3 for m in (sum(row) / len(row) for row in alike)]
    columns = [max(m, 0.0) + 1e-3 for m in mean(alike)]
    plan = slow_plan(
        [[1 - a for a in row] for row in alike], [r / sum(rows) for r in rows], [c / sum(columns) for c in columns]
    )
    return 2 - 2 * sum(dot(p, a) for p, a in zip(plan, alike, strict=True))


def test_a_plan_equals_the_slow_version_and_keeps_the_masses() -> None:
    torch.manual_seed(0)
    cost, rows, columns = 2 * torch.rand(3, 5, 4), torch.rand(3, 5) + 0.1, torch.rand(3, 4) + 0.1
    rows, columns = rows / rows.sum(1, keepdim=True), columns / columns.sum(1, keepdim=True)
    found = transport_plan(cost, rows, columns)
    expected = [slow_plan(*each) for each in zip(cost.tolist(), rows.tolist(), columns.tolist(), strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.sum(1), columns, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.sum(2), rows, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0.5, 0.5], [[0.5, 0.0], [0.0, 0.5]]),
        ([0.75, 0.25], [[0.5, 0.25], [0.0, 0.25]]),  # what the second column lacks comes from the first row
    ],
)
def test_mass_moves_where_it_costs_nothing(rows: list[float], expected: Rows) -> None:
    cost = torch.tensor([[[0.0, 2.0], [2.0, 0.0]]])
    found = transport_plan(cost, torch.tensor([rows]), torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([expected]), rtol=0, atol=1e-4)


def test_the_loss_of_maps_equals_the_slow_version() -> None:
    torch.manual_seed(0)
    prediction, target = torch.randn(3, 9, 6) + 0.3, torch.randn(3, 4, 6) + 0.3
    pairs = zip(prediction.tolist(), target.tolist(), strict=True)
    expected = sum(slow_transport(p, t) for p, t in pairs) / 3
    assert transport_loss(prediction, target).item() == pytest.approx(expected, abs=1e-4)


def test_a_map_whose_cells_lie_elsewhere_is_the_same_map() -> None:
    target = torch.eye(9)[None]
    assert transport_loss(3 * target[:, torch.randperm(9)], target).item() == pytest.approx(0, abs=2e-3)
    assert transport_loss(-target[:, :1], target[:, :1]).item() == pytest.approx(4)  # unlike cells have a little mass


def test_the_loss_of_single_cells_is_byols() -> None:
    torch.manual_seed(0)
    prediction, target = torch.randn(5, 8), torch.randn(5, 8)
    expected = regression_loss(prediction, target).item()
    assert transport_loss(prediction[:, None], target[:, None]).item() == pytest.approx(expected, abs=1e-5)


def test_the_plan_has_no_gradient() -> None:
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 4, 6, requires_grad=True), torch.randn(2, 4, 6)
    transport_loss(prediction, target).backward()
    alike = nn.functional.cosine_similarity(prediction[:, :, None], target[:, None], dim=3)
    rows, columns = (alike.detach().mean(d).relu() + 1e-3 for d in (2, 1))
    masses = [m / m.sum(1, keepdim=True) for m in (rows, columns)]
    plan = transport_plan(1 - alike.detach(), *masses)
    [expected] = torch.autograd.grad((2 - 2 * (plan * alike).sum((1, 2))).mean(), prediction)
    torch.testing.assert_close(prediction.grad, expected, rtol=0, atol=1e-6)


def at_each(head: nn.Module, maps: Tensor) -> Tensor:
    """Apply a head to all cells of one view."""
    return head(torch.tensor([cell for each in maps for cell in slow_cells(each)])).view(BATCH, SIDE**2, -1)


def test_the_terms_are_those_of_both_directions() -> None:
    method, views = selfemd(), random_maps()
    with torch.no_grad():  # the target is not the online network
        method.target_projector.fc1.weight.mul_(-1)
        method.target_dense_projector.fc1.weight.add_(0.1)
    both = [views["image_1"], views["image_2"]]
    with torch.no_grad():
        vectors = [method.predictor(method.projector(view.mean((2, 3)))) for view in both]
        goals = [method.target_projector(view.mean((2, 3))) for view in both]
        flat = [at_each(method.dense_projector, view).flatten(0, 1) for view in both]
        predicted = [method.dense_predictor(rows).view(BATCH, SIDE**2, -1) for rows in flat]
        aims = [at_each(method.target_dense_projector, view) for view in both]
    whole = sum(regression_loss(v, g).item() for v, g in zip(vectors, goals[::-1], strict=True))
    each = [
        slow_transport(p, t)
        for one, other in zip(predicted, aims[::-1], strict=True)
        for p, t in zip(one.tolist(), other.tolist(), strict=True)
    ]
    terms, shown = method(views)
    assert list(terms) == ["image", "dense"]
    assert terms["image"].item() == pytest.approx(0.5 * whole, abs=1e-4)
    assert terms["dense"].item() == pytest.approx(0.5 * sum(each) / BATCH, abs=1e-4)
    assert shown.shape == (BATCH, 16)
    method.dense_weight = 0.25
    assert method(views)[0]["dense"].item() == pytest.approx(0.25 * sum(each) / BATCH, abs=1e-4)


def test_the_loss_starts_at_about_4() -> None:
    method, views = selfemd(), random_maps()
    assert sum(term.item() for term in method(views)[0].values()) == pytest.approx(4, abs=1)


def test_both_projectors_are_byols_and_the_one_for_pooled_maps_is_saved() -> None:
    method = SelfEMD("resnet18")
    for head in (method.projector, method.dense_projector, method.predictor, method.dense_predictor):
        assert head_of(head.state_dict()) == Head(4096, 256, "bootstrap")
