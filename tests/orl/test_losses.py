"""BYOL and ORL: the value of the loss, its gradients, and the update of the target network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from orl_explorer.orl.bootstrap import Bootstrap, regression_loss
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.multicrop import MultiCropBYOL
from orl_explorer.orl.orl_loss import BRANCHES, ORL

BATCH, SIZE, PATCH = 8, 40, 32
VIEWS = ("image_1", "image_2", "roi", "roi_jittered", "query_roi", "key_roi")


def random_views() -> dict[str, Tensor]:
    torch.manual_seed(1)
    sizes = {name: SIZE if name.startswith("image") else PATCH for name in VIEWS}
    return {name: torch.randn(BATCH, 3, size, size) for name, size in sizes.items()}


def byol() -> BYOL:
    torch.manual_seed(0)
    return BYOL("resnet18", hidden=64, projection=128).train()


def orl(*weights: float) -> ORL:
    torch.manual_seed(0)
    return ORL("resnet18", 64, 128, weights=weights or (1.0, 1.0, 1.0)).train()  # type: ignore[arg-type]


def slow_loss(prediction: Tensor, target: Tensor) -> float:
    """2 - 2 cos, one row and one number at a time."""
    total = 0.0
    for p, t in zip(prediction.tolist(), target.tolist(), strict=True):
        dot = sum(a * b for a, b in zip(p, t, strict=True))
        lengths = math.sqrt(sum(a * a for a in p)) * math.sqrt(sum(b * b for b in t))
        total += 2 - 2 * dot / lengths
    return total / len(prediction)


def slow_symmetric_loss(method: Bootstrap, predictor: nn.Module, a: Tensor, b: Tensor) -> float:
    def project(backbone: nn.Module, projector: nn.Module, view: Tensor) -> Tensor:
        return projector(backbone(view).mean(dim=(2, 3)))

    with torch.no_grad():
        online = [predictor(project(method.backbone, method.projector, view)) for view in (a, b)]
        target = [project(method.target_backbone, method.target_projector, view) for view in (a, b)]
    return slow_loss(online[0], target[1]) + slow_loss(online[1], target[0])


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ([[2.0, 0.0]], [[5.0, 0.0]], 0.0),
        ([[1.0, 0.0]], [[0.0, 3.0]], 2.0),
        ([[1.0, 0.0]], [[-1.0, 0.0]], 4.0),
        ([[3.0, 4.0]], [[1.0, 0.0]], 0.8),  # 2 - 2 * 0.6
        ([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], 1.0),  # the mean of 0 and 2
    ],
)
def test_the_loss_of_one_direction(prediction: list, target: list, expected: float) -> None:
    assert regression_loss(torch.tensor(prediction), torch.tensor(target)).item() == pytest.approx(expected)


def test_byol_starts_at_about_4_and_orl_at_about_12() -> None:
    views = random_views()
    first = byol()(views)[0]
    assert list(first) == ["image"]
    assert first["image"].item() == pytest.approx(4, abs=0.5)
    second = orl()(views)[0]
    assert list(second) == ["image", "intra", "inter"]
    assert sum(second.values()).item() == pytest.approx(12, abs=1)  # type: ignore[union-attr]


def test_byols_loss_equals_the_slow_version() -> None:
    method, views = byol(), random_views()
    expected = slow_symmetric_loss(method, method.predictor, views["image_1"], views["image_2"])
    assert method(views)[0]["image"].item() == pytest.approx(expected, abs=1e-4)


def test_orls_terms_equal_the_slow_version_each_with_its_own_predictor() -> None:
    method, views = orl(0.5, 1.0, 2.0), random_views()
    pairs = {"image": ("image_1", "image_2"), "intra": ("roi", "roi_jittered"), "inter": ("query_roi", "key_roi")}
    weights = {"image": 0.5, "intra": 1.0, "inter": 2.0}
    losses, _ = method(views)
    for name, (a, b) in pairs.items():
        plain = slow_symmetric_loss(method, method.predictors[name], views[a], views[b])
        assert losses[name].item() == pytest.approx(weights[name] * plain, abs=1e-4)
    assert len({id(p) for p in method.predictors.values()}) == 3


def test_a_branch_of_weight_0_needs_no_view() -> None:
    method, views = orl(1.0, 0.0, 1.0), random_views()
    del views["roi"], views["roi_jittered"]
    assert list(method(views)[0]) == ["image", "inter"]
    assert list(method.predictors) == ["image", "inter"]  # nor a predictor


def test_the_views_of_each_branch_go_through_pipelines_1_and_2() -> None:
    assert [(b.name, b.first, b.second) for b in BRANCHES] == [
        ("image", "image_1", "image_2"),
        ("intra", "roi", "roi_jittered"),
        ("inter", "query_roi", "key_roi"),
    ]


@pytest.mark.parametrize("make", [byol, orl])
def test_gradients_reach_all_that_is_online_and_nothing_of_the_target(make) -> None:  # type: ignore[no-untyped-def]
    method = make()
    sum(method(random_views())[0].values()).backward()
    for name, parameter in method.named_parameters():
        if name.startswith("target_"):
            assert parameter.grad is None, name
            assert not parameter.requires_grad, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def forwards(module: nn.Module) -> list[int]:
    """Record the batch size of each later forward pass."""
    seen: list[int] = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    return seen


def test_every_view_is_a_batch_of_its_own_for_normalisation_and_rois_are_one_forward() -> None:
    method = orl()
    for network in (method.backbone, method.target_backbone):
        seen = forwards(network)
        method(random_views())
        assert seen == [BATCH, BATCH, 4 * BATCH]
    for network in (method.backbone, method.projector, method.target_backbone, method.target_projector):
        tracked = {int(value) for name, value in network.named_buffers() if name.endswith("num_batches_tracked")}
        assert tracked == {12}  # six views, twice


def buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.named_buffers()}


def test_the_target_normalises_each_batch_and_keeps_its_own_buffers() -> None:
    method = byol()
    start = buffers(method.target_backbone)
    method(random_views())
    after = buffers(method.target_backbone)
    assert after["bn1.num_batches_tracked"] == 2  # one for each view
    assert not torch.equal(after["bn1.running_mean"], start["bn1.running_mean"])
    method.backbone.get_buffer("bn1.running_mean").fill_(7.0)
    method.momentum = 0.5
    method.after_step(0, 1)
    for name, value in buffers(method.target_backbone).items():
        assert torch.equal(value, after[name]), name


def test_the_target_starts_as_a_copy_and_follows_every_parameter_slowly() -> None:
    method = byol()
    torch.testing.assert_close(method.target_backbone.state_dict(), method.backbone.state_dict())
    with torch.no_grad():
        for parameter in (*method.backbone.parameters(), *method.projector.parameters()):
            parameter.fill_(3.0)
        for parameter in (*method.target_backbone.parameters(), *method.target_projector.parameters()):
            parameter.fill_(1.0)
    method.momentum = 0.75
    method.after_step(0, 1)
    for parameter in (*method.target_backbone.parameters(), *method.target_projector.parameters()):
        assert (parameter == 1.5).all()  # 0.75 * 1 + 0.25 * 3
    for parameter in (*method.backbone.parameters(), *method.projector.parameters()):
        assert (parameter == 3.0).all()


def test_a_target_of_momentum_1_stands_still() -> None:
    method = byol()
    before = [p.clone() for p in method.target_backbone.parameters()]
    with torch.no_grad():
        method.backbone.get_parameter("conv1.weight").add_(1)
    method.after_step(1, 1)
    for old, new in zip(before, method.target_backbone.parameters(), strict=True):
        assert torch.equal(old, new)


def test_stage_1_is_the_image_branch_of_stage_3() -> None:
    views, alone, branch = random_views(), byol(), orl(1.0, 0.0, 0.0)
    whole = {name.replace("predictors.image.", "predictor."): value for name, value in branch.state_dict().items()}
    torch.testing.assert_close(alone.state_dict(), whole, rtol=0, atol=0)
    assert alone(views)[0]["image"].item() == branch(views)[0]["image"].item()


@pytest.mark.parametrize("method", [BYOL, MultiCropBYOL])
def test_a_predictor_of_the_papers_size_starts_kaiming_normal(method: type[BYOL]) -> None:
    torch.manual_seed(0)
    predictor = method("resnet18").predictor
    assert predictor.fc0.weight.std().item() == pytest.approx(0.0884, rel=0.01)  # sqrt(2 / 256)
    assert predictor.fc1.weight.std().item() == pytest.approx(0.0221, rel=0.01)  # sqrt(2 / 4096)
    assert predictor.fc0.bias.abs().max().item() == 0


def test_heads_have_the_layers_of_the_paper() -> None:
    projector = BYOL("resnet18").projector
    shapes = {name: tuple(p.shape) for name, p in projector.named_parameters()}
    assert shapes == {
        "fc0.weight": (4096, 512),
        "fc0.bias": (4096,),
        "bn0.weight": (4096,),
        "bn0.bias": (4096,),
        "fc1.weight": (256, 4096),
    }
