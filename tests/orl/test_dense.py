"""Networks of timm, read through one adapter: the same as by hand, whatever the number and the size of the images."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

from orl_explorer.orl.dense import Dense, _LastAttention
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.map_boxes import MOST, boxes_of_map
from orl_explorer.orl.pixels import ATTENTION_CELLS, ATTENTION_PLANES
from orl_explorer.orl.reading import Choices, Reading
from orl_explorer.orl.timm_dense import learned_from, plan_timm

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
# A network of each family: its name, and arguments that make it small.
FAMILIES: dict[str, tuple[str, dict]] = {
    "class token": ("vit_tiny_patch16_224", SMALL),
    "registers": ("vit_small_patch14_reg4_dinov2", SMALL),
    "rotary": ("vit_small_patch16_dinov3", SMALL),
    "no class token": ("vit_base_patch16_siglip_224", SMALL),
    "windows": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
    ),
    "one size": ("hiera_tiny_224", {"embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1, 1)}),
    "convolutions": ("test_convnext", {}),
}


AS_IT_IS = Choices()


@cache
def made(family: str, choices: Choices = AS_IT_IS) -> EncoderNetwork:
    name, small = FAMILIES[family]
    torch.manual_seed(0)
    encoder = EncoderNetwork(f"timm:{name}", None, plan_timm(f"timm:{name}", choices, small))
    for parameter in encoder.network.parameters():  # positions and class tokens start at nearly zero
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return encoder.eval()


def pixels(count: int, *sides: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *sides, 3), np.uint8)


def read_as(family: str) -> dict[str, object]:
    reading = made(family).reading
    names = "layer", "layers", "pooling", "photo_size", "crop_size", "stride", "fixed", "prefix", "class_token"
    return {name: getattr(reading, name) for name in names}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("class token", (2, 2, "class", 640, 224, 16, False, 1, True)),
        ("registers", (2, 2, "class", 644, 224, 14, False, 5, True)),
        ("rotary", (2, 2, "class", 640, 224, 16, False, 5, True)),
        ("no class token", (2, 2, "head", 640, 224, 16, False, 0, False)),
        ("windows", (4, 4, "mean", 640, 224, 32, False, 0, False)),
        ("one size", (4, 4, "mean", 224, 224, 32, True, 0, False)),
        ("convolutions", (4, 4, "mean", 640, 224, 32, False, 0, False)),
    ],
)
def test_each_family_is_read_in_its_own_way(family: str, expected: tuple) -> None:
    assert tuple(read_as(family).values()) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_the_adapter_says_what_the_library_says(family: str) -> None:
    encoder = made(family)
    reading, network = encoder.reading, encoder.network
    crops = pixels(3, 224, 224)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (reading.mean, reading.std))
    with torch.inference_mode():
        features = network.forward_features((images - mean) / std)  # type: ignore[operator]
        if reading.stride == 32 and features.shape[-1] == encoder.channels and features.ndim == 4:
            features = features.flatten(1, 2)  # of windows: channels last
        if features.ndim == 4:
            maps = features
        else:
            cells = features[:, reading.prefix :].transpose(1, 2)
            maps = cells.unflatten(2, (224 // reading.stride,) * 2)
        pooled = {
            "mean": maps.mean(dim=(2, 3)),
            "class": features[:, 0],
            "head": network.forward_head(features, pre_logits=True) if reading.pooling == "head" else None,  # type: ignore[operator]
        }[reading.pooling]
    assert encoder.feature_map(crops[0]).shape == (encoder.channels, 224 // reading.stride, 224 // reading.stride)
    if family not in ("convolutions", "one size"):  # whose last norm belongs to the head, or to nothing
        np.testing.assert_allclose(encoder.feature_map(crops[0]), maps[0], atol=1e-5)
        np.testing.assert_allclose(encoder.embed_rois(crops), F.normalize(pooled), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_image_is_read_as_in_a_batch_and_again(family: str) -> None:
    encoder, crops = made(family), pixels(3, 224, 224)
    together = encoder.embed_rois(crops)
    np.testing.assert_array_equal(encoder.embed_rois(crops), together)
    np.testing.assert_allclose(encoder.embed_rois(crops[:1]), together[:1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_has_the_same_cells_for_all(family: str) -> None:
    encoder = made(family)
    found = encoder.attention(pixels(1, encoder.reading.photo_size, encoder.reading.photo_size))
    assert found.shape == (1, ATTENTION_PLANES * ATTENTION_CELLS**2)
    assert np.isfinite(found).all()


def test_cells_of_a_vision_transformer_do_not_stand_out_by_their_norm() -> None:
    assert {family: made(family).reading.salience for family in FAMILIES} == {
        "class token": "class",
        "registers": "class",
        "rotary": "class",
        "no class token": "degree",
        "windows": "norm",
        "one size": "norm",
        "convolutions": "norm",
    }
    assert made("class token", Choices(layer=1, pooling="mean")).reading.salience == "class"
    masked = plan_timm("timm:vit_base_patch16_224.mae", AS_IT_IS, SMALL)  # its class token learned nothing
    assert masked.salience == "degree"


@pytest.mark.parametrize("family", ["class token", "registers", "no class token"])
def test_what_stands_out_is_seen_at_two_scales(family: str) -> None:
    encoder, planes = made(family), []
    backbone, side = encoder.backbone, encoder.reading.photo_size
    assert isinstance(backbone, Dense)
    whole = pixels(1, side, side)
    images = encoder.normalise(whole)
    coarse = {640: 256, 644: 252}[side]
    for part in (images, F.interpolate(images, (coarse, coarse), mode="bilinear", antialias=True)):
        if encoder.reading.salience == "class":
            attended = backbone.attended(part)
            assert attended is not None
            plane = attended[0].detach().numpy()
        else:
            maps = backbone(part)[0].detach().double()
            flat = (maps - maps.mean(dim=(1, 2), keepdim=True)).flatten(1)
            alike = (flat.T @ flat > 0).sum(dim=1) - 1
            plane = (1 - alike / (len(alike) - 1)).view(maps.shape[1:]).numpy()
        plane = cv2.medianBlur(plane.astype(np.float32), 3)
        planes.append(torch.from_numpy(plane / plane.mean())[None, None])
    cells = (ATTENTION_CELLS,) * 2
    both = F.adaptive_avg_pool2d(planes[0], cells) + F.interpolate(planes[1], cells, mode="bilinear")
    found = encoder.attention(whole)[0, : ATTENTION_CELLS**2].reshape(cells)
    np.testing.assert_allclose(found, F.normalize(both.flatten(), dim=0).view(cells) / 2**0.5, atol=1e-4)


def test_a_token_that_stands_out_alone_is_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = made("class token")
    backbone, images = encoder.backbone, encoder.normalise(pixels(2, 320, 320))
    assert isinstance(backbone, Dense)
    usual, of_first_token = backbone.attended(images), _LastAttention.of_first_token
    assert usual is not None

    def with_artefacts(self: _LastAttention, *shape: int, prefix: int) -> torch.Tensor | None:
        found = of_first_token(self, *shape, prefix=prefix)
        assert found is not None
        found[:, 5, 7] = found[:, 15, 2] = found[:, 0, 19] = 100.0
        return found

    monkeypatch.setattr(_LastAttention, "of_first_token", with_artefacts)
    assert float(backbone.salient(images)[1].max()) <= float(usual.max())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_map_shows_the_same_boxes_again(family: str) -> None:
    encoder = made(family)
    side = encoder.reading.photo_size
    whole = pixels(2, side, side)
    found = encoder.map_boxes(whole)
    assert found.shape == (2, 4 * MOST)
    np.testing.assert_array_equal(encoder.map_boxes(whole), found)
    boxes = found.reshape(2, MOST, 4)
    assert (boxes[:, 0, 2:] > 0).all() and (boxes[..., :2] + boxes[..., 2:] <= 1.00001).all()
    np.testing.assert_array_equal(boxes[1], boxes_of_map(encoder._maps(whole)[1].numpy()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_photo_of_any_aspect_has_a_map(family: str) -> None:
    encoder = made(family)
    with torch.inference_mode():
        maps = encoder.backbone(torch.rand(2, 3, 200, 310))
    reading = encoder.reading
    sides = (224, 224) if reading.fixed else (round(200 / reading.multiple), round(310 / reading.multiple))
    expected = (7, 7) if reading.fixed else sides
    assert maps.shape == (2, encoder.channels, *expected)


def test_memory_is_bounded_by_tokens() -> None:
    backbone = made("registers").backbone
    assert isinstance(backbone, Dense)
    assert backbone.images_at_once(224, 224) == 51
    assert backbone.images_at_once(644, 644) == 2
    assert backbone.images_at_once(2044, 2044) == 1
    many = pixels(3, 644, 644)
    np.testing.assert_allclose(
        made("registers").embed_rois(many)[2:], made("registers").embed_rois(many[2:]), atol=1e-6
    )


@pytest.mark.parametrize("family", ["class token", "registers", "rotary"])
def test_the_class_tokens_attention_is_that_of_the_last_block(family: str) -> None:
    encoder = made(family)
    seen: list[torch.Tensor] = []
    attention = encoder.network.blocks[-1].attn  # type: ignore[union-attr, index]
    before = attention.fused_attn
    attention.attn_drop.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    found = encoder.class_attention(pixels(1, 160, 224)[0])
    try:
        attention.fused_attn = False  # the plain way, which shows its weights
        encoder.feature_map(pixels(1, 160, 224)[0])
    finally:
        attention.fused_attn = before
    assert found is not None
    expected = seen[-1][0, :, 0, encoder.reading.prefix :].mean(dim=0).unflatten(0, found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("family", ["no class token", "windows", "convolutions"])
def test_without_a_class_token_there_is_no_such_attention(family: str) -> None:
    assert made(family).class_attention(pixels(1, 160, 224)[0]) is None


def test_choices_are_kept_and_rounded_to_the_patch() -> None:
    reading = plan_timm("timm:test_vit", Choices(layer=-2, photo_size=500, crop_size=100, pooling="class"))
    assert (reading.layer, reading.photo_size, reading.crop_size, reading.pooling) == (5, 496, 96, "class")
    stage = plan_timm("timm:test_convnext", Choices(layer=2))
    assert (stage.stride, stage.pooling, stage.channels) == (8, "mean", 32)


@pytest.mark.parametrize(
    ("name", "choices", "sentence"),
    [
        ("test_vit", Choices(layer=7), "Invalid value for layer: 7. The network has 6: use 1 to 6."),
        ("test_convnext", Choices(pooling="class"), "This network has no class token. Use mean or head."),
        ("test_vit", Choices(layer=2, pooling="head"), "A head belongs to the last layer. Leave --layer out."),
        ("beit_base_patch16_224", Choices(photo_size=640), "This network takes images of 224 pixels only."),
        ("test_vit.none", Choices(), "timm has no weights 'none' of test_vit. It has r160_in1k."),
    ],
)
def test_an_impossible_choice_is_refused(name: str, choices: Choices, sentence: str) -> None:
    with pytest.raises(ValueError, match="^.*" + sentence.replace(".", r"\.")):
        plan_timm(f"timm:{name}", choices)


def test_a_network_without_a_map_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = timm.create_model("test_vit", num_classes=0)
    monkeypatch.setattr(
        type(network), "forward_intermediates", lambda self, x, **_: [torch.zeros(2, 64, device="meta")]
    )
    with pytest.raises(ValueError, match=r"'timm:test_vit' gives no map of a photo .* Try timm:vit_small_patch14_reg4"):
        plan_timm("timm:test_vit", Choices())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_small_patch14_reg4_dinov2.lvd142m", "nothing"),
        ("vit_base_patch16_224.mae", "nothing"),
        ("convnextv2_tiny.fcmae", "nothing"),
        ("convnextv2_tiny.fcmae_ft_in22k_in1k", "labels"),
        ("vit_base_patch16_clip_224.openai", "text"),
        ("vit_base_patch16_clip_224.openai_ft_in1k", "labels"),
        ("vit_base_patch16_siglip_224.webli", "text"),
        ("resnet50.a1_in1k", "labels"),
        ("vit_huge_patch14_gap_224.in1k_ijepa", "nothing"),
        ("samvit_base_patch16.sa1b", "labels"),
        ("mine.own", "unknown"),
    ],
)
def test_names_of_weights_tell_what_they_learned_from(name: str, expected: str) -> None:
    assert learned_from(name) == expected


def test_a_reading_is_the_same_after_it_was_stored() -> None:
    reading = made("registers").reading
    assert Reading.of(reading.stored()) == reading
    assert Reading.of(None) == Reading()
    assert "salience" in reading.stored() and "salience" not in made("convolutions").reading.stored()
    before = {name: value for name, value in reading.stored().items() if name != "salience"}
    assert Reading.of(before).salience == "norm"  # an encoder that was added before readings had one
    assert Reading.of(before).stored() == before
    with pytest.raises(ValueError, match="does not say how the encoder is read"):
        Reading.of({"layer": 1})
