"""Every method in one table: the order of its runs, photos that are never trained on, and the affordable epochs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import Encoder, Run, now
from orl_explorer.db.photos import dataset_by_id, dataset_named, usable_images
from orl_explorer.db.runs.runs import add_metrics, add_run, update_run
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.experiments import reproduce as reproduction
from orl_explorer.train.experiments.reproduce import OWN, OtherPairs, gather_photos, reproduce, seconds_per_epoch
from orl_explorer.train.jobs.kinds import Evaluate, Mine
from orl_explorer.train.jobs.trainings import Pretrain, Train
from orl_explorer.train.training.cost import operations_per_image
from orl_explorer.train.training.methods import train_preset
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOCdevkit/VOC2007 with six training scenes and four test scenes, and two more scenes in a folder."""
    root = tmp_path_factory.mktemp("photos")
    voc, others = root / "VOCdevkit" / "VOC2007", root / "more"
    for part in (voc / "JPEGImages", voc / "Annotations", voc / "ImageSets" / "Main", others):
        part.mkdir(parents=True)
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for number, path in enumerate(sorted(small_scenes.iterdir())):
        if number >= 10:
            (others / path.name).symlink_to(path)
            continue
        (voc / "JPEGImages" / path.name).symlink_to(path)
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>120</xmax><ymax>120</ymax></bndbox>"
        objects = f"<object><name>thing</name>{box}</object>"
        (voc / "Annotations" / f"{path.stem}.xml").write_text(f"<annotation>{objects}</annotation>")
        lists["train" if number < 6 else "val"].append(f"{path.stem} {1 if number % 2 else -1}\n")
    for split, lines in lists.items():
        (voc / "ImageSets" / "Main" / f"thing_{split}.txt").write_text("".join(lines))
    return root


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


def test_wrong_folders_and_budgets_are_told_in_a_sentence(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"more has no VOC2007 .* Give its folder with --voc FOLDER\."):
        gather_photos(workspace, folder / "more")
    with pytest.raises(UserError, match="There is no folder"):
        gather_photos(workspace, tmp_path / "gone")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    with pytest.raises(UserError, match="has lists of neither trainval and test nor train and val"):
        gather_photos(workspace, tmp_path)
    for budget in ({}, {"epochs": 3, "hours": 1.0}):
        with pytest.raises(UserError, match="either a number of epochs or a number of hours"):
            next(reproduce(workspace, folder, **budget))  # type: ignore[arg-type]


class Made:
    """A substitute for ``train.jobs.once`` that records jobs and runs nothing."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.calls: list[tuple[Any, ...]] = []
        self.names: dict[int, str] = {}  # of encoders and sets that were made

    def _run(self, seconds: float, speed: float | None = None) -> int:
        run = add_run(self.workspace.store, Run(kind="train", name="x", params={}))
        began = now()
        update_run(self.workspace.store, run.id, started_at=began, ended_at=began + timedelta(seconds=seconds))
        if speed is not None:
            add_metrics(self.workspace.store, run.id, [(s, "images_per_second", speed * s) for s in (1, 2, 3)])
        return run.id

    def _new(self, name: str) -> int:
        number = 1000 + len(self.names)
        self.names[number] = name
        return number

    def trained(self, _: Workspace, job: Pretrain | Train, *__: object) -> Encoder:
        if isinstance(job, Pretrain):
            dataset = dataset_by_id(self.workspace.store, job.dataset_id).name
            self.calls.append((job.config.method, dataset, job.config.epochs))
        else:
            lambdas = job.config.image_weight, job.config.intra_weight, job.config.inter_weight
            assert job.correspondence_set_id is not None
            self.calls.append(("orl", self.names[job.correspondence_set_id], lambdas, job.config.epochs))
        return Encoder(id=self._new(job.name), name=job.name, run_id=self._run(20, speed=5))

    def mined(self, _: Workspace, job: Mine, *__: object) -> Any:
        store = self.workspace.store
        encoder = self.names.get(job.encoder_id) or encoder_by_id(store, job.encoder_id).name
        self.calls.append(("mine", dataset_by_id(store, job.dataset_id).name, encoder, job.config.max_rois))
        return SimpleNamespace(id=self._new(job.name), name=job.name)

    def evaluated(self, _: Workspace, job: Evaluate, *__: object) -> Any:
        summary = dict.fromkeys(("map", "map_low", "map_high", "accuracy", "same_class", "same_class_chance"), 0.5)
        summary |= dict.fromkeys(("activation_mean_iou", "activation_mean_iou_chance"), 0.25)
        summary |= dict.fromkeys(("activation_pointing", "activation_pointing_chance"), 0.75)
        return SimpleNamespace(summary=summary, run_id=self._run(2))


@pytest.fixture
def made(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Made:
    stand_in = Made(workspace)
    monkeypatch.setattr(reproduction, "once", stand_in)
    return stand_in


def test_methods_are_trained_one_after_the_other_and_orl_from_what_byol_found(
    workspace: Workspace, folder: Path, made: Made
) -> None:
    rows = list(reproduce(workspace, folder, epochs=7, mining="object", changes={"batch_size": 4}))
    assert [row.method for row in rows] == [
        "random weights",
        "SimCLR",
        "MoCo v2",
        "BYOL",
        "multi-crop BYOL",
        "ORL, inter-RoI only",
        "ORL, intra-RoI only",
        "ORL",
        "ORL, second round",
    ]
    photos = "more+voc07-train"
    assert made.calls == [
        ("simclr", photos, 7),
        ("moco", photos, 7),
        ("byol", photos, 7),
        ("multicrop", photos, 7),
        ("mine", photos, "byol-7", 36),
        ("orl", "byol-7-object", (1, 0, 1), 7),
        ("orl", "byol-7-object", (1, 1, 0), 7),
        ("orl", "byol-7-object", (1, 1, 1), 7),
        ("mine", photos, "orl-7-1-1-1", 36),
        ("orl", "orl-7-1-1-1-object", (1, 1, 1), 7),
    ]
    assert "images_per_second" not in rows[0].numbers
    assert rows[1].numbers["images_per_second"] == 10  # the median of 5, 10 and 15


def test_orl_is_trained_on_pairs_of_other_encoders_and_presets_too(
    workspace: Workspace, folder: Path, made: Made
) -> None:
    from orl_explorer.train.encoders.weights import add

    add(workspace, "random:resnet18", "other")
    pairs = [OtherPairs(OWN, "object"), OtherPairs("other", "paper")]
    rows = list(reproduce(workspace, folder, epochs=7, changes={"batch_size": 4}, pairs=pairs))
    assert [row.method for row in rows[8:]] == [
        "ORL, second round",
        "ORL, pairs by BYOL, object",
        "ORL, pairs by other, paper",
    ]
    photos = "more+voc07-train"
    assert made.calls[9:] == [
        ("orl", "orl-7-1-1-1-paper", (1, 1, 1), 7),
        ("mine", photos, "byol-7", 36),
        ("orl", "byol-7-object", (1, 1, 1), 7),
        ("mine", photos, "other", 100),
        ("orl", "other-paper", (1, 1, 1), 7),
    ]
    assert rows[-1].encoder == "orl-7-of-other-paper"
    made.calls.clear()
    for wrong, said in ((OtherPairs("gone", "paper"), "no encoder 'gone'"), (OtherPairs(OWN, "odd"), "'odd'")):
        with pytest.raises((UserError, StoreError), match=said):
            next(reproduce(workspace, folder, epochs=7, pairs=[wrong]))
    assert not made.calls


def test_epochs_are_those_that_the_hours_pay_for(workspace: Workspace, folder: Path, made: Made) -> None:
    def epochs(hours: float, pairs: Sequence[OtherPairs] = ()) -> int:
        made.calls.clear()
        list(reproduce(workspace, folder, hours=hours, mining="object", changes={"batch_size": 4}, pairs=pairs))
        assert made.calls[0] == ("byol", "more+voc07-train", 2)  # the pilot
        return made.calls[1][2]

    # Of BYOL's 5.334 · 10^9 operations a photo, 10 photos a second were seen: 53.34 · 10^9 operations a second. One
    # epoch is 8 photos by SimCLR, MoCo, BYOL and multi-crop BYOL, 4.0004, 2.6669, 5.3339 and 7.3341 · 10^9 each, and
    # by ORL of two, two, three and three branches, 6.6673 and 8.0008 · 10^9: 48.671 · 8 / 53.339 = 7.300 s.
    # The rest: 9 encoders measured four times in 2 + 8 s each; 2 · 8 · 36 crops of a second each (10 photos of VOC took
    # 10 s); 8 · 0.3 s of search; 10 · 8 s of starting; the pilot's 20 + 8 s: 1046.4 s.
    assert epochs(1.0) == int((3600 - 1046.4) / 7.300) == 349
    assert epochs(0.5) == int((1800 - 1046.4) / 7.300) == 103
    # A row more: an epoch takes 8.0008 · 8 / 53.339 = 1.200 s, the rest 40 s, 8 · 31 crops and 16 s of starting.
    assert epochs(1.0, [OtherPairs(OWN, "paper")]) == int((3600 - 1046.4 - 304) / (7.300 + 1.200)) == 264
    with pytest.raises(UserError, match=r"0\.1 h are too few\. .* about 0\.3 h here"):
        epochs(0.1)


def test_a_change_reaches_every_method_that_knows_it(workspace: Workspace, folder: Path, made: Made) -> None:
    configs = reproduction._trainings({"patch_size": "32", "queue": "64", "image_size": "64"})
    assert {config.image_size for config in configs.values()} == {64}
    assert (getattr(configs["orl"], "patch_size"), getattr(configs["moco"], "queue")) == (32, 64)  # noqa: B009
    with pytest.raises(UserError, match="There is no setting 'warp'"):
        next(reproduce(workspace, folder, epochs=1, changes={"warp": "1"}))
    with pytest.raises(UserError, match="Invalid value for min_size: 0."):
        next(reproduce(workspace, folder, epochs=1, mine_changes={"min_size": "0"}))
    assert not made.calls


def test_an_epoch_takes_its_operations_at_the_speed_that_was_seen() -> None:
    config = train_preset("byol", "small")
    assert seconds_per_epoch(config, 100, 2 * operations_per_image(config)) == pytest.approx(96 / 2)  # 3 batches of 32
