"""The layouts of labelled photos on disk, and the errors for others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import (
    class_folders,
    kept,
    shared_photos,
    voc_largest,
    voc_split,
    voc_splits,
)
from orl_explorer.train.evaluate.protocols import PROTOCOLS, evaluate_preset, protocol_named, read_evaluate_config
from orl_explorer.train.settings import parse_settings, with_settings
from orl_explorer.train.workspace import Workspace
from tests.named import launch_evaluate


@pytest.fixture
def broken(voc: Path, tmp_path: Path) -> Path:
    """A copy of the VOC folder that the test may damage."""
    shutil.copytree(voc, tmp_path / "VOCdevkit")
    return tmp_path / "VOCdevkit" / "VOC2007"


def test_lists_say_shown_difficult_and_not_shown(voc: Path) -> None:
    found = voc_split(voc / "VOC2007", "test")
    assert found.classes == ["green", "red"]
    assert found.labels.dtype == np.int8
    assert found.labels.tolist() == [
        [-1, 1], [1, -1], [1, 1], [-1, -1], [-1, 0], [0, -1], [1, 1], [-1, -1], [-1, 1], [1, -1],
    ]  # fmt: skip
    assert found.files[4] == str(voc / "VOC2007" / "JPEGImages" / "test-04.jpg")


def test_the_folder_around_voc2007_will_do_too(voc: Path) -> None:
    outer, inner = (voc_splits(str(root), "trainval", "test") for root in (voc, voc / "VOC2007"))
    assert outer[0].files == inner[0].files
    assert (len(outer[0].files), len(outer[1].files)) == (16, 10)


def test_a_photo_is_of_the_class_of_its_largest_object(voc: Path) -> None:
    train, test = voc_largest(str(voc), "trainval", "test")
    assert len(train.files) == 12  # one in four shows nothing
    both = [i for i, file in enumerate(test.files) if Path(file).stem in ("test-02", "test-06")]
    assert [test.classes[test.labels[i]] for i in both] == ["red", "red"]  # 36 pixels wide beside 34


def test_classes_are_folders(classes: Path) -> None:
    train, val = class_folders(str(classes))
    assert train.classes == ["green", "red"]
    assert train.labels.tolist() == [0] * 6 + [1] * 6
    assert [Path(file).name for file in val.files] == [
        "green-val-0.jpg", "green-val-1.jpg", "red-val-0.jpg", "red-val-1.jpg",
    ]  # fmt: skip


def test_what_a_run_began_with_stays(classes: Path, tmp_path: Path) -> None:
    first = kept(tmp_path, lambda: class_folders(str(classes)))

    def gone() -> None:
        raise AssertionError("asked again")

    again = kept(tmp_path, gone)  # type: ignore[arg-type]
    for one, other in zip(first, again, strict=True):
        assert one.files == other.files
        assert one.classes == other.classes
        np.testing.assert_array_equal(one.labels, other.labels)


def refusal(place: Workspace, protocol: str, data: Path | str, **settings: object) -> str:
    config = with_settings(evaluate_preset(protocol), settings)
    with pytest.raises(UserError) as refused:
        launch_evaluate(place, "r18", str(data), config)
    return str(refused.value)


def test_a_folder_of_another_layout_is_refused_with_the_one_expected(
    place: Workspace, classes: Path, voc: Path, tmp_path: Path
) -> None:
    assert refusal(place, "voc07-svm", classes) == (
        f"{classes} has no folder ImageSets/Main. Expected: VOCdevkit/VOC2007 with JPEGImages/*.jpg and "
        "ImageSets/Main/CLASS_SPLIT.txt."
    )
    assert refusal(place, "linear", voc) == (
        f"{voc}/train has no folders of classes. Expected: a folder with train/CLASS/photo.jpg and val/CLASS/photo.jpg."
    )
    assert refusal(place, "knn", tmp_path).startswith(f"{tmp_path} has neither ImageSets/Main nor train. Expected: ")
    assert refusal(place, "semi", tmp_path / "no").startswith(f"There is no folder {tmp_path / 'no'}. Expected: ")


def test_unusable_splits_are_refused(place: Workspace, voc: Path) -> None:
    missing = refusal(place, "voc07-svm", voc, test_split="val")
    assert "has no list CLASS_val.txt" in missing
    assert missing.endswith("(found: test, trainval).")
    with pytest.raises(UserError, match="Train_split and test_split must not be the same."):
        with_settings(evaluate_preset("voc07-svm"), {"test_split": "trainval"})


def test_lists_that_do_not_agree_are_refused(place: Workspace, broken: Path) -> None:
    file = broken / "ImageSets" / "Main" / "red_test.txt"
    whole = file.read_text()
    for damaged in (whole.replace("test-03", "test-99"), whole.replace("test-00  1", "test-00  7"), whole[:-4]):
        file.write_text(damaged)
        assert refusal(place, "voc07-svm", broken) == (
            f"{file} must list the photos of green_test.txt in the same order, each with 1, 0 or -1."
        )


def test_test_photos_that_are_training_photos_under_another_name_are_noted(classes: Path, tmp_path: Path) -> None:
    shutil.copytree(classes, tmp_path / "copy")
    kept(tmp_path, lambda: class_folders(str(tmp_path / "copy")))
    assert shared_photos(tmp_path) == []
    shutil.copy(classes / "train" / "red" / "red-train-0.jpg", tmp_path / "copy" / "val" / "green" / "green-val-1.jpg")
    assert shared_photos(tmp_path) == [
        f"1 of the 4 test photos are training photos too, such as {tmp_path}/copy/val/green/green-val-1.jpg."
    ]
    assert shared_photos(tmp_path / "copy") == []  # a protocol without such splits


def test_a_single_class_is_refused_before_the_run(place: Workspace, classes: Path, tmp_path: Path) -> None:
    shutil.copytree(classes, tmp_path / "copy")
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / "copy" / split / "green")
    assert refusal(place, "knn", tmp_path / "copy") == (
        f"{tmp_path}/copy/train has one class, red. An accuracy needs two or more."
    )


def test_photos_in_both_splits_are_refused(place: Workspace, broken: Path) -> None:
    for name in ("red", "green"):
        lists = broken / "ImageSets" / "Main"
        (lists / f"{name}_test.txt").write_text((lists / f"{name}_trainval.txt").read_text())
    assert refusal(place, "voc07-svm", broken) == (
        "16 photos are in both trainval and test. Choose splits that share no photos."
    )


def test_a_class_that_is_not_learnt_is_refused(classes: Path, tmp_path: Path) -> None:
    shutil.copytree(classes, tmp_path / "copy")
    (tmp_path / "copy" / "val" / "red").rename(tmp_path / "copy" / "val" / "pink")
    with pytest.raises(UserError, match=f"{tmp_path}/copy/train has no class pink, but {tmp_path}/copy/val has."):
        class_folders(str(tmp_path / "copy"))
    for photo in (tmp_path / "copy" / "val").rglob("*.jpg"):
        photo.unlink()
    (tmp_path / "copy" / "val" / "pink").rename(tmp_path / "copy" / "val" / "red")
    with pytest.raises(UserError, match="val has no photo"):
        class_folders(str(tmp_path / "copy"))


def test_a_dataset_without_annotations_is_refused(place: Workspace, small_scenes: Path) -> None:
    from orl_explorer.train.ingest.ingest import ingest

    ingest(place, small_scenes, name="plain")
    assert refusal(place, "correspondence", "plain").startswith("The dataset 'plain' has no annotations")


def test_lists_of_numbers_are_written_with_commas() -> None:
    config = with_settings(evaluate_preset("voc07-lowshot"), parse_settings(["ks=1, 2,4"]))
    assert config.ks == (1, 2, 4)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="Invalid value for ks: 0. Use at least 1."):
        with_settings(config, {"ks": "0"})
    with pytest.raises(UserError, match="Invalid value for ks: "):
        with_settings(config, {"ks": ""})


@pytest.mark.parametrize("name", PROTOCOLS)
def test_settings_come_back_as_they_were_kept(name: str) -> None:
    for config in PROTOCOLS[name].presets.values():
        assert config.protocol == name
        assert read_evaluate_config(config.model_dump(mode="json")) == config
        assert all(field.description for n, field in type(config).model_fields.items() if n != "protocol")


def test_settings_of_another_version_are_a_sentence() -> None:
    with pytest.raises(UserError, match=r"another version of the project \(colour: .*\). Start a new run."):
        read_evaluate_config({"protocol": "knn", "colour": 3})
    with pytest.raises(UserError, match="There is no protocol 'segmentation'. Known protocols: voc07-svm,"):
        read_evaluate_config({"protocol": "segmentation"})
    with pytest.raises(UserError, match="There is no protocol ''"):
        read_evaluate_config({})


def test_an_unknown_protocol_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="There is no protocol 'x'. Known protocols: voc07-svm, voc07-lowshot, linear"):
        protocol_named("x")
