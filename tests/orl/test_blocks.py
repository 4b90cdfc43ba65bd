"""The blocks of backbones: which there are, that frozen ones stay as they are, and the rates of the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from orl_explorer.orl.blocks import blocks_of, divided
from orl_explorer.orl.bootstrap import Bootstrap
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.densecl import DenseCL
from orl_explorer.orl.method import Method
from orl_explorer.orl.mls import MLS
from orl_explorer.orl.moco import MoCo
from orl_explorer.orl.multicrop import MultiCropBYOL
from orl_explorer.orl.orl_loss import ORL
from orl_explorer.orl.self_emd import SelfEMD
from orl_explorer.orl.simclr import SimCLR
from orl_explorer.orl.trainable import build_trainable, refuse_side

METHODS: dict[str, Callable[..., Method]] = {
    "byol": BYOL,
    "moco": MoCo,
    "simclr": SimCLR,
    "densecl": DenseCL,
    "mls": MLS,
    "selfemd": SelfEMD,
}


def built(architecture: str) -> nn.Module:
    with torch.device("meta"):
        return build_trainable(architecture)[0]


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("resnet18", [3, 12, 15, 15, 15]),
        ("efficientnet_lite0", [3, 6, *[9] * 14, 12]),
        ("timm:resnet18", [3, 12, 15, 15, 15]),
        ("timm:convnext_atto", [4, 18, 22, 58, 22, 2]),
        ("timm:vit_tiny_patch16_224", [4, *[12] * 11, 14]),
    ],
)
def test_every_parameter_is_in_one_block_in_the_order_of_a_pass(architecture: str, sizes: list[int]) -> None:
    backbone = built(architecture)
    blocks = blocks_of(backbone)
    assert [len(block) for block in blocks] == sizes
    assert sorted(name for block in blocks for name in block) == sorted(n for n, _ in backbone.named_parameters())


def test_the_stem_comes_first_and_the_last_layers_belong_to_the_last_block() -> None:
    blocks = blocks_of(built("efficientnet_lite0"))
    assert blocks[0] == ["_conv_stem.weight", "_bn0.weight", "_bn0.bias"]
    assert blocks[-1][0] == "_blocks.15._expand_conv.weight"
    assert blocks[-1][-3:] == ["_conv_head.weight", "_bn1.weight", "_bn1.bias"]


def test_what_a_map_does_not_depend_on_does_not_learn() -> None:
    assert all(parameter.requires_grad for parameter in built("timm:test_vit").parameters())
    still = [name for name, parameter in built("timm:test_vit4").named_parameters() if not parameter.requires_grad]
    assert still == ["network.fc_norm.weight"]


@pytest.mark.parametrize("name", METHODS)
def test_frozen_blocks_keep_weights_and_statistics_and_the_others_learn(name: str) -> None:
    torch.manual_seed(0)
    method = METHODS[name]("resnet18", 8, 8)
    method.adapt(frozen=2)
    method.train()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    optimiser = method.optimiser(0.1, 0.9, 0.01)
    for step in range(2):
        terms, _ = method({f"image_{i}": torch.randn(4, 3, 32, 32) for i in (1, 2)})
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        method.after_step(step, 2)
    changed = {key for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    first = ("conv1", "bn1", "layer1")
    for prefix in ("backbone.", "target_backbone.", "key_backbone."):
        assert not [key for key in changed if key.startswith(tuple(prefix + part for part in first))]
    assert {"backbone.layer2.0.conv1.weight", "backbone.layer2.0.bn1.running_mean"} <= changed


@pytest.mark.parametrize("frozen", [0, 2])
@pytest.mark.parametrize("name", METHODS)
def test_batch_norms_can_all_stay_as_they_are(name: str, frozen: int) -> None:
    torch.manual_seed(0)
    method = METHODS[name]("resnet18", 8, 8)
    method.adapt(frozen, still_norms=True)
    method.train()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    optimiser = method.optimiser(0.1, 0.9, 0.01)
    terms, _ = method({f"image_{i}": torch.randn(4, 3, 32, 32) for i in (1, 2)})
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    method.after_step(0, 2)
    changed = {key for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    assert not [key for key in changed if "backbone." in key and (".bn" in key or "downsample.1" in key)]
    assert {"backbone.layer4.1.conv2.weight", "projector.fc1.weight"} <= changed
    assert ("backbone.layer1.0.conv1.weight" in changed) == (frozen == 0)


@pytest.mark.parametrize(("architecture", "blocks"), [("resnet18", 5), ("resnet50", 5), ("efficientnet_lite0", 17)])
def test_first_and_last_blocks_one_after_the_other_are_the_backbone(architecture: str, blocks: int) -> None:
    torch.manual_seed(0)
    backbone = build_trainable(architecture)[0].eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        whole = backbone(images)
        for count in (0, 1, 2, -3, -1, blocks):
            parts = divided(backbone, count)
            assert parts is not None
            assert torch.equal(parts[1](parts[0](images)), whole)
            last = [backbone.get_parameter(name) for block in blocks_of(backbone)[count:] for name in block]
            assert set(map(id, parts[1].parameters())) == set(map(id, last))
    assert divided(built("timm:test_vit"), 2) is None


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("method", [BYOL, ORL, MultiCropBYOL])
def test_frozen_blocks_that_both_networks_share_leave_the_same_weights_as_two_passes(
    method: type[Bootstrap], norms: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[type[Bootstrap], list[str]] = {
        BYOL: [],
        ORL: ["roi", "roi_jittered", "query_roi", "key_roi"],
        MultiCropBYOL: ["local_1", "local_2"],
    }

    def trained() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        made = method("resnet18", 16, 8)
        made.adapt(3, 0.7, norms)
        made.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimiser = made.optimiser(0.1, 0.9, 1e-4)
        for step in range(2):
            views = {name: torch.randn(4, 3, 64, 64) for name in ("image_1", "image_2")}
            views |= {name: torch.randn(4, 3, 32, 32) for name in asked[method]}
            terms, _ = made(views)
            torch.stack(list(terms.values())).sum().backward()
            optimiser.step()
            optimiser.zero_grad()
            made.after_step(step, 2)
        return made.state_dict()

    once = trained()
    monkeypatch.setattr("orl_explorer.orl.bootstrap.divided", lambda *_: None)
    twice = trained()
    assert [name for name in once if not torch.equal(once[name], twice[name])] == []


def test_without_layer_decay_all_parameters_learn_at_one_rate() -> None:
    method = BYOL("resnet18", 8, 8)
    method.adapt()
    (group,) = method.learned()
    assert list(group) == ["params"]
    assert len(group["params"]) == 60 + 2 * 5  # of the backbone, and of projector and predictor


def test_blocks_learn_the_more_slowly_the_nearer_they_are_to_the_input() -> None:
    method = SimCLR("resnet18", 8, 8)
    method.adapt(frozen=1, layer_decay=0.5)
    names = {id(p): name.split(".")[1] for name, p in method.named_parameters()}
    groups = method.learned()
    assert [group["scale"] for group in groups] == [1.0, 0.5, 0.25, 0.125]
    assert [{names[id(p)] for p in group["params"]} for group in groups] == [
        {"layer4", "fc0", "bn0", "fc1", "bn1"},
        {"layer3"},
        {"layer2"},
        {"layer1"},
    ]
    method.adapt(layer_decay=0.5, head_rate=10)
    heads, *others = method.learned()
    assert (heads["scale"], {names[id(p)] for p in heads["params"]}) == (10, {"fc0", "bn0", "fc1", "bn1"})
    assert [group["scale"] for group in others] == [1.0, 0.5, 0.25, 0.125]
    method.adapt(layer_decay=0.5)
    optimiser = method.optimiser(0.1, 0.9, 0.01)
    assert [(g["scale"], g["adapt"]) for g in optimiser.param_groups] == [
        *((scale, True) for scale in (1.0, 0.5, 0.25, 0.125)),
        *((scale, False) for scale in (1.0, 0.5, 0.25, 0.125)),
    ]


@pytest.mark.parametrize(
    ("architecture", "side", "sentence"),
    [
        ("timm:vit_tiny_patch16_224", 100, "use a multiple of 16, such as 96 or 112"),
        ("timm:vit_small_patch14_reg4_dinov2", 96, "use a multiple of 14, such as 84 or 98"),
    ],
)
def test_views_that_are_no_whole_number_of_patches_are_refused(architecture: str, side: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        refuse_side(built(architecture), side)
    refuse_side(built(architecture), 112)
    refuse_side(built("resnet18"), side)


def test_a_transformer_learns_from_views_of_other_sizes_than_it_was_built_for() -> None:
    torch.manual_seed(0)
    method = BYOL("timm:test_vit", 8, 8)
    method.adapt(frozen=3, layer_decay=0.5)
    method.train()
    before = {name: value.clone() for name, value in method.backbone.state_dict().items()}
    optimiser = method.optimiser(0.1, 0.9, 0.0)
    terms, _ = method({f"image_{i}": torch.randn(4, 3, 96, 96) for i in (1, 2)})
    terms["image"].backward()
    optimiser.step()
    changed = {name for name, value in method.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[2] for name in changed if ".blocks." in name} == {"2", "3", "4", "5"}
    assert "network.pos_embed" not in changed


def test_a_backbone_of_which_nothing_would_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="The backbone has 5 blocks, so at most 4 can be frozen"):
        BYOL("resnet18", 8, 8).adapt(frozen=5)
