"""The training loop: steps computed by hand, parts of a batch, and errors that end a training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from orl_explorer.db.encoders import find_encoder
from orl_explorer.orl.augment import augment
from orl_explorer.orl.backbones import IMAGENET
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.method import Method
from orl_explorer.orl.views import Changes, View
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training import stages
from orl_explorer.train.training.checkpoints import load_checkpoint, save_checkpoint
from orl_explorer.train.training.data import CHANGES, ImageViews
from orl_explorer.train.training.distributed import Processes
from orl_explorer.train.training.engine import Notes, fit, lower_precision, steps_between, to_device
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig, read_config
from orl_explorer.train.training.stages import build_method
from orl_explorer.train.workspace import Workspace
from tests.named import pretrain

ALONE = Processes(0, 1, torch.device("cpu"))


class Numbers:
    """Photos with constant pixels, equal to their index."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def file(self, index: int) -> str:
        return f"{index}.jpg"

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        return {"image_1": torch.full((2, 2, 3), key[1], dtype=torch.uint8)}


class Slope(Method):
    """A method with one weight. The loss is the weight times ``slope`` of the batch."""

    architecture = "resnet18"

    def __init__(self, slope: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.backbone, self.projector, self.slope = nn.Linear(1, 1, bias=False), nn.Identity(), slope
        nn.init.ones_(self.backbone.weight)

    def views(self, size: int) -> tuple[View, ...]:
        return ()

    def forward(self, views: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        images = views["image_1"]
        return {"image": self.backbone.weight.sum() * self.slope(images)}, images.flatten(1)


def config(**changes: object) -> BYOLConfig:
    # 64 at 256 photos is 0.5 at 2.
    values = {"epochs": 1, "batch_size": 2, "rate_per_256": 64, "warmup_epochs": 0, "weight_decay": 0.1, "workers": 0}
    return BYOLConfig(**values | changes)


def fitted(
    method: Slope, settings: BYOLConfig, folder: Path, count: int = 4, progress: Progress | None = None
) -> float:
    fit(method, Numbers(count), settings, folder, progress or Progress(), ALONE)  # type: ignore[arg-type]
    return method.backbone.weight.item()


def test_two_steps_of_sgd_by_hand(tmp_path: Path) -> None:
    # Rates 0.5 and 0.25 (cosine). v1 = 2 + 0.1 * 1 = 2.1, w1 = 1 - 0.5 * 2.1 = -0.05;
    # v2 = 0.9 * 2.1 + 2 + 0.1 * -0.05 = 3.885, w2 = -0.05 - 0.25 * 3.885.
    assert fitted(Slope(lambda _: torch.tensor(2.0)), config(), tmp_path) == pytest.approx(-1.02125, abs=1e-6)


def test_two_steps_of_adamw_by_hand(tmp_path: Path) -> None:
    # Rates r and r/2 (cosine). The gradient is always 2, so each step is the rate. Decay 0.1 of the weight at the rate.
    r = 0.02 * 2 / 256
    first = 1 - r * 0.1 - r
    settings = config(optimiser="adamw", rate_per_256=0.02)
    weight = fitted(Slope(lambda _: torch.tensor(2.0)), settings, tmp_path)
    assert weight == pytest.approx(first - r / 2 * 0.1 * first - r / 2, abs=2e-7)


@pytest.mark.parametrize(
    ("precision", "able", "expected"),
    [
        ("auto", {"avx512_bf16": True}, torch.bfloat16),
        ("auto", {"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ("auto", {"bf16": True, "neon": True}, torch.bfloat16),
        ("auto", {"avx2": True, "avx512_bf16": False}, None),
        ("fp32", {"avx512_bf16": True}, None),
        ("bf16", {}, torch.bfloat16),
    ],
)
def test_a_cpu_trains_in_bf16_if_it_multiplies_it(
    precision: str, able: dict[str, bool], expected: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert lower_precision(config(precision=precision), torch.device("cpu")) == expected


@pytest.mark.parametrize("parts", [1, 2])
def test_the_norm_of_the_gradients_is_that_of_the_whole_batch(tmp_path: Path, parts: int) -> None:
    slopes = iter([3.0] * parts + [-4.0] * parts)
    told = Told()
    settings = config(batch_size=4, accumulate=parts)
    fitted(Slope(lambda _: torch.tensor(next(slopes))), settings, tmp_path, 8, told)
    assert [told.numbers[step]["gradient_norm"] for step in (1, 2)] == [3.0, 4.0]


def test_what_follows_a_step_is_done_after_each_with_its_number_and_the_new_weights(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []

    class Followed(Slope):
        def after_step(self, step: int, total: int) -> None:
            seen.append((step, total, self.backbone.weight.item()))

    last = fitted(Followed(lambda _: torch.tensor(2.0)), config(), tmp_path)
    assert [(step, total) for step, total, _ in seen] == [(0, 2), (1, 2)]
    assert [weight for _, _, weight in seen] == pytest.approx([-0.05, -1.02125], abs=1e-6)  # see above
    assert seen[-1][2] == last


@pytest.mark.parametrize("name", ["byol", "multicrop", "moco", "densecl", "mls", "selfemd", "orl"])
def test_the_loop_lets_the_slow_network_of_every_method_follow(name: str, small_scenes: Path, tmp_path: Path) -> None:
    values = {"backbone": "resnet18", "epochs": 1, "batch_size": 4, "image_size": 32, "hidden": 16, "projection": 8}
    values |= {"norm_group": 2} if name in ("moco", "densecl", "mls") else {}
    settings = read_config({"method": name, "warmup_epochs": 0, "workers": 0, "rate_per_256": 64, **values})
    files = [str(path) for path in sorted(small_scenes.iterdir())[:4]]
    torch.manual_seed(0)
    if isinstance(settings, ORLConfig):
        settings = settings.model_copy(update={"intra_weight": 0.0, "inter_weight": 0.0})
    method = build_method(settings)
    slow = next(part for part in ("target_backbone", "key_backbone") if hasattr(method, part))
    first = [p.clone() for p in getattr(method, slow).parameters()]
    fit(method, ImageViews(files, method.views(32), 0), settings, tmp_path, Progress(), ALONE)
    fast = list(method.backbone.parameters())
    # At step 0 of 1 the momentum is the smallest there is: slow = m first + (1 - m) fast, once.
    momentum = {"moco": 0.999, "densecl": 0.999, "mls": 0.995}.get(name, 0.99)
    for was, now, goal in zip(first, getattr(method, slow).parameters(), fast, strict=True):
        torch.testing.assert_close(now.detach(), momentum * was + (1 - momentum) * goal.detach(), rtol=0, atol=1e-6)
    moved = [(now - was).abs().max() for was, now in zip(first, getattr(method, slow).parameters(), strict=True)]
    assert max(moved) > 1e-4


@pytest.mark.parametrize("name", ["moco", "densecl", "mls", "selfemd"])
def test_queues_and_further_heads_go_on_bitwise_after_a_stop(name: str, small_scenes: Path, tmp_path: Path) -> None:
    class Stop(Told):
        def advance(self, count: int = 1) -> None:
            if len(self.numbers) == 2 and count == 1:
                raise Stopped

    values = {"backbone": "timm:test_resnet", "epochs": 2, "batch_size": 4, "image_size": 64, "hidden": 16}
    values |= {"projection": 8, "warmup_epochs": 0, "workers": 0, "rate_per_256": 16, "method": name}
    values |= {} if name == "selfemd" else {"queue": 12, "norm_group": 2}
    settings = read_config(values)
    files = [str(path) for path in sorted(small_scenes.iterdir())[:8]]

    def trained(folder: Path, progress: Progress) -> dict[str, Tensor]:
        torch.manual_seed(0)
        method = build_method(settings)
        fit(method, ImageViews(files, method.views(64), 0), settings, folder, progress, ALONE)
        return method.state_dict()

    whole = trained(tmp_path / "whole", Progress())
    with pytest.raises(Stopped):
        trained(tmp_path / "stopped", Stop())
    torch.testing.assert_close(trained(tmp_path / "stopped", Progress()), whole, rtol=0, atol=0)


def test_a_batch_in_parts_has_the_mean_of_their_gradients(tmp_path: Path) -> None:
    def slope(images: Tensor) -> Tensor:
        return images.mean()

    whole = fitted(Slope(slope), config(batch_size=4), tmp_path / "whole", 8)
    parts = fitted(Slope(slope), config(batch_size=4, accumulate=2), tmp_path / "parts", 8)
    assert parts == pytest.approx(whole, abs=1e-6)
    assert abs(whole - 1) > 0.1


class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def test_of_a_large_batch_that_is_not_finite_the_log_names_every_photo(tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(UserError, match=r"not finite at step 0 .* and 24 more. The log lists all of them") as refusal:
        fitted(Slope(lambda _: torch.tensor(torch.inf)), config(batch_size=40), tmp_path, 40, heard)
    assert len(re.findall(r"\d+\.jpg", str(refusal.value))) == 16
    assert sorted(re.findall(r"\d+\.jpg", heard.lines[-1])) == sorted(f"{i}.jpg" for i in range(40))


def test_a_checkpoint_of_another_version_ends_it_with_a_sentence(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"method": {"other": torch.zeros(1)}, "optimizer": {}, "scaler": {}})
    with pytest.raises(UserError, match="written by another version of the project. Start a new run"):
        fitted(Slope(lambda _: torch.tensor(2.0)), config(), tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_is_gone_ends_it_with_a_sentence_whoever_misses_it(tmp_path: Path, workers: int) -> None:
    settings = config(workers=workers)
    data = ImageViews(["/gone/a.jpg"] * 4, BYOL("resnet18", 8, 8).views(224), 0)
    with pytest.raises(UserError, match=r"^Cannot read /gone/a.jpg: the file is not there any more. Restore it"):
        fit(Slope(lambda _: torch.tensor(2.0)), data, settings, tmp_path, Progress(), ALONE)  # type: ignore[arg-type]


def test_views_that_the_device_changes_are_those_that_a_loader_changes(small_scenes: Path) -> None:
    files = [str(path) for path in sorted(small_scenes.iterdir())[:3]]
    views = BYOL("resnet18", 8, 8).views(64)
    now, later = (ImageViews(files, views, 7, changed=changed) for changed in (True, False))
    for index in range(3):
        here, drawn = now[2, index], later[2, index]
        assert set(drawn) == {*here, *(name + CHANGES for name in here)}
        there = to_device({name: value[None] for name, value in drawn.items()}, ALONE.device, IMAGENET)
        expected = to_device({name: value[None] for name, value in here.items()}, ALONE.device, IMAGENET)
        for name in here:
            # A level across the threshold of solarising is the whole range apart.
            assert (there[name] - expected[name]).abs().median() < 0.02, name
        flip, order, *factors, gray, sigma, solarize = drawn["image_1" + CHANGES].tolist()
        changes = Changes(bool(flip), int(order), *factors, bool(gray), sigma, bool(solarize))
        apart = here["image_1"].int() - torch.from_numpy(augment(drawn["image_1"].numpy(), changes)).int()
        assert apart.abs().float().mean() < 0.1  # a factor of single precision moves a level here and there


class Told(Progress):
    """Records the numbers of each step, except times, and the log."""

    def __init__(self) -> None:
        self.numbers: dict[int, dict[str, float]] = {}
        self.lines: list[str] = []

    def metric(self, step: int, values: dict[str, float]) -> None:
        timed = ("images_per_second", "data_wait")
        self.numbers[step] = {name: value for name, value in values.items() if name not in timed}

    def log(self, message: str) -> None:
        self.lines.append(message)


def read_every(
    steps: int | None, slope: Callable[[Tensor], Tensor], folder: Path, told: Told, **changes: object
) -> Slope:
    method, settings = Slope(slope), config(epochs=2, rate_per_256=1, **changes)
    fit(method, Numbers(20), settings, folder, told, ALONE, read_every=steps)  # type: ignore[arg-type]
    return method


def test_numbers_that_are_read_later_are_the_same_numbers(tmp_path: Path) -> None:
    def slope(images: Tensor) -> Tensor:
        return images.float().mean() + 1

    told = [Told(), Told()]
    at_once = read_every(None, slope, tmp_path / "at-once", told[0])
    later = read_every(7, slope, tmp_path / "later", told[1])
    assert sorted(told[1].numbers) == list(range(1, 21))  # ten steps an epoch
    assert told[0].numbers == told[1].numbers
    assert torch.equal(at_once.backbone.weight, later.backbone.weight)
    assert told[0].lines[:-1] == told[1].lines[:-1]  # the last one is about memory


def test_a_loss_that_is_not_finite_is_told_by_its_own_step_however_late_it_is_read(tmp_path: Path) -> None:
    def slope(images: Tensor) -> Tensor:
        here["steps"] += 1
        return torch.tensor(torch.nan if here["steps"] == 4 else 1.0)

    said = []
    for steps in (None, 7):
        here = {"steps": 0}
        with pytest.raises(UserError, match="not finite at step 3 ") as refusal:
            read_every(steps, slope, tmp_path / str(steps), told := Told(), checkpoint_every=1)
        said.append(str(refusal.value))
        assert not list((tmp_path / str(steps)).glob("*.pt"))  # nothing that has gone wrong is kept
        assert here["steps"] == (4 if steps is None else 7)
        assert sorted(told.numbers) == [1, 2, 3]
        events = EventAccumulator(str(tmp_path / str(steps) / "tensorboard"))
        events.Reload()
        assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]  # on the disk, though the training failed
    assert said[0] == said[1]


def test_a_stop_is_heard_where_numbers_are_read_and_keeps_that_step(tmp_path: Path) -> None:
    class Stop(Told):
        def advance(self, count: int = 1) -> None:
            if len(self.numbers) == 0 and count == 1:
                raise Stopped

    for steps, expected in ((None, 1), (7, 7)):
        folder = tmp_path / str(steps)
        with pytest.raises(Stopped):
            read_every(steps, lambda _: torch.tensor(1.0), folder, Stop())
        saved = load_checkpoint(folder, Progress())
        assert saved is not None and saved["step"] == expected


@pytest.mark.parametrize("steps", [None, 7])
def test_a_collapse_is_fifty_steps_in_a_row_however_they_are_read(tmp_path: Path, steps: int | None) -> None:
    class Flat(Slope):
        def forward(self, views: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
            terms, projections = super().forward(views)
            return terms, torch.ones_like(projections)

    class Before(Told):
        def log(self, message: str) -> None:
            if message.startswith("Alarm: "):
                self.lines.append(f"told of {len(self.numbers)} steps before")

    told = Before()
    method, settings = Flat(lambda _: torch.tensor(1.0)), config(rate_per_256=0.1)
    fit(method, Numbers(120), settings, tmp_path, told, ALONE, read_every=steps)  # type: ignore[arg-type]
    assert told.lines == ["told of 49 steps before"]


def test_steps_that_are_read_together_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 110.0, 114.0])
    monkeypatch.setattr("orl_explorer.train.training.engine.time.perf_counter", lambda: next(now))
    notes = Notes(ALONE, 2)
    notes.begin()
    for step, loss, waited in ((5, 3.0, 0.5), (6, 2.0, 1.5)):
        assert not notes.due
        notes.add(step, ["image"], torch.tensor([loss, loss, loss / 4, loss / 8]), 0.5, waited)
    assert notes.due
    first, second = notes.read(8)
    common = {"learning_rate": 0.5, "images_per_second": 4.0}  # 16 photos in 4 s
    assert first == (5, {"loss": 3.0, "feature_spread": 0.75, "gradient_norm": 0.375, "data_wait": 0.25} | common)
    assert second == (6, {"loss": 2.0, "feature_spread": 0.5, "gradient_norm": 0.25, "data_wait": 0.75} | common)
    assert not notes.due


@pytest.mark.parametrize(
    ("device", "seconds", "expected"),
    [("cpu", 0.05, 1), ("cuda", 0.0625, 16), ("cuda", 0.4, 2), ("cuda", 30.0, 1)],
)
def test_a_cpu_is_read_at_every_step_and_a_gpu_about_once_a_second(device: str, seconds: float, expected: int) -> None:
    assert steps_between(Processes(0, 1, torch.device(device)), seconds) == expected


def test_weights_that_the_last_step_made_infinite_become_no_encoder(
    photographed: Workspace, tiny_byol: BYOLConfig, new_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(method: BYOL, *_: object) -> None:
        method.backbone.conv1.weight.data[0] = torch.inf

    monkeypatch.setattr(stages, "fit", diverge)
    run = new_run(photographed, "pretrain", "byol")
    with pytest.raises(UserError, match=r"not finite numbers, such as the tensor conv1\.weight\. No encoder was added"):
        pretrain(photographed, "demo", "byol", tiny_byol, run_id=run)
    assert find_encoder(photographed.store, "byol") is None
