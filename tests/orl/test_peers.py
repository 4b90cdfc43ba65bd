"""DenseCL and MLS: their losses against plain loops, what is matched, and what the queues hold.

Most tests leave the backbone out: the views are the maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from orl_explorer.orl.cell_heads import as_cells, at_each_cell, cell_cosines
from orl_explorer.orl.densecl import DenseCL
from orl_explorer.orl.heads import Head, head_of, mlp
from orl_explorer.orl.method import Method
from orl_explorer.orl.mls import MLS, label_loss, nearest_entries
from orl_explorer.orl.moco import queue_loss
from orl_explorer.orl.self_emd import SelfEMD

BATCH, SIDE, WIDTH = 4, 3, 96  # photos, cells along a side of a map, channels of timm's test_resnet
TINY = "timm:test_resnet"

Rows = list[list[float]]


def densecl(backbone: bool = False, queue: int = 32) -> DenseCL:
    torch.manual_seed(0)
    method = DenseCL(TINY, 24, 16, queue=queue, group=2).train()
    if not backbone:
        leave_out_backbones(method)
    return method


def mls(backbone: bool = False, queue: int = 32) -> MLS:
    torch.manual_seed(0)
    method = MLS(TINY, 24, 16, queue=queue, group=2, dictionary=12, labels=3).train()
    if not backbone:
        leave_out_backbones(method)
    return method


def leave_out_backbones(method: Method) -> None:
    for name in ("backbone", "key_backbone", "target_backbone"):
        if hasattr(method, name):
            setattr(method, name, nn.Identity())


def random_maps() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {f"image_{i}": torch.randn(BATCH, WIDTH, SIDE, SIDE).relu() for i in (1, 2)}


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(a: list[float]) -> list[float]:
    return [x / math.sqrt(dot(a, a)) for x in a]


def mean(rows: Rows) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def slow_cells(feature_map: Tensor) -> Rows:
    """The cells of one map, float [C, h, w]."""
    height, width = feature_map.shape[1:]
    return [feature_map[:, y, x].tolist() for y in range(height) for x in range(width)]


def through(head: nn.Module, rows: Rows) -> Rows:
    return head(torch.tensor(rows)).tolist()


def slow_contrast(query: list[float], key: list[float], queue: Rows, temperature: float = 0.2) -> float:
    own = math.exp(dot(unit(query), unit(key)) / temperature)
    return -math.log(own / (own + sum(math.exp(dot(unit(query), row) / temperature) for row in queue)))


def slow_densecl(method: DenseCL, views: dict[str, Tensor]) -> tuple[float, float]:
    whole, each = [], []
    for first, second in zip(views["image_1"], views["image_2"], strict=True):
        one, other = slow_cells(first), slow_cells(second)
        [query], [key] = through(method.projector, [mean(one)]), through(method.key_projector, [mean(other)])
        whole.append(slow_contrast(query, key, method.queue.tolist()))
        queries, keys = through(method.dense_projector, one), through(method.key_dense_projector, other)
        for i, cell in enumerate(one):
            likeness = [dot(unit(cell), unit(there)) for there in other]
            best = likeness.index(max(likeness))
            each.append(slow_contrast(queries[i], keys[best], method.dense_queue.tolist()))
    return sum(whole) / len(whole), sum(each) / len(each)


def test_cells_lie_row_by_row_and_their_cosines_are_between_all_of_them() -> None:
    feature_map = torch.tensor([[[[3.0, 0.0], [1.0, 0.0]], [[4.0, 2.0], [0.0, -1.0]]]])  # 1 2 2 2
    assert as_cells(feature_map).tolist() == [[[3, 4], [0, 2], [1, 0], [0, -1]]]
    other = torch.tensor([[[1.0, 0.0], [0.0, 5.0]]])
    expected = torch.tensor([[[0.6, 0.8], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]])
    torch.testing.assert_close(cell_cosines(as_cells(feature_map), other), expected)


def test_cosines_stay_exact_in_mixed_precision() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(2, 5, 8), torch.randn(2, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = cell_cosines(one, other)
        assert cell_cosines(one.bfloat16(), other.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(found, cell_cosines(one, other), rtol=0, atol=0)


def test_a_head_at_each_cell_is_a_chain_of_1x1_convolutions() -> None:
    torch.manual_seed(0)
    head, views = mlp(6, 5, 4), [torch.randn(3, 6, 2, 2), torch.randn(2, 6, 3, 3)]
    found = at_each_cell(head, [as_cells(view) for view in views])
    first, last = nn.Conv2d(6, 5, 1), nn.Conv2d(5, 4, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(head.fc0.weight[:, :, None, None])
        first.bias.copy_(head.fc0.bias)  # type: ignore[union-attr]
        last.weight.copy_(head.fc1.weight[:, :, None, None])
    for view, rows in zip(views, found, strict=True):  # each normalised by itself
        expected = last(nn.BatchNorm2d(5)(first(view)).relu())
        torch.testing.assert_close(rows, as_cells(expected), rtol=0, atol=1e-5)


def test_densecls_terms_equal_the_slow_version() -> None:
    method, views = densecl(), random_maps()
    with torch.no_grad():  # the network for keys is not that for queries
        method.key_projector.fc0.weight.mul_(-1)
        method.key_dense_projector.fc1.weight.add_(0.2)
    whole, each = slow_densecl(method, views)
    terms, shown = method(views)
    assert list(terms) == ["image", "dense"]
    assert terms["image"].item() == pytest.approx(0.5 * whole, abs=1e-5)
    assert terms["dense"].item() == pytest.approx(0.5 * each, abs=1e-5)
    assert shown.shape == (BATCH, 16)
    method = densecl()
    method.dense_weight = 0.2
    whole, each = slow_densecl(method, views)
    assert [term.item() for term in method(views)[0].values()] == pytest.approx([0.8 * whole, 0.2 * each], abs=1e-5)


def test_a_cell_meets_the_most_similar_cell_wherever_it_is() -> None:
    method, views = densecl(queue=64), random_maps()
    method.dense_queue = torch.zeros(64, 16)
    shuffled = as_cells(views["image_1"])[:, torch.randperm(SIDE**2)]
    views["image_2"] = 3 * shuffled.transpose(1, 2).reshape(BATCH, WIDTH, SIDE, SIDE)
    # Each finds itself, with cosine 1 (the biases of the heads are 0 at the start), among 64 rows of cosine 0.
    assert method(views)[0]["dense"].item() == pytest.approx(0.5 * math.log(1 + 64 * math.exp(-5)), abs=1e-5)


def test_the_level_of_chance_is_the_logarithm_of_the_queue() -> None:
    rows = torch.eye(4)
    assert queue_loss(rows[:2], rows[2:], torch.zeros(65_536, 4), 0.2).item() == pytest.approx(11.0904, abs=1e-3)


def test_the_dense_queue_holds_the_mean_of_a_photos_cells_in_the_order_of_the_queue() -> None:
    method, views = densecl(queue=6), random_maps()
    before = method.dense_queue.clone()
    method(views)
    assert torch.equal(method.dense_queue[BATCH:], before[BATCH:])
    for i, keys in enumerate(views["image_2"]):
        [whole] = through(method.key_projector, [mean(slow_cells(keys))])
        dense = mean(through(method.key_dense_projector, slow_cells(keys)))
        assert method.queue[i].tolist() == pytest.approx(unit(whole), abs=1e-5)
        assert method.dense_queue[i].tolist() == pytest.approx(unit(dense), abs=1e-5)
    first = method.dense_queue.clone()
    method(views)
    assert int(method.seen) == 2 * BATCH
    assert torch.equal(method.dense_queue[2:4], first[2:4])  # the second four are 4, 5, 0 and 1
    torch.testing.assert_close(method.dense_queue[4:], first[:2])
    method.eval()
    method(views)
    assert int(method.seen) == 2 * BATCH


def slow_labels(features: list[float], entries: Rows, count: int) -> list[int]:
    likeness = [dot(unit(features), entry) for entry in entries]
    best = sorted(range(len(entries)), key=lambda i: -likeness[i])[:count]
    return [int(i in best) for i in range(len(entries))]


def slow_mls(method: MLS, views: dict[str, Tensor]) -> tuple[float, float]:
    whole, by_label = [], []
    for first, second in zip(views["image_1"], views["image_2"], strict=True):
        features = mean(slow_cells(first))
        [query], [key] = (
            through(method.projector, [features]),
            through(method.key_projector, [mean(slow_cells(second))]),
        )
        whole.append(slow_contrast(query, key, method.queue.tolist()))
        labels = slow_labels(features, method.known_features.tolist(), method.labels)
        for label, entry in zip(labels, method.known_projections.tolist(), strict=True):
            share = 1 / (1 + math.exp(-dot(unit(query), entry) / 0.2))
            by_label.append(-math.log(share if label else 1 - share))
    return sum(whole) / len(whole), sum(by_label) / len(by_label)


def test_mls_terms_equal_the_slow_version() -> None:
    method, views = mls(), random_maps()
    method(views)  # fill some of the dictionaries with features that are alike
    whole, by_label = slow_mls(method, views)
    terms, shown = method(views)
    assert list(terms) == ["image", "labels"]
    assert terms["image"].item() == pytest.approx(whole, abs=1e-5)
    assert terms["labels"].item() == pytest.approx(0.5 * by_label, abs=1e-5)
    assert shown.shape == (BATCH, 16)


def test_pseudo_labels_are_the_entries_of_highest_cosine() -> None:
    entries = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    features = torch.tensor([[5.0, 1.0], [-1.0, 2.0]])
    assert nearest_entries(features, entries, 2).tolist() == [[1, 1, 0, 0], [0, 1, 1, 0]]
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest_entries(features.bfloat16(), entries, 1).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("query", "label", "expected"),
    [
        ([0.0, 2.0], 1.0, math.log(2)),  # cosine 0, the level of chance
        ([3.0, 0.0], 1.0, math.log(1 + math.exp(-5))),
        ([3.0, 0.0], 0.0, math.log(1 + math.exp(5))),
        ([-1.0, 0.0], 0.0, math.log(1 + math.exp(-5))),
    ],
)
def test_the_loss_of_a_label(query: list[float], label: float, expected: float) -> None:
    entries = torch.tensor([[1.0, 0.0]])
    found = label_loss(torch.tensor([query]), entries, torch.tensor([[label]]), 0.2)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_both_dictionaries_hold_the_same_photos_in_one_order_and_go_around() -> None:
    method = mls()
    for turn in range(4):  # 16 photos, of which 12 are kept
        torch.manual_seed(turn)
        method({f"image_{i}": torch.randn(BATCH, WIDTH, SIDE, SIDE).relu() for i in (1, 2)})
    assert int(method.seen) == 16
    torch.testing.assert_close(method.known_features.norm(dim=1), torch.ones(12))
    # A head whose biases are 0 projects unit features in the direction of the features.
    projected = nn.functional.normalize(method.key_projector(method.known_features))
    torch.testing.assert_close(method.known_projections, projected, rtol=0, atol=1e-5)
    torch.testing.assert_close(method.known_projections[:4], method.queue[12:16])  # the fourth turn
    torch.testing.assert_close(method.known_projections[4:], method.queue[4:12])


MADE: dict[str, Callable[[], Method]] = {
    "densecl": lambda: densecl(backbone=True),
    "mls": lambda: mls(backbone=True),
    "selfemd": lambda: SelfEMD(TINY, 24, 16).train(),
}


@pytest.mark.parametrize("name", MADE)
def test_gradients_reach_all_that_learns_and_nothing_of_the_slow_network(name: str) -> None:
    method = MADE[name]()
    torch.manual_seed(1)
    terms, _ = method({f"image_{i}": torch.randn(BATCH, 3, 64, 64) for i in (1, 2)})
    sum(terms.values()).backward()
    for key, parameter in method.named_parameters():
        if key.startswith(("key_", "target_")):
            assert parameter.grad is None, key
            assert not parameter.requires_grad, key
        else:
            assert parameter.grad is not None, key
            # The last batch norm of each block of this network starts at 0, and stops the gradient of those before it.
            assert parameter.grad.abs().max() > 0 or key.startswith("backbone.layer"), key


@pytest.mark.parametrize(("name", "slow"), [("densecl", "key_dense_projector"), ("selfemd", "target_dense_projector")])
def test_the_slow_dense_head_follows_and_catches_up(name: str, slow: str) -> None:
    method = MADE[name]()
    head, follower = method.get_submodule("dense_projector"), method.get_submodule(slow)
    with torch.no_grad():
        for parameters, value in ((head.parameters(), 3.0), (follower.parameters(), 1.0)):
            for parameter in parameters:
                parameter.fill_(value)
    method.momentum = 0.75  # type: ignore[assignment]
    method.after_step(0, 1)
    assert all((p == 1.5).all() for p in follower.parameters())
    method.catch_up()
    torch.testing.assert_close(follower.state_dict(), head.state_dict(), rtol=0, atol=0)


def test_the_sizes_are_those_of_the_papers() -> None:
    dense = DenseCL("resnet18")
    assert (
        head_of(dense.projector.state_dict()) == head_of(dense.dense_projector.state_dict()) == Head(2048, 128, "moco")
    )
    assert dense.queue.shape == dense.dense_queue.shape == (65_536, 128)
    assert (dense.temperature, dense.momentum, dense.group, dense.dense_weight) == (0.2, 0.999, 32, 0.5)
    multi = MLS("resnet18")
    assert head_of(multi.projector.state_dict()) == Head(2048, 256, "moco")
    shapes = [tuple(rows.shape) for rows in (multi.queue, multi.known_features, multi.known_projections)]
    assert shapes == [(65_536, 256), (4096, 512), (4096, 256)]
    assert (multi.temperature, multi.momentum, multi.labels, multi.label_weight) == (0.2, 0.995, 20, 0.5)
