"""Checkpoints of vision transformers, as DINO, DINOv2, DINOv3, iBOT and MAE save them, known by their tensors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from orl_explorer.orl.architectures import TIMM
from orl_explorer.orl.backbones import IMAGENET
from orl_explorer.orl.reading import Choices, Reading
from orl_explorer.orl.timm_backbones import create
from orl_explorer.orl.timm_dense import plan_timm
from orl_explorer.train.encoders.brought import planned
from orl_explorer.train.encoders.networks import Network, StateDict, below, flattened, named_part
from orl_explorer.train.encoders.state_dicts import TakenWeights, Weights, usable
from orl_explorer.train.errors import UserError

SIGNS = ("cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight", "blocks.0.attn.qkv.weight")
HEAD_WIDTH = 64  # channels of an attention head, in all of these
# Networks of timm by their width, with which these checkpoints are rebuilt; their depth and patches are the file's.
WIDTHS = {192: "vit_tiny_patch16_224", 384: "vit_small_patch16_224", 768: "vit_base_patch16_224"}
WIDTHS |= {1024: "vit_large_patch16_224"}
ROTARY = {384: "vit_small_patch16_dinov3", 768: "vit_base_patch16_dinov3", 1024: "vit_large_patch16_dinov3"}
GIANT = {True: "vit_giant_patch14_reg4_dinov2", False: "vit_giant_patch14_dinov2"}
# Names beside the network's, by what such files were trained for.
PARTS_OF_MAE = ("decoder_embed.", "decoder_pred.")
PARTS_OF_DINO = ("mask_token", "register_tokens", "storage_tokens")


def vit_weights(
    path: Path, content: dict[str, Any], architecture: str, part: str, choices: Choices
) -> tuple[Weights, TakenWeights] | None:
    """Return the vision transformer of a checkpoint, and a report of its tensors; None if it holds none.

    architecture: of timm, or "" for that which the tensors tell. Raises UserError if it cannot be rebuilt.
    """
    within, state = flattened(content)
    found = _networks(state, within)
    if not found or (architecture and not architecture.startswith(TIMM)):
        return None
    wanted = named_part(found, part) if part else found
    if not wanted:
        known = ", ".join(f"'{network.part}'" for network in found)
        raise UserError(f"{path} holds no network '{part}'. Its networks: {known}.")
    chosen = wanted[0]
    own = _in_one_row(below(state, chosen.prefix))
    learned = "labels" if own.get("head.weight", torch.empty(0)).ndim == 2 else _learned(state, within)
    reading, name = _planned(path, own, architecture, learned, choices)
    weights = _converted(path, own, name, reading)
    used = [each for each in state if each.startswith(chosen.prefix)]
    others = tuple(network.part for network in found if network is not chosen)
    aside = sorted(state.keys() - set(used))
    return weights, TakenWeights(used, [], [], aside, chosen.part, others)


def _networks(state: StateDict, within: str) -> list[Network]:
    found = []
    for name in state:
        if name == SIGNS[0] or name.endswith(f".{SIGNS[0]}"):
            prefix = name.removesuffix(SIGNS[0])
            if all(prefix + sign in state for sign in SIGNS[:2]) and _blocks(below(state, prefix)):
                found.append(Network(f"{within}{prefix}".removesuffix(".") or ".", prefix, "vision transformer"))
    return sorted(found, key=lambda network: network.second)


def _blocks(own: StateDict) -> bool:
    renamed = _in_one_row(own)
    return all(sign in renamed for sign in SIGNS)


def _in_one_row(own: StateDict) -> StateDict:
    """Return tensors whose blocks are numbered in one row: ``blocks.1.12.norm1`` of a divided network is block 12."""
    return {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in own.items()}


def _learned(state: StateDict, within: str) -> str:
    if any(part in name for name in state for part in PARTS_OF_MAE):
        return "mae"
    dino = any(part in name for name in state for part in PARTS_OF_DINO)
    networks = any(word in f".{within}{next(iter(state))}." for word in ("teacher", "student"))
    return "dino" if dino or networks else ""


def _planned(path: Path, own: StateDict, architecture: str, learned: str, choices: Choices) -> tuple[Reading, str]:
    width, _, patch, _ = own["patch_embed.proj.weight"].shape
    rotary, registers = "storage_tokens" in own, own.get("register_tokens", own.get("reg_token"))
    swiglu = "blocks.0.mlp.w12.weight" in own
    known = GIANT[registers is not None] if swiglu else (ROTARY if rotary else WIDTHS).get(width)
    name = architecture.removeprefix(TIMM) or known
    if name is None:
        raise UserError(
            f"{path} holds a vision transformer of width {width}, which none of timm's known ones has. Name it with "
            "--architecture timm:NAME."
        )
    depth = 1 + max(int(each.split(".")[1]) for each in own if each.startswith("blocks."))
    network: dict[str, Any] = {}
    side = 224
    if not architecture:
        network = {"depth": depth, "patch_size": int(patch)}
        if not rotary:
            cells = round((own["pos_embed"].shape[1] - 1) ** 0.5)
            side = cells * int(patch)
            network |= {"num_heads": width // HEAD_WIDTH or 1, "img_size": side}
            network |= {"init_values": 1e-5} if "blocks.0.ls1.gamma" in own else {}
            network |= {"reg_tokens": registers.shape[1], "no_embed_class": True} if registers is not None else {}
    mean, std = IMAGENET
    published = {"mean": mean, "std": std, "interpolation": "bicubic", "input_size": (3, side, side), "tag": learned}
    tagged = None if architecture else published
    reading = planned(lambda: plan_timm(f"{TIMM}{name}", choices, network, tagged))
    said: Any = choices.learned_from or {"labels": "labels", "": "unknown"}.get(learned, "nothing")
    return replace(reading, learned_from=said), name


def _converted(path: Path, own: StateDict, name: str, reading: Reading) -> Weights:
    """Return the weights by timm's names, loaded once to be sure that all are there."""
    from timm.models import eva, vision_transformer

    network = create(name, **reading.network)
    library = eva if isinstance(network, eva.Eva) else vision_transformer
    given = {key: usable(path, key, value).float() for key, value in own.items() if not key.startswith("head")}
    if "register_tokens" in given:
        given.setdefault("mask_token", torch.empty(0))  # by which timm knows such files
    try:
        converted = library.checkpoint_filter_fn(given, network)
        expected = network.state_dict().keys()
        network.load_state_dict({key: value for key, value in converted.items() if key in expected})
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"The vision transformer of {path} is not timm's {name}: {reason}. Name its architecture with "
            "--architecture timm:NAME."
        ) from error
    return Weights(f"{TIMM}{name}", network.state_dict(), None, reading.learned_from == "labels", reading)
