"""A page that mounts both components with literal payloads and writes what they report.

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

from app.components.gallery import Tile, gallery
from app.components.pair_view import Box, PairPayload, pair_view

IMAGES = "/app/static/harness"
QUERY_BOXES: list[Box] = [[50, 40, 100, 120], [200, 100, 160, 160], [300, 20, 120, 100], [20, 250, 200, 110]]
NEIGHBOR_BOXES: list[Box] = [[30, 60, 120, 100], [220, 90, 150, 150], [60, 230, 180, 130], [340, 30, 110, 120]]
PAIRS = [(1, 1, 0.95), (0, 0, 0.9), (2, 3, 0.82), (1, 2, 0.71)]


def picture(request: Request) -> Response:
    """A smooth gradient whose hue depends on the id, so that no two pictures look alike."""
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


def payload(scene: str) -> PairPayload:
    """The literal payload of a scene."""
    query, neighbor = photo(12, QUERY_BOXES), photo(31, NEIGHBOR_BOXES)
    query["rejected"] = [
        {"box": [430, 300, 60, 65], "rule": "size", "why": "60 × 65 px: smaller than 96 px"},
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
        "selected": st.session_state.get("selected"),
        "attention": {
            "query": f"{IMAGES}/200/50/38",
            "neighbor": f"{IMAGES}/210/50/38",
            "label": "layer-4 activation norm",
            "low": "0",
            "high": "1",
        },
        "crop_url": IMAGES + "/crop/{image}/{x}-{y}-{w}-{h}",
        "can_judge": True,
    }


def crop(request: Request) -> Response:
    """The crops of the table share one picture: only their address matters here."""
    request.path_params.update(number=request.path_params["image"], width=64, height=64)
    return picture(request)


def received(name: str) -> None:
    """Log a trigger and, for those that the page must obey, remember it."""
    value = st.session_state["view"][name]
    st.session_state.setdefault("log", []).append([name, value])
    if name == "neighbor":
        st.session_state["rank"] = value
    if name == "pick":
        st.session_state["selected"] = None if value["q"] is None else {"q": value["q"], "k": value["k"]}
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
        tiles: list[Tile] = [
            {
                "id": number,
                "thumb": f"{IMAGES}/{number}/240/180",
                "name": f"val/{number:06d}" + "-a-very-long-name" * 6 * (number == 3) + ".jpg",
                "badges": ["10 neighbours", f"{number} pairs"],
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
