"""Backbones by ONNX Runtime: the maps of torch, whatever is computed along with them, or a refusal."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orl_explorer.orl.backbones import STARTER
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.heads import Head
from orl_explorer.orl.onnx_backbone import OnnxBackbone
from orl_explorer.train.encoders.weights import embedder, random_weights
from orl_explorer.train.errors import UserError
from tests.orl.test_encoder import assert_same_in_any_batch, random_pixels, trained_a_little


@pytest.mark.parametrize("architecture", ["resnet18", STARTER, "timm:mobilenetv3_small_050"])
def test_features_and_attention_are_those_of_torch_up_to_rounding(architecture: str) -> None:
    torch.manual_seed(0)
    plain = EncoderNetwork(architecture, projector=Head(32, 16)).fold()
    torch.manual_seed(0)
    other = EncoderNetwork(architecture, projector=Head(32, 16)).fold().by_onnx()
    pixels, wide = random_pixels(3, 96), random_pixels(1, 448)
    np.testing.assert_allclose(other.embed_images(pixels), plain.embed_images(pixels), atol=1e-5)
    np.testing.assert_allclose(other.embed_rois(pixels), plain.embed_rois(pixels), atol=1e-5)
    np.testing.assert_allclose(other.feature_map(wide[0]), plain.feature_map(wide[0]), rtol=1e-3, atol=1e-3)
    assert other.attention(wide).shape == plain.attention(wide).shape
    np.testing.assert_allclose(other.attention(wide)[:, :196], plain.attention(wide)[:, :196], atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_feature_depends_neither_on_the_batch_nor_on_the_threads(threads: int) -> None:
    before, pixels = torch.get_num_threads(), random_pixels(7, 96)
    encoder = trained_a_little(EncoderNetwork(STARTER)).fold()
    torch.set_num_threads(threads)
    try:
        assert_same_in_any_batch(encoder.by_onnx(), pixels)
    finally:
        torch.set_num_threads(before)


class OfOneSize(nn.Module):
    """A network that asks for the size of its images in Python, which a trace takes for a constant."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, : int(images.shape[2]) // 2]


class OfOneMean(nn.Module):
    """A network that subtracts a number that it computed in Python."""

    def forward(self, images: Tensor) -> Tensor:
        return images - float(images.abs().mean())


@pytest.mark.parametrize("network", [OfOneSize(), OfOneMean()])
def test_a_program_that_computes_other_maps_is_refused(network: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="its maps of images of"):
        OnnxBackbone(network)


def test_what_cannot_be_translated_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("no operator for this.\nA long report")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(UserError) as refused:
        embedder(random_weights("resnet18"), precision="fp32-onnx")
    assert str(refused.value) == (
        "ONNX Runtime cannot run the architecture resnet18: no operator for this. Use the precision fp32."
    )


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as refused:
        embedder(random_weights("resnet18"), precision="fp32-onnx")
    assert str(refused.value) == (
        f"The precision fp32-onnx needs {package}. Install what is missing with: "
        "pip install 'orl-explorer[onnx]'. Or use fp32."
    )
