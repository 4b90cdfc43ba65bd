"""Selective search over many photos: who searches, and when threads take over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.train.mining import propose
from orl_explorer.train.mining.propose import MANY, propose_all
from orl_explorer.train.progress import Progress


class Log(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


class Machine:
    """A machine on which the search is compiled, or not yet; a search returns its seed and who did it."""

    def __init__(self, patch: pytest.MonkeyPatch, ready: bool) -> None:
        self.ready, self.pools, self.searched = ready, 0, []
        self.compile: Callable[[], bool] = lambda: True
        patch.setattr(propose, "is_compiled", lambda: self.ready)
        patch.setattr(propose, "can_compile", lambda: not self.ready)
        patch.setattr(propose, "why_not_compiled", lambda: "")
        patch.setattr(propose, "compile_search", lambda: self.compile())
        patch.setattr(propose, "helpers", self.helpers)
        patch.setattr(propose, "propose_photo", self.search)

    @contextmanager
    def helpers(self, count: int, prepare: Callable[[], object] | None = None) -> Iterator[ThreadPoolExecutor]:
        self.pools += 1
        with ThreadPoolExecutor(count) as pool:
            yield pool

    def search(self, job: tuple) -> np.ndarray:
        time.sleep(0 if self.ready else 0.005)
        self.searched.append("compiled" if self.ready else "OpenCV")
        return np.array([job[2]])


def jobs(count: int) -> list[tuple]:
    return [(f"{i}.jpg", None, i, 1.0, 100) for i in range(count)]


def found(count: int, workers: int, log: Log) -> list[int]:
    return [int(boxes[0]) for boxes in propose_all(iter(jobs(count)), count, workers, log)]


def test_threads_search_where_the_search_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, log = Machine(monkeypatch, ready=True), Log()
    assert found(50, 2, log) == list(range(50))
    assert machine.pools == 0
    assert log.lines == []


def test_few_photos_do_not_wait_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, log = Machine(monkeypatch, ready=False), Log()
    machine.compile = lambda: pytest.fail("compiled")
    assert found(2 * MANY - 1, 2, log) == list(range(2 * MANY - 1))
    assert set(machine.searched) == {"OpenCV"}
    assert log.lines == ["Selective search runs by OpenCV."]


def test_photos_at_half_scale_count_by_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, log = Machine(monkeypatch, ready=False), Log()
    machine.compile = lambda: pytest.fail("compiled")
    count = 8 * MANY - 1
    half = [(*job[:3], 0.5, 100) for job in jobs(count)]
    assert [int(boxes[0]) for boxes in propose_all(half, count, 2, log)] == list(range(count))
    assert log.lines == ["Selective search runs by OpenCV."]


def test_a_compiler_that_is_late_is_ended(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propose, "is_compiled", lambda: False)
    monkeypatch.setattr(propose, "can_compile", lambda: True)
    monkeypatch.setattr(propose, "compile_search", partial(time.sleep, 600))
    gone = [(str(scenes / "missing.jpg"), None, 0, 1.0, 100)] * MANY
    log, began = Log(), time.monotonic()
    assert {*propose_all(gone, MANY, 1, log)} == {"the file is not there any more"}
    assert time.monotonic() - began < 300
    assert log.lines == ["Selective search runs by OpenCV until the faster search is compiled."]


def test_threads_go_on_when_the_search_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, log = Machine(monkeypatch, ready=False), Log()

    def compile() -> bool:
        while len(machine.searched) < 10:
            time.sleep(0.001)
        machine.ready = True
        return True

    machine.compile = compile
    assert found(300, 2, log) == list(range(300))  # each once, in order
    assert len(machine.searched) == 300
    assert machine.searched[:10] == ["OpenCV"] * 10
    assert machine.searched[200:] == ["compiled"] * 100
    assert log.lines == ["Selective search runs by OpenCV until the faster search is compiled."]


def test_opencv_searches_all_photos_if_the_compiler_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, log = Machine(monkeypatch, ready=False), Log()

    def compile() -> bool:
        raise OSError("no space left")

    machine.compile = compile
    assert found(200, 2, log) == list(range(200))
    assert set(machine.searched) == {"OpenCV"}
    assert log.lines[1:] == ["The faster search was not compiled: no space left"]


def test_why_the_faster_search_cannot_be_used_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    Machine(monkeypatch, ready=False)
    monkeypatch.setattr(propose, "can_compile", lambda: False)
    monkeypatch.setattr(propose, "why_not_compiled", lambda: "numba is not installed.")
    assert found(100, 1, log) == list(range(100))
    assert log.lines == ["Selective search runs by OpenCV: numba is not installed."]


def test_no_photos_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, log = Machine(monkeypatch, ready=False), Log()
    assert found(0, 1, log) == []
    assert machine.pools == 0
    assert log.lines == []


def test_a_photo_that_cannot_be_read_is_a_reason_in_its_place(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propose, "is_compiled", lambda: True)
    files = [*sorted(scenes.rglob("*.jpg"))[:2], scenes / "missing.jpg"]
    one, two, missing = propose_all([(str(file), None, 0, 0.5, 100) for file in files], 3, 2, Progress())
    assert len(one) > 5
    assert len(two) > 5
    assert isinstance(missing, str)
