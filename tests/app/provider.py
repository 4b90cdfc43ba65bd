"""An OpenID Connect provider on this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp


@dataclass
class Provider:
    """An OpenID Connect provider on this machine. Every user has the e-mail address in ``mail``.

    verified: further claims about the address. Empty for none.
    """

    issuer: str
    mail: str = "ada@example.org"
    verified: dict[str, Any] = field(default_factory=lambda: {"email_verified": True})
    nonce: str = ""

    def __post_init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})

    async def metadata(self, _: Request) -> JSONResponse:
        ends = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return JSONResponse({"issuer": self.issuer} | {name: self.issuer + path for name, path in ends.items()})

    async def keys(self, _: Request) -> JSONResponse:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> RedirectResponse:
        asked = request.query_params
        self.nonce = asked["nonce"]
        back = urlencode({"code": "a-code", "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}")

    async def token(self, request: Request) -> JSONResponse:
        form = parse_qs((await request.body()).decode())
        assert form["code"] == ["a-code"]
        soon = int(time.time()) + 60
        claims = {"iss": self.issuer, "aud": "explorer", "sub": "1", "iat": soon - 60, "exp": soon}
        claims |= {"email": self.mail, "nonce": self.nonce} | self.verified
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return JSONResponse({"access_token": "t", "token_type": "Bearer", "id_token": signed})

    def access(self, **more: Any) -> dict[str, Any]:
        """Return the arguments of ``guarded`` for logging in with this provider."""
        return {"issuer": self.issuer, "client_id": "explorer", "client_secret": "s3cret"} | more

    def send_back(self, client: TestClient, mail: str) -> httpx.Response:
        """Log in through the provider with this e-mail address."""
        away = urlsplit(client.get("/login?next=%2Fpair&provider=1").headers["location"])
        query = {name: values[0] for name, values in parse_qs(away.query).items()}
        assert (f"{away.scheme}://{away.netloc}", away.path) == (self.issuer, "/authorize")
        assert (query["client_id"], query["redirect_uri"]) == ("explorer", "http://localhost:8501/login/callback")
        self.mail, self.nonce = mail, query["nonce"]
        return client.get("/login/callback", params={"code": "a-code", "state": query["state"]})


@contextmanager
def answering(listening: socket.socket, app: ASGIApp) -> Iterator[None]:
    """Serve an application in a thread. Requests wait until it is ready."""
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def provided() -> Iterator[Provider]:
    """Start a provider on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        made = Provider(f"http://127.0.0.1:{listening.getsockname()[1]}")
        routes = [Route("/.well-known/openid-configuration", made.metadata), Route("/keys", made.keys)]
        routes += [Route("/authorize", made.authorize), Route("/token", made.token, methods=["POST"])]
        with answering(listening, Starlette(routes=routes)):
            yield made
