"""The page Pair: a query photo, its neighbours, their pairs of RoIs, and the mining settings."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import streamlit as st

from orl_explorer.app.explorer.author import author
from orl_explorer.app.explorer.pair import Asked, MissingWork, PairName, RoiName, Seen, look
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.rejections import PlainBox
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.explore.order import current_order, first_photo
from orl_explorer.app.pages.forms import settings_described
from orl_explorer.app.pages.lost import tell_lost
from orl_explorer.app.pages.pair import settings
from orl_explorer.app.pages.pair.component import pair_view
from orl_explorer.app.pages.pair.payload import Around, Heat, payload
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.encoders import VECTORS, encoder_by_id, encoders_with_weights
from orl_explorer.db.gallery.order import step
from orl_explorer.db.models import Dataset, Image
from orl_explorer.db.people.verdicts import judge
from orl_explorer.db.photos import image_by_id, photo_roots
from orl_explorer.db.sets.read import holds, set_by_id
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.by_vectors import refuse_settings
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.settings import differences
from orl_explorer.train.words import plural

PairOfBoxes = tuple[tuple[int, PlainBox], tuple[int, PlainBox]]  # of both sides, the id of the photo, and the box
UNNOTICED = 8  # boxes that are embedded without a spinner


@dataclass(frozen=True)
class PairOnScreen:
    """The photos on screen, for the callbacks, which get only ranks and indices from the browser."""

    query: Seen
    key: Seen
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
    encoder = encoder_by_id(place.workspace.store, place.mined.encoder_id)
    _view(place, place.dataset, PreviewSubject(place.workspace, place.mined, place.dataset, encoder))


@st.fragment(key="view")
def _view(place: Place, dataset: Dataset, subject: PreviewSubject) -> None:
    """Draw everything except the pickers. Sliders, arrow keys and clicks on the stage rerun only this fragment."""
    if set_by_id(place.workspace.store, subject.mined.id) is None:
        st.rerun()  # the set was deleted: update the pickers
    image = query_image(place, dataset)
    if image is None:
        return
    config = settings.sliders(subject.mined)
    subject = replace(subject, approximate=subject.encoder.kind != VECTORS and settings.approximate())
    try:
        refuse_settings(subject.encoder, config)
        _stage(place, subject, image, config)
    except UserError as problem:
        st.error(shell.escape(str(problem)), icon=":material/broken_image:")


def query_image(place: Place, dataset: Dataset) -> Image | None:
    """Return the photo in the URL, else the gallery's first. If there is none, say why."""
    asked = shell.as_id(st.query_params.get("q", ""))
    if asked is not None:
        found = image_by_id(place.workspace.store, asked)
        if found is None:
            st.warning("Photo not found. Choose one on the Explore page.")
        elif found[1].id not in photo_roots(place.workspace.store, dataset.id):
            st.warning(f"This photo belongs to another dataset, {shell.escape(found[1].name)}.")
            st.button(
                "Open its dataset", on_click=shell.pick_dataset, args=(found[1].name,), icon=":material/arrow_forward:"
            )
        else:
            return found[0]
        return None
    return first_photo(place.workspace.store, current_order(place, dataset))


def _stage(place: Place, subject: PreviewSubject, image: Image, config: MineConfig) -> None:
    asked = Asked(
        image,
        config,
        current_order(place, subject.dataset),
        author(),
        rank=_rank(),
        beside=_beside(place, subject),
        pair=PairName.parse(st.query_params.get("pair", "")),
        roi=RoiName.parse(st.query_params.get("roi")),
    )
    looked = look(subject, asked, _meanwhile)
    if looked is None:
        name = PurePosixPath(image.path).name
        st.info(shell.escape(f"{name} is not in this set: {image.error}."), icon=":material/info:")
        return
    if not looked.held:
        st.info(
            f"The set **{shell.escape(subject.mined.name)}** does not hold this photo: this is what mining would find "
            "for it among the photos of the set.",
            icon=":material/add_photo_alternate:",
        )
    st.session_state["shown"] = PairOnScreen(looked.query, looked.neighbor, subject.dataset)
    tell_lost(place.workspace.store, image, looked.neighbor.photo)
    settings.counts(looked.query, looked.neighbor, config)
    if subject.approximate:
        said = ":material/speed: **Approximate**: features of RoIs are cut from a feature map of the photo (RoIAlign)."
        if looked.agreement is not None:
            same, exact = looked.agreement
            said += f" Finds {same} of the set's {plural(exact, 'pair')} of these two photos."
        st.caption(said)
    settings.regenerate(place, subject, image, config)
    around = Around(
        picture_urls(),
        _heat(place, subject),
        own_heat=None if subject.encoder.kind == VECTORS else subject.encoder.id,
        approximate=subject.approximate,
        can_judge=looked.held and looked.rank > 0 and not shell.read_only(),
        dataset=subject.dataset.name,
        mined=subject.mined.name,
        encoder=shell.encoder_label(subject.encoder),
        settings=settings_described(config),
        changed=differences(config, MineConfig.of(subject.mined)),
    )
    pair_view(
        payload(looked, around),
        key="pair",
        on_neighbor=_to_neighbor,
        on_step=_to_query,
        on_pick=_on_pick,
        on_match=_to_match,
        on_search=_to_search,
        on_verdict=_on_verdict,
    )


def _meanwhile(missing: MissingWork) -> AbstractContextManager[object]:
    """Return a spinner for work that takes noticeable time."""
    work = []
    if missing.photos:
        work.append("embedding the photo")
    if missing.searches:
        work.append(f"searching raw boxes of {plural(missing.searches, 'photo')}")
    if missing.maps:
        work.append(f"computing maps of {plural(missing.maps, 'photo')}")
    if missing.boxes > UNNOTICED:
        work.append(f"embedding {missing.boxes} new boxes")
    said = " and ".join(work)
    return st.spinner(f"{said[0].upper()}{said[1:]} …", show_time=True) if said else st.empty()


def _heat(place: Place, subject: PreviewSubject) -> Heat | None:
    """Draw the choice of an attention map. None if no encoder can compute one."""
    known = {shell.encoder_label(e): e.id for e in encoders_with_weights(place.workspace.store)}
    if not known:
        return None
    labels, of_set = list(known), shell.encoder_label(subject.encoder)
    own = labels.index(of_set) if of_set in known else 0
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
            "Maps of the last layer. The paper does not name its method. Press A over the photos to show the maps."
        )
    chosen = label if label in known else labels[own]
    return Heat(known[chosen], chosen, method == "cosine")


def _beside(place: Place, subject: PreviewSubject) -> Image | None:
    """Return the photo of the set that the URL names beside the query, such as one that a search found."""
    asked = shell.as_id(st.query_params.get("with", ""))
    store = place.workspace.store
    found = image_by_id(store, asked) if asked is not None and holds(store, subject.mined.id, asked) else None
    return found[0] if found else None


def _rank() -> int:
    asked = st.query_params.get("nn", "1")
    return int(asked) if asked.isdecimal() and len(asked) < 6 else 1


# Callbacks of the component ----------------------------------------------------------------------------


def _go(**where: str) -> None:
    """Write parameters to the URL, with the values of the controls: see ``MiningPanel.in_url``."""
    shell.put_in_url(**where, **settings.in_url())


def _to_neighbor() -> None:
    rank = st.session_state["pair"].neighbor
    if isinstance(rank, int):
        roi = RoiName.parse(st.query_params.get("roi"))
        stays = roi is not None and roi.side == "query"
        _go(nn=str(rank), pair="", roi=str(roi) if stays else "")


def _to_match() -> None:
    asked = st.session_state["pair"].match or {}
    rank, q, k = (asked.get(name) for name in ("rank", "q", "k"))
    if isinstance(rank, int) and isinstance(q, int):
        _go(nn=str(rank), pair=str(PairName(q, k)) if isinstance(k, int) else "")


def _to_search() -> None:
    asked, shown = st.session_state["pair"].search or {}, st.session_state.get("shown")
    if isinstance(shown, PairOnScreen):
        shell.open_page("search", **example_named(shown, RoiName.parse(asked.get("roi"))))


def example_named(shown: PairOnScreen, roi: RoiName | None) -> dict[str, str]:
    """Return the URL parameters of the Search page for a box on screen; None stands for the query photo."""
    seen = shown.key if roi is not None and roi.side == "neighbor" else shown.query
    boxes = dict(enumerate(seen.boxes))
    if roi is not None and roi.rejected:
        boxes = {rejected.raw: rejected.box for rejected in seen.rejected}
    box = boxes.get(roi.index) if roi is not None else None
    return {"q": str(seen.photo.id)} | ({"box": "-".join(str(int(v)) for v in box)} if box else {})


def _to_query() -> None:
    forward = st.session_state["pair"].step
    shown: PairOnScreen | None = st.session_state.get("shown")
    if forward not in (-1, 1) or shown is None:
        return
    opened = shell.workspace()
    place = Place(opened, shown.dataset, st.session_state.get("mined"))
    following = step(opened.store, current_order(place, shown.dataset), shown.query.photo.id, forward == 1)
    if following is None:
        st.toast("This is the last photo." if forward == 1 else "This is the first photo.")
        return
    _go(q=str(following), nn="", pair="", roi="", **{"with": ""})


def _on_pick() -> None:
    pick = st.session_state["pair"].pick or {}
    q, k, roi = pick.get("q"), pick.get("k"), RoiName.parse(pick.get("roi"))
    _go(pair=str(PairName(q, k)) if isinstance(q, int) and isinstance(k, int) else "", roi=str(roi) if roi else "")


def sides_named(shown: PairOnScreen, q: int, k: int, said: object) -> PairOfBoxes | None:
    """Return both sides of a pair on screen by the indices of its RoIs. None if the browser means another pair."""
    if not (0 <= q < len(shown.query.boxes) and 0 <= k < len(shown.key.boxes)):
        return None
    sides = (shown.query.photo.id, shown.query.boxes[q]), (shown.key.photo.id, shown.key.boxes[k])
    meant = [{"photo": photo, "box": list(box)} for photo, box in sides]
    return sides if said == meant else None


def _on_verdict() -> None:
    given = st.session_state["pair"].verdict or {}
    shown: PairOnScreen | None = st.session_state.get("shown")
    q, k = given.get("q"), given.get("k")
    if shell.read_only() or shown is None or not isinstance(q, int) or not isinstance(k, int):
        return
    verdict = given.get("verdict")
    if verdict not in (None, "good", "wrong", "interesting"):
        return
    if not (sides := sides_named(shown, q, k, given.get("sides"))):
        st.toast("Another pair came on screen meanwhile, so this verdict was not stored. Judge the pair again.")
        return
    if not judge(shell.workspace().store, *sides, verdict, author()):
        st.toast("You can judge only pairs of a saved set. Regenerate with these settings first.")
