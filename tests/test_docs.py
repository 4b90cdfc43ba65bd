"""Files and dotted names in the documents exist."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

import orl_explorer

ROOT = Path(__file__).resolve().parents[1]
AT_ROOT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), *AT_ROOT]
FILE = re.compile(r"`((?:app|db|orl|train|tests|benchmarks|research)/[\w/]+\.(?:py|js|css))`")
LINK = re.compile(r"(?:\]\(|(?:src|href|srcset)=\")(?!https?:|mailto:|#)([^)\s\"#]+)")
DOTTED = re.compile(r"`((?:orl_explorer\.)?(?:app|db|orl|train)(?:\.\w+)+)(?:\(.*?\))?`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(document: Path) -> None:
    named = FILE.findall(document.read_text(encoding="utf-8"))
    assert [file for file in named if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_of_the_repository(document: Path) -> None:
    found = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in found if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_things_that_are_named_are_there(document: Path) -> None:
    """Whether a dotted name, such as ``orl.boxes.filter_boxes``, is a module or defined in one."""
    found = DOTTED.findall(document.read_text(encoding="utf-8"))
    named = [name for name in found if not name.endswith((".sqlite", ".py", ".txt"))]  # those are files
    assert [name for name in named if not _is_there(name.removeprefix("orl_explorer."))] == []


def _is_there(name: str) -> bool:
    parts = name.split(".")
    if parts[0] == "orl" and parts[1] in orl_explorer.__all__:  # import orl_explorer as orl
        return True
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(("orl_explorer", *parts[:count])))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("orl.boxes", True),
        ("orl.boxes.filter_boxes", True),
        ("orl.boxes.BoxRules.max_iou", True),
        ("orl.boxes.gone", False),
        ("orl.open_workspace", True),
        ("train.gone.mine", False),
    ],
)
def test_a_name_is_looked_up_whole(name: str, there: bool) -> None:
    assert _is_there(name) is there


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {project['version']}" in lines
    assert f"license: {project['license']}" in lines
    assert f"repository-code: {project['urls']['Source']}" in lines


HARDENED = (
    "--init --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --pids-limit 1024 --shm-size 2g "
    "-p 127.0.0.1:8501:8501 ORL_PHOTO_ROOTS=/photos /photos:ro"
)


@pytest.mark.parametrize("file", ["Dockerfile", "docs/start.md", "docs/deploy.md"])
def test_a_container_that_serves_is_shown_with_few_rights(file: str) -> None:
    text = re.sub(r"\\\n#?", " ", (ROOT / file).read_text(encoding="utf-8"))
    (command,) = re.findall(r"docker run (.*-p .*)", text)
    words = " ".join(command.split())
    for option in re.split(r" (?=--|-p|ORL|/photos)", HARDENED):
        assert option in words
