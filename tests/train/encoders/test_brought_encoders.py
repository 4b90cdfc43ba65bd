"""Encoders of timm and transformers in a workspace: added from names and folders, kept, read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import ensure_dataset
from orl_explorer.db.runs.runs import runs
from orl_explorer.db.store import StoreError
from orl_explorer.orl.reading import Choices
from orl_explorer.train.encoders.export import export_encoder
from orl_explorer.train.encoders.weights import (
    add,
    digest,
    embedder,
    load_encoder,
    reading_of,
    stored_weights,
    weights_from,
)
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import evaluate_preset
from orl_explorer.train.jobs.kinds import Evaluate, Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features
from orl_explorer.train.workspace import Workspace, open_workspace

VIT = "random:timm:test_vit"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "w")


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def saved_by_timm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as timm's ``save_for_hf`` writes it, of a network with arguments of its own."""
    folder = tmp_path_factory.mktemp("timm") / "mine"
    torch.manual_seed(1)
    network = timm.create_model("test_vit", embed_dim=48, num_heads=3)
    timm.models._hub.save_for_hf(
        network, folder, model_args={"embed_dim": 48, "num_heads": 3}, safe_serialization=False
    )
    return folder


@pytest.fixture(scope="module")
def saved_by_transformers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``save_pretrained`` writes it, of a whole CLIP."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hf") / "clip"
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(1)
    sides = {"image_size": 56, "patch_size": 14}
    config = transformers.CLIPConfig(vision_config=vision | sides, text_config=text | {"vocab_size": 99})
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    return folder


def test_digests_of_encoders_without_choices_are_those_of_earlier_versions() -> None:
    found = {source: digest(weights_from(source))[:16] for source in ("starter", "random:resnet18")}
    assert found == {"starter": "f499054fc885e561", "random:resnet18": "3ca0a612fc251061"}
    assert digest(weights_from("random:timm:test_resnet"))[:16] == "61c974b9613fc3a8"


def test_a_digest_depends_on_the_choices() -> None:
    chosen = [{}, {"layer": 3}, {"pooling": "mean"}, {"photo_size": 480}, {"crop_size": 160}]
    assert len({digest(weights_from(VIT, choices=Choices(**each))) for each in chosen}) == 5
    assert digest(weights_from(VIT)) == digest(weights_from(VIT))
    assert digest(weights_from("starter", choices=Choices(crop_size=160)))[:16] != "f499054fc885e561"


def test_an_encoder_is_kept_and_read_back(workspace: Workspace, crops: np.ndarray) -> None:
    row = add(workspace, VIT, "vit", choices=Choices(layer=4, pooling="mean", crop_size=160))
    assert (row.architecture, row.roi_features, row.learned_from) == ("timm:test_vit", 64, "nothing")
    reading = reading_of(encoder_named(workspace.store, "vit"))
    assert (reading.layer, reading.pooling, reading.crop_size, reading.photo_size) == (4, "mean", 160, 640)
    direct = embedder(weights_from(VIT, choices=Choices(layer=4, pooling="mean", crop_size=160)))
    np.testing.assert_array_equal(load_encoder(workspace, row).embed_rois(crops), direct.embed_rois(crops))
    assert Features(workspace, row).reading == reading
    assert Features(workspace, row).weights().reading == reading


def test_the_same_name_with_other_choices_is_taken(workspace: Workspace) -> None:
    add(workspace, VIT, "vit")
    with pytest.raises(StoreError, match="The encoder 'vit' already exists"):
        add(workspace, VIT, "vit", choices=Choices(layer=2))


def test_a_convolutional_network_of_timm_is_read_as_before(workspace: Workspace) -> None:
    assert add(workspace, "random:timm:test_resnet", "plain").reading is None
    deep = add(workspace, "random:timm:test_resnet", "deep", choices=Choices(layer=-2))
    assert deep.reading is not None
    assert (deep.reading["stride"], deep.roi_features) == (16, 192)


def test_a_resnet_is_read_up_to_a_stage(crops: np.ndarray) -> None:
    weights = weights_from("random:resnet18", choices=Choices(layer=3))
    found = embedder(weights)
    assert found.feature_map(crops[0]).shape == (256, 14, 14)
    whole = embedder(weights_from("random:resnet18"))
    assert found.attention(crops).shape == whole.attention(np.zeros((2, 640, 640, 3), np.uint8)).shape


def test_a_folder_of_timm_is_read(workspace: Workspace, saved_by_timm: Path, crops: np.ndarray) -> None:
    row = add(workspace, f"timm-local:{saved_by_timm}", "mine")
    assert (row.architecture, row.roi_features) == ("timm:test_vit", 48)
    encoder = load_encoder(workspace, row)
    torch.manual_seed(1)
    network = timm.create_model("test_vit", embed_dim=48, num_heads=3, dynamic_img_size=True).eval()
    images = encoder.normalise(crops)
    with torch.inference_mode():
        expected = F.normalize(network.forward_head(network.forward_features(images), pre_logits=True))
    np.testing.assert_allclose(encoder.embed_rois(crops), expected, atol=1e-5)


def test_a_folder_of_transformers_is_read(workspace: Workspace, saved_by_transformers: Path, crops: np.ndarray) -> None:
    transformers = pytest.importorskip("transformers")
    told: list[str] = []
    row = add(workspace, f"hf:{saved_by_transformers}", "clip", tell=told.append)
    assert (row.architecture, row.roi_features, row.learned_from) == ("hf:clip_vision_model", 32, "text")
    assert "tensors of other parts, such as logit_scale, were left out." in told[0]
    reading = reading_of(row)
    assert reading.mean == (0.48145466, 0.4578275, 0.40821073)
    assert reading.interpolation == "bicubic"
    encoder = load_encoder(workspace, row)
    whole = transformers.CLIPModel.from_pretrained(saved_by_transformers).eval()
    with torch.inference_mode():
        seen = whole.vision_model(encoder.normalise(crops), interpolate_pos_encoding=True)
    np.testing.assert_allclose(encoder.embed_rois(crops), F.normalize(seen.pooler_output), atol=1e-5)


def test_a_folder_without_some_weights_is_refused(saved_by_transformers: Path, tmp_path: Path) -> None:
    config = json.loads((saved_by_transformers / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((saved_by_transformers / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"16 tensors of its vision model, such as .*, are not in its files"):
        weights_from(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("hf:/nowhere", "Cannot read /nowhere/config.json, which describes a model"),
        ("timm-local:/nowhere", "Cannot read /nowhere/config.json, which describes a model"),
        ("timm:test_vitt", "timm has no model 'test_vitt'"),
        ("vit_small", "'vit_small' is not an encoder. Use 'starter', 'torchvision:resnet50', 'timm:NAME'"),
    ],
)
def test_what_cannot_be_read_is_refused(source: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        weights_from(source)


def test_an_exported_encoder_is_read_as_before(workspace: Workspace, tmp_path: Path, crops: np.ndarray) -> None:
    row = add(workspace, VIT, "vit", choices=Choices(crop_size=160))
    export_encoder(workspace, "vit", "safetensors", tmp_path / "vit.safetensors")
    told: list[str] = []
    again = add(workspace, str(tmp_path / "vit.safetensors"), "again", tell=told.append)
    assert told[0].endswith("78 tensors of the backbone and 0 of a projector were read; none was ignored.")
    assert again.weights_sha256 == row.weights_sha256
    assert again.reading == row.reading
    assert stored_weights(workspace, again).reading == stored_weights(workspace, row).reading


def test_one_precision_is_refused(workspace: Workspace) -> None:
    row = add(workspace, VIT, "vit")
    dataset = ensure_dataset(workspace.store, "photos", str(workspace.path), "folder")
    job = Mine(name="set", dataset_id=dataset.id, encoder_id=row.id, config=MineConfig(precision="fp32-onnx"))
    with pytest.raises(UserError, match=r"^Invalid value for precision: fp32-onnx\. .* 'vit' is a timm:test_vit read"):
        launch(workspace, job)
    assert not runs(workspace.store)
    with pytest.raises(UserError, match=r"ONNX Runtime cannot run the architecture timm:test_vit: only convolutional"):
        load_encoder(workspace, row, precision="fp32-onnx")
    half = load_encoder(workspace, row, precision="bf16")
    assert np.isfinite(half.embed_rois(np.zeros((1, 224, 224, 3), np.uint8))).all()


@pytest.mark.parametrize(
    ("protocol", "taken"),
    [("semi", "convolutional networks of stride 32"), ("detection", "ResNets of torchvision, for their four depths.")],
)
def test_a_protocol_that_trains_the_network_refuses_before_it_is_queued(
    workspace: Workspace, protocol: str, taken: str
) -> None:
    job = Evaluate.on(workspace, add(workspace, VIT, "vit"), str(workspace.path), evaluate_preset(protocol))
    with pytest.raises(UserError, match=f"^The encoder 'vit' cannot be fine-tuned.*: this protocol takes {taken}"):
        launch(workspace, job)
    assert not runs(workspace.store)


def saved_vit(tmp_path: Path, **arguments: object) -> tuple[Path, torch.nn.Module]:
    """A file as DINO's training writes it: a student and a teacher, each with a backbone and a head."""
    torch.manual_seed(2)
    small = {"embed_dim": 192, "depth": 2, "num_heads": 3, "img_size": 32, "patch_size": 8, "dynamic_img_size": True}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **(small | arguments)).eval()
    state = network.state_dict()
    if "reg_token" in state:  # as DINOv2 names and joins them
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.zeros_like(state["cls_token"]), state["pos_embed"]], dim=1)
        state["mask_token"] = torch.zeros(1, 192)
    teacher = {f"backbone.{name}": value for name, value in state.items()}
    student = {f"module.backbone.{name}": value * 2 for name, value in state.items()}
    head = {"head.mlp.0.weight": torch.zeros(8, 192)}
    torch.save({"student": student, "teacher": teacher | head, "epoch": 3}, tmp_path / "checkpoint.pth")
    return tmp_path / "checkpoint.pth", network


@pytest.mark.parametrize("arguments", [{}, {"reg_tokens": 4, "no_embed_class": True, "init_values": 1.0}])
def test_a_checkpoint_of_dino_is_known_by_its_tensors(tmp_path: Path, crops: np.ndarray, arguments: dict) -> None:
    path, network = saved_vit(tmp_path, **arguments)
    told: list[str] = []
    weights = weights_from(str(path), tell=told.append)
    assert weights.reading is not None
    assert (weights.reading.stride, weights.reading.pooling, weights.reading.learned_from) == (8, "class", "nothing")
    assert "The file holds 2 networks. Read: 'teacher.backbone'. Not read: 'student.module.backbone'." in told[0]
    encoder = embedder(weights)
    with torch.inference_mode():
        expected = F.normalize(network(encoder.normalise(crops)))
    np.testing.assert_allclose(encoder.embed_rois(crops), expected, atol=1e-5)
    student = weights_from(str(path), part="student")
    assert digest(student) != digest(weights)


def test_a_vision_transformer_of_unknown_width_is_refused(tmp_path: Path) -> None:
    path, _ = saved_vit(tmp_path, embed_dim=96)
    with pytest.raises(UserError, match=r"holds a vision transformer of width 96, .* --architecture timm:NAME"):
        weights_from(str(path))
