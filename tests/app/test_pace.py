"""Texts of progress and remaining time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st

from orl_explorer.app.pages import pace
from orl_explorer.db.models import Run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that tests can set, in seconds."""
    times = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: times[0])
    monkeypatch.setattr(st, "session_state", {})
    yield times


def test_the_speed_is_that_since_the_first_look_at_a_part(clock: list[float]) -> None:
    assert pace.told("a", "Embedding", 10, 1_510) == "Embedding: 10 of 1,510"
    clock[0] += 1
    assert pace.told("a", "Embedding", 20, 1_510) == "Embedding: 20 of 1,510"  # too early to tell
    clock[0] += 3
    assert pace.told("a", "Embedding", 30, 1_510) == "Embedding: 30 of 1,510 · 5.0 per second · 5 min left in phase"
    assert pace.told("b", "Embedding", 30, 1_510) == "Embedding: 30 of 1,510"  # something else, seen for the first time
    clock[0] += 4
    assert pace.told("a", "Matching", 3, 8) == "Matching: 3 of 8"  # another part
    clock[0] += 4
    assert pace.told("a", "Matching", 8, 8) == "Matching: 8 of 8"
    clock[0] += 4
    assert pace.told("a", "Matching", 2, 8) == "Matching: 2 of 8"  # begun anew


def test_a_run_says_its_phase_or_that_it_waits(clock: list[float]) -> None:
    run = Run(id=3, status="queued", phase="", progress=0, total=0)
    assert pace.told_of_run(run) == "Queued"
    run.status = "running"
    assert pace.told_of_run(run) == "Starting"
    run.phase, run.total = "Embedding <b>RoIs</b>", 100
    assert pace.told_of_run(run) == r"Embedding \<b\>RoIs\</b\>: 0 of 100"
    clock[0] += 10
    run.progress = 50
    assert pace.told_of_run(run).endswith(": 50 of 100 · 5.0 per second · 10 s left in phase")
    run.status = "cancelled"
    assert pace.told_of_run(run).endswith(": 50 of 100")  # nothing is left of what has ended
