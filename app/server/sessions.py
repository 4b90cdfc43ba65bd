"""Sessions of people who are logged in: signed cookies, and the ids of sessions that were ended."""

from __future__ import annotations

import hashlib
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

FOLDER = "ORL_SESSIONS"  # environment variable: the folder of the two below, if not the workspace
SECRET = ".session-secret"  # signs the cookies
ENDED = ".ended-sessions"  # a folder with an empty file for each session that was ended
LASTS = 14 * 24 * 3600  # seconds that a login lasts
LOG = logging.getLogger(__name__)


def shared_by_servers(workspace: Workspace) -> Path | None:
    """Return the folder that all servers of a workspace share and may write to, or None: then each is on its own."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else None if workspace.store.read_only else workspace.path


def session_secret(workspace: Workspace, access: Access) -> str:
    """Return the key that signs cookies. It survives restarts, and changes with the password or the provider.

    It also changes with what people may do here: with an invented password, a cookie of a read-only explorer would open
    another one of the same workspace.
    """
    folder, path = shared_by_servers(workspace), workspace.path / SECRET
    try:
        if folder is not None and not path.is_file():
            path = folder / SECRET
            if not path.is_file():
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

    Each has a file in the workspace, which all servers of the workspace look for, so that a session is over for all of
    them at once. Where nothing may be written, it is over for this server, until it ends.
    """

    def __init__(self, workspace: Workspace) -> None:
        folder = shared_by_servers(workspace)
        self._folder = None if folder is None else folder / ENDED
        self._here: set[str] = set()  # ended by this server

    def __contains__(self, session: str) -> bool:
        """Whether a session was ended."""
        return session in self._here or (self._folder is not None and (self._folder / session).exists())

    def add(self, session: str) -> None:
        """End a session."""
        self._here.add(session)
        if self._folder is None:
            return
        try:
            self._folder.mkdir(0o700, exist_ok=True)
            (self._folder / session).touch(0o600)
            for one in self._folder.iterdir():
                if time.time() - one.stat().st_mtime > LASTS:
                    one.unlink(missing_ok=True)
        except OSError as problem:
            LOG.warning("A session that was ended opens again after a restart: %s", problem)


def new_session_id() -> str:
    """Return a random id of a session, which is also the name of a file."""
    return secrets.token_urlsafe(12)
