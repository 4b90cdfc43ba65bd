"""The machines of a Ray cluster, and what its users share: waiting for tasks, and sending files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import ray

from orl_explorer.orl.pixels import CHANGED, Stamp, is_same_file
from orl_explorer.train.progress import PATIENCE

AHEAD = 2  # tasks under way for each core or encoder: one is done, one waits
TRIES = 4  # times that a task is done again after its worker died


class Machine(NamedTuple):
    """A machine of the cluster, by the id that Ray gives it."""

    id: str
    name: str
    cores: int
    gpus: int


def machines() -> list[Machine]:
    """Return the machines that are alive and have cores."""
    found = []
    for node in ray.nodes():
        has = node["Resources"]
        if node["Alive"] and has.get("CPU", 0) >= 1:
            found.append(Machine(node["NodeID"], node["NodeManagerHostname"], int(has["CPU"]), int(has.get("GPU", 0))))
    return found


def ready_one(references: list[Any]) -> list[Any]:
    """Wait for a moment, and return one of the tasks if it is done."""
    if references:
        return ray.wait(references, num_returns=1, timeout=PATIENCE)[0]
    time.sleep(PATIENCE)
    return []


def content_of(file: str, stamp: Stamp | None) -> bytes | str:
    """Return the content of a photo's file, for a machine that cannot read it; or why this one cannot either."""
    try:
        path = Path(file)
        if stamp is not None and not is_same_file(path, stamp):
            return CHANGED
        return path.read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__
