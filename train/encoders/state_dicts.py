"""Reading checkpoints: the network that their weights belong to, and the tensors that are left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orl_explorer.orl.architectures import ARCHITECTURES
from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.heads import head_of, mlp
from orl_explorer.train.errors import UserError

StateDict = dict[str, Tensor]

# Prefixes of the online backbone and projector in checkpoints: ours, the full ones of the reference, its aliases,
# and a bare torchvision or timm state dict.
LAYOUTS = (
    ("online_net.0.", "online_net.1."),  # first, since the reference's files hold the aliases too
    ("backbone.", "neck."),
    ("backbone.", "projector."),
    ("encoder.", "projector."),
    ("", None),
)
COUNTER = "num_batches_tracked"  # of a batch norm; older files have none, and nothing depends on it
CLASSIFIERS = ("fc", "_fc", "classifier", "head", "head.fc")  # what torchvision and timm call the layer
SHOWN = 3  # names in a sentence


@dataclass(frozen=True)
class Weights:
    """Parameters of an encoder, and whether they were trained with labels."""

    architecture: str
    backbone: StateDict
    projector: StateDict | None = None
    supervised: bool = False


@dataclass(frozen=True)
class TakenWeights:
    """The tensors read from a file. missing: counters only, since other missing tensors are an error."""

    backbone: list[str]
    projector: list[str]
    missing: list[str]
    left_aside: list[str]

    def __str__(self) -> str:
        found = f"{len(self.backbone)} tensors of the backbone and {len(self.projector)} of a projector were read"
        counters = f"; {len(self.missing)} counters of batches are missing and start at 0" if self.missing else ""
        aside = f"; ignored: {_some(self.left_aside)}" if self.left_aside else "; none was ignored"
        return f"{found}{counters}{aside}."


def checkpoint_weights(path: Path) -> Weights:
    """Read the online backbone and projector of a checkpoint: ours, the reference's, a bare torchvision or timm one.

    Raises UserError if the file holds no backbone of a known architecture.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path, architecture: str = "") -> tuple[Weights, TakenWeights]:
    """Read a checkpoint as ``checkpoint_weights`` does, and report its tensors.

    architecture: the expected one; by default the declared or detected one. Raises UserError if the file holds no such
    backbone, with the nearest one.
    """
    content = _content(path)
    declared = architecture or str(content.get("architecture", ""))
    state = content.get("state_dict", content.get("model", content))
    if not isinstance(state, dict) or not any(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict.")
    state = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    # The sort is stable: a layout whose projector is there goes before one without.
    for backbone_prefix, projector_prefix in sorted(LAYOUTS, key=lambda prefixes: not _has(state, prefixes[1])):
        backbone = _under(state, backbone_prefix)
        found = _architecture_of(backbone, [declared] if declared else ARCHITECTURES)
        if found is None:
            continue
        _refuse_more(path, backbone, found)
        projector = _under(state, projector_prefix) if projector_prefix else {}
        if projector and not _is_head(projector, _features(found)):
            raise UserError(f"{path} has a projector of an unknown shape: {sorted(projector)}.")
        kept = completed(found, backbone)
        # A bare state dict does not record its training; torchvision's supervised ones have a classifier.
        supervised = bool(content.get("supervised", False)) or any(f"{name}.weight" in backbone for name in CLASSIFIERS)
        used = [backbone_prefix + name for name in kept if name in backbone]
        heads = [f"{projector_prefix}{name}" for name in projector]
        aside = sorted(state.keys() - {*used, *heads})
        taken = TakenWeights(used, heads, [name for name in kept if name not in backbone], aside)
        return Weights(found, kept, projector or None, supervised), taken
    raise UserError(_refusal(path, state, declared))


def completed(architecture: str, state: StateDict) -> StateDict:
    """Return the backbone's tensors in the architecture's order, with missing counters at 0."""
    shapes = _shapes(architecture).items()
    return {name: state[name] if name in state else torch.zeros(shape, dtype=torch.long) for name, shape in shapes}


def read_torch(path: Path) -> dict[str, Any]:
    """Read a torch file as a dictionary, without running code in it. Raises UserError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises many kinds of errors
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"Cannot read {path} safely as a checkpoint: {reason}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint: it holds a {type(content).__name__}, not a dictionary.")
    return content


def _content(path: Path) -> dict[str, Any]:
    return _read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UserError(f"Reading {path} needs safetensors: pip install 'orl-explorer[export]'.") from error
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
            said = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"Cannot read {path} as a safetensors file: {error}.") from error
    declared = {"architecture": said["architecture"]} if "architecture" in said else {}
    return {"state_dict": state, "supervised": said.get("supervised") == "true"} | declared


def _under(state: StateDict, prefix: str) -> StateDict:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _has(state: StateDict, prefix: str | None) -> bool:
    return prefix is not None and any(name.startswith(prefix) for name in state)


def _architecture_of(state: StateDict, candidates: Iterable[str]) -> str | None:
    fitting = [architecture for architecture in candidates if not _unfit(state, architecture)]
    # A ResNet-34 holds every tensor of a ResNet-18, a ResNet-101 those of a ResNet-50: the largest is meant.
    return max(fitting, key=lambda architecture: len(_shapes(architecture)), default=None)


def _unfit(state: StateDict, architecture: str) -> list[str]:
    """Return the tensors of the architecture that are missing or have another shape; counters may be missing."""
    return [
        name
        for name, shape in _shapes(architecture).items()
        if (state[name].shape != shape if name in state else not name.endswith(COUNTER))
    ]


def _refuse_more(path: Path, backbone: StateDict, architecture: str) -> None:
    """Raise UserError if the layers have tensors that the architecture does not have."""
    shapes = _shapes(architecture)
    layers = {name.partition(".")[0] for name in shapes}
    more = [
        name
        for name in backbone
        if name not in shapes and name.partition(".")[0] in layers and name.rpartition(".")[0] not in CLASSIFIERS
    ]
    if more:
        raise UserError(f"{path} is not a {architecture}: it has other tensors too, {_some(more)}.")


def _refusal(path: Path, state: StateDict, declared: str) -> str:
    best: tuple[float, str, list[str]] = (0.0, "", [])
    for prefix, _ in LAYOUTS:
        backbone = _under(state, prefix)
        for architecture in [declared] if declared else ARCHITECTURES:
            unfit, whole = _unfit(backbone, architecture), len(_shapes(architecture))
            share = (sum(name in backbone for name in _shapes(architecture)) - len(unfit)) / whole
            if share > best[0]:
                other = [f"{n} is {list(backbone[n].shape)}" if n in backbone else f"{n} is missing" for n in unfit]
                best = share, architecture, other
    said = f"is not a {declared}" if declared else f"holds no known backbone ({', '.join(ARCHITECTURES)})"
    share, nearest, other = best
    if share < 0.5:
        return f"{path} {said}. Its {len(state)} tensors begin with {_some(sorted(state))}."
    return f"{path} {said}. The nearest is {nearest}, but of its {len(_shapes(nearest))} tensors {_some(other)}."


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


@cache
def _shapes(architecture: str) -> dict[str, torch.Size]:
    """Return the shapes of an architecture. Raises UserError if it is unknown, or needs timm and timm is missing."""
    return {name: value.shape for name, value in _on_paper(architecture)[0].state_dict().items()}


def _features(architecture: str) -> int:
    return _on_paper(architecture)[1]


def _on_paper(architecture: str) -> tuple[torch.nn.Module, int]:
    try:
        with torch.device("meta"):
            return build_backbone(architecture)
    except ValueError as error:
        raise UserError(str(error)) from error


def _is_head(projector: StateDict, features: int) -> bool:
    head = head_of(projector)
    if head is None:
        return False
    with torch.device("meta"):
        expected = mlp(features, *head).state_dict()
    return {k: v.shape for k, v in projector.items()} == {k: v.shape for k, v in expected.items()}
