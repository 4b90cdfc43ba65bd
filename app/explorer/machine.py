"""What this machine has, and what a run's processes use of it."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache

import psutil

QUERY = "utilization.gpu,memory.used,memory.total"  # per cent, MiB, MiB
LASTS = 4  # seconds that what the driver told is taken for what is


@dataclass(frozen=True)
class Usage:
    """cpu: cores' worth of time since ``at`` before it, None at the first look. memory: bytes, of all processes.

    seconds: CPU time so far. at: when, in seconds.
    """

    cpu: float | None
    memory: int
    seconds: float
    at: float


@dataclass(frozen=True)
class Gpu:
    """busy: share of time. used, total: bytes of memory, of everybody's processes."""

    busy: float
    used: int
    total: int


@lru_cache(maxsize=1)
def has_gpu() -> bool:
    """Whether a training would find a GPU here; told without torch."""
    return bool(gpus()) or (platform.system(), platform.machine()) == ("Darwin", "arm64")


def gpus() -> list[Gpu]:
    """NVIDIA's, as their driver's tool tells."""
    return _gpus_in(int(time.monotonic() // LASTS))


@lru_cache(maxsize=1)
def _gpus_in(period: int) -> list[Gpu]:
    """Those of a period of so many seconds: what was told is kept until the next begins."""
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
    """Lines of ``busy, used, total`` in per cent and MiB; those of GPUs that do not tell are left out."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and all(part.isdecimal() for part in parts):
            busy, used, total = map(int, parts)
            found.append(Gpu(busy / 100, used * 2**20, total * 2**20))
    return found


def usage(pid: int | None, before: Usage | None) -> Usage | None:
    """Of a process and its children; None where it is gone. ``before`` is the look before, for the CPU's share."""
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
