"""Who is logged in on a page. Pages run in threads that see nothing of the request but its headers.

Inside of the gate, each socket of a person whom the provider has named gets a header with a random token, in the place
of any such header that the browser sent. A page that finds a token in the table has been opened by that person.
"""

from __future__ import annotations

import secrets

import streamlit as st
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime.scriptrunner import get_script_run_ctx

HEADER = "x-orl-person"
KEPT = "logged-in"  # in the state of the session: a page may outlive its socket

_PEOPLE: dict[str, str] = {}  # by token of an open socket


class People:
    """Middleware within the gate that enters each open socket of a named person into the table."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != HEADER.encode()]
        session, token = scope.get("session", {}), secrets.token_urlsafe(16)
        if session.get("named"):  # others share a password and have no name
            _PEOPLE[token] = str(session["person"])
            headers.append((HEADER.encode(), token.encode()))
        try:
            await self.app({**scope, "headers": headers}, receive, send)
        finally:
            _PEOPLE.pop(token, None)


def logged_in() -> str | None:
    """Return the person who has opened the page that calls this; None without a name, and outside of pages."""
    if get_script_run_ctx() is None:
        return None
    person = _PEOPLE.get(st.context.headers.get(HEADER) or "")
    if person is None:
        return st.session_state.get(KEPT)
    st.session_state[KEPT] = person
    return person
