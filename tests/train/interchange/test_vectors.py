"""Features as files for other programs, and vectors from elsewhere as an encoder: whole round trips."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import orl_explorer
from orl_explorer.app.doctor.workspace import check_workspace
from orl_explorer.db.encoders import VECTORS, encoder_named, encoders_with_weights
from orl_explorer.db.photos import dataset_named, unite, usable_images
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.interchange.embedding import embed_to_file
from orl_explorer.train.interchange.import_vectors import import_vectors
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, photo_keys
from orl_explorer.train.missing import missing_files
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine
from tests.shell import orl, refused
from tests.train.interchange.vectors import BOX, box_file, bring, counts, paths, photo_file, save, vectors

PAPER = MineConfig(neighbors=3, min_size=8, proposals="clip")


# Features for other programs ----------------------------------------------------------------------------


def test_numpy_loads_features_and_the_names_of_their_rows_in_two_lines(
    place: orl_explorer.Workspace, tmp_path: Path
) -> None:
    said = orl(
        "embed", "--dataset", "demo", "--encoder", "starter", "--out", tmp_path / "f.npy", "--workspace", place.path
    )
    assert " ".join(said.stdout.split()).endswith(  # a long folder wraps the line
        f"{tmp_path}/f.npy: 12 photos, 1,280 numbers each, by 'starter'. Their photos: {tmp_path}/f.csv."
    )
    features, named = np.load(tmp_path / "f.npy"), pd.read_csv(tmp_path / "f.csv")
    assert (features.shape, features.dtype) == ((12, 1280), np.float32)
    np.testing.assert_array_equal(features, place.features("starter", "demo"))
    assert list(named.columns) == ["path", "digest"]
    assert named["path"].tolist() == place.photos("demo")["path"].tolist()
    images = list(usable_images(place.inner.store, 1))
    assert named["digest"].tolist() == photo_keys(images).tolist()


def test_rois_are_in_the_order_of_the_set(place: orl_explorer.Workspace, tmp_path: Path) -> None:
    array, table = (
        place.embed("demo", "starter", tmp_path / f"r.{end}", rois="demo-starter") for end in ("npy", "parquet")
    )
    rois = place.rois("demo-starter")
    np.testing.assert_array_equal(np.load(array), place.roi_features("demo-starter"))
    assert pd.read_csv(tmp_path / "r.csv")[["path", *BOX]].values.tolist() == rois[["path", *BOX]].values.tolist()
    read = parquet.read_table(table)
    assert read.schema.names == ["path", "digest", "x", "y", "w", "h", "feature"]
    assert read.schema.field("feature").type == pa.list_(pa.float32(), 1280)
    assert read.schema.field("x").type == pa.int16()
    np.testing.assert_array_equal(np.stack(read["feature"].to_numpy()), place.roi_features("demo-starter"))
    assert read.select(["path", *BOX]).to_pandas().values.tolist() == rois[["path", *BOX]].values.tolist()


@pytest.mark.usefixtures("remembered")
def test_missing_features_are_computed_and_stored_once(ready: Workspace, tmp_path: Path) -> None:
    rows = dataset_named(ready.store, "demo"), encoder_named(ready.store, "starter")
    made = embed_to_file(ready, *rows, tmp_path / "a.npy")
    assert (made.rows, made.width, made.photos, made.lost) == (12, 1280, 12, {})
    (ready.path / "encoders/starter.pt").unlink()  # the second time needs no network
    embed_to_file(ready, *rows, tmp_path / "b.parquet")
    np.testing.assert_array_equal(
        np.stack(parquet.read_table(tmp_path / "b.parquet")["feature"].to_numpy()), np.load(tmp_path / "a.npy")
    )


@pytest.mark.usefixtures("remembered")
def test_a_photo_that_cannot_be_read_has_no_row_and_is_named(
    ready: Workspace, own_photos: Path, tmp_path: Path
) -> None:
    ingest(ready, own_photos, name="own")
    names = sorted(path.name for path in own_photos.iterdir())
    (own_photos / names[3]).write_bytes(b"no photo")
    words = (
        "embed",
        "--dataset",
        "own",
        "--encoder",
        "starter",
        "--out",
        tmp_path / "f.npy",
        "--workspace",
        ready.path,
    )
    said = orl(*words).stdout
    assert f"{tmp_path}/f.npy: 11 photos, 1,280 numbers each, by 'starter'." in said
    assert f"Without a row, since they could not be read: 1 photo.\n  {names[3]}: " in said
    assert len(np.load(tmp_path / "f.npy")) == 11
    assert pd.read_csv(tmp_path / "f.csv")["path"].tolist() == names[:3] + names[4:]
    with pytest.warns(UserWarning, match=f"^1 photos cannot be read and have no row: {names[3]}: "):
        orl_explorer.open_workspace(ready.path, bars=False).embed("own", "starter", tmp_path / "g.parquet")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--out", "f.txt"), "Invalid name for a file of features: f.txt. It ends in .npy or .parquet."),
        (("--out", "n" * 300 + ".npy"), f"Cannot write {'n' * 300}.npy: File name too long."),
        (("--out", "there.npy"), "there.npy already exists. Choose another --out, or remove it."),
        (
            ("--out", "f.npy", "--part", "1/2"),
            "With --part, give a file that ends neither in .npy nor in .parquet, and leave out --rois.",
        ),
        (
            ("--out", "f.npy", "--min-size", "32"),
            "Without --part, only --precision and --rois choose what is embedded. Leave the others out.",
        ),
    ],
)
def test_an_embedding_that_makes_no_sense(
    place: orl_explorer.Workspace,
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.npy").touch()
    assert refused("embed", "--dataset", "demo", "--encoder", "starter", *words, "--workspace", place.path) == sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.npy", "workspace"]


# Vectors from elsewhere ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("runs_in_process")
@pytest.mark.parametrize("end", ["npy", "parquet"])
def test_an_encoder_and_its_own_vectors_find_the_same_pairs(
    place: orl_explorer.Workspace, end: str, tmp_path: Path
) -> None:
    photos = place.embed("demo", "starter", tmp_path / f"photos.{end}")
    rois = place.embed("demo", "starter", tmp_path / f"rois.{end}", rois="demo-starter")
    count = len(place.rois("demo-starter"))
    words = ("import", "features", photos, rois, "--dataset", "demo", "--encoder", "clip", "--workspace", place.path)
    assert orl(*words).stdout.endswith(
        f"New encoder 'clip': 12 vectors of photos with 1,280 numbers and {count} of boxes with 1,280 added.\n"
        "It counts as trained without labels. If it was trained with labels, import it with --supervised.\n"
    )
    assert orl(*words).stdout.endswith(
        "Encoder 'clip': 0 vectors of photos with 1,280 numbers and 0 of boxes with 1,280 added; "
        f"{12 + count} were there already.\n"
    )
    said = orl(
        "mine", "--dataset", "demo", "--encoder", "clip", "--name", "again", "--neighbors", "4", *words[-2:]
    ).stdout
    assert "'clip' is imported vectors: RoIs are filtered from its own boxes, the proposals 'clip'." in said
    assert place.mine("demo", "clip", "again", neighbors=4).params["proposals"] == "clip"  # the same run
    columns = [name for name in place.pairs("demo-starter") if name != "neighbor_similarity"]
    pd.testing.assert_frame_equal(place.pairs("again")[columns], place.pairs("demo-starter")[columns])
    pd.testing.assert_frame_equal(place.neighbors("again"), place.neighbors("demo-starter"))
    np.testing.assert_array_equal(place.roi_features("again"), place.roi_features("demo-starter"))
    measured = place.evaluate("clip", "correspondence", "demo", proposals="clip", neighbors=4).summary
    own = place.evaluate("starter", "correspondence", "demo", proposal_scale=0.5, neighbors=4).summary
    assert {name: pytest.approx(value) for name, value in own.items() if "_chance" not in name} == {
        name: value for name, value in measured.items() if "_chance" not in name
    }
    row = place.encoders().set_index("name").loc["clip"]
    assert row[["architecture", "kind", "supervised", "image_features", "source"]].tolist() == [
        "vectors", "vectors", False, 1280, f"photos.{end}, rois.{end}",
    ]  # fmt: skip
    back = place.embed("demo", "clip", tmp_path / f"back.{end}", rois="again")
    assert back.read_bytes()[-1000:] == rois.read_bytes()[-1000:] if end == "npy" else back.is_file()


def test_vectors_of_two_lengths_are_scaled_and_mined(
    photographed: Workspace, new_run: Callable, tmp_path: Path
) -> None:
    names = paths(photographed)
    file = photo_file(tmp_path, names)
    np.save(file, (np.load(file) * np.arange(1, 13)[:, None]).astype(np.float16))
    found = bring(photographed, file, box_file(tmp_path, names), supervised=True)
    assert counts(found) == (True, 12, 24, 0, 12, 0)
    row = encoder_named(photographed.store, "clip")
    assert (row.kind, row.supervised, row.image_features, row.roi_features, row.weights_path) == (
        VECTORS,
        True,
        6,
        4,
        "",
    )
    assert encoders_with_weights(photographed.store) == []
    stored = Features(photographed, row).images.get(photo_keys(list(usable_images(photographed.store, 1))))
    np.testing.assert_allclose(stored, vectors(12, 6), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-6)
    mined = mine(photographed, "demo", "clip", "set", PAPER, run_id=new_run(photographed, "mine", "set"))
    # The second box overlaps the first by more than half: one RoI a photo, one pair for each of three neighbours.
    assert (mined.image_count, mined.candidate_count, mined.pair_count) == (12, 12, 36)


def test_the_digest_depends_on_the_vectors_not_on_their_order_or_file(photographed: Workspace, tmp_path: Path) -> None:
    names, rows = paths(photographed), vectors(12, 6)
    digests = photo_keys(list(usable_images(photographed.store, 1)))
    backwards = pa.table({"digest": digests[::-1], "feature": pa.array([*rows[::-1].tolist()], pa.list_(pa.float32()))})
    parquet.write_table(backwards, tmp_path / "b.parquet")
    first = bring(photographed, save(tmp_path / "a.npy", rows, path=names), name="a").encoder
    second = bring(photographed, tmp_path / "b.parquet", name="b").encoder
    root = dataset_named(photographed.store, "demo").root
    whole = save(tmp_path / "d.npy", rows, path=[f"{root}/{name}" for name in names])
    assert bring(photographed, whole, name="a").there == 12
    third = bring(photographed, photo_file(tmp_path, names, seed=1), name="c").encoder
    assert first.weights_sha256 == second.weights_sha256 != third.weights_sha256
    np.testing.assert_array_equal(Features(photographed, second).images.get(digests), rows)


def test_vectors_of_photos_alone_make_a_map_and_no_set(photographed: Workspace, tmp_path: Path) -> None:
    bring(photographed, photo_file(tmp_path, paths(photographed)))
    words = ("mine", "--dataset", "demo", "--encoder", "clip", "--name", "s", "--workspace", photographed.path)
    assert refused(*words) == (
        "'clip' has vectors of photos alone, and pairs are found by vectors of boxes. Import those with `orl import "
        "features`."
    )
    found = bring(photographed, box_file(tmp_path, paths(photographed), width=6))  # boxes may come later
    assert counts(found) == (False, 0, 24, 0, 0, 0)


def test_a_dataset_that_grew_gets_more_vectors(own_photos: Path, new_run: Callable, tmp_path: Path) -> None:
    workspace, aside = open_workspace(tmp_path / "workspace"), tmp_path / "aside"
    names = sorted(path.name for path in own_photos.iterdir())
    aside.mkdir()
    for name in names[10:]:
        (own_photos / name).rename(aside / name)
    ingest(workspace, own_photos, name="demo")
    bring(workspace, photo_file(tmp_path, names[:10]), box_file(tmp_path, names[:10]))
    for name in names[10:]:
        (aside / name).rename(own_photos / name)
    ingest(workspace, own_photos, name="demo")
    words = ("mine", "--dataset", "demo", "--encoder", "clip", "--name", "s", "--workspace", workspace.path)
    assert refused(*words) == (
        f"2 photos of 'demo' have no vector of 'clip', such as {names[10]}. Import what is missing with `orl import "
        "features`."
    )
    new = photo_file(tmp_path, names[10:], seed=2), box_file(tmp_path, names[10:], seed=3)
    with pytest.raises(UserError, match="^2 photos of 'demo' have no box with a vector in "):
        bring(workspace, new[0])
    with pytest.raises(
        UserError, match="^The vectors of boxes have 5 numbers, but those of 'clip' have 4. Import them "
    ):
        bring(workspace, new[0], box_file(tmp_path, names[10:], width=5, seed=4))
    assert counts(bring(workspace, *new)) == (False, 2, 4, 0, 0, 0)
    mined = mine(workspace, "demo", "clip", "set", PAPER, run_id=new_run(workspace, "mine", "set"))
    assert (mined.image_count, mined.pair_count) == (12, 36)
    with pytest.raises(
        UserError, match=f"^{names[0]} has another vector in 'clip' already. Import these under another name.$"
    ):
        bring(workspace, photo_file(tmp_path, names[:10], seed=5), box_file(tmp_path, names[:10]))
    moved = pd.read_csv(tmp_path / "boxes-3.csv").assign(x=1)
    with pytest.raises(
        UserError, match=f"^The boxes of {names[10]} are not those that were imported as 'clip' before. "
    ):
        bring(workspace, save(tmp_path / "m.npy", vectors(4, 4, 3), **moved))


def test_copies_of_a_file_share_a_vector_and_unreadable_photos_are_left_out(own_photos: Path, tmp_path: Path) -> None:
    workspace, names = open_workspace(tmp_path / "workspace"), sorted(path.name for path in own_photos.iterdir())
    shutil.copy(own_photos / names[0], own_photos / "copy.jpg")
    (own_photos / names[1]).write_bytes(b"no photo")
    ingest(workspace, own_photos, name="demo")
    photos, boxes = photo_file(tmp_path, names), box_file(tmp_path, names)
    assert counts(bring(workspace, photos, boxes)) == (True, 11, 22, 0, 0, 3)
    ids = [image.id for image in usable_images(workspace.store, 1)]
    assert missing_proposals(workspace.store, ids, "imported:clip") == []
    both = save(tmp_path / "both.npy", vectors(13, 6), path=["copy.jpg", *names])
    with pytest.raises(
        UserError, match=f"^{names[0]} is a copy of another photo, but its vector is another one. Keep "
    ):
        bring(workspace, both, name="other")


def test_photos_of_a_union_are_named_from_the_folder_that_holds_all(
    own_photos: Path, tmp_path: Path, photographed: Workspace
) -> None:
    for path in list(own_photos.iterdir())[:6]:
        path.write_bytes(path.read_bytes() + b"end")  # the same names, other files
    ingest(photographed, own_photos, name="own")
    whole = unite(photographed.store, ["demo", "own"])
    assert whole.image_count == 24
    names = [f"{folder}/{name}" for folder in ("scenes", "own") for name in paths(photographed)]
    rows = vectors(24, 6)
    keys = photo_keys(list(usable_images(photographed.store, whole.id)))
    _, first = np.unique(keys, return_index=True)
    rows[12:] = rows[[int(np.flatnonzero(keys == key)[0]) for key in keys[12:]]]  # copies have one vector
    found = import_vectors(photographed, [save(tmp_path / "u.npy", rows, path=names)], whole, "clip")
    assert (found.photos, found.there) == (len(first), 24 - len(first))
    made = embed_to_file(photographed, whole, found.encoder, tmp_path / "back.npy")
    np.testing.assert_array_equal(np.load(made.file), rows)
    back = pd.read_csv(tmp_path / "back.csv")["path"]
    assert [name.split("/")[-2:] for name in back] == [name.split("/") for name in names]
    assert import_vectors(photographed, [made.file], whole, "again").photos == len(first)


def test_lost_vectors_are_missed_and_only_the_same_ones_come_back(photographed: Workspace, tmp_path: Path) -> None:
    files = photo_file(tmp_path, paths(photographed)), box_file(tmp_path, paths(photographed))
    bring(photographed, *files)
    assert missing_files(photographed) == {}
    shutil.rmtree(photographed.embeddings / "clip")
    assert missing_files(photographed) == {"features of": ["clip"]}
    photographed.store.close()
    said = {one.subject: one for one in check_workspace(photographed.path) if one.area == "encoders"}["clip"]
    assert (said.state, said.found) == ("problem", f"there are no vectors in {photographed.embeddings / 'clip'}")
    with pytest.raises(
        UserError, match="^The vectors of 'clip' are not in .* any more, and these are not the ones that it "
    ):
        bring(photographed, photo_file(tmp_path, paths(photographed), seed=7), files[1])
    assert counts(bring(photographed, *files)) == (False, 12, 24, 0, 0, 0)
    photographed.store.close()
    said = {one.subject: one for one in check_workspace(photographed.path) if one.area == "encoders"}["clip"]
    assert (said.state, said.found) == ("ok", "12 vectors of photos, 24 of boxes")
