"""Two processes with half the batch each learn what one learns; and one goes on for the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch import distributed as dist

from db.encoders import encoder_named
from db.models import Run
from db.runs import add_run, run_by_id
from orl.byol import BYOL
from orl.method import Method
from orl.multicrop import MultiCropBYOL
from orl.object_level import ORL
from orl.processes import SyncedBatchNorm, synchronise
from orl.simclr import SimCLR
from train import weights
from train.ingest import ingest
from train.methods import BYOLConfig, MoCoConfig, ORLConfig, TrainConfig
from train.mine import mine
from train.pretrain import build_method
from train.runs import launch_pretrain, read_log, wait
from train.workspace import Workspace, open_workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mined(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine) -> Workspace:  # type: ignore[no-untyped-def]
    made = open_workspace(tmp_path_factory.mktemp("several") / "workspace")
    ingest(made, small_scenes, name="demo")
    weights.add(made, "starter", "starter")
    run = add_run(made.store, Run(kind="mine", name="set", params={})).id
    mine(made, "demo", "starter", "set", tiny_mine, run_id=run, workers=2)
    return made


def by_torchrun(workspace: Workspace, config: TrainConfig, name: str, processes: int) -> Path:
    """Train under torchrun, and return the encoder's file."""
    stage_3 = isinstance(config, ORLConfig)
    subject = {"correspondence": "set"} if stage_3 else {"dataset": "demo"}
    kind = "train" if stage_3 else "pretrain"
    run = add_run(workspace.store, Run(kind=kind, name=name, params=subject | {"config": config.model_dump()}))
    worker = ["-m", "train.worker", "--workspace", str(workspace.path), str(run.id)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), *worker]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert run_by_id(workspace.store, run.id).status == "done", ended.stdout + ended.stderr
    return workspace.path / encoder_named(workspace.store, name).weights_path


METHODS: dict[str, Callable[[], Method]] = {
    "byol": lambda: BYOL("resnet18", 32, 16),
    "orl": lambda: ORL("resnet18", 32, 16),
    "multicrop": lambda: MultiCropBYOL("resnet18", 32, 16),
    "simclr": lambda: SimCLR("resnet18", 32, 16),
}
VIEWS = ("image_1", "image_2", "roi", "roi_jittered", "query_roi", "key_roi")


def one_backward(method: str, rank: int, processes: int) -> dict[str, Tensor]:
    """Loss, gradients and buffers after one backward, in float64: rounding would flip a ReLU here and there."""
    torch.manual_seed(0)
    network = METHODS[method]()
    assert isinstance(network, nn.Module)
    network = synchronise(network, torch.device("cpu")).double().train()
    names = VIEWS if method == "orl" else VIEWS[:2]
    views = {name: torch.randn(8, 3, 64, 64, dtype=torch.float64) for name in names}
    terms, _ = network({name: view.chunk(processes)[rank] for name, view in views.items()})
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    found = {"loss": loss.detach()} | {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    if processes > 1:
        for value in found.values():
            dist.all_reduce(value)
            value /= processes
    return found | dict(network.named_buffers())


def _backward_of_each(rank: int, port: int, results: multiprocessing.Queue) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for method in METHODS:
        found = one_backward(method, rank, 2)
        if rank == 0:
            results.put((method, {name: value.numpy() for name, value in found.items()}))
    dist.barrier()
    dist.destroy_process_group()


def test_loss_gradients_and_statistics_of_two_processes_are_those_of_one(unused_port: Callable[[], int]) -> None:
    context = multiprocessing.get_context("spawn")
    results, port = context.Queue(), unused_port()
    others = [context.Process(target=_backward_of_each, args=(rank, port, results)) for rank in (0, 1)]
    for process in others:
        process.start()
    together = dict(results.get(timeout=300) for _ in METHODS)
    for process in others:
        process.join()
    for method, found in together.items():
        alone = one_backward(method, 0, 1)
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            close = {"atol": 1e-9, "rtol": 1e-9, "msg": f"{method} {name}"}
            torch.testing.assert_close(torch.from_numpy(found[name]), expected, **close)


@pytest.mark.parametrize("method", ["byol", "orl"])
def test_two_processes_with_half_the_batch_each_learn_what_one_learns(
    mined: Workspace, tiny_byol: BYOLConfig, tiny_orl: ORLConfig, method: str
) -> None:
    config: TrainConfig = {"byol": tiny_byol, "orl": tiny_orl}[method]
    large = {"batch_size": 12, "image_size": 64, "rate_per_256": 0.006} | (
        {"patch_size": 64} if method == "orl" else {}
    )
    config = config.model_copy(update=large)
    alone = weights.checkpoint_weights(by_torchrun(mined, config, f"{method}-alone", 1)).backbone
    together = weights.checkpoint_weights(by_torchrun(mined, config, f"{method}-together", 2)).backbone
    torch.manual_seed(config.seed)
    start = build_method(config).backbone.state_dict()
    assert (alone["conv1.weight"] - start["conv1.weight"]).abs().max() > 1e-4  # it has learnt
    for name, value in alone.items():
        # Variances of a dozen cells are as coarse as what they are taken of.
        close = {"atol": 1e-5, "rtol": 1e-3 if "running" in name else 0.0}
        torch.testing.assert_close(together[name], value, **close, msg=name)


def test_moco_keeps_one_queue_in_all_processes(mined: Workspace, tiny_byol: BYOLConfig) -> None:
    common = tiny_byol.model_dump(exclude={"method", "target_momentum"})
    config = MoCoConfig(**common | {"batch_size": 8}, queue=16, norm_group=2)
    path = by_torchrun(mined, config, "moco-together", 2)
    state = torch.load(max(path.parent.glob("checkpoint-*.pt")), weights_only=True)["method"]
    assert int(state["seen"]) == 16  # two steps of eight
    torch.testing.assert_close(state["queue"].norm(dim=1), torch.ones(16))


def test_a_launched_run_starts_its_other_processes_itself(mined: Workspace, tiny_byol: BYOLConfig) -> None:
    run = wait(mined, launch_pretrain(mined, "demo", tiny_byol, "two", processes=2).id)
    assert (run.status, run.error) == ("done", None), read_log(mined, run)
    provenance = (mined.run_folder(run.id) / "provenance.json").read_text()
    assert '"processes": 2' in provenance


def _normalise(rank: int, port: int, batch: torch.Tensor, results: multiprocessing.Queue) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo")
    network = synchronise(_norm(), torch.device("cpu"))
    mine = batch.chunk(2)[rank].clone().requires_grad_()
    out = network(mine)
    (out * torch.arange(out.numel() * 2).view(2, *out.shape)[rank]).sum().backward()
    gradient = network[0].weight.grad
    dist.all_reduce(gradient)
    results.put((rank, out.detach().numpy(), mine.grad.numpy(), gradient.numpy(), network[0].running_var.numpy()))
    dist.barrier()
    dist.destroy_process_group()


def _norm() -> nn.Sequential:
    network = nn.Sequential(nn.BatchNorm2d(3))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
        network[0].bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    return network.train()


def test_synchronised_batch_norm_is_that_of_the_whole_batch(unused_port: Callable[[], int]) -> None:
    torch.manual_seed(0)
    batch = torch.randn(4, 3, 2, 2)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    port = unused_port()
    others = [context.Process(target=_normalise, args=(rank, port, batch, results)) for rank in (0, 1)]
    for process in others:
        process.start()
    parts = sorted((results.get(timeout=120) for _ in others), key=lambda part: part[0])
    for process in others:
        process.join()

    network, whole = _norm(), batch.clone().requires_grad_()
    out = network(whole)
    (out * torch.arange(out.numel()).view(out.shape)).sum().backward()
    for number, (name, expected) in enumerate([("output", out), ("gradient", whole.grad)], 1):
        found = torch.cat([torch.from_numpy(part[number]) for part in parts])
        torch.testing.assert_close(found, expected.detach(), atol=1e-4, rtol=1e-5, msg=name)
    torch.testing.assert_close(torch.from_numpy(parts[0][3]), network[0].weight.grad, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(parts[1][4]), network[0].running_var)


def test_alone_it_is_an_ordinary_batch_norm() -> None:
    synced = SyncedBatchNorm(3)
    batch = torch.randn(4, 3, 2, 2)
    assert torch.equal(synced(batch), nn.BatchNorm2d(3)(batch))
    with pytest.raises(ValueError, match="3 dimensions"):
        synced(torch.randn(4, 3, 2))
