"""Logging in to the explorer by an OpenID Connect provider."""

from __future__ import annotations

import json
import socket
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.app.conftest import Guarded

PAGE = {"accept": "text/html"}


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


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """Start a provider on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        made = Provider(f"http://127.0.0.1:{listening.getsockname()[1]}")
        routes = [Route("/.well-known/openid-configuration", made.metadata), Route("/keys", made.keys)]
        app = Starlette(routes=[*routes, Route("/token", made.token, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield made
        server.should_exit = True
        thread.join()


def test_a_person_whom_the_provider_knows_gets_in(guarded: Guarded, provider: Provider) -> None:
    client = guarded(**provider.access())
    assert "Log in with 127.0.0.1" in client.get("/login", headers=PAGE).text
    answer = provider.send_back(client, "ada@example.org")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pair")
    assert client.get("/app/static/photo/1/320").text == "the photos"


def test_only_the_people_named_get_in_by_the_provider(guarded: Guarded, provider: Provider) -> None:
    asked = provider.access(people=("@example.org", "Eve@elsewhere.example"))
    refused = provider.send_back(guarded(**asked), "mallory@evil.example")
    assert (refused.status_code, "mallory@evil.example has no access to this explorer." in refused.text) == (403, True)
    assert provider.send_back(guarded(**asked), "ada@example.org").status_code == 303
    assert provider.send_back(guarded(**asked), "eve@elsewhere.example").status_code == 303


@pytest.mark.parametrize(
    ("said", "trusting", "status"),
    [
        ({}, False, 403),
        ({"email_verified": None}, False, 403),
        ({"email_verified": False}, False, 403),
        ({"email_verified": "false"}, False, 403),
        ({"email_verified": True}, False, 303),
        ({"email_verified": "true"}, False, 303),
        ({}, True, 303),
        ({"email_verified": False}, True, 403),  # it knows better than the setting
    ],
)
def test_an_address_that_the_provider_has_not_verified_opens_nothing(
    guarded: Guarded, provider: Provider, monkeypatch: pytest.MonkeyPatch, said: dict, trusting: bool, status: int
) -> None:
    monkeypatch.setattr(provider, "verified", said)
    client = guarded(**provider.access(people=("@example.org",), verifies_email=trusting))
    answer = provider.send_back(client, "ada@example.org")
    assert answer.status_code == status
    assert ("The provider has not verified ada@example.org" in answer.text) is (status == 403)
    assert client.get("/app/static/photo/1/320").status_code == (200 if status == 303 else 401)


@pytest.mark.parametrize(("said", "name"), [({"email_verified": True}, "ada@example.org"), ({}, "1")])
def test_nobody_goes_by_an_address_that_is_not_verified(
    guarded: Guarded, provider: Provider, monkeypatch: pytest.MonkeyPatch, said: dict, name: str
) -> None:
    monkeypatch.setattr(provider, "verified", said)
    client = guarded(**provider.access())
    provider.send_back(client, "ada@example.org")
    kept = b64decode(unquote(client.cookies["orl_session_8501"]).split(".")[0])
    assert json.loads(kept)["person"] == name


def test_an_answer_that_nobody_asked_for_lets_nobody_in(guarded: Guarded, provider: Provider) -> None:
    client = guarded(**provider.access())
    forged = client.get("/login/callback", params={"code": "a-code", "state": "made-up"})
    assert forged.status_code == 401
    assert client.get("/app/static/photo/1/320").status_code == 401


def test_the_provider_sends_back_to_the_scheme_of_the_first_proxy(guarded: Guarded, provider: Provider) -> None:
    client = guarded("http://lab.example:8443", **provider.access())
    answer = client.get("/login?provider=1", headers={"x-forwarded-proto": "https, http"})
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["redirect_uri"] == ["https://lab.example:8443/login/callback"]
