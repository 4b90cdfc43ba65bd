"""Import of the parts that ``orl propose`` and ``orl embed`` have written: all parts of a dataset, or none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orl_explorer.db.encoders import encoders
from orl_explorer.db.models import Dataset, Encoder, Image
from orl_explorer.db.photos import current_images, dataset_named
from orl_explorer.db.proposals import keep_proposals
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import said_plainly
from orl_explorer.train.interchange.imports import check_inside
from orl_explorer.train.mining.embeddings import PARTS, SUFFIX, VERSION
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.mining.part_files import PartFile, PhotoKey
from orl_explorer.train.mining.parts import BLOCK, KINDS, boxes_by_photo, in_order, photo_key
from orl_explorer.train.progress import Progress
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

ONE = {"proposals": "propose", "features": "embed"}  # the command that writes a part, by its kind


@dataclass(frozen=True)
class ImportedBoxes:
    """Result of an import of proposals: photos that got raw boxes, those that had some, and those without any.

    unreadable: photos that could not be read when they were searched.
    """

    dataset: Dataset
    method: str
    photos: int
    there: int
    unreadable: int


@dataclass(frozen=True)
class ImportedFeatures:
    """Result of an import of features: files, rows by kind, and the rows among them that were there already."""

    encoder: Encoder
    files: int
    rows: dict[str, int]
    there: int
    unreadable: int


def import_boxes(
    workspace: Workspace, files: Sequence[Path], dataset: str = "", progress: Progress | None = None
) -> ImportedBoxes:
    """Store the raw boxes of all parts of a dataset, as if selective search had found them here.

    dataset: its name here, by default the one in the files. Photos that have boxes keep them. All files are checked
    before the store is written, and an interrupted import can be done again. Raises UserError or StoreError.
    """
    workspace.store.refuse_read_only()
    progress = progress or Progress()
    parts = _checked(files, "proposals", progress)
    found, images_of = _photos(workspace, parts, dataset)
    method = parts[0].description["settings"]["method"]
    for part in parts:
        for key, boxes in boxes_by_photo(part):
            for image in images_of[key]:
                check_inside(np.empty((0, 4), np.int16) if boxes is None else boxes, image, part.path)
    total = sum(len(part.photos) for part in parts)
    progress.phase("Storing proposals", total)
    stored = there = 0
    for block in batched((one for part in parts for one in boxes_by_photo(part)), BLOCK):
        own = {i.id: boxes for key, boxes in block if boxes is not None for i in images_of[key]}
        new = len(keep_proposals(workspace.store, method, own))
        stored, there = stored + new, there + len(own) - new
        progress.advance(len(block))
    workspace.log("add", f"proposals {method}", f"of dataset {found.name}")
    return ImportedBoxes(found, method, stored, there, sum(len(part.lost) for part in parts))


def import_features(
    workspace: Workspace, files: Sequence[Path], dataset: str = "", progress: Progress | None = None
) -> ImportedFeatures:
    """Add the features of all parts of a dataset to those of their encoder. No row is rewritten: files are linked.

    A file on another disk is copied. dataset: its name here, by default the one in the files. Nothing is added unless
    all files are valid. Raises UserError or StoreError.
    """
    workspace.store.refuse_read_only()
    progress = progress or Progress()
    parts = _checked(files, "features", progress)
    about = parts[0].description
    if about["settings"]["keys"] != VERSION:
        raise UserError(f"{parts[0].path} was written by another version of the project. Write the parts again.")
    _photos(workspace, parts, dataset)
    encoder = _encoder(workspace, parts[0])
    features = Features(workspace, encoder, precision=about["settings"]["precision"])
    stored = {
        "images": features.images,
        "attention-and-looks": features.attention,
        "map-boxes": features.map_boxes,
        "rois": features.rois,
    }
    rows: dict[str, int] = {kind: sum(part.rows(kind) for part in parts) for kind in KINDS.values() if kind in parts[0]}
    for part in parts:
        for kind in rows:
            if about["sections"][kind]["width"] != stored[kind].width:
                raise UserError(f"{part.path} does not hold features of the length of '{encoder.name}'.")
    there = sum(
        int(stored[kind].have(part.section(f"{kind}-keys")).sum()) for part in parts for kind in rows
    )  # a file that is imported again counts too
    progress.phase("Adding files", len(parts))
    for part in parts:
        _link(part, features.folder / PARTS)
        progress.advance()
    workspace.log("add", f"features of encoder {encoder.name}", f"of dataset {about['dataset']}")
    return ImportedFeatures(encoder, len(parts), rows, there, sum(len(part.lost) for part in parts))


def _checked(files: Sequence[Path], kind: str, progress: Progress) -> list[PartFile]:
    """Return the parts in order. Raises UserError unless they are whole, undamaged, and all parts of one division."""
    parts = [PartFile.read(file) for file in files]
    for part in parts:
        if part.description["kind"] != kind:
            held = part.description["kind"]
            raise UserError(f"{part.path} holds {held}. Import it with `orl import {held}`.")
    parts.sort(key=lambda part: part.description["part"])
    first = parts[0]
    for part in parts[1:]:
        _refuse_difference(first, part)
    by_number: dict[int, PartFile] = {}
    count = first.description["of"]
    for part in parts:
        number = part.description["part"]
        if number in by_number:
            raise UserError(
                f"{by_number[number].path} and {part.path} are both part {number} of {count}. Give each part once."
            )
        by_number[number] = part
    missing = [number for number in range(1, count + 1) if number not in by_number]
    if missing:
        one = len(missing) == 1
        named = ", ".join(map(str, missing[:10])) + (" and others" if len(missing) > 10 else "")
        raise UserError(
            f"{'Part' if one else 'Parts'} {named} of {count} {'is' if one else 'are'} missing. Write "
            f"{'it' if one else 'them'} with `orl {ONE[kind]} --part {missing[0]}/{count}`."
        )
    progress.phase("Checking files", len(parts))
    for part in parts:
        part.check()
        progress.advance()
    return parts


def _refuse_difference(one: PartFile, other: PartFile) -> None:
    """Raise UserError if two files are not parts of the same whole."""
    first, second = one.description, other.description
    between = f"{one.path} and {other.path}"
    if first["dataset"] != second["dataset"]:
        raise UserError(f"{between} are of different datasets: '{first['dataset']}' and '{second['dataset']}'.")
    if first["of"] != second["of"]:
        raise UserError(f"{between} are parts of different divisions: of {first['of']} and of {second['of']} parts.")
    ours, theirs = first.get("encoder", {}), second.get("encoder", {})
    if ours.get("weights_sha256") != theirs.get("weights_sha256"):
        names = f"'{ours['name']}' and '{theirs['name']}'"
        raise UserError(f"{between} are of encoders with different weights: {names}.")
    for name in {**first["settings"], **second["settings"]}:
        values = [each["settings"].get(name) for each in (first, second)]
        if values[0] != values[1]:
            raise UserError(f"{between} have different settings: {name} is {values[0]} and {values[1]}.")


def differing_versions(files: Sequence[Path]) -> Iterator[str]:
    """Yield a sentence for each package of which parts were written with different versions: results may differ."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in files:
        for name, number in PartFile.read(file).description["versions"].items():
            found[name].setdefault(number, file)
    for name, by_number in found.items():
        if len(by_number) > 1 and name != "cores":
            which = " and ".join(f"{number} ({file.name})" for number, file in by_number.items())
            yield f"The parts were written with different versions of {name}: {which}. Their results may differ."


def _photos(
    workspace: Workspace, parts: Sequence[PartFile], named: str
) -> tuple[Dataset, defaultdict[PhotoKey, list[Image]]]:
    """Return the dataset of the parts, and its readable photos by key. Raises UserError unless the parts hold them all.

    Photos that could be read when the parts were written, and cannot be read now, are left out.
    """
    dataset = dataset_named(workspace.store, named or parts[0].description["dataset"])
    images_of = defaultdict[PhotoKey, list[Image]](list)
    for image in in_order(workspace, dataset):
        images_of[photo_key(image)].append(image)
    known = {photo_key(image) for image in current_images(workspace.store, dataset.id)} | images_of.keys()
    part_of: dict[PhotoKey, PartFile] = {}
    counts = Counter[PhotoKey]()
    for part in parts:
        for key in part.photos:
            counts[key] += 1
            if counts[key] > max(1, len(images_of.get(key, ()))):
                both = f"{part_of[key].path} and in {part.path}"
                raise UserError(f"{key[0]} is in {both}. Each photo belongs in one part.")
            part_of[key] = part
    if others := [key for key in part_of if key not in known]:
        path, file = others[0][0], part_of[others[0]].path
        why = "has other content" if any(path == here for here, _ in known) else "is not there"
        raise UserError(
            f"{plural(len(others), 'photo')} of the files {_are(others)} not in '{dataset.name}': {path} of {file} "
            f"{why}. Write the parts again."
        )
    if gaps := [key for key in images_of if key not in part_of]:
        raise UserError(
            f"{plural(len(gaps), 'photo')} of '{dataset.name}' {_are(gaps)} in no file, such as {gaps[0][0]}. "
            "If photos were added or changed, write the parts again."
        )
    return dataset, images_of


def _are(some: Sequence[object]) -> str:
    return "is" if len(some) == 1 else "are"


def _encoder(workspace: Workspace, part: PartFile) -> Encoder:
    """Return the encoder with the weights of a part, the one of the same name if there are several."""
    about: dict[str, Any] = part.description["encoder"]
    same = [row for row in encoders(workspace.store) if row.weights_sha256 == about["weights_sha256"]]
    if not same:
        raise UserError(
            f"{part.path} holds features of the encoder '{about['name']}' with the weights "
            f"{about['weights_sha256'][:12]}…, which no encoder of this workspace has. Add it with `orl encoders add`."
        )
    return next((row for row in same if row.name == about["name"]), same[0])


def _link(part: PartFile, folder: Path) -> None:
    """Give a part a name in a folder of features, by a link or, from another disk, by a copy."""
    number, count = part.description["part"], part.description["of"]
    target = folder / f"{number:05d}-of-{count:05d}-{part.description['content'][:16]}{SUFFIX}"
    with said_plainly(target):
        if target.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{target.name}.{os.urandom(8).hex()}"
        try:
            try:
                os.link(part.path, aside)
            except OSError:  # another disk, or one without links
                shutil.copyfile(part.path, aside)
                with aside.open("rb") as file:
                    os.fsync(file.fileno())
            aside.replace(target)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink()
