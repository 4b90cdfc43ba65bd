"""Logging in to the explorer by an OpenID Connect provider."""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from joserfc import jwt

from tests.app.conftest import Guarded
from tests.app.provider import Provider, provided

PAGE = {"accept": "text/html"}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """Start a provider on a free port."""
    with provided() as made:
        yield made


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


def test_a_cookie_of_an_ended_session_is_never_signed_anew(guarded: Guarded, provider: Provider) -> None:
    client = guarded(**provider.access())
    provider.send_back(client, "ada@example.org")
    stolen = dict(client.cookies)
    client.get("/logout")
    client.cookies.update(stolen)
    answer = client.get("/login?provider=1")
    assert answer.status_code == 302
    kept = json.loads(b64decode(unquote(answer.cookies["orl_session_8501"]).split(".")[0]))
    assert {"person", "id"}.isdisjoint(kept)
    assert kept["next"] == "/"


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


def test_a_provider_that_is_away_is_a_sentence(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    with provided() as gone:
        asked = gone.access()
    answer = guarded(**asked).get("/login?provider=1")
    assert (answer.status_code, "The provider does not answer as it should." in answer.text) == (502, True)
    assert f"Login by {gone.issuer} failed: ConnectError(" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"aud": "another"}, {"iss": "http://evil.example"}, {"exp": 1}, {"nonce": "seen before"}, {"alg": "none"}]
)
def test_a_token_that_is_not_for_this_login_opens_nothing(
    guarded: Guarded, provider: Provider, monkeypatch: pytest.MonkeyPatch, wrong: dict
) -> None:
    if "alg" in wrong:
        unsigned = ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (wrong, {}))
        monkeypatch.setattr(jwt, "encode", lambda *_: f"{unsigned}.")
    else:
        monkeypatch.setattr(provider, "verified", {"email_verified": True} | wrong)
    client = guarded(**provider.access())
    assert provider.send_back(client, "ada@example.org").status_code in (401, 502)
    assert client.get("/app/static/photo/1/320").status_code == 401
