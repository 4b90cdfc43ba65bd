"""Encoders exported for other programs give the same features there."""

from __future__ import annotations

import json
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.store import StoreError
from orl_explorer.orl.heads import LinearProjector
from orl_explorer.train.encoders import weights
from orl_explorer.train.encoders.export import detectron2_checkpoint, detectron2_settings, export_encoder
from orl_explorer.train.encoders.state_dicts import read_checkpoint
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import pretrain

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(small_scenes: Path, tiny_byol: BYOLConfig, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the encoder 'learnt', a ResNet-18 with a projector, and 'starter'."""
    made = open_workspace(tmp_path_factory.mktemp("export") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    run = add_run(made.store, Run(kind="pretrain", name="learnt", params={})).id
    pretrain(made, "demo", "learnt", tiny_byol, run_id=run)
    return made


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 96, 64, 3), np.uint8)


def expected(workspace: Workspace, name: str, pixels: np.ndarray) -> Tensor:
    """Return unit features of RoIs, as in mining."""
    return torch.from_numpy(weights.load_encoder(workspace, encoder_named(workspace.store, name)).embed_rois(pixels))


def normalised(pixels: np.ndarray) -> Tensor:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    return (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / (
        torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    )


@torch.no_grad()
def unit(features: Tensor) -> Tensor:
    return nn.functional.normalize(features.mean((2, 3)) if features.ndim == 4 else features)


def test_torchvision_and_timm_make_the_same_features(trained: Workspace, tmp_path: Path, pixels: np.ndarray) -> None:
    for form in ("torchvision", "timm"):
        export_encoder(trained, "learnt", form, tmp_path / form)
    theirs = torchvision.models.resnet18()
    missing, unexpected = theirs.load_state_dict(torch.load(tmp_path / "torchvision", weights_only=True), strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    theirs.fc = nn.Identity()
    other = timm.create_model("resnet18", num_classes=0)
    other.load_state_dict(torch.load(tmp_path / "timm", weights_only=True))
    for network in (theirs, other):
        torch.testing.assert_close(
            unit(network.eval()(normalised(pixels))), expected(trained, "learnt", pixels), atol=1e-5, rtol=0
        )


def torchvision_name(name: str) -> str:
    """Return a ResNet's name of a tensor from detectron2's."""
    name = name.removeprefix("stem.")
    name = re.sub(r"res(\d)", lambda found: f"layer{int(found[1]) - 1}", name)
    name = re.sub(r"conv(\d)\.norm", r"bn\1", name)
    return name.replace("shortcut.norm", "downsample.1").replace("shortcut", "downsample.0")


def test_detectron2_gets_its_names_and_arrays_and_they_map_back(
    trained: Workspace, tmp_path: Path, pixels: np.ndarray
) -> None:
    card = json.loads(export_encoder(trained, "learnt", "detectron2", tmp_path / "e.pkl").read_text())
    written = pickle.loads((tmp_path / "e.pkl").read_bytes())
    assert sorted(written) == ["__author__", "matching_heuristics", "model"]
    assert written["matching_heuristics"] is True
    assert {type(value) for value in written["model"].values()} <= {np.ndarray, np.int64}
    assert written["model"]["stem.conv1.weight"].shape == (64, 3, 7, 7)
    theirs = torchvision.models.resnet18()
    state = {torchvision_name(name): torch.as_tensor(value) for name, value in written["model"].items()}
    assert theirs.load_state_dict(state, strict=False).unexpected_keys == []
    theirs.fc = nn.Identity()
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()  # RGB in 0..255, as the card has it
    mean, std = (torch.tensor(detectron2_settings("resnet18")[f"MODEL.PIXEL_{part}"]) for part in ("MEAN", "STD"))
    found = unit(theirs.eval()((images - mean[:, None, None]) / std[:, None, None]))
    torch.testing.assert_close(found, expected(trained, "learnt", pixels), atol=1e-5, rtol=0)
    assert "INPUT.FORMAT RGB" in card["how_to_load"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("conv1.weight", "stem.conv1.weight"),
        ("bn1.running_mean", "stem.conv1.norm.running_mean"),
        ("layer1.0.conv3.weight", "res2.0.conv3.weight"),
        ("layer4.2.bn3.bias", "res5.2.conv3.norm.bias"),
        ("layer2.0.downsample.0.weight", "res3.0.shortcut.weight"),
        ("layer2.0.downsample.1.running_var", "res3.0.shortcut.norm.running_var"),
    ],
)
def test_names_that_detectron2_has_for_a_resnet(ours: str, theirs: str) -> None:
    assert list(detectron2_checkpoint({ours: torch.zeros(1)})["model"]) == [theirs]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("resnet50", {"DEPTH": 50}),
        ("resnet34", {"DEPTH": 34, "RES2_OUT_CHANNELS": 64}),
        ("resnext101_32x8d", {"DEPTH": 101, "NUM_GROUPS": 32, "WIDTH_PER_GROUP": 8}),
        ("wide_resnet50_2", {"DEPTH": 50, "WIDTH_PER_GROUP": 128}),
    ],
)
def test_what_detectron2_is_to_be_told_of_the_network(architecture: str, settings: dict) -> None:
    found = {k.rpartition(".")[2]: v for k, v in detectron2_settings(architecture).items() if "RESNETS" in k}
    assert found == {"STRIDE_IN_1X1": False} | settings


@pytest.mark.parametrize("name", ["learnt", "starter"])
def test_safetensors_come_back_as_the_same_encoder(trained: Workspace, tmp_path: Path, name: str) -> None:
    export_encoder(trained, name, "safetensors", tmp_path / "e.safetensors")
    found, taken = read_checkpoint(tmp_path / "e.safetensors")
    assert weights.digest(found) == encoder_named(trained.store, name).weights_sha256
    assert found.supervised is (name == "starter")
    assert (taken.missing, taken.left_aside) == ([], [])


def test_onnx_makes_the_same_features_of_photos_of_any_size(
    trained: Workspace, tmp_path: Path, pixels: np.ndarray
) -> None:
    import onnxruntime

    export_encoder(trained, "learnt", "onnx", tmp_path / "e.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    images = (pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    features, projection = session.run(["features", "projection"], {"images": images})
    torch.testing.assert_close(unit(torch.from_numpy(features)), expected(trained, "learnt", pixels), atol=1e-5, rtol=0)
    encoder = weights.load_encoder(trained, encoder_named(trained.store, "learnt"))
    torch.testing.assert_close(
        unit(torch.from_numpy(projection)), torch.from_numpy(encoder.embed_images(pixels)), atol=1e-5, rtol=0
    )
    told = session.get_modelmeta().custom_metadata_map
    assert (told["encoder"], told["supervised"], json.loads(told["config"])["epochs"]) == ("learnt", "false", 2)


def test_the_card_says_how_the_encoder_came_about(trained: Workspace, tmp_path: Path) -> None:
    card = json.loads(export_encoder(trained, "learnt", "timm", tmp_path / "e.pth").read_text())
    assert (card["encoder"], card["architecture"], card["kind"]) == ("learnt", "resnet18", "stage1")
    assert (card["method"], card["epochs"], card["supervised"]) == ("BYOL", 2, False)
    assert card["trained_on"] == {"dataset": "demo", "photos": 12}
    assert card["config"]["batch_size"] == 6
    assert card["written_by"].startswith("orl-explorer ")
    assert card["weights_sha256"] == encoder_named(trained.store, "learnt").weights_sha256
    starter = json.loads(export_encoder(trained, "starter", "safetensors", tmp_path / "s").read_text())
    assert (starter["supervised"], starter["method"], starter["trained_on"]) == (True, None, None)
    assert starter["pixels"]["mean"] == [127 / 255] * 3


def test_what_an_exported_encoder_learned_from_comes_back(trained: Workspace, tmp_path: Path) -> None:
    said: list[str] = []
    labelled = weights.random_weights("resnet18", 3)
    weights.keep_weights(trained, replace(labelled, supervised=True), "labelled", "imported", "a test")
    export_encoder(trained, "labelled", "torchvision", tmp_path / "labelled.pth")
    back = weights.add(trained, str(tmp_path / "labelled.pth"), "back", tell=said.append)
    assert (back.supervised, back.learned_from) == (True, "labels")
    assert len(said) == 1
    (tmp_path / "labelled.pth.json").unlink()
    guessed = weights.add(trained, str(tmp_path / "labelled.pth"), "guessed", tell=said.append)
    assert guessed.learned_from == "nothing"
    assert said[-1] == (
        "The file does not say how it was trained. Taken as trained without labels: it has no classifier. Otherwise "
        "give --learned-from."
    )


def test_a_format_without_projector_is_refused_if_the_projector_makes_the_features(
    trained: Workspace, tmp_path: Path
) -> None:
    linear = LinearProjector(512, 512)
    own = replace(weights.random_weights("resnet18"), projector=dict(linear.state_dict()))
    weights.keep_weights(trained, own, "linear", "adapted", "run 1")
    with pytest.raises(
        UserError,
        match=r"^Invalid value for --format: torchvision\. It holds no projector, and that of 'linear' makes its "
        r"features\. Use safetensors or onnx\.$",
    ):
        export_encoder(trained, "linear", "torchvision", tmp_path / "e")
    assert list(tmp_path.iterdir()) == []
    export_encoder(trained, "linear", "safetensors", tmp_path / "e")


@pytest.mark.parametrize(
    ("name", "form", "sentence"),
    [
        ("learnt", "keras", "There is no format 'keras'. Known formats: torchvision, timm, detectron2, safeten"),
        (
            "starter",
            "torchvision",
            "Invalid value for --format: torchvision. It has no efficientnet_lite0, the architecture",
        ),
        ("starter", "timm", "architecture of 'starter'. Use safetensors or onnx"),
    ],
)
def test_an_unsuitable_format_is_refused(
    trained: Workspace, tmp_path: Path, name: str, form: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        export_encoder(trained, name, form, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_stays_and_an_unknown_name_is_answered(trained: Workspace, tmp_path: Path) -> None:
    (tmp_path / "e").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        export_encoder(trained, "learnt", "timm", tmp_path / "e")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("e", "mine")]
    with pytest.raises(StoreError, match="There is no encoder 'nobody'. Known encoders: starter, learnt"):
        export_encoder(trained, "nobody", "timm", tmp_path / "other")
    with pytest.raises(UserError, match="Cannot write "):
        export_encoder(trained, "learnt", "timm", tmp_path / "nowhere" / "e")


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_without_its_package_a_format_says_what_to_install(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setitem(sys.modules, {"onnx": "onnx", "safetensors": "safetensors.torch"}[form], None)
    with pytest.raises(UserError, match=rf"--format {form} needs more packages.*pip install 'orl-explorer\[export\]'"):
        export_encoder(trained, "learnt", form, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []
