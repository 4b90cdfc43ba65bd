"""Methods in one table: the order of its runs, what is refused, seeds, and the end of the hours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.photos import dataset_by_id, dataset_named, datasets
from orl_explorer.db.runs.runs import add_metrics, add_run, runs
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import SVMConfig
from orl_explorer.train.experiments import plan
from orl_explorer.train.experiments import reproduce as reproduction
from orl_explorer.train.experiments.plan import ANNOTATED, OtherPairs, Plan, ReproduceAsked
from orl_explorer.train.experiments.reproduce import Hours, reproduce
from orl_explorer.train.jobs.kinds import Evaluate, Mine
from orl_explorer.train.jobs.trainings import Pretrain, Train
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow


def test_a_class_with_few_photos_is_refused_before_any_training(workspace: Workspace, messy: Path) -> None:
    voc = messy / "sets" / "mine" / "VOC2007"
    (voc / "ImageSets" / "Main" / "thing_train.txt").write_text("scene-000 1\nscene-001 -1\nscene-002 -1\n")
    with pytest.raises(UserError, match="1 of the 3 photos of train show the class thing. .* Add photos,"):
        next(reproduce(workspace, messy, ReproduceAsked(seeds=[0]), voc=voc))
    assert not runs(workspace.store)


@pytest.mark.parametrize("asked", [{"preset": "adapt"}, {"changes": {"start_from": "starter"}}])
def test_every_training_starts_from_random_weights(workspace: Workspace, folder: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="This trains from random weights. Leave start_from and the preset adapt out."):
        next(reproduce(workspace, folder, ReproduceAsked(**asked)))
    assert not datasets(workspace.store)


class Made:
    """A substitute for ``train.jobs.once`` that records jobs and runs nothing."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.calls: list[tuple[Any, ...]] = []
        self.names: dict[int, str] = {}  # of encoders and sets that were made
        self.stopped_at: tuple[Any, ...] = ()  # a call that the end of the hours interrupts

    def _called(self, *call: Any) -> bool:
        """Record a call, and return whether it is the first of its kind."""
        if call == self.stopped_at:
            raise Stopped
        new = call not in self.calls
        self.calls += [call] if new else []
        return new

    def _new(self, name: str) -> int:
        known = {name: number for number, name in self.names.items()}
        number = known.get(name, 1000 + len(self.names))
        self.names[number] = name
        return number

    def trained(self, _: Workspace, job: Pretrain | Train, *__: object) -> Encoder:
        if isinstance(job, Pretrain):
            dataset = dataset_by_id(self.workspace.store, job.dataset_id).name
            self._called(job.config.method, dataset, job.config.epochs, job.config.seed)
        else:
            lambdas = job.config.image_weight, job.config.intra_weight, job.config.inter_weight
            assert job.correspondence_set_id is not None
            on = self.names[job.correspondence_set_id]
            self._called("orl", job.config.base, on, lambdas, job.config.epochs, job.config.seed)
        params = {"config": job.config.model_dump()}
        run = add_run(self.workspace.store, Run(kind="train", name="x", params=params))
        add_metrics(self.workspace.store, run.id, [(s, "images_per_second", 5.0 * s) for s in (1, 2, 3)])
        return Encoder(id=self._new(job.name), name=job.name, run_id=run.id)

    def mined(self, _: Workspace, job: Mine, *__: object) -> Any:
        store = self.workspace.store
        encoder = self.names.get(job.encoder_id) or encoder_by_id(store, job.encoder_id).name
        self._called("mine", dataset_by_id(store, job.dataset_id).name, encoder, job.config.max_rois)
        return SimpleNamespace(id=self._new(job.name), name=job.name)

    def evaluated(self, _: Workspace, job: Evaluate, *__: object) -> Any:
        summary = dict.fromkeys(("map", "accuracy", "same_class", "same_class_chance"), 0.5)
        summary |= dict.fromkeys(("activation_mean_iou", "activation_mean_iou_chance"), 0.25)
        summary |= dict.fromkeys(("activation_pointing", "activation_pointing_chance"), 0.75)
        if isinstance(job.config, SVMConfig) and job.config.crop_size:
            summary["map"] = job.config.crop_size / 1000
        return SimpleNamespace(summary=summary, run_id=7)


@pytest.fixture
def made(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Made:
    stand_in = Made(workspace)
    for module in (reproduction, plan):
        monkeypatch.setattr(module, "once", stand_in)
    return stand_in


def asked(**values: Any) -> ReproduceAsked:
    return ReproduceAsked(**{"epochs": 8, "changes": {"batch_size": 4}, "seeds": [0]} | values)


PHOTOS = "more+voc07-train"


def test_byol_and_orl_are_trained_by_default_seed_by_seed_beside_random_weights(
    workspace: Workspace, folder: Path, made: Made
) -> None:
    found = list(reproduce(workspace, folder, asked(seeds=[0, 1])))
    assert [(each.title, each.seed) for each in found] == [
        (title, seed)
        for seed in (0, 1)
        for title in (
            "random weights",
            "random weights, photos seen",
            "BYOL",
            "BYOL, as many operations as ORL",
            "ORL",
        )
    ]
    # In the preset small, ORL costs 1 + 2 / 4 of BYOL: its RoIs have half the side.
    assert made.calls == [
        call
        for seed, name in ((0, "byol-8"), (1, "byol-8-seed-1"))
        for call in (
            ("byol", PHOTOS, 8, seed),
            ("byol", PHOTOS, 12, seed),
            ("mine", PHOTOS, name, 100),
            ("orl", "byol", f"{name}-paper", (1, 1, 1), 8, seed),
        )
    ]
    seen = f"{PHOTOS}-r{dataset_named(workspace.store, PHOTOS).revision}"
    names = ["random-resnet18", f"random-resnet18-{seen}", "byol-8", "byol-12", "orl-8"]
    assert [each.encoder for each in found[:5]] == names
    assert [each.encoder for each in found[5:7]] == ["random-resnet18-seed-1", f"random-resnet18-seed-1-{seen}"]
    assert [each.encoder for each in reproduce(workspace, folder, asked(seeds=[0]))] == names  # nothing has changed
    assert [each.numbers["map_views"] for each in found] == [0.064] * 10  # at the side of the training's views
    assert "images_per_second" not in found[1].numbers
    assert found[2].numbers["images_per_second"] == 10  # the median of 5, 10 and 15
    assert found[4].against == {"byol": "photos seen", "byol-as-long": "operations"}


def test_further_methods_are_trained_each_after_what_it_needs(workspace: Workspace, folder: Path, made: Made) -> None:
    methods = ["orl-again", "orl-simclr", "orl-intra", "orl-inter", "moco"]
    found = list(reproduce(workspace, folder, asked(methods=methods, mining="object", changes={"queue": 8})))
    assert [each.title for each in found] == [
        "random weights",
        "random weights, photos seen",
        "BYOL",
        "SimCLR",
        "MoCo v2",
        "SimCLR, as many operations as ORL",
        "ORL, inter-RoI only",
        "ORL, intra-RoI only",
        "ORL, second round",
        "ORL over SimCLR",
    ]
    assert made.calls == [
        ("byol", PHOTOS, 8, 0),
        ("simclr", PHOTOS, 8, 0),
        ("moco", PHOTOS, 8, 0),
        ("simclr", PHOTOS, 12, 0),
        ("mine", PHOTOS, "byol-8", 36),
        ("orl", "byol", "byol-8-object", (1, 0, 1), 8, 0),
        ("orl", "byol", "byol-8-object", (1, 1, 0), 8, 0),
        ("orl", "byol", "byol-8-object", (1, 1, 1), 8, 0),
        ("mine", PHOTOS, "orl-8", 36),
        ("orl", "byol", "orl-8-object", (1, 1, 1), 8, 0),
        ("mine", PHOTOS, "simclr-8", 36),
        ("orl", "simclr", "simclr-8-object", (1, 1, 1), 8, 0),
    ]


def test_orl_is_trained_on_pairs_of_other_encoders_and_presets_too(
    workspace: Workspace, folder: Path, made: Made
) -> None:
    from orl_explorer.train.encoders.weights import add

    add(workspace, "random:resnet18", "other")
    pairs = [OtherPairs("byol", "object"), OtherPairs("other", "paper")]
    found = list(reproduce(workspace, folder, asked(methods=["byol"], pairs=pairs)))
    assert [each.title for each in found[2:]] == ["BYOL", "ORL, pairs by BYOL, object", "ORL, pairs by other, paper"]
    assert made.calls == [
        ("byol", PHOTOS, 8, 0),
        ("mine", PHOTOS, "byol-8", 36),
        ("orl", "byol", "byol-8-object", (1, 1, 1), 8, 0),
        ("mine", PHOTOS, "other", 100),
        ("orl", "byol", "other-paper", (1, 1, 1), 8, 0),
    ]
    assert found[-1].encoder == "orl-of-other-paper-8"
    assert found[-1].against == {"byol": "photos seen"}  # no BYOL is trained for longer
    made.calls.clear()
    over = asked(methods=["orl-simclr", "orl"], pairs=[OtherPairs("moco", ANNOTATED)])
    found = list(reproduce(workspace, folder, over))
    assert [(each.title, each.encoder, dict(each.against)) for each in found[-2:]] == [
        (
            "ORL over SimCLR, pairs by MoCo v2, annotations",
            "orl-simclr-of-moco-8-annotations-8",
            {"simclr": "photos seen", "simclr-as-long": "operations"},
        ),
        (
            "ORL, pairs by MoCo v2, annotations",
            "orl-of-moco-8-annotations-8",
            {"byol": "photos seen", "byol-as-long": "operations"},
        ),
    ]
    assert ("moco", PHOTOS, 8, 0) in made.calls
    config = Plan(workspace, over, Progress()).minings[ANNOTATED]
    assert (config.proposals, config.min_size, config.neighbors) == ("annotations", 48, 10)
    made.calls.clear()
    for wrong, said in ((OtherPairs("gone", "paper"), "no encoder 'gone'"), (OtherPairs("byol", "odd"), "'odd'")):
        with pytest.raises((UserError, StoreError), match=said):
            next(reproduce(workspace, folder, asked(pairs=[wrong])))
    assert not made.calls


class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def test_after_the_hours_it_says_what_is_left_and_the_next_call_goes_on(
    workspace: Workspace, folder: Path, made: Made
) -> None:
    heard = Heard()
    assert list(reproduce(workspace, folder, asked(), hours=1e-9, progress=heard)) == []
    left = "random weights (seed 0), random weights, photos seen (seed 0), BYOL (seed 0), "
    left += "BYOL, as many operations as ORL (seed 0), ORL (seed 0)"
    assert heard.lines[-1] == f"The hours are over. Left: {left}. Run the same command again to go on."
    made.stopped_at = ("mine", PHOTOS, "byol-8", 100)  # which raises Stopped, as a run does that was asked to stop
    heard = Heard()
    assert len(list(reproduce(workspace, folder, asked(), hours=9, progress=heard))) == 4
    assert heard.lines[-1] == "The hours are over. Left: ORL (seed 0). Run the same command again to go on."
    made.stopped_at = ()
    assert [each.title for each in reproduce(workspace, folder, asked(), hours=9)][4:] == ["ORL"]


def test_the_hours_end_a_run_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(reproduction.time, "monotonic", lambda: now[0])
    limited, unlimited = Hours(Progress(), 0.5), Hours(Progress(), None)
    now[0] = 1799.0
    limited.advance()
    now[0] = 1801.0
    unlimited.advance()
    with pytest.raises(Stopped):
        limited.advance(0)


def test_a_change_reaches_every_method_that_knows_it(workspace: Workspace, folder: Path, made: Made) -> None:
    changes = {"patch_size": "32", "queue": "64", "image_size": "64"}
    configs = plan.Plan(workspace, asked(methods=["moco", "orl", "orl-moco"], changes=changes), Progress()).configs
    assert {name: (config.image_size, getattr(config, "patch_size", 0)) for name, config in configs.items()} == {
        "byol": (64, 0),
        "moco": (64, 0),
        "orl over byol": (64, 32),
        "orl over moco": (64, 32),
    }
    assert [getattr(configs[name], "queue") for name in ("moco", "orl over moco", "orl over byol")] == [64, 64, 0]  # noqa: B009
    for wrong, said in (
        ({"changes": {"warp": "1"}}, "There is no setting 'warp'"),
        ({"changes": {"queue": "64"}}, "The base is byol, and queue belongs to moco"),
        ({"mine_changes": {"min_size": "0"}}, "Invalid value for min_size: 0."),
        ({"methods": ["dino"]}, "There is no method 'dino'. Known methods: byol, "),
        ({"changes": {"epochs": "9"}}, "epochs cannot be set here. Use --epochs."),
        ({"changes": {"base": "moco"}}, "base cannot be set here. Use --methods."),
        ({"preset": "huge"}, "There is no preset 'huge'"),
    ):
        with pytest.raises(UserError, match=said):
            next(reproduce(workspace, folder, asked(**wrong)))
    assert not made.calls


def test_epochs_are_those_of_the_preset_unless_given(workspace: Workspace) -> None:
    assert plan.Plan(workspace, ReproduceAsked(preset="paper"), Progress()).epochs == 800
    assert plan.Plan(workspace, ReproduceAsked(epochs=3), Progress()).epochs == 3
