"""Every page over a workspace that is damaged, or whose names hold Markdown: a sentence, never an exception."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import String, cast, update

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.db.lost import set_root
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Image
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.mining.maps import make_map
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import plain, words
from tests.named import photos_map

PAGES = ("explore", "ingest", "matches", "pair", "tune", "compare", "attention", "map", "sets", "train")
NAME = "*a*_b_ `c` <i>d</i> [e](f) $g$ :red[h]"


def _photos_gone(here: Workspace, folder: Path) -> None:
    set_root(here.store, dataset_named(here.store, "demo").id, str(folder))


def _features_cut(here: Workspace, _: Path) -> None:
    for file in here.embeddings.glob("starter/*.vectors"):
        file.write_bytes(file.read_bytes()[:100])


def _header_broken(here: Workspace, _: Path) -> None:
    for file in here.embeddings.glob("starter/*.json"):
        file.write_text("{")


def _features_of_others(here: Workspace, _: Path) -> None:
    for file in here.embeddings.glob("starter/*.json"):
        file.write_text(file.read_text().replace('"weights_sha256": "', '"weights_sha256": "0'))


def _features_missing(here: Workspace, _: Path) -> None:
    for file in here.embeddings.glob("starter/*.*"):
        file.unlink()


def _map_missing(here: Workspace, _: Path) -> None:
    for file in here.embeddings.glob("starter/maps/*"):
        file.unlink()


def _map_broken(here: Workspace, _: Path) -> None:
    for file in here.embeddings.glob("starter/maps/*"):
        file.write_bytes(b"PK")


def _weights_missing(here: Workspace, _: Path) -> None:
    (here.path / "encoders" / "starter.pt").unlink()


def _runs_missing(here: Workspace, _: Path) -> None:
    for file in here.path.glob("runs/*/*"):
        file.unlink()


READERS = ("pair", "tune", "map")  # the pages that read features
DAMAGE: dict[str, tuple[Callable[[Workspace, Path], None], tuple[str, ...]]] = {
    "all photos gone": (_photos_gone, PAGES),
    "features cut off": (_features_cut, READERS),
    "header of features broken": (_header_broken, READERS),
    "features of other weights": (_features_of_others, READERS),
    "features missing": (_features_missing, READERS),
    "map missing": (_map_missing, ("map",)),
    "map broken": (_map_broken, ("map",)),
    "weights missing": (_weights_missing, ("pair", "tune", "map", "attention", "train")),
    "files of runs missing": (_runs_missing, ("train", "sets")),
}

SAID = {
    "header of features broken": {"pair": "Cannot read ", "tune": "Cannot read ", "map": "Cannot read "},
    "features of other weights": {"map": "describes features of other weights."},
    "map missing": {"map": "The map places similar features close together"},
    "map broken": {"map": "cannot be read. Make it again."},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_page_of_a_damaged_workspace_ends_in_an_exception(
    here: Workspace, show: Show, tmp_path: Path, damage: str
) -> None:
    break_it, pages = DAMAGE[damage]
    if "map" in pages:
        make_map(here, photos_map(here, "demo", "starter"))
    (tmp_path / "empty").mkdir()
    break_it(here, tmp_path / "empty")
    workspace.cache_clear()
    shown = {page: show(page) for page in pages}
    assert {page: str(at.exception[0].value) for page, at in shown.items() if at.exception} == {}
    for page in SAID.get(damage, {}):
        assert SAID[damage][page] in plain(shown[page])


@pytest.mark.parametrize("name", PAGES)
def test_names_are_shown_as_they_are(here: Workspace, show: Show, name: str) -> None:
    with here.store.session() as session:
        for kind in (Dataset, CorrespondenceSet, Encoder):
            session.execute(update(kind).values(name=NAME))
        session.execute(update(Image).values(path="images/" + NAME + cast(Image.id, String)))
    at = show(name)
    assert not at.exception
    labels = " ".join(str(button.label) for button in at.button)
    assert NAME not in re.sub("`` .*? ``", "", f"{words(at)} {labels}")  # commands are code
