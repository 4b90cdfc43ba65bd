"""Parts that other machines computed: after their import, mining computes nothing and finds the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.train.encoders import weights
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.compact import compact
from orl_explorer.train.mining.config import OBJECT, MineConfig
from orl_explorer.train.mining.part_files import PartFile
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine
from tests.shell import Done, orl, refused
from tests.train.mining.test_mining_resumed import rows_digest

SEARCH = ("--proposal-scale", "0.5")
ROIS = (*SEARCH, "--min-size", "32", "--max-rois", "4")  # as of the fixture tiny_mine

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("remembered")]


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Callable[[], Workspace]:
    """Return a function that makes copies of the workspace."""
    made: list[Workspace] = []

    def new() -> Workspace:
        made.append(open_workspace(shutil.copytree(template, tmp_path / f"machine-{len(made)}")))
        return made[-1]

    return new


def command(workspace: Path | Workspace, *words: str | Path) -> Done:
    where = workspace.path if isinstance(workspace, Workspace) else workspace
    done = orl(*words, "--workspace", where)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def propose(workspace: Path, out: Path, part: str, *words: str) -> Path:
    command(workspace, "propose", "--dataset", "demo", "--part", part, "--out", out, *(words or SEARCH))
    return out


def embed(workspace: Path, out: Path, part: str, boxes: list[Path], *words: str) -> Path:
    given = [word for file in boxes for word in ("--boxes", file)]
    asked = ("--dataset", "demo", "--encoder", "starter", "--part", part, "--out", out)
    command(workspace, "embed", *asked, *given, *(words or ROIS))
    return out


@pytest.fixture(scope="module")
def parts(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Three files of proposals and three of features."""
    from tests.remembered import remember

    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        remember(patch)
        proposals = [propose(template, folder / f"boxes-{i}.part", f"{i}/3") for i in (3, 1, 2)]
        features = [embed(template, folder / f"features-{i}.part", f"{i}/3", proposals) for i in (2, 3, 1)]
    return proposals, features


def mined(workspace: Workspace, config: MineConfig, new_run: Callable, progress: object = None) -> str:
    run = new_run(workspace, "mine", "set")
    mine(workspace, "demo", "starter", "set", config, run_id=run, workers=1, progress=progress)
    return rows_digest(workspace)


def test_three_parts_in_any_order_leave_nothing_to_compute(
    copy: Callable, parts: tuple, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    proposals, features = parts
    plain, other, heard = copy(), copy(), stop_after()
    assert [PartFile.read(file).description["part"] for file in proposals] == [3, 1, 2]
    said = command(other, "import", "proposals", *proposals).stdout
    assert said.endswith("Raw boxes of 12 photos of 'demo' (selective-search-fast@0.5).\n")
    rows = PartFile.read(features[0]).rows("rois"), sum(PartFile.read(file).rows("rois") for file in features)
    said = command(other, "import", "features", *features).stdout
    assert said.endswith(f"Features of 'starter' from 3 files: 12 images, {rows[1]} rois.\n")
    kept = other.embeddings / "starter" / "parts-2"
    assert {file.stat().st_ino for file in features} == {file.stat().st_ino for file in kept.iterdir()}
    assert [name for name in (path.name for path in kept.parent.iterdir()) if not name.startswith(".")] == ["parts-2"]
    assert mined(other, tiny_mine, new_run, heard) == mined(plain, tiny_mine, new_run)
    assert "Proposals computed: 0, reused: 12." in heard.lines
    assert "Photos embedded: 0, reused: 12." in heard.lines
    assert f"RoIs embedded: 0, reused: {rows[1]}." in heard.lines
    assert not (kept.parent / "rois-2.vectors").exists()


def test_the_preset_object_has_its_maps_in_the_parts(
    template: Path, copy: Callable, tmp_path: Path, new_run: Callable, stop_after: Callable
) -> None:
    words = (*SEARCH, "--preset", "object", "--min-size", "32", "--proposals", "search+map")
    changed = {"proposal_scale": 0.5, "min_size": 32, "neighbors": 3, "proposals": "search+map"}
    config = OBJECT.model_copy(update=changed)
    plain, other, heard = copy(), copy(), stop_after()
    command(other, "import", "proposals", propose(template, tmp_path / "boxes", "1/1"))
    features = [embed(other.path, tmp_path / f"features-{i}", f"{i}/2", [], *words) for i in (1, 2)]
    assert "12 images, " in (said := command(other, "import", "features", *features).stdout)
    assert ", 12 attention-and-looks, 12 map-boxes, " in said
    assert mined(other, config, new_run, heard) == mined(plain, config, new_run)
    assert [line for line in heard.lines if " reused: " in line and ": 0, " not in line] == []


def test_what_is_imported_again_changes_nothing(copy: Callable, parts: tuple, tiny_mine: MineConfig) -> None:
    proposals, features = parts
    here = copy()
    command(here, "import", "proposals", *proposals)
    command(here, "import", "features", *features)
    rows = sum(PartFile.read(file).rows("rois") for file in features)
    said = command(here, "import", "proposals", *reversed(proposals)).stdout
    assert said.endswith("Raw boxes of 0 photos of 'demo' (selective-search-fast@0.5); 12 photos had some already.\n")
    said = command(here, "import", "features", *features).stdout
    assert said.endswith(f"12 images, {rows} rois; {12 + rows} of them were there already.\n")
    assert len(list((here.embeddings / "starter" / "parts-2").iterdir())) == 3


def test_compacted_features_are_the_same(
    copy: Callable, parts: tuple, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    proposals, features = parts
    plain, here, heard = copy(), copy(), stop_after()
    command(here, "import", "proposals", *proposals)
    command(here, "import", "features", *features)
    rows = sum(PartFile.read(file).rows("rois") for file in features)
    said = command(here, "features", "compact", "starter").stdout
    assert said.endswith(f"Compacted 3 files of 'starter': {12 + rows} rows appended.\n")
    assert list((here.embeddings / "starter" / "parts-2").iterdir()) == []
    assert (compact(here, "starter").files, compact(here, "starter").rows) == (0, 0)
    assert all(file.is_file() for file in features)
    assert mined(here, tiny_mine, new_run, heard) == mined(plain, tiny_mine, new_run)
    assert f"RoIs embedded: 0, reused: {rows}." in heard.lines


def test_parts_are_written_from_a_read_only_workspace(template: Path, copy: Callable, tmp_path: Path) -> None:
    """A machine that has only a copy without the right to write it."""
    here = copy()
    here.store.close()
    before = {path: path.stat().st_mtime_ns for path in here.path.rglob("*") if path.is_file()}
    propose(here.path, tmp_path / "boxes", "2/6")
    embed(here.path, tmp_path / "features", "2/6", [tmp_path / "boxes"])
    left = {path: path.stat().st_mtime_ns for path in here.path.rglob("*") if path.is_file()}
    assert {path.name for path in left.keys() ^ before.keys()} <= {"orl.sqlite-shm", "orl.sqlite-wal"}
    assert {path: left[path] for path in before} == before


def test_a_part_that_was_killed_goes_on(template: Path, tmp_path: Path, parts: tuple) -> None:
    """By SIGKILL, in processes of their own: the second attempt writes the bytes of an uninterrupted one."""
    for name, words in (("propose", SEARCH), ("embed", ("--encoder", "starter", *ROIS, "--boxes", str(parts[0][0])))):
        out = tmp_path / f"{name}.part"
        asked = [name, "--dataset", "demo", "--part", "3/3", "--out", str(out), *words, "--workspace", str(template)]
        program = [sys.executable, "-m", "orl_explorer", *asked]
        running = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journal = out.with_name(f".{out.name}.journal")
        while not journal.exists() and running.poll() is None:
            time.sleep(0.01)
        running.kill()
        running.wait()
        assert not out.exists()
        done = orl(*asked)
        assert done.returncode == 0, done.stderr
        again = orl(*asked)
        assert again.stdout.endswith(" It was complete already.\n"), again.stdout
        finished = parts[0] if name == "propose" else parts[1]
        twin = next(file for file in finished if PartFile.read(file).description["part"] == 3)
        mine_, theirs = PartFile.read(out), PartFile.read(twin)
        for section in theirs.description["sections"]:
            assert mine_.section(section).tobytes() == theirs.section(section).tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embed.part", "propose.part"]


def test_what_is_no_complete_set_of_parts_is_refused_whole(
    template: Path, copy: Callable, parts: tuple, tmp_path: Path
) -> None:
    here, (proposals, features) = copy(), parts
    third, first, second = proposals
    others = {
        "halves": propose(template, tmp_path / "half.part", "1/2"),
        "settings": propose(
            template, tmp_path / "other.part", "2/3", "--proposal-scale", "0.5", "--segment-size", "25"
        ),
    }

    def said(*files: Path, kind: str = "proposals") -> str:
        return refused("import", kind, *files, "--workspace", here.path)

    assert said(third, first) == "Part 2 of 3 is missing. Write it with `orl propose --part 2/3`."
    assert said(second) == "Parts 1, 3 of 3 are missing. Write them with `orl propose --part 1/3`."
    assert said(first, second, third, first) == (f"{first} and {first} are both part 1 of 3. Give each part once.")
    assert said(others["halves"], second, third) == (
        f"{others['halves']} and {second} are parts of different divisions: of 2 and of 3 parts."
    )
    assert said(first, others["settings"], third) == (
        f"{first} and {others['settings']} have different settings: method is selective-search-fast@0.5 and "
        "selective-search-fast@0.5/25."
    )
    assert said(*features) == f"{features[0]} holds features. Import it with `orl import features`."
    assert said(*proposals, kind="features") == f"{third} holds proposals. Import it with `orl import proposals`."
    json_file = tmp_path / "theirs.json"
    json_file.write_text(json.dumps({"bbox": []}))
    assert said(first, json_file) == f"{json_file} is not a file of `orl propose`, as the others are."
    assert said(json_file) == "To import a JSON file, give one FILE, --dataset and --name."
    assert said(first, "--name", "x") == "Files of `orl propose` need neither --name nor --images. Leave them out."
    damaged = tmp_path / "damaged.part"
    content = bytearray(second.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    assert said(first, damaged, third) == f"The content of {damaged} is damaged. Copy it again."
    assert "There is no dataset 'none'." in said(*proposals, "--dataset", "none")
    ids = [image.id for image in usable_images(here.store, 1)]
    assert len(missing_proposals(here.store, ids, "selective-search-fast@0.5")) == 12
    assert not (here.embeddings / "starter").exists()


def test_photos_that_differ_are_named(parts: tuple, own_photos: Path, tmp_path: Path) -> None:
    proposals, features = parts
    here = open_workspace(tmp_path / "differs")

    def said(kind: str, files: list[Path]) -> str:
        return refused("import", kind, *files, "--workspace", here.path)

    shutil.copy(own_photos / "scene-000.jpg", own_photos / "zz.jpg")
    ingest(here, own_photos, name="demo")
    assert said("proposals", proposals) == (
        "1 photo of 'demo' is in no file, such as zz.jpg. If photos were added or changed, write the parts again."
    )
    (own_photos / "zz.jpg").unlink()
    shutil.copy(own_photos / "scene-001.jpg", own_photos / "scene-002.jpg")
    ingest(here, own_photos, name="demo")
    holder = next(file for file in proposals if PartFile.read(file).description["part"] == 1)
    assert said("proposals", proposals) == (
        f"1 photo of the files is not in 'demo': scene-002.jpg of {holder} has other content. Write the parts again."
    )
    assert said("features", features).startswith("1 photo of the files is not in 'demo': scene-002.jpg of ")


def test_features_find_the_encoder_with_their_weights(
    copy: Callable, small_scenes: Path, parts: tuple, tmp_path: Path
) -> None:
    _, features = parts
    here = open_workspace(tmp_path / "other")
    ingest(here, small_scenes, name="elsewhere")
    weights.add(here, "random:resnet18", "starter")
    sha = PartFile.read(features[0]).description["encoder"]["weights_sha256"][:12]
    first = next(file for file in features if PartFile.read(file).description["part"] == 1)
    said = refused("import", "features", *features, "--dataset", "elsewhere", "--workspace", here.path)
    assert said == (
        f"{first} holds features of the encoder 'starter' with the weights {sha}…, which no encoder of this workspace "
        "has. Add it with `orl encoders add`."
    )
    weights.add(here, "starter", "lite")
    assert (
        "Features of 'lite' from 3 files"
        in command(here, "import", "features", *features, "--dataset", "elsewhere").stdout
    )
    assert (here.embeddings / "lite" / "parts-2").is_dir()


def test_a_part_is_asked_for_plainly(template: Path, tmp_path: Path, parts: tuple) -> None:
    def said(*words: str | Path) -> str:
        return refused(*words, "--dataset", "demo", "--out", tmp_path / "x", "--workspace", template)

    for part in ("0/3", "4/3", "1", "a/b", "-1/3", "1/0"):
        assert said("propose", "--part", part) == (
            f"Invalid value for part: {part}. Use i/n with i from 1 to n, such as 1/3."
        )
    embed_ = ("embed", "--encoder", "starter", "--part", "1/3")
    assert said(*embed_, *ROIS) == (
        "4 photos of this part, such as scene-000.jpg, have no raw boxes 'selective-search-fast@0.5', neither in the "
        "store nor in the files given by --boxes. Make them with `orl propose`."
    )
    assert said(*embed_, "--boxes", parts[0][0]) == (
        f"{parts[0][0]} holds boxes 'selective-search-fast@0.5', but the settings ask for 'selective-search-fast@1'."
    )
    assert said(*embed_, *ROIS, "--boxes", parts[1][0]) == (
        f"{parts[1][0]} holds features. Give files of `orl propose`."
    )
    assert dataset_named(open_workspace(template, read_only=True).store, "demo").image_count == 12
    assert list(tmp_path.iterdir()) == []


def test_a_photo_that_cannot_be_read_is_said_and_left_to_mining(
    own_photos: Path, tmp_path: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    here = open_workspace(tmp_path / "workspace")
    ingest(here, own_photos, name="demo")
    weights.add(here, "starter", "starter")
    os.truncate(own_photos / "scene-005.jpg", 1000)
    boxes = [propose(here.path, tmp_path / f"boxes-{i}", f"{i}/2") for i in (1, 2)]
    features = [embed(here.path, tmp_path / f"features-{i}", f"{i}/2", boxes) for i in (1, 2)]
    assert [len(PartFile.read(file).lost) for file in (*boxes, *features)] == [1, 0, 1, 0]
    assert (
        "(selective-search-fast@0.5); 1 photo could not be read." in command(here, "import", "proposals", *boxes).stdout
    )
    assert command(here, "import", "features", *features).stdout.endswith("; 1 photo could not be read.\n")
    heard = stop_after()
    mined(here, tiny_mine, new_run, heard)
    assert "Skipped scene-005.jpg: the file has changed since it was ingested." in heard.lines
    assert "Photos embedded: 0, reused: 11." in heard.lines
