"""Reading checkpoints: the network that their weights belong to, and the tensors that are left out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orl_explorer.orl.architectures import ARCHITECTURES, TIMM
from orl_explorer.orl.reading import Reading
from orl_explorer.train.encoders.checkpoint_files import read_content
from orl_explorer.train.encoders.networks import (
    CLASSIFIERS,
    COUNTER,
    Network,
    StateDict,
    below,
    completed,
    flattened,
    integers_of,
    likely_prefixes,
    named_part,
    names_of,
    networks,
    plain,
    surplus,
    unfit,
)
from orl_explorer.train.errors import UserError

AS_THEY_ARE = (torch.float32, torch.float16, torch.float64)
SHOWN = 3  # names in a sentence


@dataclass(frozen=True)
class Weights:
    """Parameters of an encoder, whether they were trained with labels, and how it is read: None for the default."""

    architecture: str
    backbone: StateDict
    projector: StateDict | None = None
    supervised: bool = False
    reading: Reading | None = None


@dataclass(frozen=True)
class TakenWeights:
    """The tensors read from a file. missing: counters only, since other missing tensors are an error.

    part: name of the network. others: names of the networks that were not read. unlike: name of a projector of another
    shape than this project's, whose tensors are among those left aside.
    """

    backbone: list[str]
    projector: list[str]
    missing: list[str]
    left_aside: list[str]
    part: str = "."
    others: tuple[str, ...] = ()
    unlike: str = ""

    def __str__(self) -> str:
        found = f"{len(self.backbone)} tensors of the backbone and {len(self.projector)} of a projector were read"
        counters = f"; {len(self.missing)} counters of batches are missing and start at 0" if self.missing else ""
        aside = f"; ignored: {_some(self.left_aside)}" if self.left_aside else "; none was ignored"
        unlike = f" Its projector '{self.unlike}' was ignored: it has an unknown shape." if self.unlike else ""
        others = f" {self.choice}" if self.others else ""
        return f"{found}{counters}{aside}.{unlike}{others}"

    @property
    def choice(self) -> str:
        """Which of several networks was read."""
        named = ", ".join(f"'{name}'" for name in self.others)
        return (
            f"The file holds {len(self.others) + 1} networks. Read: '{self.part}'. Not read: {named}. "
            "Choose another with --part NAME."
        )


def checkpoint_weights(path: Path) -> Weights:
    """Read the online backbone and projector of a checkpoint: ours, the reference's, a bare torchvision or timm one.

    Raises UserError if the file holds no backbone of a known architecture.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(
    path: Path, architecture: str = "", part: str = "", content: dict[str, Any] | None = None
) -> tuple[Weights, TakenWeights]:
    """Read a checkpoint as ``checkpoint_weights`` does, and report its tensors.

    architecture: the expected one; by default the declared or detected one. part: name of the network to read, if the
    file holds several, or a part of its name such as ``teacher``. content: of the file, if it was read before. Raises
    UserError if the file holds no such backbone, with the nearest one, or if its weights are not finite numbers.
    """
    content = read_content(path) if content is None else content
    if content.get("reading"):
        return _with_reading(path, content)
    declared = architecture or _declared(content)
    within, state = flattened(content)
    if not state:
        keys = _some(sorted(map(plain, content)))
        raise UserError(f"{path} holds no state dict. " + (f"Its keys are {keys}." if keys else "It has no keys."))
    found = networks(state, [declared] if declared else ARCHITECTURES, within)
    chosen = _chosen(path, state, found, part, declared)
    taken = _taken(state, chosen, found)
    backbone, integers = below(state, chosen.prefix), integers_of(chosen.architecture)
    kept = {
        name: usable(path, f"{chosen.prefix}{name}", value, name in integers)
        for name, value in completed(chosen.architecture, backbone).items()
    }
    projector = {
        name: usable(path, f"{chosen.projector}{name}", value, name.endswith(COUNTER))
        for name, value in (below(state, chosen.projector) if chosen.projector else {}).items()
    }
    # A bare state dict does not record its training; torchvision's supervised ones have a classifier.
    classified = not chosen.contrastive and any(f"{name}.weight" in backbone for name in CLASSIFIERS)
    supervised = content.get("supervised") is True or classified
    return Weights(chosen.architecture, kept, projector or None, supervised), taken


def _with_reading(path: Path, content: dict[str, Any]) -> tuple[Weights, TakenWeights]:
    """Return an encoder that this project wrote, whose network another library builds. Raises UserError."""
    kept, said = content["state_dict"], content["reading"]
    state = {name: value for name, value in kept.items() if name.startswith(("backbone.", "projector."))}
    try:
        reading = Reading.of(json.loads(said) if isinstance(said, str) else said)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not an encoder of this version: {error}. Add the encoder again.") from error
    backbone, projector = (below(state, part) for part in ("backbone.", "projector."))
    weights = Weights(
        str(content["architecture"]), backbone, projector or None, content.get("supervised") is True, reading
    )
    return weights, TakenWeights([*backbone], [*projector], [], sorted(kept.keys() - state.keys()))


def usable(path: Path, name: str, value: Tensor, integer: bool = False) -> Tensor:
    """Return a tensor in a type that numpy has: as it is, or of bfloat16 and float8 the same numbers in float32.

    integer: whether the network expects integers. Raises UserError that names the tensor if it holds anything but
    real numbers that are finite in float32.
    """
    what = _of_wrong_kind(value, integer)
    if what:
        raise UserError(f"Cannot use {path}: its tensor {name} {what}. Use weights in floating point, such as float32.")
    value = value.detach()
    # Half and double precision stay: the digest of an encoder that an earlier version added depends on them.
    kept = value if value.dtype in AS_THEY_ARE or not value.is_floating_point() else value.float()
    bad = value.numel() - int(torch.isfinite(value.float()).sum())
    if bad:
        raise UserError(
            f"Cannot use {path}: {bad} of {value.numel()} values of its tensor {name} are not finite numbers. "
            "Use a checkpoint from before its training diverged."
        )
    return kept.long() if integer and kept.is_floating_point() and kept.dtype != value.dtype else kept


def _of_wrong_kind(value: Tensor, integer: bool) -> str:
    """Return why a tensor holds no weights, or an empty string."""
    if value.is_meta:
        return "has no values (it is on torch's meta device)"
    if value.is_quantized:
        return "is quantised"
    if value.is_nested or value.layout != torch.strided:
        return "is sparse or nested"
    whole = integer and not value.is_complex() and value.dtype != torch.bool
    return "" if value.is_floating_point() or whole else f"is of the type {str(value.dtype).removeprefix('torch.')}"


def _declared(content: dict[str, Any]) -> str:
    """Return the architecture that our files declare. Others may declare it by names of their own: ``resnet_50``."""
    said = content.get("architecture")
    return said if isinstance(said, str) and (said in ARCHITECTURES or said.startswith(TIMM)) else ""


def _chosen(path: Path, state: StateDict, found: list[Network], part: str, declared: str) -> Network:
    """Return the network to read. Raises UserError if there is none of that name, or none at all."""
    if not found:
        raise UserError(_refusal(path, state, declared))
    wanted = named_part(found, part) if part else found
    if not wanted:
        known = ", ".join(f"'{network.part}'" for network in found)
        raise UserError(f"{path} holds no network '{part}'. Its networks: {known}.")
    more = [surplus(below(state, network.prefix), network.architecture) for network in wanted]
    for network, names in zip(wanted, more, strict=True):
        if not names:
            return network
    raise UserError(f"{path} is not a {wanted[0].architecture}: it has other tensors too, {_some(more[0])}.")


def _taken(state: StateDict, chosen: Network, found: list[Network]) -> TakenWeights:
    names = names_of(chosen.architecture)
    used = [chosen.prefix + name for name in names if chosen.prefix + name in state]
    heads = [name for name in state if chosen.projector is not None and name.startswith(chosen.projector)]
    return TakenWeights(
        used,
        heads,
        [name for name in names if chosen.prefix + name not in state],
        sorted(state.keys() - {*used, *heads}),
        chosen.part,
        tuple(network.part for network in found if network is not chosen),
        (chosen.unlike or "").removesuffix("."),
    )


def _refusal(path: Path, state: StateDict, declared: str) -> str:
    best: tuple[float, str, list[str]] = (0.0, "", [])
    candidates = [declared] if declared else ARCHITECTURES
    for prefix in likely_prefixes(state, candidates):
        backbone = below(state, prefix)
        for architecture in candidates:
            wrong, names = unfit(backbone, architecture), names_of(architecture)
            share = (sum(name in backbone for name in names) - len(wrong)) / len(names)
            if share > best[0]:
                other = [f"{n} is {list(backbone[n].shape)}" if n in backbone else f"{n} is missing" for n in wrong]
                best = share, architecture, other
    said = f"is not a {declared}" if declared else f"holds no known backbone ({', '.join(ARCHITECTURES)})"
    share, nearest, other = best
    if share < 0.5:
        return f"{path} {said}. Its {len(state)} tensors begin with {_some(sorted(state))}."
    return f"{path} {said}. The nearest is {nearest}, but of its {len(names_of(nearest))} tensors {_some(other)}."


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
