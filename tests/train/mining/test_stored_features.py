"""Embeddings are written once, and are correct after any interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.part_files import PartFile, RowLayout, unfinished

WIDTH = 3


def opened(folder: Path, sha: str = "abc", width: int = WIDTH) -> Embeddings:
    return Embeddings(folder, "rois", width, sha)


def batch(*numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows that contain their key: [key, key / 2, -key]."""
    keys = np.array(numbers)
    return keys, np.stack([keys, keys / 2, -keys], axis=1).astype(np.float32)


def test_rows_are_found_by_key_in_the_order_asked_for(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.add([batch(7, 3), batch(5)]) == 3
    assert store.rows == 3
    assert store.get(np.array([5, 7, 5])).tolist() == [[5, 2.5, -5], [7, 3.5, -7], [5, 2.5, -5]]
    assert store.have(np.array([3, 4, 7, 99])).tolist() == [True, False, True, False]
    assert 3 in store
    assert 4 not in store


def test_rows_survive_a_new_process_and_grow(tmp_path: Path) -> None:
    opened(tmp_path).add([batch(1, 2)])
    again = opened(tmp_path)
    again.add([batch(9)])
    assert opened(tmp_path).get(np.array([9, 1])).tolist() == [[9, 4.5, -9], [1, 0.5, -1]]


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.have(np.array([1, 2])).tolist() == [False, False]
    assert store.get(np.array([], np.int64)).shape == (0, WIDTH)
    assert store.scattered(np.array([], np.int64)).shape == (0, WIDTH)
    with pytest.raises(UserError, match=r"1 of 1 features are not in .*\. Mine with this encoder\."):
        store.get(np.array([1]))


def test_opening_writes_nothing(tmp_path: Path) -> None:
    assert opened(tmp_path / "none").have(np.array([1])).tolist() == [False]
    assert list(tmp_path.iterdir()) == []


def test_who_opened_first_and_comes_second_with_other_weights_is_refused(tmp_path: Path) -> None:
    late = opened(tmp_path, sha="other")
    opened(tmp_path).add([batch(1)])
    with pytest.raises(UserError, match="other weights"):
        late.add([batch(2)])
    assert opened(tmp_path).get(np.array([1])).tolist() == [[1, 0.5, -1]]


def test_files_are_plain_little_endian_arrays(tmp_path: Path) -> None:
    opened(tmp_path).add([batch(7, 3)])
    assert np.fromfile(tmp_path / "rois-2.keys", "<i8").tolist() == [7, 3]
    assert np.fromfile(tmp_path / "rois-2.vectors", "<f4").tolist() == [7, 3.5, -7, 3, 1.5, -3]


@pytest.mark.parametrize(
    ("vectors_cut", "keys_cut", "kept"),
    [
        (0, 8, [1, 2]),  # killed between vectors and keys
        (0, 3, [1, 2]),  # killed in the middle of a key
        (5, 8, [1, 2]),  # half a vector
        (0, 24, []),
        (12, 0, [1, 2]),  # a key without its vector
        (0, 0, [1, 2, 3]),
    ],
)
def test_what_a_killed_writer_left_is_cut_off_and_never_mixed_up(
    tmp_path: Path, vectors_cut: int, keys_cut: int, kept: list[int]
) -> None:
    opened(tmp_path).add([batch(1, 2, 3)])
    for name, cut in (("rois-2.vectors", vectors_cut), ("rois-2.keys", keys_cut)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
    store = opened(tmp_path)
    assert store.have(np.array([1, 2, 3])).tolist() == [i in kept for i in (1, 2, 3)]
    store.add([batch(8, 9)])
    expected = [[i, i / 2, -i] for i in (*kept, 8, 9)]
    assert opened(tmp_path).get(np.array([*kept, 8, 9])).tolist() == expected


def test_an_interruption_keeps_the_batches_before_it(tmp_path: Path) -> None:
    def batches():  # type: ignore[no-untyped-def]
        yield batch(1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path).add(batches())
    assert opened(tmp_path).have(np.array([1, 2, 3])).tolist() == [True, True, False]


def test_another_writer_in_between_is_not_overwritten(tmp_path: Path) -> None:
    early = opened(tmp_path)
    opened(tmp_path).add([batch(1)])
    early.add([batch(2)])
    assert opened(tmp_path).get(np.array([1, 2])).tolist() == [[1, 0.5, -1], [2, 1, -2]]


def test_features_of_other_weights_are_refused(tmp_path: Path) -> None:
    opened(tmp_path).add([batch(1)])
    with pytest.raises(UserError, match="describes features of other weights. Move"):
        opened(tmp_path, sha="def")
    with pytest.raises(UserError, match="describes features of other weights"):
        opened(tmp_path, width=4)


@pytest.mark.parametrize("header", ["", '{"dtype":'])
def test_a_header_that_was_never_finished_is_written_anew(tmp_path: Path, header: str) -> None:
    tmp_path.joinpath("rois-2.json").write_text(header)  # killed while it was written: there are no rows yet
    opened(tmp_path).add([batch(1)])
    assert opened(tmp_path).rows == 1


def part(folder: Path, name: str, *numbers: int, sha: str = "abc") -> Path:
    """Write a part with rows like those of ``batch``, where imports put it."""
    out = folder / "parts-2" / f"{name}.part"
    out.parent.mkdir(exist_ok=True)
    described = {"kind": "features", "encoder": {"name": "some", "weights_sha256": sha}}
    with unfinished(out, described, {"rois": RowLayout("<f4", WIDTH)}, []) as writing:
        assert writing is not None
        keys, rows = batch(*numbers)
        writing.append("rois", rows, keys.tolist())
        writing.finish({"rois-keys": keys}, {})
    return out


def test_parts_and_the_growing_file_are_read_together(tmp_path: Path) -> None:
    part(tmp_path, "b", 4, 5)
    part(tmp_path, "a", 6, 7, 8)
    store = opened(tmp_path)
    assert (store.rows, store.parts, store.duplicates) == (5, 2, 0)
    assert store.get(np.array([5, 8, 4])).tolist() == [[5, 2.5, -5], [8, 4, -8], [4, 2, -4]]
    assert store.scattered(np.array([5, 8, 4])).tolist() == [[5, 2.5, -5], [8, 4, -8], [4, 2, -4]]
    store.add([batch(1, 2)])
    assert store.get(np.array([7, 8])).tolist() == [[7, 3.5, -7], [8, 4, -8]]
    everything = np.array([1, 2, 4, 5, 6, 7, 8])
    for again in (store, opened(tmp_path)):
        assert again.have(np.array([1, 3, 5, 9])).tolist() == [True, False, True, False]
        assert again.get(everything).tolist() == [[i, i / 2, -i] for i in everything]
        assert again.lazily(everything)[2:4].tolist() == [[4, 2, -4], [5, 2.5, -5]]
    assert np.fromfile(tmp_path / "rois-2.keys", "<i8").tolist() == [1, 2]


def test_a_part_that_comes_later_is_seen_at_the_next_refresh(tmp_path: Path) -> None:
    store = opened(tmp_path)
    part(tmp_path, "a", 3)
    assert store.have(np.array([3])).tolist() == [False]
    store.refresh()
    assert store.get(np.array([3])).tolist() == [[3, 1.5, -3]]


def test_of_rows_with_one_key_the_first_counts(tmp_path: Path) -> None:
    opened(tmp_path).add([(np.array([1]), np.full((1, WIDTH), 9, np.float32))])
    part(tmp_path, "a", 1, 2)
    part(tmp_path, "b", 2, 3)
    store = opened(tmp_path)
    assert store.get(np.array([1, 2, 3])).tolist() == [[9, 9, 9], [2, 1, -2], [3, 1.5, -3]]
    assert (store.rows, store.duplicates) == (5, 2)


def test_parts_of_other_weights_are_refused(tmp_path: Path) -> None:
    part(tmp_path, "a", 1, sha="other")
    with pytest.raises(UserError, match=r"a\.part holds features of other weights\. Move it away and mine again\."):
        opened(tmp_path)


def test_parts_are_taken_into_the_growing_file(tmp_path: Path) -> None:
    """A reader that opened the folder before still finds every row."""
    opened(tmp_path).add([batch(1)])
    paths = [part(tmp_path, "a", 1, 2, 3), part(tmp_path, "b", 3, 4)]
    reader = opened(tmp_path)
    for path, rows in zip(paths, (2, 1), strict=True):
        assert opened(tmp_path).take_in(PartFile.read(path)) == rows
        assert opened(tmp_path).take_in(PartFile.read(path)) == 0  # by a compaction that was killed before the removal
        path.unlink()
    assert np.fromfile(tmp_path / "rois-2.keys", "<i8").tolist() == [1, 2, 3, 4]
    for store in (reader, opened(tmp_path)):
        assert store.get(np.array([4, 2, 1])).tolist() == [[4, 2, -4], [2, 1, -2], [1, 0.5, -1]]
    assert (reader.rows, reader.parts) == (4, 0)
