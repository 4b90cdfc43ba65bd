"""Export of correspondence sets: the reference's three files, tables of pairs, RoIs as COCO annotations.

Rows are read from the store in blocks of photos and written immediately.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import pyarrow as pa
from pyarrow import csv, parquet

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.db.people.export import MarkRow, tag_rows, verdict_rows
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets import read
from orl_explorer.db.store import Store
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import whole_file
from orl_explorer.train.formats import SetFormat
from orl_explorer.train.ingest.named_photos import positions, shared_folder
from orl_explorer.train.interchange import reference
from orl_explorer.train.interchange.archive import archive_pieces
from orl_explorer.train.interchange.pieces import gathered, through, zipped
from orl_explorer.train.mining.candidates import raw_boxes, with_map
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, photo_keys
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.tables import csv_lines, no_formula
from orl_explorer.train.workspace import Workspace

BLOCK = 256  # photos read at once
ENDINGS = dict.fromkeys(("csv", "verdicts", "tags"), ".csv") | dict.fromkeys(("coco", "settings"), ".json")
ENDINGS |= {"parquet": ".parquet", "archive": ".zip"}

BOX = [(name, pa.int16()) for name in "xywh"]
PAIRS = pa.schema(
    [
        ("query_path", pa.string()),
        ("key_path", pa.string()),
        ("neighbor_rank", pa.int16()),
        ("neighbor_similarity", pa.float32()),
        ("pair_rank", pa.int16()),
        *((f"query_{name}", kind) for name, kind in BOX),
        *((f"key_{name}", kind) for name, kind in BOX),
        ("similarity", pa.float32()),
        ("margin", pa.float32()),
        ("cycle", pa.bool_()),
        ("query_objectness", pa.float32()),
        ("key_objectness", pa.float32()),
    ]
)


# Verdicts and tags; for a tag on a photo, the columns of RoIs are empty.
PAIR_OF = ("query_path", "key_path", *(f"{side}_{name}" for side in ("query", "key") for name in "xywh"))
MARK = ("mark", "author", "created_at")


@dataclass(frozen=True)
class Exported:
    """A set to export. names, numbers: those of its photos, by image id, in the order of the export."""

    workspace: Workspace
    mined: CorrespondenceSet
    dataset: Dataset
    names: dict[int, str]
    numbers: dict[int, int]  # ids in the sense of COCO
    progress: Progress

    @property
    def store(self) -> Store:
        """The store of the workspace."""
        return self.workspace.store

    @property
    def config(self) -> MineConfig:
        """The settings that the set was mined with."""
        return MineConfig.of(self.mined)

    def blocks(self, phase: str) -> Iterator[list[int]]:
        """Yield image ids in blocks."""
        image_ids = list(self.names)
        self.progress.phase(phase, len(image_ids))
        for start in range(0, len(image_ids), BLOCK):
            block = image_ids[start : start + BLOCK]
            yield block
            self.progress.advance(len(block))


def export(
    workspace: Workspace,
    name: str,
    form: str,
    out: Path,
    *,
    images: Path | None = None,
    progress: Progress | None = None,
) -> CorrespondenceSet:
    """Write a complete set to a file, or to a folder in the reference's format. If the export fails, nothing is left.

    images: a COCO json that lists the same photos, for its order, its file names and its ids. Without it photos are
    in the order of their paths, named from the folder that holds them all, and numbered as their names are (COCO's
    are numbers), else from 1. Raises UserError or StoreError.
    """
    leaving = _leaving(workspace, name, form, images, progress)
    if form in ENDINGS and out.suffix in ENDINGS.values() and out.suffix != ENDINGS[form]:
        raise UserError(
            f"A file of the format {form} ends in {ENDINGS[form]}, not {out.suffix}. Choose another --format."
        )
    with whole_file(out) as target:
        if form == "reference":
            target.mkdir()
            for file, content in _reference(leaving).items():
                _write(target / file, gathered(reference.json_parts(content)))
        else:
            _write(target, _parts(leaving, form))
    return leaving.mined


def stream(workspace: Workspace, name: str, form: str) -> tuple[str, Iterator[bytes]]:
    """Return a file name and the bytes of an export, in pieces: those that ``export`` would write.

    The reference's three files are zipped. Errors of the store are raised at once or with the first piece.
    """
    leaving = _leaving(workspace, name, form)
    if form == "reference":
        files = ((file, reference.json_parts(content)) for file, content in _reference(leaving).items())
        return f"{_stem(leaving)}.zip", zipped(files)
    what = {"coco": "-rois", "csv": "", "parquet": ""}.get(form, f"-{form}")
    return f"{_stem(leaving)}{what}{ENDINGS[form]}", _parts(leaving, form)


def _leaving(
    workspace: Workspace, name: str, form: str, images: Path | None = None, progress: Progress | None = None
) -> Exported:
    if form not in get_args(SetFormat):
        raise UserError(f"There is no format '{form}'. Known formats: {', '.join(get_args(SetFormat))}.")
    mined = read.complete_set_named(workspace.store, name)
    dataset = dataset_by_id(workspace.store, mined.dataset_id)
    names, numbers = _roster(workspace.store, mined, images)
    return Exported(workspace, mined, dataset, names, numbers, progress or Progress())


def _parts(leaving: Exported, form: str) -> Iterator[bytes]:
    """Yield the bytes of one file, in pieces."""
    match form:
        case "parquet":
            described = PAIRS.with_metadata({"orl": json.dumps(_described(leaving))})
            return through(lambda sink: parquet.ParquetWriter(sink, described), _tables(leaving))
        case "csv":
            return through(lambda sink: csv.CSVWriter(sink, PAIRS), _tables(_without_formulas(leaving)))
        case "coco":
            return gathered(reference.json_parts(_coco(leaving)))
        case "settings":
            return iter([json.dumps(_described(leaving), indent=1).encode() + b"\n"])
        case "archive":
            return archive_pieces(leaving.workspace, leaving.mined, progress=leaving.progress)
        case "verdicts":
            return gathered(csv_lines((*PAIR_OF, "similarity", *MARK), _marks(leaving, verdict_rows)))
        case _:
            return gathered(csv_lines((*PAIR_OF, *MARK), _marks(leaving, tag_rows)))


def _roster(store: Store, mined: CorrespondenceSet, images: Path | None) -> tuple[dict[int, str], dict[int, int]]:
    """Return the name and number of each photo by image id, in the order of the export."""
    photos = list(read.set_images(store, mined.id))
    named = zip(Photos.of(store, mined.dataset_id).names(photos), (image.id for image in photos), strict=True)
    paths, ids = zip(*sorted(named), strict=True)
    if images is not None:
        listed = reference.read_listing(images)
        order = positions(listed.names, paths, images, f"the set '{mined.name}'")
        if len(order) < len(ids):
            first = paths[min(set(range(len(paths))) - set(order))]
            raise UserError(
                f"{len(ids) - len(order)} photos of the set '{mined.name}', such as {first}, are not in {images}."
            )
        ordered = [ids[at] for at in order]
        return dict(zip(ordered, listed.names, strict=True)), dict(zip(ordered, listed.ids, strict=True))
    folder = shared_folder(paths)
    stems = [PurePosixPath(path).stem for path in paths]
    numbers = [int(stem) if stem.isdecimal() and stem.isascii() else -1 for stem in stems]
    if -1 in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(paths) + 1))
    names = [path.removeprefix(folder) for path in paths]
    return dict(zip(ids, names, strict=True)), dict(zip(ids, numbers, strict=True))


def _described(leaving: Exported) -> dict[str, Any]:
    encoder = encoder_by_id(leaving.store, leaving.mined.encoder_id)
    return {
        "set": leaving.mined.name,
        "dataset": leaving.dataset.name,
        "encoder": encoder.name,
        "settings": leaving.mined.params,
    }


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(parts)


def _stem(leaving: Exported) -> str:
    return "".join("-" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in leaving.mined.name)


# The reference's files -----------------------------------------------------------------------------------


def _reference(leaving: Exported) -> dict[str, dict[str, Any]]:
    """Return the content of each of the three files."""
    stem, config, numbers = _stem(leaving), leaving.config, list(leaving.numbers.values())
    images = {"file_name": list(leaving.names.values()), "id": numbers}
    neighbors = {"image_id": numbers, "knn_image_id": _neighbors(leaving)}
    found = {"image_id": numbers, "bbox": _rois(leaving), "knn_image_id": _neighbors(leaving)}
    return {
        f"{stem}_{reference.PROPOSALS}.json": {"bbox": _raw(leaving)},
        f"{stem}_{reference.NEIGHBORS}.json": {
            "info": {"knn_image_num": config.neighbors},
            "images": images,
            "pseudo_annotations": neighbors,
        },
        f"{stem}_{reference.CORRESPONDENCES}.json": {
            "info": {theirs: getattr(config, ours) for theirs, ours in reference.SETTINGS.items()},
            "images": images,
            "pseudo_annotations": found | {"knn_bbox_pair": _pairs(leaving)},
        },
    }


def _raw(leaving: Exported) -> Iterator[list[list[int]]]:
    config = leaving.config
    encoder = encoder_by_id(leaving.store, leaving.mined.encoder_id)
    features = Features(leaving.workspace, encoder, precision=config.precision) if config.maps_boxes else None
    for block in leaving.blocks("Writing proposals"):
        images = read.images_by_id(leaving.store, block)
        raw = raw_boxes(leaving.store, list(images.values()), config)
        rows = features.map_boxes.get(photo_keys([images[i] for i in block])) if features else [None] * len(block)
        for image_id, row in zip(block, rows, strict=True):
            if image_id not in raw:
                raise UserError(f"The raw boxes of {images[image_id].path} are no longer in the store.")
            yield with_map(raw[image_id], row, images[image_id]).tolist()


def _rois(leaving: Exported) -> Iterator[list[list[int]]]:
    for block in leaving.blocks("Writing RoIs"):
        rois = read.rois_of(leaving.store, leaving.mined.id, block)
        yield from (rois[image_id].boxes.tolist() for image_id in block)


def _neighbors(leaving: Exported) -> Iterator[list[int]]:
    number = {image_id: at for at, image_id in enumerate(leaving.names)}
    for block in leaving.blocks("Writing neighbours"):
        found = read.neighbor_ids_of(leaving.store, leaving.mined.id, block)
        yield from ([number[neighbor] for neighbor in found[image_id]] for image_id in block)


def _pairs(leaving: Exported) -> Iterator[list[list[list[int]]]]:
    for block in leaving.blocks("Writing pairs"):
        found = read.pair_rows(leaving.store, leaving.mined.id, block)
        for image_id in block:
            with_each: list[list[list[int]]] = [[] for _ in range(leaving.config.neighbors)]
            for pair in found[image_id]:
                with_each[pair.neighbor_rank - 1].append([*pair.query_box, *pair.key_box])
            yield with_each


# Tables ----------------------------------------------------------------------------------------------------


def _tables(leaving: Exported) -> Iterator[pa.RecordBatch]:
    for block in leaving.blocks("Writing pairs"):
        found = read.pair_rows(leaving.store, leaving.mined.id, block)
        pairs = [(image_id, pair) for image_id in block for pair in found[image_id]]
        objectness = _objectness(leaving, (image_id for i, pair in pairs for image_id in (i, pair.neighbor_id)))
        records = [
            (
                *(leaving.names[image_id], leaving.names[pair.neighbor_id]),
                *(pair.neighbor_rank, pair.neighbor_similarity, pair.rank, *pair.query_box, *pair.key_box),
                *(pair.similarity, pair.margin, pair.cycle),
                *(objectness.get(pair.query_roi_id), objectness.get(pair.key_roi_id)),
            )
            for image_id, pair in pairs
        ]
        if records:
            columns = zip(zip(*records, strict=True), PAIRS, strict=True)
            yield pa.record_batch([pa.array(values, field.type) for values, field in columns], schema=PAIRS)


def _without_formulas(leaving: Exported) -> Exported:
    return replace(leaving, names={image_id: no_formula(name) for image_id, name in leaving.names.items()})


def _objectness(leaving: Exported, image_ids: Iterable[int]) -> dict[int, float]:
    """Return objectness by RoI id; empty if the set does not use it."""
    if not leaving.config.needs_objectness:
        return {}
    rois = read.rois_of(leaving.store, leaving.mined.id, list(set(image_ids)))
    scored = ((own.ids.tolist(), own.objectness.tolist()) for own in rois.values())
    return {roi_id: score for ids, scores in scored for roi_id, score in zip(ids, scores, strict=True)}


# Verdicts and tags ---------------------------------------------------------------------------------------


def _marks(leaving: Exported, marks: Callable[[Store, int], Iterable[MarkRow]]) -> Iterator[tuple[Any, ...]]:
    for row in marks(leaving.store, leaving.mined.id):
        paths = leaving.names[row.image_id], None if row.neighbor_id is None else leaving.names[row.neighbor_id]
        boxes = (*(row.query or (None,) * 4), *(row.key or (None,) * 4))
        similarity = () if row.similarity is None else (round(row.similarity, 6),)
        yield (*paths, *boxes, *similarity, row.mark, row.author, row.created_at.isoformat(timespec="seconds"))


# COCO --------------------------------------------------------------------------------------------------------


def _coco(leaving: Exported) -> dict[str, Any]:
    about = {"description": f"RoIs of the correspondence set '{leaving.mined.name}'"} | _described(leaving)
    return {
        "info": about,
        "images": _coco_images(leaving),
        "annotations": _coco_annotations(leaving),
        "categories": [{"id": 1, "name": "roi"}],
    }


def _coco_images(leaving: Exported) -> Iterator[dict[str, Any]]:
    for block in leaving.blocks("Writing photos"):
        images = read.images_by_id(leaving.store, block)
        for i in block:
            size = {"width": images[i].width, "height": images[i].height}
            yield {"id": leaving.numbers[i], "file_name": leaving.names[i]} | size


def _coco_annotations(leaving: Exported) -> Iterator[dict[str, Any]]:
    following = count(1)
    for block in leaving.blocks("Writing RoIs"):
        rois = read.rois_of(leaving.store, leaving.mined.id, block)
        found = read.pair_rows(leaving.store, leaving.mined.id, block)
        for image_id in block:
            own = rois[image_id]
            similar: dict[int, list[float]] = {}
            for pair in found[image_id]:
                similar.setdefault(pair.query_roi_id, []).append(pair.similarity)
            objectness = own.objectness.tolist() if leaving.config.needs_objectness else [None] * len(own.ids)
            each = zip(own.ids.tolist(), own.boxes.tolist(), objectness, strict=True)
            for rank, (roi_id, box, score) in enumerate(each, 1):
                pairs = similar.get(roi_id, [])
                yield {
                    "id": next(following),
                    "image_id": leaving.numbers[image_id],
                    "category_id": 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "rank": rank,
                    "pairs": len(pairs),
                    **({"score": max(pairs)} if pairs else {}),
                    **({} if score is None else {"objectness": score}),
                }
