"""Twenty people at once on two processes of the explorer behind a real nginx, as docs/serve.md describes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from orl_explorer.train.workspace import Workspace
from tests import nginx
from tests.browser.conftest import Served, free_port

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/serve.md").read_text(), re.DOTALL)

pytestmark = pytest.mark.slow


def test_twenty_people_share_two_processes(
    mined_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(mined_workspace.path, tmp_path / "workspace")
    (tmp_path / "password").write_text("open sesame\n")
    monkeypatch.setenv("ORL_PASSWORD", "open sesame")
    served = Served(tmp_path / "workspace", ("--base-path", "orl"), tmp_path / "log.txt", processes=2)
    location, shared, more = (_at(block, served.port) for block in BLOCKS)
    location = re.sub(r"proxy_pass .*", more, location)
    try:
        with nginx.proxied(tmp_path, free_port(), "/orl/_stcore/health", location, shared) as address:
            command = ["benchmarks/load.py", "--address", f"{address}/orl", "--json", "--pid", str(served.process.pid)]
            options = ["--password-file", str(tmp_path / "password"), "--people", "20", "--rounds", "1", "--pause", "1"]
            done = subprocess.run(
                [sys.executable, *command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120
            )
            [cookie] = _cookies(f"{address}/orl/login")
    finally:
        served.end()
    assert done.stdout, done.stderr
    numbers = json.loads(done.stdout)
    assert (numbers["said"], done.returncode) == ([], 0), done.stderr
    assert numbers["actions"] == 20 * 9
    assert numbers["seconds"] < 40
    assert numbers["memory_end"] < 1.15 * numbers["memory_half"]
    log = (tmp_path / "log.txt").read_text()
    assert log.count("Login by password from 127.0.0.1.") == 20 + 8  # all, and those who warm up the processes
    assert re.fullmatch(r"orl_process=[0-9a-f]{32}; Path=/orl/; HttpOnly; SameSite=Lax", cookie)


def _at(block: str, port: int) -> str:
    return block.replace("8501", str(port)).replace("8502", str(port + 1))


def _cookies(address: str) -> list[str]:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return [c for c in answer.headers.get_all("Set-Cookie", []) if c.startswith("orl_process=")]
