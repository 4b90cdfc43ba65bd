"""A server with pages, a picture and a socket behind the gate. It stands for the explorer's, and starts at once."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from orl_explorer.app.server.access import Access
from orl_explorer.app.server.gate import gate
from orl_explorer.app.server.headers import SecurityHeaders
from orl_explorer.train.workspace import Workspace


async def shown(request: Request) -> PlainTextResponse:
    """A page or a picture."""
    return PlainTextResponse("the photos")


async def _socket(opened: WebSocket) -> None:
    await opened.accept()
    await opened.send_text("the photos")
    try:
        while True:
            await opened.send_text(await opened.receive_text())
    except WebSocketDisconnect:
        pass


def behind_the_gate(opened: Workspace, **asked: Any) -> Starlette:
    """Return a new server of the workspace. asked: fields of ``Access``."""
    routes: list = [Route(path, shown) for path in ("/", "/pair", "/app/static/photo/1/320", "/_stcore/health")]
    access = Access(**asked)
    headers = Middleware(SecurityHeaders, url=access.url)
    return Starlette(
        routes=[*routes, WebSocketRoute("/_stcore/stream", _socket)], middleware=[headers, *gate(opened, access)]
    )
