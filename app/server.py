"""The explorer's server: Streamlit with picture routes and security headers. Run by ``orl explore``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.pictures import ROUTES, workspace
from app.points import POINT_ROUTES
from train.runs import reconcile

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"referrer-policy": b"same-origin",
}
RECONCILE = 10.0  # seconds between looks for runs whose process has died


class SecurityHeaders:
    """Adds the headers that a browser needs to be careful with what people put into photos and names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] += [(n, v) for n, v in HEADERS.items() if n not in present]
            await send(message)

        await self.app(scope, receive, careful if scope["type"] == "http" else send)


@contextlib.asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """Adopt the runs that are alive and mark the dead ones, now and from time to time."""
    await asyncio.to_thread(workspace)

    async def watch() -> None:
        while True:
            await asyncio.to_thread(reconcile, workspace())
            await asyncio.sleep(RECONCILE)

    watching = asyncio.create_task(watch())
    try:
        yield {}
    finally:
        watching.cancel()


app = st.App(
    str(Path(__file__).with_name("main.py")),
    routes=ROUTES + POINT_ROUTES,
    middleware=[Middleware(SecurityHeaders)],
    lifespan=lifespan,
)
