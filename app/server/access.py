"""Access control of the explorer: a password or single sign-on, and the accepted host names.

One gate protects everything: pages, their sockets and all routes. ``orl explore`` configures it through environment
variables.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote, urlsplit

from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from orl_explorer.app.server.base_path import HEALTH, base_path, under
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.workspace import Workspace

OPEN = HEALTH  # open to all: only tells that the server runs
LOGIN, CALLBACK, LOGOUT = "/login", "/login/callback", "/logout"
SECRET = ".session-secret"  # in the workspace: signs the session cookies
PAGE = Path(__file__).with_name("login.html")
ICON = Path(__file__).parents[1] / "pages" / "icon.svg"  # inside the page: a file of its own would need a login
DELAY = 1.0  # seconds of delay after a wrong password, one at a time for all clients
WAITING = 30  # guesses of the password that may wait
LOG = logging.getLogger(__name__)
MOST = 4096  # bytes of a login form at most
OIDC = ("ORL_OIDC_ISSUER", "ORL_OIDC_CLIENT_ID", "ORL_OIDC_CLIENT_SECRET")
VERIFIES = "ORL_OIDC_VERIFIES_EMAIL"
MEMBERS = 14 * 24 * 3600  # seconds that a login lasts


@dataclass(frozen=True)
class Access:
    """Requirements of the gate; by default none, for a server that listens only on this machine.

    password: shared by all people. issuer, client: of an OpenID Connect provider. people: e-mail addresses, or domains
    after an @, that may log in by it; empty for all accounts of the provider. verifies_email: whether the provider
    verifies all addresses, so that an address without a statement counts as verified. url: public address of the
    server behind a proxy, with its base path. hosts: accepted host names; empty for all.
    """

    password: str = ""
    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    people: tuple[str, ...] = ()
    url: str = ""
    hosts: tuple[str, ...] = ()
    verifies_email: bool = False

    @property
    def closed(self) -> bool:
        """Whether a login is required."""
        return bool(self.password or self.issuer)

    def environment(self) -> dict[str, str]:
        """Return the environment variables from which ``from_environment`` reads the same access."""
        return {
            "ORL_PASSWORD": self.password,
            **dict(zip(OIDC, (self.issuer, self.client_id, self.client_secret), strict=True)),
            "ORL_OIDC_PEOPLE": " ".join(self.people),
            "ORL_PUBLIC_URL": self.url,
            "ORL_HOSTS": " ".join(self.hosts),
            VERIFIES: str(int(self.verifies_email)),
        }


def from_environment() -> Access:
    """Read access from environment variables. Raises UserError if a setting of OpenID Connect is missing."""
    found = [os.environ.get(name, "") for name in OIDC]
    if any(found) and not all(found):
        missing = [name for name, value in zip(OIDC, found, strict=True) if not value]
        raise UserError(f"Login by OpenID Connect also needs {' and '.join(missing)}. Set it in the environment.")
    people, hosts = (tuple(os.environ.get(name, "").split()) for name in ("ORL_OIDC_PEOPLE", "ORL_HOSTS"))
    issuer, client_id, client_secret = found
    verifies = os.environ.get(VERIFIES, "0")
    if verifies not in ("0", "1"):
        raise UserError(f"Invalid value for {VERIFIES}: '{verifies}'. Set it to 1 or 0.")
    return Access(
        password=os.environ.get("ORL_PASSWORD", ""),
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        people=people,
        url=os.environ.get("ORL_PUBLIC_URL", ""),
        hosts=hosts,
        verifies_email=verifies == "1",
    )


LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address to listen on."""
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def invent_password() -> str:
    """Return a random password for a server without one."""
    return secrets.token_urlsafe(12)


def _write_secret(file: BinaryIO) -> None:
    os.fchmod(file.fileno(), 0o600)
    file.write(secrets.token_bytes(32))


def session_secret(workspace: Workspace, access: Access) -> str:
    """Return the key that signs cookies. It survives restarts, and changes with the password or the provider."""
    path = workspace.path / SECRET
    try:
        if not path.is_file() and not workspace.store.read_only:
            publish(_write_secret, path)
        kept = path.read_bytes()
    except (UserError, OSError):  # nothing may be written: people log in again after a restart
        kept = secrets.token_bytes(32)
    return hashlib.sha256(kept + "\0".join(access.environment().values()).encode()).hexdigest()


class Gate:
    """Middleware that passes requests and sockets to an accepted host name from people who are logged in.

    It needs Starlette's ``SessionMiddleware`` around it, whose signed cookie identifies the person.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access
        self._guess = asyncio.Lock()  # one guess of the password at a time
        self._waiting = 0
        self._provider: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        path = scope.get("path", "").removeprefix(base_path())
        if scope["type"] not in ("http", "websocket") or path == OPEN:
            await self.app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if self.access.hosts and asked.url.hostname not in self.access.hosts:
            names = ", ".join(self.access.hosts)
            refused = PlainTextResponse(
                f"Unknown host name. This explorer accepts {names}. Add a name with --allow-host.", 400
            )
            await _answer(refused, scope, receive, send)
        elif scope["type"] == "websocket" and not _from_own_page(asked, self.access.url):
            await WebSocketClose(code=1008)(scope, receive, send)
        elif not self.access.closed or "person" in asked.session:
            if path == LOGOUT:
                asked.session.clear()
                there = under(LOGIN if self.access.closed else "/")
                await _answer(RedirectResponse(there, 303), scope, receive, send)
            else:
                await self.app(scope, receive, send)
        elif scope["type"] == "http" and path in (LOGIN, CALLBACK):
            await _answer(await self._door(Request(scope, receive)), scope, receive, send)
        elif scope["type"] == "http" and "text/html" in asked.headers.get("accept", ""):
            there = asked.url.path + (f"?{asked.url.query}" if asked.url.query else "")
            await _answer(RedirectResponse(f"{under(LOGIN)}?next={quote(there, safe='')}", 303), scope, receive, send)
        else:
            await _answer(PlainTextResponse("Log in first.", 401), scope, receive, send)

    async def _door(self, request: Request) -> Response:
        """Answer requests for the login form, its submission, and the redirects to and from the provider."""
        access, session = self.access, request.session
        if request.url.path == under(CALLBACK):
            return await self._returned(request)
        there = _within(request.query_params.get("next", "/"))
        if request.method == "POST" and access.password:
            given = await _submitted(request)  # first: a form that arrives slowly takes nobody's place
            if self._waiting >= WAITING:
                return _form(access, there, "Too many people are logging in. Try again in a minute.", 429)
            if await self._knows(given, request.client.host if request.client else "an unknown address"):
                session.clear()
                session["person"] = "somebody with the password"
                return RedirectResponse(there, 303)
            return _form(access, there, "Wrong password.", 401)
        if access.issuer and "provider" in request.query_params:
            session["next"] = there
            back = (access.url.rstrip("/") or str(request.base_url).rstrip("/") + base_path()) + CALLBACK
            return await self._client().authorize_redirect(request, back)
        return _form(access, there, "", 200)

    async def _knows(self, given: str, address: str) -> bool:
        """Return whether a password is the right one, after the guesses before it."""
        self._waiting += 1
        try:
            async with self._guess:  # a right guess waits behind wrong ones, so that its time tells nothing
                if hmac.compare_digest(given.encode(), self.access.password.encode()):
                    LOG.warning("Login by password from %s.", address)  # what Streamlit's level lets through
                    return True
                LOG.warning("Wrong password from %s.", address)
                await asyncio.sleep(DELAY)
                return False
        finally:
            self._waiting -= 1

    async def _returned(self, request: Request) -> Response:
        """Answer the redirect from the provider."""
        from authlib.integrations.base_client import OAuthError

        if not self.access.issuer:
            return PlainTextResponse("Not found.", 404)
        there = _within(request.session.pop("next", "/"))
        try:
            token = await self._client().authorize_access_token(request)
        except OAuthError as problem:
            return _form(self.access, there, f"The provider refused the login: {problem.description or problem}.", 401)
        claims = token.get("userinfo") or {}
        mail = str(claims.get("email") or "").lower()
        verified = bool(mail) and _is_verified(claims, self.access.verifies_email)
        if self.access.people and not _named(mail, self.access.people):
            return _form(self.access, there, f"{mail or 'This account'} has no access to this explorer.", 403)
        if self.access.people and not verified:
            doubt = f"The provider has not verified {mail}. Ask the administrator of this explorer."
            return _form(self.access, there, doubt, 403)
        request.session.clear()
        request.session["person"] = mail if verified else str(claims.get("sub"))
        request.session["named"] = True
        return RedirectResponse(there, 303)

    def _client(self) -> Any:
        if self._provider is None:
            from authlib.integrations.starlette_client import OAuth

            self._provider = OAuth().register(
                "provider",
                client_id=self.access.client_id,
                client_secret=self.access.client_secret,
                server_metadata_url=f"{self.access.issuer.rstrip('/')}/.well-known/openid-configuration",
                client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
            )
        return self._provider


def gate(workspace: Workspace, access: Access) -> list[Middleware]:
    """Return the middleware: the gate, and the session cookies that it reads."""
    session = Middleware(
        SessionMiddleware,
        secret_key=session_secret(workspace, access),
        session_cookie="orl_session",
        max_age=MEMBERS,
        path=under("/"),
        same_site="lax",
        https_only=access.url.startswith("https:"),
    )
    return [session, Middleware(Gate, access=access)]


async def _submitted(request: Request) -> str:
    """Return the password of a submitted form; "" for a form that is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]


def _from_own_page(asked: HTTPConnection, url: str) -> bool:
    """Return whether a socket's Origin, if it has one, is the address of this request or the public URL.

    A proxy's X-Forwarded headers count: no page of a browser can set them for a socket.
    """
    origin = asked.headers.get("origin")
    if origin is None:
        return True
    secure = asked.url.scheme in ("wss", "https")
    scheme = asked.headers.get("x-forwarded-proto") or ("https" if secure else "http")
    hosts = [asked.headers.get(name) for name in ("host", "x-forwarded-host")]
    own = {f"{scheme}://{host}".lower() for host in hosts if host}
    if url:
        own.add("{0.scheme}://{0.netloc}".format(urlsplit(url)).lower())
    return origin.lower() in own


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose(code=1008)(
            scope, receive, send
        )  # policy violation; before the socket is accepted, a plain 403
    else:
        await response(scope, receive, send)


def _within(there: str) -> str:
    """Return a path on this server; its first page for any other address."""
    parts = urlsplit(there)
    outside = parts.scheme or parts.netloc or not there.startswith("/") or "\\" in there or there.startswith("//")
    return under("/") if outside or not there.startswith(under("/")) else there


def _is_verified(claims: Mapping[str, Any], unless_said: bool) -> bool:
    """Return whether the provider has verified the e-mail address. Some send the text "true" instead of a boolean."""
    said = claims.get("email_verified")
    return unless_said if said is None else said is True or said == "true"


def _named(mail: str, people: tuple[str, ...]) -> bool:
    return any(mail.endswith(p.lower()) if p.startswith("@") else mail == p.lower() for p in people)


def _form(access: Access, there: str, problem: str, status: int) -> HTMLResponse:
    to = f"{under(LOGIN)}?next={quote(there, safe='')}"
    rows = []
    if problem:
        rows.append(f'<p class="problem" role="alert">{escape(problem)}</p>')
    if access.password:
        rows.append(
            f'<form method="post" action="{to}"><label for="password">Password</label>'
            '<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>'
            "<button>Log in</button></form>"
        )
    if access.issuer:
        name = escape(urlsplit(access.issuer).hostname or access.issuer)
        rows.append(f'<a class="button" href="{to}&amp;provider=1">Log in with {name}</a>')
    icon = f"data:image/svg+xml,{quote(ICON.read_text(encoding='utf-8'), safe='')}"
    page = PAGE.read_text(encoding="utf-8").replace("<!-- icon -->", icon).replace("<!-- rows -->", "\n".join(rows))
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})
