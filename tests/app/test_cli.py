"""The command line: names, options, messages and exit codes."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from orl_explorer.train.workspace import Workspace
from tests.shell import orl, refused

HUGE = "99999999999999999999"  # more than a database takes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("runs_in_process")]

COMMANDS = [
    *("demo", "explore", "ingest", "pretrain", "mine", "quality", "sweep", "train", "export", "import"),
    *("export-encoder", "encoders", "sets", "runs", "evaluate", "evaluations", "attention"),
]
MINE_OPTIONS = [
    "--dataset",
    "--encoder",
    "--name",
    "--preset",
    "--neighbors",
    "--pair-ratio",
    "--min-size",
    "--max-aspect",
    "--max-iou",
    "--max-rois",
    "--min-similarity",
    "--proposals",
    "--proposal-scale",
    "--fallback",
    "--ranked-by",
    "--object-weight",
    "--precision",
    "--workers",
    "--workspace",
    "--detach",
]


@pytest.fixture
def mined(mined_workspace: Workspace, tmp_path: Path) -> Path:
    shutil.copytree(mined_workspace.path, tmp_path / "mined")
    return tmp_path / "mined"


def test_help_names_every_command_and_every_option_of_mine() -> None:
    text = orl("--help").stdout
    assert [c for c in COMMANDS if not re.search(rf"\b{c}\b", text)] == []
    text = orl("mine", "--help").stdout
    assert [o for o in MINE_OPTIONS if o not in text] == []


def test_ingest_encoders_and_mining_from_the_shell(scenes: Path, tmp_path: Path) -> None:
    at = ("--workspace", tmp_path / "w")
    done = orl("ingest", scenes, "--name", "s", *at)
    assert done.returncode == 0
    assert "Dataset 's' (coco): 12 photos" in done.stdout
    assert "12 unchanged" in orl("ingest", scenes, "--name", "s", *at).stdout
    assert "trained with labels." in orl("encoders", "add", "starter", "--name", "e", *at).stdout
    assert "with labels" in orl("encoders", "list", *at).stdout
    mine = ("mine", "--dataset", "s", "--encoder", "e", "--proposal-scale", "0.5", "--min-size", "160", *at)
    done = orl(*mine, "--name", "c", "--neighbors", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "made 'c'" in done.stdout
    log = orl("runs", "logs", "1", *at).stdout
    assert "Proposals computed: 12, reused: 0." in log
    assert "set 'c' already exists" in refused(*mine, "--name", "c", "--neighbors", "3")
    assert orl(*mine, "--name", "d", "--neighbors", "2").returncode == 0
    log = orl("runs", "logs", "2", *at).stdout
    assert "Proposals computed: 0, reused: 12." in log
    assert "RoIs embedded: 0," in log
    assert "done" in orl("runs", *at).stdout


def test_the_quality_of_a_set_is_a_table_or_json(mined: Path) -> None:
    table = orl("quality", "demo-starter", "--workspace", mined).stdout
    assert re.search(r"Same class +│ [\d.e-]+ +│ [\d.e-]+", table.replace("┃", "│"))
    found = json.loads(orl("quality", "demo-starter", "--json", "--workspace", mined).stdout)
    assert 0 <= found["same_class"] <= found["same_class_or_part"] <= 1
    assert found["cycle"] > 0.2
    assert found["annotated_objects"] > 12
    assert "no correspondence set 'x'" in refused("quality", "x", "--workspace", mined)


def test_a_sweep_shows_the_measures_that_fit_the_terminal_and_saves_all(mined: Path, tmp_path: Path) -> None:
    words = ("sweep", "--dataset", "demo", "--encoder", "starter", "--grid", "neighbors=2,3", "--workspace", mined)
    config = ("--grid", "proposal_scale=0.5")
    done = orl(*words, *config)
    lines = done.stdout.split("0:00:00")[-1].splitlines()  # after the bar
    assert max(map(len, lines)) <= 200
    heading = " ".join(line for line in lines if line.startswith("┃"))
    assert all(word in heading for word in ("neighbors", "pairs", "image", "coverage"))  # whole words
    assert re.search(r"│ 3 +│ 0\.5 +│ [\d.]+ +│ [\d.]+ +│", done.stdout)
    assert "Save every measure of each cell with --to FILE, or print them with --json." in done.stdout
    names = tmp_path / "names.txt"
    names.write_text("\ufeffscene-003\n\nimages/no such photo.jpg \n")
    done = orl(*words, *config, "--only", names, "--to", tmp_path / "cells.csv")
    assert "Names of queries that match no photo of 'demo': 1, such as images/no such photo.jpg." in done.stdout
    first, *cells = (tmp_path / "cells.csv").read_text().splitlines()
    assert first.startswith("neighbors,proposal_scale,")
    assert len(cells) == 2


def test_the_references_files_out_and_in_from_the_shell(mined: Path, scenes: Path, tmp_path: Path) -> None:
    at, files = ("--workspace", mined), tmp_path / "files"
    assert re.search(r"12 photos, \d+ RoIs, \d+ pairs", orl("export", "demo-starter", "--out", files, *at).stdout)
    assert f"{files} already exists" in refused("export", "demo-starter", "--out", files, *at)
    raw, pairs = (files / f"demo-starter_{n}.json" for n in ("selective_search_proposal", "instance_correspondence"))
    done = orl("import", "proposals", raw, "--dataset", "demo", "--name", "theirs", *at)
    assert re.search(r"Proposals 'theirs': \d+ boxes of 12 photos\.", done.stdout)
    brought = ("import", "correspondences", pairs, "--dataset", "demo", "--encoder", "starter", "--name", "back")
    done = orl(*brought, "--proposals", "theirs", *at)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "made 'back'" in done.stdout
    assert "RoIs embedded: 0," in orl("runs", "logs", "2", *at).stdout
    orl("export", "back", "--out", tmp_path / "again", *at)
    for kind in ("selective_search_proposal", "knn_instance", "instance_correspondence"):
        again = tmp_path / "again" / f"back_{kind}.json"
        assert again.read_bytes() == (files / f"demo-starter_{kind}.json").read_bytes()
    assert "set 'back' already exists" in refused(*brought, "--proposals", "theirs", *at)
    assert "lacks bbox_min_size" in refused(*brought[:2], raw, *brought[3:-1], "other", *at)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["export", "x", "--out", "x.csv"], "no correspondence set 'x'. Known sets: demo-starter."),
        (
            ["export", "demo-starter", "--out", "x", "--format", "xml"],
            "'xml' is not one of 'reference', 'parquet', 'csv'",
        ),
        (
            ["export-encoder", "starter", "--out", "x", "--format", "timm"],
            "Invalid value for --format: timm. It has no efficientnet_lite0, the architecture of 'starter'.",
        ),
        (
            ["export", "demo-starter", "--out", "x.csv", "--format", "parquet"],
            "A file of the format parquet ends in .parquet, not .csv.",
        ),
        (["search", "/no/photo.jpg"], "There is no file /no/photo.jpg."),
        (["attention", "/no/photo.jpg", "--encoder", "starter", "--out", "x.png"], "There is no file /no/photo.jpg."),
        (["pretrain", "--dataset", "demo", "--preset", "adapt"], "in a terminal with --start-from NAME."),
        (["import", "proposals", "/no/file", "--dataset", "x", "--name", "n"], "no dataset 'x'. Known datasets: demo."),
        (["import", "proposals", "/no/file", "--dataset", "demo", "--name", "n"], "Cannot read /no/file: No such"),
        (
            ["mine", "--dataset", "demo", "--encoder", "starter", "--name", "n", "--proposals", "x"],
            "have no proposals 'x'",
        ),
        (["mine", "--dataset", "x", "--encoder", "starter", "--name", "n"], "no dataset 'x'. Known datasets: demo."),
        (["mine", "--dataset", "demo", "--encoder", "x", "--name", "n"], "no encoder 'x'. Known encoders: starter."),
        (
            ["mine", "--dataset", "demo", "--encoder", "starter", "--name", "demo-starter", "--neighbors", "3"],
            "already exists",
        ),
        (
            ["mine", "--dataset", "demo", "--encoder", "starter", "--name", "n", "--neighbors", "12"],
            "at least 13 photos",
        ),
        (
            ["mine", "--dataset", "demo", "--encoder", "starter", "--name", "n", "--pair-ratio", "2"],
            "Invalid value for pair_ratio: 2.0. Use more than 0 and at most 1.",
        ),
        (
            ["mine", "--dataset", "demo", "--encoder", "starter", "--name", "n", "--preset", "x"],
            "'x' is not one of 'paper', 'object'",
        ),
        (["train", "--correspondence", "x"], "no correspondence set 'x'. Known sets: demo-starter."),
        (["train", "--correspondence", "demo-starter"], "A batch of 512 photos"),
        (["pretrain", "--dataset", "demo", "--set", "epoch=3"], "Did you mean 'epochs'?"),
        (["pretrain", "--dataset", "demo", "--set", "epochs"], "'epochs' is not a setting. Write it as key=value."),
        (["pretrain", "--dataset", "demo", "--set", "epochs=many"], "Invalid value for epochs: many. Use 1 to 100000."),
        (["encoders", "add", "nothing", "--name", "n"], "'nothing' is not an encoder"),
        (["runs", "show", "77"], "There is no run 77"),
        (["runs", "show", HUGE], f"Invalid value for 'ID': {HUGE} is too large. Use at most 2147483647."),
        (["runs", "stop", HUGE], f"Invalid value for 'ID': {HUGE} is too large. Use at most 2147483647."),
        (["worker", HUGE], f"Invalid value for 'ID': {HUGE} is too large. Use at most 2147483647."),
        (["evaluations", "show", HUGE], f"Invalid value for 'ID': {HUGE} is too large. Use at most 2147483647."),
        (
            ["actions", "--limit", HUGE],
            f"Invalid value for '--limit': {HUGE} is too large. Use at most 2147483647.",
        ),
        (["runs", "resume", "1"], "Run 1 is done"),
        (["ingest", "/no/such/folder"], "There is no folder /no/such/folder."),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(mined: Path, words: list[str], sentence: str) -> None:
    assert sentence in refused(*words, "--workspace", mined)


def test_a_search_in_a_category_that_is_not_there_names_the_others(mined: Path, scenes: Path) -> None:
    photo = next((scenes / "images").iterdir())
    told = refused("search", photo, "--category", "nothing", "--workspace", mined)
    assert "The set 'demo-starter' has no category 'nothing'. Known categories: " in told


def test_a_list_makes_no_workspace(tmp_path: Path) -> None:
    for words in (["sets"], ["datasets"], ["encoders"], ["runs"], ["evaluations"], ["actions"]):
        told = refused(*words, "--workspace", tmp_path / "mistyped")
        assert f"There is no workspace in {tmp_path}/mistyped. Choose another with --workspace DIR" in told
    assert not (tmp_path / "mistyped").exists()


def test_an_export_says_what_it_wrote(mined: Path, tmp_path: Path) -> None:
    at = ("--workspace", mined)
    for form, said in (("tags", "0 tags"), ("verdicts", "0 verdicts"), ("settings", "the settings")):
        file = tmp_path / f"{form}{'.json' if form == 'settings' else '.csv'}"
        done = orl("export", "demo-starter", "--format", form, "--out", file, *at)
        assert done.stdout.splitlines()[-1] == f"{file}: {said} of 'demo-starter'."


def test_the_workspace_may_stand_before_or_after_the_subcommand(mined: Path) -> None:
    before, after = orl("runs", "--workspace", mined, "list"), orl("runs", "list", "--workspace", mined)
    assert "demo-starter" in before.stdout
    assert before.stdout == after.stdout


def test_an_empty_folder_and_a_folder_without_photos_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"There are no photos in {empty}" in refused("ingest", empty, "--workspace", tmp_path / "w")
    (empty / "notes.txt").write_text("no photo")
    assert "There are no photos" in refused("ingest", empty, "--workspace", tmp_path / "w")


def test_unreadable_photos_are_listed_and_the_rest_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.effect_noise((200, 150), 80).convert("RGB").save(folder / "good.jpg")
    whole = (folder / "good.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    done = orl("ingest", folder, "--workspace", tmp_path / "w")
    assert done.returncode == 0
    assert "2 photos" in done.stdout
    assert "1 unreadable" in done.stdout
    assert re.search(r"unreadable: cut\.jpg: image file is truncated", done.stdout)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"state_dict": {"layer.weight": torch.zeros(3, 3)}}, tmp_path / "odd.pt")
    said = refused("encoders", "add", tmp_path / "odd.pt", "--name", "odd", "--workspace", tmp_path / "w")
    assert "holds no known backbone" in said


def test_a_workspace_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refused("ingest", tmp_path, "--workspace", tmp_path / "file" / "workspace")
    assert ": Not a directory" in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_read_only_workspace_is_refused() -> None:
    # Not under the test's own folder: somebody else may not be let in there at all.
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    sealed = folder / "w"
    sealed.mkdir(mode=0o555)
    # Somebody else may not be allowed to read this Python, so everything is imported first.
    code = f"""
import os
from orl_explorer.train.workspace import open_workspace
from orl_explorer.train.errors import UserError
os.setuid(65534)
try:
    open_workspace({str(sealed)!r})
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    shutil.rmtree(folder)
    assert done.stdout.strip() == f"The workspace {sealed} is read-only. Choose another with --workspace DIR."


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("explore", "--port", str(port), "--workspace", tmp_path / "w")
    assert f"Cannot listen on 127.0.0.1:{port}" in said


def test_nobody_else_answers_at_localhost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers try [::1] first: another account that listens there would get the link with the password."""
    words = ("explore", "--workspace", tmp_path / "w", "--port")
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("This machine has no IPv6.")
    with taken:
        port = taken.getsockname()[1]
        assert f"Cannot listen on [::1]:{port}: Address already in use." in refused(*words, port)
    tried: list[int | None] = []

    def execve(*_: object) -> None:
        with socket.socket(socket.AF_INET6) as later:
            later.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                later.bind(("::1", port))
            except OSError as error:
                tried.append(error.errno)

    monkeypatch.setattr(os, "execve", execve)
    assert orl(*words, port).returncode == 0
    assert tried == [errno.EADDRINUSE]


@pytest.mark.parametrize("url", ["nodb://me:s3cret@host/x", "postgresql://me:s3cret@host:port/x", "s3cret"])
def test_an_address_of_no_database_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ORL_DATABASE_URL", url)
    said = refused("runs", "--workspace", tmp_path / "w")
    assert (
        "Invalid value for ORL_DATABASE_URL. Use an address such as postgresql+psycopg://user:password@host/orl" in said
    )
    assert "s3cret" not in said


def test_a_newer_store_is_refused(mined: Path) -> None:
    import sqlite3

    with sqlite3.connect(mined / "orl.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "written by a newer version" in refused("runs", "--workspace", mined)
