"""Mining on a Ray cluster: its machines search and embed, and this process stores what they find.

A bounded number of tasks is under way, so that memory does not grow with the dataset. The tasks of a machine that is
lost are done again by others.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.forward import Batch, FeatureOf, Shot, batched
from orl_explorer.train.mining.place import WorkPlace
from orl_explorer.train.mining.propose import MANY, Search
from orl_explorer.train.mining.ray_crew import Crew
from orl_explorer.train.mining.ray_machines import AHEAD, TRIES, content_of, machines, ready_one
from orl_explorer.train.mining.ray_work import Unread, search_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.words import plural

SEARCHED = 4  # photos of a task of selective search
REACH = 10.0  # seconds in which the head of a cluster must answer


@contextmanager
def on_ray(progress: Progress) -> Iterator[WorkPlace]:
    """Connect to the cluster of which this process is a job, and yield it as a place. Raises UserError."""
    connecting = not ray.is_initialized()
    if connecting:
        _connect()
    place = OnRay()
    try:
        found = machines()
        cores, gpus = sum(machine.cores for machine in found), sum(machine.gpus for machine in found)
        progress.log(
            f"Mining on Ray: {plural(len(found), 'machine')} with {plural(cores, 'core')} and {plural(gpus, 'GPU')}."
        )
        yield place
    finally:
        place.close()
        if connecting:
            ray.shutdown()


def _connect() -> None:
    """Connect this process to the cluster that Ray names to its jobs. Raises UserError."""
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        raise UserError("This process is not a job of a Ray cluster: $RAY_ADDRESS is empty. Launch with --on ray.")
    host, _, port = address.rpartition(":")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACH):  # Ray itself would try for minutes
            pass
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RayError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"Cannot connect to the Ray cluster at {address}: {reason}.") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end the run instead of stopping it


def _by_gpu(features: Features) -> bool:
    """Return whether GPUs of the cluster run an encoder."""
    return features.precision != "fp32-onnx" and any(machine.gpus for machine in machines())


class OnRay(WorkPlace):
    """The machines of the Ray cluster to which this process is connected."""

    def __init__(self) -> None:
        self._crews: dict[tuple[str, str], Crew] = {}

    def overlaps(self, features: Features) -> bool:
        """GPUs embed while cores search. Without GPUs, the cores do the one after the other."""
        return _by_gpu(features)

    def search(self, jobs: Iterable[Search], count: int, progress: Progress) -> Generator[np.ndarray | str]:
        cores = max(1, sum(machine.cores for machine in machines()))
        task = ray.remote(search_photos).options(num_cpus=1, max_retries=TRIES)
        groups = enumerate(batched(jobs, SEARCHED))
        flying: dict[Any, _Searching] = {}
        done: dict[int, list[np.ndarray | str]] = {}
        following, over = 0, False

        def send(part: _Searching) -> None:
            compiling = count * part.jobs[0][3] ** 2 >= MANY * cores
            flying[task.remote(part.asked, part.sent, compiling)] = part

        try:
            while True:
                while not over and len(flying) + len(done) < AHEAD * cores:
                    number, group = next(groups, (-1, []))
                    over = not group
                    if group:
                        send(_Searching(number, list(group)))
                while following in done:
                    yield from done.pop(following)
                    following += 1
                if not flying and over:
                    return
                for reference in ready_one([*flying]):
                    part = flying.pop(reference)
                    if part.take(_result(reference, part.jobs[0][0])):
                        done[part.number] = part.whole
                    else:
                        send(part)
                progress.check()
        finally:
            for reference in flying:  # of a run that was stopped
                ray.cancel(reference)

    def rows(
        self, view: FeatureOf, features: Features, shots: Iterable[Shot], lost: dict[int, str], progress: Progress
    ) -> Iterator[Batch]:
        key = features.name, features.precision
        if key not in self._crews:
            self.close()  # encoders fill the machines
            self._crews[key] = Crew(ray.put(features.weights()), features.precision, _by_gpu(features))
        yield from self._crews[key].work(view, shots, lost, progress)

    def close(self) -> None:
        """End the encoders."""
        for crew in self._crews.values():
            crew.close()
        self._crews.clear()


def _result(reference: Any, first: str) -> Any:
    """Return the result of a task. first: a photo of it, for the message. Raises UserError if its worker died often."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise
    except RayError as error:
        raise UserError(
            f"The Ray workers that searched {first} and the photos after it died {TRIES + 1} times "
            f"({type(error).__name__}), probably because memory ran out. Resume the run to try again."
        ) from error


@dataclass
class _Searching:
    """Some photos that are searched together. left: numbers of those that are asked for, by default all.

    contents: of those whose file is sent, by number.
    """

    number: int
    jobs: list[Search]
    left: list[int] = field(default_factory=list)
    contents: dict[int, bytes] = field(default_factory=dict)
    found: dict[int, np.ndarray | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = self.left or list(range(len(self.jobs)))

    @property
    def asked(self) -> list[Search]:
        """The jobs of a task."""
        return [self.jobs[number] for number in self.left]

    @property
    def sent(self) -> dict[int, bytes]:
        """Contents of files, by their place in ``asked``."""
        return {place: self.contents[number] for place, number in enumerate(self.left) if number in self.contents}

    @property
    def whole(self) -> list[np.ndarray | str]:
        """What was found, in the order of the jobs."""
        return [self.found[number] for number in range(len(self.jobs))]

    def take(self, results: list[np.ndarray | Unread]) -> bool:
        """Take results. Returns whether that is all; else photos are to be searched by their content."""
        unread = list[int]()
        for number, result in zip(self.left, results, strict=True):
            if not isinstance(result, Unread):
                self.found[number] = result
                continue
            self.found[number] = result.reason
            content = None if number in self.contents else content_of(*self.jobs[number][:2])
            if isinstance(content, bytes):
                self.contents[number] = content
                unread.append(number)
        self.left = unread
        self.contents = {number: self.contents[number] for number in unread}
        return not unread
