"""The TypeScript types of payloads match what Python sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.payload_types import APP, Types, files


def test_the_types_of_payloads_are_those_of_python() -> None:
    wanted = files()
    found = {path: path.read_text() for path in APP.rglob("*_types.d.ts")}
    stale = [str(path.relative_to(APP)) for path in wanted | found if wanted.get(path) != found.get(path)]
    assert not stale, f"{', '.join(stale)}: python -m tests.payload_types writes them anew"


MADE = """
from typing import Literal, NotRequired, TypedDict

Row = list[int]


class Box(TypedDict):
    '''A ``box``.'''

    at: tuple[int, float]
    words: list[str | None]


class Payload(TypedDict):
    '''All of it.

    In two paragraphs.
    '''

    boxes: list[Box]
    row: Row
    kind: Literal["a", "b"]
    counts: dict[Literal["a", "b"], int]
    tags: NotRequired[tuple[str, ...]]
    shown: bool | None
"""

TYPES = """\
// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * A `box`.
 */
export interface Box {
  at: [number, number];
  words: (string | null)[];
}

/**
 * All of it.
 *
 * In two paragraphs.
 */
export interface Payload {
  boxes: Box[];
  row: number[];
  kind: "a" | "b";
  counts: Record<"a" | "b", number>;
  tags?: string[];
  shown: boolean | null;
}
"""


def test_a_typed_dict_becomes_an_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_payload.py").write_text(MADE)
    monkeypatch.syspath_prepend(tmp_path)
    assert Types("made_payload").text() == TYPES


def test_a_payload_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_payload.py").write_text("from typing import TypedDict\nclass Odd(TypedDict):\n    a: set[int]\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match=r"odd_payload: no type of TypeScript for set\[int\]"):
        Types("odd_payload")
