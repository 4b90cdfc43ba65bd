"""Datasets in the layout of COCO: photos in some folder, the boxes of all in one JSON."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from posixpath import normpath
from typing import Any

from orl_explorer.db.photos import AnnotatedBox
from orl_explorer.orl.formats import SUFFIXES
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import Annotated, Noted, boxes_of, joined, number, side, truth
from orl_explorer.train.ingest.findings import (
    FROM_OUTLINE,
    LISTED_TWICE,
    LOOSE_NAME,
    MALFORMED,
    NO_BOX,
    OUTSIDE_PHOTO,
    SEVERAL_FILES,
    SHARED_ID,
    UNKNOWN_CATEGORY,
    UNKNOWN_PHOTO,
    UNLISTED,
    UNNAMED_PHOTO,
    Findings,
)
from orl_explorer.train.ingest.walk import is_hidden, loosely, walk
from orl_explorer.train.words import is_utf8, storable

# Names of a JSON beside its photos: of FiftyOne, of Roboflow, and a common one.
BESIDE = ("labels.json", "_annotations.coco.json", "annotations.json")


def coco_json(root: Path) -> Path | None:
    """Return the COCO JSON of a folder if it is clear which one is meant, else None.

    It is the only JSON in ``annotations``, or the only one there that COCO calls ``instances_NAME`` after a folder
    NAME, or one with a well-known name beside the photos.
    """
    folder = root / "annotations"
    found = (
        sorted(file for file in folder.glob("*.json") if file.is_file() and not is_hidden(file.name))
        if folder.is_dir()
        else []
    )
    if len(found) > 1:
        found = [file for file in found if (root / file.stem.removeprefix("instances_")).is_dir()]
    elif not found:
        found = [root / name for name in BESIDE if (root / name).is_file()]
    return found[0] if len(found) == 1 else None


class COCO:
    """The photos that a JSON lists and their annotations, by path relative to the root.

    Raises UserError if the JSON is not of COCO, or if none of its photos is in the root.
    """

    def __init__(self, root: Path, file: Path, findings: Findings) -> None:
        self._root, self._findings = root, findings
        listed = read_coco(file, findings)
        there = list(walk(root, findings=findings, suffixes=None))
        self._annotated = self._found(file, listed, there)
        self.paths = sorted(self._annotated)

    def lists(self, path: str) -> bool:
        """Whether the JSON lists a photo."""
        return path in self._annotated

    def annotated(self, path: str) -> Annotated | None:
        """Return the annotations of a photo."""
        return self._annotated.get(path)

    def _found(self, file: Path, listed: Mapping[str, Annotated], there: list[str]) -> dict[str, Annotated]:
        """Return the annotations by the path of the file that each name means."""
        names: dict[str, Annotated] = {}
        for name, annotated in listed.items():
            inside = self._inside(name)
            if inside is not None:
                known = names.get(inside)
                names[inside] = _also(joined(known, annotated), Noted(LISTED_TWICE)) if known else annotated
        files = set(there)
        counts = Counter({"": sum(path in names for path in there)})
        for path in there:
            folder, _, rest = path.partition("/")
            if rest in names:
                counts[f"{folder}/"] += 1
        base = max(counts, key=lambda folder: (counts[folder], folder == "images/", folder == ""))
        loose = _by_loose_end(there)
        found: dict[str, Annotated] = {}
        seen = False
        for name, annotated in names.items():
            fits = [f"{base}{name}"] if f"{base}{name}" in files else _ends(loose, name)
            if len(fits) > 1:
                self._findings.add([SEVERAL_FILES.of(name, detail=f"{len(fits)} files, such as {fits[0]}")])
                continue
            seen |= bool(fits)
            path = fits[0] if fits else f"{base}{name}"
            if fits and not path.endswith(name):
                annotated = _also(annotated, Noted(LOOSE_NAME, f"listed as {name}"))
            if path in found:
                annotated = _also(joined(found[path], annotated), Noted(LISTED_TWICE))
            found[path] = annotated
        if not seen:
            first = next(iter(listed), "any photo")
            raise UserError(f"No folder in {self._root} holds {first} or any other photo that {file} lists.")
        self._tell_unlisted(there, set(found))
        return found

    def _inside(self, name: str) -> str | None:
        """Return a listed name relative to the root, or None, with a finding, if it lies outside."""
        is_path = "\\" not in name or _exists(self._root / name)
        plain = name if is_path else name.replace("\\", "/")
        inside = normpath(plain)
        if plain.startswith("/"):
            inside = normpath(plain).removeprefix(f"{self._root}/")
        if "://" in name or inside.startswith(("/", "../")) or inside in (".", "..") or inside[1:3] == ":/":
            self._findings.add([OUTSIDE_PHOTO.of(name)])
            return None
        return inside

    def _tell_unlisted(self, there: list[str], taken: set[str]) -> None:
        """Count the photos that lie beside listed ones and are not listed."""
        folders = {path.rpartition("/")[0] for path in taken}
        beside = Counter(
            path.rpartition("/")[0]
            for path in there
            if path not in taken and path.rpartition("/")[0] in folders and Path(path).suffix.lower() in SUFFIXES
        )
        self._findings.add(UNLISTED.of(folder or ".", count) for folder, count in sorted(beside.items()))


def _by_loose_end(there: list[str]) -> dict[str, list[str]]:
    by_end = defaultdict(list)
    for path in there:
        by_end[loosely(path.rpartition("/")[2])].append(path)
    return by_end


def _ends(by_end: Mapping[str, list[str]], name: str) -> list[str]:
    """Return the files that end with a name: as it is written, else but for capitals and the encoding of accents."""
    near = by_end.get(loosely(name.rpartition("/")[2]), [])
    exact = [path for path in near if path == name or path.endswith(f"/{name}")]
    return exact or [path for path in near if f"/{loosely(path)}".endswith(f"/{loosely(name)}")]


def _also(annotated: Annotated, noted: Noted) -> Annotated:
    return replace(annotated, noted=(*annotated.noted, noted))


def read_coco(file: Path, findings: Findings | None = None) -> dict[str, Annotated]:
    """Read the annotations of a COCO JSON by file name; crowds count as difficult. Raises UserError if it is none.

    findings: gets what is left out of the file; what is left out of a photo's annotations is in its ``noted``.
    """
    findings = Findings() if findings is None else findings
    content = _content(file)
    categories = _names_by_id(content.get("categories"))
    photos: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)  # ids and entries by file name
    for place, image in enumerate(content["images"], 1):
        name = image.get("file_name") if isinstance(image, dict) else None
        if not isinstance(image, dict):
            findings.add([MALFORMED.of(f"image {place}")])
        elif not isinstance(name, str) or not name.strip() or "\0" in name or not is_utf8(name):
            findings.add([UNNAMED_PHOTO.of(f"image {place}", detail=f"file_name is {name!r}"[:80])])
        else:
            photos[name].append((_id(image.get("id")), image))
    ids = Counter(key for entries in photos.values() for key in {key for key, _ in entries})
    known = {key for key, count in ids.items() if key and count == 1}
    objects = _objects_by_photo(content.get("annotations"), known, findings)
    found = {}
    for name, entries in photos.items():
        annotated: Annotated | None = None
        for key, image in entries:
            given = _boxes(objects.pop(key, ()), categories)  # once, also if an entry is there twice
            part = boxes_of(given, side(image.get("width")), side(image.get("height")))
            if key and ids[key] > 1:
                part = _also(part, Noted(SHARED_ID, f"id {key}"))
            annotated = part if annotated is None else _also(joined(annotated, part), Noted(LISTED_TWICE))
        assert annotated is not None
        found[name] = annotated
    return found


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        packed = error.object[:2] == b"\x1f\x8b"
        said = "it is compressed. Unpack it" if packed else "it is not UTF-8. Save it as UTF-8"
        raise UserError(f"{file} is not a COCO annotation file: {said}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not a COCO annotation file: it is no JSON ({error}).") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        said = "it has no list 'images'" if isinstance(content, dict) else f"it holds a {type(content).__name__}"
        raise UserError(
            f"{file} is not a COCO annotation file: {said}. To add the photos without boxes, use --layout folder."
        )
    return content


def _id(value: object) -> str:
    """Return an id as a text: 1, 1.0 and "1" are the same id. "" for what cannot be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""


def _name(value: object) -> str:
    """Return the name of a category. "" for what cannot be one."""
    return storable(str(value)) if isinstance(value, str | int) and str(value).strip() else ""


def _names_by_id(categories: object) -> dict[str, str]:
    """Return the names of categories by id, without ids that have several names."""
    names: dict[str, set[str]] = defaultdict(set)
    for each in categories if isinstance(categories, list) else []:
        if isinstance(each, dict) and _name(each.get("name")) and _id(each.get("id")):
            names[_id(each["id"])].add(_name(each["name"]))
    return {key: next(iter(found)) for key, found in names.items() if len(found) == 1}


def _objects_by_photo(
    annotations: object, known: set[str], findings: Findings
) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return annotations with what the file calls them, by the id of their photo."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    if annotations is not None and not isinstance(annotations, list):
        findings.add([MALFORMED.of("annotations", detail="it is not a list")])
    for place, each in enumerate(annotations if isinstance(annotations, list) else [], 1):
        called = f"annotation {each.get('id', place) if isinstance(each, dict) else place}"
        if not isinstance(each, dict):
            findings.add([MALFORMED.of(called)])
        elif (key := _id(each.get("image_id"))) in known:
            found[key].append((called, each))
        else:
            findings.add([UNKNOWN_PHOTO.of(f"image_id {key or repr(each.get('image_id'))}"[:80])])
    return found


def _boxes(
    objects: Iterable[tuple[str, dict[str, Any]]], categories: Mapping[str, str]
) -> Iterator[tuple[AnnotatedBox, str] | Noted]:
    for called, each in objects:
        category = categories.get(_id(each.get("category_id")))
        if category is None:
            yield Noted(UNKNOWN_CATEGORY, called)
            continue
        box = _numbers(each.get("bbox"))
        if box is None or len(box) != 4:
            box = _around(each.get("segmentation"))
            yield Noted(NO_BOX if box is None else FROM_OUTLINE, called)
        if box is not None:
            x, y, w, h = box
            yield AnnotatedBox(category, x, y, w, h, truth(each.get("iscrowd", 0))), called


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list):
        return None
    found = [number(value) for value in values]
    return None if None in found else [value for value in found if value is not None]


def _around(segmentation: object) -> list[float] | None:
    """Return the box around polygons, lists of x, y, x, y, …, or None if there are none."""
    polygons = [_numbers(part) for part in segmentation] if isinstance(segmentation, list) else []
    whole = [polygon for polygon in polygons if polygon and len(polygon) >= 6 and len(polygon) % 2 == 0]
    x = [value for polygon in whole for value in polygon[::2]]
    y = [value for polygon in whole for value in polygon[1::2]]
    if not x:
        return None
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False
