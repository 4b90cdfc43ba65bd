"""How an encoder is read: the photos and crops that it sees, and the layer and pooling of its features.

Stored with each encoder whose network another library builds. Features depend on it as they do on the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from orl_explorer.orl.pixels import ATTENTION_SIZE, INPUT_SIZE, SHORT_SIDE, center_crop, crop_box, squeeze

Pooling = Literal["mean", "class", "head"]
LearnedFrom = Literal["labels", "text", "nothing", "unknown"]
Interpolation = Literal["bilinear", "bicubic"]
Salience = Literal["norm", "class", "degree"]
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SMALLEST, LARGEST = 32, 2048  # pixels, of a photo or crop


@dataclass(frozen=True)
class Reading:
    """How an encoder is read. By default: the mean of the last map of a network of stride 32 that takes any size.

    layer: number of the stage or block whose map is used, from 1; layers: how many there are; 0 if that was not asked.
    pooling: what is a crop's feature: the map's mean, the class token, or what the network's own head makes of the map.
    photo_size: pixels, side of a whole photo for attention. crop_size: side of a crop. mean, std: of RGB in [0, 1].
    stride: pixels of the input per cell of the map. multiple: what the sides of an input are multiples of. fixed:
    whether the network takes images of one size only. prefix: tokens before those of the map. class_token: whether the
    first of them is a class token. salience: by what objectness tells which cells stand out, see ``orl.dense``.
    channels, features: of the map and of the pooled feature. learned_from: what its weights learned from; with
    "nothing", from photos alone or not at all. network: what the library builds the network from, beside its name.
    """

    layer: int = 0
    layers: int = 0
    pooling: Pooling = "mean"
    photo_size: int = ATTENTION_SIZE
    crop_size: int = INPUT_SIZE
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"
    stride: int = 32
    multiple: int = 32
    fixed: bool = False
    prefix: int = 0
    class_token: bool = False
    salience: Salience = "norm"
    channels: int = 0
    features: int = 0
    learned_from: LearnedFrom = "unknown"
    network: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Reading:
        """Return a stored reading, or the default. Raises ValueError if the values are no reading."""
        if stored is None:
            return PLAIN
        known = {each.name for each in fields(cls)}
        told = stored.keys() | {"salience"}  # which is left out where it is the default
        if told != known or any(not isinstance(stored[each], list | tuple) for each in ("mean", "std")):
            raise ValueError("it does not say how the encoder is read")
        return cls(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})

    def stored(self) -> dict[str, Any]:
        """Return the values as types of JSON."""
        return json.loads(self.canonical())

    def canonical(self) -> str:
        """Return the values as text that is the same for equal readings, also for those stored without a salience."""
        values = asdict(self)
        if self.salience == "norm":
            del values["salience"]
        return json.dumps(values, sort_keys=True)

    def photo(self, photo: Image.Image) -> np.ndarray:
        """Return the centre of a photo, for its image feature: uint8 [S, S, 3]."""
        short = round(self.crop_size * SHORT_SIDE / INPUT_SIZE)
        return center_crop(photo, short, self.crop_size, self._resample)

    def crop(self, photo: Image.Image, box: np.ndarray) -> np.ndarray:
        """Return a RoI x y w h of a photo: uint8 [S, S, 3]."""
        return crop_box(photo, box, self.crop_size, self._resample)

    def whole(self, photo: Image.Image) -> np.ndarray:
        """Return the whole photo as a square, for attention: uint8 [S, S, 3]."""
        return squeeze(photo, self.photo_size, self._resample)

    def whole_at(self, photo: Image.Image, longest: int) -> np.ndarray:
        """Return the whole photo in about its own aspect, if the network takes that: uint8 [h, w, 3]."""
        return np.asarray(photo.resize(self.input_size(*photo.size, longest), self._resample))

    def input_size(self, width: int, height: int, longest: int) -> tuple[int, int]:
        """Return the width and height of a whole photo as input, close to its aspect. longest: the longer side."""
        if self.fixed:
            return self.photo_size, self.photo_size
        scale = longest / max(width, height)
        wide, high = (rounded(side * scale, self.multiple) for side in (width, height))
        return wide, high

    @property
    def _resample(self) -> Image.Resampling:
        return RESAMPLING[self.interpolation]


PLAIN = Reading()


@dataclass(frozen=True)
class Choices:
    """What a person chose of a reading; None where the default holds."""

    layer: int | None = None
    photo_size: int | None = None
    crop_size: int | None = None
    pooling: str | None = None
    learned_from: str | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in asdict(self).values())

    def check(self) -> None:
        """Raise ValueError if a choice is none for any encoder."""
        for name, known in (("pooling", Pooling), ("learned_from", LearnedFrom)):
            if getattr(self, name) not in (None, *get_args(known)):
                raise ValueError(f"Invalid value for {name}: {getattr(self, name)}. Use {', '.join(get_args(known))}.")
        for name in ("photo_size", "crop_size"):
            size = getattr(self, name)
            if size is not None and not SMALLEST <= size <= LARGEST:
                raise ValueError(f"Invalid value for {name}: {size}. Use {SMALLEST} to {LARGEST}.")

    def layer_of(self, layers: int) -> int:
        """Return the chosen layer of so many, from 1; by default the last. Raises ValueError."""
        layer = layers if self.layer is None else self.layer + layers + 1 if self.layer < 0 else self.layer
        if not 1 <= layer <= layers:
            raise ValueError(f"Invalid value for layer: {self.layer}. The network has {layers}: use 1 to {layers}.")
        return layer

    def applied(self, reading: Reading) -> Reading:
        """Return a reading with the other choices; sizes are rounded to what the network takes. Raises ValueError."""
        given = {name: value for name in ("pooling", "learned_from") if (value := getattr(self, name)) is not None}
        for name in ("photo_size", "crop_size"):
            size, own = getattr(self, name), getattr(reading, name)
            if reading.fixed and size not in (None, own):
                raise ValueError(f"Invalid value for {name}: {size}. This network takes images of {own} pixels only.")
            if size is not None and not reading.fixed:
                given[name] = rounded(size, reading.multiple)
        return replace(reading, **given)


def choices_of(given: Mapping[str, Any]) -> Choices:
    """Return choices by name. Raises ValueError that lists the known names if one is unknown."""
    known = [each.name for each in fields(Choices)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"There is no choice '{unknown[0]}' of how an encoder is read. Known: {', '.join(known)}.")
    return Choices(**given)


def rounded(size: float, multiple: int) -> int:
    """Return the multiple that is nearest to a size; at least one."""
    return max(1, round(size / multiple)) * multiple
