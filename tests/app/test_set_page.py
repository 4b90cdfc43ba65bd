"""The Sets page, the `orl sets` commands, and the download of exports."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import get_args

import pytest
from pyarrow import parquet
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from orl_explorer.app.cli import app
from orl_explorer.app.explorer.measures import with_chance
from orl_explorer.app.pages.sets.page import attempted, consequences
from orl_explorer.app.server.downloads import ROUTES, export_url
from orl_explorer.db.models import CorrespondenceSet, Run
from orl_explorer.db.people.tags import tag_pair, tag_photos
from orl_explorer.db.people.verdicts import judge_pair
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.runs.runs import add_run, run_by_id, update_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.manage import dependents
from orl_explorer.db.sets.read import find_set, pairs_of
from orl_explorer.train.errors import UserError
from orl_explorer.train.formats import SetFormat
from orl_explorer.train.interchange.exports import export
from orl_explorer.train.jobs import sets as work
from orl_explorer.train.mining.orders import make_matches
from orl_explorer.train.mining.quality import VERSION, kept_measures
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import plain, words

pytestmark = pytest.mark.both_databases

FORMS = get_args(SetFormat)


def demo_set(workspace: Workspace) -> CorrespondenceSet:
    found = find_set(workspace.store, "demo-starter")
    assert found is not None
    return found


def trained_on(workspace: Workspace, status: str = "done") -> int:
    run = Run(kind="train", name="pupil", status=status, params={"correspondence": "demo-starter", "config": {}})
    run.correspondence_set_id = demo_set(workspace).id
    return add_run(workspace.store, run).id


def test_the_page_lists_every_set_and_says_all_of_one(here: Workspace, show: Show) -> None:
    run = trained_on(here)
    at = show("sets")
    assert not at.exception
    table = at.dataframe[0].value
    assert table["set"].tolist() == ["demo-starter"]
    assert table["encoder"].tolist() == ["starter (supervised)"]
    assert table["differs from paper"].tolist() == ["K 4, proposal scale 0.5"]
    quality = demo_set(here).quality
    assert quality is not None
    assert table["same class"].tolist() == [100 * quality["same_class"]]
    assert table["… by chance"].tolist() == [100 * quality["same_class_chance"]]
    assert f"Run {run}, pupil, trained on it" in words(at)
    assert {b.label for b in at.button} >= {"Rename set", "Delete demo\\-starter"}
    assert at.get("link_button")[0].proto.url == export_url(demo_set(here).id, "reference")


def test_a_set_is_renamed_and_deleted_from_the_page(here: Workspace, show: Show) -> None:
    mined = demo_set(here)
    trained_on(here)
    make_matches(here, mined)
    at = show("sets")
    at.text_input(key=f"rename-{mined.id}").set_value("demo-mine")
    press(at, "Rename set")
    assert not at.exception
    assert find_set(here.store, "demo-mine") is not None
    assert at.text_input(key=f"confirm-{mined.id}").label == "To confirm, type the name `demo-mine`"
    press(at, "Delete demo\\-mine")
    assert find_set(here.store, "demo-mine") is not None  # its name was not typed
    at.text_input(key=f"confirm-{mined.id}").set_value("demo-mine")
    press(at, "Delete demo\\-mine")
    assert not at.exception
    assert find_set(here.store, "demo-mine") is None
    assert [toast.value for toast in at.toast] == ["Deleted demo\\-mine."]
    assert list(here.orders.iterdir()) == []
    assert "Mine correspondences" in [s.value for s in at.subheader]


def press(at: AppTest, label: str) -> None:
    next(b for b in at.button if b.label == label).click().run()


def test_a_set_in_use_offers_no_deletion(here: Workspace, show: Show) -> None:
    run = trained_on(here, "queued")
    at = show("sets")
    assert f"Run {run} (pupil) uses this set" in words(at)
    assert not [b for b in at.button if b.label.startswith("Delete demo")]


def test_a_server_that_only_shows_changes_no_set(here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("sets")
    assert not at.exception
    assert not [b for b in at.button if b.label.startswith(("Rename", "Delete"))]
    assert len(at.get("link_button")) == len(FORMS)
    assert not attempted(lambda: work.delete(here, "demo-starter"))
    assert find_set(here.store, "demo-starter") is not None


def test_an_empty_workspace_and_one_without_a_set_say_what_to_do(nowhere: Workspace, scenes: Path, show: Show) -> None:
    from orl_explorer.train.ingest.ingest import ingest

    assert [b.label for b in show("sets").button][:1] == ["Build the demo"]
    ingest(nowhere, scenes, name="mine")
    at = show("sets")
    assert not at.exception
    assert next(s.value for s in at.subheader) == "Mine correspondences"


def test_what_is_left_of_an_interrupted_mining_can_be_deleted(here: Workspace, show: Show) -> None:
    from orl_explorer.db.sets.write import begin_set

    run = add_run(here.store, Run(kind="mine", name="half", status="failed", params={}))
    begin_set(here.store, "half", 1, 1, {}, run.id)
    at = show("sets")
    assert "was left unfinished" in words(at)
    press(at, "Delete set")
    assert find_set(here.store, "half") is None
    assert find_set(here.store, "demo-starter") is not None


def test_the_consequences_of_a_deletion_are_said_beforehand(here: Workspace) -> None:
    mined = demo_set(here)
    done, failed = trained_on(here), trained_on(here, "failed")
    pair = pairs_of(here.store, mined.id, 3)[0]
    assert pair.rank == 1
    lines = consequences(mined, dependents(here.store, mined.id))
    assert lines == [
        f"Deletes {mined.pair_count:,} pairs of 12 photos. You cannot undo this.",
        f"Runs trained on it: {done}, {failed}. Each keeps a copy of its pairs in its folder.",
        "Runs that are not done cannot be resumed afterwards.",
    ]


def test_every_measure_has_words_and_its_chance_beside_it(here: Workspace) -> None:
    quality = kept_measures(demo_set(here))
    groups = with_chance(quality)
    assert [*groups] == ["Pairs", "Boxes", "Coverage and hubs", "Similarity and margin"]  # and none without words
    measured = {m.name: m for some in groups.values() for m in some}
    assert measured.keys() == {name for name in quality if not name.endswith("_chance")}
    assert all(m.label and m.meaning for m in measured.values())
    same = measured["same_class"]
    assert (same.label, same.value, same.chance) == ("Same class", quality["same_class"], quality["same_class_chance"])


def test_a_set_that_an_earlier_version_measured_says_so_and_is_measured_again(here: Workspace, show: Show) -> None:
    mined = demo_set(here)
    now = kept_measures(mined)
    write.keep_quality(here.store, mined.id, {"cycle": 0.125, "annotated_objects": now["annotated_objects"]})
    said = CliRunner().invoke(app, ["sets", "show", "demo-starter", "--workspace", str(here.path)]).output
    told = "An earlier version measured this set. Measure it again with `orl quality demo-starter`."
    assert told in " ".join(said.split())
    at = show("sets")
    assert not at.exception
    assert "An earlier version measured this set." in words(at)
    assert "CorLoc" not in words(at)
    press(at, "Measure now")
    assert "An earlier version" not in words(at)
    revision = dataset_by_id(here.store, mined.dataset_id).revision
    assert demo_set(here).quality == pytest.approx({"version": VERSION, "revision": revision} | now)


# The route -----------------------------------------------------------------------------------------------


@pytest.fixture
def client(here: Workspace) -> TestClient:
    return TestClient(Starlette(routes=ROUTES))


def marked(workspace: Workspace) -> None:
    from orl_explorer.db.sets.read import pair_rows

    pair = pair_rows(workspace.store, demo_set(workspace).id, [3])[3][0]
    judge_pair(workspace.store, pair.query_roi_id, pair.key_roi_id, "good", "ann")
    tag_pair(workspace.store, pair.query_roi_id, pair.key_roi_id, "=odd", "ann")
    tag_photos(workspace.store, [3], "night", "ann")


def test_a_download_is_what_the_command_line_writes(here: Workspace, client: TestClient, tmp_path: Path) -> None:
    marked(here)
    for form in FORMS:
        answer = client.get(export_url(demo_set(here).id, form))
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith('attachment; filename="demo-starter')
        out = tmp_path / form
        export(here, "demo-starter", form, out)
        if form == "reference":
            with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                assert archive.testzip() is None
                assert {n: archive.read(n) for n in archive.namelist()} == {
                    f.name: f.read_bytes() for f in out.iterdir()
                }
        elif form == "parquet":
            assert parquet.read_table(io.BytesIO(answer.content)).equals(parquet.read_table(out), check_metadata=True)
        else:
            assert answer.content == out.read_bytes()


def test_verdicts_tags_and_settings_are_tables_with_author_and_time(here: Workspace, client: TestClient) -> None:
    marked(here)
    mined = demo_set(here)
    heads = "query_path,key_path,query_x,query_y,query_w,query_h,key_x,key_y,key_w,key_h,"
    verdicts = client.get(export_url(mined.id, "verdicts")).text.splitlines()
    assert verdicts[0] == heads + "similarity,mark,author,created_at"
    pair = pairs_of(here.store, mined.id, 3)[0]
    assert verdicts[1].startswith("scene-002.jpg,scene-")
    boxes = ",".join(map(str, (*pair.query_box, *pair.key_box)))
    assert f",{boxes},{round(pair.similarity, 6)},good,ann,20" in verdicts[1]
    tags = client.get(export_url(mined.id, "tags")).text.splitlines()
    assert tags[1].startswith("scene-002.jpg,,,,,,,,,,night,ann,20")
    assert f",{boxes},'=odd,ann,20" in tags[2]  # no formula for a spreadsheet
    settings = json.loads(client.get(export_url(mined.id, "settings")).content)
    assert settings == {"set": "demo-starter", "dataset": "demo", "encoder": "starter", "settings": mined.params}


def test_what_cannot_be_downloaded_is_a_sentence(here: Workspace, client: TestClient) -> None:
    answer = client.get(export_url(99, "csv"))
    assert (answer.status_code, answer.text) == (404, "There is no correspondence set 99.")
    answer = client.get(export_url(demo_set(here).id, "xml"))
    assert answer.status_code == 404
    assert answer.text.startswith("There is no format 'xml'. Known formats: reference, parquet, csv")
    with here.store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM proposal")
    answer = client.get(export_url(demo_set(here).id, "reference"))
    assert answer.status_code == 404
    assert "are no longer in the store" in answer.text


def test_the_name_of_a_download_survives_any_name_of_a_set(here: Workspace, client: TestClient) -> None:
    work.rename(here, "demo-starter", ' Äpfel  "und"\r\n/Birnen')
    assert find_set(here.store, 'Äpfel "und" /Birnen') is not None
    with here.store.engine.begin() as connection:
        connection.execute(text("UPDATE correspondence_set SET name = :name"), {"name": 'Äpfel\r\n"und"'})
    answer = client.get(export_url(1, "settings"))
    said = "attachment; filename=\"?pfel---und--settings.json\"; filename*=UTF-8''%C3%84pfel---und--settings.json"
    assert answer.headers["content-disposition"] == said


# The command line ----------------------------------------------------------------------------------------


def orl(workspace: Workspace, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--workspace", str(workspace.path)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_sets_on_the_command_line(here: Workspace) -> None:
    run = trained_on(here)
    listed = orl(here, "sets", "list")
    assert "demo-starter" in listed and "neighbors 4" in listed
    shown = json.loads(orl(here, "sets", "show", "demo-starter", "--json"))
    mined = demo_set(here)
    assert (shown["pairs"], shown["settings"]) == (mined.pair_count, mined.params)
    assert shown["trained_by_runs"] == [run]
    plain = orl(here, "sets", "show", "demo-starter")
    assert "4  (paper: 10)" in plain
    assert "Renamed the correspondence set 'demo-starter' to 'renamed'." in orl(
        here, "sets", "rename", "demo-starter", " renamed "
    )
    assert run_by_id(here.store, run).params["correspondence"] == "renamed"
    told = f"Run {run} trained on the correspondence set 'renamed'. Confirm its deletion with this name"
    with pytest.raises(UserError, match=f"{told}: --confirm renamed."):
        orl(here, "sets", "delete", "renamed")
    with pytest.raises(UserError, match=f"{told}, not 'demo-starter'."):
        orl(here, "sets", "delete", "renamed", "--confirm", "demo-starter")
    gone = orl(here, "sets", "delete", "renamed", "--confirm", "renamed")
    assert "Deleted the correspondence set 'renamed'. Kept: 1 run that trained on it." in " ".join(gone.split())
    assert "No correspondence sets yet" in orl(here, "sets")


def test_a_set_that_is_not_there_is_a_sentence(here: Workspace) -> None:
    for command in (("show", "x"), ("rename", "x", "y"), ("delete", "x")):
        with pytest.raises(UserError, match="There is no correspondence set 'x'. List the sets with `orl sets list`"):
            orl(here, "sets", *command)


def test_a_name_that_a_run_is_making_is_taken(here: Workspace) -> None:
    run = add_run(here.store, Run(kind="mine", name="soon", params={}))
    with pytest.raises(UserError, match="'soon' already exists"):
        work.rename(here, "demo-starter", "soon")
    update_run(here.store, run.id, status="failed")
    work.rename(here, "demo-starter", "soon")
    work.rename(here, "soon", "soon")  # nothing to do
    assert find_set(here.store, "soon") is not None


@pytest.mark.sqlite
def test_share_says_what_the_folder_will_hold_before_it_offers_it(here: Workspace, show: Show) -> None:
    at = show("sets")
    next(button for button in at.button if button.label == "Share …").click().run()
    assert not at.exception
    assert "The folder will hold:\n- 12 photos with 96 pairs" in plain(at)
    assert "No verdicts and no tags." in plain(at)
    assert "`orl share demo-starter --out FOLDER`" in plain(at)


def test_a_new_name_with_two_spaces_selects_the_set_that_is_stored(here: Workspace, show: Show) -> None:
    at = show("sets")
    at.text_input(key="rename-1").set_value(" my  own set ").run()
    (rename,) = [button for button in at.button if button.label == "Rename set"]
    rename.click().run()
    assert not at.exception
    assert find_set(here.store, "my own set") is not None
    assert at.session_state["set"] == at.text_input(key="rename-1").value == "my own set"
