"""Security headers of all responses."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orl_explorer.app.server.asked import host_of, scheme_of
from orl_explorer.app.server.sessions import LASTS

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
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
# As long as a login: a browser that is used remembers it, and a mistake heals.
STRICT_TRANSPORT = {b"strict-transport-security": f"max-age={LASTS}".encode()}


class SecurityHeaders:
    """Middleware that adds security headers to all responses. url: the public address of the server, if it has one."""

    def __init__(self, app: ASGIApp, url: str = "") -> None:
        self.app, self.host = app, host_of_its_own(url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""

        more = STRICT_TRANSPORT if scope["type"] == "http" and self._may_demand_tls(HTTPConnection(scope)) else {}

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] += [(n, v) for n, v in (HEADERS | more).items() if n not in present]
            await send(message)

        await self.app(scope, receive, careful if scope["type"] == "http" else send)

    def _may_demand_tls(self, asked: HTTPConnection) -> bool:
        host = host_of(asked)
        return bool(self.host) and host == (self.host, None) and scheme_of(asked) == "https"


def host_of_its_own(url: str) -> str:
    """Return the host name of a public address over TLS if nothing but the explorer is there; "" otherwise.

    Strict-Transport-Security counts for all ports and paths of a host name: it would lock people out of other services
    that have no TLS. So the address must be without port and path, and not of this machine.
    """
    parts = urlsplit(url)
    name = (parts.hostname or "").lower()
    alone = parts.scheme == "https" and parts.port in (None, 443) and parts.path in ("", "/")
    is_name = (
        "." in name and ":" not in name and not name.replace(".", "").isdigit()
    )  # browsers ignore it for addresses
    return name if alone and is_name and not name.endswith(".localhost") else ""
