"""The explorer's server: Streamlit with picture routes and security headers. Run by ``orl explore``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orl_explorer.app.explorer.author import learn_people
from orl_explorer.app.explorer.opened import read_only, workspace
from orl_explorer.app.server import downloads
from orl_explorer.app.server.access import from_environment, gate
from orl_explorer.app.server.base_path import BasePath, base_path, under
from orl_explorer.app.server.people import People, logged_in
from orl_explorer.app.server.pictures import ROUTES
from orl_explorer.app.server.points import POINT_ROUTES
from orl_explorer.db.store import StoreError
from orl_explorer.train.jobs.launcher import reconcile

# Scripts, styles and pictures come only from this server, so injected contents cannot contact other hosts. Streamlit's
# own scripts are inline, its components are blobs, and Plotly compiles functions.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"referrer-policy": b"same-origin",
}
RECONCILE = 10.0  # seconds between checks for runs whose process has died


class SecurityHeaders:
    """Middleware that adds security headers to all responses."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] += [(n, v) for n, v in HEADERS.items() if n not in present]
            await send(message)

        await self.app(scope, receive, careful if scope["type"] == "http" else send)


@contextlib.asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """Update the states of runs, now and periodically: a run without a process has crashed."""
    await asyncio.to_thread(workspace)

    async def watch() -> None:
        while not read_only():
            with contextlib.suppress(
                StoreError
            ):  # the store is locked or the disk is full: try again at the next check
                await asyncio.to_thread(reconcile, workspace())
            await asyncio.sleep(RECONCILE)

    watching = asyncio.create_task(watch())
    try:
        yield {}
    finally:
        watching.cancel()


learn_people(logged_in)
app = st.App(
    str(Path(__file__).parents[1] / "pages" / "main.py"),
    routes=[Route(under(own.path), own.endpoint) for own in (*ROUTES, *POINT_ROUTES, *downloads.ROUTES)],
    middleware=[
        Middleware(SecurityHeaders),
        Middleware(BasePath, base=base_path()),
        *gate(workspace(), from_environment()),
        Middleware(People),
    ],
    lifespan=lifespan,
)
