"""The explorer under strangers, hostile names, locks, deletions and restarts."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from orl_explorer.app.explorer.author import author
from orl_explorer.db.people.verdicts import verdicts_of
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.browser.conftest import IDLE, Serve, Served, patient_context

PAGES = ("", "matches", "pair", "tune", "compare", "attention", "map", "sets", "train")
HOSTILE = '<img src=x onerror="document.title=1">*`$x$`.jpg'


@pytest.fixture(scope="module")
def copied(mined_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that copies the mined demo."""

    def copy() -> Path:
        folder = tmp_path_factory.mktemp("safety") / "workspace"
        shutil.copytree(mined_workspace.path, folder)
        return folder

    return copy


@pytest.fixture
def restartable(copied: Callable[[], Path], tmp_path: Path) -> Iterator[tuple[Served, Workspace]]:
    """A server that a test may stop and restart."""
    folder = copied()
    served = Served(folder, ("--no-login",), tmp_path / "log.txt")
    yield served, open_workspace(folder)
    served.end()


def go(page: Page, address: str) -> None:
    """Open a page and wait until its script has run."""
    page.goto(address)
    page.locator(IDLE).wait_for()


def test_a_server_for_others_prints_a_password_and_asks_for_it(
    copied: Callable[[], Path], page: Page, tmp_path: Path
) -> None:
    served = Served(copied(), ("--host", "0.0.0.0"), tmp_path / "log.txt")
    try:
        found = re.search(r"Password: (\S+)", served.log.read_text())
        assert found is not None
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{served.address}/app/static/photo/1/320")
        page.goto(f"{served.address}/pair?q=3")
        page.get_by_label("Password").fill(found[1])
        page.keyboard.press("Enter")
        expect(page.locator(".stage-svg")).to_be_visible()
        expect(page).to_have_url(re.compile(r"/pair\?q=3"))
        page.get_by_role("link", name="Log out").click()
        expect(page).to_have_url(f"{served.address}/login")
        page.goto(f"{served.address}/login?token={found[1]}&next=%2Fpair%3Fq%3D4")
        expect(page.locator(".stage-svg")).to_be_visible()
        expect(page).to_have_url(re.compile(r"/pair\?q=4"))
        assert found[1] not in page.evaluate("document.referrer + location.href")
    finally:
        served.end()


def test_a_socket_from_a_page_elsewhere_is_refused(restartable: tuple[Served, Workspace]) -> None:
    def status(origin: str) -> str:
        with socket.create_connection(("127.0.0.1", restartable[0].port), timeout=20) as connection:
            headers = {
                "Host": f"127.0.0.1:{restartable[0].port}",
                "Origin": origin,
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            }
            lines = ["GET /_stcore/stream HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            return connection.recv(64).split(b" ")[1].decode()

    assert status("http://elsewhere.example") == "403"
    assert status(restartable[0].address) == "101"


def test_a_read_only_explorer_offers_nothing_that_changes_or_runs(
    copied: Callable[[], Path], serve: Serve, careful: Page
) -> None:
    page, address = careful, serve(copied(), "--read-only")
    for name in PAGES:
        go(page, f"{address}/{name}?q=3")
        expect(page.get_by_text("Correspondence set").first).to_be_visible()
        for label in ("Launch", "Regenerate", "Mine", "Add photos", "Stop", "Resume", "Delete", "Rename", "Build"):
            expect(page.get_by_role("button", name=re.compile(label))).to_have_count(0)
    go(page, f"{address}/pair?q=3")
    expect(page.locator(".stage-svg")).to_be_visible()
    expect(page.locator("[aria-label*='wrong' i]")).to_have_count(0)
    expect(page.get_by_role("link", name="Log out")).to_have_count(0)  # nobody had to log in


def test_a_hostile_file_name_is_shown_as_text(serve: Serve, careful: Page, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (200, 150), "teal").save(folder / HOSTILE, "JPEG")
    workspace = open_workspace(tmp_path / "workspace")
    ingest(workspace, folder, name="<b>bold</b> [a](javascript:alert)")
    workspace.store.close()
    page = careful
    go(page, serve(workspace.path))
    expect(page.locator(".tile").first).to_contain_text(HOSTILE)
    expect(page.get_by_text("<b>bold</b> [a](javascript:alert)").first).to_be_visible()
    expect(page).to_have_title(re.compile("ORL Explorer"))
    assert page.locator("a[href^='javascript']").count() == 0


def test_two_people_look_at_once_and_each_keeps_what_is_theirs(
    copied: Callable[[], Path], serve: Serve, browser: Browser
) -> None:
    address = serve(copied())
    people = [patient_context(browser, 1400, 900).new_page() for _ in range(2)]
    for number, page in enumerate(people):
        page.goto(f"{address}/pair?set=demo-starter&q={number + 3}")
    for number, page in enumerate(people):
        expect(page.get_by_text(f"images/scene-{number + 2:03d}.jpg")).to_be_visible()
    people[0].keyboard.press("ArrowRight")
    expect(people[0].get_by_text("images/scene-003.jpg")).to_be_visible()
    expect(people[1]).to_have_url(re.compile("q=4"))
    for page in people:
        page.context.close()


def test_a_set_that_is_deleted_while_it_is_shown_makes_way(
    restartable: tuple[Served, Workspace], careful: Page
) -> None:
    from sqlalchemy import delete

    from orl_explorer.db.models import CorrespondenceSet

    served, workspace = restartable
    page = careful
    go(page, f"{served.address}/pair?q=3")
    expect(page.locator(".stage-svg")).to_be_visible()
    with workspace.store.session() as session:
        session.execute(delete(CorrespondenceSet))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("Mine correspondences")).to_be_visible()


def test_a_verdict_waits_for_a_store_that_is_locked_for_seconds(
    restartable: tuple[Served, Workspace], careful: Page
) -> None:
    served, workspace = restartable
    page = careful
    go(page, f"{served.address}/pair?set=demo-starter&q=3")
    expect(page.locator(".stage-svg")).to_be_visible()
    locked = threading.Event()

    def hold() -> None:
        with workspace.store.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(3)

    holding = threading.Thread(target=hold)
    holding.start()
    locked.wait()
    page.keyboard.press("1")
    page.keyboard.press("x")
    holding.join()
    deadline = time.monotonic() + 20
    while not (given := verdicts_of(workspace.store, 3, author())) and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert list(given.values()) == ["wrong"]


def test_a_page_goes_on_when_its_server_was_restarted(restartable: tuple[Served, Workspace], page: Page) -> None:
    served, _ = restartable
    go(page, f"{served.address}/pair?set=demo-starter&q=3")
    expect(page.locator(".stage-svg")).to_be_visible()
    served.end()
    expect(page.get_by_text(re.compile("connect", re.IGNORECASE)).first).to_be_visible()
    served.start()
    expect(page.locator("[data-testid=stApp][data-test-connection-state=CONNECTED]")).to_be_visible()
    # The new session draws the page anew, from its address.
    page.locator("[data-test-script-state=running]").wait_for()
    page.locator(IDLE).wait_for()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("images/scene-003.jpg")).to_be_visible()
