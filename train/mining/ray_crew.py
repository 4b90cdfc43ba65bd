"""The same encoder on the machines of a Ray cluster: tasks go to those that are ready, and to others if one is lost."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.forward import Batch, FeatureOf, Shot
from orl_explorer.train.mining.ray_machines import AHEAD, TRIES, Machine, content_of, machines, ready_one
from orl_explorer.train.mining.ray_work import Embedded, Embedder
from orl_explorer.train.progress import Progress

PHOTOS = 64  # most photos of a task
ROWS, ROWS_BY_GPU = 64, 1024  # rows of a task, about
LOOK = 10.0  # seconds between two looks for machines that joined the cluster
QUIET = 30.0  # seconds without any encoder after which the log says so


@dataclass
class _Embedding:
    """Some photos that are embedded together."""

    shots: list[Shot]
    contents: dict[int, bytes] = field(default_factory=dict)
    tries: int = 0

    def left(self, unread: dict[int, str], lost: dict[int, str]) -> _Embedding | None:
        """Return the photos to embed by their content, or None. lost: gets those that cannot be read at all."""
        again, contents = list[Shot](), dict[int, bytes]()
        for number, shot in enumerate(self.shots):
            if shot.image_id not in unread:
                continue
            content = None if number in self.contents else content_of(shot.file, shot.stamp)
            if isinstance(content, bytes):
                contents[len(again)] = content
                again.append(shot)
            else:
                lost[shot.image_id] = unread[shot.image_id]
        return _Embedding(again, contents) if again else None


@dataclass
class _Member:
    """An encoder on a machine. busy: tasks that it has."""

    actor: Any
    machine: Machine
    busy: int = 0


class Crew:
    """The same encoder on all machines: one on each GPU, or one on all cores of each machine if there is no GPU."""

    def __init__(self, weights: Any, precision: str, by_gpu: bool) -> None:
        """Start no encoder yet. weights: reference to them in Ray's store, from which each machine gets them once.

        by_gpu: GPUs round differently, so features must not depend on who is there: they come from GPUs alone, or from
        none.
        """
        self._weights, self._precision, self._by_gpu = weights, precision, by_gpu
        self._members: list[_Member] = []
        self._starting: dict[Any, _Member] = {}  # by the reference to what they say when they are ready
        self._refused: dict[str, str] = {}  # machines that cannot embed, and why
        self._looked = 0.0

    def work(self, view: FeatureOf, shots: Iterable[Shot], lost: dict[int, str], progress: Progress) -> Iterator[Batch]:
        """Yield the rows of photos, in the order in which they are ready."""
        groups, again = self._groups(shots), deque[_Embedding]()
        flying: dict[Any, tuple[_Embedding, _Member]] = {}
        begun, told, over = time.monotonic(), False, False
        while True:
            self._look_for_machines()
            for member in self._members:
                while member.busy < AHEAD and (again or not over):
                    group = again.popleft() if again else next(groups, None)
                    over = group is None
                    if group is not None:
                        member.busy += 1
                        flying[member.actor.embed.remote(view, group.shots, group.contents)] = group, member
            if not flying and over and not again:
                return
            if not self._members and not told and time.monotonic() - begun > QUIET:
                progress.log("Waiting for Ray: no machine has its cores or GPUs free.")
                told = True
            for reference in ready_one([*flying, *self._starting]):
                if reference in self._starting:
                    self._welcome(reference, progress)
                    continue
                group, member = flying.pop(reference)
                member.busy -= 1
                found = self._rows(reference, group, member, progress)
                if found is None:
                    again.append(group)
                    continue
                if (left := group.left(found.unread, lost)) is not None:
                    again.append(left)
                if len(found.keys):
                    path_of = {key: shot.path for shot in group.shots for key in shot.keys.tolist()}
                    yield Batch(found.keys, found.vectors, [path_of[key] for key in found.keys.tolist()])
            progress.check()

    def _groups(self, shots: Iterable[Shot]) -> Iterator[_Embedding]:
        most, group, rows = ROWS_BY_GPU if self._by_gpu else ROWS, list[Shot](), 0
        for shot in shots:
            group.append(shot)
            rows += len(shot.keys)
            if rows >= most or len(group) == PHOTOS:
                yield _Embedding(group)
                group, rows = [], 0
        if group:
            yield _Embedding(group)

    def _rows(self, reference: Any, group: _Embedding, member: _Member, progress: Progress) -> Embedded | None:
        """Return the result of a task, or None if its encoder died. Raises UserError if that happened often."""
        try:
            return ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise
        except RayError as error:
            if member in self._members:
                self._members.remove(member)
                with contextlib.suppress(RayError):
                    ray.kill(member.actor)  # it may only be out of reach
                progress.log(f"The encoder on {member.machine.name} died. Its photos go to others.")
            elif not isinstance(error, RayActorError):
                progress.log(f"A result of {member.machine.name} was lost. Its photos go to others.")
            group.tries += 1
            if group.tries > TRIES:
                raise UserError(
                    f"The Ray workers that embedded {group.shots[0].path} and the photos after it died {group.tries} "
                    "times, probably because memory ran out. Resume the run to try again."
                ) from error
            return None

    def _look_for_machines(self) -> None:
        """Start an encoder wherever there is room for one."""
        if self._members and time.monotonic() - self._looked < LOOK:
            return
        if self._starting and time.monotonic() - self._looked < 1:
            return
        self._looked = time.monotonic()
        there = [machine for machine in machines() if machine.id not in self._refused]
        have = [member.machine.id for member in (*self._members, *self._starting.values())]
        for machine in there:
            needs = {"num_gpus": 1, "num_cpus": 1} if self._by_gpu else {"num_cpus": machine.cores}
            for _ in range((machine.gpus if self._by_gpu else 1) - have.count(machine.id)):
                pinned = NodeAffinitySchedulingStrategy(machine.id, soft=False)
                actor = ray.remote(Embedder).options(scheduling_strategy=pinned, **needs)
                member = _Member(
                    actor.remote(self._weights, self._precision, "cuda" if self._by_gpu else "cpu"), machine
                )
                self._starting[member.actor.problem.remote()] = member

    def _welcome(self, reference: Any, progress: Progress) -> None:
        """Give work to an encoder that has started. Raises UserError if no machine can have one."""
        member = self._starting.pop(reference)
        try:
            problem = ray.get(reference)
        except RayError as error:
            problem = "" if isinstance(error, RayActorError) and not _is_alive(member.machine) else str(error)
            if not problem:
                return  # the machine is lost
        if not problem:
            self._members.append(member)
            return
        self._refused[member.machine.id] = problem
        progress.log(f"{member.machine.name} cannot embed: {problem}")
        if not self._members and not self._starting:
            raise UserError(f"No machine of the Ray cluster can embed. {member.machine.name}: {problem}")

    def close(self) -> None:
        """End the encoders."""
        for member in (*self._members, *self._starting.values()):
            ray.kill(member.actor)
        self._members.clear()
        self._starting.clear()


def _is_alive(machine: Machine) -> bool:
    return any(other.id == machine.id for other in machines())
