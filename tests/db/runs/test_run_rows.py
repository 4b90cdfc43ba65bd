"""Runs and metrics in the store: the queue, and metrics of a repeated step."""

from __future__ import annotations

import threading

import pytest

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import (
    ACTIVE,
    add_metrics,
    add_run,
    begin_if_first,
    find_run,
    latest_metrics,
    metrics,
    run_by_id,
    runs,
    update_run,
)
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.workspace import Workspace


@pytest.fixture
def store(workspace: Workspace) -> Store:
    return workspace.store


def queued(store: Store, device: str = "cpu") -> int:
    return add_run(store, Run(kind="mine", name="set", params={}, device=device)).id


def test_a_new_run_waits_and_knows_where_its_log_is(store: Store) -> None:
    run = run_by_id(store, queued(store))
    assert (run.status, run.log_path, run.pid) == ("queued", "runs/1/log.txt", None)


def test_runs_begin_in_the_order_they_were_queued_one_at_a_time(store: Store) -> None:
    first, second, third = queued(store), queued(store), queued(store)
    assert not begin_if_first(store, second)
    assert begin_if_first(store, first)
    assert not begin_if_first(store, first)  # it runs already
    assert not begin_if_first(store, second)
    update_run(store, first, status="done")
    assert not begin_if_first(store, third)
    assert begin_if_first(store, second)
    update_run(store, second, status="stopping")
    assert not begin_if_first(store, third)  # the second still holds the device
    update_run(store, second, status="cancelled")
    assert begin_if_first(store, third)
    assert run_by_id(store, third).started_at is not None


def test_devices_have_a_queue_each(store: Store) -> None:
    on_cpu, on_gpu, also_on_gpu = queued(store), queued(store, "cuda:0"), queued(store, "cuda:0")
    assert begin_if_first(store, on_cpu)
    assert begin_if_first(store, on_gpu)
    assert not begin_if_first(store, also_on_gpu)


@pytest.mark.parametrize("attempt", range(5))
def test_of_two_that_begin_at_the_same_moment_only_one_does(store: Store, attempt: int) -> None:
    ids = [queued(store), queued(store)]
    barrier = threading.Barrier(2)
    begun: list[int] = []

    def begin(run: int) -> None:
        barrier.wait()
        for _ in range(10):
            if begin_if_first(store, run):
                begun.append(run)

    threads = [threading.Thread(target=begin, args=(run,)) for run in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == ids[:1]
    assert [run_by_id(store, i).status for i in ids] == ["running", "queued"]


def test_a_change_can_depend_on_the_status(store: Store) -> None:
    run = queued(store)
    assert not update_run(store, run, only_if=ACTIVE, status="done")
    assert update_run(store, run, only_if=("queued",), status="cancelled")
    assert run_by_id(store, run).status == "cancelled"
    assert not update_run(store, 99, status="done")


def test_runs_are_listed_newest_first_and_by_status(store: Store) -> None:
    first, second = queued(store), queued(store)
    update_run(store, first, status="done")
    assert [r.id for r in runs(store)] == [second, first]
    assert [r.id for r in runs(store, ("done",))] == [first]


def test_a_run_that_does_not_exist_is_named(store: Store) -> None:
    assert find_run(store, 7) is None
    with pytest.raises(StoreError, match="There is no run 7. See `orl runs list`"):
        run_by_id(store, 7)


def test_steps_that_a_resumed_run_repeats_replace_the_old_ones(store: Store) -> None:
    run = queued(store)
    add_metrics(store, run, [(1, "loss", 4.0), (2, "loss", 3.0), (3, "loss", 2.0), (3, "rate", 0.5)])
    add_metrics(store, run, [(2, "loss", 3.5)])
    assert metrics(store, run) == [(1, "loss", 4.0), (2, "loss", 3.5), (3, "rate", 0.5)]
    add_metrics(store, run, [(3, "loss", 2.5), (3, "rate", 0.4)])
    assert metrics(store, run, after=2) == [(3, "loss", 2.5), (3, "rate", 0.4)]
    assert latest_metrics(store, run) == {"loss": 2.5, "rate": 0.4}


def test_metrics_of_another_run_are_left_alone(store: Store) -> None:
    one, two = queued(store), queued(store)
    add_metrics(store, one, [(5, "loss", 1.0)])
    add_metrics(store, two, [(1, "loss", 2.0)])
    add_metrics(store, two, [])
    assert metrics(store, one) == [(5, "loss", 1.0)]
    assert latest_metrics(store, two) == {"loss": 2.0}
