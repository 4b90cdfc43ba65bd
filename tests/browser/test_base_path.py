"""The explorer behind a real nginx that forwards one path, with the configuration of docs/serve.md."""

from __future__ import annotations

import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from orl_explorer.train.workspace import Workspace
from tests import nginx
from tests.browser.conftest import IDLE, Served, free_port, saved_figure

SNIPPET = re.search(r"```nginx\n(.*?)```", Path(__file__).parents[2].joinpath("docs/serve.md").read_text(), re.DOTALL)


@dataclass
class Proxy:
    """An nginx in front of an explorer with a password, and the paths that a page has asked for."""

    address: str
    asked: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Record the path of each request and socket that a page makes of this proxy."""

        def add(url: str) -> None:
            if not url.startswith(("data:", "blob:")):
                self.asked.append(urlsplit(url).path)

        page.on("request", lambda request: add(request.url))
        page.on("websocket", lambda socket: add(socket.url))


@pytest.fixture(scope="module")
def proxied(mined_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """An explorer at /orl behind nginx."""
    assert SNIPPET is not None
    folder = tmp_path_factory.mktemp("nginx")
    shutil.copytree(mined_workspace.path, folder / "workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORL_PASSWORD", "open sesame")
        served = Served(folder / "workspace", ("--base-path", "orl/"), folder / "log.txt")
    try:
        location = SNIPPET[1].replace("8501", str(served.port))
        with nginx.proxied(folder, free_port(), "/orl/_stcore/health", location) as address:
            yield Proxy(address)
    finally:
        served.end()


def opened(page: Page, address: str) -> None:
    """Open a page, log in if the form appears, and wait until its script has run."""
    page.goto(address)
    if page.get_by_label("Password").count():
        page.get_by_label("Password").fill("open sesame")
        page.keyboard.press("Enter")
    page.locator(IDLE).wait_for()


def pictures_load(page: Page, images: str) -> None:
    """Wait until the pictures that a selector names have loaded, at least one."""
    page.locator(images).first.wait_for()
    page.wait_for_function(
        """() => { const all = [...document.querySelectorAll("img")].filter((i) => i.loading !== "lazy");
                   return all.every((i) => i.complete && i.naturalWidth > 0); }"""
    )


def test_every_request_of_every_page_is_below_the_path(proxied: Proxy, careful: Page) -> None:
    page = careful
    proxied.watch(page)
    for name in ("", "matches", "pair?q=3", "tune", "compare", "attention", "map", "sets", "train"):
        opened(page, f"{proxied.address}/orl/{name}")
        expect(page.get_by_text("Correspondence set").first).to_be_visible()
        pictures_load(page, "img")
        expect(page.get_by_text("There was an error")).to_have_count(0)
    outside = [path for path in proxied.asked if not path.startswith("/orl/")]
    assert outside == []
    for part in ("/photo/", "/crop/", "/_stcore/stream", "/favicon", "/static/"):
        assert [path for path in proxied.asked if part in path], part


def test_a_deep_link_leads_through_the_login_and_survives_a_reload(proxied: Proxy, page: Page) -> None:
    page.goto(f"{proxied.address}/orl/pair?q=3")
    expect(page).to_have_url(f"{proxied.address}/orl/login?next=%2Forl%2Fpair%3Fq%3D3")
    opened(page, f"{proxied.address}/orl/pair?q=3")
    expect(page.locator(".stage-svg")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/orl/pair\?q=3"))
    page.reload()
    expect(page.locator(".stage-svg")).to_be_visible()
    name = f"orl_session_{urlsplit(proxied.address).port}_orl"
    [cookie] = [c for c in page.context.cookies() if c["name"] == name]
    assert cookie["path"] == "/orl/"
    page.goto(f"{proxied.address}/orl/logout")
    expect(page).to_have_url(f"{proxied.address}/orl/login")


def test_a_slider_a_saved_figure_and_an_export_work(proxied: Proxy, careful: Page) -> None:
    page = careful
    proxied.watch(page)
    opened(page, f"{proxied.address}/orl/pair?q=3")
    expect(page.locator(".stage-svg")).to_be_visible()
    slider = page.get_by_role("slider").first
    before = page.url
    slider.focus()
    slider.press("ArrowRight")
    page.wait_for_function("before => location.href !== before", arg=before)
    page.locator(IDLE).wait_for()
    assert page.url.startswith(f"{proxied.address}/orl/pair?")
    assert all(picture.startswith("data:image/") for picture in saved_figure(page).pictures)
    opened(page, f"{proxied.address}/orl/sets")
    link = page.locator("a[href*='/api/export/']").first
    assert (link.get_attribute("href") or "").startswith("/orl/api/export/")
    cookies = "; ".join(f"{c['name']}={c['value']}" for c in page.context.cookies())
    request = urllib.request.Request(proxied.address + (link.get_attribute("href") or ""), headers={"Cookie": cookies})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert len(answer.read()) > 100
    assert [path for path in proxied.asked if not path.startswith("/orl/")] == []


def test_the_proxy_forwards_nothing_else(proxied: Proxy) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{proxied.address}/_stcore/health", timeout=5)
