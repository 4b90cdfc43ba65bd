"""Vision models of transformers, read through the adapter and by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.hf_dense import HfDense, plan_hf
from orl_explorer.orl.reading import Choices

transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 56,
    "patch_size": 14,
}
STAGES = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
CONFIGS: dict[str, dict] = {
    "dinov2": {key: value for key, value in SMALL.items() if key != "intermediate_size"},
    "dinov3_vit": SMALL | {"num_register_tokens": 4},
    "vit": SMALL,
    "vit_mae": SMALL,
    "clip": {"vision_config": SMALL, "text_config": {"hidden_size": 16, "num_hidden_layers": 1}},
    "siglip_vision_model": SMALL,
    "convnext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "swinv2": STAGES | {"image_size": 64, "window_size": 7},
    "hiera": STAGES | {"image_size": [64, 64]},
}


AS_IT_IS = Choices()


@cache
def made(kind: str, choices: Choices = AS_IT_IS) -> EncoderNetwork:
    torch.manual_seed(0)
    reading = plan_hf({"model_type": kind, **CONFIGS[kind]}, {}, choices)
    return EncoderNetwork(f"hf:{reading.network['model_type']}", None, reading)


def pixels(count: int, *sides: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *sides, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dinov2", (2, "class", 644, 224, 14, False, 1, "nothing")),
        ("dinov3_vit", (2, "class", 644, 224, 14, False, 5, "nothing")),
        ("vit", (2, "class", 644, 224, 14, False, 1, "unknown")),
        ("vit_mae", (2, "mean", 644, 224, 14, False, 1, "nothing")),
        ("clip", (2, "class", 644, 224, 14, False, 1, "text")),
        ("siglip_vision_model", (2, "head", 644, 224, 14, False, 0, "text")),
        ("convnext", (4, "mean", 640, 224, 32, False, 0, "unknown")),
        ("swinv2", (4, "mean", 640, 224, 32, False, 0, "unknown")),
        ("hiera", (4, "mean", 64, 64, 32, True, 0, "unknown")),
    ],
)
def test_each_family_is_read_in_its_own_way(kind: str, expected: tuple) -> None:
    reading = made(kind).reading
    names = "layers", "pooling", "photo_size", "crop_size", "stride", "fixed", "prefix", "learned_from"
    assert tuple(getattr(reading, name) for name in names) == expected


@pytest.mark.parametrize("kind", CONFIGS)
def test_maps_are_finite_the_same_again_and_alone(kind: str) -> None:
    encoder, size = made(kind), made(kind).reading.crop_size
    crops = pixels(3, size, size)
    together = encoder.embed_rois(crops)
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(encoder.embed_rois(crops), together)
    np.testing.assert_allclose(encoder.embed_rois(crops[:1]), together[:1], atol=1e-6)
    assert encoder.feature_map(crops[0]).shape[0] == encoder.channels


def by_hand(encoder: EncoderNetwork, crops: np.ndarray, **asked: object) -> object:
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in encoder.statistics)
    with torch.inference_mode():
        return encoder.network(pixel_values=(images - mean) / std, **asked)


def test_dinov2_is_read_as_its_backbone_and_its_class_token() -> None:
    encoder, crops = made("dinov2"), pixels(2, 84, 56)
    config = transformers.AutoConfig.for_model(**encoder.reading.network)
    config.out_indices = [-1]
    backbone = transformers.AutoBackbone.from_config(config).eval()
    backbone.load_state_dict(encoder.network.state_dict())
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in encoder.statistics)
    with torch.inference_mode():
        expected = backbone((images - mean) / std).feature_maps[-1]
    np.testing.assert_allclose(encoder.feature_map(crops[0]), expected[0], atol=1e-5)
    pooled = by_hand(encoder, crops).pooler_output  # type: ignore[attr-defined]
    np.testing.assert_allclose(encoder.embed_rois(crops), F.normalize(pooled), atol=1e-5)


def test_clip_is_read_after_its_last_norm() -> None:
    encoder, crops = made("clip"), pixels(2, 56, 56)
    found = by_hand(encoder, crops)
    np.testing.assert_allclose(
        encoder.embed_rois(crops),
        F.normalize(found.pooler_output),  # type: ignore[attr-defined]
        atol=1e-5,
    )
    with torch.inference_mode():
        cells = encoder.network.post_layernorm(found.last_hidden_state)[0, 1:]  # type: ignore[operator, attr-defined]
    np.testing.assert_allclose(encoder.feature_map(crops[0]), cells.T.unflatten(1, (4, 4)), atol=1e-5)


def test_siglip_is_pooled_by_its_head() -> None:
    encoder, crops = made("siglip_vision_model"), pixels(2, 56, 56)
    pooled = by_hand(encoder, crops).pooler_output  # type: ignore[attr-defined]
    np.testing.assert_allclose(encoder.embed_rois(crops), F.normalize(pooled), atol=1e-5)


def test_nothing_of_mae_is_masked_or_shuffled() -> None:
    encoder = made("vit_mae")
    grey = np.full((1, 224, 224, 3), 128, np.uint8)
    grey[0, :112, :112] = 255
    one, other = (encoder.feature_map(each) for each in (grey[0], grey[0, :, ::-1].copy()))
    assert one.shape == (32, 16, 16)
    changed = np.abs(one - other).mean(axis=0)
    assert changed[:8].mean() > changed[8:].mean()


def test_the_class_tokens_attention_is_seen() -> None:
    found = made("dinov2").class_attention(pixels(1, 84, 56)[0])
    assert found is not None
    assert found.shape == (6, 4)
    assert 0 < found.sum() < 1  # the rest is its attention to itself
    assert made("siglip_vision_model").class_attention(pixels(1, 56, 56)[0]) is None


def test_a_layer_is_chosen() -> None:
    encoder, crops = made("dinov2", Choices(layer=1, pooling="mean")), pixels(1, 56, 56)
    hidden = by_hand(encoder, crops, output_hidden_states=True).hidden_states[1]  # type: ignore[attr-defined]
    with torch.inference_mode():
        cells = encoder.network.layernorm(hidden)[0, 1:]  # type: ignore[operator]
    np.testing.assert_allclose(encoder.feature_map(crops[0]), cells.T.unflatten(1, (4, 4)), atol=1e-5)
    assert made("convnext", Choices(layer=2)).reading.stride == 8


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "bert"}, r"'hf:bert' gives no map of a photo \(.*\). Use a vision model such as DINOv2"),
        ({"model_type": "none"}, r"transformers [\d.]+ knows no such model 'none'"),
        ({"model_type": "siglip2_vision_model"}, r"'hf:siglip2_vision_model' gives no map of a photo \("),
    ],
)
def test_a_model_without_a_map_is_refused(config: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan_hf(config, {}, Choices())


def test_without_transformers_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs transformers. Install it with: pip install 'orl-explorer\[hf\]'"):
        plan_hf({"model_type": "vit"}, {}, Choices())


def test_a_beit_that_was_planned_on_paper_leaves_nothing_to_one_with_weights() -> None:
    config = {"model_type": "beit", **SMALL, "use_relative_position_bias": True}
    reading = plan_hf(config, {}, Choices())
    images = torch.rand(1, 3, 10 * 14, 7 * 14)  # the size at which it was planned
    with torch.device("meta"), torch.no_grad():
        HfDense.built(reading)(images.to("meta"))
    torch.manual_seed(0)
    built, by_hand = HfDense.built(reading), HfDense.built(reading)
    for parameter in built.parameters():
        parameter.data.normal_(0, 0.2)
    by_hand.load_state_dict(built.state_dict())
    for module in by_hand.network.modules():
        if hasattr(module, "generate_relative_position_index"):
            module.generate_relative_position_index = type(module).generate_relative_position_index.__wrapped__
    with torch.inference_mode():
        found, expected = [built(images) for _ in range(3)], by_hand(images)
    assert torch.isfinite(expected).all()
    for maps in found:
        torch.testing.assert_close(maps, expected)
