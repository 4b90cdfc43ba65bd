"""Probes of a run: the pairs that its encoder finds between a few photos, at each checkpoint."""

from __future__ import annotations

import numpy as np
import streamlit as st

from orl_explorer.app.pages.picture import picture
from orl_explorer.app.pages.shell import as_id
from orl_explorer.app.pages.train.curves import per_epoch
from orl_explorer.app.pages.train.probe_view import Checkpoint, Couple, ProbeMatch, ProbePhoto, probes_view
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.models import CorrespondenceSet, Image, Run
from orl_explorer.db.runs.probes import ProbedPair, probed_pairs, probed_steps
from orl_explorer.db.sets.read import images_by_id, pair_rows, set_by_id, sets
from orl_explorer.train.workspace import Workspace

MOST = 200  # checkpoints shown; if there are more, an even selection
KEY = "probes"


def panel(opened: Workspace, run: Run) -> None:
    """Draw the probes of a run, or a notice if there are none."""
    steps = some_of(probed_steps(opened.store, run.id), MOST)
    if not steps:
        st.info(
            "No probe pairs yet. At each checkpoint, the encoder matches the RoIs of a few photos again. This needs a "
            "correspondence set of these photos.",
            icon=":material/compare:",
        )
        return
    mined = _set_of(opened, run)
    found = probed_pairs(opened.store, run.id, *steps)
    couples = couples_of(opened, steps, found, mined)
    per = per_epoch(run) or 1.0
    checkpoints: list[Checkpoint] = [{"step": s, "epoch": round(s / per, 2)} for s in steps]
    asked = {name: st.query_params.get(name, "") for name in ("couple", "at")}
    probes_view(
        {
            "couples": couples,
            "checkpoints": checkpoints,
            "own": mined.name if mined else "",
            "couple": as_id(asked["couple"]) or 0,
            "step": as_id(asked["at"]),
            "figure": {
                "name": f"probes-{run.id}",
                "caption": [f"Pairs that run {run.id} · {run.name} finds between two photos during training."],
                "place": {"run": str(run.id), "show": "probes"},
            },
        },
        key=KEY,
        on_look=_looked,
    )


def some_of(steps: list[int], most: int) -> list[int]:
    """Return an even selection of at most ``most`` steps, with the first and the last."""
    if len(steps) <= most:
        return steps
    places = np.linspace(0, len(steps) - 1, most).round().astype(int)
    return [steps[place] for place in places.tolist()]


def couples_of(
    opened: Workspace, steps: list[int], found: list[ProbedPair], mined: CorrespondenceSet | None
) -> list[Couple]:
    """Return for each query photo and neighbour the pairs of each step, and those of the set."""
    keys = list(dict.fromkeys((pair.image_id, pair.neighbor_id) for pair in found))
    images = images_by_id(opened.store, sorted({image for key in keys for image in key}))
    own: dict[tuple[int, int], list[ProbeMatch]] = {key: [] for key in keys}
    if mined is not None:
        for query, rows in pair_rows(opened.store, mined.id, sorted({query for query, _ in keys})).items():
            for row in rows:
                if (query, row.neighbor_id) in own:
                    match: ProbeMatch = {"q": [*row.query_box], "k": [*row.key_box], "similarity": row.similarity}
                    own[query, row.neighbor_id].append(match)
    then: dict[tuple[int, int, int], list[ProbeMatch]] = {}
    for pair in found:
        match = {"q": pair.query.tolist(), "k": pair.key.tolist(), "similarity": round(pair.similarity, 4)}
        then.setdefault((pair.step, pair.image_id, pair.neighbor_id), []).append(match)
    return [
        {
            "query": _photo(images[query]),
            "neighbor": _photo(images[neighbor]),
            "own": own[query, neighbor],
            "found": [then.get((step, query, neighbor), []) for step in steps],
        }
        for query, neighbor in keys
    ]


def _photo(image: Image) -> ProbePhoto:
    urls = picture_urls()
    return ProbePhoto(**picture(image, urls), thumb=urls.photo(image.id, image.mtime_ns, WIDTHS[0]))


def _set_of(opened: Workspace, run: Run) -> CorrespondenceSet | None:
    """Return the set that a run trains on; for stage 1, the newest set of its dataset."""
    if run.correspondence_set_id is not None:
        return set_by_id(opened.store, run.correspondence_set_id)
    return next((s for s in sets(opened.store) if s.dataset_id == run.dataset_id), None)


def _looked() -> None:
    """Callback: write the photos and the checkpoint on screen to the URL."""
    told = st.session_state.get(KEY)  # None if the trigger came while the page was being drawn
    look = (told.look if told else None) or {}
    if isinstance(look.get("couple"), int) and isinstance(look.get("step"), int):
        st.query_params["couple"], st.query_params["at"] = str(look["couple"]), str(look["step"])
