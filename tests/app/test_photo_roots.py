"""``--photos-below``: which folders people in the browser may add, move to and evaluate."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import update

from orl_explorer.app.cli import start
from orl_explorer.app.explorer.paths import VARIABLE, allowed_path, readable_roots
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import datasets
from orl_explorer.db.runs.runs import runs
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import plain
from tests.shell import orl, refused

OTHERWISE = "This explorer reads no other folders."


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders, which the environment names; outside of them, a folder ``secret``."""
    for name in ("a/trip", "b", "secret"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv(VARIABLE, f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    return tmp_path / "a", tmp_path / "b"


def test_without_roots_every_folder_may_be_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "link").symlink_to("/etc")
    assert (readable_roots(), allowed_path(f"'{tmp_path}/link'")) == ([], tmp_path / "link")


def test_folders_below_the_roots_may_be_added_and_links_are_resolved(roots: tuple[Path, Path]) -> None:
    a, b = roots
    (b / "link").symlink_to(a / "trip")
    assert allowed_path(str(a)) == a
    assert allowed_path(f"{a}/trip") == a / "trip"
    assert allowed_path(f"{b}/link") == a / "trip"
    assert allowed_path(f"{b}/not-there") == b / "not-there"


@pytest.mark.parametrize(
    "typed", ["{outside}/secret", "{a}/../secret", "{a}/link", "{a}/link/not-there", "{a}x", "/", "{a}/circle"]
)
def test_any_other_path_is_refused_whether_or_not_it_is_there(roots: tuple[Path, Path], typed: str) -> None:
    a, b = roots
    (a / "link").symlink_to(a.parent / "secret")
    (a / "circle").symlink_to(a / "circle")
    path = typed.format(a=a, outside=a.parent)
    with pytest.raises(UserError) as refusal:
        allowed_path(path)
    assert str(refusal.value) == f"{path} is not below {a} or {b}. {OTHERWISE}"


@pytest.mark.parametrize("link", ["{a}/trip/x.jpg", "{a}/trip/deep/er", "{b}/linked/x"])
def test_a_folder_with_a_link_out_of_the_roots_is_refused(roots: tuple[Path, Path], link: str) -> None:
    """Also if the link is in another folder, to which a link leads."""
    a, b = roots
    (a / "trip" / "deep").mkdir()
    (b / "linked").mkdir()
    (a / "trip" / "inside").symlink_to(b / "linked")
    (b / "linked" / "back").symlink_to(a / "trip")
    assert allowed_path(f"{a}/trip") == a / "trip"
    outside = Path(link.format(a=a, b=b))
    outside.symlink_to(a.parent / "secret")
    with pytest.raises(UserError) as refusal:
        allowed_path(f"{a}/trip")
    assert str(refusal.value) == (
        f"{outside} is a link out of {a} or {b}. Remove it: this explorer reads no other folders."
    )


def test_the_forms_of_the_explorer_refuse_other_folders(
    here: Workspace, show: Show, roots: tuple[Path, Path], scenes: Path
) -> None:
    at = show("train", stage="evaluate", protocol="knn", encoder="starter")
    at.text_input("evaluation-voc").set_value(str(scenes)).run()
    at.button("evaluate").click().run()
    assert OTHERWISE in plain(at)
    assert [run.kind for run in runs(here.store)] == ["mine"]


def test_a_dataset_is_moved_to_below_the_roots_alone(
    here: Workspace, show: Show, roots: tuple[Path, Path], scenes: Path
) -> None:
    gone = str(roots[0] / "unmounted")
    with here.store.session() as session:
        session.execute(update(Dataset).values(root=gone))
    at = show("explore")
    next(t for t in at.text_input if t.label == "Folder that holds the photos now").input(str(scenes))
    next(b for b in at.button if b.label == "Move dataset").click().run()
    assert OTHERWISE in plain(at)
    assert [dataset.root for dataset in datasets(here.store)] == [gone]


def test_photos_and_annotations_are_added_from_below_the_roots_alone(
    nowhere: Workspace, show: Show, roots: tuple[Path, Path], scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def added(folder: Path, annotations: Path | str = "") -> str:
        at = show("explore")
        at.text_input("add-folder").set_value(str(folder))
        at.text_input("add-annotations").set_value(str(annotations))
        next(b for b in at.button if b.label == "Add photos").click().run()
        for button in [b for b in at.button if b.key == "add-these"]:
            button.click().run()
        return plain(at)

    assert "The folder must be below" in plain(show("explore"))
    assert OTHERWISE in added(scenes)
    (roots[0] / "scenes").symlink_to(scenes)
    assert OTHERWISE in added(roots[0] / "scenes")
    inside = roots[0] / "trip"
    (inside / "photo.jpg").write_bytes((scenes / "images" / "scene-000.jpg").read_bytes())
    assert OTHERWISE in added(inside, scenes / "annotations" / "scenes.json")
    assert datasets(nowhere.store) == []
    added(inside)
    assert [dataset.root for dataset in datasets(nowhere.store)] == [str(inside)]


def test_the_command_hands_the_roots_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roots: tuple[Path, Path]
) -> None:
    given: list[str | None] = []
    monkeypatch.setattr(start.os, "execve", lambda *args: given.append(args[2].get(VARIABLE)))
    command = ("explore", "--workspace", tmp_path / "w", "--port", "8693")
    orl(*command, "--photos-below", tmp_path / "secret", "--photos-below", roots[1])
    orl(*command)
    monkeypatch.delenv(VARIABLE)
    orl(*command)
    assert given == [f"{tmp_path / 'secret'}:{roots[1]}", f"{roots[0]}:{roots[1]}", None]


def test_a_root_that_is_not_there_is_refused_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    command = ("explore", "--workspace", tmp_path / "w")
    assert refused(*command, "--photos-below", tmp_path / "gone") == (
        f"Invalid value for --photos-below: there is no folder {tmp_path / 'gone'}."
    )
    monkeypatch.setenv(VARIABLE, "")  # such as of an unset variable of a script
    assert refused(*command) == "$ORL_PHOTO_ROOTS names no folder. Name one, or unset it."
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    assert refused(*command) == f"Invalid value for $ORL_PHOTO_ROOTS: there is no folder {tmp_path / 'gone'}."
