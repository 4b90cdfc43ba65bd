"""Which of a dataset's earlier photos are gone, and which have come back, while an ingest reads its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orl_explorer.db.lost import GONE, Lost, mark_lost, photo_files, restore
from orl_explorer.db.models import Image
from orl_explorer.db.photos import FoundPhoto, datasets
from orl_explorer.db.store import Store
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import file_problem, moving, refuse_missing_root


class Presence:
    """The files that an ingest has met, and the states of the photos that it knew before.

    gone: paths of the photos that this ingest marked. returned: number of photos that can be used again.
    renamed: number of gone photos whose content has a new name. unreachable: paths and reasons of photos whose disk
    did not answer.
    """

    def __init__(self, store: Store, dataset_id: int, root: Path) -> None:
        self._store, self._dataset_id, self._root = store, dataset_id, root
        self._met: set[str] = set()
        self._new: set[int] = set()  # digests of new files
        self._lost: dict[int, Lost] = {}
        self.gone: tuple[str, ...] = ()
        self.unreachable: dict[str, str] = {}
        self.returned = self.renamed = 0

    def meet(self, paths: Sequence[str], known: Mapping[str, Image]) -> list[str]:
        """Note listed files. Returns those to look at: all but those of known photos that are not there."""
        there = []
        for path in paths:
            image = known.get(path)
            was_there = image is not None and image.size > 0  # not only listed by an annotation file
            problem = file_problem(self._root / path) if was_there else None
            if image is None or problem is None:
                self._met.add(path)
                there.append(path)
            elif problem.status != GONE:
                self._note(image.id, path, image.status, problem)
        return there

    def take_back(self, known: Mapping[str, Image], same: Sequence[str], looked: Sequence[FoundPhoto]) -> set[str]:
        """Restore photos whose file is as it was before it was lost, and return their paths.

        same: paths of files with the size and time of their row. looked: the other files.
        """
        back = {path: (known[path].size, known[path].mtime_ns) for path in same if known[path].status == GONE}
        for photo in looked:
            image = known.get(photo.path)
            if image is None:
                self._new.add(photo.digest or 0)
            elif image.status != "ok" and photo.error is None and photo.digest == image.digest:
                back[photo.path] = photo.size, photo.mtime_ns
        restore(self._store, {known[path].id: stamp for path, stamp in back.items()})
        self.returned += len(back)
        return set(back)

    def finish(self) -> None:
        """Mark the photos whose file is gone."""
        digests, gone = [], []
        for photo in photo_files(self._store, self._dataset_id):
            if photo.path in self._met or (problem := file_problem(self._root / photo.path)) is None:
                continue
            if problem.status == GONE and photo.status != GONE:
                self._lost[photo.id] = problem
                gone.append(photo.path)
                digests.append(photo.digest)
            elif problem.status != GONE:
                self._note(photo.id, photo.path, photo.status, problem)
        mark_lost(self._store, self._lost)
        self.gone = tuple(gone)
        self.renamed = sum(digest in self._new for digest in digests if digest)

    def _note(self, image_id: int, path: str, status: str, problem: Lost) -> None:
        self.unreachable[path] = problem.reason
        if status == "ok":
            self._lost[image_id] = problem


def refuse_lost_root(store: Store, path: Path) -> None:
    """Raise UserError if a folder is not there that holds the photos of a dataset."""
    root = str(path.resolve())
    for dataset in datasets(store):
        if dataset.root == root and dataset.layout != "union":
            refuse_missing_root(dataset.name, path)


def refuse_emptied_root(store: Store, root: Path) -> None:
    """Raise UserError if a folder without photos held those of a dataset: it may not be mounted."""
    for dataset in datasets(store):
        if dataset.root == str(root) and dataset.image_count:
            raise UserError(
                f"The dataset '{dataset.name}' has {dataset.image_count} photos, but {root} holds none. Mount it, or, "
                f"if the photos are elsewhere, run `{moving(dataset.name)}`."
            )
