"""What commands print: names in brackets, control characters, and terminals of a few columns."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest

from orl_explorer.__main__ import main
from orl_explorer.app.bars import progress_bars
from orl_explorer.app.cli.ending import exit_code_of
from orl_explorer.app.cli.terminal import Terminal, TextTable


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the handlers of the tests' process as they are."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> tuple[Terminal, io.StringIO]:
    """A terminal of 80 columns, and what was printed to it."""
    monkeypatch.setenv("COLUMNS", "80")
    terminal, seen = Terminal(), io.StringIO()
    terminal.file = seen
    return terminal, seen


@pytest.mark.parametrize("name", ["n[x]", "[bold]a", "dir[/x].jpg", "[red]", "[link=file:///]b"])
def test_a_name_in_brackets_is_printed_as_it_is(printed: tuple[Terminal, io.StringIO], name: str) -> None:
    terminal, seen = printed
    table = TextTable("name")
    table.add_row(name)
    terminal.print(f"made '{name}'")
    terminal.print(table)
    assert f"made '{name}'\n" in seen.getvalue()
    assert f"│ {name} " in seen.getvalue()


def test_a_name_cannot_steer_the_terminal(printed: tuple[Terminal, io.StringIO]) -> None:
    terminal, seen = printed
    table = TextTable("name", show_header=False, box=None)
    table.add_row("a\x1b[31m\nb\x07\udcff")
    terminal.print(table)
    terminal.print("one\x1b]0;title\x07\ntwo")
    assert seen.getvalue().split() == [r"a\x1b[31m\nb\x07\udcff", r"one\x1b]0;title\x07", "two"]


@pytest.mark.parametrize("columns", ["1", "20", "59"])
def test_a_narrow_terminal_gets_a_line_for_each_cell(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    terminal, seen = Terminal(), io.StringIO()
    terminal.file = seen
    table = TextTable("id", "name")
    table.add_row("7", "[red]set" + "x" * 40)
    table.add_row("8", "b")
    terminal.print(table)
    assert "".join(seen.getvalue().split()) == f"id:7name:[red]set{'x' * 40}id:8name:b"
    if columns == "59":
        assert seen.getvalue() == f"id: 7\nname: [red]set{'x' * 40}\n\nid: 8\nname: b\n"


def test_a_file_gets_whole_sentences_and_no_bar_in_their_line(printed: tuple[Terminal, io.StringIO]) -> None:
    terminal, seen = printed
    with progress_bars(console=terminal) as bars:
        bars.advance(bars.add_task("Reading photos", total=12), 12)
    terminal.print("word " * 20)
    bar, sentence = seen.getvalue().splitlines()
    assert bar.startswith("Reading photos ━")
    assert sentence == "word " * 20


def test_no_columns_at_all_count_as_eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert Terminal().width == 80


def test_no_cell_is_shortened(printed: tuple[Terminal, io.StringIO]) -> None:
    terminal, seen = printed
    table = TextTable("name", "folder")
    table.add_row("n" * 100, "/photos/" + "f" * 100)
    terminal.print(table)
    assert (seen.getvalue().count("n"), seen.getvalue().count("f"), "…" in seen.getvalue()) == (101, 101, False)


def test_an_argument_that_is_not_utf8_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def store() -> None:
        "na\udcefve".encode()

    assert exit_code_of(store, ["sets", "show", "na\udcefve"]) == 2
    said = capsys.readouterr().err
    assert said == "An argument is not UTF-8: na\\udcefve. Use UTF-8, and a locale such as C.UTF-8.\n"
    with pytest.raises(UnicodeEncodeError):
        exit_code_of(store, ["sets"])


def test_a_current_folder_that_was_deleted_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    monkeypatch.setattr(sys, "argv", ["orl", "sets"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "The current folder is not there any more. Change to another one with cd.\n"


def test_a_signal_that_was_to_be_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    ignored, heeded = {signal.SIGINT}, []  # as a script does for what it starts in the background
    monkeypatch.setattr(signal, "getsignal", lambda n: signal.SIG_IGN if n in ignored else signal.SIG_DFL)
    monkeypatch.setattr(signal, "signal", lambda number, _: heeded.append(number))
    assert exit_code_of(lambda: None, ["sets"]) == 0
    assert heeded == [signal.SIGTERM]
