"""Encoders from every supported kind of file, and errors for other files."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from orl_explorer.db.store import StoreError
from orl_explorer.orl.byol import BYOL
from orl_explorer.train.encoders import weights
from orl_explorer.train.encoders.state_dicts import read_checkpoint
from orl_explorer.train.encoders.weights import Weights, add, checkpoint_weights, digest, load_encoder, save_weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def learned() -> Weights:
    """A ResNet-18 with a projector, as after stage 1."""
    torch.manual_seed(0)
    method = BYOL("resnet18", hidden=32, projection=16)
    return Weights("resnet18", method.backbone.state_dict(), method.projector.state_dict())


def written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def noise(state: State) -> State:
    """Return wrong weights of the same shapes, which must not be loaded."""
    return {name: torch.zeros_like(value) for name, value in state.items()}


def reference_state(learned: Weights) -> State:
    assert learned.projector is not None
    return {
        **prefixed("online_net.0.", learned.backbone),
        **prefixed("online_net.1.", learned.projector),
        **prefixed("target_net.0.", noise(learned.backbone)),
        **prefixed("target_net.1.", noise(learned.projector)),
    }


def reference_aliases(learned: Weights) -> State:
    assert learned.projector is not None
    return {**prefixed("backbone.", learned.backbone), **prefixed("neck.", learned.projector)}


def test_our_own_file_is_read_back_as_it_was(tmp_path: Path, learned: Weights) -> None:
    save_weights(learned, tmp_path / "e.pt")
    found = checkpoint_weights(tmp_path / "e.pt")
    assert digest(found) == digest(learned)
    assert (found.architecture, found.supervised) == ("resnet18", False)
    assert found.projector is not None


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("names", ["full", "aliases", "both", "both, orl heads"])
def test_the_references_files_give_the_online_network(
    tmp_path: Path, learned: Weights, names: str, parallel: bool, wrapped: bool
) -> None:
    state = {} if names == "aliases" else reference_state(learned)
    if names != "full":
        state |= reference_aliases(learned)
    heads = ("head.",) if names != "both, orl heads" else ("global_head.", "local_intra_head.", "local_inter_head.")
    for head in heads:
        state[f"{head}predictor.fc0.weight"] = torch.zeros(32, 16)
    state = prefixed("module.", state) if parallel else state
    path = written(tmp_path / "epoch_800.pth", {"meta": {"epoch": 800}, "state_dict": state} if wrapped else state)
    found = checkpoint_weights(path)
    assert digest(found) == digest(learned)
    assert not found.supervised


def test_torchvisions_own_file_is_supervised_and_loses_its_classifier(tmp_path: Path) -> None:
    state = torchvision.models.resnet34().state_dict()
    found = checkpoint_weights(written(tmp_path / "resnet34.pth", state))
    assert (found.architecture, found.projector, found.supervised) == ("resnet34", None, True)
    assert "fc.weight" not in found.backbone
    assert torch.equal(found.backbone["conv1.weight"], state["conv1.weight"])


def test_a_bare_backbone_says_nothing_of_labels(tmp_path: Path, learned: Weights) -> None:
    found = checkpoint_weights(written(tmp_path / "e.pth", {"state_dict": prefixed("module.", learned.backbone)}))
    assert (found.architecture, found.projector, found.supervised) == ("resnet18", None, False)


def test_a_checkpoint_of_another_shape_is_refused_with_what_it_holds(tmp_path: Path, learned: Weights) -> None:
    other = written(tmp_path / "vgg.pth", {"features.0.weight": torch.zeros(3), "classifier.bias": torch.zeros(2)})
    with pytest.raises(UserError, match=r"holds no known backbone .*Its 2 tensors begin with classifier"):
        checkpoint_weights(other)
    wide = dict(learned.backbone, **{"conv1.weight": torch.zeros(128, 3, 7, 7)})
    with pytest.raises(UserError, match="holds no known backbone"):
        checkpoint_weights(written(tmp_path / "wide.pth", wide))
    with pytest.raises(UserError, match="holds no state dict"):
        checkpoint_weights(written(tmp_path / "empty.pth", {"state_dict": {}}))
    with pytest.raises(UserError, match="it holds a list, not a dictionary"):
        checkpoint_weights(written(tmp_path / "list.pth", [torch.zeros(2)]))


@pytest.mark.parametrize("change", ["three layers", "another input", "a bias more", "a layer less"])
def test_a_projector_of_another_shape_is_left_aside_with_a_word(tmp_path: Path, learned: Weights, change: str) -> None:
    assert learned.projector is not None
    projector = dict(learned.projector)
    if change == "three layers":
        projector["fc2.weight"] = torch.zeros(4, 16)
    elif change == "another input":
        projector["fc0.weight"] = torch.zeros(32, 99)
    elif change == "a bias more":
        projector["fc1.bias"] = torch.zeros(16)
    else:
        del projector["fc1.weight"]
    save_weights(Weights("resnet18", learned.backbone, projector), tmp_path / "e.pt")
    found, taken = read_checkpoint(tmp_path / "e.pt")
    assert found.projector is None
    assert torch.equal(found.backbone["conv1.weight"], learned.backbone["conv1.weight"])
    assert {f"projector.{name}" for name in projector} == set(taken.left_aside)
    assert str(taken).endswith("Its projector 'projector' was ignored: it has an unknown shape.")


def test_what_became_of_each_tensor_is_told(workspace: Workspace, tmp_path: Path, learned: Weights) -> None:
    state = reference_state(learned) | {"head.predictor.fc0.weight": torch.zeros(32, 16)}
    told: list[str] = []
    add(workspace, str(written(tmp_path / "byol.pth", {"state_dict": state})), "theirs", tell=told.append)
    assert told == [
        f"Of {tmp_path / 'byol.pth'}, 120 tensors of the backbone and 8 of a projector were read; ignored: "
        "head.predictor.fc0.weight, target_net.0.bn1.bias, target_net.0.bn1.num_batches_tracked and 126 more. "
        "The file holds 2 networks. Read: 'state_dict.online_net.0'. Not read: 'state_dict.target_net.0'. "
        "Choose another with --part NAME."
    ]
    _, taken = read_checkpoint(written(tmp_path / "bare.pth", learned.backbone))
    assert str(taken) == "120 tensors of the backbone and 0 of a projector were read; none was ignored."


def test_older_files_have_no_counters_of_batches(workspace: Workspace, tmp_path: Path, learned: Weights) -> None:
    old = {name: value for name, value in learned.backbone.items() if not name.endswith("num_batches_tracked")}
    found, taken = read_checkpoint(written(tmp_path / "old.pth", old))
    assert len(taken.missing) == 20
    assert "20 counters of batches are missing and start at 0" in str(taken)
    assert found.backbone["bn1.num_batches_tracked"].item() == 0
    row = add(workspace, str(tmp_path / "old.pth"), "old")
    assert load_encoder(workspace, row).features == 512


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("seresnet18", r"is not a resnet18: it has other tensors too, layer1.0.se.fc1.weight, "),
        (
            "resnet18d",
            r"nearest is resnet18, but of its 120 tensors conv1.weight is missing, layer2.0.downsample.0.weight",
        ),
        ("convnext_atto", r"Its \d+ tensors begin with"),
    ],
)
def test_a_network_that_is_nearly_a_resnet_is_not_taken_for_one(tmp_path: Path, name: str, sentence: str) -> None:
    state = timm.create_model(name).state_dict()
    with pytest.raises(UserError, match=sentence):
        checkpoint_weights(written(tmp_path / "e.pth", state))


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_timms_files_are_read_by_the_name_of_their_network(workspace: Workspace, tmp_path: Path, form: str) -> None:
    network, path = timm.create_model("convnext_atto", num_classes=7).eval(), tmp_path / f"e.{form}"
    if form == "pth":
        torch.save(network.state_dict(), path)
    else:
        save_file(network.state_dict(), path)
    row = add(workspace, str(path), "theirs", "timm:convnext_atto")
    assert (row.architecture, row.roi_features, row.supervised) == ("timm:convnext_atto", 320, True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    encoder = load_encoder(workspace, row)
    with torch.no_grad():
        expected = network.forward_features(encoder.normalise(pixels))
        expected = torch.nn.functional.normalize(network.head.norm(expected).mean((2, 3)))
    np.testing.assert_allclose(encoder.embed_rois(pixels), expected.numpy(), atol=1e-5)
    with pytest.raises(UserError, match=r"is not a resnet18. Its \d+ tensors begin with"):
        add(workspace, str(path), "other", "resnet18")
    with pytest.raises(UserError, match="timm has no model 'convnext_ato'. Did you mean 'timm:convnext_atto'"):
        add(workspace, str(path), "other", "timm:convnext_ato")


def test_a_timm_resnet_is_torchvisions(tmp_path: Path) -> None:
    state = timm.create_model("resnet18").state_dict()
    found = checkpoint_weights(written(tmp_path / "e.pth", state))
    assert (found.architecture, found.supervised) == ("resnet18", True)


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.safetensors").write_bytes(b'\x10\0\0\0\0\0\0\0{"a": ')
    with pytest.raises(UserError, match="Cannot read .* as a safetensors file: it is truncated or damaged"):
        checkpoint_weights(tmp_path / "e.safetensors")


class Malicious:
    """Runs code when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("by", ["pickle", "torch"])
def test_a_file_with_code_is_refused_and_not_run(tmp_path: Path, by: str) -> None:
    path, proof = tmp_path / "evil.pth", tmp_path / "it-ran"
    if by == "torch":
        torch.save({"state_dict": Malicious(proof)}, path)
    else:
        path.write_bytes(pickle.dumps({"state_dict": Malicious(proof)}))
    with pytest.raises(UserError, match="Cannot read .* safely as a checkpoint"):
        checkpoint_weights(path)
    assert not proof.exists()


def test_whatever_a_file_begins_with_it_is_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for first in range(256):
        path.write_bytes(bytes([first]) + b"o whom it may concern")
        with pytest.raises(UserError, match="is not a checkpoint|Cannot read .* safely as a checkpoint"):
            checkpoint_weights(path)


def test_the_starter_is_added_and_loaded(workspace: Workspace) -> None:
    row = add(workspace, "starter", "first")
    assert (row.kind, row.architecture, row.supervised) == ("starter", "efficientnet_lite0", True)
    assert (row.image_features, row.roi_features, row.weights_path) == (1280, 1280, "encoders/first.pt")
    assert load_encoder(workspace, row).image_features == 1280
    assert add(workspace, "starter", "first").id == row.id
    assert [p.name for p in workspace.encoders.iterdir()] == ["first.pt"]


def test_a_name_is_one_encoders_own(workspace: Workspace, tmp_path: Path, learned: Weights) -> None:
    save_weights(learned, tmp_path / "e.pt")
    row = add(workspace, "starter", "mine")
    with pytest.raises(StoreError, match="The encoder 'mine' already exists"):
        add(workspace, str(tmp_path / "e.pt"), "mine")
    assert load_encoder(workspace, row).architecture == "efficientnet_lite0"  # its file is still its own


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a:b"])
def test_a_name_that_is_no_file_name_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(UserError, match="Invalid name for an encoder"):
        add(workspace, "starter", name)


def test_weights_that_went_or_changed_since_are_noticed(workspace: Workspace, tmp_path: Path, learned: Weights) -> None:
    save_weights(learned, tmp_path / "e.pt")
    row = add(workspace, str(tmp_path / "e.pt"), "mine")
    file = workspace.path / row.weights_path
    save_weights(Weights("resnet18", learned.backbone), file)
    with pytest.raises(UserError, match="has changed since the encoder 'mine' was added"):
        load_encoder(workspace, row)
    file.unlink()
    with pytest.raises(UserError, match="The weights of the encoder 'mine' are missing"):
        load_encoder(workspace, row)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere.pth", "'nowhere.pth' is not an encoder. Use 'starter', 'torchvision:resnet50', 'timm:NAME', "),
        ("random:vgg", "Invalid encoder 'random:vgg'. There is no architecture 'vgg'. Known architectures: resnet18"),
        ("torchvision:vgg16", "torchvision has no architecture 'vgg16'. Known architectures: resnet18, resnet34"),
    ],
)
def test_an_unknown_source_is_answered_with_the_known_ones(workspace: Workspace, source: str, sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        add(workspace, source, "mine")
    assert str(refusal.value).startswith(sentence)


def test_without_a_network_the_sentence_says_what_to_do(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    with pytest.raises(
        UserError, match=r"Cannot download .* from https://.*, nor read it from torch's cache.*add it by its path"
    ):
        add(workspace, "torchvision:resnet50", "mine")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL that serves its files."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.mark.parametrize("file_is", ["intact", "another", "damaged in the cache"])
def test_torchvisions_weights_are_downloaded_and_checked(
    workspace: Workspace, server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_is: str
) -> None:
    folder, address = server
    state = torchvision.models.resnet18().state_dict()
    file = written(folder / "resnet18.pth", state)
    sha = hashlib.sha256(file.read_bytes()).hexdigest()[:8] if file_is != "another" else "0" * 8
    file.rename(folder / f"resnet18-{sha}.pth")  # torch checks the digest that the name carries
    address = f"{address}/resnet18-{sha}.pth"
    published = type("Published", (), {"url": address})
    monkeypatch.setattr("torchvision.models.get_model_weights", lambda _: {"IMAGENET1K_V1": published})
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    if file_is == "damaged in the cache":
        cached = tmp_path / "cache" / "hub" / "checkpoints" / f"resnet18-{sha}.pth"
        cached.parent.mkdir(parents=True)
        cached.write_bytes(b"PK no longer a zip")
    if file_is != "intact":
        with pytest.raises(UserError, match="Cannot download torchvision's resnet18 from"):
            add(workspace, "torchvision:resnet18", "mine")
        return
    row = add(workspace, "torchvision:resnet18", "mine")
    assert (row.kind, row.supervised, row.image_features) == ("imported", True, 512)
    found = weights.checkpoint_weights(workspace.path / row.weights_path)
    assert torch.equal(found.backbone["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
