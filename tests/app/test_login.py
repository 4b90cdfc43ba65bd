"""Logging in to the explorer by a password or by the link of its start, and logging out."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from orl_explorer.app.server import door, gate, sessions
from orl_explorer.app.server.access import Access
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.app.conftest import Guarded
from tests.loops import in_own_loop

PAGE = {"accept": "text/html"}


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
    monkeypatch.setattr(door, "DELAY", 2.0)
    monkeypatch.setattr(door, "WAITING", 2)
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
        monkeypatch.setattr(door, "WAITING", 0)
        assert client.post("/login", data={"password": "open sesame"}).status_code == 429
    said = [record.getMessage() for record in caplog.records if record.name == door.__name__]
    assert said == ["Wrong password from testclient.", "Login by password from testclient."]


def test_one_address_cannot_keep_others_from_logging_in(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "EACH", 2)
    app = guarded(password="open sesame").app
    one_machine = ("fd00::1", "fd00::2:1", "fd00::3:1", "fd00::4:1")

    async def all_at_once() -> list[int]:
        async def guess(address: str, password: str) -> int:
            through = httpx.ASGITransport(app, client=(address, 50000))
            async with httpx.AsyncClient(transport=through, base_url="http://localhost:8501") as client:
                return (await client.post("/login", data={"password": password})).status_code

        wrong = [asyncio.create_task(guess(address, "open barley")) for address in one_machine]
        await asyncio.sleep(0)
        return [*await asyncio.gather(*wrong), await guess("10.0.0.7", "open sesame")]

    assert in_own_loop(all_at_once()) == [401, 401, 429, 429, 303]


def test_a_form_that_breaks_off_and_an_odd_method_are_answered_without_a_traceback(guarded: Guarded) -> None:
    client = guarded(password="open sesame")
    for method in ("CONNECT", "PUT", "TRACE"):
        assert client.request(method, "/login").status_code == 405

    async def broken_off() -> dict[str, Any]:
        said: list[dict[str, Any]] = []
        parts = [{"type": "http.request", "body": b"password=op", "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, Any]:
            return parts.pop(0)

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        scope = {"type": "http", "method": "POST", "path": "/login", "query_string": b"", "client": ("10.0.0.7", 1)}
        await client.app(scope | {"headers": [(b"host", b"localhost")], "scheme": "http"}, receive, send)
        return said[0]

    assert in_own_loop(broken_off())["status"] == 400


def test_the_link_of_the_start_opens_the_page_without_its_token(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")  # the server's
    client = guarded(password="random", invented=True)
    answer = client.get("/login?token=random&next=%2Fpair%3Fq%3D3")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pair?q=3")
    assert client.get("/app/static/photo/1/320").text == "the photos"
    again = client.get("/login?token=random")
    assert (again.status_code, again.headers["location"]) == (303, "/")
    assert guarded(password="random", invented=True).post("/login", data={"password": "random"}).status_code == 303
    assert "Login by password from testclient." in caplog.text
    assert "random" not in caplog.text


def test_an_old_link_costs_time_and_says_where_the_new_one_is(guarded: Guarded) -> None:
    client = guarded(password="random", invented=True)
    start = time.monotonic()
    answer = client.get("/login?token=earlier&next=%2Fpair")
    assert time.monotonic() - start >= 0.05
    assert answer.status_code == 401
    assert "The new one is in the terminal where the explorer was started" in answer.text
    assert 'action="/login?next=%2Fpair"' in answer.text
    assert client.get("/app/static/photo/1/320").status_code == 401


def test_a_chosen_password_opens_nothing_by_a_link(guarded: Guarded) -> None:
    client = guarded(password="open sesame")
    assert client.get("/login", params={"token": "open sesame"}).status_code == 200  # the form
    assert client.get("/app/static/photo/1/320").status_code == 401


def test_who_came_by_a_link_stays_in_when_the_server_is_restarted(guarded: Guarded) -> None:
    before = guarded(password="random", invented=True)
    before.get("/login?token=random")
    after = guarded(password="another", invented=True)
    assert after.get("/login?token=random").status_code == 401
    after.cookies.update(dict(before.cookies))
    assert after.get("/app/static/photo/1/320").status_code == 200
    chosen = guarded(password="open sesame")
    chosen.cookies.update(dict(before.cookies))
    assert chosen.get("/app/static/photo/1/320").status_code == 401


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
    keys = {sessions.session_secret(reading, Access(password="open sesame")) for _ in range(2)}
    assert len(keys) == 2  # made anew
    assert not (workspace.path / ".session-secret").exists()


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("//[", "/"),
        ("pair", "/"),
        ("/pair?q=1", "/pair?q=1"),
    ],
)
def test_logging_in_never_leads_to_another_server(guarded: Guarded, there: str, back: str) -> None:
    client = guarded(password="open sesame")
    answer = client.post("/login", params={"next": there}, data={"password": "open sesame"})
    assert answer.headers["location"] == back


@pytest.mark.parametrize(
    "there", ["/logout", "/logout?a=1", "/%6cogout", "/a/../logout", "/login", "/login?next=/logout"]
)
def test_logging_in_never_logs_out(guarded: Guarded, there: str) -> None:
    client = guarded(password="open sesame")
    answer = client.post("/login", params={"next": there}, data={"password": "open sesame"})
    assert answer.headers["location"] == "/"


def logged_in(client: TestClient) -> dict[str, str]:
    """Log in, and return the cookies."""
    assert client.post("/login", data={"password": "open sesame"}).status_code == 303
    return dict(client.cookies)


def test_a_cookie_opens_nothing_after_logging_out(guarded: Guarded, workspace: Workspace) -> None:
    client, other = guarded(password="open sesame"), guarded(password="open sesame")
    cookies, others = logged_in(client), logged_in(other)
    answer = client.get("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert answer.headers["clear-site-data"] == '"cache"'
    restarted = guarded(password="open sesame")
    for server in (client, restarted):
        server.cookies.update(cookies)
        assert server.get("/app/static/photo/1/320").status_code == 401
        server.cookies.clear()
        server.cookies.update(others)
        assert server.get("/app/static/photo/1/320").status_code == 200
        server.cookies.clear()
    assert stat.S_IMODE((workspace.path / ".ended-sessions").stat().st_mode) == 0o700


def test_logging_out_closes_the_pages_that_are_open(guarded: Guarded) -> None:
    with guarded(password="open sesame") as client:
        cookies = logged_in(client)
        client.cookies.clear()
        others = logged_in(client)
        there = "ws://localhost:8501/_stcore/stream"
        with (
            client.websocket_connect(there, headers={"cookie": _header(cookies)}) as ended,
            client.websocket_connect(there, headers={"cookie": _header(others)}) as goes_on,
        ):
            assert ended.receive_text() == goes_on.receive_text() == "the photos"
            client.cookies.clear()
            client.get("/logout", headers={"cookie": _header(cookies)})
            ended.send_text("still here")
            with pytest.raises(WebSocketDisconnect) as closed:
                ended.receive_text()
            assert closed.value.code == 1008
            goes_on.send_text("still here")
            assert goes_on.receive_text() == "still here"


def test_logging_out_ends_the_session_on_all_servers_of_the_workspace(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LOOK", 0.05)
    with guarded(password="open sesame") as one, guarded(password="open sesame") as other:
        cookies = logged_in(one)
        one.cookies.clear()
        there, header = "ws://localhost:8501/_stcore/stream", {"cookie": _header(cookies)}
        with other.websocket_connect(there, headers=header) as opened:
            assert opened.receive_text() == "the photos"
            one.get("/logout", headers=header)
            with pytest.raises(WebSocketDisconnect) as closed:  # although the page asks for nothing
                opened.receive_text()
            assert closed.value.code == 1008
        assert other.get("/app/static/photo/1/320", headers=header).status_code == 401


def _header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def test_ended_sessions_are_forgotten_when_their_cookies_are_dead(workspace: Workspace) -> None:
    ended = sessions.EndedSessions(workspace)
    for name, days in (("old", 15), ("young", 13)):
        ended.add(name)
        then = time.time() - days * 24 * 3600
        os.utime(workspace.path / ".ended-sessions" / name, (then, then))
    ended.add("new")
    assert sorted(path.name for path in (workspace.path / ".ended-sessions").iterdir()) == ["new", "young"]
    assert "young" in sessions.EndedSessions(workspace)


def test_a_read_only_explorer_ends_sessions_without_a_file(guarded: Guarded, workspace: Workspace) -> None:
    client = guarded(opened=open_workspace(workspace.path, read_only=True), password="open sesame")
    cookies = logged_in(client)
    client.get("/logout")
    client.cookies.update(cookies)
    assert client.get("/app/static/photo/1/320").status_code == 401
    assert not (workspace.path / ".ended-sessions").exists()


def test_several_read_only_servers_share_a_folder_of_their_own(
    guarded: Guarded, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("ORL_SESSIONS", str(tmp_path / "shared"))
    read_only = open_workspace(workspace.path, read_only=True)
    one, other = (guarded(opened=read_only, password="open sesame") for _ in range(2))
    header = {"cookie": _header(logged_in(one))}
    assert other.get("/app/static/photo/1/320", headers=header).status_code == 200
    one.get("/logout")
    assert other.get("/app/static/photo/1/320", headers=header).status_code == 401
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [".ended-sessions", ".session-secret"]


def test_a_cookie_of_an_explorer_with_fewer_rights_opens_no_other(
    guarded: Guarded, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opens(cookies: dict[str, str], client: TestClient) -> bool:
        client.cookies.update(cookies)
        return client.get("/pair").status_code == 200

    def by_link(client: TestClient) -> dict[str, str]:
        client.get("/login?token=invented")
        return dict(client.cookies)

    link: dict[str, Any] = {"password": "invented", "invented": True}
    looking = by_link(guarded(opened=open_workspace(workspace.path, read_only=True), **link))
    assert not opens(looking, guarded(**link))
    monkeypatch.setenv("ORL_PHOTO_ROOTS", str(tmp_path))
    limited = by_link(guarded(**link))
    assert opens(limited, guarded(**link))
    monkeypatch.delenv("ORL_PHOTO_ROOTS")
    assert not opens(limited, guarded(**link))


@pytest.mark.parametrize(
    ("address", "forwarded", "base", "name", "secure"),
    [
        ("http://localhost:8501", "", "", "orl_session_8501", False),
        ("http://localhost:8502", "", "", "orl_session_8502", False),
        ("http://lab.example", "", "", "orl_session", False),
        ("https://lab.example:8443", "", "", "__Host-orl_session_8443", True),
        ("http://lab.example", "https", "", "__Host-orl_session", True),
        ("http://lab.example", "https, http", "/lab/orl", "__Secure-orl_session_lab_orl", True),
        ("http://lab.example", "http, https", "", "orl_session", False),
    ],
)
def test_the_cookie_fits_the_address_in_the_browser(
    guarded: Guarded,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    forwarded: str,
    base: str,
    name: str,
    secure: bool,
) -> None:
    monkeypatch.setenv("ORL_BASE_PATH", base)
    client = guarded(address, password="open sesame")
    headers = {"x-forwarded-proto": forwarded} if forwarded else {}
    answer = client.post(f"{base}/login", data={"password": "open sesame"}, headers=headers)
    cookie = answer.headers["set-cookie"]
    assert (cookie.split("=")[0], "; secure" in cookie, f"path={base}/;" in cookie) == (name, secure, True)


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
