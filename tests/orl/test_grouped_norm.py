"""Several batches in one pass give the same as one after the other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.grouped_norm import in_one_pass


def batches(*sizes: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(size, 3, 64, 64) * (number + 1) + number for number, size in enumerate(sizes)]


@pytest.mark.parametrize("sizes", [(4, 4, 4), (4, 2, 3), (5,)])
def test_outputs_gradients_and_running_statistics_are_those_of_one_after_the_other(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    together = build_backbone("resnet18")[0].double()
    apart = copy.deepcopy(together)
    many = [batch.double() for batch in batches(*sizes)]
    ours = in_one_pass(together, many)
    plain = [apart(batch) for batch in many]
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)
    torch.stack([out.square().sum() for out in ours]).sum().backward()
    torch.stack([out.square().sum() for out in plain]).sum().backward()
    for (name, one), other in zip(together.named_parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for (name, left), right in zip(together.named_buffers(), apart.buffers(), strict=True):
        torch.testing.assert_close(left, right, msg=name)


def test_two_batches_of_two_rows_by_hand() -> None:
    norm = nn.BatchNorm1d(1, eps=1e-12)
    first, second = in_one_pass(norm, [torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [30.0]])])
    assert first.flatten().tolist() == pytest.approx([-1, 1])
    assert second.flatten().tolist() == pytest.approx([-1, 1])
    assert norm(torch.tensor([[1.0], [3.0], [8.0]])).mean().item() == pytest.approx(0, abs=1e-6)  # as ever, afterwards
    assert int(norm.num_batches_tracked) == 3


def test_nothing_is_left_behind_when_a_pass_fails() -> None:
    norm = nn.BatchNorm1d(2)
    with pytest.raises(RuntimeError):
        in_one_pass(norm, [torch.zeros(2, 3), torch.zeros(2, 3)])
    assert "forward" not in vars(norm)
    assert in_one_pass(norm, []) == ()


def test_every_view_is_normalised_by_itself_in_both_networks() -> None:
    torch.manual_seed(0)
    method = BYOL("resnet18", hidden=16, projection=8)
    other = copy.deepcopy(method)
    views = dict(zip(("image_1", "image_2", "roi", "key_roi"), batches(4, 4, 4, 4), strict=True))
    online, target = method.online(views), method.target(views)
    assert list(online) == list(target) == list(views)
    for name, view in views.items():
        torch.testing.assert_close(online[name], other.online({name: view})[name])
        torch.testing.assert_close(target[name], other.target({name: view})[name])
        assert not target[name].requires_grad
