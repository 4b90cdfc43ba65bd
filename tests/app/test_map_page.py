"""The map page, and the columns that it sends to the browser."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orl_explorer.app.pages.map.page import _on_keep, chosen_images
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.pictures import ROUTES
from orl_explorer.app.server.points import POINT_ROUTES, packed_numbers
from orl_explorer.db.models import Annotation, Dataset, SetImage
from orl_explorer.db.people.selections import keep_selection
from orl_explorer.db.people.tags import tag_photos
from orl_explorer.db.photos import annotations_of
from orl_explorer.db.runs.runs import add_run, runs, update_run
from orl_explorer.db.sets.read import find_set, rois_of
from orl_explorer.train.jobs.kinds import MakeMap
from orl_explorer.train.mining.maps import make_map
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component
from tests.named import photos_map, rois_map

PHOTOS, ROIS = "/app/static/map/photos/1/1/1", "/app/static/map/rois/1/0"
TYPES = {"float32": "<f4", "int32": "<i4", "int16": "<i2", "uint16": "<u2"}


@pytest.fixture
def client(here: Workspace) -> TestClient:
    return TestClient(Starlette(routes=ROUTES + POINT_ROUTES))


@pytest.fixture
def made(here: Workspace) -> Workspace:
    """The demo with a map of its photos."""
    make_map(here, photos_map(here, "demo", "starter"))
    return here


def column(client: TestClient, path: str) -> tuple[dict, np.ndarray]:
    """Return header and values of a column."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    length = int.from_bytes(answer.content[:4], "little")
    assert (4 + length) % 4 == 0
    header = json.loads(answer.content[4 : 4 + length])
    return header, np.frombuffer(answer.content[4 + length :], TYPES[header["dtype"]])


# Columns -----------------------------------------------------------------------------------------------


def test_a_column_is_a_header_and_a_flat_array_at_a_multiple_of_four_bytes() -> None:
    body = packed_numbers({"dtype": "int16"}, np.array([1, -2], "<i2"))
    assert body == b'\x14\x00\x00\x00{"dtype": "int16"}  \x01\x00\xfe\xff'


def test_places_and_images_of_a_map_of_photos(client: TestClient, made: Workspace) -> None:
    _, places = column(client, f"{PHOTOS}/places")
    _, images = column(client, f"{PHOTOS}/images")
    assert images.tolist() == list(range(1, 13))
    assert places.reshape(-1, 2).shape == (12, 2)
    assert np.abs(places).max() == pytest.approx(1)


def test_photos_are_coloured_by_their_largest_object(client: TestClient, made: Workspace) -> None:
    with made.store.session() as session:
        session.execute(Annotation.__table__.delete().where(Annotation.image_id == 5))
        session.execute(update(Dataset).values(revision=Dataset.revision + 1))
    header, values = column(client, f"{PHOTOS}/category")
    wanted = []
    for image in range(1, 13):
        boxes = annotations_of(made.store, image)
        wanted.append(max(boxes, key=lambda b: b.w * b.h).category if boxes else "none")
    assert [header["labels"][v] for v in values] == wanted
    assert header["labels"][-1] == "none"
    assert header["counts"][:-1] == sorted(header["counts"][:-1], reverse=True)
    assert sum(header["counts"]) == 12


def test_photos_are_coloured_by_what_the_set_found_in_them(client: TestClient, made: Workspace) -> None:
    with made.store.session() as session:
        session.execute(update(SetImage).where(SetImage.image_id == 4).values(pair_count=77, mean_similarity=None))
    header, pairs = column(client, f"{PHOTOS}/pairs")
    assert pairs[3] == 77
    assert header["without"] == 0
    header, similarity = column(client, f"{PHOTOS}/similarity")
    assert np.isnan(similarity[3])
    assert header["without"] == 1
    known = np.delete(similarity, 3)
    assert known.min() <= header["low"] < header["high"] <= known.max()


def test_photos_are_coloured_by_tag(client: TestClient, made: Workspace) -> None:
    tag_photos(made.store, [2, 3], "zebra", "ann")
    tag_photos(made.store, [3], "apple", "bob")
    header, values = column(client, f"{PHOTOS}/tag")
    assert [header["labels"][v] for v in values[:4]] == ["none", "zebra", "apple", "none"]


def test_photos_are_coloured_by_cluster(client: TestClient, made: Workspace) -> None:
    header, values = column(client, f"{PHOTOS}/cluster?k=3")
    assert header["labels"] == ["cluster 1", "cluster 2", "cluster 3"]
    assert values.max() == 2
    assert column(client, f"{PHOTOS}/cluster?k=3")[1].tolist() == values.tolist()


def test_rois_have_boxes_and_are_coloured_by_the_object_they_cover(client: TestClient, here: Workspace) -> None:
    made = make_map(here, rois_map(here, "demo-starter"))
    _, boxes = column(client, f"{ROIS}/boxes")
    _, images = column(client, f"{ROIS}/images")
    assert made.points.boxes is not None
    assert boxes.reshape(-1, 4).tolist() == made.points.boxes.tolist()
    header, values = column(client, f"{ROIS}/category")

    def overlap(a: list[float], b: list[float]) -> float:  # plainly
        wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
        high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
        shared = max(wide, 0) * max(high, 0)
        return shared / (a[2] * a[3] + b[2] * b[3] - shared)

    for at in range(0, len(images), 7):
        box = boxes.reshape(-1, 4)[at].tolist()
        found = [(overlap(box, [o.x, o.y, o.w, o.h]), o.category) for o in annotations_of(here.store, int(images[at]))]
        best = max(found)
        assert header["labels"][values[at]] == (best[1] if best[0] >= 0.5 else "none")
    _, pairs = column(client, f"{ROIS}/pairs")
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    assert np.nansum(pairs) == mined.pair_count


def test_what_the_browser_has_is_not_sent_again(client: TestClient, made: Workspace) -> None:
    first = client.get(f"{PHOTOS}/places")
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.get(f"{PHOTOS}/places", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (f"{PHOTOS}/secrets", "There is no column 'secrets'."),
        (f"{PHOTOS}/boxes", "There is no column 'boxes'."),
        (f"{PHOTOS}/cluster?k=99", "Invalid number of clusters. Use 2 to 8."),
        (f"{PHOTOS}/cluster?k=-1", "Invalid number of clusters. Use 2 to 8."),
        (f"{PHOTOS}/cluster", "Invalid number of clusters. Use 2 to 8."),
        ("/app/static/map/photos/1/1/0/pairs", "There is no column 'pairs'."),
        ("/app/static/map/photos/1/1/99/places", "There is no correspondence set 99."),
        ("/app/static/map/photos/1/99/1/places", "There is no encoder 99. See `orl encoders`."),
        ("/app/static/map/photos/99/1/1/places", "There is no dataset 99."),
        ("/app/static/map/rois/99/0/places", "There is no correspondence set 99."),
        ("/app/static/map/rois/1/0/places", "This map does not exist yet."),
        ("/app/static/map/rois/1/5/places", "This map does not exist yet."),
        ("/app/static/about/99", "There is no photo 99."),
        ("/app/static/map/rois/..%2f..%2fetc/0/places", "Not Found"),
        ("/app/static/map/rois/1/-1/places", "Not Found"),
    ],
)
def test_whatever_is_not_there_is_a_sentence(client: TestClient, made: Workspace, path: str, sentence: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (404, sentence)


def test_a_tooltip_learns_the_name_of_a_photo(client: TestClient) -> None:
    assert client.get("/app/static/about/3").json() == {"name": "images/scene-002.jpg"}


# The page ----------------------------------------------------------------------------------------------


def test_a_map_that_was_not_made_yet_is_offered(here: Workspace, show: Show) -> None:
    at = show("map")
    assert not at.exception
    assert at.subheader[0].value == "12 photos, features of starter"
    at.button("make").click().run()
    assert not at.exception
    assert next((r.kind, r.params["dataset"]) for r in runs(here.store)) == ("map", "demo")
    from orl_explorer.train.jobs.launcher import wait

    assert wait(here, runs(here.store)[0].id).status == "done"
    assert component(show("map"))["count"] == 12


def test_a_map_that_is_being_made_can_be_cancelled(here: Workspace, show: Show) -> None:
    from orl_explorer.train.jobs.launcher import identity

    run = add_run(here.store, MakeMap.showing(photos_map(here, "demo", "starter")).row(here))
    update_run(
        here.store, run.id, status="running", phase="Placing points on the map", total=750, progress=75, **identity()
    )
    at = show("map")
    assert not at.exception
    at.button("cancel").click().run()
    assert runs(here.store)[0].status == "stopping"


def test_the_colourings_are_what_is_known_of_the_points(made: Workspace, show: Show) -> None:
    photos = component(show("map"))
    assert [c["name"] for c in photos["colourings"]] == ["category", "similarity", "pairs", "tag", "cluster"]
    assert photos["look"] == {"by": "category", "k": 6, "only": [], "at": ""}
    make_map(made, rois_map(made, "demo-starter"))
    rois = component(show("map", points="RoIs"))
    assert [c["name"] for c in rois["colourings"]] == ["category", "similarity", "pairs", "cluster"]
    mined = find_set(made.store, "demo-starter")
    assert mined is not None
    assert (rois["what"], rois["count"]) == ("rois", mined.candidate_count)


def test_rois_of_a_kept_selection_have_a_map_of_their_own(made: Workspace, show: Show) -> None:
    kept = keep_selection(made.store, 1, [3, 7], "two")
    at = show("map", points="RoIs", of=f"two ({kept})")
    stored = rois_of(made.store, 1, [3, 7])
    assert at.subheader[0].value.startswith(f"{len(stored[3].ids) + len(stored[7].ids)} RoIs")


def test_what_the_url_says_of_looking_is_obeyed_and_nonsense_is_not(made: Workspace, show: Show) -> None:
    look = component(show("map", colour="cluster", clusters="4", at="0.100,-0.200,3.00", only="cluster 2"))["look"]
    assert look == {"by": "cluster", "k": 4, "only": ["cluster 2"], "at": "0.100,-0.200,3.00"}
    for value in ("nan", "9" * 5000, "1,2", "inf,inf,inf", "<b>"):
        at = show("map", colour=value, clusters=value, at=value, points=value, by_encoder=value, of=value)
        assert not at.exception
        assert component(at)["look"] == {"by": "category", "k": 6, "only": [], "at": ""}


def test_an_encoder_without_features_says_what_to_do(here: Workspace, show: Show) -> None:
    from orl_explorer.db.encoders import add_encoder
    from tests.app.test_attention_page import encoder

    add_encoder(here.store, encoder("other", "imported", 2))
    at = show("map", by_encoder="other")
    assert not at.exception
    assert "Too few features for a map: other has 0 of these photos." in at.info[0].value
    assert not at.button


def test_a_server_that_only_shows_makes_no_map(here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("map")
    assert at.info[0].value == "This server is read-only. This map does not exist yet."
    assert not at.button


def test_an_old_map_is_shown_and_can_be_made_anew(made: Workspace, show: Show) -> None:
    from orl_explorer.db.models import Image

    with made.store.session() as session:
        session.execute(update(Image).where(Image.id == 5).values(superseded_by=5))
        session.execute(update(Dataset).values(revision=Dataset.revision + 1))
    at = show("map")
    assert "This map is out of date. It shows 12 photos; there are 11 now." in at.warning[0].value
    assert at.button("make").label == "Update map"
    assert component(at)["count"] == 12


def test_an_empty_workspace_says_what_to_do(nowhere: Workspace, show: Show) -> None:
    assert [b.label for b in show("map").button][:2] == ["Build the demo", "Add photos"]


def test_only_points_of_the_map_can_be_chosen(made: Workspace) -> None:
    shown = make_map(made, photos_map(made, "demo", "starter"))
    assert chosen_images(shown, [0, 11, 11, 3]).tolist() == [1, 4, 12]
    for forged in (None, "all", [12, -1, 10**30, "3", 2.5, True, None], {"0": 1}):
        assert chosen_images(shown, forged).tolist() == []


def test_photos_that_were_chosen_are_shown_below_their_own_map_alone(
    made: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    rois = rois_map(made, "demo-starter")
    make_map(made, rois)
    of_photos = photos_map(made, "demo", "starter")
    place, shown = Place(made, of_photos.dataset, rois.mined), make_map(made, of_photos)
    at = show("map")
    for indices, heading in ([0, 3], ["2 selected photos"]), ([], []):
        session: dict[str, Any] = {"points_map": SimpleNamespace(keep=indices)}
        with monkeypatch.context() as patched:
            patched.setattr("orl_explorer.app.pages.map.page.st.session_state", session)
            _on_keep(place, of_photos, shown)
        if "chosen" in session:
            at.session_state["chosen"] = session["chosen"]
        at.segmented_control(key="points").set_value("photos").run()
        assert [subheader.value for subheader in at.subheader] == heading
        at.segmented_control(key="points").set_value("RoIs").run()
        assert [subheader.value for subheader in at.subheader] == []


def test_the_command_line_makes_the_same_map(here: Workspace) -> None:
    from typer.testing import CliRunner

    from orl_explorer.app.cli import app
    from orl_explorer.train.mining.maps import find_map

    made = CliRunner().invoke(app, ["map", "--rois-of", "demo-starter", "--workspace", str(here.path)])
    assert made.exit_code == 0, made.output
    assert find_map(here, rois_map(here, "demo-starter")) is not None
    refused = CliRunner().invoke(app, ["map", "--dataset", "demo", "--workspace", str(here.path)])
    assert "Give either --rois-of SET" in str(refused.exception)
