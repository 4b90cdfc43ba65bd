"""Archives of sets: another workspace with the same photos gets the same set, and of a bad file nothing is stored."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from sqlalchemy import text

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import CorrespondenceSet, Run
from orl_explorer.db.models import Image as Row
from orl_explorer.db.people.actions import actions
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.db.runs.runs import add_run, update_run
from orl_explorer.db.sets.read import complete_set_named, find_set, pair_rows, set_images
from orl_explorer.train.encoders import weights
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.interchange.archive_files import read_archive
from orl_explorer.train.interchange.exports import export
from orl_explorer.train.interchange.import_archive import ImportedArchive, find_photos, import_archive
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.kinds import job_of
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.digest import set_digest
from orl_explorer.train.mining.features import Features
from orl_explorer.train.progress import Stopped
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.trained_on import correspondences
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import NewWorkspace
from tests.named import mine

pytestmark = pytest.mark.usefixtures("remembered")

WRITTEN = ("roi", "proposal", "correspondence_set", "set_image", "candidate", "neighbor", "pair", "run", "encoder")
Pairs = dict[tuple[int, int], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def origin(template: Path, tmp_path_factory: pytest.TempPathFactory, tiny_mine: MineConfig) -> Workspace:
    """A workspace with the mined set 'sent' (K = 3). Do not change it."""
    path = tmp_path_factory.mktemp("origin") / "workspace"
    shutil.copytree(template, path)
    made = open_workspace(path)
    run = add_run(made.store, Run(kind="mine", name="sent", params={}))
    mine(made, "demo", "starter", "sent", tiny_mine, run_id=run.id, workers=1)
    return made


@pytest.fixture(scope="module")
def archive(origin: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sent") / "sent.zip"
    export(origin, "sent", "archive", out)
    return out


@pytest.fixture
def elsewhere(small_scenes: Path, empty_workspace: NewWorkspace, tmp_path: Path) -> Workspace:
    """Another workspace: the same files under other names in other folders, in another order, as dataset 'theirs'."""
    folder = tmp_path / "theirs"
    for number, path in enumerate(sorted(small_scenes.iterdir())):
        (folder / f"{'ab'[number % 2]}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "ab"[number % 2] / f"photo-{90 - number}.jpg")
    made = empty_workspace(tmp_path / "elsewhere")
    ingest(made, folder, name="theirs")
    return made


def bring(workspace: Workspace, file: Path, dataset: str = "theirs", **how: Any) -> ImportedArchive:
    return import_archive(workspace, read_archive(file), dataset_named(workspace.store, dataset), **how)


def imported(workspace: Workspace, name: str = "sent") -> CorrespondenceSet:
    return complete_set_named(workspace.store, name)


def by_digest(workspace: Workspace, mined: CorrespondenceSet) -> Pairs:
    """The pairs of a set by the digests of their two photos."""
    digest = {image.id: image.digest or 0 for image in set_images(workspace.store, mined.id)}
    found: Pairs = {}
    for image_id, own in pair_rows(workspace.store, mined.id, list(digest)).items():
        for pair in own:
            where = pair.neighbor_rank, pair.rank, pair.query_box, pair.key_box
            numbers = pair.neighbor_similarity, pair.similarity, pair.margin, pair.cycle
            found.setdefault((digest[image_id], digest[pair.neighbor_id]), []).append((*where, *numbers))
    return found


def action_texts(workspace: Workspace) -> list[tuple[str, str, str]]:
    return [(row.action, row.subject, row.detail) for row in actions(workspace.store)]


def counts(workspace: Workspace) -> dict[str, int]:
    with workspace.store.session() as session:
        return {t: session.scalar(text(f"SELECT count(*) FROM {t}")) or 0 for t in WRITTEN}


@pytest.mark.both_databases
@pytest.mark.usefixtures("runs_in_process")
def test_a_set_is_the_same_beside_the_same_photos_in_other_folders(
    origin: Workspace, archive: Path, elsewhere: Workspace
) -> None:
    weights.add(elsewhere, "starter", "theirs-starter")
    found = bring(elsewhere, archive, name="got")
    assert (found.photos, found.left_out, found.neighbors, found.absent) == (12, 0, 3, False)
    assert found.encoder.name == "theirs-starter"
    sent, got = imported(origin), imported(elsewhere, "got")
    assert set_digest(elsewhere.store, got) == set_digest(origin.store, sent)
    assert by_digest(elsewhere, got) == by_digest(origin, sent)
    assert got.params == sent.params
    assert (got.image_count, got.candidate_count, got.pair_count) == (
        sent.image_count,
        sent.candidate_count,
        sent.pair_count,
    )
    assert got.summary == sent.summary
    assert got.run_id == found.run.id
    ids = [image.id for image in set_images(elsewhere.store, got.id)]
    assert missing_proposals(elsewhere.store, ids, MineConfig.of(got).method) == []
    job = job_of(found.run)
    assert (job.imported, job.archived) == (str(archive), read_archive(archive).manifest["set"]["digest"])  # type: ignore[attr-defined]
    folder = elsewhere.run_folder(found.run.id)
    assert "as in the archive." in (folder / "log.txt").read_text()
    assert json.loads((folder / "archive.json").read_text())["set"]["name"] == "sent"


@pytest.mark.usefixtures("runs_in_process")
def test_stage_3_trains_on_the_same_pairs(
    origin: Workspace, archive: Path, elsewhere: Workspace, tiny_orl: ORLConfig
) -> None:
    bring(elsewhere, archive)
    trained = []
    for workspace, dataset in ((origin, "demo"), (elsewhere, "theirs")):
        data = correspondences(workspace, imported(workspace), dataset_named(workspace.store, dataset), tiny_orl)
        of = data.digests
        trained.append(
            {
                (of[query], of[data.neighbors[j]], *pair)
                for n, query in enumerate(range(len(data.roi_start) - 1))
                for j in range(data.neighbor_start[n], data.neighbor_start[n + 1])
                for pair in data.pairs[data.pair_start[j] : data.pair_start[j + 1]].tolist()
            }
        )
    assert trained[0] == trained[1]


def test_photos_that_are_missing_or_differ_are_named_and_refused(archive: Path, elsewhere: Workspace) -> None:
    root = Path(dataset_named(elsewhere.store, "theirs").root)
    (root / "a" / "photo-90.jpg").unlink()  # scene-000.jpg
    (root / "b" / "photo-89.jpg").rename(root / "b" / "scene-001.jpg")
    Image.new("RGB", (240, 180)).save(root / "b" / "scene-001.jpg")
    ingest(elsewhere, root, name="theirs")
    before = counts(elsewhere)
    with pytest.raises(UserError) as refusal:
        bring(elsewhere, archive)
    assert str(refusal.value) == (
        f"'theirs' has not all photos of {archive}. 1 photo of the archive not found: scene-000.jpg. 1 photo with "
        "other content than in the archive: scene-001.jpg. Ingest them, or import the rest with --leave-out. Files "
        "that were saved anew are taken with --by-name, if name and size are the same."
    )
    assert counts(elsewhere) == before


@pytest.mark.usefixtures("runs_in_process")
def test_the_rest_is_what_mining_the_rest_with_fewer_neighbours_finds(
    origin: Workspace, archive: Path, elsewhere: Workspace, new_run: Callable[..., int]
) -> None:
    """The starter is there, so that the rest can be mined too."""
    weights.add(elsewhere, "starter", "starter")
    root = Path(dataset_named(elsewhere.store, "theirs").root)
    (root / "b" / "photo-89.jpg").unlink()  # the nearest of two photos, the last of one
    ingest(elsewhere, root, name="theirs")
    found = bring(elsewhere, archive, leave_out=True)
    assert found.matched.missing == ["scene-001.jpg"]
    assert (found.photos, found.left_out, found.neighbors) == (11, 0, 2)
    got = imported(elsewhere)
    assert got.params["neighbors"] == 2
    run = new_run(elsewhere, "mine", "again")
    mined = mine(elsewhere, "theirs", "starter", "again", MineConfig.of(got), run_id=run, workers=1)
    again, rest = by_digest(elsewhere, mined), by_digest(elsewhere, got)
    assert again.keys() == rest.keys()
    for photos, pairs in again.items():
        assert [pair[:4] for pair in pairs] == [pair[:4] for pair in rest[photos]]


@pytest.mark.usefixtures("runs_in_process")
def test_a_file_that_was_saved_anew_is_taken_by_name_only_if_asked(
    archive: Path, own_photos: Path, empty_workspace: NewWorkspace, tmp_path: Path
) -> None:
    (own_photos / "scene-002.jpg").write_bytes((own_photos / "scene-002.jpg").read_bytes() + b"more")
    made = empty_workspace(tmp_path / "w")
    ingest(made, own_photos, name="theirs")
    with pytest.raises(UserError, match="1 photo with other content than in the archive: scene-002.jpg"):
        bring(made, archive)
    found = bring(made, archive, by_name=True)
    assert (found.photos, found.matched.by_name) == (12, ["scene-002.jpg"])
    digest = set_digest(made.store, imported(made))
    assert digest != read_archive(archive).manifest["set"]["digest"]
    assert "in the archive" in (made.run_folder(found.run.id) / "log.txt").read_text().splitlines()[-1]


@pytest.mark.usefixtures("runs_in_process")
def test_without_its_encoder_a_set_says_so_until_the_encoder_is_added(archive: Path, elsewhere: Workspace) -> None:
    with pytest.raises(UserError, match="'starter' of this set is not in the workspace. Leave --embed out."):
        bring(elsewhere, archive, embed=True)
    found = bring(elsewhere, archive)
    assert (found.absent, found.encoder.kind, found.encoder.weights_path) == (True, "vectors", "")
    assert set_digest(elsewhere.store, imported(elsewhere)) == read_archive(archive).manifest["set"]["digest"]
    with pytest.raises(UserError, match="The encoder 'starter' is not in this workspace: its set was imported"):
        refuse_vectors(found.encoder)
    added = weights.add(elsewhere, "starter", "mine")
    assert (added.id, added.kind, added.name) == (found.encoder.id, "starter", "mine")
    assert encoder_named(elsewhere.store, "mine").id == imported(elsewhere).encoder_id
    refuse_vectors(added)


@pytest.mark.usefixtures("runs_in_process")
def test_adding_the_encoder_under_the_name_in_the_archive_brings_its_weights(
    archive: Path, elsewhere: Workspace
) -> None:
    found = bring(elsewhere, archive)
    added = weights.add(elsewhere, "starter", "starter")
    assert (added.id, added.kind, added.weights_path) == (found.encoder.id, "starter", "encoders/starter.pt")
    assert weights.digest(weights.stored_weights(elsewhere, added)) == found.encoder.weights_sha256
    assert action_texts(elsewhere)[0] == ("add", "encoder starter", "starter")


def test_a_deleted_file_of_weights_comes_back_by_adding_the_encoder_again(elsewhere: Workspace) -> None:
    row = weights.add(elsewhere, "starter", "starter")
    (elsewhere.path / "encoders" / "starter.pt").unlink()
    again = weights.add(elsewhere, "starter", "starter")
    assert again.id == row.id
    assert weights.digest(weights.stored_weights(elsewhere, again)) == row.weights_sha256


@pytest.mark.usefixtures("runs_in_process")
def test_features_are_computed_if_asked(archive: Path, elsewhere: Workspace) -> None:
    encoder = weights.add(elsewhere, "starter", "starter")
    bring(elsewhere, archive, embed=True)
    features = Features(elsewhere, encoder)
    with elsewhere.store.session() as session:
        assert features.rois.rows == session.scalar(text("SELECT count(DISTINCT roi_id) FROM candidate"))
    assert features.images.rows == 12


@pytest.mark.both_databases
def test_an_interrupted_import_goes_on(
    archive: Path, elsewhere: Workspace, stop_after: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_start", lambda workspace, run: run)
    found = bring(elsewhere, archive)
    for advances in (1, 1, 2, 2):  # RoIs; neighbours; pairs; quality
        with pytest.raises(Stopped):
            job_of(found.run).work(elsewhere, found.run.id, stop_after(advances))
        unfinished = find_set(elsewhere.store, "sent")
        assert unfinished is None or unfinished.status == "mining"
    progress = stop_after()
    job_of(found.run).work(elsewhere, found.run.id, progress)
    assert progress.lines[-1].endswith("as in the archive.")
    update_run(elsewhere.store, found.run.id, status="done")


def test_copies_of_a_photo_are_taken_once_each(archive: Path, elsewhere: Workspace) -> None:
    found = read_archive(archive)
    found.tables["photos"]["digest"] = np.append([7, 7, 7], found.tables["photos"]["digest"][3:])
    here = [Row(id=n, path=path, digest=7) for n, path in enumerate(("z.jpg", "b/scene-001.jpg", "scene-000.jpg"), 1)]
    assert find_photos(found, here).image_ids[:3].tolist() == [3, 2, 1]


# Bad files -------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, bytes], dict[str, Any]], None]


def changed(archive: Path, out: Path, change: Change, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive with another content; digests and sizes of its tables fit."""
    with zipfile.ZipFile(archive) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(entries.pop("manifest.json"))
    change(entries, manifest)
    for name, about in manifest.get("tables", {}).items():
        if content := entries.get(f"{name}.parquet"):
            about |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
        file.writestr("manifest.json", json.dumps(manifest))
    return out


def cell(table: str, column: str, row: int, value: object) -> Change:
    """Set one value of a table."""

    def change(entries: dict[str, bytes], manifest: dict[str, Any]) -> None:
        found = parquet.read_table(io.BytesIO(entries[f"{table}.parquet"]))
        values = found[column].to_pylist()
        values[row] = value
        at = found.column_names.index(column)
        made, buffer = found.set_column(at, found.schema.field(at), pa.array(values, found[column].type)), io.BytesIO()
        parquet.write_table(made, buffer)
        entries[f"{table}.parquet"] = buffer.getvalue()

    return change


def rows_of_nothing(entries: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """Fifty million equal rows in a few kilobytes."""
    schema = parquet.read_schema(io.BytesIO(entries["neighbors.parquet"]))
    buffer, block = io.BytesIO(), pa.table({f.name: pa.array(np.zeros(10**6), f.type) for f in schema}, schema)
    with parquet.ParquetWriter(buffer, schema, compression="zstd") as file:
        for _ in range(5):
            file.write_table(block)
    entries["neighbors.parquet"] = buffer.getvalue()
    manifest["tables"]["neighbors"]["rows"] = 5 * 10**6


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e, m: m.update(version=2), "it has version 2 of the format, and this program reads version 1"),
        (lambda e, m: m.update(format="other"), "it is no archive of a set"),
        (lambda e, m: m.pop("set"), "its manifest.json lacks what every set has"),
        (lambda e, m: m["encoder"].pop("weights_sha256"), "its manifest.json does not name the encoder"),
        (lambda e, m: m["set"].update(digest="**0**"), "its manifest.json has a digest that is none"),
        (lambda e, m: m["set"]["settings"].update(magic=1), "it has settings that this version does not know: magic"),
        (
            lambda e, m: m.update(set=m["set"] | {"name": "x" * 2**20}),
            "its manifest.json is larger than that of any set",
        ),
        (lambda e, m: e.update({"../evil.sh": b"rm"}), "it holds ../evil.sh, which no archive of a set has"),
        (lambda e, m: e.update({"/etc/passwd": b"x"}), "it holds /etc/passwd, which no archive of a set has"),
        (lambda e, m: e.pop("pairs.parquet"), "it has no table pairs"),
        (
            lambda e, m: m["tables"]["rois"].update(rows=3),
            "its table rois has another number of rows than its manifest",
        ),
        (rows_of_nothing, "its table neighbors has another number of rows than its manifest says"),
        (cell("photos", "path", 0, ""), "a photo has no name"),
        (cell("photos", "digest", 0, 0), "a photo has no digest"),
        (cell("photos", "width", 0, 3), "a RoI is not inside its photo"),
        (cell("photos", "path", 0, None), "its table photos has rows without path"),
        (cell("rois", "w", 0, -5), "a RoI is not inside its photo"),
        (cell("rois", "rank", 0, 2), "the rows of its table rois are not in order"),
        (cell("neighbors", "neighbor", 0, 12), "the neighbours of a photo are not distinct photos of the set"),
        (cell("neighbors", "similarity", 0, float("nan")), "a similarity is no cosine"),
        (cell("pairs", "query", 0, 99), "a pair names a RoI that its photo does not have"),
        (cell("pairs", "similarity", 0, 9.0), "a similarity is no cosine"),
        (cell("raw_boxes", "boxes", 0, b"123"), "its raw boxes are damaged"),
    ],
)
def test_nothing_of_a_foreign_newer_or_malicious_archive_is_taken(
    archive: Path, tmp_path: Path, change: Change, why: str
) -> None:
    with pytest.raises(UserError) as refusal:
        read_archive(changed(archive, tmp_path / "bad.zip", change))
    assert str(refusal.value).startswith(f"{tmp_path / 'bad.zip'} cannot be imported: {why}")
    assert list(tmp_path.iterdir()) == [tmp_path / "bad.zip"]


def test_a_compressed_entry_is_not_unpacked(archive: Path, tmp_path: Path) -> None:
    bad = changed(archive, tmp_path / "bad.zip", lambda e, m: e.update(x=bytes(10**8)), zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="is compressed or encrypted, as in no archive of a set"):
        read_archive(bad)


def test_a_truncated_or_damaged_archive_is_one_sentence(archive: Path, tmp_path: Path) -> None:
    content, bad = archive.read_bytes(), tmp_path / "bad.zip"
    for length in (0, 10, len(content) // 2, len(content) - 30):
        bad.write_bytes(content[:length])
        with pytest.raises(UserError, match="is damaged, truncated or no archive of a set"):
            read_archive(bad)
    for at in range(40, len(content), len(content) // 60):  # one byte of any part
        bad.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
        try:
            read_archive(bad)
        except UserError as refusal:
            assert str(bad) in str(refusal)
    with pytest.raises(UserError, match="There is no file"):
        read_archive(tmp_path / "none.zip")


def test_an_archive_names_no_folder_and_is_the_same_each_time(origin: Workspace, archive: Path, tmp_path: Path) -> None:
    export(origin, "sent", "archive", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    content = archive.read_bytes()
    for folder in (origin.path, Path(dataset_named(origin.store, "demo").root)):
        assert str(folder).encode() not in content
