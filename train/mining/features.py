"""Features of an encoder: those on disk, and the network that computes missing ones."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.models import Image
from orl_explorer.orl.map_boxes import MOST
from orl_explorer.orl.pixels import ATTENTION_CELLS, ATTENTION_PLANES, UnreadableImage
from orl_explorer.orl.reading import PLAIN, Reading
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import cannot_read
from orl_explorer.train.mining.candidates import Candidates
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embeddings import Embeddings, FeatureKind
from orl_explorer.train.mining.forward import crops_at_once
from orl_explorer.train.photos import Photos
from orl_explorer.train.remembered import Remembered
from orl_explorer.train.settings import Precision
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:  # imports torch, which is not needed if all features are on disk
    from orl_explorer.orl.encoder import EncoderNetwork
    from orl_explorer.train.encoders.state_dicts import Weights

_LOADING = threading.Lock()  # of any network: libraries do not load two at once
REMEMBERED = 20_000  # features in memory of boxes that no set uses, about 100 MB at 1280 floats
PHOTOS = 5_000  # photos in memory whose map or feature is not on disk; their maps take about 70 MB


def photo_keys(images: Sequence[Image]) -> np.ndarray:
    """Return the key of each photo, int64 [n]: the digest of its file, or 0 if it has none. No feature has key 0."""
    return np.array([image.digest or 0 for image in images], np.int64)


def roi_keys(digests: np.ndarray | int, boxes: np.ndarray) -> np.ndarray:
    """Return the key of each box, int64 [B]; 0 if its photo has no digest. boxes: int16 [B, 4].

    digests: of the photo's file, or of each box's file, int64 [B]. The 64 bits of x, y, w and h are combined with it by
    XOR, so keys differ for each box of a photo and are as random as digests between photos.
    """
    digests = np.asarray(digests, np.int64)
    return np.where(digests == 0, 0, np.ascontiguousarray(boxes, "<i2").view("<i8").ravel() ^ digests)


def finite(vectors: np.ndarray, photos: Sequence[str], encoder: str) -> np.ndarray:
    """Return features, float [n, D], if all are finite numbers. Raises UserError that names the photo if not.

    photos: the photo of each row. encoder: its name.
    """
    fine = np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1)
    if not fine.all():
        raise UserError(
            f"The encoder '{encoder}' computes features of {photos[int(np.argmin(fine))]} that are not finite numbers: "
            "its weights overflow. Use --precision fp32 or another encoder."
        )
    return vectors


def widths_of(encoder: EncoderRow) -> dict[FeatureKind, int]:
    """Return how many numbers a stored row of each kind has, of those that mining stores."""
    return {
        "images": encoder.image_features,
        "attention-and-looks": ATTENTION_PLANES * ATTENTION_CELLS**2,
        "map-boxes": 4 * MOST,
        "rois": encoder.roi_features,
    }


class Features:
    """An encoder's stored features, and the network itself, loaded when a feature is missing."""

    def __init__(
        self, workspace: Workspace, row: EncoderRow, device: str = "cpu", precision: Precision = "fp32"
    ) -> None:
        device = "cpu" if precision == "fp32-onnx" else device
        self.workspace, self._row, self._device, self._precision = workspace, row, device, precision
        self._encoder: EncoderNetwork | None = None
        self.name, self.reading = row.name, Reading.of(row.reading)
        self.batch = crops_at_once(device, precision)
        self.folder = workspace.embeddings / row.name / ("" if precision == "fp32" else precision)
        self.images, self.rois = self._rows("images"), self._rows("rois")

    @property
    def on_accelerator(self) -> bool:
        """Whether the network runs beside the processor, not on it."""
        return self._device != "cpu"

    @cached_property
    def attention(self) -> Embeddings:
        """Attention maps of whole photos, for objectness."""
        return self._rows("attention-and-looks")

    @cached_property
    def map_boxes(self) -> Embeddings:
        """Boxes that the maps of whole photos show: of each, x y w h as shares of the photo's sides."""
        return self._rows("map-boxes")

    def _rows(self, kind: FeatureKind) -> Embeddings:
        return Embeddings(self.folder, kind, widths_of(self._row)[kind], self._row.weights_sha256)

    @property
    def precision(self) -> Precision:
        """Precision of the forward passes."""
        return self._precision

    def weights(self) -> Weights:
        """Load the network's weights, to build it elsewhere. Raises UserError."""
        from orl_explorer.train.encoders.weights import stored_weights

        return stored_weights(self.workspace, self._row)

    @property
    def encoder(self) -> EncoderNetwork:
        """The network, loaded on first use."""
        with _LOADING:
            if self._encoder is None:
                refuse_vectors(self._row)  # before torch is imported
                from orl_explorer.train.encoders.weights import load_encoder

                self._encoder = load_encoder(self.workspace, self._row, self._device, self._precision)
        return self._encoder


class _OfPhotos(ABC):
    """What an encoder computes of whole photos: from disk if mining stored it, else on demand and kept in memory.

    Writes nothing. Threads may share it.
    """

    def __init__(self, features: Features, photos: Photos) -> None:
        self._features, self._photos = features, photos
        self._remembered = Remembered[int, np.ndarray](PHOTOS)

    @property
    @abstractmethod
    def _stored(self) -> Embeddings:
        """The rows on disk."""

    @abstractmethod
    def _computed(self, photo: PIL.Image.Image) -> np.ndarray:
        """Return the row of a photo, float32 [1, D]."""

    def _rows(self, images: Sequence[Image]) -> dict[int, np.ndarray]:
        """Return rows by image id, float32 [D]. Raises UserError."""
        stored = self._stored
        stored.refresh()
        keys = photo_keys(images)
        there = stored.have(keys)
        at_hand = (image.id for image, have in zip(images, there, strict=True) if have)
        found = dict(zip(at_hand, stored.get(keys[there]), strict=True))
        for image in images:
            if image.id not in found:
                found[image.id] = self._remembered.get(image.id, partial(self._made, image))
        return found

    def _unknown(self, images: Sequence[Image]) -> int:
        """Count the photos that need a forward pass."""
        there = self._stored.have(photo_keys(images))
        return sum(i.id not in self._remembered for i, have in zip(images, there, strict=True) if not have)

    def _made(self, image: Image) -> np.ndarray:
        return finite(self._computed(_read(self._photos, image)), [image.path], self._features.name)[0]


class PhotoFeatures(_OfPhotos):
    """Features of whole photos, by which their neighbours are found."""

    @property
    def _stored(self) -> Embeddings:
        return self._features.images

    def _computed(self, photo: PIL.Image.Image) -> np.ndarray:
        return self._features.encoder.embed_images(self._features.reading.photo(photo)[None])

    def get(self, image: Image) -> np.ndarray:
        """Return the features of a photo, float32 [D], of unit length. Raises UserError."""
        return self._rows([image])[image.id]

    def missing(self, image: Image) -> int:
        """Return 1 if the photo needs a forward pass, else 0."""
        return self._unknown([image])


class _ForSettings(_OfPhotos):
    """What some settings need of photos, and others do not."""

    @abstractmethod
    def _needed(self, config: MineConfig) -> bool:
        """Return whether settings need it."""

    def get(self, images: Sequence[Image], config: MineConfig) -> dict[int, np.ndarray | None]:
        """Return rows by image id, float32 [D], or None if the settings need none. Raises UserError."""
        if not self._needed(config):
            return dict.fromkeys((image.id for image in images), None)
        return {**self._rows(images)}

    def unstored(self, keys: np.ndarray) -> int:
        """Count the photos without a row on disk. keys: int64 [n], of photos."""
        return self._stored.missing(keys)

    def missing(self, images: Sequence[Image], config: MineConfig) -> int:
        """Count the photos that need a forward pass."""
        return self._unknown(images) if self._needed(config) else 0


class AttentionMaps(_ForSettings):
    """Attention maps of photos, float32 [9 · h · w], for the objectness of their boxes."""

    @property
    def _stored(self) -> Embeddings:
        return self._features.attention

    def _computed(self, photo: PIL.Image.Image) -> np.ndarray:
        return self._features.encoder.attention(self._features.reading.whole(photo)[None])

    def _needed(self, config: MineConfig) -> bool:
        return config.needs_objectness


class MapBoxes(_ForSettings):
    """Boxes that the encoder's maps of photos show, for ``with_map``."""

    @property
    def _stored(self) -> Embeddings:
        return self._features.map_boxes

    def _computed(self, photo: PIL.Image.Image) -> np.ndarray:
        return self._features.encoder.map_boxes(self._features.reading.whole(photo)[None])

    def _needed(self, config: MineConfig) -> bool:
        return config.maps_boxes


@dataclass(frozen=True)
class Boxes:
    """Boxes of a photo, int16 [B, 4], and the objectness of each, float32 [B]."""

    image: Image
    boxes: np.ndarray
    objectness: np.ndarray

    @classmethod
    def of(cls, found: Candidates) -> Boxes:
        """Return the candidates of a photo."""
        return cls(found.image, found.filtered.boxes, found.objectness)

    @cached_property
    def keys(self) -> np.ndarray:
        """Keys of their features on disk, int64 [B]."""
        return roi_keys(self.image.digest or 0, self.boxes)

    def __getitem__(self, which: np.ndarray) -> Boxes:
        """Return some of the boxes. which: bool [B], or int [n]."""
        return Boxes(self.image, self.boxes[which], self.objectness[which])


class BoxFeatures:
    """Features of any box: from disk if a set uses it, else embedded on demand and kept in memory for a while.

    Writes nothing. Threads may share it.
    """

    def __init__(self, features: Features, photos: Photos) -> None:
        self._features, self._photos = features, photos
        self._remembered: OrderedDict[tuple[int, ...], np.ndarray] = OrderedDict()  # by image, x, y, w and h
        self._forward = threading.Lock()  # one forward pass, and one writer of the memory, at a time
        self.embedded = 0

    def refresh(self) -> None:
        """Read the keys that runs have added to the disk."""
        self._features.rois.refresh()

    def unstored(self, some: Boxes) -> int:
        """Count the boxes whose features are not on disk."""
        return self._features.rois.missing(some.keys)

    def missing(self, some: Boxes) -> int:
        """Count the boxes that need a forward pass."""
        return int((~self.there(some)).sum())

    @property
    def state(self) -> tuple[int, int]:
        """A value that changes when features were added: rows on disk, and boxes embedded here."""
        return self._features.rois.rows, self.embedded

    def there(self, some: Boxes) -> np.ndarray:
        """Return which of the boxes need no forward pass, bool [B]."""
        there = self._features.rois.have(some.keys)
        if not there.all():
            for i in np.flatnonzero(~there).tolist():
                there[i] = (some.image.id, *some.boxes[i].tolist()) in self._remembered
        return there

    def get(self, some: Boxes) -> np.ndarray:
        """Return features of the boxes, float32 [B, C], unit rows. Raises UserError."""
        found, missing = self._at_hand(some)
        if not len(missing):
            return found
        with self._forward:
            photo = _read(self._photos, some.image)
            network, reading, at_once = self._features.encoder, self._features.reading, self._features.batch
            for part in np.split(missing, range(at_once, len(missing), at_once)):
                made = network.embed_rois(np.stack([reading.crop(photo, box) for box in some.boxes[part]]))
                found[part] = finite(made, [some.image.path] * len(part), self._features.name)
            keys = _corners(some.boxes)
            for i in missing.tolist():
                self._remembered[some.image.id, *keys[i]] = found[i].copy()
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
            self.embedded += len(missing)
        return found

    def _at_hand(self, some: Boxes) -> tuple[np.ndarray, np.ndarray]:
        """Return features of the boxes, float32 [B, C], and the indices of the missing ones."""
        stored = self._features.rois
        found = np.zeros((len(some.boxes), stored.width), np.float32)
        there = stored.have(some.keys)
        found[there] = stored.get(some.keys[there])
        keys = _corners(some.boxes)
        for i in np.flatnonzero(~there).tolist():
            vector = self._remembered.get((some.image.id, *keys[i]))
            if vector is not None:
                found[i], there[i] = vector, True
        return found, np.flatnonzero(~there)


class PooledFeatures:
    """A fast approximation of the features of any box, cropped from the map of its photo: one forward pass per photo.

    Writes nothing. Threads may share it.
    """

    def __init__(self, features: Features, photos: Photos) -> None:
        self._features, self._photos = features, photos
        self._remembered = Remembered[tuple[int, ...], np.ndarray](REMEMBERED // 100)  # by image and its boxes

    def remembers(self, some: Boxes) -> bool:
        """Return whether these boxes need no forward pass."""
        return (some.image.id, *some.boxes.ravel().tolist()) in self._remembered

    def get(self, some: Boxes) -> np.ndarray:
        """Return features of the boxes, float32 [B, C], unit rows. Raises UserError."""
        key = (some.image.id, *some.boxes.ravel().tolist())
        return self._remembered.get(key, partial(self._made, some))

    def _made(self, some: Boxes) -> np.ndarray:
        photo, boxes, reading = _read(self._photos, some.image), some.boxes, self._features.reading
        pixels = np.asarray(photo)
        if reading is not PLAIN:
            pixels = reading.whole_at(photo, reading.photo_size)
            across, down = pixels.shape[1] / photo.width, pixels.shape[0] / photo.height
            boxes = boxes * np.array([across, down, across, down])
        made = self._features.encoder.pool_boxes(pixels, boxes)
        return finite(made, [some.image.path] * len(made), self._features.name)


def _read(photos: Photos, image: Image) -> PIL.Image.Image:
    try:
        return photos.read(image)
    except UnreadableImage as error:
        raise cannot_read(photos.path(image), str(error)) from error


def _corners(boxes: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(box) for box in boxes.tolist()]
