"""Checkpoints as others write them: several networks, other types, no weights at all, and files that are none."""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.train.encoders.state_dicts import read_checkpoint
from orl_explorer.train.encoders.weights import add, load_encoder, stored_weights, weights_from
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

State = dict[str, Tensor]
STEM = "conv1.weight"


def network(value: float = 0.5) -> State:
    """A ResNet-18 whose first tensor holds one value, so that it is recognised."""
    torch.manual_seed(0)
    state = build_backbone("resnet18")[0].state_dict()
    return state | {STEM: torch.full_like(state[STEM], value)}


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def changed(name: str, value: Tensor) -> State:
    return network() | {name: value}


WRONG = {
    "nan": (
        STEM,
        torch.full((64, 3, 7, 7), float("nan")),
        "9408 of 9408 values of its tensor conv1.weight are not fin",
    ),
    "inf": ("bn1.weight", torch.tensor([float("inf")] + [1.0] * 63), "1 of 64 values of its tensor bn1.weight are not"),
    "double too large": (
        "bn1.bias",
        torch.full((64,), 1e300, dtype=torch.float64),
        "64 of 64 values of its tensor bn1.bias",
    ),
    "int8": (STEM, torch.zeros(64, 3, 7, 7, dtype=torch.int8), "its tensor conv1.weight is of the type int8"),
    "bool": (STEM, torch.zeros(64, 3, 7, 7, dtype=torch.bool), "its tensor conv1.weight is of the type bool"),
    "complex": (STEM, torch.zeros(64, 3, 7, 7, dtype=torch.complex64), "its tensor conv1.weight is of the type compl"),
    "meta": (STEM, torch.zeros(64, 3, 7, 7, device="meta"), "its tensor conv1.weight has no values"),
    "sparse": (STEM, torch.zeros(64, 3, 7, 7).to_sparse(), "its tensor conv1.weight is sparse or nested"),
    "no values": (STEM, torch.zeros(0), "of its 120 tensors conv1.weight is"),
    "counter of NaN": ("bn1.num_batches_tracked", torch.tensor(float("nan")), "tensor bn1.num_batches_tracked are not"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_weights_that_are_no_finite_numbers_are_refused_by_name(
    workspace: Workspace, tmp_path: Path, wrong: str
) -> None:
    name, value, sentence = WRONG[wrong]
    path = written(tmp_path / "e.pth", changed(name, value))
    for door in (lambda: add(workspace, str(path), "e"), lambda: weights_from(str(path))):
        with pytest.raises(UserError, match=re.escape(sentence)):
            door()
    assert not workspace.encoders.exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_other_floating_point_types_are_the_same_encoder(
    workspace: Workspace, tmp_path: Path, dtype: str, form: str
) -> None:
    state = {k: v.to(getattr(torch, dtype)) if v.is_floating_point() else v for k, v in network().items()}
    path = tmp_path / f"e.{form}"
    save_file(state, path) if form == "safetensors" else torch.save(state, path)
    row = add(workspace, str(path), "e")
    kept = stored_weights(workspace, row).backbone
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name].double(), value.double()) for name, value in state.items())
    assert np.isfinite(load_encoder(workspace, row).embed_images(np.zeros((1, 64, 64, 3), np.uint8))).all()


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    save_file(network(), tmp_path / "pytorch_model.bin")
    assert read_checkpoint(tmp_path / "pytorch_model.bin")[0].architecture == "resnet18"


A, B = network(1), network(2)
SEVERAL = {
    "model and ema": ({"model": A, "model_ema": B}, "model", ["model_ema"]),
    "ema first": ({"model_ema": B, "model": A}, "model", ["model_ema"]),
    "dino": (
        {"student": under("module.backbone.", B), "teacher": under("backbone.", A), "epoch": 3},
        "teacher.backbone",
        ["student.module.backbone"],
    ),
    "moco v2": (
        {"state_dict": under("module.encoder_k.", B) | under("module.encoder_q.", A)},
        "state_dict.module.encoder_q",
        ["state_dict.module.encoder_k"],
    ),
    "moco v3": (
        {"state_dict": under("momentum_encoder.", B) | under("base_encoder.", A)},
        "state_dict.base_encoder",
        ["state_dict.momentum_encoder"],
    ),
    "byol": ({"online": A, "target": B}, "online", ["target"]),
    "an optimizer too": ({"model": A, "optimizer": {"state": {0: {"exp_avg": torch.zeros(1)}}}}, "model", []),
    "compiled": ({"net": under("_orig_mod.module.", A)}, "net._orig_mod.module", []),
    "lightning": ({"state_dict": under("model.backbone.", A)}, "state_dict.model.backbone", []),
    "nested twice": ({"state_dict": {"state_dict": A}}, "state_dict.state_dict", []),
    "msd": ({"model_state_dict": A, "epoch": 3}, "model_state_dict", []),
    "encoder": ({"encoder": A}, "encoder", []),
    "bare": (A, ".", []),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_the_network_that_is_meant_is_read_and_the_others_are_named(tmp_path: Path, case: str) -> None:
    content, part, others = SEVERAL[case]
    found, taken = read_checkpoint(written(tmp_path / "e.pth", content))
    assert (found.architecture, found.backbone[STEM].unique().tolist()) == ("resnet18", [1])
    assert (taken.part, list(taken.others)) == (part, others)
    assert all(f"Not read: '{other}'" in str(taken) for other in others)
    if others:
        chosen, _ = read_checkpoint(tmp_path / "e.pth", part=others[0])
        assert chosen.backbone[STEM].unique().tolist() == [2]


def test_a_part_is_chosen_by_one_word_and_an_unknown_one_is_answered_with_the_known(tmp_path: Path) -> None:
    content = {"student": under("module.backbone.", B), "teacher": under("backbone.", A)}
    path = written(tmp_path / "dino.pth", content)
    assert read_checkpoint(path, part="student")[1].part == "student.module.backbone"
    with pytest.raises(UserError) as refusal:
        read_checkpoint(path, part="stud")
    assert str(refusal.value) == (
        f"{path} holds no network 'stud'. Its networks: 'teacher.backbone', 'student.module.backbone'."
    )
    with pytest.raises(UserError, match="Invalid value for part: x. 'starter' holds one network"):
        weights_from("starter", part="x")


def test_a_projector_under_the_name_of_a_classifier_means_no_labels(tmp_path: Path) -> None:
    moco = under("module.encoder_q.", A | {"fc.weight": torch.zeros(128, 512)})
    assert not read_checkpoint(written(tmp_path / "moco.pth", moco))[0].supervised
    assert read_checkpoint(written(tmp_path / "e.pth", A | {"fc.weight": torch.zeros(1000, 512)}))[0].supervised


def test_another_librarys_projector_is_left_aside(tmp_path: Path) -> None:
    state = under("backbone.", A) | {"projector.0.weight": torch.zeros(8, 512), "projector.2.bias": torch.zeros(4)}
    found, taken = read_checkpoint(written(tmp_path / "solo.ckpt", {"state_dict": state, "epoch": 9}))
    assert (found.projector, taken.left_aside) == (None, ["projector.0.weight", "projector.2.bias"])
    assert "Its projector 'projector' was ignored: it has an unknown shape." in str(taken)


def test_a_file_without_tensors_is_refused_by_its_keys(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no state dict. Its keys are arch, epoch\.$"):
        read_checkpoint(written(tmp_path / "e.pth", {"epoch": 3, "arch": "resnet50"}))


def test_names_in_a_file_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    evil = {"\x1b[31mred\nline": torch.zeros(2)}
    with pytest.raises(UserError, match=r"begin with \?\[31mred\?line") as refusal:
        read_checkpoint(written(tmp_path / "e.pth", evil))
    assert str(refusal.value).isprintable()


def zipped(names: list[str]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return held.getvalue()


FILES = {
    "empty.pth": (b"", "is empty. Copy or download it again."),
    "zeros.pth": (bytes(600), "is made of zeros"),
    "page.pth": (b"\n<!DOCTYPE html><html>quota exceeded</html>", "is a web page. Download the file itself"),
    "lfs.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "is a pointer of Git LFS"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n\0", "is an HDF5 file, as Keras writes. Convert its weights"),
    "new.keras": (zipped(["config.json", "model.weights.h5"]), "is a Keras file"),
    "script.pt": (
        zipped(["m/data.pkl", "m/constants.pkl"]),
        r"is a TorchScript program. Save its state dict: torch.save",
    ),
    "photos.zip": (zipped(["a.jpg"]), "is a zip archive of something else"),
    "arrays.npz": (zipped(["a.npy"]), "is an archive of numpy arrays"),
    "cut.pth": (zipped(["m/data.pkl"])[:40], "is truncated or damaged. Copy or download it again."),
    "net.onnx": (b"\x08\x08\x12\x07pytorch", "is an ONNX program"),
    "model.ckpt.index": (b"\x00\x01\x02", "is a TensorFlow file"),
    "e.tar.gz": (b"\x1f\x8b\x08", "is compressed with gzip. Unpack it"),
    "notes.txt": (b"epoch 3: loss 0.1\n", "is a text file"),
    "a.jpg": (b"\xff\xd8\xff\xe0", "is a picture"),
    "plain.pkl": (b"\x80\x04\x95\x00", "was written by pickle, and reading it may run code"),
    "noise.pth": (b"\xfe\x01\x80noise", "is damaged, or it was not written by torch.save"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_checkpoint_is_said_to_be_what_it_is(tmp_path: Path, name: str) -> None:
    content, sentence = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as refusal:
        read_checkpoint(tmp_path / name)
    assert "weights_only" not in str(refusal.value)


def test_a_folder_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder. Name the checkpoint file in it."):
        weights_from(str(tmp_path))


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_beside_the_weights_are_named_with_the_way_out(tmp_path: Path, zipped: bool) -> None:
    path, content = tmp_path / "args.pth", {"state_dict": {}, "args": argparse.Namespace(lr=0.1)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError) as refusal:
        read_checkpoint(path)
    assert str(refusal.value) == (
        f"Cannot read {path} safely as a checkpoint: it holds argparse.Namespace beside its weights, and reading that "
        "may run code. Save the state dict alone: torch.save(checkpoint['state_dict'], 'weights.pth')."
    )


def test_a_whole_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds a whole model \(torch.nn.modules.linear.Linear\). Save its weights alone"
    ):
        read_checkpoint(written(tmp_path / "model.pth", nn.Linear(2, 2)))
