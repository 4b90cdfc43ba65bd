"""ORL over SimCLR and over MoCo: its terms against plain loops and literal values, its negatives, its queues."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from orl_explorer.orl.lars import LARS
from orl_explorer.orl.method import Method
from orl_explorer.orl.moco import PIPELINE as MOCO_PIPELINE
from orl_explorer.orl.moco import MoCo
from orl_explorer.orl.orl_loss import ORL, ORLOverMoCo, ORLOverSimCLR
from orl_explorer.orl.simclr import PIPELINE as SIMCLR_PIPELINE
from orl_explorer.orl.simclr import SimCLR
from orl_explorer.orl.views import PIPELINES

BATCH, SIZE, PATCH = 8, 40, 32
PAIRS = {"image": ("image_1", "image_2"), "intra": ("roi", "roi_jittered"), "inter": ("query_roi", "key_roi")}
WEIGHTS = {"image": 0.5, "intra": 1.0, "inter": 2.0}


def random_views() -> dict[str, Tensor]:
    torch.manual_seed(1)
    sides = {name: SIZE if name.startswith("image") else PATCH for pair in PAIRS.values() for name in pair}
    return {name: torch.randn(BATCH, 3, side, side) for name, side in sides.items()}


def over_simclr(weights: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> ORLOverSimCLR:
    torch.manual_seed(0)
    return ORLOverSimCLR("resnet18", 32, 16, 0.3, weights).train()


def over_moco(weights: tuple[float, float, float] = (1.0, 1.0, 1.0), queue: int = 64) -> ORLOverMoCo:
    torch.manual_seed(0)
    return ORLOverMoCo("resnet18", 32, 16, 0.3, queue, 0.9, 4, weights).train()


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_simclr(first: Tensor, second: Tensor) -> float:
    """Cross-entropy of each view's partner among the branch's other views, one cosine at a time."""
    rows, total = [*first.tolist(), *second.tolist()], 0.0
    for i, row in enumerate(rows):
        exponentials = [math.exp(cosine(row, other) / 0.3) for other in rows]
        total -= math.log(exponentials[(i + len(first)) % len(rows)] / (sum(exponentials) - exponentials[i]))
    return total / len(rows)


def slow_moco(queries: Tensor, keys: Tensor, queue: Tensor) -> float:
    total = 0.0
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):
        own = math.exp(cosine(query, key) / 0.3)
        total -= math.log(own / (own + sum(math.exp(cosine(query, other) / 0.3) for other in queue.tolist())))
    return total / len(queries)


def test_terms_over_simclr_equal_the_slow_version() -> None:
    method, views = over_simclr(tuple(WEIGHTS.values())), random_views()  # type: ignore[arg-type]
    losses, projections = method(views)
    with torch.no_grad():
        found = {name: method.projector(method.backbone(view).mean(dim=(2, 3))) for name, view in views.items()}
    for name, (a, b) in PAIRS.items():
        assert losses[name].item() == pytest.approx(WEIGHTS[name] * slow_simclr(found[a], found[b]), abs=1e-4)
    torch.testing.assert_close(projections, found["image_1"], atol=1e-4, rtol=1e-4)


def test_terms_over_moco_equal_the_slow_version_with_groups_of_images_and_a_queue_for_each_branch() -> None:
    method, views = over_moco(tuple(WEIGHTS.values())), random_views()  # type: ignore[arg-type]
    queues = {name: queue.clone() for name, queue in zip(PAIRS, method.queue, strict=True)}
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(0))  # no key was seen yet

    def projected(backbone: nn.Module, projector: nn.Module, images: Tensor) -> Tensor:
        return torch.cat([projector(backbone(group).mean(dim=(2, 3))) for group in images.split(4)])

    losses, _ = method(views)
    for name, (a, b) in PAIRS.items():
        with torch.no_grad():
            queries = projected(method.backbone, method.projector, views[a])
            keys = torch.empty_like(queries)
            keys[order] = projected(method.key_backbone, method.key_projector, views[b][order])
        expected = WEIGHTS[name] * slow_moco(queries, keys, queues[name])
        assert losses[name].item() == pytest.approx(expected, abs=1e-4)
        at = [*PAIRS].index(name)
        torch.testing.assert_close(method.queue[at, :BATCH], nn.functional.normalize(keys), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(method.queue[at, BATCH:], queues[name][BATCH:], atol=0, rtol=0)
    assert method.seen == BATCH


def plainly(method: Method) -> Method:
    """Let a method see the three channels of a view of one pixel as its projection."""
    for part in ("backbone", "projector", "key_backbone", "key_projector"):
        if hasattr(method, part):
            setattr(method, part, nn.Identity())
    return method


def pixels(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows)[:, :, None, None]


def test_literal_terms_of_two_photos() -> None:
    red, green, blue = (2.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 3.0)
    apart, alike = pixels(red, green), pixels(red, red)
    views = {"image_1": apart, "image_2": apart, "roi": alike, "roi_jittered": alike}
    views |= {"query_roi": apart, "key_roi": pixels(green, red)}
    one = plainly(ORLOverSimCLR("resnet18", 8, 8, 1.0))
    # The partner and two others: of cosine 1, 0, 0; of 1, 1, 1; and of 0, 0, 1. No other view of the six counts.
    expected = [math.log(math.e + 2) - 1, math.log(3), math.log(math.e + 2)]
    assert [term.item() for term in one(views)[0].values()] == pytest.approx(expected)
    other = plainly(ORLOverMoCo("resnet18", 8, 8, 1.0, queue=2, group=2))
    other.queue = torch.tensor([[blue, blue], [red, blue], [green, blue]])
    other.queue /= other.queue.norm(dim=2, keepdim=True)
    # The key and the branch's two rows: of cosine 1, 0, 0; of 1, 1, 0; and of 0, with 1, 0 for green alone.
    expected = [math.log(math.e + 2) - 1, math.log(2 * math.e + 1) - 1, (math.log(3) + math.log(math.e + 2)) / 2]
    assert [term.item() for term in other(views)[0].values()] == pytest.approx(expected)
    assert other.queue.tolist() == [[[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [1, 0, 0]], [[0, 1, 0], [1, 0, 0]]]


@pytest.mark.parametrize("make", [over_simclr, over_moco])
def test_what_other_branches_show_of_the_same_photos_is_no_negative(make) -> None:  # type: ignore[no-untyped-def]
    views = random_views()
    before = make()(views)[0]["inter"].item()
    views |= {name: views["query_roi"].clone() for name in ("roi", "roi_jittered")}
    assert make()(views)[0]["inter"].item() == pytest.approx(before, abs=1e-6)


def test_the_image_branch_alone_is_stage_1_over_the_same_base() -> None:
    views, alone = random_views(), (1.0, 0.0, 0.0)
    torch.manual_seed(0)
    plain = SimCLR("resnet18", 32, 16, 0.3).train()
    torch.testing.assert_close(plain.state_dict(), over_simclr(alone).state_dict(), rtol=0, atol=0)
    assert plain(views)[0]["image"].item() == pytest.approx(over_simclr(alone)(views)[0]["image"].item(), abs=1e-5)
    torch.manual_seed(0)
    queued, branch = MoCo("resnet18", 32, 16, 0.3, 64, 0.9, 4).train(), over_moco(alone)
    branch.queue = queued.queue[None].clone()
    assert queued(views)[0]["image"].item() == branch(views)[0]["image"].item()


@pytest.mark.parametrize("make", [over_simclr, over_moco])
def test_a_branch_of_weight_0_needs_no_view(make) -> None:  # type: ignore[no-untyped-def]
    views = random_views()
    del views["roi"], views["roi_jittered"]
    assert list(make((1.0, 0.0, 1.0))(views)[0]) == ["image", "inter"]


def test_views_and_optimiser_are_those_of_the_base() -> None:
    torch.manual_seed(0)
    methods: list[Method] = [ORL("resnet18", 8, 8), over_simclr(), over_moco()]
    pipelines = [[view.pipeline for view in method.views(96)] for method in methods]
    assert pipelines == [list(PIPELINES), [SIMCLR_PIPELINE] * 2, [MOCO_PIPELINE] * 2]
    assert [type(method.optimiser(0.1, 0.9, 0.0)) for method in methods] == [torch.optim.SGD, LARS, torch.optim.SGD]


@pytest.mark.parametrize("make", [over_simclr, over_moco])
def test_frozen_blocks_stay_as_they_are_and_all_else_learns(make) -> None:  # type: ignore[no-untyped-def]
    method = make()
    method.adapt(frozen=2)
    method.train()
    sum(method(random_views())[0].values()).backward()
    for name, parameter in method.named_parameters():
        frozen = name.startswith(("key_", "backbone.conv1.", "backbone.bn1.", "backbone.layer1."))
        assert (parameter.grad is None) == frozen, name
    for name, tracked in method.named_buffers():
        if name.endswith("num_batches_tracked"):
            still = name.startswith(("backbone.bn1", "backbone.layer1", "key_backbone.bn1", "key_backbone.layer1"))
            assert (tracked == 0) == still, name


def test_the_queues_of_all_branches_wrap_around() -> None:
    method = over_moco(queue=12)
    for _ in range(2):
        method(random_views())
    assert method.seen == 16
    torch.testing.assert_close(method.queue.norm(dim=2), torch.ones(3, 12))
