"""Who is logged in on a page. Pages run in threads that see nothing of the request but its headers.

Inside of the gate, each socket gets a header with a random token, in the place of any such header of the browser.
The table of open sockets tells by token which person, if the provider has named one, has opened the page.
"""

from __future__ import annotations

import secrets

import streamlit as st
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime.scriptrunner import get_script_run_ctx

HEADER = "x-orl-person"
KEPT = "logged-in"  # in the state of the session: a page may outlive its socket

_PEOPLE: dict[str, str | None] = {}  # by token of an open socket


class People:
    """Middleware within the gate that enters each open socket into the table."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != HEADER.encode()]
        session, token = scope.get("session", {}), secrets.token_urlsafe(16)
        _PEOPLE[token] = str(session["person"]) if session.get("named") else None  # whoever has a password may share it
        headers.append((HEADER.encode(), token.encode()))
        try:
            await self.app({**scope, "headers": headers}, receive, send)
        finally:
            del _PEOPLE[token]


def logged_in() -> str | None:
    """Return the person who has opened the page that calls this; None without a name, and outside of pages."""
    if get_script_run_ctx() is None:
        return None
    token = st.context.headers.get(HEADER)
    if token in _PEOPLE:
        st.session_state[KEPT] = _PEOPLE[token]
    return st.session_state.get(KEPT)
