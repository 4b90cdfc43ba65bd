"""A file of a part holds all of it or is refused, and its writing goes on where it was killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.part_files import PartFile, RowLayout, UnfinishedPart, is_part, unfinished

DESCRIPTION = {"kind": "proposals", "dataset": "demo", "part": 1, "of": 2, "settings": {"method": "search"}}
LAYOUTS = {"small": RowLayout("<i2", 2), "large": RowLayout("<f4", 3)}
PHOTOS = [("a.jpg", 5), ("b/c.jpg", -7)]
SMALL, LARGE = np.array([[1, 2], [3, 4], [5, 6]], np.int16), np.arange(6, dtype=np.float32).reshape(2, 3)


class Killed(BaseException):
    """Ends a writer like a signal: nothing is tidied up but the open files."""


def fill(part: UnfinishedPart, until: int = 9) -> None:
    """Write what is missing, and be killed before step ``until``."""
    steps = [
        lambda: part.append("small", SMALL[:2], ["one", "two"]),
        lambda: part.append("small", SMALL[2:], ["three"]),
        lambda: part.lose(1, "it is truncated"),
        lambda: part.append("large", LARGE, [10, 11]),
    ]
    done = (len(part.notes("small")) + 1) // 2 + len(part.lost) + len(part.notes("large")) // 2
    for number, step in enumerate(steps[done:], done):
        if number == until:
            raise Killed
        step()
    part.finish({"sizes": np.array([4, 5], np.int32)}, {"opencv": "4.12"})


def written(out: Path, until: int = 9) -> None:
    with unfinished(out, DESCRIPTION, LAYOUTS, PHOTOS) as part:
        assert part is not None
        fill(part, until)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    out = tmp_path / "one.part"
    written(out)
    part = PartFile.read(out)
    part.check()
    assert part.section("small").tolist() == [[1, 2], [3, 4], [5, 6]]
    assert part.section("large").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert part.section("sizes").tolist() == [4, 5]
    assert part.photos == [("a.jpg", 5), ("b/c.jpg", -7)]
    assert part.lost == {1: "it is truncated"}
    assert {name: part.description[name] for name in DESCRIPTION} == DESCRIPTION
    assert part.description["versions"] == {"opencv": "4.12"}
    assert (part.rows("small"), part.rows("none"), "large" in part, "none" in part) == (3, 0, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["one.part"]


@pytest.mark.parametrize("until", [0, 1, 2, 3])
@pytest.mark.parametrize(("rows_cut", "journal_cut"), [(0, 0), (0, 5), (3, 0), (100, 0), (-7, 3)])
def test_a_killed_writer_goes_on_and_writes_the_same(
    tmp_path: Path, until: int, rows_cut: int, journal_cut: int
) -> None:
    written(tmp_path / "whole.part")
    out = tmp_path / "one.part"
    with pytest.raises(Killed):
        written(out, until)
    for name, cut in (("unfinished", rows_cut), ("journal", journal_cut)):
        path = tmp_path / f".one.part.{name}"  # the machine died too: the end is lost, or part of a row more is there
        content = path.read_bytes()
        path.write_bytes(content[: max(0, len(content) - cut)] if cut >= 0 else content + bytes(-cut))
    assert not out.exists()
    written(out)
    assert out.read_bytes() == (tmp_path / "whole.part").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.part", "whole.part"]


def test_a_journal_of_another_part_is_not_continued(tmp_path: Path) -> None:
    out = tmp_path / "one.part"
    with pytest.raises(Killed):
        written(out, 2)
    with unfinished(out, DESCRIPTION | {"part": 2}, LAYOUTS, PHOTOS) as part:
        assert part is not None
        assert part.notes("small") == []
        assert part.section("small").shape == (0, 2)


def test_a_complete_file_is_not_written_again(tmp_path: Path) -> None:
    out = tmp_path / "one.part"
    written(out)
    with unfinished(out, DESCRIPTION, LAYOUTS, PHOTOS) as part:
        assert part is None
    for description, photos in ((DESCRIPTION | {"part": 2}, PHOTOS), (DESCRIPTION, PHOTOS[:1])):
        said = "one.part already exists and holds something else. Choose another --out, or remove it."
        with pytest.raises(UserError, match=said), unfinished(out, description, LAYOUTS, photos):
            pass


def test_two_writers_do_not_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "one.part"
    with FileLock(tmp_path / ".one.part.lock"), pytest.raises(UserError, match="Another process is writing .*one.part"):
        written(out)


def test_what_is_no_whole_part_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "one.part"
    written(out)
    content = out.read_bytes()
    assert is_part(out)
    for size in (len(content) - 1, len(content) // 2, 64, 70):
        out.write_bytes(content[:size])
        assert is_part(out)
        with pytest.raises(UserError, match="one.part is truncated. Copy it again."):
            PartFile.read(out)
    out.write_text('[{"bbox": []}]')
    assert not is_part(out)
    with pytest.raises(UserError, match="one.part is not a file of `orl propose` or `orl embed`."):
        PartFile.read(out)
    with pytest.raises(UserError, match="Cannot read .*none.part: No such file or directory."):
        is_part(tmp_path / "none.part")
    out.write_bytes(content[:70] + b"\1" + content[71:])
    with pytest.raises(UserError, match="The content of .*one.part is damaged. Copy it again."):
        PartFile.read(out).check()
