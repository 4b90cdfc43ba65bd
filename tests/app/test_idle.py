"""Work of the explorer while nobody waits for it."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import psutil
import pytest

from orl_explorer.app.server import idle
from orl_explorer.app.server.idle import compile_search_later
from tests.loops import in_own_loop


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "PAUSE", 0.0)
    monkeypatch.setattr(idle, "can_compile", lambda: True)


def compiler(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> None:
    monkeypatch.setattr(idle, "COMPILER", [sys.executable, "-c", program, *arguments])


def test_the_search_is_compiled_without_the_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORL_PASSWORD", "open sesame")
    told = "import os, sys; open(sys.argv[1], 'w').write(str('ORL_PASSWORD' in os.environ))"
    compiler(monkeypatch, told, str(tmp_path / "told"))
    in_own_loop(compile_search_later())
    assert (tmp_path / "told").read_text() == "False"


def test_what_is_compiled_already_starts_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(idle, "can_compile", lambda: False)
    compiler(monkeypatch, "open(sys.argv[1], 'w')", str(tmp_path / "told"))
    in_own_loop(compile_search_later())
    assert not (tmp_path / "told").exists()


def test_the_compiler_ends_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(monkeypatch, "import time; time.sleep(60)")
    before = {child.pid for child in psutil.Process().children()}

    async def stopped() -> set[int]:
        task = asyncio.create_task(compile_search_later())
        began = time.monotonic()
        while not (started := {child.pid for child in psutil.Process().children()} - before):
            assert time.monotonic() < began + 30
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return started

    [pid] = in_own_loop(stopped())
    assert not psutil.pid_exists(pid)


def test_what_modules_have_loaded_is_set_aside_once_and_garbage_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(idle, "COLLECT", 0.01)
    monkeypatch.setattr(idle.gc, "collect", lambda: done.append("collected"))
    monkeypatch.setattr(idle.gc, "freeze", lambda: done.append("set aside"))
    monkeypatch.setattr(idle.sys, "modules", {})

    async def collect() -> None:
        work = asyncio.create_task(idle.collect_garbage())
        while len(done) < 4:
            await asyncio.sleep(0.01)
        idle.sys.modules["new"] = asyncio
        while "set aside" not in done:
            await asyncio.sleep(0.01)
        work.cancel()

    in_own_loop(collect())
    assert done[:4] == ["collected"] * 4
    assert done[-2:] == ["collected", "set aside"]
