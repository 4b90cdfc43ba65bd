"""What a shared folder will hold: photos of a set, their RoIs and pairs. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from orl_explorer.db.gallery.order import GalleryOrder, gallery_ids
from orl_explorer.db.models import CorrespondenceSet, Image
from orl_explorer.db.people.selections import selections
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.sets import read
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.photos import Photos
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

Pictures = Literal["thumbnails", "full"]
MOST = 5000  # photos in a folder
SMALL = 640  # pixels, the longer side of a thumbnail


@dataclass(frozen=True)
class ShareRequest:
    """What to share of a set.

    photos: how many query photos at most, by name; None for all. selection: name of a selection that they are in.
    alone: whether neighbours that are not query photos themselves are left out, with their pairs.
    """

    photos: int | None = None
    selection: str | None = None
    pictures: Pictures = "thumbnails"
    alone: bool = False
    verdicts: bool = False


@dataclass(frozen=True)
class ShareChoice:
    """Photos to share. images: the query photos by name, then other neighbours by name. queries: number of the former.

    number: the number of a photo in the folder, by image id. left_out: pairs of the query photos with others.
    """

    workspace: Workspace
    mined: CorrespondenceSet
    asked: ShareRequest
    images: list[Image]
    queries: int
    pairs: int
    left_out: int

    @property
    def number(self) -> dict[int, int]:
        """Number of each photo in the folder, by image id."""
        return {image.id: at for at, image in enumerate(self.images)}

    @property
    def photos(self) -> Photos:
        """Where the files are."""
        return Photos.of(self.workspace.store, self.mined.dataset_id)

    def described(self) -> list[str]:
        """Return sentences about what the folder will hold."""
        others = len(self.images) - self.queries
        which = f" of the selection '{self.asked.selection}'" if self.asked.selection else ""
        also = f", and {plural(others, 'photo')} that are their neighbours" if others else ""
        size = f"at most {SMALL} pixels wide or high" if self.asked.pictures == "thumbnails" else "in full size"
        lines = [
            f"{plural(self.queries, 'photo')}{which} with {plural(self.pairs, 'pair')}{also}.",
            f"Pictures {size}, without the metadata of the photos' files such as places and cameras.",
            "Names of photos within their dataset, names of set, dataset and encoder, settings and digests.",
            "Verdicts without the names of people, no tags." if self.asked.verdicts else "No verdicts and no tags.",
        ]
        if self.left_out:
            lines.append(f"Left out: {plural(self.left_out, 'pair')} with neighbours that are not chosen.")
        return lines


def choose(workspace: Workspace, name: str, asked: ShareRequest) -> ShareChoice:
    """Choose the photos to share of a complete set. Raises UserError or StoreError."""
    if asked.pictures not in get_args(Pictures):
        raise UserError(f"Invalid value for --pictures: {asked.pictures}. Use thumbnails or full.")
    if asked.photos is not None and asked.photos < 1:
        raise UserError(f"Invalid value for --photos: {asked.photos}. Use at least 1.")
    store, mined = workspace.store, read.complete_set_named(workspace.store, name)
    selection = None if asked.selection is None else _selection(workspace, mined, asked.selection)
    # At least 0 pairs: photos of the set, by name.
    order = GalleryOrder(mined.dataset_id, mined.id, fewest_pairs=0, selection=selection)
    ids = gallery_ids(store, order)[: asked.photos].tolist()
    if not ids:
        raise UserError(f"The set '{name}' has none of these photos.")
    _refuse_many(len(ids), name)
    shared, others = {*ids}, set[int]()
    for some in batched(ids, CHUNK):
        if not asked.alone:
            others |= {i for near in read.neighbor_ids_of(store, mined.id, some).values() for i in near} - shared
    _refuse_many(len(ids) + len(others), name)
    kept = lost = 0
    for some in batched(ids, CHUNK):
        for own in read.pair_rows(store, mined.id, some).values():
            there = sum(pair.neighbor_id in shared or pair.neighbor_id in others for pair in own)
            kept, lost = kept + there, lost + len(own) - there
    queries, near = (_images(workspace, list(some)) for some in (ids, others))
    near.sort(key=lambda image: (image.path, image.id))
    return ShareChoice(workspace, mined, asked, queries + near, len(queries), kept, lost)


def _images(workspace: Workspace, ids: list[int]) -> list[Image]:
    found: dict[int, Image] = {}
    for some in batched(ids, CHUNK):
        found |= read.images_by_id(workspace.store, some)
    return [found[image_id] for image_id in ids]


def _selection(workspace: Workspace, mined: CorrespondenceSet, name: str) -> int:
    """Return the id of a selection. If several have the name, the newest counts."""
    known = selections(workspace.store, mined.dataset_id)
    found = next((selection_id for selection_id, own in known if own == name), None)
    if found is None:
        names = ", ".join(f"'{own}'" for _, own in known[:10])
        hint = f"Known selections: {names}." if known else "Make one on the page Explore."
        raise UserError(f"There is no selection '{name}' of these photos. {hint}")
    return found


def _refuse_many(count: int, name: str) -> None:
    if count > MOST:
        raise UserError(
            f"That is {count:,} photos of '{name}', and a shared folder holds at most {MOST:,}. Choose fewer with "
            "--photos or --selection."
        )
