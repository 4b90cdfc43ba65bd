"""What the last ingest of a dataset left out or changed, by reason: for the ingest report and the gallery's filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from orl_explorer.db.findings import Finding, findings_of, lost_photos, tallies
from orl_explorer.db.gallery.order import GalleryOrder, gallery_count
from orl_explorer.db.models import Dataset
from orl_explorer.db.store import Store
from orl_explorer.train.ingest.findings import KINDS
from orl_explorer.train.words import printable

LOST = {  # states of photos -> label, explanation
    "unreadable": (
        "Unreadable photos",
        "They are in the gallery without a picture, and are left out of mining and training. Mend or delete the files.",
    ),
    "gone": (
        "Photos that are gone",
        "Their files were there at an earlier ingest. They stay in the sets that were mined with them, and are left "
        "out of new ones.",
    ),
}
BLOCK = 5000  # findings read at a time for a download


@dataclass(frozen=True)
class Reason:
    """The findings of one kind.

    names: number of files or other names. count: number of the things that they stand for. about: what these are.
    photos: number of photos of the gallery that it concerns.
    """

    kind: str
    label: str
    said: str
    about: str
    names: int
    count: int
    photos: int


def reasons(store: Store, dataset: Dataset) -> tuple[Reason, ...]:
    """Return the reasons of which a dataset has findings. They are kept in memory until the dataset changes."""
    return _reasons(store, dataset.id, dataset.revision, dataset.unreadable_count, dataset.gone_count)


@lru_cache(maxsize=16)
def _reasons(store: Store, dataset_id: int, revision: int, unreadable: int, gone: int) -> tuple[Reason, ...]:
    lost = {"unreadable": unreadable, "gone": gone}
    found = [Reason(k, *LOST[k], "photos", count, count, count) for k, count in lost.items() if count]
    known = tallies(store, dataset_id)
    for kind in [*KINDS, *sorted(known.keys() - KINDS.keys())]:  # a later version may have kinds of its own
        if tally := known.get(kind):
            photos = gallery_count(store, GalleryOrder(dataset_id, found=kind))
            about = KINDS.get(kind)
            words = (about.said, about.about) if about else ("", "things")
            found.append(Reason(kind, label_of_kind(kind), *words, tally.names, tally.count, photos))
    return tuple(found)


def label_of_kind(kind: str) -> str:
    """Return the label of a kind of findings."""
    known = KINDS.get(kind)
    return LOST[kind][0] if kind in LOST else known.label if known else kind


def named_findings(
    store: Store, dataset_id: int, kind: str, limit: int | None = None, offset: int = 0
) -> list[Finding]:
    """Return the findings of one reason, with names that can be shown. Lost photos have their error as detail."""
    read = lost_photos if kind in LOST else findings_of
    found = read(store, dataset_id, kind, limit, offset)
    return [
        Finding(f.kind, _shown(f.name), f.count, printable(f.detail) if f.detail else "", f.image_id) for f in found
    ]


def csv_rows(store: Store, dataset: Dataset) -> Iterator[tuple[str, str, int, str]]:
    """Yield name, kind, count and detail of all findings."""
    for reason in reasons(store, dataset):
        for offset in range(0, reason.names, BLOCK):
            for found in named_findings(store, dataset.id, reason.kind, BLOCK, offset):
                yield found.name, found.kind, found.count, found.detail


def _shown(name: str) -> str:
    return printable(name) if name else "others, whose names are not kept"
