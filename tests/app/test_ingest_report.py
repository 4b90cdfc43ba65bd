"""The report of an ingest, its download, the gallery's filter by it, and the form that adds photos."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer import adding
from orl_explorer.app.explorer.adding import Wanted
from orl_explorer.app.explorer.paths import typed_path
from orl_explorer.app.explorer.reported import named_findings, reasons
from orl_explorer.app.pages.ingest.page import names_table
from orl_explorer.app.pages.shell import escape
from orl_explorer.app.server.downloads import ROUTES, attachment
from orl_explorer.db.findings import Finding, replace_findings
from orl_explorer.db.lost import GONE, Lost, mark_lost
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import dataset_named, datasets, find_dataset
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, plain, words

LOST = {2: Lost(GONE, "the file is not there any more"), 4: Lost("unreadable", "image file is truncated")}
FOUND = [
    Finding("clipped", "images/scene-004.jpg", 2, "by up to 9 pixels", 5),
    Finding("clipped", "images/scene-006.jpg", 1, "by 1 pixel", 7),
    *(Finding("other-format", f"raw/{number:02d}.heic") for number in range(23)),
    Finding("hidden", "=1+1 <b>*bold*</b>"),
]


@pytest.fixture
def reported(here: Workspace) -> Workspace:
    """The mined demo with one photo that is gone, an unreadable one, and findings."""
    mark_lost(here.store, LOST)
    replace_findings(here.store, 1, FOUND)
    with here.store.session() as session:
        dataset = session.get(Dataset, 1)
        assert dataset is not None
        dataset.last_ingest = {"at": "2026-03-04T05:06:07", "new": 10, "changed": 1, "unchanged": 1}
    return here


def names(at: AppTest) -> list[str]:
    return [tile["name"] for tile in component(at)["tiles"]]


def tables(at: AppTest) -> str:
    return " ".join(element.proto.body for element in at.get("html"))


def test_the_report_gives_each_reason_its_count_explanation_and_names(reported: Workspace, show: Show) -> None:
    at = show("ingest")
    assert not at.exception
    assert at.title[0].value == "Ingest of demo"
    assert "last ingest 2026-03-04 05:06 UTC" in words(at)
    counts = {"Photos": "10", "Files new": "10", "Files changed": "1", "Files unchanged": "1"}
    assert {m.label: m.value for m in at.metric if m.label in counts} == counts
    said = plain(at)
    for heading in (
        "**Unreadable photos: 1**",
        "**Photos that are gone: 1**",
        "**Pictures in other formats: 23**",
        "**Boxes that reach beyond the photo: 3 boxes, 2 names**",
    ):
        assert heading in said
    assert "Files with this ending are not read. Convert them to JPEG or PNG." in said
    assert "1 to 10 of 23" in said
    assert "images/scene-003.jpg</bdi></td><td><bdi>image file is truncated" in tables(at)
    assert "=1+1 &lt;b&gt;*bold*&lt;/b&gt;" in tables(at)
    assert "raw/09.heic" in tables(at) and "raw/10.heic" not in tables(at)


def test_a_dataset_without_findings_says_so_and_an_old_one_how_to_get_a_report(here: Workspace, show: Show) -> None:
    with here.store.session() as session:
        dataset = session.get(Dataset, 1)
        assert dataset is not None
        dataset.last_ingest = {"at": "2026-03-04T05:06:07", "new": 12, "changed": 0, "unchanged": 0}
    assert [s.value for s in show("ingest").success] == ["Everything in this folder was taken."]
    with here.store.session() as session:
        dataset = session.get(Dataset, 1)
        assert dataset is not None
        dataset.last_ingest = None
    at = show("ingest")
    assert not at.success
    assert at.info[0].value == "No report was kept of this dataset's last ingest. Add its folder again to get one."


def test_the_report_is_downloaded_without_formulas(reported: Workspace) -> None:
    with TestClient(Starlette(routes=ROUTES)) as client:
        answer = client.get("/api/findings/1")
        assert client.get("/api/findings/77").status_code == 404
        assert client.get(f"/api/findings/{10**30}").status_code == 404
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"demo-ingest.csv\"; filename*=UTF-8''demo-ingest.csv"
    )
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert [[*row[:3], row[3].partition(";")[0]] for row in rows[:4]] == [  # lost photos: and when it was noticed
        ["name", "kind", "count", "detail"],
        ["images/scene-003.jpg", "unreadable", "1", "image file is truncated"],
        ["images/scene-001.jpg", "gone", "1", "the file is not there any more"],
        ["'=1+1 <b>*bold*</b>", "hidden", "1", ""],
    ]
    assert len(rows) == 1 + 2 + len(FOUND)


def test_a_hundred_thousand_findings_are_read_page_by_page(here: Workspace) -> None:
    replace_findings(here.store, 1, (Finding("hidden", f".{number}") for number in range(100_000)))
    dataset = dataset_named(here.store, "demo")
    assert [(r.names, r.count, r.photos) for r in reasons(here.store, dataset)] == [(100_000, 100_000, 0)]
    assert [f.name for f in named_findings(here.store, 1, "hidden", 2, 99_998)] == [".99998", ".99999"]


def test_the_gallery_is_filtered_by_what_the_ingest_found(reported: Workspace, show: Show) -> None:
    at = show("explore")
    (ingest,) = [box for box in at.selectbox if box.label == "Ingest"]
    assert ingest.options == [
        "Unreadable photos (1)",
        "Photos that are gone (1)",
        "Boxes that reach beyond the photo (2)",
    ]
    at = show("explore", found="clipped")
    assert names(at) == ["scene-004.jpg", "scene-006.jpg"]
    assert "2 of 12 photos" in words(at)
    caption = "set demo-starter: by name, ascending; ingest found boxes that reach beyond the photo."
    assert component(at)["figure"]["caption"][0].endswith(caption)
    assert names(show("explore", found="gone")) == ["scene-001.jpg"]
    for unknown in ("hidden", "nonsense", ""):
        at = show("explore", found=unknown)
        assert not at.exception
        assert len(names(at)) == 12
    (clear,) = [b for b in show("explore", found="clipped").button if b.label == "Clear all filters"]
    assert len(names(clear.click().run())) == 12


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("  ", "", "auto", ""), "Enter the folder that holds the photos."),
        (("{here}/nothing", "", "auto", ""), "There is no folder {here}/nothing."),
        (("{here}/a_*b*.jpg", "", "auto", ""), "{here}/a_*b*.jpg is not a folder of photos."),
        (("{here}", "", "folder", "{here}/x.json"), "The layout folder does not read a COCO file."),
        (("{here}", "", "auto", "{here}/x.json"), "Cannot read {here}/x.json: No such file or directory."),
        (("{here}\0", "", "auto", ""), "A path and a name cannot hold a null character. Remove it."),
        (("/" + "x" * 300, "", "auto", ""), "File name too long"),
    ],
)
def test_a_bad_input_gets_one_sentence_and_what_was_typed_stays(
    nowhere: Workspace, show: Show, tmp_path: Path, typed: tuple[str, ...], said: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a_*b*.jpg")
    folder, name, layout, annotations = (text.replace("{here}", str(tmp_path)) for text in typed)
    at = show("explore")
    at.text_input(key="add-folder").set_value(folder)
    at.text_input(key="add-name").set_value(name or "mine")
    at.text_input(key="add-annotations").set_value(annotations)
    at.segmented_control(key="add-layout").set_value(layout)
    at.button[1].click().run()
    assert not at.exception
    assert said.replace("{here}", str(tmp_path)) in at.error[0].value.replace("\\", "")
    assert (at.text_input(key="add-folder").value, at.text_input(key="add-name").value) == (folder, name or "mine")
    assert find_dataset(nowhere.store, "mine") is None


def test_what_will_be_taken_is_shown_before_it_is(nowhere: Workspace, show: Show, tmp_path: Path) -> None:
    photos = tmp_path / "trip"
    photos.mkdir()
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", (30, 20), "red").save(photos / name)
    (photos / "c.jpg").write_text("no picture")
    (photos / "film.mov").write_text("no photo")

    def looked() -> AppTest:
        at = show("explore")
        at.text_input(key="add-folder").set_value(str(photos))
        return at.button[1].click().run()

    at = looked()
    said = plain(at)
    assert f"**3 photos** in `{photos}`, without annotations, for the dataset **trip**" in said
    assert ".mov" in said
    assert datasets(nowhere.store) == []
    at.button(key="add-none").click().run()
    assert "3 photos" not in plain(at)
    assert datasets(nowhere.store) == []
    at = looked()
    assert at.button(key="add-these").label == "Add 3 photos"
    at.button(key="add-these").click().run()
    (made,) = datasets(nowhere.store)
    assert (made.name, made.image_count, made.unreadable_count) == ("trip", 2, 1)
    assert "3 photos of them are in it already" in plain(looked())


def test_any_exception_of_an_ingest_is_a_sentence(
    nowhere: Workspace, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OverflowError("cannot convert float infinity to integer")

    monkeypatch.setattr(adding, "ingest", fail)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    at = show("explore")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    at.text_input(key="add-folder").set_value(str(tmp_path))
    at.button[1].click().run()
    at.button(key="add-these").click().run()
    assert not at.exception
    assert [e.value.replace("\\", "") for e in at.error] == ["This failed. See the server's log."]


def test_one_ingest_runs_at_a_time(nowhere: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    let_go = Event()
    monkeypatch.setattr(adding, "ingest", lambda *_, **__: let_go.wait(20))
    first = adding.start_adding(nowhere, Wanted(str(tmp_path)))
    with pytest.raises(UserError, match="Photos are being added already"):
        adding.start_adding(nowhere, Wanted(str(tmp_path)))
    let_go.set()
    first.wait()
    adding.start_adding(nowhere, Wanted(str(tmp_path))).wait()


def test_names_and_paths_as_people_bring_them() -> None:
    assert typed_path(' "/data/my photos" ') == Path("/data/my photos")
    assert typed_path("~/photos") == Path.home() / "photos"
    assert escape("a\n# b \udc80\u202egpj.&lt;") == r"a\\n\# b \\udc80\\u202egpj\.\&lt;"
    assert escape("\U0001f42b שלום") == "\U0001f42b שלום"
    assert attachment('a"\n/ü.csv') == "attachment; filename=\"a___?.csv\"; filename*=UTF-8''a%22%0A_%C3%BC.csv"
    assert names_table([Finding("x", "<i>", 3, "&")]) == (
        '<table class="findings"><tbody><tr><td><bdi>&lt;i&gt;</bdi> <span>× 3</span></td>'
        "<td><bdi>&amp;</bdi></td></tr></tbody></table>"
    )
