"""SimCLR, MoCo v2 and multi-crop BYOL: losses against plain loops, gradients, queue, and LARS by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from orl_explorer.orl.bootstrap import regression_loss, symmetric_loss
from orl_explorer.orl.heads import Head, feature_spread, head_of, mlp
from orl_explorer.orl.lars import LARS, layer_groups
from orl_explorer.orl.moco import MoCo, queue_loss
from orl_explorer.orl.multicrop import MultiCropBYOL
from orl_explorer.orl.simclr import SimCLR, contrastive_loss

BATCH, SIZE, LOCAL = 8, 40, 32


def random_views(local: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(1)
    views = {f"image_{i}": torch.randn(BATCH, 3, SIZE, SIZE) for i in (1, 2)}
    return views | {f"local_{i}": torch.randn(BATCH, 3, LOCAL, LOCAL) for i in range(1, local + 1)}


def simclr() -> SimCLR:
    torch.manual_seed(0)
    return SimCLR("resnet18", hidden=32, projection=16).train()


def moco(queue: int = 64, group: int = 4) -> MoCo:
    torch.manual_seed(0)
    return MoCo("resnet18", hidden=32, projection=16, queue=queue, group=group).train()


def multicrop() -> MultiCropBYOL:
    torch.manual_seed(0)
    return MultiCropBYOL("resnet18", hidden=64, projection=32).train()


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_contrastive(first: Tensor, second: Tensor, temperature: float) -> float:
    rows, total = [*first.tolist(), *second.tolist()], 0.0
    for i, row in enumerate(rows):
        partner = (i + len(first)) % len(rows)
        others = [math.exp(cosine(row, other) / temperature) for j, other in enumerate(rows) if j != i]
        total -= math.log(math.exp(cosine(row, rows[partner]) / temperature) / sum(others))
    return total / len(rows)


def test_simclrs_loss_equals_the_slow_version() -> None:
    torch.manual_seed(2)
    first, second = torch.randn(5, 7), torch.randn(5, 7)
    assert contrastive_loss(first, second, 0.3).item() == pytest.approx(slow_contrastive(first, second, 0.3), abs=1e-5)


def test_simclrs_loss_of_two_images_that_are_told_apart() -> None:
    first = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    # The partner has cosine 1, the two views of the other image 0.
    assert contrastive_loss(first, first.clone(), 1.0).item() == pytest.approx(math.log(math.e + 2) - 1)


def test_mocos_loss_equals_the_slow_version() -> None:
    torch.manual_seed(2)
    queries, keys, queue = (nn.functional.normalize(torch.randn(n, 6)) for n in (4, 4, 9))
    total = 0.0
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):
        own = math.exp(cosine(query, key) / 0.2)
        total -= math.log(own / (own + sum(math.exp(cosine(query, other) / 0.2) for other in queue.tolist())))
    assert queue_loss(queries * 3, keys, queue, 0.2).item() == pytest.approx(total / 4, abs=1e-5)


def test_mocos_keys_lie_in_the_queue_in_the_order_of_their_photos() -> None:
    method, views = moco(group=BATCH), random_views()  # one group: its statistics do not depend on the order
    with torch.no_grad():
        expected = nn.functional.normalize(method.key_projector(method.key_backbone(views["image_2"]).mean(dim=(2, 3))))
    method(views)
    torch.testing.assert_close(method.queue[:BATCH], expected, rtol=0, atol=1e-5)


def test_mocos_query_is_held_against_the_key_of_the_same_photo() -> None:
    method, views = moco(group=BATCH), random_views()
    queue = method.queue.clone()
    with torch.no_grad():
        queries = method.projector(method.backbone(views["image_1"]).mean(dim=(2, 3)))
        keys = nn.functional.normalize(method.key_projector(method.key_backbone(views["image_2"]).mean(dim=(2, 3))))
    expected = queue_loss(queries, keys, queue, 0.2).item()
    assert abs(expected - queue_loss(queries, keys.roll(1, 0), queue, 0.2).item()) > 1e-3
    assert method(views)[0]["image"].item() == pytest.approx(expected, abs=1e-4)


def test_mocos_keys_take_the_place_of_the_oldest_and_go_around() -> None:
    method = moco(queue=12)
    before = method.queue.clone()
    method(random_views())
    assert int(method.seen) == 8
    assert torch.equal(method.queue[8:], before[8:])
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(12))
    first = method.queue.clone()
    method(random_views())
    assert int(method.seen) == 16
    assert torch.equal(method.queue[4:8], first[4:8])  # the second eight are 8..11 and 0..3
    assert not torch.equal(method.queue[:4], first[:4])


def test_a_queue_shorter_than_the_batch_keeps_the_newest() -> None:
    method = moco(queue=3)
    method(random_views())
    assert int(method.seen) == 8
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(3))


def test_mocos_keys_are_shuffled_between_the_groups_that_are_normalised_together() -> None:
    method, seen = moco(group=4), []
    views = random_views()
    views["image_2"] = torch.arange(BATCH).float().view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE) + 0.1 * views["image_2"]
    method.key_backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0].mean(dim=(1, 2, 3)).round().tolist()))
    method(views)
    (order,) = seen
    assert sorted(order) == list(range(8))
    assert sorted(order[:4]) != [0, 1, 2, 3]  # the first group
    assert int(method.key_backbone.get_buffer("bn1.num_batches_tracked")) == 2


@pytest.mark.parametrize(
    ("make", "still"), [(simclr, ()), (moco, ("key_",)), (multicrop, ("target_",))], ids=["simclr", "moco", "multicrop"]
)
def test_gradients_reach_all_that_learns_and_nothing_else(make, still: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    method = make()
    terms, _ = method(random_views(local=2))
    sum(terms.values()).backward()
    for name, parameter in method.named_parameters():
        if name.startswith(still or "none"):
            assert parameter.grad is None, name
            assert not parameter.requires_grad, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_mocos_slow_network_follows_with_a_momentum_that_stays() -> None:
    method = moco()
    with torch.no_grad():
        method.backbone.get_parameter("conv1.weight").fill_(1.0)
        method.key_backbone.get_parameter("conv1.weight").fill_(0.0)
    method.after_step(99, 100)
    assert method.key_backbone.get_parameter("conv1.weight").mean().item() == pytest.approx(0.001)


def test_every_crop_predicts_both_global_ones_but_itself() -> None:
    method, views = multicrop(), random_views(local=4)
    with torch.no_grad():
        target = method.target({name: views[name] for name in ("image_1", "image_2")})
        predicted = {name: method.predictor(method.online({name: view})[name]) for name, view in views.items()}
        whole = [
            regression_loss(predicted["image_1"], target["image_2"]).item(),
            regression_loss(predicted["image_2"], target["image_1"]).item(),
        ]
        small = [
            regression_loss(predicted[f"local_{i}"], target[f"image_{j}"]).item() for i in range(1, 5) for j in (1, 2)
        ]
    terms, _ = method(views)
    assert terms["image"].item() == pytest.approx(2 / 10 * sum(whole), abs=1e-4)
    assert terms["local"].item() == pytest.approx(2 / 10 * sum(small), abs=1e-4)


def test_without_local_crops_it_is_byol() -> None:
    method, views = multicrop(), random_views()
    with torch.no_grad():
        online, target = method.online(views), method.target(views)
        loss = symmetric_loss(method.predictor, online, target, ("image_1", "image_2")).item()
    terms, _ = method(views)
    assert list(terms) == ["image"]
    assert terms["image"].item() == pytest.approx(loss, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("bootstrap", ["fc0.weight", "fc0.bias", "bn0.weight", "bn0.bias", "fc1.weight"]),
        ("simclr", ["fc0.weight", "bn0.weight", "bn0.bias", "fc1.weight", "bn1.weight", "bn1.bias"]),
        ("moco", ["fc0.weight", "fc0.bias", "fc1.weight", "fc1.bias"]),
    ],
)
def test_a_head_is_known_by_its_state(kind, names: list[str]) -> None:  # type: ignore[no-untyped-def]
    head = mlp(8, 6, 4, kind)
    assert [name for name, _ in head.named_parameters()] == names
    assert head_of(head.state_dict()) == Head(6, 4, kind)
    assert head_of({"weight": torch.zeros(2, 2)}) is None


def test_the_spread_is_0_when_all_features_are_the_same_and_1_on_the_sphere() -> None:
    assert feature_spread(torch.ones(5, 16)).item() == pytest.approx(0, abs=1e-6)
    torch.manual_seed(0)
    assert feature_spread(torch.randn(4000, 16)).item() == pytest.approx(1, abs=0.02)


def test_two_steps_of_lars_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    bias = nn.Parameter(torch.tensor([1.0]))
    network = nn.Module()
    network.weight, network.bias = weight, bias
    optimiser = LARS(layer_groups([{"params": [weight, bias]}]), lr=0.5, momentum=0.9, weight_decay=0.1)
    weight.grad, bias.grad = torch.tensor([[0.3, 0.8]]), torch.tensor([2.0])
    optimiser.step()
    # d = grad + 0.1 w = (0.6, 1.2), |d| = 1.3416408, |w| = 5: d * 0.001 * 5 / |d| = (0.00223607, 0.00447214), times 0.5
    assert weight.tolist()[0] == pytest.approx([3 - 0.001118034, 4 - 0.002236068], abs=1e-6)
    assert bias.tolist() == pytest.approx([0.0])  # neither decayed nor scaled: 1 - 0.5 * 2
    weight.grad, bias.grad = torch.zeros(1, 2), torch.zeros(1)
    before = weight.tolist()[0]
    optimiser.step()
    # Nothing but decay: d = 0.1 w, scaled to 0.001 w, times 0.5; and 0.9 of the step before.
    expected = [w - 0.0005 * w - 0.9 * s for w, s in zip(before, (0.001118034, 0.002236068), strict=True)]
    assert weight.tolist()[0] == pytest.approx(expected, abs=1e-6)
    assert bias.tolist() == pytest.approx([-0.9])


def test_simclrs_term_is_the_loss_between_its_two_views() -> None:
    method, views = simclr(), random_views()
    with torch.no_grad():
        first, second = (method.projector(method.backbone(views[f"image_{i}"]).mean(dim=(2, 3))) for i in (1, 2))
    terms, shown = method(views)
    assert list(terms) == ["image"]
    assert terms["image"].item() == pytest.approx(slow_contrastive(first, second, 0.1), abs=1e-3)
    torch.testing.assert_close(shown, first)


def test_simclr_and_moco_start_with_the_sizes_of_their_papers() -> None:
    one, other = SimCLR("resnet18"), MoCo("resnet18")
    assert head_of(one.projector.state_dict()) == Head(2048, 128, "simclr")
    assert one.temperature == 0.1
    assert head_of(other.projector.state_dict()) == Head(2048, 128, "moco")
    assert (other.temperature, other.momentum, other.group) == (0.2, 0.999, 32)
    assert tuple(other.queue.shape) == (65_536, 128)


def test_the_spread_is_that_of_the_batch_and_not_of_the_numbers_in_a_feature() -> None:
    assert feature_spread(torch.tensor([[3.0, 0.0, 0.0]] * 5)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("weight", "gradient", "expected"),
    [
        ([0.3, 0.4], [0.6, 0.8], [0.2997, 0.3996]),  # 0.001 * 0.5 / 1 of the gradient
        ([0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]),  # what is zero has no length to go by
        ([3.0, 4.0], [0.0, 0.0], [3.0, 4.0]),
    ],
)
def test_lars_scales_short_weights_too_and_leaves_none_stuck(
    weight: list[float], gradient: list[float], expected: list[float]
) -> None:
    learned = nn.Parameter(torch.tensor(weight))
    learned.grad = torch.tensor(gradient)
    LARS([{"params": [learned]}], lr=1.0, momentum=0.0, weight_decay=0.0).step()
    assert learned.tolist() == pytest.approx(expected, abs=1e-6)


def test_lars_has_the_momentum_and_the_decay_of_simclr() -> None:
    group = LARS([{"params": [nn.Parameter(torch.zeros(2, 2))]}], lr=0.3).param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-6)
