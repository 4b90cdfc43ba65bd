"""Sessions of people who are logged in: signed cookies, and the ids of sessions that were ended."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import time
from pathlib import Path

from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from orl_explorer.app.explorer.paths import VARIABLE
from orl_explorer.app.server.access import Access
from orl_explorer.app.server.asked import host_of, scheme_of
from orl_explorer.app.server.base_path import base_path, under
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.workspace import Workspace

SECRET = ".session-secret"  # in the workspace: signs the cookies
ENDED = ".ended-sessions.json"  # in the workspace: when each session was ended, in seconds since 1970
LASTS = 14 * 24 * 3600  # seconds that a login lasts
LOG = logging.getLogger(__name__)


def session_secret(workspace: Workspace, access: Access) -> str:
    """Return the key that signs cookies. It survives restarts, and changes with the password or the provider.

    It also changes with what people may do here: with an invented password, a cookie of a read-only explorer would open
    another one of the same workspace.
    """
    path = workspace.path / SECRET
    try:
        if not path.is_file() and not workspace.store.read_only:
            publish(lambda file: file.write(secrets.token_bytes(32)), path, mode=0o600)
        kept = path.read_bytes()
    except (UserError, OSError):  # nothing may be written: people log in again after a restart
        kept = secrets.token_bytes(32)
    rights = ("read-only" if workspace.store.read_only else "", os.environ.get(VARIABLE, ""))
    return hashlib.sha256(kept + "\0".join((access.key, *rights)).encode("utf-8", "surrogateescape")).hexdigest()


def cookie_name(asked: HTTPConnection, secure: bool) -> str:
    """Return the name of the cookie of one explorer. Cookies ignore ports: others on the same host need other names.

    The port is that of the address in the browser, as two containers may both listen on 8501. The prefix lets no other
    page set such a cookie: ``__Host-`` needs the path /.
    """
    host, base = host_of(asked), base_path()
    prefix = ("__Secure-" if base else "__Host-") if secure else ""
    return f"{prefix}orl_session{f'_{host[1]}' if host and host[1] else ''}{base.replace('/', '_')}"


class Sessions:
    """Middleware: ``SessionMiddleware`` with a cookie that fits the address of each request."""

    def __init__(self, app: ASGIApp, secret: str, url: str) -> None:
        self.app, self.secret, self.https = app, secret, url.startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        secure = self.https or scheme_of(asked) == "https"
        session = SessionMiddleware(
            self.app,
            secret_key=self.secret,
            session_cookie=cookie_name(asked, secure),
            max_age=LASTS,
            path=under("/"),
            same_site="lax",
            https_only=secure,
        )
        await session(scope, receive, send)


class EndedSessions:
    """The ids of sessions that were ended by logging out, until their cookies would have expired anyway.

    They are kept in the workspace. If it is read-only, they last as long as the server.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._path = None if workspace.store.read_only else workspace.path / ENDED
        self._ended = _read(self._path)

    def __contains__(self, session: object) -> bool:
        """Whether a session was ended."""
        return session in self._ended

    def add(self, session: str) -> None:
        """End a session."""
        now = time.time()
        known = _read(self._path) | self._ended | {session: now}  # another server may serve the same workspace
        self._ended = {one: at for one, at in known.items() if now - at <= LASTS}
        if self._path is None:
            return
        try:
            publish(lambda file: file.write(json.dumps(self._ended).encode()), self._path, mode=0o600)
        except UserError as problem:
            LOG.warning("A session that was ended opens again after a restart. %s", problem)


def _read(path: Path | None) -> dict[str, float]:
    if path is None or not path.exists():
        return {}
    try:
        return {str(session): float(at) for session, at in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):  # damaged by hand
        LOG.warning("Cannot read %s: sessions that were ended open again.", path)
        return {}


def new_session_id() -> str:
    """Return a random id of a session."""
    return secrets.token_urlsafe(12)
