"""Pair: a query photo, its neighbours, the matched regions, and the settings that decide them."""

from __future__ import annotations

import getpass
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import streamlit as st

from app import preview, shell
from app.components.pair_view import Attention, NeighborPhoto, Pair, PairPayload, Photo, Selection, pair_view
from app.pictures import WIDTHS, attention_url, crop_url, photo_url
from app.preview import Side, Subject
from app.shell import Place
from app.views import settings, start
from app.views.explore import current_order
from db.correspondences import NeighborImage
from db.encoders import encoder_by_id, encoders
from db.gallery import gallery_page, step
from db.models import Dataset, Image
from db.photos import image_by_id, photo_roots
from db.verdicts import judge, verdicts_of
from orl.matching import Pairs
from orl.pixels import UnreadableImage
from train.config import MineConfig
from train.errors import UserError

SHOWN_REJECTED = 120  # rejected boxes drawn on each side, the largest; more would hide the photo
INFERNO = ["#000004", "#420a68", "#932667", "#dd513a", "#fca50a", "#fcffa4"]


@dataclass(frozen=True)
class Shown:
    """What is on screen, for the callbacks: they get no arguments from the browser but ranks and indices."""

    query: Side
    key: Side
    dataset: Dataset


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    if place.mined is None:
        st.title("Pairs", anchor=False)
        start.unmined(place, place.dataset)
        return
    image = query_image(place, place.dataset)
    if image is None:
        return
    encoder = encoder_by_id(place.workspace.store, place.mined.encoder_id)
    assert encoder is not None  # a foreign key
    subject = Subject(place.workspace, place.mined, place.dataset, encoder)
    config = settings.sliders(place.mined)
    subject = replace(subject, approximate=settings.approximate())
    try:
        _stage(place, subject, image, config)
    except (UnreadableImage, UserError) as problem:
        st.error(f"{shell.escape(image.path)}: {problem}", icon=":material/broken_image:")


def query_image(place: Place, dataset: Dataset) -> Image | None:
    """The photo that the URL names, else the gallery's first; without one, say why."""
    asked = st.query_params.get("q", "")
    if asked.isdecimal() and len(asked) < 12:
        found = image_by_id(place.workspace.store, int(asked))
        if found is None:
            st.warning("There is no such photo. Choose one on the Explore page.")
        elif found[1].id not in photo_roots(place.workspace.store, dataset.id):
            st.warning(f"This photo is part of another data set, {shell.escape(found[1].name)}.")
            st.button("Go there", on_click=shell.pick_dataset, args=(found[1].name,), icon=":material/arrow_forward:")
        else:
            return found[0]
        return None
    first = gallery_page(place.workspace.store, current_order(place, dataset), 0, 1)
    found = image_by_id(place.workspace.store, first[0].id) if first else None
    return found[0] if found else None


def _stage(place: Place, subject: Subject, image: Image, config: MineConfig) -> None:
    found = preview.neighbors(subject, image, config.neighbors)
    if not found:
        reason = image.error or "it was added after the set was mined"
        st.info(f"{PurePosixPath(image.path).name} is not in this set: {reason}.", icon=":material/info:")
        return
    rank = _rank(len(found))
    photos = [image, *(n.image for n in found)]
    maps = preview.missing_maps(subject, photos, config)
    with st.spinner(f"Looking for objects in {maps} photos …", show_time=True) if maps else st.empty():
        query, *others = preview.sides(subject, photos, config)
    sides = {n.rank: side for n, side in zip(found, others, strict=True)}
    key = sides[rank]
    new = preview.missing_boxes(subject, query, key)
    with st.spinner(f"Embedding {new} boxes that no set has used yet …", show_time=True) if new > 8 else st.empty():
        vectors = preview.features(subject, query)
        pairs = preview.match(subject, query, vectors, key, config)
    totals = {n.rank: preview.pair_total(subject, query, vectors, sides[n.rank], config) for n in found}
    totals[rank] = len(pairs)
    st.session_state["shown"] = Shown(query, key, subject.dataset)

    settings.counts(query, key, config)
    if subject.approximate:
        same, exact = preview.agreement(subject, image, key.image)
        st.caption(
            f":material/speed: **Approximate**: regions are cut from the photo's map (RoIAlign). Of the set's {exact} "
            f"pairs of these two photos it finds {same}."
        )
    settings.regenerate(place, subject, image, config)
    payload = _payload(place, subject, config, query, found, sides, rank, pairs, totals)
    pair_view(
        payload, key="pair", on_neighbor=_to_neighbor, on_step=_to_query, on_pick=_on_pick, on_verdict=_on_verdict
    )


def _payload(
    place: Place,
    subject: Subject,
    config: MineConfig,
    query: Side,
    found: list[NeighborImage],
    sides: dict[int, Side],
    rank: int,
    pairs: Pairs,
    totals: dict[int, int | None],
) -> PairPayload:
    neighbor, key = found[rank - 1], sides[rank]
    verdicts = verdicts_of(place.workspace.store, query.image.id, _author())
    order = current_order(place, subject.dataset)
    ahead = step(place.workspace.store, order, query.image.id, forward=True)
    following = image_by_id(place.workspace.store, ahead) if ahead else None
    rows: list[Pair] = []
    for n, (q, k, s) in enumerate(zip(pairs.query, pairs.key, pairs.similarity, strict=True), 1):
        judged = verdicts.get((_box(query, q), key.image.id, _box(key, k)))
        rows.append({"rank": n, "q": int(q), "k": int(k), "similarity": float(s), "verdict": judged})
    selected = _selected(rows)
    return {
        "query": _photo(query),
        "neighbor": NeighborPhoto(**_photo(key), rank=rank, similarity=neighbor.similarity),
        "neighbors": [
            {
                "rank": n.rank,
                "id": n.image.id,
                "name": PurePosixPath(n.image.path).name,
                "thumb": photo_url(n.image.id, n.image.mtime_ns, WIDTHS[0]),
                "similarity": n.similarity,
                "pairs": totals[n.rank],
            }
            for n in found
        ],
        "pairs": rows,
        "selected": selected,
        "attention": _attention(place, subject, query, key, selected),
        "crop_url": crop_url(),
        "can_judge": True,
        "prefetch": [photo_url(following[0].id, following[0].mtime_ns)] if following else [],
    }


def _photo(side: Side) -> Photo:
    image = side.image
    return {
        "id": image.id,
        "name": image.path,
        "url": photo_url(image.id, image.mtime_ns),
        "width": image.width,
        "height": image.height,
        "boxes": side.boxes.tolist(),
        "rejected": preview.explain(side, SHOWN_REJECTED),
    }


def _attention(place: Place, subject: Subject, query: Side, key: Side, selected: Selection | None) -> Attention:
    known = {shell.encoder_label(e): e.id for e in encoders(place.workspace.store)}
    labels = list(known)
    own = labels.index(shell.encoder_label(subject.encoder))
    with st.sidebar.expander("Attention map", icon=":material/local_fire_department:"):
        label = st.selectbox("Encoder", labels, index=own, key="enc", bind="query-params")
        method = st.segmented_control(
            "Shows",
            ["activation", "cosine"],
            default="activation",
            required=True,
            key="map",
            bind="query-params",
            format_func={"activation": "activation norm", "cosine": "cosine to the RoI"}.__getitem__,
        )
        st.caption(
            "Last layer, this project's own maps (the paper names no method). Press A over the photos to show them."
        )
    chosen = label if label in known else labels[own]
    roi = None
    name = "activation norm"
    if method == "cosine":
        index = selected["q"] if selected else 0
        roi = (query.image.id, _box(query, index))
        name = f"cosine to query RoI {index + 1}"
    return {
        "query": attention_url(known[chosen], query.image.id, roi),
        "neighbor": attention_url(known[chosen], key.image.id, roi),
        "label": f"{name} · {chosen}",
        "low": "0" if roi else "low",
        "high": "1" if roi else "high",
        "colors": INFERNO,
    }


def _box(side: Side, index: int) -> tuple[int, ...]:
    return tuple(int(v) for v in side.boxes[index])


def _rank(count: int) -> int:
    asked = st.query_params.get("nn", "1")
    return min(max(1, int(asked)), count) if asked.isdecimal() and len(asked) < 6 else 1


def _selected(rows: list[Pair]) -> Selection | None:
    asked = st.query_params.get("pair", "")
    for row in rows:
        if f"{row['q']}-{row['k']}" == asked:
            return {"q": row["q"], "k": row["k"]}
    return None


def _author() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return "someone"


# Callbacks of the component ----------------------------------------------------------------------------


def _to_neighbor() -> None:
    rank = st.session_state["pair"].neighbor
    if isinstance(rank, int):
        st.query_params["nn"] = str(rank)
        st.query_params.pop("pair", None)


def _to_query() -> None:
    forward = st.session_state["pair"].step
    shown: Shown | None = st.session_state.get("shown")
    if forward not in (-1, 1) or shown is None:
        return
    opened = shell.workspace()
    place = Place(opened, shown.dataset, st.session_state.get("mined"))
    following = step(opened.store, current_order(place, shown.dataset), shown.query.image.id, forward == 1)
    if following is None:
        st.toast("That was the last photo." if forward == 1 else "That was the first photo.")
        return
    st.query_params["q"] = str(following)
    for name in ("nn", "pair"):
        st.query_params.pop(name, None)


def _on_pick() -> None:
    pick = st.session_state["pair"].pick or {}
    if isinstance(pick.get("q"), int) and isinstance(pick.get("k"), int):
        st.query_params["pair"] = f"{pick['q']}-{pick['k']}"
    else:
        st.query_params.pop("pair", None)


def _on_verdict() -> None:
    given = st.session_state["pair"].verdict or {}
    shown: Shown | None = st.session_state.get("shown")
    q, k = given.get("q"), given.get("k")
    if shown is None or not isinstance(q, int) or not isinstance(k, int):
        return
    if not (0 <= q < len(shown.query.boxes) and 0 <= k < len(shown.key.boxes)):
        return
    verdict = given.get("verdict")
    if verdict not in (None, "good", "wrong", "interesting"):
        return
    sides = (shown.query.image.id, shown.query.boxes[q]), (shown.key.image.id, shown.key.boxes[k])
    if not judge(shell.workspace().store, *sides, verdict, _author()):
        st.toast("Only pairs of a saved set can be judged: regenerate with these settings first.")
