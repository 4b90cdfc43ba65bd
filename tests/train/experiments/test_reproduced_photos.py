"""The photos of a reproduction: those to measure on are never trained on, wherever they lie."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.train.errors import UserError
from orl_explorer.train.experiments.subject import ReproduceSubject, gather_photos
from orl_explorer.train.ingest.walk import walk
from orl_explorer.train.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow


def test_photos_to_measure_on_are_never_trained_on(workspace: Workspace, folder: Path) -> None:
    for _ in range(2):  # the second time, everything is there
        subject = gather_photos(workspace, folder)
    assert (subject.dataset.name, subject.photos) == ("more+voc07-train", 8)
    assert (subject.measured, subject.splits) == ("voc07-val", ("train", "val"))
    names = [
        {Path(image.path).name for image in usable_images(workspace.store, dataset_named(workspace.store, name).id)}
        for name in (subject.dataset.name, subject.measured)
    ]
    assert names[1] == {f"scene-{n:03d}.jpg" for n in (6, 7, 8, 9)}
    assert not names[0] & names[1]
    assert dataset_named(workspace.store, subject.measured).annotation_count == 4


def test_voc_may_lie_elsewhere_and_is_then_not_trained_on(workspace: Workspace, folder: Path) -> None:
    subject = gather_photos(workspace, folder / "more", folder / "VOCdevkit")
    assert (subject.dataset.name, subject.photos, subject.measured) == ("more", 2, "voc07-val")


def trained_and_measured(workspace: Workspace, subject: ReproduceSubject) -> tuple[set[str], set[str]]:
    """The names of the photos to train on and of those to measure on."""
    found = (dataset_named(workspace.store, name).id for name in (subject.dataset.name, subject.measured))
    train, measured = ({Path(i.path).name for i in usable_images(workspace.store, d)} for d in found)
    return train, measured


def test_photos_beside_voc_are_taken_wherever_it_lies(workspace: Workspace, messy: Path) -> None:
    subject = gather_photos(workspace, messy, messy / "sets" / "mine" / "VOC2007")
    train, measured = trained_and_measured(workspace, subject)
    assert train == {f"scene-{n:03d}.jpg" for n in (0, 1, 2, 3, 4, 5, 10, 11)}
    assert measured == {f"scene-{n:03d}.jpg" for n in (6, 7, 8, 9)}
    assert subject.dataset.root == "VOC2012 + messy-loose + voc07-train"


def test_links_lead_neither_into_the_workspace_nor_into_voc_nor_twice_to_a_photo(folder: Path, tmp_path: Path) -> None:
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    (photos / "deep").mkdir(parents=True)
    (elsewhere / "workspace").mkdir(parents=True)
    shutil.copytree(folder / "more", photos / "more")
    (photos / "workspace").symlink_to(elsewhere / "workspace")
    (photos / "again").symlink_to(photos / "more")
    (photos / "round").symlink_to(photos)
    (photos / "voc").symlink_to(folder / "VOCdevkit" / "VOC2007")
    (photos / "deep" / "tests").symlink_to(folder / "VOCdevkit" / "VOC2007" / "JPEGImages")
    workspace = open_workspace(photos / "workspace")
    for _ in range(2):  # the second time, the workspace holds links to VOC's photos
        subject = gather_photos(workspace, photos, photos / "voc")
        train, _ = trained_and_measured(workspace, subject)
        assert (len(train), subject.photos) == (8, 8)
        assert train == {f"scene-{n:03d}.jpg" for n in (0, 1, 2, 3, 4, 5, 10, 11)}


def test_loose_photos_of_two_folders_of_one_name_stay_apart(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    voc = folder / "VOCdevkit"
    for above, name in (("one", "scene-010.jpg"), ("two", "scene-011.jpg")):
        place = tmp_path / above / "photos"
        (place / "nothing").mkdir(parents=True)
        (place / "voc").symlink_to(voc)  # so that the folder is not one part
        shutil.copy(folder / "more" / name, place / name)
    trained = [gather_photos(workspace, tmp_path / above / "photos", voc).dataset for above in ("one", "two", "one")]
    assert [dataset.name for dataset in trained] == ["photos-loose", "photos-loose-2", "photos-loose"]
    for dataset, name in zip(trained, ("scene-010.jpg", "scene-011.jpg"), strict=False):
        assert {Path(image.path).name for image in usable_images(workspace.store, dataset.id)} == {name}

    (tmp_path / "one").rename(tmp_path / "moved")  # its links lead nowhere now, and are made again
    assert gather_photos(workspace, tmp_path / "moved" / "photos", voc).dataset.id == trained[0].id


def test_folders_of_one_name_become_datasets_of_their_own(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(folder / "VOCdevkit", photos / "VOCdevkit")
    for place, name in ((photos / "images", "scene-010.jpg"), (photos / "VOCdevkit" / "images", "scene-011.jpg")):
        place.mkdir()
        shutil.copy(folder / "more" / name, place)
    for _ in range(2):
        subject = gather_photos(workspace, photos)
        assert subject.dataset.name == "images+photos-images+voc07-train"
        assert subject.photos == 8


def test_a_folder_that_cannot_be_read_is_passed_over_with_a_word(
    workspace: Workspace, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, said = tmp_path / "photos", list[str]()
    shutil.copytree(folder, photos)
    (photos / "lost+found").mkdir()

    def refusing(place: Path) -> Iterator[str]:
        if place.name == "lost+found":
            raise UserError(f"Cannot read the folder {place}: Permission denied.")
        return walk(place)

    monkeypatch.setattr("orl_explorer.train.experiments.subject.walk", refusing)
    assert gather_photos(workspace, photos, tell=said.append).photos == 8
    assert said == [f"Passed over: Cannot read the folder {photos}/lost+found: Permission denied."]


def test_another_folder_of_the_same_name_brings_its_own_photos(
    workspace: Workspace, messy: Path, tmp_path: Path
) -> None:
    shutil.rmtree(messy / "sets" / "mine" / "VOC2012")
    gather_photos(workspace, messy, messy / "sets" / "mine" / "VOC2007")
    other = tmp_path / "other" / "messy"
    shutil.copytree(messy, other, symlinks=True)
    (other / "scene-011.jpg").rename(other / "another.jpg")
    shutil.rmtree(messy)
    subject = gather_photos(workspace, other, other / "sets" / "mine" / "VOC2007")
    train, measured = trained_and_measured(workspace, subject)
    assert train == {"another.jpg", *(f"scene-{n:03d}.jpg" for n in range(6))}
    assert measured == {f"scene-{n:03d}.jpg" for n in (6, 7, 8, 9)}


def test_a_workspace_among_the_photos_is_not_trained_on(messy: Path) -> None:
    within = open_workspace(messy / "workspace")
    for _ in range(2):  # the second time, it holds links to VOC's photos
        subject = gather_photos(within, messy, messy / "sets" / "mine" / "VOC2007")
        assert (subject.photos, len(trained_and_measured(within, subject)[0])) == (8, 8)
    with pytest.raises(UserError, match="messy is the workspace. Keep photos and workspace apart"):
        gather_photos(open_workspace(messy), messy, messy / "sets" / "mine" / "VOC2007")


@pytest.mark.parametrize("linked", ["VOCdevkit", "VOCdevkit/VOC2007"])
def test_links_to_voc_lead_to_the_same_photos(workspace: Workspace, folder: Path, tmp_path: Path, linked: str) -> None:
    links = tmp_path / "links"
    (links / linked).parent.mkdir(parents=True, exist_ok=True)
    (links / linked).symlink_to(folder / linked)
    (links / "more").symlink_to(folder / "more")
    subject = gather_photos(workspace, links)
    train, measured = trained_and_measured(workspace, subject)
    assert train == {f"scene-{n:03d}.jpg" for n in (0, 1, 2, 3, 4, 5, 10, 11)}
    assert measured == {f"scene-{n:03d}.jpg" for n in (6, 7, 8, 9)}


def test_another_voc_among_the_photos_is_left_out_with_a_word(workspace: Workspace, folder: Path, messy: Path) -> None:
    said: list[str] = []
    subject = gather_photos(workspace, folder, messy / "sets" / "mine" / "VOC2007", said.append)
    assert (subject.dataset.name, subject.photos) == ("more", 2)
    assert said == [
        f"The photos of {folder}/VOCdevkit/VOC2007 are left out: they may be those of {messy}/sets/mine/VOC2007, on "
        "which encoders are measured."
    ]


def test_a_copy_of_a_photo_to_measure_on_is_refused(workspace: Workspace, messy: Path) -> None:
    voc = messy / "sets" / "mine" / "VOC2007"
    shutil.copy(voc / "JPEGImages" / "scene-008.jpg", messy / "a-copy.jpg")
    with pytest.raises(UserError, match="1 photo of 'voc07-val', on which .* such as a-copy.jpg of"):
        gather_photos(workspace, messy, voc)


def test_wrong_folders_are_told_in_a_sentence(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"more has no VOC2007 .* Give its folder with --voc FOLDER\."):
        gather_photos(workspace, folder / "more")
    with pytest.raises(UserError, match="There is no folder"):
        gather_photos(workspace, tmp_path / "gone")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    with pytest.raises(UserError, match="has lists of neither trainval and test nor train and val"):
        gather_photos(workspace, tmp_path)
