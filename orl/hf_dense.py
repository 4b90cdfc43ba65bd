"""Any vision model of transformers that gives maps, read by its hidden states."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from orl_explorer.orl.architectures import HF
from orl_explorer.orl.dense import Dense, SeenMaps
from orl_explorer.orl.measured import FAILURES, NoMapError, measured
from orl_explorer.orl.reading import Choices, LearnedFrom, Pooling, Reading

NORMS = ("layernorm", "norm", "post_layernorm", "layer_norm")  # names of the layer after the last block
LEARNED: dict[LearnedFrom, tuple[str, ...]] = {
    "nothing": ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext", "vit_mae", "ijepa"),
    "text": ("clip_vision_model", "siglip_vision_model"),
}
MEANS = ("vit_mae", "beit", "ijepa", "data2vec-vision")  # models whose class token learned nothing, or that have none
TRY = "Use a vision model such as DINOv2, DINOv3, CLIP, SigLIP, ViT, ConvNeXt or ResNet"


class HfDense(Dense):
    """A model of transformers. Its state dict has the names of ``AutoModel``."""

    def __init__(self, network: nn.Module, reading: Reading) -> None:
        super().__init__(network, reading)
        self._accepted = inspect.signature(network.forward).parameters
        self._kind = network.config.model_type  # type: ignore[union-attr]
        for module in network.modules():
            if (kept := getattr(module, "generate_relative_position_index", None)) is not None:  # BEiT, data2vec
                # The library keeps these by their size alone, for all networks of a process. Those of a network on
                # torch's meta device have no values, and would serve real photos.
                module.generate_relative_position_index = lru_cache(maxsize=10)(kept.__wrapped__)  # type: ignore[assignment]
        self._norm = next((getattr(network, name) for name in NORMS if hasattr(network, name)), nn.Identity())

    @classmethod
    def built(cls, reading: Reading) -> HfDense:
        """Build a model with random weights."""
        return cls(build_model(reading.network), reading)

    def read(self, images: Tensor) -> SeenMaps:
        found = self.network(pixel_values=images, output_hidden_states=True, **self._asked(images))
        hidden = (getattr(found, "reshaped_hidden_states", None) or found.hidden_states)[self.reading.layer]
        last = self.reading.layer == self.reading.layers
        out = found.last_hidden_state if last else hidden
        if out.ndim == 3 and (not last or self._kind == "clip_vision_model"):  # whose last state is not normalised
            out = self._norm(out)
        grid = self._grid(images, hidden)
        if out.ndim == 4:
            maps, tokens = out.permute(0, 3, 1, 2) if self._channels_last else out, None
        else:
            prefix = out.shape[1] - grid[0] * grid[1]
            maps = out[:, prefix:].transpose(1, 2).unflatten(2, grid)
            tokens = out[:, 0] if prefix else None
        head = getattr(found, "pooler_output", None) if self.reading.pooling == "head" else None
        return SeenMaps(maps, tokens, None if head is None else head.flatten(1))

    @property
    def _channels_last(self) -> bool:
        return self._kind == "hiera"

    def _grid(self, images: Tensor, hidden: Tensor) -> tuple[int, int]:
        if hidden.ndim == 4:
            return tuple(hidden.shape[1:3] if self._channels_last else hidden.shape[2:])  # type: ignore[return-value]
        patch = side_of(self.network.config.patch_size)  # type: ignore[union-attr]
        return images.shape[2] // patch, images.shape[3] // patch

    def _asked(self, images: Tensor) -> dict[str, Any]:
        asked: dict[str, Any] = {}
        if "interpolate_pos_encoding" in self._accepted:
            asked["interpolate_pos_encoding"] = True
        if self._kind == "vit_mae":  # which shuffles its patches by random numbers: in their order, nothing moves
            high, wide = self._grid(images, images[:, :, 0])
            asked["noise"] = torch.arange(high * wide, device=images.device).float().expand(len(images), -1)
        return asked


def plan_hf(config: Mapping[str, Any], processor: Mapping[str, Any], choices: Choices) -> Reading:
    """Return how a model of transformers is read. config, processor: of the model and of its image processor.

    Raises ValueError if transformers is missing or does not know the model, or the model gives no map, or a choice
    does not fit.
    """
    vision = vision_config(config)
    kind = str(vision.get("model_type"))
    try:
        with torch.device("meta"):
            built = build_model(vision)
    except (KeyError, *FAILURES) as error:
        raise ValueError(f"transformers cannot build the model '{kind}' ({_line(error)}). {TRY}.") from error
    own = built.config
    side = side_of(getattr(own, "image_size", None) or 224)
    patch = getattr(own, "patch_size", None)
    start = Reading(
        mean=tuple(processor.get("image_mean") or Reading.mean),
        std=tuple(processor.get("image_std") or Reading.std),
        interpolation="bilinear" if processor.get("resample") == 2 else "bicubic",
        learned_from=_learned_from(kind, vision.get("architectures") or config.get("architectures") or []),
        network=vision,
    )
    try:
        layers, prefix = _layers_and_prefix(built, side)
        token = prefix > 0 and kind != "dinov3_convnext"  # whose first token is the mean of the others
        return measured(
            lambda reading: HfDense(built, reading),
            replace(start, layers=layers, prefix=prefix, class_token=token),
            choices,
            side=side,
            patch=None if patch is None else side_of(patch),
            pooling=_pooling(kind, token),
        )
    except NoMapError as error:
        raise ValueError(f"'{HF}{kind}' gives no map of a photo ({error}). {TRY}.") from error


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """Build a vision model with random weights, in eval mode. Raises ValueError if transformers is missing."""
    transformers = transformers_library()
    own = transformers.AutoConfig.for_model(**config)
    return transformers.AutoModel.from_config(own, **without_pooler(own)).eval()


def without_pooler(config: Any) -> dict[str, bool]:
    """Return the arguments that leave out a pooling layer, which most files have no weights for."""
    mapping = transformers_library().MODEL_MAPPING
    if type(config) not in mapping:
        return {}
    accepted = inspect.signature(mapping[type(config)].__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in accepted else {}


def vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that describes the network for photos; text is left out."""
    library = transformers_library()
    try:
        own = library.AutoConfig.for_model(**config)
    except Exception as error:  # an unknown model, or values that it does not take
        raise ValueError(
            f"transformers {library.__version__} knows no such model '{config.get('model_type')}'."
        ) from error
    vision = getattr(own, "vision_config", None) or own
    if hasattr(vision, "mask_ratio"):  # of MAE, which is trained to fill in what it does not see
        vision.mask_ratio = 0.0
    return vision.to_diff_dict()


def side_of(size: Any) -> int:
    """Return a side in pixels of a size: a number, or two."""
    return int(size) if isinstance(size, int | float) else int(size[0])


def transformers_library() -> Any:
    """Return the module transformers. Raises ValueError if it is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"Reading {HF}… encoders needs transformers. Install it with: pip install 'orl-explorer[hf]'."
        ) from error
    return sys.modules["transformers"]  # it replaces itself while another thread imports it


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from printing reports and progress."""
    logging = transformers_library().utils.logging
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _layers_and_prefix(built: nn.Module, side: int) -> tuple[int, int]:
    dense = HfDense(built, Reading(layer=-1, layers=-1))
    images = torch.zeros(2, 3, side, side, device="meta")
    try:
        with torch.device("meta"), torch.no_grad():
            found = built(pixel_values=images, output_hidden_states=True, **dense._asked(images))
            hidden = getattr(found, "reshaped_hidden_states", None) or found.hidden_states
            grid = dense._grid(images, hidden[-1])
    except FAILURES as error:
        raise NoMapError(_line(error)) from error
    out = found.last_hidden_state
    return len(hidden) - 1, out.shape[1] - grid[0] * grid[1] if out.ndim == 3 else 0


def _learned_from(kind: str, heads: list[str]) -> LearnedFrom:
    if any(head.endswith(("Classification", "Detection", "Segmentation", "WithTeacher")) for head in heads):
        return "labels"
    return next((learned for learned, kinds in LEARNED.items() if kind in kinds), "unknown")


def _pooling(kind: str, token: bool) -> Pooling:
    if kind == "siglip_vision_model":
        return "head"
    return "class" if token and kind not in MEANS else "mean"


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
