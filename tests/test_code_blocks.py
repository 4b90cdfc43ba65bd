"""Every code block of README and of the documents runs, or is checked as far as a machine without its data can.

A document's blocks run in their order, in a home folder with twelve photos and a workspace with the demo. Commands that
serve, that take hours, or that need data from elsewhere are listed below with the reason: the command line's own parser
checks their words.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from orl_explorer.app.cli import app
from orl_explorer.train.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("README.md", "CONTRIBUTING.md", "examples/README.md")
DOCUMENTS = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]
PROSE = {"text", "bibtex", "diff", "sql", "yaml", "toml", "nginx"}  # nothing that runs

# Commands whose words alone are checked.
ONLY_CHECKED = {
    r"orl explore": "serves until it is stopped; tests/browser starts it",
    r"orl demo": "takes minutes; make dist runs it",
    r"orl reproduce": "takes an hour",
    r"orl sweep-train": "trains a grid",
    r"orl encoders add (torchvision:|timm:|hf:|\S+\.(pth|pt|pkl|safetensors))": "needs a file from elsewhere",
    r"orl (export-encoder byol|encoders show dinov2)": "of that file",
    r"orl evaluate (voc07-\w+|linear|semi|knn|detection)": "needs VOC, ImageNet or COCO",
    r"orl (pretrain|train)(?!.*--preset (small|adapt))": "is the paper's training, for GPUs",
    r"orl .*\b(VOCdevkit|resnet50|voc07|DIR|SET|FILE|NAME|ID)\b": "needs other data, or stands for it",
    r"orl (ingest coco |.*--(dataset|data) (coco|voc))": "needs data from elsewhere",
    r"orl .*--workspace reproduction": "needs what an hour of orl reproduce makes",
    r"orl (worker|runs stop|runs resume) ": "needs a run that has not begun or not ended",
    r"orl .*--on (ray|slurm)": "needs a cluster; tests/train/jobs starts them",
    r"orl (pretrain .*--log|runs send)": "needs a tracker; tests/train/jobs sends to stand-ins",
    r"orl .*--workspace /data": "needs a PostgreSQL server; tests/db copies stores",
}
# Programs of which this project cannot tell whether their words are right.
FOREIGN = {"apt-get", "cd", "docker", "git", "mkdir", "pipx", "ray", "source", "sudo", "torchrun", "uvx"}
FOREIGN |= {"cp", "createdb", "export", "pg_dump", "pg_restore", "psql", "tar", "unset"}
# What makes a stage quick enough for a test.
QUICK = {
    "pretrain": {"epochs": "1", "batch_size": "4", "image_size": "32", "workers": "0", "knn_every": "0"},
}
QUICK["train"] = QUICK["pretrain"]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the document where it begins."""

    language: str
    code: str
    line: int


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text(encoding="utf-8")
    for match in re.finditer(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL):
        code = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        yield Block(match[2], code, text.count("\n", 0, match.start()) + 1)


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.fixture
def home(mined_workspace: Workspace, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, where a person works: photos, and a workspace with the demo."""
    shutil.copytree(mined_workspace.path, tmp_path / "workspace")
    shutil.copytree(scenes, tmp_path / "workspace" / "demo")
    shutil.copytree(scenes / "images", tmp_path / "photos")
    shutil.copytree(scenes / "images", tmp_path / "coco2017" / "train2017")
    (tmp_path / "coco2017" / "annotations").mkdir()
    shutil.copy(scenes / "annotations" / "scenes.json", tmp_path / "coco2017/annotations/instances_train2017.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ORL_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("runs_in_process")
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(blocks(d))], ids=name)
def test_code_blocks(document: Path, home: Path) -> None:
    known: dict[str, object] = {}
    for block in blocks(document):
        where = f"{name(document)}:{block.line}"
        match block.language:
            case "sh":
                for command in commands(block.code):
                    run(command, where)
            case "python":
                exec(compile(block.code, where, "exec"), known)
            case "json":
                json.loads(block.code)
            case other:
                assert other in PROSE, f"{where}: a block of '{other}'"


def commands(code: str) -> Iterator[list[str]]:
    """The words of each command, as a shell makes them of a block."""
    for line in re.sub(r"\\\n", " ", code).splitlines():
        for part in re.split(r"\s&&\s", line):
            done = subprocess.run(
                ["bash", "-c", f'words() {{ [ $# = 0 ] || printf "%s\\0" "$@"; }}; words {part}'],
                capture_output=True,
                text=True,
                check=True,
            )
            if words := done.stdout.split("\0")[:-1]:
                yield words


def run(words: list[str], where: str) -> None:
    program, *rest = words
    if program == "orl":
        said = " ".join(words)
        if any(re.match(pattern, said) for pattern in ONLY_CHECKED):
            parse(rest, where)
        else:
            execute(rest, where)
    elif program == "make":
        check_make(rest, where)
    elif program in ("pip", ".venv/bin/pip"):
        check_pip(rest, where)
    elif program.endswith(("python", "pytest")):
        check_script(rest, where)
    else:
        assert program in FOREIGN or "=" in program, f"{where}: {program} is not known here"


def parse(words: list[str], where: str) -> None:
    """Check words as the command line does, without doing anything."""
    command: Any = typer.main.get_command(app)
    context = None
    try:
        while True:
            context = command.make_context(command.name or "orl", words, parent=context)
            if not hasattr(command, "resolve_command") or not (words := [*context._protected_args, *context.args]):
                return
            _, found, words = command.resolve_command(context, words)
            command = found
    except Exception as error:
        raise AssertionError(f"{where}: {error}") from error


def execute(words: list[str], where: str) -> None:
    """Run a command of the project, a training as a quick one."""
    for setting, value in QUICK.get(words[0], {}).items():
        words = [*words, "--set", f"{setting}={value}"]  # the last one counts
    try:
        code = app(words, standalone_mode=False)
    except Exception as error:
        raise AssertionError(f"{where}: orl {' '.join(words)}: {error}") from error
    assert not code, f"{where}: orl {' '.join(words)} exits with {code}"


def check_make(words: list[str], where: str) -> None:
    text = (ROOT / "Makefile").read_text()
    for word in words:
        variable, is_variable, _ = word.partition("=")
        pattern = rf"^{re.escape(variable)}\s*\?=" if is_variable else rf"^{re.escape(word)}:.*## "
        assert re.search(pattern, text, re.MULTILINE), f"{where}: make {word}"


def check_pip(words: list[str], where: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        for extra in re.findall(r"\[(.*?)\]", word):
            assert set(extra.split(",")) <= set(extras), f"{where}: pip {word}"


def check_script(words: list[str], where: str) -> None:
    """A script of the repository takes the options that a document gives it."""
    script = next((word for word in words if word.endswith(".py")), None)
    if script is None:
        return
    assert (ROOT / script).is_file(), f"{where}: {script}"
    tree = ast.parse((ROOT / script).read_text())
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert flags <= said, f"{where}: {script} has no {', '.join(flags - said)}"


def test_a_block_is_found_with_its_language_and_line(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("# A\n\n```sh\norl runs  # list\n```\n\n1. B\n   ```python\n   x = 1\n   ```\n")
    assert [*blocks(file)] == [Block("sh", "orl runs  # list\n", 3), Block("python", "x = 1\n", 8)]


def test_words_are_those_of_a_shell(home: Path) -> None:
    assert [*commands("orl a ~/b 'c d' # e\n\n# f\norl g \\\n  h-{1,2}\n")] == [
        ["orl", "a", str(home / "b"), "c d"],
        ["orl", "g", "h-1", "h-2"],
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "--correspondance", "a"], "No such option"),
        (["mine", "--dataset", "a"], "Missing parameter: encoder"),
        (["fly"], "No such command"),
        (["evaluate", "nothing", "--encoder", "e", "--data", "d"], "not one of"),
        (["runs", "show"], "Missing parameter: run_id"),
    ],
)
def test_a_command_with_wrong_words_is_found(words: list[str], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        parse(words, "README.md:1")


def test_a_command_that_fails_is_found(home: Path) -> None:
    with pytest.raises(AssertionError, match=r"README.md:1: orl quality nothing: There is no correspondence set"):
        execute(["quality", "nothing"], "README.md:1")
