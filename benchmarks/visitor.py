"""A person at the explorer, without a browser: speaks the protocol of Streamlit's pages over its socket.

It does what a browser does as far as a server notices: it keeps cookies, the URL, the values of controls that it has
moved, and large elements that the server need not send again, and it repeats fragments that ask for it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

LARGEST = 2**26  # bytes of a message
PATIENCE = 60.0  # seconds to wait for the end of a script's run


class Trouble(Exception):
    """The server did not do what it does for a browser. The message says what."""


class Visitor:
    """A person who is logged in and has a page open.

    took: seconds of each run of the script, by name of the action. repeats: runs that a page asked for by itself.
    """

    def __init__(self, address: str, browser: httpx.AsyncClient, socket: ClientConnection) -> None:
        self.address, self.browser, self.socket = address, browser, socket
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
        self.took: dict[str, list[float]] = {}
        self.repeats = 0
        self.elements: dict[str, Any] = {}  # of the page: components by name, sliders by label
        self._fragments: dict[str, str] = {}  # the fragment of each of these
        self._query = self._page = ""
        self._pages: dict[str, str] = {}  # hash of a page, by its path
        self._moved: dict[str, WidgetState] = {}
        self._known: dict[str, ForwardMsg] = {}  # by hash: what the server need not send again
        self._again: dict[str, tuple[float, float]] = {}  # by fragment: seconds between its runs, and the next

    async def go(self, action: str, page: str, query: str = "") -> None:
        """Open a page by its path, as the links at the top do."""
        self._page, self._query, self._moved = self._pages.get(page, ""), query, {}
        await self._run(action, page_name=page)

    async def click(self, action: str, key: str, event: str, value: object) -> None:
        """Do something in a component of the project."""
        where = self.elements[key].bidi_component.id
        change = WidgetState(id=f"$$STREAMLIT_INTERNAL_KEY_{where}__events")
        change.json_trigger_value = json.dumps([{"event": event, "value": value}])
        await self._run(action, change, fragment=self._fragments[key])

    async def slide(self, action: str, label: str, value: float) -> None:
        """Move a slider."""
        change = WidgetState(id=self.elements[label].slider.id)
        change.double_array_value.data.append(value)
        self._moved[change.id] = change
        await self._run(action, fragment=self._fragments[label])

    async def think(self, seconds: float) -> None:
        """Look at the page. Meanwhile it asks for what it shows of runs, as often as the server has told it."""
        until = time.monotonic() + seconds
        while True:
            fragment, (every, due) = min(self._again.items(), key=lambda item: item[1][1], default=("", (0.0, until)))
            await asyncio.sleep(max(0.0, min(due, until) - time.monotonic()))
            if due >= until:
                return
            self._again[fragment] = (every, time.monotonic() + every)
            self.repeats += 1
            await self._run("", fragment=fragment, repeated=True)

    def pictures(self) -> Iterator[str]:
        """Yield the addresses of the small pictures that are on the page."""
        for element in self.elements.values():
            if element.WhichOneof("type") == "bidi_component":
                yield from _urls(json.loads(_json(element)))

    async def _run(
        self, action: str, *changes: WidgetState, fragment: str = "", page_name: str = "", repeated: bool = False
    ) -> None:
        """Run the page's script, or a fragment of it, and read what it draws."""
        if not fragment:
            self._again = {}
        asked = BackMsg()
        asked.rerun_script.query_string = self._query
        asked.rerun_script.page_script_hash = self._page
        asked.rerun_script.page_name = page_name
        asked.rerun_script.fragment_id = fragment
        asked.rerun_script.is_auto_rerun = repeated
        asked.rerun_script.widget_states.widgets.extend([*self._moved.values(), *changes])
        asked.rerun_script.cached_message_hashes.extend(self._known)
        asked.rerun_script.context_info.url = f"{self.address}/{page_name}"
        began = time.perf_counter()
        await self.socket.send(asked.SerializeToString())
        async with asyncio.timeout(PATIENCE):
            while not self._is_over(await self._next()):
                pass
        if action:
            self.took.setdefault(action, []).append(time.perf_counter() - began)

    async def _next(self) -> ForwardMsg:
        told = ForwardMsg()
        data = await self.socket.recv()
        assert isinstance(data, bytes)
        told.ParseFromString(data)
        if told.WhichOneof("type") == "ref_hash":
            whole = ForwardMsg()
            whole.CopyFrom(self._known[told.ref_hash])
            whole.metadata.CopyFrom(told.metadata)
            return whole
        if told.metadata.cacheable:
            self._known[told.hash] = told
        return told

    def _is_over(self, told: ForwardMsg) -> bool:
        """Follow a message, and return whether it ends the run."""
        match told.WhichOneof("type"):
            case "new_session":
                if told.new_session.page_script_hash != self._page:
                    self.elements, self._fragments, self._again = {}, {}, {}
                self._page = told.new_session.page_script_hash
            case "navigation":
                self._page = told.navigation.page_script_hash
                self._pages = {page.url_pathname: page.page_script_hash for page in told.navigation.app_pages}
            case "page_info_changed":
                self._query = told.page_info_changed.query_string
            case "auto_rerun":
                every = told.auto_rerun.interval
                self._again[told.auto_rerun.fragment_id] = (every, time.monotonic() + every)
            case "delta" if told.delta.WhichOneof("type") == "new_element":
                self._keep(told.delta.new_element, told.delta.fragment_id)
            case "script_finished":
                early = told.ScriptFinishedStatus.Value("FINISHED_EARLY_FOR_RERUN")
                return told.script_finished != early
        return False

    def _keep(self, element: Any, fragment: str) -> None:
        match element.WhichOneof("type"):
            case "exception":
                raise Trouble(f"The page shows an error: {element.exception.type} {element.exception.message}")
            case "bidi_component":
                name = element.bidi_component.component_name
            case "slider":
                name = element.slider.label
            case "alert" if element.alert.format == Alert.ERROR:
                raise Trouble(f"The page shows an error: {element.alert.body}")
            case _:
                return
        self.elements[name], self._fragments[name] = element, fragment


def payload(element: Any) -> Any:
    """Return the data that Python has sent to a component."""
    return json.loads(_json(element))


def _json(element: Any) -> str:
    told = element.bidi_component
    return told.json if told.WhichOneof("data") == "json" else told.mixed.json


def _urls(data: object) -> Iterator[str]:
    if isinstance(data, dict):
        for value in data.values():
            yield from _urls(value)
    elif isinstance(data, list):
        for value in data:
            yield from _urls(value)
    elif isinstance(data, str) and "/app/static/" in data and "{" not in data:
        yield data


@asynccontextmanager
async def visit(address: str, password: str, door: asyncio.Semaphore) -> AsyncIterator[Visitor]:
    """Log in, load the first page, and open its socket.

    address: with the base path, without a slash at its end. door: limits how many people log in at once.
    """
    async with httpx.AsyncClient(verify=False, timeout=PATIENCE, follow_redirects=False) as browser:
        page = await browser.get(f"{address}/", headers={"accept": "text/html"})
        if page.status_code == 303:
            async with door:
                there = await browser.post(f"{address}/login", data={"password": password})
            if there.status_code != 303:
                raise Trouble(f"The login answers {there.status_code}.")
            page = await browser.get(f"{address}/", headers={"accept": "text/html"})
        page.raise_for_status()
        parts = urlsplit(address)
        scheme = {"http": "ws", "https": "wss"}[parts.scheme]
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)
        certificate = ssl.create_default_context()
        certificate.check_hostname, certificate.verify_mode = False, ssl.CERT_NONE  # one that was made for a test
        async with connect(
            f"{scheme}://{parts.netloc}{parts.path}/_stcore/stream",
            origin=f"{parts.scheme}://{parts.netloc}",  # type: ignore[arg-type]
            subprotocols=["streamlit"],  # type: ignore[list-item]
            additional_headers={"Cookie": cookies} if cookies else {},
            max_size=LARGEST,
            ssl=certificate if scheme == "wss" else None,
            proxy=None,
        ) as socket:
            yield Visitor(address, browser, socket)
