"""The processes of one training: one, or several as under ``torchrun``. The training loop is the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from orl_explorer.train.interpreter import MEETING

# Processes wait for one another while the first gathers data, checks or saves. If a machine is cut off, the others fail
# after this time, or when somebody stops the run.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Processes:
    """The rank of this process, the number of processes, and this process's device."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the first, which writes all files."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of each element over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def mean_of(self, number: float) -> float:
        """Return the mean of a number over the processes, in single precision. A single process returns it at once."""
        if self.size == 1:
            return number
        return self.mean(torch.tensor(float(number), device=self.device)).item()

    def any(self, here: bool) -> bool:
        """Whether the value is true in any process."""
        return self.mean_of(float(here)) > 0


def choose_device(rank: int = 0) -> torch.device:
    """Return the accelerator of this process if there is one, else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        return torch.device("cpu")
    return torch.device(found.type, rank % torch.accelerator.device_count())


def threads_of_each(environment: Mapping[str, str], cores: int) -> int:
    """Return the threads of a process of a training on CPUs: what is set for each, else its share of the cores."""
    each = environment.get("OMP_NUM_THREADS", "")
    if each.isdecimal() and int(each):
        return int(each)
    return max(1, cores // int(environment.get("LOCAL_WORLD_SIZE", "1")))


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the process group of a training inside the block."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = choose_device(int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield Processes(0, 1, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif device.type == "cpu":
        torch.set_num_threads(threads_of_each(os.environ, torch.get_num_threads()))
    backend, rank = "nccl" if device.type == "cuda" else "gloo", int(os.environ["RANK"])
    dist.init_process_group(backend, os.environ.get(MEETING), PATIENCE, size, rank)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
