"""The networks of a checkpoint: where their backbones are, which one is meant, and where its projector is.

A checkpoint may hold several: a model and its moving average, a student and a teacher, a query encoder and a key
encoder. Nested dictionaries are read as one state dict whose names are joined by dots, so a network is a prefix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.heads import build_head, head_of
from orl_explorer.train.errors import UserError

StateDict = dict[str, Tensor]

COUNTER = "num_batches_tracked"  # of a batch norm; older files have none, and nothing depends on it
CLASSIFIERS = ("fc", "_fc", "classifier", "head", "head.fc")  # what torchvision and timm call the layer
DEPTH = 6  # dictionaries inside each other; those of trainings have two or three
LONGEST = 200  # characters of a name; longer ones belong to no architecture
WIDEST = 1 << 16  # outputs of a projector's layer

# Of two networks, the one whose name has no such word is meant: the model, not its moving average; the teacher of DINO,
# which its authors evaluate, not the student; the query encoder of MoCo, not the key encoder; the online network of
# BYOL, not the target.
SECOND = re.compile(r"(^|[._])(ema|student|target|momentum|encoder_k|key|average|averaged|swa)([._]|$)")
# Their layer `fc` is a projector, not a classifier trained with labels.
CONTRASTIVE = re.compile(r"(^|\.)(encoder_q|encoder_k|base_encoder|momentum_encoder)(\.|$)")


@dataclass(frozen=True)
class Network:
    """A backbone in a state dict: the prefix of its names, its architecture, and the prefix of its projector, if any.

    part: the network's name for ``--part``. unlike: prefix of a projector of another shape than this project's heads.
    """

    part: str
    prefix: str
    architecture: str
    projector: str | None = None
    unlike: str | None = None

    @property
    def second(self) -> bool:
        """Whether another network is meant, if there is one."""
        return "teacher" not in self.part and bool(SECOND.search(self.part))

    @property
    def contrastive(self) -> bool:
        """Whether the names are those of a contrastive method, trained without labels."""
        return bool(CONTRASTIVE.search(self.part))


def flattened(content: dict[Any, Any]) -> tuple[str, StateDict]:
    """Return all tensors of nested dictionaries; names are joined by dots.

    The name of a dictionary that alone holds tensors, such as ``state_dict.``, is returned apart.
    """
    found: StateDict = {}
    around: tuple[str, ...] = ()
    for name, value in _tensors(content, (), set()):
        found.setdefault(".".join(name), value)
        around = name[:-1] if len(found) == 1 else _common(around, name[:-1])
    within = "".join(f"{each}." for each in around)
    return within, {name.removeprefix(within): value for name, value in found.items()}


def plain(key: object) -> str:
    """Return a key of a dictionary as a name that any terminal can print."""
    return "".join(each if each.isprintable() else "?" for each in str(key)[:LONGEST])


def _tensors(
    content: dict[Any, Any], path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    seen.add(id(content))  # a dictionary may hold itself
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield (*path, plain(key)), value
        elif isinstance(value, dict) and len(path) < DEPTH and id(value) not in seen:
            yield from _tensors(value, (*path, plain(key)), seen)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return one[:same]


def networks(state: StateDict, candidates: Iterable[str], within: str = "") -> list[Network]:
    """Return the networks of these architectures in a state dict, the one that is meant first.

    within: prefix of all names, which the state dict leaves out.
    """
    candidates = list(candidates)
    found = []
    for prefix in likely_prefixes(state, candidates):
        architecture = architecture_of(below(state, prefix), candidates)
        if architecture is not None:
            part = f"{within}{prefix}".removesuffix(".") or "."
            found.append(_with_projector(state, Network(part, prefix, architecture)))
    # The sort is stable: otherwise, the order of the file decides.
    return sorted(found, key=lambda network: (network.second, network.projector is None))


def likely_prefixes(state: StateDict, candidates: Iterable[str]) -> list[str]:
    """Return the prefixes under which a state dict has at least half of an architecture's names, in its order."""
    wholes = [_shapes(architecture).keys() for architecture in candidates]
    known = {name for names in wholes for name in names}
    counted: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for start in range(min(len(parts), 2 * DEPTH)):
            if ".".join(parts[start:]) in known:
                counted["".join(f"{part}." for part in parts[:start])] += 1
    least = min(map(len, wholes), default=0) / 2
    return [prefix for prefix, count in counted.items() if count >= least]


def named_part(found: list[Network], part: str) -> list[Network]:
    """Return the networks whose name is, or contains, a part: ``teacher`` names ``teacher.backbone``."""
    return [network for network in found if network.part == part or f".{part}." in f".{network.part}."]


def below(state: StateDict, prefix: str) -> StateDict:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def architecture_of(state: StateDict, candidates: Iterable[str]) -> str | None:
    """Return the architecture whose tensors a state dict holds, or None."""
    fitting = [architecture for architecture in candidates if not unfit(state, architecture)]
    # A ResNet-34 holds every tensor of a ResNet-18, a ResNet-101 those of a ResNet-50: the largest is meant.
    return max(fitting, key=lambda architecture: len(_shapes(architecture)), default=None)


def unfit(state: StateDict, architecture: str) -> list[str]:
    """Return the tensors of the architecture that are missing or have another shape; counters may be missing."""
    return [
        name
        for name, shape in _shapes(architecture).items()
        if (state[name].shape != shape if name in state else not name.endswith(COUNTER))
    ]


def surplus(state: StateDict, architecture: str) -> list[str]:
    """Return the tensors of the architecture's layers that it does not have, without classifiers."""
    shapes = _shapes(architecture)
    layers = {name.partition(".")[0] for name in shapes}
    return [
        name
        for name in state
        if name not in shapes and name.partition(".")[0] in layers and name.rpartition(".")[0] not in CLASSIFIERS
    ]


def names_of(architecture: str) -> list[str]:
    """Return the names of an architecture's tensors. Raises UserError if it is unknown, or timm is missing."""
    return list(_shapes(architecture))


def integers_of(architecture: str) -> set[str]:
    """Return the names of an architecture's tensors that hold integers, such as counters of batches."""
    return {name for name, value in _on_paper(architecture)[0].state_dict().items() if not value.is_floating_point()}


def completed(architecture: str, state: StateDict) -> StateDict:
    """Return the backbone's tensors in the architecture's order, with missing counters at 0."""
    shapes = _shapes(architecture).items()
    return {name: state[name] if name in state else torch.zeros(shape, dtype=torch.long) for name, shape in shapes}


def _with_projector(state: StateDict, network: Network) -> Network:
    """Return a network with its projector, by the names of the reference, of its aliases, and of this project."""
    parent, _, own = network.prefix.removesuffix(".").rpartition(".")
    siblings = {"0": ["1."], "backbone": ["neck.", "projector."], "encoder": ["projector."]}.get(own, [])
    unlike = None
    for sibling in (f"{parent}.{each}" if parent else each for each in siblings):
        projector = below(state, sibling)
        if _is_head(projector, _on_paper(network.architecture)[1]):
            return replace(network, projector=sibling)
        unlike = unlike or (sibling if projector else None)
    return replace(network, unlike=unlike)


def _is_head(projector: StateDict, features: int) -> bool:
    head = head_of(projector)
    if head is None or not (0 <= head.hidden <= WIDEST and 0 < head.outputs <= WIDEST):
        return False
    with torch.device("meta"):
        expected = build_head(features, head).state_dict()
    return {k: v.shape for k, v in projector.items()} == {k: v.shape for k, v in expected.items()}


@cache
def _shapes(architecture: str) -> dict[str, torch.Size]:
    """Return the shapes of an architecture. Raises UserError if it is unknown, or needs timm and timm is missing."""
    return {name: value.shape for name, value in _on_paper(architecture)[0].state_dict().items()}


@cache
def _on_paper(architecture: str) -> tuple[torch.nn.Module, int]:
    """Return a backbone without values and its channels. It is shared: read it. Raises UserError as ``_shapes``."""
    try:
        with torch.device("meta"):
            return build_backbone(architecture)
    except ValueError as error:
        raise UserError(str(error)) from error
