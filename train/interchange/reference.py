"""JSON files of the reference implementation, read and written one photo at a time.

For COCO they are gigabytes of nested lists, which Python would hold in ten times as much memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ijson
import numpy as np

from orl_explorer.train.errors import UserError

PROPOSALS = "selective_search_proposal"
NEIGHBORS = "knn_instance"
CORRESPONDENCES = "instance_correspondence"

# Names of settings in a correspondence file, and in this project.
SETTINGS = {
    "bbox_min_size": "min_size",
    "bbox_max_aspect_ratio": "max_aspect",
    "bbox_max_iou": "max_iou",
    "intra_bbox_num": "max_rois",
    "knn_image_num": "neighbors",
    "knn_bbox_pair_ratio": "pair_ratio",
}
READ = 1 << 16  # bytes per read; their content is in memory at once, as Python lists


@dataclass(frozen=True)
class Listed:
    """Photos as a file lists them, in its order: file names, and the ids that the file gives them."""

    names: list[str]
    ids: list[int]


def read_listing(file: Path) -> Listed:
    """The photos of a COCO json, in its order. Raises UserError."""
    names, ids = [], []
    for image in _items(file, "images.item"):
        try:
            names.append(str(image["file_name"]))
            ids.append(int(image["id"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file} is not a COCO annotation file: image {len(names)} is {image!r:.60}.") from error
    if not names:
        raise UserError(f"{file} is not a COCO annotation file: it lists no images.")
    return Listed(names, ids)


def read_proposals(file: Path) -> Iterator[np.ndarray]:
    """Raw boxes of each photo, int16 [M, 4], x y w h, in the file's order. Raises UserError."""
    return _boxes_of_each(file, "bbox", f"a {PROPOSALS} file")


def read_settings(file: Path) -> dict[str, Any]:
    """Read the settings of a correspondence file, by their names in this project. Raises UserError."""
    info = next(_items(file, "info"), None)
    if not isinstance(info, dict) or not info.keys() >= SETTINGS.keys():
        missing = [key for key in SETTINGS if not isinstance(info, dict) or key not in info]
        raise UserError(f'{file} is not an {CORRESPONDENCES} file: its "info" lacks {", ".join(missing)}.')
    return {ours: info[theirs] for theirs, ours in SETTINGS.items()}


def read_neighbor_count(file: Path) -> int:
    """Read K of a neighbours file. Raises UserError."""
    info = next(_items(file, "info"), None)
    count = info.get("knn_image_num") if isinstance(info, dict) else None
    if not isinstance(count, int) or next(_items(file, "pseudo_annotations.knn_image_id.item"), None) is None:
        raise UserError(f'{file} is not a {NEIGHBORS} file: it lacks "knn_image_num" or "knn_image_id".')
    return count


def read_images(file: Path) -> list[str]:
    """Names of the photos of a correspondence or neighbours file. Raises UserError."""
    images = next(_items(file, "images"), None)
    names = images.get("file_name") if isinstance(images, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f'{file} is not an {CORRESPONDENCES} file: it has no "images" with a "file_name" for each.')
    return names


def read_rois(file: Path) -> Iterator[np.ndarray]:
    """RoIs of each photo, int16 [B, 4], x y w h. Raises UserError."""
    return _boxes_of_each(file, "pseudo_annotations.bbox", f"an {CORRESPONDENCES} file")


def read_neighbors(file: Path) -> Iterator[np.ndarray]:
    """Neighbours of each photo, nearest first: int64 [K], numbers of photos from 0. Raises UserError."""
    for number, item in enumerate(_items(file, "pseudo_annotations.knn_image_id.item")):
        found = _whole_numbers(item)
        if found is None or found.ndim != 1:
            raise UserError(f"{file}: the neighbours of image {number} are {item!r:.60}, not a list of image numbers.")
        yield found


def read_pairs(file: Path) -> Iterator[list[np.ndarray]]:
    """Pairs of each photo, for each neighbour int64 [m, 8]: x y w h of the query, then of the key. Raises UserError."""
    for number, item in enumerate(_items(file, "pseudo_annotations.knn_bbox_pair.item")):
        found = [_rows(pairs, 8) for pairs in item] if isinstance(item, list) else [None]
        if any(pairs is None for pairs in found):
            raise UserError(f"{file}: the pairs of image {number} are not lists of 8 whole numbers for each neighbour.")
        yield [pairs for pairs in found if pairs is not None]


def json_parts(value: Any) -> Iterator[str]:
    """Yield the text of a JSON value as ``json.dumps`` does, in parts; an iterator becomes an array."""
    if isinstance(value, dict):
        before = "{"
        for key, inner in value.items():
            yield f"{before}{json.dumps(key)}: "
            yield from json_parts(inner)
            before = ", "
        yield "}" if value else "{}"
    elif isinstance(value, Iterator):
        before = "["
        for element in value:
            yield before + json.dumps(element)
            before = ", "
        yield "[]" if before == "[" else "]"
    else:
        yield json.dumps(value)


def _boxes_of_each(file: Path, key: str, kind: str) -> Iterator[np.ndarray]:
    number = -1
    for number, item in enumerate(_items(file, f"{key}.item")):
        # The reference writes a single box without the list around it.
        found = _rows([item] if isinstance(item, list) and item and not isinstance(item[0], list) else item, 4)
        if found is None or (len(found) and (np.abs(found) > np.iinfo(np.int16).max).any()):
            raise UserError(f"{file}: the boxes of image {number} are {item!r:.60}, not lists of x, y, w, h in pixels.")
        yield found.astype(np.int16)
    if number < 0:
        raise UserError(f'{file} is not {kind}: it has no "{key.rpartition(".")[2]}".')


def _rows(item: Any, width: int) -> np.ndarray | None:
    """Return int64 [n, width], or None if the item has another form."""
    if item == []:
        return np.empty((0, width), np.int64)
    found = _whole_numbers(item)
    return found if found is not None and found.ndim == 2 and found.shape[1] == width else None


def _whole_numbers(item: Any) -> np.ndarray | None:
    try:
        found = np.array(item)
        whole = found.astype(np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if found.dtype.kind in "if" and np.array_equal(found, whole) else None


def _items(file: Path, prefix: str) -> Iterator[Any]:
    try:
        with file.open("rb") as source:
            yield from ijson.items(source, prefix, use_float=True, buf_size=READ)
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"{file} is not complete, valid JSON: {reason}.") from error
