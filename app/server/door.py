"""The door of the explorer: the login form, the link of the start, and an OpenID Connect provider."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import posixpath
from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from orl_explorer.app.server.access import Access
from orl_explorer.app.server.asked import scheme_of
from orl_explorer.app.server.base_path import base_path, under
from orl_explorer.app.server.sessions import new_session_id

LOGIN, CALLBACK, LOGOUT = "/login", "/login/callback", "/logout"
PAGE = Path(__file__).with_name("login.html")
ICON = Path(__file__).parents[1] / "pages" / "icon.svg"  # inside the page: a file of its own would need a login
# Tighter than that of the pages, which need Streamlit's scripts. This page has a form, a style and an icon.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
DELAY = 1.0  # seconds of delay after a wrong password, one at a time for all clients
WAITING = 30  # guesses of the password that may wait
EACH = 5  # of them from one address: a single machine must not keep everybody else out
MOST = 4096  # bytes of a login form at most
OLD_LINK = (
    "This link is of an earlier start. The new one is in the terminal where the explorer was started, "
    "or in the log of its container."
)
LOG = logging.getLogger(__name__)


class Door:
    """Lets people in: it answers the paths of the login, and writes the person into the session."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._guess = asyncio.Lock()  # one guess of the password at a time
        self._waiting: Counter[str] = Counter()  # by address
        self._provider: Any = None

    async def answer(self, request: Request) -> Response:
        """Answer requests for the login form, its submission, the link, and the redirects to and from the provider."""
        access, query = self.access, request.query_params
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("Method not allowed.", 405)
        if request.url.path == under(CALLBACK):
            return await self._returned(request)
        there = within(query.get("next", "/"))
        if request.method == "POST" and access.password:
            try:
                given = await _submitted(request)  # first: a form that arrives slowly takes nobody's place
            except ClientDisconnect:
                return PlainTextResponse("The form did not arrive as a whole.", 400)
            return await self._guessed(request, given, there, "Wrong password.")
        if access.invented and "token" in query:
            return await self._guessed(request, query["token"], there, OLD_LINK)
        if access.issuer and "provider" in query:
            return await self._sent(request, there)
        return _form(access, there, "", 200)

    async def _guessed(self, request: Request, given: str, there: str, wrong: str) -> Response:
        address = _address(request)
        if self._waiting.total() >= WAITING or self._waiting[_neighbours(address)] >= EACH:
            return _form(self.access, there, "Too many people are logging in. Try again in a minute.", 429)
        if await self._knows(given, address):
            return _enter(request, "somebody with the password", there)
        return _form(self.access, there, wrong, 401)

    async def _knows(self, given: str, address: str) -> bool:
        """Return whether a password is the right one, after the guesses before it."""
        self._waiting[_neighbours(address)] += 1
        try:
            async with self._guess:  # a right guess waits behind wrong ones, so that its time tells nothing
                if hmac.compare_digest(given.encode("utf-8", "replace"), self.access.password.encode()):
                    LOG.warning("Login by password from %s.", address)  # what Streamlit's level lets through
                    return True
                LOG.warning("Wrong password from %s.", address)
                await asyncio.sleep(DELAY)
                return False
        finally:
            self._waiting -= Counter((_neighbours(address),))  # without those that are 0

    async def _sent(self, request: Request, there: str) -> Response:
        """Redirect to the provider, which is asked for its addresses at first."""
        own = self.access.url.rstrip("/") or f"{scheme_of(request)}://{request.headers['host']}{base_path()}"
        request.session["next"] = there
        try:
            return await self._client().authorize_redirect(request, own + CALLBACK)
        except Exception as problem:
            return self._useless(problem, there)

    def _useless(self, problem: Exception, there: str) -> Response:
        """Answer when the provider fails. Of whom the error is, depends: of the connection, JSON, or the signature."""
        LOG.warning("Login by %s failed: %s", self.access.issuer, ascii(problem))
        return _form(self.access, there, "The provider does not answer as it should. Try again later.", 502)

    async def _returned(self, request: Request) -> Response:
        """Answer the redirect from the provider."""
        from authlib.integrations.base_client import OAuthError

        if not self.access.issuer:
            return PlainTextResponse("Not found.", 404)
        there = within(request.session.pop("next", "/"))
        try:
            token = await self._client().authorize_access_token(request)
        except OAuthError as problem:
            return _form(self.access, there, f"The provider refused the login: {problem.description or problem}.", 401)
        except Exception as problem:
            return self._useless(problem, there)
        claims = token.get("userinfo") or {}
        mail = str(claims.get("email") or "").lower()
        verified = bool(mail) and _is_verified(claims, self.access.verifies_email)
        if self.access.people and not _named(mail, self.access.people):
            return _form(self.access, there, f"{mail or 'This account'} has no access to this explorer.", 403)
        if self.access.people and not verified:
            doubt = f"The provider has not verified {mail}. Ask the administrator of this explorer."
            return _form(self.access, there, doubt, 403)
        return _enter(request, mail if verified else str(claims.get("sub")), there, named=True)

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


def within(there: str) -> str:
    """Return a path of a page of this server; its first page for any other address."""
    try:
        parts = urlsplit(there)
    except ValueError:  # a host in brackets that are not closed
        return under("/")
    outside = parts.scheme or parts.netloc or not there.startswith("/") or "\\" in there or there.startswith("//")
    if outside or not there.startswith(under("/")):
        return under("/")
    # A person who has just logged in is neither logged out nor shown the form again.
    own = posixpath.normpath(unquote(parts.path)) in (under(LOGIN), under(LOGOUT))
    return under("/") if own else there


def _enter(request: Request, person: str, there: str, named: bool = False) -> Response:
    request.session.clear()
    request.session.update(person=person, id=new_session_id(), **({"named": True} if named else {}))
    return RedirectResponse(there, 303)


async def _submitted(request: Request) -> str:
    """Return the password of a submitted form; "" for a form that is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]


def _address(request: Request) -> str:
    """Return the address of the browser, as far as a proxy on this machine has told it, fit for the log."""
    return ascii(request.client.host)[1:-1] if request.client else "an unknown address"


def _neighbours(address: str) -> str:
    """Return the addresses that belong to the same machine: a machine has 2^64 of IPv6."""
    try:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    except ValueError:
        return address


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
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store", "Content-Security-Policy": POLICY})
