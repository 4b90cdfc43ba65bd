"""The gate and what a real Chromium makes of its headers and cookies. A small server stands for the explorer's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orl_explorer.train.workspace import Workspace
from tests.app.guarded import behind_the_gate
from tests.app.provider import answering, provided


@contextmanager
def served(app: ASGIApp) -> Iterator[int]:
    """Serve an application on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        with answering(listening, app):
            yield listening.getsockname()[1]


def page_with(markup: str) -> Starlette:
    """A site of one page."""
    return Starlette(routes=[Route("/", lambda _: HTMLResponse(markup))])


def test_the_way_to_the_provider_and_back_is_open(workspace: Workspace, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    with ExitStack() as stack:
        provider = stack.enter_context(provided())
        app = behind_the_gate(workspace, password="open sesame", **provider.access())
        port = stack.enter_context(served(app))  # localhost: another site than that of the provider, 127.0.0.1
        page.goto(f"http://localhost:{port}/pair")
        page.get_by_role("link", name="Log in with 127.0.0.1").click()
        expect(page).to_have_url(f"http://localhost:{port}/pair")
        expect(page.get_by_text("the photos")).to_be_visible()
        page.goto(f"http://localhost:{port}/logout")
        page.get_by_label("Password").fill("open sesame")
        page.keyboard.press("Enter")
        expect(page.get_by_text("the photos")).to_be_visible()
    assert not [words for words in said if "Policy" in words]


@pytest.mark.parametrize(("name", "host"), [("another port", "localhost"), ("another site", "127.0.0.1")])
def test_a_page_of_another_service_gets_no_picture_but_may_link(
    workspace: Workspace, page: Page, name: str, host: str
) -> None:
    answers: list[tuple[str, int]] = []
    app = behind_the_gate(workspace)

    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        async def said(message: Message) -> None:
            if message["type"] == "http.response.start":
                answers.append((scope["path"], message["status"]))
            await send(message)

        await app(scope, receive, said)

    with served(recorded) as port:
        there = f"http://localhost:{port}"
        picture, frame = f'<img src="{there}/app/static/photo/1/320">', f'<iframe src="{there}/"></iframe>'
        foreign = page_with(f'{picture}{frame}<a href="{there}/">go</a>')
        with served(foreign) as other:
            page.goto(f"http://{host}:{other}/")
            assert sorted(answers) == [("/", 403), ("/app/static/photo/1/320", 403)]
            page.get_by_role("link", name="go").click()
            expect(page.get_by_text("the photos")).to_be_visible()
