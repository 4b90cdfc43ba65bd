"""The photos of ``train.experiments.reproduce``: those to train on, and VOC2007's to measure on, never both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import unite
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import voc_split
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.ingest.walk import walk
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


def gather_photos(workspace: Workspace, folder: Path, voc: Path | None = None) -> ReproduceSubject:
    """Ingest VOC's two splits as datasets, and everything else in the folder to train on. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    folder = folder.resolve()
    inside = _voc_in(folder)
    found = inside if voc is None else _voc_in(voc.resolve())
    if found is None:
        raise UserError(
            f"{voc or folder} has no VOC2007 (ImageSets/Main, JPEGImages, Annotations) to test on. "
            "Give its folder with --voc FOLDER."
        )
    learn, measure = splits = _splits(found)
    datasets = {split: _linked(workspace, found, split) for split in splits}
    names = [datasets[learn]] if inside == found else []
    if inside is None:
        parts = [folder]
    else:
        others = [part for part in sorted(folder.iterdir()) if part.is_dir() and part.name[0] != "."]
        parts = [part for part in others if not inside.is_relative_to(part) and folder != inside and any(walk(part))]
    names += [ingest(workspace, part).dataset.name for part in parts]
    whole = unite(workspace.store, names)
    return ReproduceSubject(whole, whole.image_count, found, datasets[measure], (learn, measure))


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
    for file in map(Path, voc_split(voc, split).files):
        annotation = voc / "Annotations" / f"{file.stem}.xml"
        for source, kind in ((file, "JPEGImages"), (annotation, "Annotations")):
            link = root / kind / source.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if source.is_file() and not link.is_symlink():
                link.symlink_to(source)
    return ingest(workspace, root, layout="voc", name=name).dataset.name
