"""Access to the explorer: logging in, and read-only servers."""

from __future__ import annotations

import json
import re
import socket
import stat
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from orl_explorer.app.cli import start
from orl_explorer.app.server import access
from orl_explorer.app.server.access import Access, from_environment, gate, is_local
from orl_explorer.app.server.base_path import BasePath, base_path, normal
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import datasets
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace, open_workspace

PAGE = {"accept": "text/html"}

Guarded = Callable[..., TestClient]


async def _secret(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the photos")


async def _socket(opened: WebSocket) -> None:
    await opened.accept()
    await opened.send_text("the photos")
    await opened.close()


@pytest.fixture
def guarded(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """A server with a page, a picture and a socket behind the gate: ``guarded(password="...") -> client``."""
    monkeypatch.setattr(access, "DELAY", 0.05)
    opened: list[TestClient] = []

    def make(base: str = "http://localhost:8501", **asked: Any) -> TestClient:
        routes: list = [Route(path, _secret) for path in ("/", "/pair", "/app/static/photo/1/320", "/_stcore/health")]
        app = Starlette(routes=[*routes, WebSocketRoute("/_stcore/stream", _socket)])
        for middleware in reversed(gate(workspace, Access(**asked))):
            app.add_middleware(middleware.cls, *middleware.args, **middleware.kwargs)
        opened.append(TestClient(app, base_url=base, follow_redirects=False))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


def test_without_a_password_everything_is_open(guarded: Guarded) -> None:
    client = guarded()
    assert client.get("/pair", headers=PAGE).text == "the photos"


def test_nothing_but_the_health_check_is_reached_without_the_password(guarded: Guarded) -> None:
    client = guarded(password="open sesame")
    turned_away = client.get("/pair?q=3&set=a", headers=PAGE)
    assert (turned_away.status_code, turned_away.headers["location"]) == (303, "/login?next=%2Fpair%3Fq%3D3%26set%3Da")
    assert client.get("/app/static/photo/1/320").status_code == 401
    assert client.get("/_stcore/health").text == "the photos"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://localhost:8501/_stcore/stream"):
        pass


def test_the_password_opens_pages_pictures_and_sockets_and_leads_back(guarded: Guarded) -> None:
    client = guarded(password="open sesame")
    assert 'name="password"' in client.get("/login", headers=PAGE).text
    answer = client.post("/login?next=%2Fpair%3Fq%3D3", data={"password": "open sesame"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/pair?q=3")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/pair", headers=PAGE).text == "the photos"
    assert client.get("/app/static/photo/1/320").text == "the photos"
    with client.websocket_connect("ws://localhost:8501/_stcore/stream") as opened:
        assert opened.receive_text() == "the photos"
    client.get("/logout")
    assert client.get("/app/static/photo/1/320").status_code == 401


def test_a_wrong_password_costs_time_and_says_so(guarded: Guarded) -> None:
    client = guarded(password="open sesame")
    start = time.monotonic()
    answer = client.post("/login", data={"password": "open barley"})
    assert time.monotonic() - start >= 0.05
    assert (answer.status_code, "Wrong password." in answer.text) == (401, True)
    assert client.post("/login", content=b"password=" + b"x" * 10_000).status_code == 401
    assert client.get("/", headers=PAGE).status_code == 303


def test_a_right_guess_waits_behind_wrong_ones_and_a_long_queue_is_refused(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access, "DELAY", 2.0)
    monkeypatch.setattr(access, "WAITING", 2)
    with guarded(password="open sesame") as client:
        wrong = threading.Thread(target=client.post, args=("/login",), kwargs={"data": {"password": "open barley"}})
        wrong.start()
        while not caplog.records:  # the wrong guess is refused, and its delay has begun
            time.sleep(0.01)
        start = time.monotonic()
        assert client.post("/login", data={"password": "open sesame"}).status_code == 303
        assert time.monotonic() - start > 0.5
        wrong.join()
        client.cookies.clear()
        monkeypatch.setattr(access, "WAITING", 0)
        assert client.post("/login", data={"password": "open sesame"}).status_code == 429
    said = [record.getMessage() for record in caplog.records if record.name == access.__name__]
    assert said == ["Wrong password from testclient.", "Login by password from testclient."]


def test_a_cookie_signed_with_another_password_is_worth_nothing(guarded: Guarded) -> None:
    before = guarded(password="open sesame")
    before.post("/login", data={"password": "open sesame"})
    after = guarded(password="another one")
    after.cookies.update(dict(before.cookies))
    assert after.get("/app/static/photo/1/320").status_code == 401
    again = guarded(password="open sesame")  # the server has been restarted
    again.cookies.update(dict(before.cookies))
    assert again.get("/app/static/photo/1/320").status_code == 200


def test_the_key_of_the_cookies_is_for_its_owner_alone(guarded: Guarded, workspace: Workspace) -> None:
    guarded(password="open sesame")
    assert stat.S_IMODE((workspace.path / ".session-secret").stat().st_mode) == 0o600


def test_a_read_only_explorer_writes_no_key(workspace: Workspace) -> None:
    reading = open_workspace(workspace.path, read_only=True)
    keys = {access.session_secret(reading, access.Access(password="open sesame")) for _ in range(2)}
    assert len(keys) == 2  # made anew
    assert not (workspace.path / ".session-secret").exists()


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("pair", "/"),
        ("/pair?q=1", "/pair?q=1"),
    ],
)
def test_logging_in_never_leads_to_another_server(guarded: Guarded, there: str, back: str) -> None:
    client = guarded(password="open sesame")
    answer = client.post("/login", params={"next": there}, data={"password": "open sesame"})
    assert answer.headers["location"] == back


def test_a_name_that_was_not_allowed_is_refused_on_every_route(guarded: Guarded) -> None:
    # A page elsewhere may let its own name point to this machine (DNS rebinding); the browser still sends that name.
    hosts = ("localhost", "127.0.0.1", "::1")
    assert guarded(hosts=hosts).get("/").status_code == 200
    assert guarded("http://[::1]:8501", hosts=hosts).get("/").status_code == 200
    foreign = guarded("http://elsewhere.example:8501", hosts=hosts)
    assert foreign.get("/").status_code == 400
    assert foreign.get("/app/static/photo/1/320").status_code == 400
    with pytest.raises(WebSocketDisconnect), foreign.websocket_connect("ws://elsewhere.example:8501/_stcore/stream"):
        pass


@pytest.mark.parametrize(
    ("headers", "enters"),
    [
        ({}, True),
        ({"origin": "http://localhost:8501"}, True),
        ({"origin": "https://orl.example"}, True),
        ({"origin": "https://lab.example", "x-forwarded-host": "lab.example", "x-forwarded-proto": "https"}, True),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "http://127.0.0.1:8501"}, False),
        ({"origin": "https://localhost:8501"}, False),
        ({"origin": "http://elsewhere.example"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_a_socket_of_a_page_of_another_origin_is_closed(guarded: Guarded, headers: dict, enters: bool) -> None:
    client = guarded(url="https://orl.example/orl")
    try:
        with client.websocket_connect("ws://localhost:8501/_stcore/stream", headers=headers) as opened:
            assert (opened.receive_text(), enters) == ("the photos", True)
    except WebSocketDisconnect as closed:
        assert (closed.code, enters) == (1008, False)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_loopback_addresses_are_local(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_half_a_provider_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_OIDC_ISSUER", "https://login.example")
    with pytest.raises(UserError, match=r"also needs ORL_OIDC_CLIENT_ID and ORL_OIDC_CLIENT_SECRET\."):
        from_environment()


def test_access_survives_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Access(
        "pass", "https://login.example", "id", "secret", ("@example.org",), "https://orl.example", ("a", "b"), True
    )
    for name, value in asked.environment().items():
        monkeypatch.setenv(name, value)
    assert from_environment() == asked


# Logging in by a provider -----------------------------------------------------------------------------


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
    kept = b64decode(unquote(client.cookies["orl_session"]).split(".")[0])
    assert json.loads(kept) == {"person": name, "named": True}


def test_a_setting_that_is_neither_yes_nor_no_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_OIDC_VERIFIES_EMAIL", "maybe")
    with pytest.raises(UserError, match=r"Invalid value for ORL_OIDC_VERIFIES_EMAIL: 'maybe'. Set it to 1 or 0\."):
        from_environment()


def test_an_answer_that_nobody_asked_for_lets_nobody_in(guarded: Guarded, provider: Provider) -> None:
    client = guarded(**provider.access())
    forged = client.get("/login/callback", params={"code": "a-code", "state": "made-up"})
    assert forged.status_code == 401
    assert client.get("/app/static/photo/1/320").status_code == 401


# Servers that only show --------------------------------------------------------------------------------


def test_a_read_only_store_refuses_every_change_itself(here: Workspace) -> None:
    shown = open_workspace(here.path, read_only=True)
    assert [d.name for d in datasets(shown.store)] == ["demo"]
    with (
        pytest.raises(StoreError, match=r"Cannot change the store: it was opened read-only\."),
        shown.store.session() as session,
    ):
        session.add(Dataset(name="mine", root="/", layout="folder"))
    assert [d.name for d in datasets(here.store)] == ["demo"]


def test_a_read_only_workspace_is_neither_made_nor_upgraded(here: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no workspace in .*/none. Create it by"):
        open_workspace(tmp_path / "none", read_only=True)
    with here.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(StoreError, match=r"of an older version \(revision 0001\). Open it once for writing first\."):
        open_workspace(here.path, read_only=True)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("", ""), ("/", ""), ("orl", "/orl"), ("/orl", "/orl"), ("/orl/", "/orl"), ("/a/b", "/a/b"), ("a/b.c/", "/a/b.c")],
)
def test_a_base_path_has_one_form(given: str, meant: str) -> None:
    assert normal(given) == meant


@pytest.mark.parametrize(
    "odd",
    ["//orl", "/a//b", "/..", "/a/../b", "my lab", "/é", "/a?b", "/a#b", "http://a/b", "/%2e", "static", "/media/x"],
)
def test_an_odd_base_path_is_refused(odd: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"Invalid value for the base path: '{odd}'. Use names of letters")):
        normal(odd)


def test_streamlits_own_variable_sets_the_base_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORL_BASE_PATH", raising=False)
    monkeypatch.setenv("STREAMLIT_SERVER_BASE_URL_PATH", "/lab/")
    assert base_path() == "/lab"
    monkeypatch.setenv("ORL_BASE_PATH", "orl")
    assert base_path() == "/orl"


def test_login_and_logout_stay_below_the_base_path(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_BASE_PATH", "/orl")
    client = guarded(password="open sesame")
    assert client.get("/orl/pair?q=3", headers=PAGE).headers["location"] == "/orl/login?next=%2Forl%2Fpair%3Fq%3D3"
    assert client.get("/orl/_stcore/health").status_code == 404  # let in by the gate; this server has no such route
    assert 'action="/orl/login?next=%2Forl%2F"' in client.get("/orl/login", headers=PAGE).text
    for asked, there in [("%2Forl%2Fpair", "/orl/pair"), ("%2Fother", "/orl/"), ("%2F%2Fevil.example", "/orl/")]:
        answer = client.post(f"/orl/login?next={asked}", data={"password": "open sesame"})
        assert (answer.status_code, answer.headers["location"]) == (303, there)
        assert "path=/orl/;" in answer.headers["set-cookie"].lower()
        left = client.get("/orl/logout")
        assert (left.status_code, left.headers["location"]) == (303, "/orl/login")


def test_nothing_but_a_health_check_is_served_outside_the_base_path() -> None:
    routes = [Route("/orl/_stcore/health", _secret), Route("/orl/", _secret)]
    client = TestClient(BasePath(Starlette(routes=routes), "/orl"), follow_redirects=False)
    assert client.get("/_stcore/health").text == client.get("/orl/").text == "the photos"
    for outside in ("/", "/orl"):
        answer = client.get(f"{outside}?a=1")
        assert (answer.status_code, answer.headers["location"]) == (307, "/orl/?a=1")
    assert (client.get("/orlando").status_code, client.get("/pair").text) == (
        404,
        "Not found. This explorer is at /orl/.",
    )
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "localhost"), ("::1", "[::1]"), ("lab.example", "lab.example")]
)
def test_the_printed_address_is_one_that_a_browser_opens(host: str, shown: str) -> None:
    assert start._shown(host) == shown


def test_a_public_url_needs_the_base_path() -> None:
    assert start._base_path("orl", Access(url="https://lab.example/orl/")) == "/orl"
    with pytest.raises(UserError, match=r"\$ORL_PUBLIC_URL is https://lab.example, but the base path is /orl\."):
        start._base_path("orl", Access(url="https://lab.example"))
