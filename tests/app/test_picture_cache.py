"""The cache of pictures on disk: bounded, shared between processes, and never wrong."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orl_explorer.app.server import cache
from orl_explorer.app.server.cache import MARK, PictureCache, Recent

SIZE = 300  # bytes of a picture with its mark
ROOT = Path(__file__).resolve().parents[2]


def picture(letter: str) -> bytes:
    return letter.encode() * (SIZE - MARK)


def never() -> bytes:
    raise AssertionError("it was there")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the times of use: one second apart, and long before the present time, at which pictures are written."""
    ticks = iter(range(1_000_000_000, 1_100_000_000))
    monkeypatch.setattr(cache.time, "time_ns", lambda: next(ticks) * 10**9)


def put(kept: PictureCache, letters: str) -> None:
    for letter in letters:
        kept.get(f"{letter}.jpg", lambda letter=letter: picture(letter))  # type: ignore[misc]
        kept.get(f"{letter}.jpg", never)  # a use, so that the clock above counts


def names(folder: Path) -> str:
    return "".join(sorted(path.stem for path in folder.iterdir()))


def test_a_picture_is_made_once(tmp_path: Path) -> None:
    kept = PictureCache(tmp_path / "new", 1000)
    assert kept.get("a.jpg", lambda: picture("a")) == picture("a")
    assert kept.get("a.jpg", never) == picture("a")
    assert PictureCache(tmp_path / "new", 1000).get("a.jpg", never) == picture("a")
    assert (tmp_path / "new" / "a.jpg").stat().st_size == 300


def test_what_was_not_looked_at_for_longest_goes_first(tmp_path: Path, clock: None) -> None:
    kept = PictureCache(tmp_path, 1000)
    put(kept, "abc")  # 900 bytes
    assert names(tmp_path) == "abc"
    kept.get("a.jpg", never)
    put(kept, "d")  # 1,200: until 900 are left
    assert names(tmp_path) == "acd"
    put(kept, "e")
    assert names(tmp_path) == "ade"
    put(kept, "b")
    assert names(tmp_path) == "bde"


def test_what_is_left_is_nine_tenths_of_the_bound(tmp_path: Path, clock: None) -> None:
    put(PictureCache(tmp_path, 10_000), "abcdefghij")  # 3,000 bytes
    put(PictureCache(tmp_path, 2_000), "k")  # 3,300: six are left, 1,800
    assert names(tmp_path) == "fghijk"


def test_pictures_of_other_processes_count(tmp_path: Path, clock: None) -> None:
    ours, theirs = PictureCache(tmp_path, 1000), PictureCache(tmp_path, 1000)
    put(ours, "ab")
    put(theirs, "c")
    put(ours, "d")
    assert names(tmp_path) == "bcd"


def test_a_picture_beyond_the_bound_is_shown_and_not_kept(tmp_path: Path) -> None:
    assert PictureCache(tmp_path, 200).get("a.jpg", lambda: picture("a")) == picture("a")
    assert names(tmp_path) == ""


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:100],
        lambda whole: b"",
        lambda whole: whole[:50] + b"x" + whole[51:],
        lambda whole: whole[:-1] + b"x",
        lambda whole: whole[:-MARK],  # of a version that added no mark
    ],
)
def test_a_damaged_picture_is_made_anew(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    kept = PictureCache(tmp_path, 1000)
    kept.get("a.jpg", lambda: picture("a"))
    file = tmp_path / "a.jpg"
    file.write_bytes(damage(file.read_bytes()))
    assert kept.get("a.jpg", lambda: picture("b")) == picture("b")
    assert kept.get("a.jpg", never) == picture("b")


def test_a_picture_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    kept = PictureCache(tmp_path, 1000)
    with pytest.raises(AssertionError, match="it was there"):
        kept.get("a.jpg", never)
    assert names(tmp_path) == ""


def test_a_folder_that_cannot_be_written_keeps_nothing_and_shows_everything(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    kept = PictureCache(tmp_path / "file" / "within", 1000)
    for _ in range(2):
        assert kept.get("a.jpg", lambda: picture("a")) == picture("a")


def test_what_is_there_is_served_from_a_disk_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = PictureCache(tmp_path, 1000)
    kept.get("a.jpg", lambda: picture("a"))

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache.os, "utime", refused)
    monkeypatch.setattr(Path, "replace", refused)
    assert kept.get("a.jpg", never) == picture("a")
    assert kept.get("b.jpg", lambda: picture("b")) == picture("b")
    assert names(tmp_path) == "a"


def test_a_folder_that_is_deleted_meanwhile_is_made_again(tmp_path: Path) -> None:
    kept = PictureCache(tmp_path / "it", 1000)
    put(kept, "a")
    (tmp_path / "it" / "a.jpg").unlink()
    (tmp_path / "it").rmdir()
    put(kept, "a")


WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from orl_explorer.app.server.cache import PictureCache

kept = PictureCache(Path(sys.argv[1]), 100_000)

def work(start):
    for step in range(300):
        number = (start * 37 + step) % 90
        data = bytes([number]) * (2000 + number)
        assert kept.get(f"{number}.jpg", lambda: data) == data

with ThreadPoolExecutor(4) as threads:
    list(threads.map(work, range(4)))
"""


def test_several_threads_of_several_processes_see_whole_pictures_alone(tmp_path: Path) -> None:
    """Read 90 pictures of 2 KB with space for 48, so that processes delete each other's pictures."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
    files = list(tmp_path.iterdir())
    assert all(file.suffix == ".jpg" and not file.name.startswith(".") for file in files)
    assert 20 <= len(files) <= 70  # between two looks, each of three writes a tenth of the bound at most
    for file in files:
        number = int(file.stem)
        assert file.read_bytes()[:-MARK] == bytes([number]) * (2000 + number)


def test_threads_that_write_the_same_picture_do_not_mix_it(tmp_path: Path) -> None:
    kept = PictureCache(tmp_path, 10**9)
    contents = [bytes([n]) * 500_000 for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            list(threads.map(lambda data: kept._keep("a.jpg", data), contents))
            assert kept.get("a.jpg", never) in contents
    assert names(tmp_path) == "a"


def test_what_is_kept_in_memory_is_bounded_by_bytes() -> None:
    recent = Recent[bytes](1000, len)
    for letter in "abc":
        recent.put(letter, picture(letter))  # 3 x 284
    assert recent.get("a") == picture("a")
    recent.put("d", picture("d"))  # 1,136: b was not used for longest
    assert [letter for letter in "abcd" if recent.get(letter)] == ["a", "c", "d"]
    recent.put("d", b"d" * 100)  # a value is replaced, not added
    recent.put("e", b"e" * 300)
    assert [letter for letter in "abcde" if recent.get(letter)] == ["a", "c", "d", "e"]


def test_the_last_value_is_kept_whatever_its_size() -> None:
    recent = Recent[bytes](1000, len)
    recent.put("a", b"a")
    recent.put("b", b"b" * 5000)
    assert (recent.get("a"), recent.get("b")) == (None, b"b" * 5000)
    recent.put("c", b"c")
    assert (recent.get("b"), recent.get("c")) == (None, b"c")


def test_a_read_only_cache_is_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "IN_MEMORY", 1000)
    kept = PictureCache(tmp_path, 10**9, read_only=True)
    for letter in "abcd":
        kept.get(f"{letter}.jpg", lambda letter=letter: picture(letter))  # type: ignore[misc]
    assert kept.get("d.jpg", never) == picture("d")
    assert kept.get("a.jpg", lambda: b"made again") == b"made again"
    assert names(tmp_path) == ""
