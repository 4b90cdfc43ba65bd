"""The queue of a device in PostgreSQL, where a transaction does not see what others are about to commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import event

from orl_explorer.db.models import Run
from orl_explorer.db.runs import runs as rows
from orl_explorer.db.runs.runs import ACTIVE, add_run, begin_if_first, runs, update_run
from orl_explorer.db.store import Store, open_store
from tests.postgres import EMPTY, PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]  # not once more for each database

ATTEMPTS = 150


@pytest.fixture
def store(postgres: PostgresServer) -> Iterator[Store]:
    url = postgres.create(EMPTY)
    opened = open_store(url)
    yield opened
    opened.close()
    postgres.drop(url)


def queued(store: Store, host: str = "a") -> int:
    return add_run(store, Run(kind="mine", name="set", params={}, host=host)).id


def begun_together(store: Store) -> int:
    """Let a younger run begin while an older one is resumed. Return how many are active.

    The younger one takes a while to commit, as over a slow network.
    """
    older, younger = queued(store), queued(store)
    update_run(store, older, status="crashed")

    def wait_before_commit(_: object) -> None:
        if threading.current_thread() is slow:
            time.sleep(0.5)

    slow = threading.Thread(target=begin_if_first, args=(store, younger))
    event.listen(store.engine, "commit", wait_before_commit)
    slow.start()
    time.sleep(0.2)
    update_run(store, older, status="queued")
    begin_if_first(store, older)
    slow.join()
    return len(runs(store, ACTIVE))


def test_a_run_is_not_begun_while_another_of_its_queue_is_about_to_be(store: Store) -> None:
    assert begun_together(store) == 1


def test_without_the_lock_both_would_be_active(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_lock_queue", lambda *_: None)
    assert begun_together(store) == 2


def test_in_many_attempts_there_is_never_more_than_one_active_run(store: Store) -> None:
    older, younger = queued(store), queued(store)
    for _ in range(ATTEMPTS):
        update_run(store, older, status="crashed")
        update_run(store, younger, status="queued")
        barrier = threading.Barrier(2)

        def resume(barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            update_run(store, older, status="queued")
            begin_if_first(store, older)

        def begin(barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            begin_if_first(store, younger)

        threads = [threading.Thread(target=each) for each in (resume, begin)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(runs(store, ACTIVE)) <= 1


def test_queues_of_two_hosts_do_not_wait_for_one_another(store: Store) -> None:
    one, other = queued(store, "a"), queued(store, "b")
    assert begin_if_first(store, one)
    assert begin_if_first(store, other)
