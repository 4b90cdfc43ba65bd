"""Helper processes end at once when the work ends early."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from orl_explorer.train.errors import UserError
from orl_explorer.train.pools import drawn_batches, helpers
from orl_explorer.train.progress import Stopped, map_ahead

pytestmark = pytest.mark.slow


def children() -> list[psutil.Process]:
    """Return the live children of this process, except multiprocessing's resource tracker."""
    found = psutil.Process().children()
    return [p for p in found if p.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(p.cmdline())]


def after(seconds: float, problem: BaseException) -> Callable[[], None]:
    begun = time.monotonic()

    def check() -> None:
        if time.monotonic() - begun > seconds:
            raise problem

    return check


@pytest.mark.parametrize("problem", [Stopped(), KeyboardInterrupt()])
def test_a_stop_ends_the_helpers_in_the_midst_of_their_work(problem: BaseException) -> None:
    before, begun = len(children()), time.monotonic()
    with pytest.raises(type(problem)), helpers(2) as pool:
        list(map_ahead(pool, time.sleep, [60.0] * 6, 4, after(2.0, problem)))
    assert time.monotonic() - begun < 20
    assert len(children()) == before


def test_what_ends_a_whole_group_of_processes_is_left_to_the_first_of_them() -> None:
    with helpers(1) as pool:
        helper = pool.submit(os.getpid).result()
        for asked in (signal.SIGTERM, signal.SIGINT):
            os.kill(helper, asked)
        assert pool.submit(os.getpid).result() == helper


def test_a_helper_that_was_killed_is_a_sentence() -> None:
    before = len(children())
    sentence = "A helper process was killed, probably because memory ran out"
    with pytest.raises(UserError, match=sentence), helpers(1) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        pool.submit(time.sleep, 60).result()
    assert len(children()) == before


def test_work_that_ends_early_leaves_the_helpers_of_other_threads_alone() -> None:
    begun, failed, found = threading.Event(), threading.Event(), list[int]()

    def works_on() -> None:
        with helpers(1) as pool:
            found.append(pool.submit(os.getpid).result())
            begun.set()
            assert failed.wait(60)
            found.append(pool.submit(os.getpid).result())

    other = threading.Thread(target=works_on)
    with pytest.raises(Stopped), helpers(1) as pool:
        other.start()
        assert begun.wait(60)
        pool.submit(time.sleep, 60)
        raise Stopped
    failed.set()
    other.join(60)
    assert found == [found[0]] * 2


def test_helpers_prepare_themselves_and_results_come_in_order() -> None:
    with helpers(2, _mark) as pool:
        assert list(map_ahead(pool, _marked, [3, 1, 2], 2)) == [(3, "here"), (1, "here"), (2, "here")]


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (
            RuntimeError(
                "Caught RuntimeError …\nunable to allocate shared memory(shm) for file </torch_1>: No space left"
            ),
            "The processes that load photos have too little shared memory. Enlarge /dev/shm (of a container by "
            "--shm-size=2g) and resume the run, or start another with workers=0.",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "A process that loads photos was killed, probably because memory ran out. Resume the run, or start another "
            "with fewer workers.",
        ),
        (UserError("Caught UserError …\nUserError: Cannot read a.jpg: gone.\n"), "Cannot read a.jpg: gone."),
    ],
)
def test_what_stops_a_loading_process_is_a_sentence(problem: Exception, sentence: str) -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise problem

    drawn = drawn_batches(batches())
    assert next(drawn) == 1
    with pytest.raises(UserError) as said:
        next(drawn)
    assert str(said.value) == sentence


def test_other_errors_of_loading_processes_are_left_as_they_are() -> None:
    def batches() -> Iterator[int]:
        raise RuntimeError("a mistake of ours")
        yield 1

    with pytest.raises(RuntimeError, match="^a mistake of ours$"):
        next(drawn_batches(batches()))


def _mark() -> None:
    os.environ["HELPER"] = "here"


def _marked(number: int) -> tuple[int, str]:
    time.sleep(number / 20)
    return number, os.environ["HELPER"]
