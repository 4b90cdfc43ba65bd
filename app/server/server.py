"""The explorer's server: Streamlit with picture routes and security headers. Run by ``orl explore``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from orl_explorer.app.explorer.author import learn_people
from orl_explorer.app.explorer.opened import read_only, workspace
from orl_explorer.app.server import downloads
from orl_explorer.app.server.access import from_environment
from orl_explorer.app.server.base_path import BasePath, base_path, under
from orl_explorer.app.server.failed import show_failure
from orl_explorer.app.server.gate import gate
from orl_explorer.app.server.given import GIVEN_ROUTES
from orl_explorer.app.server.headers import SecurityHeaders
from orl_explorer.app.server.idle import collect_garbage, compile_search_later
from orl_explorer.app.server.people import People, logged_in
from orl_explorer.app.server.pictures import ROUTES
from orl_explorer.app.server.points import POINT_ROUTES
from orl_explorer.app.server.processes import is_alone, is_first
from orl_explorer.db.store import StoreError
from orl_explorer.train.jobs.launcher import reconcile

RECONCILE = 10.0  # seconds between checks for runs whose process has died


@contextlib.asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """Update the states of runs, now and periodically: a run without a process has crashed. Start work of ``idle``."""
    await asyncio.to_thread(workspace)

    async def watch() -> None:
        while True:
            with contextlib.suppress(
                StoreError
            ):  # the store is locked or the disk is full: try again at the next check
                await asyncio.to_thread(reconcile, workspace())
            await asyncio.sleep(RECONCILE)

    if not is_alone():  # the input ends with the process that started this one
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os.kill, os.getpid(), signal.SIGTERM)
    work = [collect_garbage()]
    if is_first() and not read_only():
        work += [watch(), compile_search_later()]
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield {}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


learn_people(logged_in)
_access = from_environment()
app = st.App(
    str(Path(__file__).parents[1] / "pages" / "main.py"),
    routes=[
        Route(under(own.path), own.endpoint, methods=list(own.methods or ()))
        for own in (*ROUTES, *POINT_ROUTES, *GIVEN_ROUTES, *downloads.ROUTES)
    ],
    middleware=[
        Middleware(SecurityHeaders, url=_access.url),
        Middleware(BasePath, base=base_path()),
        *gate(workspace(), _access),
        Middleware(People),
    ],
    lifespan=lifespan,
    on_script_error=show_failure,
)
