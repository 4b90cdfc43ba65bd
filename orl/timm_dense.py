"""Any network of timm that gives maps: convolutions of any stride, vision transformers, Swin, Hiera and others."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from orl_explorer.orl.architectures import TIMM
from orl_explorer.orl.dense import Dense, SeenMaps
from orl_explorer.orl.measured import FAILURES, NoMapError, measured
from orl_explorer.orl.reading import Choices, LearnedFrom, Pooling, Reading
from orl_explorer.orl.timm_backbones import create, timm_library

# Arguments that let a network take images of any size: of vision transformers and Swin, of other windowed ones.
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
TRY = "Try timm:vit_small_patch14_reg4_dinov2.lvd142m or timm:resnet50"

# Parts of the names of timm's weights, by what they learned from; the first row with a part decides.
_TAGS: tuple[tuple[LearnedFrom, str], ...] = (
    ("labels", r"(^|_)ft(_|$)|^in1k_ft|augreg|distilled"),
    ("nothing", r"dino|mae|ijepa|lvd|sat493m|swav|moco|ssl_|byol|ibot|capi|franca"),
    ("text", r"clip|openai|laion|datacomp|dfn|webli|metaclip|commonpool|yfcc15m|aimv2|merged2b|mim|eupe|tips|pe_"),
    ("labels", r"in1k|in12k|in21k|in22k|sa1b|sam|jft|inat|ig1b|imagenet|places|swsl"),
)


class TimmDense(Dense):
    """A network of timm, read by its ``forward_intermediates``."""

    def __init__(self, network: nn.Module, reading: Reading) -> None:
        super().__init__(network, reading)
        accepted = inspect.signature(network.forward_intermediates).parameters  # type: ignore[arg-type]
        self._tokens = reading.class_token and "return_prefix_tokens" in accepted
        self._norm = _has_norm(network)

    @classmethod
    def built(cls, architecture: str, reading: Reading) -> TimmDense:
        """Build a network with random weights."""
        return cls(create(architecture.removeprefix(TIMM), **reading.network), reading)

    def read(self, images: Tensor) -> SeenMaps:
        whole = self.reading.pooling == "head"
        asked = {"return_prefix_tokens": True} if self._tokens else {}
        found = self.network.forward_intermediates(  # type: ignore[operator]
            images,
            indices=[self.reading.layer - 1],
            norm=self._norm,
            output_fmt="NCHW",
            stop_early=True,
            intermediates_only=not whole,
            **asked,
        )
        last, (maps,) = found if whole else (None, found)
        maps, tokens = maps if self._tokens else (maps, None)
        head = self.network.forward_head(last, pre_logits=True) if whole else None  # type: ignore[operator]
        return SeenMaps(maps, None if tokens is None else tokens[:, 0], head)


def plan_timm(
    architecture: str, choices: Choices, network: dict[str, Any] | None = None, published: dict[str, Any] | None = None
) -> Reading:
    """Return how a network of timm is read, from its shape on torch's meta device, without its weights.

    network: arguments that it is built with. published: the configuration of its weights; by default timm's of this
    name. Raises ValueError if timm is missing, the name is unknown, the network gives no map, or a choice does not fit.
    """
    name = architecture.removeprefix(TIMM)
    built, arguments = _on_paper(name, network or {})
    if not hasattr(built, "forward_intermediates"):
        raise ValueError(f"'{architecture}' gives no map of a photo: timm has only its last vector. {TRY}.")
    published = published or built.pretrained_cfg
    config = timm_library().data.resolve_data_config(pretrained_cfg=published, model=built)
    side = int(config["input_size"][1])
    start = Reading(
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        learned_from=learned_from(name, str(published.get("tag") or "")),
        network=arguments,
        prefix=int(getattr(built, "num_prefix_tokens", 0)),
        class_token=_has_class_token(built),
    )
    try:
        layers = len(_all_maps(built, side))
        return measured(
            lambda reading: TimmDense(built, reading),
            replace(start, layers=layers),
            choices,
            side=side,
            patch=_patch(built),
            pooling=_pooling(built, start, f"{name} {published.get('tag')}"),
        )
    except NoMapError as error:
        raise ValueError(f"'{architecture}' gives no map of a photo of {side} pixels ({error}). {TRY}.") from error


def _on_paper(name: str, network: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    for any_size in ANY_SIZE:
        arguments = any_size | network
        try:
            with torch.device("meta"):
                return create(name, **arguments).eval(), arguments
        except TypeError:  # the network has no such argument
            if not any_size:
                raise
    raise AssertionError


def _all_maps(built: nn.Module, side: int) -> list[Tensor]:
    try:
        with torch.device("meta"), torch.no_grad():
            return built.forward_intermediates(  # type: ignore[operator]
                torch.zeros(2, 3, side, side), norm=_has_norm(built), output_fmt="NCHW", intermediates_only=True
            )
    except FAILURES as error:
        raise NoMapError((str(error) or type(error).__name__).splitlines()[0].rstrip(".")) from error


def _has_norm(network: nn.Module) -> bool:
    """Whether maps can be asked for with the norm that the last one has. Hiera has none and refuses to be asked."""
    return not type(network).__name__.startswith("Hiera")


def _patch(built: nn.Module) -> int | None:
    patch = getattr(getattr(built, "patch_embed", None), "patch_size", None)
    return patch if patch is None or isinstance(patch, int) else int(patch[0])


def _has_class_token(built: nn.Module) -> bool:
    asked = inspect.signature(built.forward_intermediates).parameters  # type: ignore[arg-type]
    return "return_prefix_tokens" in asked and isinstance(getattr(built, "cls_token", None), Tensor)


def _pooling(built: nn.Module, reading: Reading, weights: str) -> Pooling:
    """Return the pooling that a network was trained for, as far as the name of its weights tells."""
    own = getattr(built, "global_pool", "")
    if own == "map":
        return "head"
    if reading.class_token and "mae" not in weights and (own == "token" or "dino" in weights):
        return "class"
    return "mean"


def learned_from(name: str, tag: str = "") -> LearnedFrom:
    """Return what weights of timm learned from, by their name: ``vit_base_patch16_224.mae`` from photos alone."""
    model, _, own = name.partition(".")
    for text in (own or tag, model):
        for found, pattern in _TAGS:
            if text and re.search(pattern, text):
                return found
    return "unknown"
