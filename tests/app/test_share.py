"""A set as a folder of static files: what it holds, what it leaves out, and what is refused."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orl_explorer.app.components.bundle import classic_script
from orl_explorer.app.server.downloads import ROUTES, share_url
from orl_explorer.app.share import folder as shared_folder
from orl_explorer.app.share.choice import ShareRequest, choose
from orl_explorer.app.share.folder import write_folder
from orl_explorer.app.share.pictures import jpeg_of
from orl_explorer.db.models import Image as Row
from orl_explorer.db.people.selections import keep_selection
from orl_explorer.db.people.verdicts import judge_pair
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.pairs import matches_at, pair_keys
from orl_explorer.db.sets.read import find_set, pair_rows, rois_of
from orl_explorer.orl.pixels import file_digest
from orl_explorer.train.errors import UserError
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace
from tests.shell import orl, refused


def data(folder: Path, name: str) -> Any:
    """The value that a script of the folder leaves."""
    head, value = (folder / "data" / f"{name}.js").read_text().split(" = ", 1)
    assert head == f'(self.orlData ??= {{}})["{name}"]'
    return json.loads(value.rstrip(";\n"))


@pytest.fixture(scope="module")
def shared(mined_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's set as a folder."""
    out = tmp_path_factory.mktemp("shared") / "folder"
    write_folder(choose(mined_workspace, "demo-starter", ShareRequest()), out)
    return out


def test_a_folder_has_its_pages_data_and_pictures_and_nothing_else(shared: Path) -> None:
    names = sorted(path.relative_to(shared).as_posix() for path in shared.rglob("*") if path.is_file())
    pictures = sorted(f"pictures/small/{n}.jpg" for n in range(12))
    scripts = [f"data/{name}.js" for name in ("about", "index", "matches", "rows-0")]
    assert names == [*scripts, "index.html", *pictures, "share.css", "share.js"]


def test_a_folder_needs_no_module_no_request_and_no_network(shared: Path) -> None:
    script = (shared / "share.js").read_text()
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    page = (shared / "index.html").read_text()
    assert "default-src 'none'" in page
    assert 'type="module"' not in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)


def test_its_rows_are_those_of_the_set(shared: Path, mined_workspace: Workspace) -> None:
    mined = find_set(mined_workspace.store, "demo-starter")
    assert mined is not None
    photos, rows = data(shared, "index"), data(shared, "rows-0")
    assert [photo["name"] for photo in photos] == [f"images/scene-{n:03d}.jpg" for n in range(12)]
    for number, own in enumerate(rows):  # photos were ingested in the order of their names
        image = number + 1
        rois = {i: found.boxes.tolist() for i, found in rois_of(mined_workspace.store, mined.id, range(1, 13)).items()}
        assert np.reshape(own["rois"], (-1, 4)).tolist() == rois[image]
        near = {rank: at for rank, at, _ in own["neighbors"]}
        found = [
            (rank, rois[image][q], rois[near[rank] + 1][k], similarity, cycle, verdict)
            for rank, q, k, similarity, _, cycle, verdict in own["pairs"]
        ]
        assert found == [
            (pair.neighbor_rank, [*pair.query_box], [*pair.key_box], round(pair.similarity, 4), pair.cycle, None)
            for pair in pair_rows(mined_workspace.store, mined.id, [image])[image]
        ]
        assert (photos[number]["pairs"], photos[number]["rois"]) == (len(own["pairs"]), len(rois[image]))
    assert data(shared, "matches")["count"] == mined.pair_count


def test_it_says_where_the_set_is_from_and_no_path_of_this_machine(shared: Path, mined_workspace: Workspace) -> None:
    about = data(shared, "about")
    facts = {fact["name"]: fact["value"] for fact in about["facts"]}
    assert facts["Make the same set"] == (
        "orl mine --dataset demo --encoder starter --name demo-starter --neighbors 4 --proposal-scale 0.5"
    )
    assert re.fullmatch("[0-9a-f]{64}", facts["Digest of the set (SHA-256)"])
    assert {s["name"]: s["value"] for s in about["settings"]}["K · neighbours"] == "4"
    text = "".join(path.read_text() for path in shared.rglob("*.*s")) + (shared / "index.html").read_text()
    assert str(mined_workspace.path) not in text
    assert str(mined_workspace.path.parents[1]) not in text
    assert "/tmp/" not in text


def test_pictures_are_upright_and_have_no_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 0.0)  # GPS
    Image.new("RGB", (900, 600), "teal").save(tmp_path / "a.jpg", exif=exif, comment=b"mine", icc_profile=b"x" * 200)
    stat = (tmp_path / "a.jpg").stat()
    row = Row(id=1, dataset_id=1, path="a.jpg", size=stat.st_size, mtime_ns=stat.st_mtime_ns, width=600, height=900)
    row.digest = file_digest(tmp_path / "a.jpg")
    made = {longest: jpeg_of(Photos({1: tmp_path}), row, longest) for longest in (640, None)}
    for longest, size in ((640, (427, 640)), (None, (600, 900))):
        content = made[longest]
        assert content is not None
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.size == size
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert b"camera" not in content
        assert b"mine" not in content


def test_a_selection_brings_its_neighbours_unless_it_is_to_stay_alone(here: Workspace) -> None:
    keep_selection(here.store, 1, [3, 5], name="two")
    with_others = choose(here, "demo-starter", ShareRequest(selection="two"))
    assert [image.path for image in with_others.images[:2]] == ["images/scene-002.jpg", "images/scene-004.jpg"]
    assert (with_others.queries, len(with_others.images) > 2, with_others.left_out) == (2, True, 0)
    alone = choose(here, "demo-starter", ShareRequest(selection="two", alone=True))
    assert [image.id for image in alone.images] == [3, 5]
    assert alone.pairs + alone.left_out == with_others.pairs
    assert alone.described()[-1].startswith("Left out: ")
    assert choose(here, "demo-starter", ShareRequest(photos=1, selection="two")).images[0].id == 3


def test_verdicts_are_shared_only_if_asked_and_only_where_people_agree(here: Workspace, tmp_path: Path) -> None:
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    places = np.array([[1, 1, 1], [1, 2, 1]])
    agreed, disputed = matches_at(here.store, mined.id, pair_keys(places))
    for pair, said in ((agreed, ("good", "good")), (disputed, ("good", "wrong"))):
        for author, verdict in zip(("Ada Lovelace", "bob"), said, strict=True):
            judge_pair(here.store, pair.query_roi_id, pair.key_roi_id, verdict, author)  # type: ignore[arg-type]
    write_folder(choose(here, "demo-starter", ShareRequest()), tmp_path / "without")
    assert {pair[6] for own in data(tmp_path / "without", "rows-0") for pair in own["pairs"]} == {None}
    write_folder(choose(here, "demo-starter", ShareRequest(verdicts=True)), tmp_path / "with")
    pairs = data(tmp_path / "with", "rows-0")[0]["pairs"]
    assert [(pair[0], pair[6]) for pair in pairs if pair[6]] == [(1, "good")]
    assert "Ada Lovelace" not in "".join(path.read_text() for path in (tmp_path / "with" / "data").iterdir())


def test_a_lost_photo_has_no_picture_and_is_counted(here: Workspace, scenes: Path, tmp_path: Path) -> None:
    photo = scenes / "images" / "scene-003.jpg"
    kept = photo.rename(tmp_path / "kept.jpg")
    try:
        lacking, _ = write_folder(choose(here, "demo-starter", ShareRequest(pictures="full")), tmp_path / "out")
    finally:
        kept.rename(photo)
    assert lacking == 1
    assert [photo["picture"] for photo in data(tmp_path / "out", "index")].index(False) == 3
    assert len(list((tmp_path / "out" / "pictures" / "full").iterdir())) == 11


def test_what_is_interrupted_leaves_nothing(here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_folder, "jpeg_of", full)
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="no space is left"):
        write_folder(choose(here, "demo-starter", ShareRequest()), tmp_path / "in" / "out")
    assert list((tmp_path / "in").iterdir()) == []


def test_the_command_says_what_it_will_write_and_refuses_a_folder_with_content(here: Workspace, tmp_path: Path) -> None:
    share = ("share", "demo-starter", "--workspace", here.path, "--photos", "2", "--only-chosen")
    (tmp_path / "out").mkdir()  # an empty one is taken
    done = orl(*share, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.index("The folder will hold:") < said.index("- 2 photos with") < said.index("Open ")
    assert "already exists and is not empty" in refused(*share, "--out", tmp_path / "out")
    root = dataset_named(here.store, "demo").root
    assert "lies in the folder of the dataset 'demo'" in refused(*share, "--out", Path(root, "below", "out"))
    assert "There is no selection 'none'" in refused(*share, "--out", tmp_path / "b", "--selection", "none")
    assert "Use at least 1." in refused("share", "demo-starter", "--out", tmp_path / "b", "--photos", "0")
    assert not (tmp_path / "b").exists()


def test_the_explorer_sends_the_folder_as_a_zip(here: Workspace, shared: Path, tmp_path: Path) -> None:
    client = TestClient(Starlette(routes=ROUTES))
    answer = client.get(share_url(1, ShareRequest()))
    assert answer.headers["content-disposition"].startswith('attachment; filename="demo-starter-shared.zip"')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as sent:
        sent.extractall(tmp_path)
    found = tmp_path / "demo-starter"
    for path in shared.rglob("*"):
        assert path.is_dir() or (found / path.relative_to(shared)).read_bytes() == path.read_bytes()
    assert client.get("/api/share/1?selection=none").status_code == 404
    assert client.get("/api/share/1?photos=many").text == "The number of photos is a whole number."
    assert client.get("/api/share/9").text == "There is no correspondence set 9."


@pytest.mark.skipif(shutil.which("node") is None, reason="runs a script")
def test_a_classic_script_calls_what_its_module_exports(tmp_path: Path) -> None:
    (tmp_path / "view.js").write_text("export default () => console.log(1);\n")
    assert classic_script(tmp_path / "view.js").startswith('(() => {\n"use strict";\n')
    assert classic_script(tmp_path / "view.js").endswith("$m0.default();\n})();\n")
