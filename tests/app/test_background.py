"""Work in a thread of the server: its progress, its end, and stopping it."""

from __future__ import annotations

import threading

from orl_explorer.app.explorer.background import BackgroundWork
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress


def test_it_says_how_far_it_is_and_stops_at_its_next_advance() -> None:
    reached, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def count(progress: Progress) -> None:
        progress.phase("Counting", 4)
        for number in range(4):
            done.append(number)
            progress.advance()
            if number == 1:
                reached.set()
                go_on.wait(10)

    work = BackgroundWork(count)
    assert reached.wait(10)
    assert (work.running, work.name, work.done, work.total, work.share) == (True, "Counting", 2, 4, 0.5)
    assert not work.stopping
    work.stop()
    assert work.stopping
    go_on.set()
    work.wait()
    assert (work.running, work.stopping, work.stopped, work.error) == (False, False, True, None)
    assert done == [0, 1, 2]  # what was under way is finished


def test_a_persons_mistake_is_said_in_its_own_words() -> None:
    def refuse(progress: Progress) -> None:
        raise UserError("There is no such photo.")

    work = BackgroundWork(refuse)
    work.wait()
    assert (work.error, work.stopped, work.share) == ("There is no such photo.", False, 0.0)
