"""The photos of ``train.experiments.reproduce``: those to train on, and VOC2007's to measure on, never both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import dataset_named, unite, usable_images
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
    names = [datasets[learn]] if found.resolve().is_relative_to(folder) or inside == found else []
    if inside not in (None, found):
        tell(f"The photos of {inside} are left out: they may be those of {found}, on which encoders are measured.")
    places = [place for place in (found, inside) if place is not None]
    apart = {*places, *(place.resolve() for place in places)}  # both, as a link may lead there
    apart |= {own} if own.is_relative_to(folder) else set()
    names += [
        ingest(workspace, part).dataset.name for part in _parts(workspace, folder, apart, set()) if any(walk(part))
    ]
    if not names:
        raise UserError(f"{folder} has no photos to train on.")
    whole = unite(workspace.store, names)
    _refuse_shared(workspace, whole, datasets[measure])
    return ReproduceSubject(whole, whole.image_count, found, datasets[measure], (learn, measure))


def _parts(
    workspace: Workspace, folder: Path, apart: Collection[Path], seen: set[Path], top: Path | None = None
) -> Iterator[Path]:
    """Yield the largest folders in which nothing of ``apart`` lies. Photos beside these get a folder of links.

    seen: real paths of folders that were looked at. top: the folder of the first call.
    """
    top = top or folder
    real = folder.resolve()
    if real in seen or any(real.is_relative_to(place) for place in apart):
        return
    seen.add(real)
    if not any(place.is_relative_to(real) or place.is_relative_to(folder) for place in apart):
        yield folder
        return
    entries = [entry for entry in sorted(folder.iterdir()) if not is_hidden(entry.name)]
    loose = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if loose:
        links = workspace.path / "splits" / "-".join((top.name, *folder.relative_to(top).parts, "loose"))
        _link(links, loose)
        yield links
    for entry in entries:
        if entry.is_dir():
            yield from _parts(workspace, entry, apart, seen, top)


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
