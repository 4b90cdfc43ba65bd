"""A page that mounts both components with literal payloads and logs their reports.

Run with ``streamlit run``: as a module it is the ASGI app with picture routes, as a script it is the page.
``?scene=`` chooses the payload.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parents[2]))

from orl_explorer.app.pages.explore.component import PhotoTile, gallery
from orl_explorer.app.pages.pair.component import Box, PairPayload, PairReasons, pair_view
from orl_explorer.app.pages.pair.payload import packed

IMAGES = "/app/static/harness"
QUERY_BOXES: list[Box] = [[50, 40, 100, 120], [200, 100, 160, 160], [300, 20, 120, 100], [20, 250, 200, 110]]
NEIGHBOR_BOXES: list[Box] = [[30, 60, 120, 100], [220, 90, 150, 150], [60, 230, 180, 130], [340, 30, 110, 120]]
PAIRS = [(1, 1, 0.95), (0, 0, 0.9), (2, 3, 0.82), (1, 2, 0.71)]


def picture(request: Request) -> Response:
    """Return a smooth gradient whose hue depends on the id, so that all pictures differ."""
    number, width, height = (request.path_params[name] for name in ("number", "width", "height"))
    y, x = np.mgrid[0:height, 0:width]
    hue = (number * 47 + x * 60 // width) % 256
    pixels = np.stack([hue, np.full_like(hue, 120), 90 + 120 * y // height], axis=-1).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels, "HSV").convert("RGB").save(data, "PNG")
    return Response(data.getvalue(), media_type="image/png", headers={"Cache-Control": "max-age=3600"})


def photo(number: int, boxes: list[Box], url: str | None = None) -> dict[str, Any]:
    """One side of the stage: 500 × 375 px."""
    return {
        "id": number,
        "name": f"val/{number:06d}.jpg",
        "url": url or f"{IMAGES}/{number}/500/375",
        "width": 500,
        "height": 375,
        "boxes": boxes,
        "rejected": [],
    }


def reasons(selected: dict | None) -> PairReasons | None:
    if not selected:
        return None
    sides = (("neighbour: cosine to the query RoI", 31, NEIGHBOR_BOXES), ("query: …", 12, QUERY_BOXES))
    return {
        "q": selected["q"],
        "k": selected["k"],
        "facts": [{"name": "margin", "value": "+0.012", "meaning": "The cosine less that of the best other RoI."}],
        "cells": [
            {
                "title": title,
                "photo": f"{IMAGES}/{number}/320/240",
                "heat": f"{IMAGES}/2{number}/50/38",
                "width": 500,
                "height": 375,
                "box": boxes[0],
            }
            for title, number, boxes in sides
        ],
    }


def payload(scene: str) -> PairPayload:
    """The literal payload of a scene."""
    query, neighbor = photo(12, QUERY_BOXES), photo(31, NEIGHBOR_BOXES)
    query["rejected"] = [
        {"raw": 7, "box": [430, 300, 60, 65], "rule": "size", "why": "60 × 65 px: too small", "blocker": None},
        {"raw": 9, "box": [340, 210, 100, 100], "rule": "overlap", "why": "100 × 100 px: IoU 0.6", "blocker": 1},
    ]
    pairs = PAIRS
    if scene == "many":
        grid: list[Box] = [[(i % 20) * 20, (i // 20) * 18, 96 + i % 7, 98 + i % 5] for i in range(300)]
        query, neighbor = photo(12, grid), photo(31, grid)
        pairs = [(i * 3, (i * 7) % 300, round(0.99 - i * 0.005, 3)) for i in range(100)]
    if scene == "broken":
        neighbor["url"] = f"{IMAGES}/gone"
    if scene == "empty":
        pairs = []
    rank = st.session_state.get("rank", 2)
    if rank == 9:  # a neighbour whose pairs are all weaker
        pairs = [(q, k, round(cosine - 0.2, 3)) for q, k, cosine in pairs]
    verdicts = st.session_state.get("verdicts", {})
    selected, roi = st.session_state.get("selected"), st.session_state.get("roi")
    similar = matrix(len(query["boxes"]), len(neighbor["boxes"]), pairs)
    outside = None
    if selected and (selected["q"], selected["k"]) not in [pair[:2] for pair in pairs]:
        value = float(similar[selected["q"], selected["k"]])
        outside = {**selected, "similarity": value, "verdict": None, "note": "Not in the set: rank 9 of 4 × 4"}
    return {
        "query": query,  # type: ignore[typeddict-item]
        "neighbor": None if scene == "alone" else {**neighbor, "rank": rank, "similarity": 0.83},  # type: ignore
        "neighbors": []
        if scene == "alone"
        else [
            {
                "rank": number,
                "id": 29 + number,
                "name": f"val/{29 + number:06d}.jpg",
                "thumb": f"{IMAGES}/{29 + number}/120/90",
                "similarity": 0.86 - number * 0.015,
                "pairs": len(pairs) if number < 10 else None,
            }
            for number in range(1, 11)
        ],
        "pairs": []
        if scene == "alone"
        else [
            {"rank": rank, "q": q, "k": k, "similarity": cosine, "verdict": verdicts.get((q, k))}
            for q, k, cosine in pairs
        ],
        "selected": selected,
        "outside": outside,  # type: ignore[typeddict-item]
        "roi": roi,
        "matches": matches(roi),
        "explained": {"side": "query", "raw": 7, "text": "Kept at min size 60."} if roi == "qx7" else None,
        "reasons": reasons(selected),
        "matrix": None if scene == "alone" else packed(similar),
        "place": {"set": "demo", "q": "12"},
        "caption": ["Correspondence set demo. K 10, N 0.1.", "Encoder starter (supervised)."],
        "attention": {
            "query": f"{IMAGES}/200/50/38",
            "neighbor": f"{IMAGES}/210/50/38",
            "label": "layer-4 activation norm",
            "low": "0",
            "high": "1",
            "colors": ["#000004", "#bc3754", "#fcffa4"],
        },
        "crop_url": IMAGES + "/crop/{image}/{x}-{y}-{w}-{h}",
        "can_judge": True,
    }


def matrix(rows: int, columns: int, pairs: list[tuple[int, int, float]]) -> np.ndarray:
    """Return the similarities: those of the pairs, and (row + column) / 1000 elsewhere."""
    similar = np.add.outer(np.arange(rows), np.arange(columns)).astype(np.float32) / 1000
    for q, k, cosine in pairs:
        similar[q, k] = cosine
    return similar


def matches(roi: str | None) -> Any:
    """The best matches of the query's second RoI: in three neighbours, of which one is not embedded."""
    if roi != "q1":
        return None
    known = {"index": 3, "box": [340, 30, 110, 120]}
    return {
        "side": "query",
        "index": 1,
        "items": [
            {"rank": 1, "id": 30, "similarity": 0.91} | known,
            {"rank": 2, "id": 31, "similarity": 0.95} | known | {"index": 1},
            {"rank": 3, "id": 32, "similarity": None, "index": None, "box": None},
        ],
    }


def crop(request: Request) -> Response:
    """Return one picture for all crops of the table, because only their URL matters here."""
    request.path_params.update(number=request.path_params["image"], width=64, height=64)
    return picture(request)


def received(name: str) -> None:
    """Log a trigger, and remember it if the page must act on it."""
    value = st.session_state["view"][name]
    st.session_state.setdefault("log", []).append([name, value])
    if name == "neighbor":
        st.session_state["rank"] = value
    if name == "match":
        st.session_state["rank"] = value["rank"]
    if name == "pick":
        st.session_state["selected"] = None if value["q"] is None else {"q": value["q"], "k": value["k"]}
        st.session_state["roi"] = value["roi"]
    if name == "verdict":
        st.session_state.setdefault("verdicts", {})[value["q"], value["k"]] = value["verdict"]


def opened() -> None:
    """Log the tile that was opened."""
    st.session_state.setdefault("log", []).append(["open", st.session_state["tiles"]["open"]])


def page() -> None:
    """The page under test."""
    st.set_page_config(layout="wide")
    scene = st.query_params.get("scene", "pairs")
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.text_input("Search", key="search")
    if scene == "gallery":
        tiles: list[PhotoTile] = [
            {
                "id": number,
                "thumb": f"{IMAGES}/{number}/240/180",
                "name": f"val/{number:06d}" + "-a-very-long-name" * 6 * (number == 3) + ".jpg",
                "badges": [{"text": text, "meaning": "…"} for text in ("10 neighbours", f"{number} pairs")],
                "width": 500,
                "height": 375,
                "missing": number == 5,
                "note": "photo not found on disk" if number == 5 else "",
            }
            for number in range(1, 13)
        ]
        gallery(tiles, key="tiles", on_open=opened, selected=2)
    else:
        pair_view(
            payload(scene),
            key="view",
            on_neighbor=lambda: received("neighbor"),
            on_step=lambda: received("step"),
            on_pick=lambda: received("pick"),
            on_match=lambda: received("match"),
            on_search=lambda: received("search"),
            on_verdict=lambda: received("verdict"),
        )
    st.text(f"runs {st.session_state['runs']}")
    st.code(json.dumps(st.session_state.get("log", [])), language="json")


if __name__ == "__main__":
    page()
else:
    app = st.App(
        __file__,
        routes=[
            Route(IMAGES + "/crop/{image:int}/{box}", crop),
            Route(IMAGES + "/{number:int}/{width:int}/{height:int}", picture),
        ],
    )
