"""Backbones of timm: their maps, their gradients, and invalid names."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import timm
import torch

from orl_explorer.orl import distributed, timm_backbones
from orl_explorer.orl.backbones import build_backbone, normalisation
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.encoder import EncoderNetwork

CONVOLUTIONAL = ("timm:resnet18", "timm:test_convnext", "timm:mobilenetv3_small_050")


@pytest.mark.parametrize(("name", "channels"), list(zip(CONVOLUTIONAL, (512, 64, 1024), strict=True)))
def test_it_makes_a_map_of_stride_32_and_has_timms_names(name: str, channels: int) -> None:
    backbone, found = build_backbone(name)
    assert found == channels
    assert tuple(backbone(torch.zeros(2, 3, 96, 64)).shape) == (2, channels, 3, 2)
    assert list(backbone.state_dict()) == list(timm.create_model(name[5:], num_classes=0).state_dict())


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_all_of_it_learns(name: str) -> None:
    torch.manual_seed(0)
    method = BYOL(name, hidden=32, projection=16).train()
    terms, _ = method({f"image_{i}": torch.randn(4, 3, 64, 64) for i in (1, 2)})
    terms["image"].backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_an_encoder_of_timms_keeps_its_activations() -> None:
    torch.manual_seed(0)
    encoder = EncoderNetwork("timm:mobilenetv3_small_050")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    before = encoder.embed_rois(pixels)
    np.testing.assert_allclose(encoder.fold().embed_rois(pixels), before, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_synchronised_batch_norms_of_timms_keep_their_activations(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = build_backbone("timm:mobilenetv3_small_050")[0].eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, names = network(images), list(network.state_dict())
        with monkeypatch.context() as several:
            several.setattr(distributed, "count", lambda: 2)
            network = distributed.synchronise(network, torch.device(device))
        after = network(images)
    assert list(network.state_dict()) == names
    assert not any(type(module) is torch.nn.BatchNorm2d for module in network.modules())
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet19", "timm has no model 'resnet19'. Did you mean 'timm:resnet18'?"),
        ("qqqqqqqqq", "timm has no model 'qqqqqqqqq'. List its models with timm.list_models"),
        ("test_vit", r"'timm:test_vit' gives \[1, 17, 64\] for an image of 64 pixels, not a map "),
        ("vit_tiny_patch16_224", "'timm:vit_tiny_patch16_224' does not accept images of any size"),
    ],
)
def test_an_invalid_name_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_backbone(f"timm:{name}")


def test_without_timm_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    timm_backbones._channels.cache_clear()
    with pytest.raises(ValueError, match=r"needs timm. Install it with: pip install 'orl-explorer\[timm\]'"):
        build_backbone("timm:resnet18")


def test_pixels_are_normalised_as_timms_weights_want_them() -> None:
    assert normalisation("timm:resnet18") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation("timm:inception_v3")[0] == (0.5, 0.5, 0.5)
