"""Whose name verdicts and actions bear: that of whoever is logged in through a provider, else the account's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from orl_explorer.app.explorer.adding import Wanted, start_adding
from orl_explorer.app.explorer.author import author, learn_people
from orl_explorer.app.explorer.opened import workspace as served
from orl_explorer.app.server import people
from orl_explorer.app.server.access import Access
from orl_explorer.app.server.door import Door
from orl_explorer.app.server.people import HEADER, People, logged_in
from orl_explorer.db.models import DeletedSet
from orl_explorer.db.people.actions import actions
from orl_explorer.db.photos import ensure_dataset
from orl_explorer.db.runs.runs import update_run
from orl_explorer.db.store import StoreError
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs import sets as work
from orl_explorer.train.jobs.trainings import Pretrain
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.loops import in_own_loop
from tests.shell import orl

pytestmark = pytest.mark.both_databases

ADA = "ada@example.org"


@pytest.fixture
def anna(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account that runs everything is called anna."""
    monkeypatch.setattr("getpass.getuser", lambda: "anna")


@pytest.fixture
def logs_in(anna: None) -> Iterator[Callable[[str | None], None]]:
    """Return a function that makes a person the one who is logged in."""
    yield lambda person: learn_people(lambda: person)
    learn_people(lambda: None)


@pytest.fixture
def client() -> TestClient:
    """A server behind the middleware. ``/session`` sets a session as the gate does; ``/socket`` tells its headers."""

    async def set_session(request: Request) -> PlainTextResponse:
        request.session.update(json.loads(request.query_params["is"]))
        return PlainTextResponse("")

    async def socket(opened: WebSocket) -> None:
        await opened.accept()
        tokens = [value for name, value in opened.headers.items() if name == HEADER]
        await opened.send_json([[people._PEOPLE.get(token) for token in tokens], tokens])
        await opened.close()

    routes = [Route("/session", set_session), WebSocketRoute("/socket", socket)]
    return TestClient(
        Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, secret_key="k"), Middleware(People)])
    )


def test_a_socket_of_a_person_whom_the_provider_named_is_known(client: TestClient) -> None:
    client.get("/session", params={"is": json.dumps({"person": ADA, "named": True})})
    seen = []
    for _ in range(2):
        with client.websocket_connect("/socket") as socket:
            [person], [token] = socket.receive_json()
            seen.append(token)
            assert person == ADA
            assert len(token) > 20
    assert seen[0] != seen[1]
    assert people._PEOPLE == {}  # both sockets are closed


@pytest.mark.parametrize("session", [{}, {"person": "somebody with the password"}, {"person": ADA}])
def test_nobody_has_a_name_who_shares_a_password(client: TestClient, session: dict) -> None:
    client.get("/session", params={"is": json.dumps(session)})
    with client.websocket_connect("/socket") as socket:
        people_seen, tokens = socket.receive_json()
        assert (people_seen, len(tokens)) == ([None], 1)


def test_a_browser_cannot_send_the_name_of_another(client: TestClient) -> None:
    people._PEOPLE["known"] = "grace@example.org"
    try:
        for session in ({}, {"person": ADA, "named": True}):
            client.get("/session", params={"is": json.dumps(session)})
            with client.websocket_connect("/socket", headers={HEADER: "known", "X-ORL-Person": "known"}) as socket:
                assert socket.receive_json()[0] == [ADA if session else None]
    finally:
        people._PEOPLE.clear()


def test_a_page_knows_who_opened_it_also_when_its_socket_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert logged_in() is None  # no page
    page = SimpleNamespace(context=SimpleNamespace(headers={HEADER: "t"}), session_state={})
    monkeypatch.setattr(people, "get_script_run_ctx", lambda: page)
    monkeypatch.setattr(people, "st", page)
    assert logged_in() is None
    monkeypatch.setitem(people._PEOPLE, "t", ADA)
    assert logged_in() == ADA
    monkeypatch.delitem(people._PEOPLE, "t")
    assert logged_in() == ADA
    page.context.headers = {}
    assert logged_in() == ADA
    page.context.headers = {HEADER: "u"}
    monkeypatch.setitem(people._PEOPLE, "u", None)  # the page is connected again, by somebody with the password
    assert logged_in() is None


@pytest.mark.parametrize(
    ("verified", "person"),
    [(True, ADA), (None, "u-1")],  # an address that is not verified names nobody
)
def test_the_provider_names_a_person(monkeypatch: pytest.MonkeyPatch, verified: bool | None, person: str) -> None:
    door = Door(Access(issuer="https://login.example", client_id="i", client_secret="s"))

    async def token(_: Request) -> dict[str, Any]:
        return {"userinfo": {"email": ADA, "sub": "u-1", "email_verified": verified}}

    monkeypatch.setattr(door, "_client", lambda: SimpleNamespace(authorize_access_token=token))
    request = Request({"type": "http", "path": "/login/callback", "headers": [], "session": {"next": "/"}})
    in_own_loop(door._returned(request))
    assert (request.session["person"], request.session["named"]) == (person, True)


def log(workspace: Workspace) -> list[tuple[str, ...]]:
    return [(row.author, row.action, row.subject, row.detail) for row in reversed(actions(workspace.store))]


def test_whoever_is_logged_in_is_the_author(logs_in: Callable[[str | None], None]) -> None:
    assert author() == "anna"
    logs_in(ADA)
    assert author() == ADA
    logs_in(None)
    assert author() == "anna"


def test_deletions_and_names_bear_who_is_logged_in(here: Workspace, logs_in: Callable[[str | None], None]) -> None:
    logs_in(ADA)
    work.rename(served(), "demo-starter", "other")
    work.delete(served(), "other")
    with here.store.session() as session:
        assert session.scalars(select(DeletedSet.author)).all() == [ADA]
    assert log(here)[-2:] == [
        (ADA, "rename", "set demo-starter", "to other"),
        (ADA, "delete", "set other", "set 1"),
    ]


def test_photos_are_added_in_a_thread_by_whoever_asked(
    nowhere: Workspace, scenes: Path, logs_in: Callable[[str | None], None]
) -> None:
    logs_in(ADA)
    adding = start_adding(served(), Wanted(str(scenes), "trip"))
    logs_in(None)
    adding.wait(60)
    assert log(nowhere) == [(ADA, "add", "dataset trip", str(scenes))]


def test_who_stops_and_resumes_runs_is_noted_once(
    workspace: Workspace, new_run: Callable[..., int], anna: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_start", lambda _, run: run)
    monkeypatch.setattr(launcher, "is_alive", lambda run: True)
    run = new_run(workspace, "mine", "pairs")
    launcher.request_stop(workspace, run)
    launcher.request_stop(workspace, run)  # is stopping already
    update_run(workspace.store, run, status="cancelled")
    (workspace.path / "runs").mkdir()
    monkeypatch.setattr(launcher, "own_folder", lambda *_: None)
    launcher.resume(workspace, run)
    assert log(workspace) == [("anna", "stop", "run 1", "pairs"), ("anna", "resume", "run 1", "pairs")]


def test_commands_count_as_the_accounts_and_are_listed(
    workspace: Workspace, scenes: Path, logs_in: Callable[[str | None], None]
) -> None:
    logs_in("nobody@example.org")
    assert orl("actions", "--workspace", workspace.path).stdout == "No actions yet.\n"
    orl("ingest", scenes, "--name", "trip", "--workspace", workspace.path)
    orl("encoders", "add", "starter", "--workspace", workspace.path)
    told = json.loads(orl("actions", "--json", "--workspace", workspace.path).stdout)
    assert all(line.pop("at").endswith("Z") for line in told)
    assert told == [
        {"author": "anna", "action": "add", "subject": "encoder starter", "detail": "starter"},
        {"author": "anna", "action": "add", "subject": "dataset trip", "detail": str(scenes)},
    ]
    table = orl("actions", "--limit", "1", "--workspace", workspace.path).stdout
    assert "anna" in table and "encoder starter" in table and "dataset trip" not in table


def test_a_launched_run_is_noted(workspace: Workspace, anna: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_start", lambda _, run: run)
    monkeypatch.setattr(Pretrain, "check", lambda *_: None)
    dataset = ensure_dataset(workspace.store, "trip", "/photos", "folder")
    launcher.launch(workspace, Pretrain(name="trip-byol", dataset_id=dataset.id, config=BYOLConfig()))
    assert log(workspace) == [("anna", "launch", "run 1", "stage 1 (BYOL): trip-byol")]


def test_a_read_only_explorer_notes_nothing(workspace: Workspace) -> None:
    workspace.log("add", "dataset trip")
    shown = open_workspace(workspace.path, read_only=True)
    with pytest.raises(StoreError):
        shown.log("add", "dataset other")
    assert [row.subject for row in actions(shown.store)] == ["dataset trip"]
