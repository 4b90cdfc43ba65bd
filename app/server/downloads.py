"""Downloads: exports of a set, ``/api/export/SET_ID/FORMAT``, a set as a folder that opens from disk, zipped,
``/api/share/SET_ID``, the findings of an ingest, ``/api/findings/ID``, and near-duplicates,
``/api/duplicates/DATASET_ID/ENCODER_ID/THOUSANDTHS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain
from typing import Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from orl_explorer.app.explorer.duplicates import duplicates_of
from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.explorer.reported import csv_rows
from orl_explorer.app.server.base_path import under
from orl_explorer.app.server.numbers import numeral
from orl_explorer.app.share.choice import ShareRequest, choose
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.duplicates import duplicates_csv
from orl_explorer.train.tables import csv_lines

PREFIX = "/api/export"
SHARE = "/api/share"
FINDINGS = "/api/findings"
DUPLICATES = "/api/duplicates"
KINDS = {"csv": "text/csv", "json": "application/json", "zip": "application/zip"}


def export_url(set_id: int, form: str) -> str:
    """Return the URL of an export in one of the formats of ``orl export``."""
    return under(f"{PREFIX}/{set_id}/{form}")


def share_url(set_id: int, asked: ShareRequest) -> str:
    """Return the URL of a set as a folder, zipped."""
    given = {name: value for name, value in asdict(asked).items() if value not in (None, False)}
    return under(f"{SHARE}/{set_id}?{urlencode(given)}")


def findings_url(dataset_id: int) -> str:
    """Return the URL of a CSV with all findings of the last ingest of a dataset."""
    return under(f"{FINDINGS}/{dataset_id}")


def duplicates_url(dataset_id: int, encoder_id: int, threshold: float) -> str:
    """Return the URL of a CSV with the near-duplicates of a dataset. threshold: in steps of a thousandth."""
    return under(f"{DUPLICATES}/{dataset_id}/{encoder_id}/{round(1000 * threshold)}")


async def export_route(request: Request) -> Response:
    """Stream an export as a download. It starts at once, uses no disk space, and ends when the client disconnects."""
    return await _download(_begin, request.path_params["set"], request.path_params["form"])


async def share_route(request: Request) -> Response:
    """Stream a set as a folder, zipped. Its photos are read one after the other while the client reads."""
    query = request.query_params
    if (photos := query.get("photos")) is not None and not (photos.isdecimal() and len(photos) < 7):
        return PlainTextResponse("The number of photos is a whole number.", 404)
    asked = ShareRequest(
        photos=None if photos is None else int(photos),
        selection=query.get("selection"),
        pictures="full" if query.get("pictures") == "full" else "thumbnails",
        alone="alone" in query,
        verdicts="verdicts" in query,
    )
    return await _download(_share, request.path_params["set"], asked)


async def findings_route(request: Request) -> Response:
    """Stream the findings of the last ingest of a dataset."""
    return await _download(_findings, request.path_params["dataset"])


async def duplicates_route(request: Request) -> Response:
    """Stream the near-duplicates of a dataset."""
    asked = (request.path_params[name] for name in ("dataset", "encoder", "thousandths"))
    return await _download(_duplicates, *asked)


async def _download(begin: Callable[..., tuple[str, Iterator[bytes]]], *asked: Any) -> Response:
    try:
        name, pieces = await run_in_threadpool(begin, *asked)
    except (UserError, StoreError) as reason:
        return PlainTextResponse(str(reason), 404, headers={"Cache-Control": "no-store"})
    kind = KINDS.get(name.rpartition(".")[2], "application/octet-stream")
    headers = {
        "Content-Disposition": attachment(name),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(pieces, media_type=kind, headers=headers)


def attachment(name: str) -> str:
    """Return the header that names a downloaded file. Old browsers get a name without special characters."""
    plain = "".join(c if c.isprintable() and c not in '"\\/' else "_" for c in name).encode("ascii", "replace").decode()
    whole = quote(name.replace("/", "_"), safe="", errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}"


def _begin(set_id: int, form: str) -> tuple[str, Iterator[bytes]]:
    """Return the file name and the pieces. The first piece is computed, so errors come before anything is sent."""
    from orl_explorer.train.interchange.exports import stream  # importing pyarrow is slow

    mined = set_by_id(workspace().store, set_id)
    if mined is None:
        raise UserError(f"There is no correspondence set {set_id}.")
    name, pieces = stream(workspace(), mined.name, form)
    return name, chain([next(pieces, b"")], pieces)


def _share(set_id: int, asked: ShareRequest) -> tuple[str, Iterator[bytes]]:
    from orl_explorer.app.share.folder import stream_folder  # importing pyarrow is slow

    mined = set_by_id(workspace().store, set_id)
    if mined is None:
        raise UserError(f"There is no correspondence set {set_id}.")
    name, pieces = stream_folder(choose(workspace(), mined.name, asked))
    return name, chain([next(pieces, b"")], pieces)


def _findings(dataset_id: int) -> tuple[str, Iterator[bytes]]:
    from orl_explorer.train.interchange.pieces import gathered  # importing pyarrow is slow

    opened = workspace().store
    dataset = dataset_by_id(opened, dataset_id)
    rows = csv_lines(("name", "kind", "count", "detail"), csv_rows(opened, dataset))
    return f"{dataset.name}-ingest.csv", gathered(rows)


def _duplicates(dataset_id: int, encoder_id: int, thousandths: int) -> tuple[str, Iterator[bytes]]:
    opened = workspace()
    dataset, encoder = dataset_by_id(opened.store, dataset_id), encoder_by_id(opened.store, encoder_id)
    found = duplicates_of(opened, dataset, encoder, thousandths / 1000)
    return f"{dataset.name}-near-duplicates.csv", iter([duplicates_csv(found).encode()])


ROUTES = [
    Route(f"{SHARE}/{numeral('set')}", share_route),
    Route(f"{PREFIX}/{numeral('set')}/{{form}}", export_route),
    Route(f"{FINDINGS}/{numeral('dataset')}", findings_route),
    Route(f"{DUPLICATES}/{numeral('dataset')}/{numeral('encoder')}/{numeral('thousandths')}", duplicates_route),
]
