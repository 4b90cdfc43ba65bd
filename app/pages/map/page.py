"""The page Map: the photos of a dataset or RoIs of a set in the plane, placed by the features of an encoder."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath

import numpy as np
import streamlit as st

from orl_explorer.app.components.figure import Figure
from orl_explorer.app.explorer.author import author
from orl_explorer.app.pages import launching, shell, start
from orl_explorer.app.pages.explore.component import PhotoTile, gallery
from orl_explorer.app.pages.map.component import Colouring, MapLook, MapPayload, map_view
from orl_explorer.app.pages.pace import told_of_run
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.points import CLUSTERS, about_url, column_url, shown_photos, shown_rois
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.encoders import encoder_by_id, encoders
from orl_explorer.db.people.selections import keep_selection, selections
from orl_explorer.db.runs.runs import LIVE, runs
from orl_explorer.db.sets.read import images_by_id
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.kinds import MakeMap
from orl_explorer.train.jobs.launcher import request_stop, run_doing
from orl_explorer.train.mining.maps import FEWEST, ROIS, Map, MapOf, damaged_map, find_map, points_of
from orl_explorer.train.words import plural

SHOWN_CHOSEN = 48  # photos below the map if the server is read-only and cannot keep a selection
CLUSTERS_AT_FIRST = 6
AT_RANDOM = "some at random"


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    shown = _subject(place)
    if shown is None:
        st.title("Map", anchor=False)
        st.info("No encoder yet. A map needs its features.", icon=":material/info:")
        start.unmined(place, place.dataset)
        return
    try:
        _map(place, shown)
    except UserError as problem:  # the stored features cannot be used
        st.title("Map", anchor=False)
        st.error(shell.escape(str(problem)), icon=":material/error:")


def _map(place: Place, shown: MapOf) -> None:
    """Draw the saved map, the run that computes one, or the offer to compute one."""
    making = run_doing(place.workspace, MakeMap.showing(shown))
    made = find_map(place.workspace, shown)
    if making is not None:
        _watch(place, making.id)
    elif made is None or not made.fresh:
        _offer(place, shown, made)
    if made is not None:
        _draw(place, shown, made)


def _subject(place: Place) -> MapOf | None:
    """Draw the pickers and return what the map shows."""
    assert place.dataset is not None
    store = place.workspace.store
    known = {row.name: row for row in encoders(store)}
    with st.sidebar:
        what = "photos"
        if place.mined is not None:
            what = st.segmented_control(
                "Points", ["photos", "RoIs"], default="photos", required=True, key="points", bind="query-params"
            )
        if what == "RoIs" and place.mined is not None:
            kept = {f"{name} ({number})": number for number, name in selections(store, place.dataset.id)}
            chosen = st.selectbox(
                "Photos",
                [AT_RANDOM, *kept],
                key="of",
                bind="query-params",
                help=f"Photos of the RoIs. Select points on a map of photos to add a choice. At most {ROIS:,} RoIs.",
            )
            st.caption(f"Encoder of the set: {shell.escape(shell.label_of(place.workspace, place.mined.encoder_id))}.")
            return shown_rois(place.workspace, place.mined, kept.get(chosen or ""))
        if not known:
            return None
        own = encoder_by_id(store, place.mined.encoder_id) if place.mined else None
        first = list(known).index(own.name) if own else len(known) - 1
        name = st.selectbox("Encoder", list(known), index=first, key="by_encoder", bind="query-params")
        encoder = known.get(name) or next(iter(known.values()))
        st.caption(shell.escape(shell.encoder_label(encoder)))
    return shown_photos(place.workspace, place.dataset.id, encoder.id, place.mined)


# Making ------------------------------------------------------------------------------------------------


def _offer(place: Place, shown: MapOf, made: Map | None) -> None:
    points = points_of(place.workspace, shown)
    what = "photos" if shown.mined is None else "RoIs"
    if (file := damaged_map(place.workspace, shown)) is not None:
        st.warning(
            f"The saved map {shell.escape(str(file))} cannot be read. Make it again.", icon=":material/broken_image:"
        )
    if len(points) < FEWEST:
        few = shown.dataset.image_count < FEWEST
        st.info(
            f"A map needs at least {FEWEST} readable photos. This dataset has {shown.dataset.image_count}."
            if few
            else f"Too few features for a map: {shell.escape(shown.encoder.name)} has {len(points)} of these {what}. "
            "Mine this dataset with it on the Explore page.",
            icon=":material/scatter_plot:",
        )
        return
    if made is not None:
        st.warning(
            f"This map is out of date. It shows {len(made.points):,} {what}; there are {len(points):,} now.",
            icon=":material/history:",
        )
    if shell.read_only():
        if made is None:
            st.info("This server is read-only. This map does not exist yet.", icon=":material/lock:")
        return
    ended = [r for r in runs(place.workspace.store, ("failed", "crashed")) if r.kind == "map"]
    if ended and ended[0].encoder_id == shown.encoder.id and ended[0].dataset_id == shown.dataset.id and made is None:
        st.error(f"The last run failed: {shell.escape(ended[0].error or ended[0].status)}")
    with st.container(border=made is None):
        if made is None:
            st.subheader(f"{len(points):,} {what}, features of {shell.escape(shown.encoder.name)}", anchor=False)
            st.markdown(
                "The map places similar features close together, by principal components and t-SNE. A thousand points "
                "take seconds, a hundred thousand take minutes. The map is stored."
            )
        label = "Make map" if made is None else "Update map"
        pressed = st.button(label, type="primary", icon=":material/scatter_plot:", key="make")
        if pressed and launching.started(place.workspace, lambda: MakeMap.showing(shown)) is not None:
            st.rerun()


@st.fragment(run_every=1.0)
def _watch(place: Place, run_id: int) -> None:
    live = {run.id: run for run in runs(place.workspace.store, LIVE)}
    if run_id not in live:
        st.rerun()
    run = live[run_id]
    with st.container(border=True):
        st.progress(shell.share_done(run), text=told_of_run(run))
        if not shell.read_only() and st.button("Stop run", icon=":material/stop_circle:", key="cancel"):
            shell.attempt(request_stop, place.workspace, run_id)


# Drawing -----------------------------------------------------------------------------------------------


def _draw(place: Place, shown: MapOf, made: Map) -> None:
    map_view(
        _payload(place, shown, made),
        key="points_map",
        on_open=_on_open,
        on_keep=partial(_on_keep, place, shown, made),
        on_look=_on_look,
    )
    supervised = f", which is :orange[{shell.SUPERVISED}]" if shown.encoder.supervised else ""
    st.caption(
        f"Features of {shell.escape(shown.encoder.name)}{supervised}: {made.components.shape[1]} principal components, "
        "then t-SNE by cosine, with a fixed seed. Points that are close are similar; large distances mean little."
    )
    _chosen_here(place, shown)


def _payload(place: Place, shown: MapOf, made: Map) -> MapPayload:
    colourings = _colourings(place, shown)
    return {
        "what": "photos" if shown.mined is None else "rois",
        "count": len(made.points),
        "state": made.state,
        "column_url": column_url(shown, place.mined),
        "photo_url": picture_urls().any_photo(WIDTHS[0]),
        "crop_url": picture_urls().any_crop,
        "about_url": about_url(),
        "colourings": colourings,
        "most_clusters": CLUSTERS[-1],
        "look": _look([c["name"] for c in colourings]),
        "figure": _figure(place, shown, made),
    }


def _figure(place: Place, shown: MapOf, made: Map) -> Figure:
    what = f"{len(made.points):,} " + (f"RoIs of {shown.mined.name}" if shown.mined else "photos")
    own = {"points": "RoIs"} if shown.mined else {"points": "photos", "by_encoder": shown.encoder.name}
    return {
        "name": f"map-{shown.dataset.name}-{shown.encoder.name}",
        "caption": [
            f"{what} of {shown.dataset.name} by features of {shell.encoder_label(shown.encoder)}: "
            f"{made.components.shape[1]} principal components, then t-SNE by cosine.",
        ],
        "place": shell.lasting(place, **own),
    }


def _colourings(place: Place, shown: MapOf) -> list[Colouring]:
    """Return the columns to colour by, as far as they are known."""
    found: list[Colouring] = []
    if shown.mined is not None:
        if shown.dataset.annotation_count:
            found.append({"name": "category", "label": "Category", "note": "annotated object with an IoU of ½ or more"})
        found.append({"name": "similarity", "label": "Best similarity", "note": f"of its pairs in {shown.mined.name}"})
        found.append({"name": "pairs", "label": "Pairs", "note": f"as a query, in {shown.mined.name}"})
    else:
        if shown.dataset.annotation_count:
            found.append({"name": "category", "label": "Category", "note": "of the largest annotated object"})
        if place.mined is not None:
            note = f"of a photo's pairs in {place.mined.name}"
            found.append({"name": "similarity", "label": "Mean similarity", "note": note})
            found.append({"name": "pairs", "label": "Pairs", "note": f"of a photo in {place.mined.name}"})
        found.append({"name": "tag", "label": "Tag", "note": "the first in alphabetical order"})
    found.append({"name": "cluster", "label": "Cluster", "note": "k-means of the principal components"})
    return found


def _look(names: list[str]) -> MapLook:
    """Return the display options from the URL; invalid ones have their default."""
    query = st.query_params
    by, k, at = query.get("colour", ""), query.get("clusters", ""), query.get("at", "")
    try:
        numbers = [float(part) for part in at.split(",")] if at else []
    except ValueError:
        numbers = []
    sensible = len(numbers) == 3 and all(abs(n) <= 1.2 for n in numbers[:2]) and 0.5 <= numbers[2] <= 400
    return {
        "by": by if by in names else names[0],
        "k": int(k) if k.isdecimal() and len(k) < 3 and int(k) in CLUSTERS else CLUSTERS_AT_FIRST,
        "only": [label[:200] for label in query.get_all("only")][:100],
        "at": at if sensible else "",
    }


# Choosing ----------------------------------------------------------------------------------------------


def _on_open() -> None:
    image_id = st.session_state["points_map"].open
    if isinstance(image_id, int):
        st.query_params.pop("at", None)
        shell.open_page("pair", q=str(image_id))


def _on_keep(place: Place, shown: MapOf, made: Map) -> None:
    ids = chosen_images(made, st.session_state["points_map"].keep)
    if shell.read_only():
        st.session_state["chosen"] = _key_of(shown), ids[:SHOWN_CHOSEN].tolist(), len(ids)
        return
    if not len(ids):
        return
    name = f"{len(ids):,} chosen on a map by {shown.encoder.name}"
    kept = keep_selection(place.workspace.store, shown.dataset.id, ids, name, author())
    shell.open_page("explore", selection=str(kept))


def chosen_images(made: Map, indices: object) -> np.ndarray:
    """Return the images of the points at these indices, int64 [n], ascending. Invalid indices are ignored."""
    if not isinstance(indices, list):
        return np.empty(0, np.int64)
    valid = [i for i in indices if type(i) is int and 0 <= i < len(made.points)]
    return np.unique(made.points.images[valid]) if valid else np.empty(0, np.int64)


def _key_of(shown: MapOf) -> tuple[int, str]:
    """Return what tells a map from others."""
    return shown.encoder.id, shown.file


def _chosen_here(place: Place, shown: MapOf) -> None:
    """Draw the photos that were selected on this map. A read-only server cannot keep them as a selection."""
    chosen_on, ids, count = st.session_state.get("chosen", (None, [], 0))
    if chosen_on != _key_of(shown) or not ids:
        return
    first = f", the first {len(ids)}" if count > len(ids) else ""
    st.subheader(plural(count, "selected photo") + first, anchor=False)
    images = images_by_id(place.workspace.store, ids)
    tiles: list[PhotoTile] = [
        {
            "id": image.id,
            "thumb": picture_urls().photo(image.id, image.mtime_ns, WIDTHS[0]),
            "name": PurePosixPath(image.path).name,
            "badges": [],
            "width": image.width or 4,
            "height": image.height or 3,
        }
        for image in (images[i] for i in ids if i in images)
    ]
    gallery(tiles, key="chosen_tiles", on_open=_on_open_chosen)


def _on_open_chosen() -> None:
    image_id = st.session_state["chosen_tiles"].open
    if isinstance(image_id, int):
        shell.open_page("pair", q=str(image_id))


def _on_look() -> None:
    keep_map_look(st.session_state["points_map"].look)


def keep_map_look(look: object) -> None:
    """Write the display options from the browser to the URL."""
    if not isinstance(look, dict):
        return
    only = look.get("only")
    said: dict[str, str | list[str]] = {
        "colour": str(look.get("by") or "")[:40],
        "clusters": "" if look.get("k") == CLUSTERS_AT_FIRST else str(look.get("k") or "")[:4],
        "only": [str(label)[:200] for label in only][:100] if isinstance(only, list) else [],
        "at": str(look.get("at") or "")[:40],
    }
    for name, value in said.items():
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)
