"""Two processes with half the batch each learn the same as one process, and one process can resume their run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch import distributed as dist

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.runs import add_run, run_by_id
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.densecl import DenseCL
from orl_explorer.orl.distributed import SyncedBatchNorm, gather_rows, synchronise
from orl_explorer.orl.method import Method
from orl_explorer.orl.mls import MLS
from orl_explorer.orl.moco import MoCo
from orl_explorer.orl.multicrop import MultiCropBYOL
from orl_explorer.orl.orl_loss import ORL, ORLOverSimCLR
from orl_explorer.orl.self_emd import SelfEMD
from orl_explorer.orl.simclr import SimCLR
from orl_explorer.orl.views import View
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs.launcher import launch, read_log, wait
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.data import batch_keys
from orl_explorer.train.training.distributed import Processes
from orl_explorer.train.training.engine import fit
from orl_explorer.train.training.methods import BYOLConfig, MoCoConfig, ORLConfig
from orl_explorer.train.training.stages import build_method
from orl_explorer.train.training.trained_on import photos_alone
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import launch_pretrain, mine, pretrain, pretraining, train, training

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def mined(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine) -> Workspace:  # type: ignore[no-untyped-def]
    made = open_workspace(tmp_path_factory.mktemp("several") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    run = add_run(made.store, Run(kind="mine", name="set", params={})).id
    mine(made, "demo", "starter", "set", tiny_mine, run_id=run, workers=2)
    return made


def by_torchrun(workspace: Workspace, config: TrainConfig, name: str) -> Path:
    """Train in two processes under torchrun, and return the encoder's file."""
    stage_3 = isinstance(config, ORLConfig)
    job = training(workspace, "set", config, name) if stage_3 else pretraining(workspace, "demo", config, name)
    run = launch(workspace, job, placed=Placement("queue-only"))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    worker = ["-m", "orl_explorer", "worker", str(run.id), "--workspace", str(workspace.path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, *worker]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    done = run_by_id(workspace.store, run.id)
    assert done.status == "done", ended.stdout + ended.stderr + read_log(workspace, done)
    assert (done.processes, done.nodes) == (2, 1)
    return workspace.path / encoder_named(workspace.store, name).weights_path


def alone(workspace: Workspace, config: TrainConfig, name: str) -> Path:
    """Train in this process, and return the encoder's file."""
    stage, subject = (train, "set") if isinstance(config, ORLConfig) else (pretrain, "demo")
    run = add_run(workspace.store, Run(kind="train", name=name, params={})).id
    row = stage(workspace, subject, name, config, run_id=run)  # type: ignore[operator]
    assert row is not None
    return workspace.path / row.weights_path


METHODS: dict[str, Callable[[], Method]] = {
    "byol": lambda: BYOL("resnet18", 32, 16),
    "orl": lambda: ORL("resnet18", 32, 16),
    "multicrop": lambda: MultiCropBYOL("resnet18", 32, 16),
    "simclr": lambda: SimCLR("resnet18", 32, 16),
    "selfemd": lambda: SelfEMD("resnet18", 32, 16),
    "orl over simclr": lambda: ORLOverSimCLR("resnet18", 32, 16),
}
VIEWS = ("image_1", "image_2", "roi", "roi_jittered", "query_roi", "key_roi")


def one_backward(method: str, rank: int, processes: int) -> dict[str, Tensor]:
    """Return loss, gradients and buffers after a backward pass, in float64, as rounding would flip some ReLUs."""
    torch.manual_seed(0)
    network = METHODS[method]()
    assert isinstance(network, nn.Module)
    network = synchronise(network, torch.device("cpu")).double().train()
    names = VIEWS if method.startswith("orl") else VIEWS[:2]
    views = {name: torch.randn(4, 3, 48, 48, dtype=torch.float64) for name in names}
    terms, _ = network({name: view.chunk(processes)[rank] for name, view in views.items()})
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    found = {"loss": loss.detach()} | {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    if processes > 1:
        for value in found.values():
            dist.all_reduce(value)
            value /= processes
    return found | dict(network.named_buffers())


def _norm() -> nn.Sequential:
    network = nn.Sequential(nn.BatchNorm2d(3))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
        network[0].bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    return network.train()


def one_normalisation(rank: int, processes: int, half: bool) -> dict[str, Tensor]:
    """Return output and gradients of a batch norm over a batch that the processes share."""
    torch.manual_seed(0)
    batch = torch.randn(4, 3, 2, 2)
    network = synchronise(_norm(), torch.device("cpu"))
    here = batch.chunk(processes)[rank].clone().requires_grad_()
    out = network(here.bfloat16() if half else here)
    assert out.dtype == (torch.bfloat16 if half else torch.float32)
    (out * torch.arange(batch.numel()).view(processes, *out.shape)[rank]).sum().backward()
    gradient = network[0].weight.grad
    if processes > 1:
        dist.all_reduce(gradient)
    return {
        "output": out.detach().float(),
        "gradient": here.grad,
        "of the weight": gradient,
        "mean": network[0].running_mean,
        "variance": network[0].running_var,
    }


class Photos:
    """Twenty grey photos."""

    def __len__(self) -> int:
        return 20

    def file(self, index: int) -> str:
        return f"{index}.jpg"

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        return {"image_1": torch.full((2, 2, 3), key[1], dtype=torch.uint8)}


class NoisyPhotos(Photos):
    """Eight photos of noise, with two views each."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        drawn = torch.randint(256, (2, 32, 32, 3), generator=torch.Generator().manual_seed(key[1]))
        return dict(zip(VIEWS[:2], drawn.to(torch.uint8), strict=True))


def queues(rank: int, processes: int) -> dict[str, Tensor]:
    """Return the buffers of the queues of DenseCL and MLS after one batch."""
    found: dict[str, Tensor] = {}
    for name, queued in (("densecl", DenseCL), ("mls", MLS)):
        torch.manual_seed(0)
        method = queued("timm:test_resnet", 16, 8, queue=6, group=2).train()
        method.key_backbone = nn.Identity()  # the keys do not depend on the photos that are normalised with them
        photos, maps = torch.randn(4, 3, 64, 64), torch.randn(4, method.features, 2, 2)
        method({"image_1": photos.chunk(processes)[rank], "image_2": maps.chunk(processes)[rank]})
        found |= {f"{name} {key}": value for key, value in method.named_buffers() if "." not in key}
    return found


def shuffled_keys(rank: int, processes: int) -> dict[str, Tensor]:
    """Return MoCo's keys of four photos, normalised two at a time, in the order of the photos."""
    torch.manual_seed(0)
    method = MoCo("resnet18", 16, 8, queue=8, group=2).double().train()
    photos = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    return {"keys": gather_rows(method.keys(photos.chunk(processes)[rank]).double())}


def adapted(rank: int, processes: int) -> dict[str, Tensor]:
    """Return the backbone of a vision transformer with a head that the map does not ask, and its first weights.

    It is trained with frozen blocks, slow layers and batches in parts.
    """
    torch.manual_seed(0)
    method = BYOL("timm:test_vit3", 16, 8)
    method.adapt(frozen=3, layer_decay=0.7)
    before = {f"before {name}": value.clone() for name, value in method.backbone.state_dict().items()}
    config = BYOLConfig(epochs=2, batch_size=4, rate_per_256=0.5, warmup_epochs=0, workers=0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        device = torch.device("cpu")
        fit(method, NoisyPhotos(), config, Path(folder), Progress(), Processes(rank, processes, device))  # type: ignore[arg-type]
    return before | method.backbone.state_dict()


class Breaking(Method):
    """A method with one weight, whose loss is not finite in one process from step 3 on."""

    architecture = "resnet18"

    def __init__(self, breaks: bool) -> None:
        super().__init__()
        self.backbone, self.projector = nn.Linear(1, 1), nn.Identity()
        self.steps, self.breaks = 0, breaks

    def views(self, size: int) -> tuple[View, ...]:
        return ()

    def forward(self, views: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        rows = views["image_1"].mean((2, 3))
        self.steps += 1
        slope = torch.nan if self.breaks and self.steps > 3 else 1.0
        return {"image": self.backbone(rows[:, :1]).mean() * slope}, rows


def not_finite(rank: int) -> str:
    """Return the error that ends a training of two processes whose numbers are read every seven steps."""
    config = BYOLConfig(epochs=1, batch_size=4, rate_per_256=1, workers=0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            fit(
                Breaking(rank == 1),
                Photos(),  # type: ignore[arg-type]
                config,
                Path(folder),
                Progress(),
                Processes(rank, 2, torch.device("cpu")),
                read_every=7,
            )
        except UserError as error:
            assert not list(Path(folder).glob("checkpoint-*"))
            return str(error)
    return ""


def _of_each(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    # The processes meet at a file: another program may take a port before they do.
    dist.init_process_group("gloo", f"file://{folder}/meeting", timeout=timedelta(minutes=2), rank=rank, world_size=2)
    found: dict[str, Any] = {f"norm {half} {rank}": one_normalisation(rank, 2, half) for half in (False, True)}
    found |= {f"{method} {rank}": one_backward(method, rank, 2) for method in METHODS}
    found[f"queues {rank}"] = queues(rank, 2)
    found[f"shuffled {rank}"] = shuffled_keys(rank, 2)
    found[f"adapted {rank}"] = adapted(rank, 2)
    found[f"not finite {rank}"] = not_finite(rank)
    found[f"mean {rank}"] = Processes(rank, 2, torch.device("cpu")).mean_of(3 + 2 * rank)
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of two processes, by test and rank."""
    folder = tmp_path_factory.mktemp("together")
    multiprocessing.spawn(_of_each, (folder,), nprocs=2)  # raises the error of a process that fails
    return torch.load(folder / "0.pt") | torch.load(folder / "1.pt")


@pytest.mark.parametrize("method", METHODS)
def test_loss_gradients_and_statistics_of_two_processes_are_those_of_one(together: dict[str, Any], method: str) -> None:
    expected, found = one_backward(method, 0, 1), together[f"{method} 0"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-9, rtol=1e-9, msg=f"{method} {name}")


def test_the_queues_of_two_processes_are_those_of_one(together: dict[str, Any]) -> None:
    expected = queues(0, 1)
    names = ["densecl queue", "densecl seen", "densecl dense_queue"]
    assert [*expected] == [*names, "mls queue", "mls seen", "mls known_features", "mls known_projections"]
    assert int(expected["mls seen"]) == 4
    for rank in (0, 1):
        torch.testing.assert_close(together[f"queues {rank}"], expected, rtol=0, atol=1e-6)


def test_mocos_keys_of_two_processes_are_shuffled_between_both(together: dict[str, Any]) -> None:
    """In each process, all photos are one group: shuffled there alone, a key is normalised with its query's photos."""
    expected = shuffled_keys(0, 1)["keys"]
    for rank in (0, 1):
        torch.testing.assert_close(together[f"shuffled {rank}"]["keys"], expected, rtol=0, atol=1e-6)


def test_an_adapted_transformer_of_two_processes_is_that_of_one(together: dict[str, Any]) -> None:
    expected, found = adapted(0, 1), together["adapted 0"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4, msg=name)
    learnt = {name for name, value in found.items() if not value.equal(found.get(f"before {name}", value))}
    # The stem and two blocks are frozen, and the map does not ask the pooling head.
    parts = ("cls_token", "reg_token", "pos_embed", "patch_embed", "blocks.0.", "blocks.1.", "attn_pool")
    still = {name for name in found if name.startswith(("before ", *(f"network.{part}" for part in parts)))}
    assert learnt == found.keys() - still


def test_a_loss_that_is_not_finite_in_one_process_ends_both_at_its_step(
    together: dict[str, Any],
) -> None:
    here, there = (together[f"not finite {rank}"] for rank in (0, 1))
    assert here == there
    assert here.startswith("The loss is not finite at step 3 ")
    keys = batch_keys(20, BYOLConfig(epochs=1, batch_size=4), 3)
    assert re.findall(r"\d+\.jpg", here) == [f"{index}.jpg" for _, index in keys]


def test_a_mean_over_the_processes_is_the_same_in_both(together: dict[str, Any]) -> None:
    assert [together[f"mean {rank}"] for rank in (0, 1)] == [4.0, 4.0]
    assert Processes(0, 1, torch.device("cuda")).mean_of(3) == 3  # alone, no device is asked


@pytest.mark.parametrize("half", [False, True])
def test_synchronised_batch_norm_is_that_of_the_whole_batch(together: dict[str, Any], half: bool) -> None:
    parts = [together[f"norm {half} {rank}"] for rank in (0, 1)]
    close = {"atol": 0.3, "rtol": 0.02} if half else {"atol": 1e-4, "rtol": 1e-5}
    for name, value in one_normalisation(0, 1, half).items():
        found = torch.cat([part[name] for part in parts]) if name in ("output", "gradient") else parts[1][name]
        torch.testing.assert_close(found, value, **close, msg=name)


def test_two_processes_with_half_the_batch_each_learn_what_one_learns(mined: Workspace, tiny_orl: ORLConfig) -> None:
    large = {"batch_size": 12, "image_size": 64, "patch_size": 64, "rate_per_256": 0.006}
    config = tiny_orl.model_copy(update=large)
    by_one = weights.checkpoint_weights(alone(mined, config, "alone")).backbone
    by_two = weights.checkpoint_weights(by_torchrun(mined, config, "together")).backbone
    torch.manual_seed(config.seed)
    start = build_method(config).backbone.state_dict()
    assert (by_one["conv1.weight"] - start["conv1.weight"]).abs().max() > 1e-4  # it has learnt
    for name, value in by_one.items():
        # Variances of a dozen cells are as coarse as what they are taken of.
        close = {"atol": 1e-5, "rtol": 1e-3 if "running" in name else 0.0}
        torch.testing.assert_close(by_two[name], value, **close, msg=name)


def test_a_launched_run_starts_its_other_processes_itself_and_moco_keeps_one_queue_in_all(
    mined: Workspace, tiny_byol: BYOLConfig
) -> None:
    common = tiny_byol.model_dump(exclude={"method", "target_momentum"}) | {"backbone": "timm:test_resnet"}
    config = MoCoConfig(**common | {"batch_size": 8}, queue=16, norm_group=2)
    run = wait(mined, launch_pretrain(mined, "demo", config, "two", processes=2).id)
    assert (run.status, run.error) == ("done", None), read_log(mined, run)
    folder = mined.run_folder(run.id)
    assert '"processes": 2' in (folder / "provenance.json").read_text()
    state = torch.load(max(folder.glob("checkpoint-*.pt")), weights_only=True)["method"]
    assert int(state["seen"]) == 16  # two steps of eight
    torch.testing.assert_close(state["queue"].norm(dim=1), torch.ones(16))


def test_a_mistake_that_only_the_other_process_finds_ends_both_with_a_sentence(
    mined: Workspace, tiny_byol: BYOLConfig
) -> None:
    config = tiny_byol.model_copy(update={"batch_size": 12, "epochs": 1})
    _, index = batch_keys(12, config, 0)[-1]  # of the second half
    broken = Path(photos_alone(mined, dataset_named(mined.store, "demo")).files[index])
    content, stamp = broken.read_bytes(), broken.stat()
    broken.write_bytes(b"0" * len(content))
    os.utime(broken, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # only who reads it can tell
    try:
        run = wait(mined, launch_pretrain(mined, "demo", config, "broken", processes=2).id)
    finally:
        broken.write_bytes(content)
        os.utime(broken, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (run.status, run.exit_code) == ("failed", 2), read_log(mined, run)
    assert run.error == "1 of the 2 processes of this training ended early. See the log for the reason."
    assert f"Cannot read {broken}: not an image that Pillow can identify" in read_log(mined, run)


def test_alone_it_is_an_ordinary_batch_norm() -> None:
    synced = SyncedBatchNorm(3)
    batch = torch.randn(4, 3, 2, 2)
    assert torch.equal(synced(batch), nn.BatchNorm2d(3)(batch))
    with pytest.raises(ValueError, match="dimensions for batch normalisation: 3. Use 2 or 4."):
        synced(torch.randn(4, 3, 2))
