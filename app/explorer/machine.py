"""GPUs of this machine, and the resources that a run's processes use."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache

import psutil

QUERY = "utilization.gpu,memory.used,memory.total"  # per cent, MiB, MiB
LASTS = 4  # seconds for which the driver's answer is cached


@dataclass(frozen=True)
class Usage:
    """Resources of a process and its children.

    cpu: cores used since the previous look, None at the first one. memory: bytes. seconds: CPU time so far. at: time of
    the look, in seconds.
    """

    cpu: float | None
    memory: int
    seconds: float
    at: float


@dataclass(frozen=True)
class Gpu:
    """Use of a GPU by all processes. busy: share of time. used, total: bytes of memory."""

    busy: float
    used: int
    total: int


@lru_cache(maxsize=1)
def has_gpu() -> bool:
    """Return whether this machine has a GPU for training, without importing torch."""
    return bool(gpus()) or (platform.system(), platform.machine()) == ("Darwin", "arm64")


def gpus() -> list[Gpu]:
    """Return the NVIDIA GPUs, from nvidia-smi."""
    return _gpus_in(int(time.monotonic() // LASTS))


@lru_cache(maxsize=1)
def _gpus_in(period: int) -> list[Gpu]:
    """Return the GPUs in a period of ``LASTS`` seconds. The answer is cached until the next period."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return read_gpus(said.stdout)


def read_gpus(text: str) -> list[Gpu]:
    """Parse lines of ``busy, used, total`` in per cent and MiB. GPUs without these values are skipped."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and all(part.isdecimal() for part in parts):
            busy, used, total = map(int, parts)
            found.append(Gpu(busy / 100, used * 2**20, total * 2**20))
    return found


def usage(pid: int | None, before: Usage | None) -> Usage | None:
    """Return the resources of a process and its children; None if it has ended. before: the previous look."""
    if pid is None:
        return None
    try:
        leader = psutil.Process(pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return None
    seconds, memory, at = 0.0, 0, time.monotonic()
    for process in family:
        try:
            spent = process.cpu_times()
            seconds += spent.user + spent.system
            memory += process.memory_info().rss
        except psutil.Error:  # ended since
            continue
    share = None
    if before is not None and at > before.at:
        share = max(0.0, (seconds - before.seconds) / (at - before.at))
    return Usage(share, memory, seconds, at)
