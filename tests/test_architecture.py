"""Checks of the imports between packages and of the size of files and functions, from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "orl_explorer"
MAY_IMPORT = {
    "orl": {"orl"},
    "db": {"db"},
    "train": {"orl", "db", "train"},
    "app": {"orl", "db", "train", "app"},
}
# Folders whose modules may load torch when they are imported, and those whose modules never do.
MAY_LOAD_TORCH = ("orl", "train/encoders", "train/evaluate", "train/training")
LIGHT = (
    "db",
    "train",  # what lies at its top
    "train/demo",
    "train/experiments",
    "train/ingest",
    "train/interchange",
    "train/jobs",
    "train/mining",
    "app/api",
    "app/cli",
    "app/doctor",
    "app/components",
    "app/explorer",
    "app/pages",
    "app/server",
    "app/share",
)
HEAVY = ("torch", "torchvision", "faiss")
LONGEST = 400  # lines of a file
LONGEST_FUNCTION = 60
MODULES = sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the dotted names of everything that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name(path)}: imports are absolute"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def imported_packages(path: Path) -> set[str]:
    """Return the top-level packages that a file imports."""
    return {module.split(".")[0] for module in imported(path)}


def imported_rooms(path: Path) -> set[str]:
    """Return the packages of this project that a file imports."""
    return {module.split(".")[1] for module in imported(path) if module.startswith(f"{PACKAGE}.")}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_room_is_there() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_is_in_the_package_by_a_link(room: str) -> None:
    assert (ROOT / PACKAGE / room).readlink() == Path("..", room)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert imported_rooms(path) <= MAY_IMPORT[room]
    assert not imported_packages(path) & {*MAY_IMPORT, "tests", "benchmarks", "research"}


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


@pytest.mark.parametrize("folder", LIGHT)
def test_a_light_folder_never_loads_torch(folder: str) -> None:
    """Its imports do not load it either, so the command line and the explorer start quickly."""
    inside = (ROOT / folder).glob("*.py") if folder == "train" else (ROOT / folder).rglob("*.py")
    modules = [name(p)[:-3].replace("/", ".") for p in sorted(inside) if p in MODULES and "migrations" not in p.parts]
    assert modules
    program = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(f"{PACKAGE}.{{module}}")
    print(*(f"{{module}} imports {{m}}" for m in {HEAVY} if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == [""] * (len(modules) + 1)


def test_every_folder_is_light_or_may_load_torch() -> None:
    folders = {"/".join(path.relative_to(ROOT).parts[:2]) for path in MODULES if len(path.relative_to(ROOT).parts) > 2}
    rooms = {"orl", "db", "train", *(f for f in folders if f.startswith(("train/", "app/")))}
    assert rooms == {*LIGHT, *MAY_LOAD_TORCH}


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith(("train/", "app/"))], ids=name)
def test_torch_is_imported_at_the_top_in_named_folders_alone(path: Path) -> None:
    top = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {module.split(".")[0] for module in top} & {*HEAVY} or name(path.parent) in MAY_LOAD_TORCH


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_folders_of_a_room_know_one_another_one_way(room: str) -> None:
    """The modules at the top of a package import none of its folders, and the folders have no import cycle."""
    known: dict[str, set[str]] = {}
    for path in (p for p in MODULES if name(p).startswith(f"{room}/")):
        inner = path.relative_to(ROOT / room).parts[:-1]
        known.setdefault(inner[0] if inner else "", set()).update(
            module.split(".")[2] if (ROOT / room / module.split(".")[2]).is_dir() else ""
            for module in imported(path)
            if module.startswith(f"{PACKAGE}.{room}.")
        )
    known = {folder: others - {folder} for folder, others in known.items()}
    assert not known.pop("", set())
    try:
        list(TopologicalSorter(known).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_file_fits_a_readers_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", [p for p in MODULES if "migrations" not in p.parts], ids=name)
def test_a_function_can_be_told_in_one_breath(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = {function.name: function.end_lineno - function.lineno + 1 for function in functions}  # type: ignore[operator]
    assert {function: lines for function, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def test_a_public_name_means_one_thing() -> None:
    """But for those that are the same on purpose: each page's ``page``, each protocol's ``evaluate`` and the like.

    The Python API's ``Workspace`` is the workspace, with a method for everything that one can do with it.
    """
    found: dict[str, set[str]] = {}
    for path in (p for p in MODULES if "migrations" not in p.parts):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                named = node.name
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                named = node.targets[0].id
            else:
                continue
            if not named.startswith("_") and not named.isupper():  # constants are their file's own
                found.setdefault(named, set()).add(name(path))
    twice = {named for named, paths in found.items() if len(paths) > 1}
    assert twice - {"R", "S", "T"} == {
        "Workspace",
        "app",
        "evaluate",
        "main",
        "open_workspace",
        "page",
        "panel",
        "payload",
    }  # those are type variables


@pytest.mark.parametrize("path", [p for p in MODULES if p.read_text().strip()], ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
