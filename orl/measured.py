"""What a network that gives maps takes and gives, from its shapes on torch's meta device, without its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from orl_explorer.orl.dense import Dense
from orl_explorer.orl.pixels import ATTENTION_SIZE, INPUT_SIZE
from orl_explorer.orl.reading import Choices, Pooling, Reading, Salience, rounded

PROBED = 10, 7  # sides of an image that is not square, in multiples of what the network takes
FAILURES = (AssertionError, RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError, IndexError)


class NoMapError(ValueError):
    """A network that gives no map of a photo."""


def measured(
    make: Callable[[Reading], Dense],
    start: Reading,
    choices: Choices,
    *,
    side: int,
    patch: int | None,
    pooling: Pooling,
) -> Reading:
    """Return a reading with a person's choices and what images of the network's own size and of another one show.

    make: wraps the network, which is on the meta device. start: says how many layers there are. side: of the images
    that the network was made for. patch: side of a patch, None if there are none. pooling: of the last layer by
    default. Raises NoMapError, and ValueError if a choice does not fit.
    """
    last = replace(start, layer=start.layers)
    own = _shape(make, last, (side, side))
    if len(own) != 4 or min(own[2:]) < 1:
        raise NoMapError(f"its output is {list(own)}")
    stride = side / own[3]
    tokens = patch == round(stride)
    multiple = max(patch, round(stride)) if patch else 2 ** round(math.log2(stride))
    fixed = not _takes_any_size(make, last, multiple, stride)
    sizes = (side, side) if fixed else (rounded(ATTENTION_SIZE, multiple), rounded(INPUT_SIZE, multiple))
    layer, class_learned = choices.layer_of(start.layers), pooling == "class"
    if layer < start.layers:
        pooling = "mean"
    found = replace(start, layer=layer, fixed=fixed, multiple=multiple, photo_size=sizes[0], crop_size=sizes[1])
    reading = choices.applied(replace(found, pooling=pooling))
    if reading.pooling == "class" and not reading.class_token:
        raise ValueError("Invalid value for pooling: class. This network has no class token. Use mean or head.")
    if reading.pooling == "head" and layer < start.layers:
        raise ValueError("Invalid value for pooling: head. A head belongs to the last layer. Leave --layer out.")
    with torch.device("meta"), torch.no_grad():
        images = torch.zeros(2, 3, reading.crop_size, reading.crop_size)
        maps, pooled = make(reading)(images), make(reading).pooled(images)
    if maps.ndim != 4 or pooled.ndim != 2:
        raise NoMapError(f"its maps are {list(maps.shape)} and its features {list(pooled.shape)}")
    stride = round(reading.crop_size / maps.shape[3])
    found = replace(reading, stride=stride, channels=maps.shape[1], features=pooled.shape[1])
    return replace(found, salience=_salience(make, found, tokens, class_learned))


def _salience(make: Callable[[Reading], Dense], reading: Reading, tokens: bool, class_learned: bool) -> Salience:
    """Return by what the cells of a network stand out: the norm of their channels, unless they are tokens of a ViT."""
    if not tokens:
        return "norm"
    if not class_learned:
        return "degree"
    with torch.device("meta"), torch.no_grad():
        seen = make(reading).attended(torch.zeros(2, 3, reading.crop_size, reading.crop_size))
    return "degree" if seen is None else "class"


def _shape(make: Callable[[Reading], Dense], reading: Reading, size: tuple[int, int]) -> torch.Size:
    try:
        with torch.device("meta"), torch.no_grad():
            return make(replace(reading, pooling="mean")).read(torch.zeros(2, 3, *size)).maps.shape
    except FAILURES as error:
        raise NoMapError((str(error) or type(error).__name__).splitlines()[0].rstrip(".")) from error


def _takes_any_size(make: Callable[[Reading], Dense], reading: Reading, multiple: int, stride: float) -> bool:
    size = PROBED[0] * multiple, PROBED[1] * multiple
    try:
        shape = _shape(make, reading, size)
    except NoMapError:
        return False
    return all(abs(cells - pixels / stride) <= 1 for cells, pixels in zip(shape[2:], size, strict=True))
