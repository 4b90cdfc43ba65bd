"""The photos of ``train.experiments.reproduce``: those to train on, and VOC2007's to measure on, never both."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import dataset_named, find_dataset, unite, usable_images
from orl_explorer.orl.formats import SUFFIXES
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import voc_split
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.ingest.walk import is_hidden, walk
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

SPLITS = (
    ("trainval", "test"),
    ("train", "val"),
)  # of VOC, to train and to test classifiers; the first pair that exists is used


@dataclass(frozen=True)
class ReproduceSubject:
    """The data of all trainings and evaluations.

    dataset: photos to train on. voc: the folder VOC2007. splits: its two splits. measured: dataset of the second split.
    """

    dataset: Dataset
    photos: int
    voc: Path
    measured: str
    splits: tuple[str, str]


def gather_photos(
    workspace: Workspace, folder: Path, voc: Path | None = None, tell: Callable[[str], object] = lambda _: None
) -> ReproduceSubject:
    """Ingest VOC's two splits as datasets, and everything else in the folder to train on.

    tell: called with a sentence about what is left out. Raises UserError, also if a photo to measure on is among those
    to train on.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    folder, own = folder.resolve(), workspace.path.resolve()
    if folder == own:
        raise UserError(f"{folder} is the workspace. Keep photos and workspace apart: name another with --workspace.")
    inside = _voc_in(folder)
    found = inside if voc is None else _voc_in(voc.resolve())
    if found is None:
        raise UserError(
            f"{voc or folder} has no VOC2007 (ImageSets/Main, JPEGImages, Annotations) to test on. "
            "Give its folder with --voc FOLDER."
        )
    learn, measure = splits = _splits(found)
    datasets = {split: _linked(workspace, found, split) for split in splits}
    named = found if voc is None else _voc_in(voc.absolute())  # before links are followed
    places = [place for place in (named, found, inside, workspace.path) if place is not None]
    within = inside == found or any(place.is_relative_to(folder) for place in (found, named) if place is not None)
    names = [datasets[learn]] if within else []
    if inside not in (None, found):
        tell(f"The photos of {inside} are left out: they may be those of {found}, on which encoders are measured.")
    parts = _Parts(workspace, folder, {*places, *(place.resolve() for place in places)}, tell)
    names += [parts.ingested(part) for part in parts]
    if not names:
        raise UserError(f"{folder} has no photos to train on.")
    whole = unite(workspace.store, names)
    _refuse_shared(workspace, whole, datasets[measure])
    return ReproduceSubject(whole, whole.image_count, found, datasets[measure], (learn, measure))


class _Parts:
    """The largest folders below a folder that have photos, and that lead to nothing of ``apart``, not even by a link.

    Photos beside such folders get a folder of links. tell: called with a sentence about a folder that is passed over.
    """

    def __init__(self, workspace: Workspace, top: Path, apart: Collection[Path], tell: Callable[[str], object]) -> None:
        self._workspace, self._top, self._apart, self._tell = workspace, top, apart, tell
        self._taken: list[Path] = []  # real paths of what was yielded
        self._entered: set[Path] = set()  # real paths of folders of which the entries were looked at

    def __iter__(self) -> Iterator[Path]:
        return self._below(self._top)

    def ingested(self, part: Path) -> str:
        """Make a dataset of a part, and return its name: the folder's, or its path if that name is taken."""
        known = find_dataset(self._workspace.store, part.name)
        taken = known is not None and known.root != str(part.resolve())
        path = None
        if taken and part.is_relative_to(self._top):
            path = "-".join((self._top.name, *part.relative_to(self._top).parts))
        return ingest(self._workspace, part, name=path).dataset.name

    def _below(self, folder: Path) -> Iterator[Path]:
        real = folder.resolve()
        if any(real.is_relative_to(place) for place in self._apart):
            return
        if real in self._entered or any(real.is_relative_to(taken) for taken in self._taken):
            return
        try:
            if not self._leads_apart(folder):
                if any(walk(folder)):
                    self._taken.append(real)
                    yield folder
                return
            self._entered.add(real)
            entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
        except (UserError, OSError) as error:
            self._tell(f"Passed over: {str(error).rstrip('.')}.")
            return
        # Links come last: what they lead to may be a part already.
        entries.sort(key=lambda entry: (entry.is_symlink(), entry.name))
        loose = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
        if loose:
            links = self._links(folder)
            _link(links, loose)
            yield links
        for entry in entries:
            if entry.is_dir():
                yield from self._below(entry)

    def _links(self, folder: Path) -> Path:
        """Return where the links to the photos of a folder are: not where those of another one of its name are."""
        name = "-".join((self._top.name, *folder.relative_to(self._top).parts, "loose"))
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        places = (self._workspace.path / "splits" / name for name in names)
        return next(place for place in places if _linked_from(place) <= {folder})

    def _leads_apart(self, folder: Path) -> bool:
        """Whether a folder, or one that a link in it leads to, holds or lies in anything of ``apart``."""
        entered: set[Path] = set()
        waiting = [folder]
        while waiting:
            real = (here := waiting.pop()).resolve()
            if real in entered:
                continue
            entered.add(real)
            if any(
                place.is_relative_to(real) or place.is_relative_to(here) or real.is_relative_to(place)
                for place in self._apart
            ):
                return True
            waiting += [entry for entry in _folders(real) if not is_hidden(entry.name)]
        return False


def _linked_from(links: Path) -> set[Path]:
    """Return the folders, of those that still exist, that the links in a folder lead to."""
    there = links.iterdir() if links.is_dir() else ()
    found = {link.readlink().parent for link in there if link.is_symlink()}
    return {folder for folder in found if folder.is_dir()}


def _folders(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:  # it has no photos that could be read
        return []


def _refuse_shared(workspace: Workspace, whole: Dataset, measured: str) -> None:
    """Raise UserError if a photo to measure on is one to train on, under whatever name."""
    test = dataset_named(workspace.store, measured)
    known = {image.digest for image in usable_images(workspace.store, test.id) if image.digest}
    shared = [image.path for image in usable_images(workspace.store, whole.id) if image.digest in known]
    if shared:
        raise UserError(
            f"{plural(len(shared), 'photo')} of '{measured}', on which encoders are measured, would be trained on, "
            f"such as {shared[0]} of '{whole.name}'. Take them out of the folder, and use a new workspace."
        )


def _voc_in(folder: Path) -> Path | None:
    places = (folder, folder / "VOC2007", folder / "VOCdevkit" / "VOC2007")
    return next((place for place in places if (place / "ImageSets" / "Main").is_dir()), None)


def _splits(voc: Path) -> tuple[str, str]:
    there = {path.stem.rpartition("_")[2] for path in (voc / "ImageSets" / "Main").glob("*_*.txt")}
    found = next((pair for pair in SPLITS if there.issuperset(pair)), None)
    if found is None:
        raise UserError(
            f"{voc / 'ImageSets/Main'} has lists of neither {' nor '.join(' and '.join(p) for p in SPLITS)}."
        )
    return found


def _linked(workspace: Workspace, voc: Path, split: str) -> str:
    """Make a dataset of one split from links to VOC's files in the workspace, and return its name."""
    name = f"voc07-{split}"
    root = workspace.path / "splits" / name
    photos = [Path(file) for file in voc_split(voc, split).files]
    _link(root / "JPEGImages", photos)
    _link(root / "Annotations", [voc / "Annotations" / f"{photo.stem}.xml" for photo in photos])
    return ingest(workspace, root, layout="voc", name=name).dataset.name


def _link(folder: Path, files: Sequence[Path]) -> None:
    """Let a folder have links to these files, as far as they exist, and no others. Another process may do the same."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {file.name: file for file in files if file.is_file()}
    for link in folder.iterdir():
        if link.is_symlink() and link.readlink() != wanted.get(link.name):
            link.unlink(missing_ok=True)
    for name, file in wanted.items():
        with suppress(FileExistsError):
            (folder / name).symlink_to(file)
