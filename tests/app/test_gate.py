"""Requests that the gate refuses, whoever makes them, and the headers of its answers."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from orl_explorer.app.server.base_path import BasePath
from orl_explorer.app.server.headers import host_of_its_own
from tests.app.conftest import Guarded
from tests.app.guarded import shown


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
    "host", ["[", "user@localhost", "", "localhost:99999999", "localhost:", "localhost,localhost", "[::1", "[1.2]", "é"]
)
def test_a_malformed_host_header_is_refused(guarded: Guarded, host: str) -> None:
    for hosts in ((), ("localhost",)):
        answer = guarded(hosts=hosts).get("/", headers={"host": host.encode()})
        assert (answer.status_code, answer.text[:20]) == (400, "Invalid Host header.")


def test_two_host_headers_are_refused(guarded: Guarded) -> None:
    client = guarded(hosts=("localhost",))
    assert client.get("/", headers=[("host", "localhost"), ("host", "elsewhere.example")]).status_code == 400
    assert client.get("/", headers=[("host", "LOCALHOST:8501")]).status_code == 200


@pytest.mark.parametrize(
    ("headers", "enters"),
    [
        ({}, True),
        ({"origin": "http://localhost:8501"}, True),
        ({"origin": "https://orl.example"}, True),
        ({"origin": "https://lab.example", "x-forwarded-host": "lab.example", "x-forwarded-proto": "https"}, True),
        (
            {"origin": "https://lab.example", "x-forwarded-host": "lab.example, a", "x-forwarded-proto": "https, http"},
            True,
        ),
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


LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
FRAME = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
PICTURE = {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}


@pytest.mark.parametrize(
    ("site", "how", "status"),
    [
        ("cross-site", PICTURE, 403),
        ("same-site", PICTURE, 403),  # another port of this host
        ("same-origin", PICTURE, 200),
        ("none", PICTURE, 200),
        ("cross-site", FRAME, 403),
        ("same-origin", FRAME, 200),
        ("cross-site", LINK, 200),
        ("same-site", LINK, 200),
    ],
)
def test_a_page_of_another_site_may_only_link_here(guarded: Guarded, site: str, how: dict, status: int) -> None:
    answer = guarded().get("/app/static/photo/1/320", headers={"sec-fetch-site": site, **how})
    assert answer.status_code == status


def test_a_form_of_another_site_is_refused_and_its_link_logs_nobody_out(guarded: Guarded) -> None:
    client = guarded(password="open sesame")
    foreign = {"sec-fetch-site": "cross-site", **LINK}
    assert client.post("/login", data={"password": "open sesame"}, headers=foreign).status_code == 403
    client.post("/login", data={"password": "open sesame"})
    assert client.get("/logout", headers=foreign).status_code == 403
    assert client.get("/").status_code == 200


def test_other_sites_can_neither_embed_nor_hold_a_page(guarded: Guarded) -> None:
    headers = guarded().get("/").headers
    assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]


def test_the_form_may_load_nothing(guarded: Guarded) -> None:
    client = guarded(password="open sesame")
    for answer in (client.get("/login"), client.post("/login", data={"password": "open barley"})):
        assert answer.headers["content-security-policy"] == (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'"
        )


@pytest.mark.parametrize(
    ("url", "address", "forwarded", "demanded"),
    [
        ("https://orl.example", "http://orl.example", "https", True),
        ("https://orl.example", "https://orl.example", "", True),
        ("https://orl.example", "http://orl.example", "", False),
        ("https://orl.example", "http://other.example", "https", False),
        ("https://orl.example", "https://orl.example:8501", "", False),
        ("", "https://orl.example", "", False),
    ],
)
def test_tls_is_demanded_of_the_public_address_alone(
    guarded: Guarded, url: str, address: str, forwarded: str, demanded: bool
) -> None:
    answer = guarded(address, url=url).get("/", headers={"x-forwarded-proto": forwarded} if forwarded else {})
    assert answer.headers.get("strict-transport-security") == ("max-age=1209600" if demanded else None)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://orl.example/", "orl.example"),
        ("https://orl.example:443", "orl.example"),
        ("https://orl.example:8443", ""),
        ("https://lab.example/orl", ""),
        ("http://orl.example", ""),
        ("https://localhost", ""),
        ("https://orl.localhost", ""),
        ("https://192.168.1.2", ""),
        ("https://[::1]", ""),
    ],
)
def test_a_host_name_that_others_may_serve_too_is_not_for_tls_alone(url: str, name: str) -> None:
    assert host_of_its_own(url) == name


def test_nothing_but_a_health_check_is_served_outside_the_base_path() -> None:
    routes = [Route("/orl/_stcore/health", shown), Route("/orl/", shown)]
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
