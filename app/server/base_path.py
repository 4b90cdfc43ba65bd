"""The path under which a proxy publishes the explorer, such as ``/orl``, and the URLs below it."""

from __future__ import annotations

import os
import re
from functools import lru_cache

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from orl_explorer.train.errors import UserError

VARIABLE = "ORL_BASE_PATH"
OF_STREAMLIT = "STREAMLIT_SERVER_BASE_URL_PATH"  # means the same and is honoured
HEALTH = "/_stcore/health"  # a container's health check asks here, whatever the base path
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_TAKEN = ("static", "media", "component", "_stcore")  # Streamlit refuses routes below these


@lru_cache(maxsize=4)
def normal(given: str) -> str:
    """Return a base path with a slash before each name, "" for none. Raises UserError if a URL cannot have it."""
    names = given.removeprefix("/").removesuffix("/").split("/") if given.strip("/") else []
    if not all(_NAME.fullmatch(name) for name in names) or (names[:1] and names[0] in _TAKEN):
        raise UserError(
            f"Invalid value for the base path: '{given}'. Use names of letters, digits, '-', '_', '~' and '.', "
            f"such as /orl or /lab/orl; the first cannot be {', '.join(_TAKEN[:-1])} or {_TAKEN[-1]}."
        )
    return "".join(f"/{name}" for name in names)


def base_path() -> str:
    """Return the base path that the environment sets, "" for none. Raises UserError if it is invalid."""
    return normal(os.environ.get(VARIABLE, os.environ.get(OF_STREAMLIT, "")))


def under(path: str) -> str:
    """Return the URL of a path of this server, which begins with a slash."""
    return base_path() + path


class BasePath:
    """Middleware that leads to the base path. It answers what is not below it, except a health check."""

    def __init__(self, app: ASGIApp, base: str) -> None:
        self.app, self.base = app, base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or path.startswith(f"{self.base}/"):
            await self.app(scope, receive, send)
        elif path == HEALTH:
            await self.app({**scope, "path": self.base + path}, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(code=1008)(scope, receive, send)
        else:
            await self._elsewhere(path, scope["query_string"].decode("latin-1"))(scope, receive, send)

    def _elsewhere(self, path: str, query: str) -> Response:
        if path in ("/", self.base):
            return RedirectResponse(f"{self.base}/" + (f"?{query}" if query else ""), 307)
        return PlainTextResponse(f"Not found. This explorer is at {self.base}/.", 404)
