"""Threads of one process share what it keeps: none of them leaves a wrong state to the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.runs.runs import add_run, metrics
from orl_explorer.train.encoders import weights
from orl_explorer.train.jobs import worker
from orl_explorer.train.jobs.worker import RunProgress
from orl_explorer.train.mining import cost
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features
from orl_explorer.train.remembered import computed_once
from orl_explorer.train.workspace import Workspace


def at_once(*actions: Callable[[], object]) -> None:
    """Perform actions in threads that start together, and wait for them."""
    together = threading.Barrier(len(actions))

    def act(action: Callable[[], object]) -> None:
        together.wait()
        action()

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_who_asks_for_the_same_waits_for_it_and_the_oldest_is_forgotten() -> None:
    made: list[int] = []

    @computed_once(2)
    def value(number: int) -> list[int]:
        made.append(number)
        time.sleep(0.05)
        return [number]

    found: list[list[int]] = []
    at_once(*[lambda: found.append(value(1))] * 6)
    assert made == [1]
    assert all(one is found[0] for one in found)
    assert [value(2), value(3), value(1)] == [[2], [3], [1]]
    assert made == [1, 2, 3, 1]


def test_who_has_seen_fewer_stored_rows_does_not_hide_those_that_came_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, shared = Embeddings(tmp_path, "rois", 1, "abc"), Embeddings(tmp_path, "rois", 1, "abc")
    writer.add([(np.array([1]), np.ones((1, 1), np.float32))])
    sort, has_read, more = np.argsort, threading.Event(), threading.Event()

    def sorts_slowly(keys: np.ndarray, **how: object) -> np.ndarray:
        if threading.current_thread().name == "slow":
            has_read.set()
            more.wait(1)
        return sort(keys, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "argsort", sorts_slowly)
    slow = threading.Thread(target=shared.refresh, name="slow")
    slow.start()
    assert has_read.wait(10)
    writer.add([(np.array([2]), np.ones((1, 1), np.float32))])
    fast = threading.Thread(target=shared.refresh)
    fast.start()
    fast.join(0.2)  # without a lock, it ends here
    more.set()
    for thread in (slow, fast):
        thread.join(10)
    shared.refresh()
    assert shared.have(np.array([1, 2])).tolist() == [True, True]


def test_one_network_is_loaded_at_a_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.add(workspace, "random:resnet18", "chance")
    row, loading, most = encoder_named(workspace.store, "chance"), 0, 0

    def load(*_: object) -> str:
        nonlocal loading, most
        loading += 1
        most = max(most, loading)
        time.sleep(0.05)
        loading -= 1
        return "network"

    monkeypatch.setattr(weights, "load_encoder", load)
    both = Features(workspace, row), Features(workspace, row, precision="fp32-onnx")
    at_once(*(lambda one=one: one.encoder for one in both))
    assert most == 1


def test_a_cost_that_could_not_be_counted_once_is_counted_when_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from orl_explorer.orl import operations

    def fails(*_: object) -> None:
        raise AttributeError("module 'transformers' has no attribute 'AutoConfig'")  # while another thread imports it

    encoder = Encoder(architecture="resnet34", kind="imported", reading=None)
    cost._counted.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(cost, "FORWARD", {cost.UNKNOWN: 99.0})
        patch.setattr(operations, "of_reading", fails)
        assert cost._operations(encoder)[0] == 99.0
    with monkeypatch.context() as patch:
        patch.setattr(cost, "FORWARD", {cost.UNKNOWN: 99.0})
        patch.setattr(operations, "of_reading", lambda *_: (2.0, 4.0, 2.0))
        assert cost._operations(encoder) == (2.0, 3.0, 2.0)
    cost._counted.cache_clear()


def test_metrics_are_written_in_the_order_of_their_steps(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BEAT", 3600.0)
    run = add_run(workspace.store, Run(kind="train", name="x", params={})).id
    progress, write, begun = RunProgress(workspace.store, run), worker.add_metrics, threading.Event()

    def writes_slowly(store: object, run_id: int, rows: list[tuple[int, str, float]]) -> None:
        if rows and rows[0][0] == 1:
            begun.set()
            time.sleep(0.2)
        write(store, run_id, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "add_metrics", writes_slowly)
    progress.metric(1, {"loss": 3.0})
    slow = threading.Thread(target=progress.flush)
    slow.start()
    assert begun.wait(10)
    progress.metric(2, {"loss": 2.0})
    progress.flush()
    slow.join(10)
    assert metrics(workspace.store, run) == [(1, "loss", 3.0), (2, "loss", 2.0)]
    progress.close()
