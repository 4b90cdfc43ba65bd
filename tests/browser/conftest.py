"""A real Chromium and a real server. Without a browser, these tests fail; they are not skipped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

HARNESS = Path(__file__).with_name("component_harness.py")
SVG = "{http://www.w3.org/2000/svg}"
PATIENCE = 120_000  # ms until an action or an expectation fails: a page that loads an encoder on a busy machine is slow
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"

Serve = Callable[..., str]

expect.set_options(timeout=PATIENCE)


def chromium_options() -> dict:
    """Return the options that launch an installed Chromium, or Playwright's own."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    arguments = {"args": ["--no-sandbox", "--disable-dev-shm-usage"]}
    return arguments | ({"executable_path": found} if found else {})


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict:
    """What pytest-playwright launches."""
    return chromium_options()


@pytest.fixture(scope="session")
def browser_context_args() -> dict:
    """A window wide enough to show the pair view's table beside the photos."""
    return {"viewport": {"width": 1600, "height": 1000}, "reduced_motion": "reduce"}


def patient_context(browser: Browser, width: int, height: int) -> BrowserContext:
    """Open a context of a size in pixels, whose actions are patient."""
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    return context


@pytest.fixture
def context(context: BrowserContext) -> BrowserContext:
    """A context whose actions are patient."""
    context.set_default_timeout(PATIENCE)
    return context


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Return a function that starts ``orl explore`` without a login: ``serve(path, *options) -> address``."""
    started: list[Served] = []

    def start(workspace: Path, *options: str) -> str:
        started.append(Served(workspace, ("--no-login", *options), tmp_path_factory.mktemp("server") / "log.txt"))
        return started[-1].address

    yield start
    for served in started:
        served.end()


class Served:
    """A server of ``orl explore`` and its output."""

    def __init__(self, workspace: Path, options: Sequence[str], log: Path, processes: int = 1) -> None:
        self.port, self.log = free_port(processes), log
        where = ["--workspace", str(workspace), "--port", str(self.port), "--processes", str(processes)]
        self.command = [sys.executable, "-m", "orl_explorer", "explore", *where, *options]
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start or restart the server, and wait until it answers."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=subprocess.STDOUT)
        wait_until_healthy(self.address, self.process, self.log)

    def end(self) -> None:
        """Ask the server to end, and wait for it."""
        self.process.terminate()
        self.process.wait(15)


def free_port(count: int = 1) -> int:
    """Return an unused port, which ``count`` - 1 other unused ones follow."""
    while True:
        with ExitStack() as probes:
            first = probes.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for following in range(port + 1, port + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", following))
            except (OSError, OverflowError):  # in use, or no port
                continue
            return port


def wait_until_healthy(address: str, server: subprocess.Popen, log: Path) -> None:
    """Block until a server answers. Fails with its log if it has ended."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"The server at {address} did not start:\n{log.read_text()}")


@dataclass
class SavedFigure:
    """A saved view: the name of its file, and the texts and pictures of an SVG."""

    name: str
    path: Path

    @property
    def root(self) -> ET.Element:
        return ET.parse(self.path).getroot()

    @property
    def words(self) -> list[str]:
        return [node.text or "" for node in self.root.iter(f"{SVG}text")]

    @property
    def pictures(self) -> list[str]:
        return [node.get("href") or "" for node in self.root.iter(f"{SVG}image")]


def saved_figure(page: Page, kind: str = "svg") -> SavedFigure:
    """Save the view by its menu."""
    page.get_by_role("button", name="Save or share this view").click()
    with page.expect_download() as waiting:
        page.locator(f"[data-save={kind}]").click()
    return SavedFigure(waiting.value.suggested_filename, Path(waiting.value.path()))


@pytest.fixture
def careful(page: Page) -> Iterator[Page]:
    """A page whose test fails on any script error or console error.

    Streamlit's own probes below a page's path answer 404 on a deep link; the browser reports those alone.
    """
    errors: list[str] = []
    probes: list[str] = []
    page.on("response", lambda r: probes.append(r.url) if r.status == 404 and "/_stcore/" in r.url else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(f"{m.text} {m.location}") if m.type == "error" else None)
    yield page
    unexplained = [e for e in errors if not ("404" in e and "/_stcore/" in e)]
    assert unexplained == []


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of the components with literal payloads."""
    port = free_port()
    options = {
        "server.headless": "true",
        "server.port": str(port),
        "server.address": "127.0.0.1",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    log = tmp_path_factory.mktemp("harness") / "log.txt"
    command = [sys.executable, "-m", "streamlit", "run", str(HARNESS), *(f"--{k}={v}" for k, v in options.items())]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def browsing(browser: Browser) -> Iterator[BrowserContext]:
    """One context for the module, whose cache keeps Streamlit's own files between tests."""
    context = patient_context(browser, 1500, 950)
    yield context
    context.close()


@pytest.fixture
def window(browsing: BrowserContext) -> Iterator[Page]:
    """A page that fails its test on any error in the console."""
    errors: list[str] = []
    page = browsing.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert errors == []
