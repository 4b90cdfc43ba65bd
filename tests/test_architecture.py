"""Who may know whom, and the limits that keep the code readable. Read from the sources, not from memory."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "orl": {"orl"},
    "db": {"db"},
    "train": {"orl", "db", "train"},
    "app": {"orl", "db", "train", "app"},
}
LONGEST = 400  # lines
MODULES = sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))


def imported_packages(path: Path) -> set[str]:
    """First names of everything that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(path.relative_to(ROOT).parts[0] if node.level else str(node.module).split(".")[0])
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_room_is_there() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    project = imported_packages(path) & {*MAY_IMPORT, "tests", "benchmarks"}
    assert project <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith("orl/")], ids=name)
def test_the_method_knows_no_store_and_no_processes(path: Path) -> None:
    assert not imported_packages(path) & {
        "sqlalchemy",
        "alembic",
        "subprocess",
        "multiprocessing",
        "streamlit",
        "typer",
    }


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith("db/")], ids=name)
def test_the_store_knows_no_torch(path: Path) -> None:
    assert not imported_packages(path) & {"torch", "torchvision", "streamlit", "typer"}


def test_what_the_explorer_imports_is_free_of_torch() -> None:
    modules = [
        name(p)[:-3].replace("/", ".") for p in MODULES if name(p).startswith("db/") and "migrations" not in name(p)
    ]
    light = ("config", "runs", "mine", "propose", "worker", "ingest", "demo.build")
    light += tuple(f"evaluate.{m}" for m in ("protocols", "compared", "machines", "parts"))
    light += ("attention", "ensure", "trained_grid", "reproduce")
    modules += [f"train.{m}" for m in light]
    modules += [f"train.interchange.{m}" for m in ("given", "imports", "exports")]
    program = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    print(*(f"{{module}} imports {{m}}" for m in ("torch", "torchvision", "faiss") if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == [""] * (len(modules) + 1)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_file_fits_a_readers_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", [p for p in MODULES if p.read_text().strip()], ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
