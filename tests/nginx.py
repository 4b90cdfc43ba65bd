"""A real nginx with a configuration of the documents, in front of explorers on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WHOLE = """
daemon off; worker_processes 1; pid nginx.pid; error_log error.log; {user}
events {{}}
http {{
    access_log access.log; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u;
    scgi_temp_path s;
    {http}
    server {{ listen 127.0.0.1:{port}; {server} }}
}}
"""


def program() -> str:
    """Return the path of nginx. It may be where only root looks for programs."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, "This test needs nginx. Install it with: apt-get install nginx"
    return found


@contextmanager
def proxied(folder: Path, port: int, health: str, server: str, http: str = "") -> Iterator[str]:
    """Run nginx on a port until the block ends, and yield its address. health: a path that it forwards.

    http, server: what is in these blocks of its configuration.
    """
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(WHOLE.format(user=user, port=port, server=server, http=http))
    nginx = subprocess.Popen([program(), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"])
    try:
        _wait(f"http://127.0.0.1:{port}{health}", nginx)
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait(15)


def _wait(address: str, nginx: subprocess.Popen) -> None:
    for _ in range(100):
        assert nginx.poll() is None
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("nginx does not answer")
