"""Every fault in a file of vectors is one sentence, and nothing is stored."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import orl_explorer
from orl_explorer.db.encoders import encoders
from orl_explorer.db.photos import usable_images
from orl_explorer.db.proposals import add_proposals, proposal_methods, proposals_of
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.part_files import HEAD
from orl_explorer.train.workspace import Workspace
from tests.shell import refused
from tests.train.interchange.vectors import box_file, bring, paths, photo_file, save, vectors


def _edit(file: Path, **columns: Any) -> None:
    pd.read_csv(file.with_suffix(".csv")).assign(**columns).to_csv(file.with_suffix(".csv"), index=False)


def _fewer_rows(photos: Path, boxes: Path) -> None:
    np.save(photos, np.load(photos)[:11])


def _no_names(photos: Path, boxes: Path) -> None:
    photos.with_suffix(".csv").unlink()


def _no_column(photos: Path, boxes: Path) -> None:
    photos.with_suffix(".csv").write_text("name\n" + "a.jpg\n" * 12)


def _three_sides(photos: Path, boxes: Path) -> None:
    pd.read_csv(boxes.with_suffix(".csv")).drop(columns="h").to_csv(boxes.with_suffix(".csv"), index=False)


def _whole_numbers(photos: Path, boxes: Path) -> None:
    np.save(photos, np.ones((12, 6), np.int64))


def _one_dimension(photos: Path, boxes: Path) -> None:
    np.save(photos, np.ones(12))


def _pickled(photos: Path, boxes: Path) -> None:
    np.save(photos, np.array([{}]), allow_pickle=True)


def _cut_off(photos: Path, boxes: Path) -> None:
    photos.write_bytes(photos.read_bytes()[:200])


def _unknown(photos: Path, boxes: Path) -> None:
    _edit(photos, path=["x.jpg", *pd.read_csv(photos.with_suffix(".csv"))["path"][1:]])


def _twice(photos: Path, boxes: Path) -> None:
    names = pd.read_csv(photos.with_suffix(".csv"))["path"].tolist()
    save(photos, vectors(13, 6), path=[*names, names[2]])


def _box_twice(photos: Path, boxes: Path) -> None:
    _edit(boxes, x=0, w=100)


def _missing(photos: Path, boxes: Path) -> None:
    save(photos, vectors(11, 6), path=pd.read_csv(photos.with_suffix(".csv"))["path"][1:])


def _boxless(photos: Path, boxes: Path) -> None:
    save(boxes, vectors(22, 4), **pd.read_csv(boxes.with_suffix(".csv"))[2:])


def _infinite(photos: Path, boxes: Path) -> None:
    rows = np.load(photos)
    rows[4, 2] = np.inf
    np.save(photos, rows)


def _zero(photos: Path, boxes: Path) -> None:
    rows = np.load(boxes)
    rows[3] = 0
    np.save(boxes, rows)


def _other_digest(photos: Path, boxes: Path) -> None:
    _edit(photos, digest=7)


def _no_such_digest(photos: Path, boxes: Path) -> None:
    save(photos, vectors(12, 6), digest=[7] * 12)


def _fraction(photos: Path, boxes: Path) -> None:
    _edit(boxes, w=99.5)


def _half_a_box(photos: Path, boxes: Path) -> None:
    _edit(boxes, w=[None, *[100] * 23])


def _outside(photos: Path, boxes: Path) -> None:
    _edit(boxes, y=[0, 5000, *[0] * 22])


def _no_photos(photos: Path, boxes: Path) -> None:
    shutil.copy(boxes, photos)
    shutil.copy(boxes.with_suffix(".csv"), photos.with_suffix(".csv"))
    _edit(photos, x=1)


FAULTS: list[tuple[Callable[[Path, Path], None], str]] = [
    (_fewer_rows, "{photos} has 11 rows, but {names} names 12. Write one line for each row."),
    (_no_names, "There is no {names} beside {photos}. It names the photo of each row."),
    (
        _no_column,
        "{names} has neither a column 'path' nor a column 'digest', which name the photo of each row. Its "
        "columns: name.",
    ),
    (_three_sides, "{box_names} lacks the column 'h' of its boxes. Give x, y, w and h, or none of them."),
    (_whole_numbers, "{photos} holds int64 [12, 6]. Write one array of floating-point numbers [rows, D]."),
    (_one_dimension, "{photos} holds float64 [12]. Write one array of floating-point numbers [rows, D]."),
    (_pickled, "Cannot read {photos}: Array can't be memory-mapped: Python objects in dtype."),
    (_cut_off, "Cannot read {photos}: mmap length is greater than file size."),
    (_unknown, "x.jpg, which {photos} lists, is not in the dataset 'demo'."),
    (_twice, "scene-002.jpg is twice in {photos} and {boxes}. Give each row once."),
    (_box_twice, "The box [0, 0, 100, 120] of scene-000.jpg is twice in {photos} and {boxes}. Give each row once."),
    (
        _missing,
        "1 photo of 'demo' has no vector in {photos} and {boxes}, such as scene-000.jpg. Give each readable photo one.",
    ),
    (
        _boxless,
        "1 photo of 'demo' has no box with a vector in {photos} and {boxes}, such as scene-000.jpg. Give each readable "
        "photo one.",
    ),
    (_infinite, "{photos}: the vector of scene-004.jpg has numbers that are not finite."),
    (
        _zero,
        "{boxes}: the vector of the box [4, 0, 160, 120] of scene-001.jpg is zero, so it is similar to nothing.",
    ),
    (
        _other_digest,
        "{photos}: scene-000.jpg has another digest than the photo of 'demo', so the vector is of another file. "
        "Compute it again.",
    ),
    (_no_such_digest, "{photos}: the digest 7 is that of no readable photo of 'demo'."),
    (_fraction, "{boxes}: the box [0, 0, 99.5, 120] of scene-000.jpg is not of whole pixels. Round x, y, w and h."),
    (_half_a_box, "{boxes}: the box [0, 0, nan, 120] of scene-000.jpg is not of whole pixels. Round x, y, w and h."),
    (_outside, "{boxes}: the box [4, 5000, 160, 120] is not inside scene-000.jpg, which is {size}."),
    (
        _no_photos,
        "The files have vectors of boxes alone. Mining finds neighbours by vectors of photos: give a file of those "
        "too, without the columns x, y, w and h.",
    ),
]


@pytest.mark.parametrize(("spoil", "sentence"), FAULTS, ids=lambda case: getattr(case, "__name__", ""))
def test_each_fault_is_one_sentence_and_nothing_is_stored(
    photographed: Workspace, spoil: Callable[[Path, Path], None], sentence: str, tmp_path: Path
) -> None:
    names = paths(photographed)
    photos, boxes = photo_file(tmp_path, names), box_file(tmp_path, names)
    spoil(photos, boxes)
    image = next(usable_images(photographed.store, 1))
    known = {"photos": photos, "boxes": boxes, "size": f"{image.width} x {image.height}"}
    known |= {"names": photos.with_suffix(".csv"), "box_names": boxes.with_suffix(".csv")}
    words = ("import", "features", photos, boxes, "--dataset", "demo", "--encoder", "clip")
    assert refused(*words, "--workspace", photographed.path) == sentence.format_map(known)
    _nothing_is_stored(photographed)


def _nothing_is_stored(workspace: Workspace) -> None:
    assert encoders(workspace.store) == []
    assert proposal_methods(workspace.store, [image.id for image in usable_images(workspace.store, 1)]) == []
    assert not workspace.embeddings.exists()


def _parquet(tmp_path: Path, feature: pa.Array, **columns: pa.Array) -> Path:
    parquet.write_table(pa.table({**columns, "feature": feature}), tmp_path / "v.parquet")
    return tmp_path / "v.parquet"


def test_faults_of_tables(photographed: Workspace, tmp_path: Path) -> None:
    names, rows = pa.array(paths(photographed)), vectors(12, 6).tolist()

    def sentence(feature: pa.Array, **columns: pa.Array) -> str:
        with pytest.raises(UserError) as caught:
            bring(photographed, _parquet(tmp_path, feature, **columns))
        return str(caught.value).replace(f"{tmp_path}/", "")

    uneven = [rows[0], rows[1][:5], *rows[2:]]
    assert sentence(pa.array(uneven), path=names) == (
        "The column 'feature' of v.parquet holds a vector of 5 numbers beside vectors of 6."
    )
    assert sentence(pa.array([*rows[:11], None]), path=names) == (
        "The column 'feature' of v.parquet holds an empty cell beside vectors of 6."
    )
    assert sentence(names, path=names) == (
        "The column 'feature' of v.parquet holds string. Write lists of floating-point numbers."
    )
    assert sentence(pa.array([*rows[:11], [None] * 6]), path=names) == (
        "v.parquet: the vector of scene-011.jpg has numbers that are not finite."
    )
    assert sentence(pa.array(rows), digest=names).startswith("Cannot read v.parquet: Failed to parse string: 'scene-0")
    parquet.write_table(pa.table({"path": names, "vector": rows}), tmp_path / "v.parquet")
    with pytest.raises(UserError, match=r"has no column 'feature'. Its columns: path, vector.$"):
        bring(photographed, tmp_path / "v.parquet")
    (tmp_path / "v.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"^Cannot read .*v.parquet: "):
        bring(photographed, tmp_path / "v.parquet")
    _nothing_is_stored(photographed)


def test_an_import_that_fails_leaves_the_boxes_of_another_one(
    photographed: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = paths(photographed)
    images = [image.id for image in usable_images(photographed.store, 1)]

    def lost(store: Store, method: str, boxes: Mapping[int, np.ndarray]) -> list[int]:
        add_proposals(store, method, boxes)  # as another process does meanwhile
        raise StoreError("The disk is full.")

    monkeypatch.setattr("orl_explorer.train.interchange.import_vectors.keep_proposals", lost)
    with pytest.raises(StoreError, match="The disk is full"):
        bring(photographed, photo_file(tmp_path, names), box_file(tmp_path, names))
    assert len(proposals_of(photographed.store, images, "imported:clip")) == 12


def test_names_that_imported_vectors_cannot_have(place: orl_explorer.Workspace, tmp_path: Path) -> None:
    workspace = place.inner
    file = photo_file(tmp_path, paths(workspace))
    for name, sentence in {
        "starter": "The encoder 'starter' has weights, which compute its features. Choose another name.",
        "search": "Invalid name for imported vectors: search. Choose another name.",
        "map": "Invalid name for imported vectors: map. Choose another name.",
        "a/b": "Invalid name for an encoder: a/b. Use letters, digits, '-', '_' and '.'.",
    }.items():
        words = ("import", "features", file, "--dataset", "demo", "--encoder", name, "--workspace", workspace.path)
        assert refused(*words) == sentence
    add_proposals(workspace.store, "imported:theirs", {1: np.array([[0, 0, 9, 9]])})
    with pytest.raises(UserError, match="^There are imported proposals 'theirs' already. Choose another name.$"):
        bring(workspace, file, name="theirs")
    other = save(tmp_path / "o.npy", vectors(1, 7), path=["scene-000.jpg"])
    with pytest.raises(
        UserError, match=r"^The vectors of photos have 6 numbers in .* and 7 in .*o.npy. They are of diff"
    ):
        bring(workspace, photo_file(tmp_path, paths(workspace)[1:], seed=2), other)
    assert refused("import", "features", file, "--workspace", workspace.path) == (
        "To import vectors, give --dataset and --encoder, the name that they get."
    )
    (tmp_path / "p.part").touch()
    words = ("import", "features", file, tmp_path / "p.part", "--dataset", "demo", "--encoder", "e")
    assert refused(*words, "--workspace", workspace.path).endswith(
        "p.part ends neither in .npy nor in .parquet, as the others do."
    )
    words = ("import", "features", tmp_path / "p.part", "--encoder", "e", "--workspace", workspace.path)
    assert refused(*words) == (
        f"{tmp_path}/p.part is neither a file of vectors (.npy, .parquet) nor one of `orl embed --part`."
    )
    (tmp_path / "p.part").write_bytes(HEAD)
    assert refused(*words) == ("Files of `orl embed --part` name their encoder. Leave out --encoder and --supervised.")
