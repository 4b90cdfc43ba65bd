"""The route that streams exports of a set to a browser: ``/api/export/SET_ID/FORMAT``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.server.base_path import under
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError

PREFIX = "/api/export"
KINDS = {"csv": "text/csv", "json": "application/json", "zip": "application/zip"}


def export_url(set_id: int, form: str) -> str:
    """Return the URL of an export in one of the formats of ``orl export``."""
    return under(f"{PREFIX}/{set_id}/{form}")


async def export_route(request: Request) -> Response:
    """Stream an export as a download. It starts at once, uses no disk space, and ends when the client disconnects."""
    set_id, form = request.path_params["set"], request.path_params["form"]
    try:
        name, pieces = await run_in_threadpool(_begin, set_id, form)
    except (UserError, StoreError) as reason:
        return PlainTextResponse(str(reason), 404, headers={"Cache-Control": "no-store"})
    kind = KINDS.get(name.rpartition(".")[2], "application/octet-stream")
    named = f"attachment; filename=\"{name.encode('ascii', 'replace').decode()}\"; filename*=UTF-8''{quote(name)}"
    headers = {"Content-Disposition": named, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(pieces, media_type=kind, headers=headers)


def _begin(set_id: int, form: str) -> tuple[str, Iterator[bytes]]:
    """Return the file name and the pieces. The first piece is computed, so errors come before anything is sent."""
    from orl_explorer.train.interchange.exports import stream  # importing pyarrow is slow

    mined = set_by_id(workspace().store, set_id)
    if mined is None:
        raise UserError(f"There is no correspondence set {set_id}.")
    name, pieces = stream(workspace(), mined.name, form)
    return name, chain([next(pieces, b"")], pieces)


ROUTES = [Route(f"{PREFIX}/{{set:int}}/{{form}}", export_route)]
