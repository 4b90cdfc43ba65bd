"""``orl explore --dev`` notices changes of files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import streamlit as st

from orl_explorer.app.cli import dev
from orl_explorer.app.components import bundle


def test_the_stamp_of_a_module_is_when_it_was_changed() -> None:
    path = Path(dev.__file__).resolve()
    assert dev.stamps()[path] == path.stat().st_mtime_ns
    assert {path.suffix for path in dev.stamps()} == {".py"}


def test_the_server_is_started_anew_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    started.touch()

    def stamps() -> dict[Path, int]:
        """The server's own output is the change. After the second one the user stops it."""
        if started.stat().st_size == 2:
            raise KeyboardInterrupt
        return {started: started.stat().st_size}

    monkeypatch.setattr(dev, "stamps", stamps)
    monkeypatch.setattr(dev.signal, "signal", lambda *_: None)
    program = f"import pathlib, time; pathlib.Path({str(started)!r}).open('a').write('x'); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        dev.serve([sys.executable, "-c", program], os.environ)
    assert started.read_text() == "xx"


def test_a_component_is_read_when_it_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[tuple[str, str]] = []

    def component(name: str, *, html: str, css: str, js: str) -> object:
        registered.append((css, js.splitlines()[-1]))
        return lambda **mounted: mounted

    monkeypatch.setattr(st.components.v2, "component", component)
    monkeypatch.setattr(bundle, "_APP", tmp_path)
    monkeypatch.setenv("ORL_DEV", "1")
    drawn = bundle.registered("a", "view", "<div></div>")
    assert registered == []
    (tmp_path / "view.js").write_text("export default 1;\n")
    for rule in ("a {\n}\n", "b {\n}\n"):
        (tmp_path / "view.css").write_text(rule)
        assert drawn(key="k", data=1) == {"key": "k", "data": 1}
    assert [css for css, _ in registered] == ["a {\n}\n", "b {\n}\n"]
    assert registered[0][1] != registered[1][1]  # the script runs for the new style's root
