"""One gate in front of pages, their sockets and all routes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from urllib.parse import quote

from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from orl_explorer.app.server.access import Access
from orl_explorer.app.server.asked import host_of, is_from_elsewhere, is_from_own_page, opens_a_page
from orl_explorer.app.server.base_path import HEALTH, base_path, under
from orl_explorer.app.server.door import CALLBACK, LOGIN, LOGOUT, Door, within
from orl_explorer.app.server.sessions import EndedSessions, Sessions, session_secret
from orl_explorer.train.workspace import Workspace

OPEN = HEALTH  # open to all: only tells that the server runs
LOOK = 2.0  # seconds between looks whether another server has ended the session of a socket


class Gate:
    """Middleware that passes requests and sockets to an accepted host name from people who are logged in.

    It needs ``Sessions`` around it, whose signed cookie identifies the person.
    """

    def __init__(self, app: ASGIApp, access: Access, ended: EndedSessions) -> None:
        self.app, self.access, self.ended = app, access, ended
        self._door = Door(access)
        self._sockets: defaultdict[str, set[asyncio.Event]] = defaultdict(set)  # of each session: set ends the socket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        path = scope.get("path", "").removeprefix(base_path())
        if scope["type"] not in ("http", "websocket") or path == OPEN:
            await self.app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        inside = not self.access.closed or self._is_inside(asked)
        if refused := self._refused(asked, path):
            await _answer(refused, scope, receive, send)
        elif scope["type"] == "http" and path == LOGOUT:
            await _answer(self._log_out(asked), scope, receive, send)
        elif inside and scope["type"] == "http" and path == LOGIN:  # the link was used before
            there = within(asked.query_params.get("next", "/"))
            await _answer(RedirectResponse(there, 303), scope, receive, send)
        elif inside and scope["type"] == "websocket" and self.access.closed:
            await self._until_logged_out(asked.session["id"], scope, receive, send)
        elif inside:
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and path in (LOGIN, CALLBACK):
            if self._is_over(asked):
                asked.session.clear()  # else its cookie would be signed anew, and outlive the note of its end
            await _answer(await self._door.answer(Request(scope, receive)), scope, receive, send)
        elif scope["type"] == "http" and "text/html" in asked.headers.get("accept", ""):
            there = asked.url.path + (f"?{asked.url.query}" if asked.url.query else "")
            await _answer(RedirectResponse(f"{under(LOGIN)}?next={quote(there, safe='')}", 303), scope, receive, send)
        else:
            await _answer(PlainTextResponse("Log in first.", 401), scope, receive, send)

    def _is_inside(self, asked: HTTPConnection) -> bool:
        return "person" in asked.session and "id" in asked.session and not self._is_over(asked)

    def _is_over(self, asked: HTTPConnection) -> bool:
        return "id" in asked.session and asked.session["id"] in self.ended

    def _refused(self, asked: HTTPConnection, path: str) -> Response | None:
        """Return the answer to a request that nobody may make, logged in or not."""
        host = host_of(asked)
        if host is None:
            return PlainTextResponse("Invalid Host header. Use the address that the explorer prints.", 400)
        if self.access.hosts and host[0] not in self.access.hosts:
            names = ", ".join(self.access.hosts)
            return PlainTextResponse(
                f"Unknown host name. This explorer accepts {names}. Add a name with --allow-host.", 400
            )
        if asked.scope["type"] == "websocket":
            own = is_from_own_page(asked, self.access.url)
        else:  # a link to a page may come from anywhere, but must not log anybody out
            own = not is_from_elsewhere(asked) or (opens_a_page(asked) and path != LOGOUT)
        return None if own else PlainTextResponse("Refused: another site's page made this request.", 403)

    def _log_out(self, asked: HTTPConnection) -> Response:
        """End the session: its cookie opens nothing more, its sockets close, and its browser forgets the photos.

        Clear-Site-Data "cookies" would also clear those of all other services of this host name.
        """
        if self._is_inside(asked):
            self.ended.add(asked.session["id"])
            for over in self._sockets.pop(asked.session["id"], ()):
                over.set()
        asked.session.clear()
        there = under(LOGIN if self.access.closed else "/")
        return RedirectResponse(there, 303, headers={"Clear-Site-Data": '"cache"', "Cache-Control": "no-store"})

    async def _until_logged_out(self, session: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a socket on. When its session ends, it closes, and the page's script is told that the browser left."""
        over = asyncio.Event()
        self._sockets[session].add(over)

        async def heard() -> Message:
            coming, ending = asyncio.ensure_future(receive()), asyncio.ensure_future(over.wait())
            try:
                while not over.is_set():
                    await asyncio.wait((coming, ending), timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                    if session in self.ended:
                        over.set()
                    elif coming.done():
                        return coming.result()
            finally:
                coming.cancel()
                ending.cancel()
            await send({"type": "websocket.close", "code": 1008})
            return {"type": "websocket.disconnect", "code": 1008}

        async def said(message: Message) -> None:
            if not over.is_set():
                await send(message)

        try:
            await self.app(scope, heard, said)
        finally:
            self._sockets[session].discard(over)
            if not self._sockets[session]:
                del self._sockets[session]


def gate(workspace: Workspace, access: Access) -> list[Middleware]:
    """Return the middleware: the gate, and the session cookies that it reads."""
    sessions = Middleware(Sessions, secret=session_secret(workspace, access), url=access.url)
    return [sessions, Middleware(Gate, access=access, ended=EndedSessions(workspace))]


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":  # policy violation; before the socket is accepted, a plain 403
        await WebSocketClose(code=1008)(scope, receive, send)
    else:
        await response(scope, receive, send)
