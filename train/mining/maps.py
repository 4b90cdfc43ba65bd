"""Maps: the photos of a dataset, or RoIs of a set, placed in the plane by their stored features, and saved."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from threadpoolctl import threadpool_limits

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.gallery.order import GalleryOrder, gallery_ids, shuffled
from orl_explorer.db.lost import GONE, lost_images
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder
from orl_explorer.db.people.selections import selected_ids
from orl_explorer.db.photos import dataset_by_id, digests_of
from orl_explorer.db.sets.read import rois_of
from orl_explorer.orl.tsne import EARLY, LATE, principal, tsne
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features, roi_keys
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Precision
from orl_explorer.train.workspace import Workspace

VERSION = 1  # of the placement; another version computes every map again
ROIS = 20_000  # maximum of a map
FEWEST = 3  # minimum of points of a map
DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile)  # what a damaged file of numpy's raises


@dataclass(frozen=True)
class MapOf:
    """Contents of a map: all photos of a dataset, or RoIs of a set, from the photos of a selection or random photos.

    Only a map of RoIs may have a selection.
    """

    dataset: Dataset
    encoder: Encoder
    precision: Precision = "fp32"
    mined: CorrespondenceSet | None = None
    selection: int | None = None

    @property
    def file(self) -> str:
        """Name of the file in the folder of the encoder's maps."""
        if self.mined is None:
            return f"photos-{self.dataset.id}.npz"
        return f"rois-{self.mined.id}-{self.selection or 'some'}.npz"


@dataclass(frozen=True)
class Points:
    """Points of a map: images int64 [n], ids; for RoIs also their ids int64 [n] and boxes int16 [n, 4]."""

    images: np.ndarray
    rois: np.ndarray | None = None
    boxes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def ids(self) -> np.ndarray:
        """Ids of the photos or RoIs."""
        return self.images if self.rois is None else self.rois


@dataclass(frozen=True)
class Map:
    """Points and their places, float32 [n, 2] in [-1, 1], and principal components, float16 [n, C].

    ``fresh`` is false if photos or features were added or removed since.
    """

    points: Points
    places: np.ndarray
    components: np.ndarray
    state: str
    fresh: bool


def rois_map(workspace: Workspace, mined: CorrespondenceSet, selection: int | None = None) -> MapOf:
    """Return the map of RoIs of a complete set, by its own encoder."""
    encoder, dataset = (
        encoder_by_id(workspace.store, mined.encoder_id),
        dataset_by_id(workspace.store, mined.dataset_id),
    )
    return MapOf(dataset, encoder, MineConfig.of(mined).precision, mined, selection)


def points_of(workspace: Workspace, shown: MapOf) -> Points:
    """Return the points that have stored features now, at most ``ROIS`` RoIs."""
    features = _features(workspace, shown)
    photos = gallery_ids(workspace.store, GalleryOrder(shown.dataset.id))
    photos = photos[~np.isin(photos, gone_ids(workspace, shown))]
    if shown.mined is None:
        features.images.refresh()
        images = np.sort(photos)
        return Points(images[features.images.have(_keys(workspace, Points(images), features.images))])
    if shown.selection is not None:
        photos = photos[np.isin(photos, selected_ids(workspace.store, shown.selection))]
    features.rois.refresh()
    found = _rois(workspace, shown.mined.id, shuffled(np.sort(photos), 0).tobytes())
    assert found.rois is not None and found.boxes is not None
    there = features.rois.have(_keys(workspace, found, features.rois))
    return Points(found.images[there], found.rois[there], found.boxes[there])


def gone_ids(workspace: Workspace, shown: MapOf) -> np.ndarray:
    """Return the ids of the dataset's photos that are gone, int64 [n]. A map leaves them out."""
    return np.array([i for i, status in lost_images(workspace.store, shown.dataset.id).items() if status == GONE], int)


def _keys(workspace: Workspace, points: Points, stored: Embeddings) -> np.ndarray:
    """Return the keys of their features, int64 [n]."""
    digests = _digests(workspace, points.images.tobytes(), stored.rows)
    return digests if points.boxes is None else roi_keys(digests, points.boxes)


@lru_cache(maxsize=4)  # every column of a map asks for the same
def _digests(workspace: Workspace, images: bytes, rows: int) -> np.ndarray:
    """Return digests of photos' files, int64 [n]. images: ids, int64. rows: on disk; they grow with new digests."""
    return digests_of(workspace.store, np.frombuffer(images, np.int64))


@lru_cache(maxsize=4)  # a set never changes
def _rois(workspace: Workspace, set_id: int, order: bytes) -> Points:
    """Collect the RoIs of whole photos until there are enough. order: ids of the photos, int64."""
    images = np.frombuffer(order, np.int64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    count = 0
    for start in range(0, len(images), 256):
        by_image = rois_of(workspace.store, set_id, images[start : start + 256].tolist())
        for image in images[start : start + 256].tolist():
            if image in by_image and count + len(by_image[image].ids) <= ROIS:
                own = by_image[image]
                found.append((np.full(len(own.ids), image), own.ids, own.boxes))
                count += len(own.ids)
        if count > ROIS - 100:
            break
    empty = np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.int16)
    owners, ids, boxes = (np.concatenate(part) for part in zip(empty, *found, strict=True))
    return Points(owners, ids, boxes)


def map_state(shown: MapOf, points: Points) -> str:
    """Return a digest of all that a map depends on: the weights and the points with features."""
    said = f"{VERSION} {shown.encoder.weights_sha256} {shown.precision}".encode()
    return hashlib.sha256(said + points.ids.astype("<i8").tobytes()).hexdigest()[:16]


def find_map(workspace: Workspace, shown: MapOf) -> Map | None:
    """Return the saved map, or None. ``fresh`` tells whether a new map would be the same."""
    file = _folder(workspace, shown) / shown.file
    if not file.is_file():
        return None
    try:
        points, places, components, state, owner = _read(file, file.stat().st_mtime_ns)
    except DAMAGED:
        return None
    if owner != _owner(workspace, shown):
        return None
    return Map(points, places, components, state, state == map_state(shown, points_of(workspace, shown)))


def enough_points(workspace: Workspace, shown: MapOf) -> Points:
    """Return the points of a map to be made. Raises UserError if fewer than ``FEWEST`` have features."""
    points = points_of(workspace, shown)
    if len(points) < FEWEST:
        raise UserError(
            f"Only {len(points)} {_what(shown)}s of '{shown.dataset.name}' have stored features of "
            f"'{shown.encoder.name}', too few for a map. Mine with this encoder first."
        )
    return points


def _what(shown: MapOf) -> str:
    return "photo" if shown.mined is None else "RoI"


def make_map(workspace: Workspace, shown: MapOf, progress: Progress | None = None) -> Map:
    """Place every point and save the map. Raises UserError if ``enough_points`` does."""
    progress = progress or Progress()
    points, what = enough_points(workspace, shown), _what(shown)
    progress.phase("Computing principal components", len(points))
    features = _features(workspace, shown)
    rows = features.images if shown.mined is None else features.rois
    components = principal(rows.get(_keys(workspace, points, rows)))
    progress.advance(len(points))
    progress.phase("Placing points on the map", EARLY + LATE)
    with threadpool_limits(1):  # sums split between threads differ each time
        places = tsne(components, report=progress.advance)
    made = Map(points, places, components.astype(np.float16), map_state(shown, points), True)
    keep_map(workspace, shown, made)
    if gone := len(gone_ids(workspace, shown)):
        progress.log(f"Left out {gone} photos that are gone.")
    progress.log(f"Saved a map of {len(points)} {what}s of '{shown.dataset.name}' by '{shown.encoder.name}'.")
    return made


def damaged_map(workspace: Workspace, shown: MapOf) -> Path | None:
    """Return the file of a saved map that cannot be read. ``find_map`` finds no map there; a new one replaces it."""
    file = _folder(workspace, shown) / shown.file
    try:
        _read(file, file.stat().st_mtime_ns)
    except FileNotFoundError:
        return None
    except DAMAGED:
        return file
    return None


def keep_map(workspace: Workspace, shown: MapOf, made: Map) -> None:
    """Save a map where ``find_map`` looks for it, atomically."""
    points = made.points
    arrays = {"images": points.images, "places": made.places, "components": made.components}
    if points.rois is not None and points.boxes is not None:
        arrays |= {"rois": points.rois, "boxes": points.boxes}
    written = io.BytesIO()
    said = {"state": np.array(made.state), "owner": np.array(_owner(workspace, shown))}
    np.savez(written, allow_pickle=False, **(arrays | said))
    publish(lambda file: file.write(written.getbuffer()), _folder(workspace, shown) / shown.file)


def _owner(workspace: Workspace, shown: MapOf) -> str:
    """Return the identity of the dataset and the set that a map's ids belong to."""
    of = workspace.store.which
    return of(shown.dataset) if shown.mined is None else f"{of(shown.dataset)} {of(shown.mined)}"


def _folder(workspace: Workspace, shown: MapOf) -> Path:
    return _features(workspace, shown).folder / "maps"


def _features(workspace: Workspace, shown: MapOf) -> Features:
    return _opened(workspace, shown.encoder.id, shown.precision)


@lru_cache(maxsize=8)  # the index of a dozen million RoIs takes seconds to sort
def _opened(workspace: Workspace, encoder_id: int, precision: Precision) -> Features:
    return Features(workspace, encoder_by_id(workspace.store, encoder_id), precision=precision)


@lru_cache(maxsize=4)  # of a file in one state
def _read(file: Path, mtime_ns: int) -> tuple[Points, np.ndarray, np.ndarray, str, str]:
    with np.load(file, allow_pickle=False) as kept:
        points = Points(kept["images"], kept.get("rois"), kept.get("boxes"))
        owner = str(kept["owner"]) if "owner" in kept else ""
        return points, kept["places"], kept["components"], str(kept["state"]), owner
