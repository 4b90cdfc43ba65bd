"""Components of Streamlit's out of ES modules and style sheets that import one another.

Streamlit takes a component's script as one text, and its style as another. Here the imports are followed from the
view's own file. Each module becomes a function that returns its exports, so that it keeps a scope of its own; they are
called in the order of their imports. Of the language's forms those are known that the views use, each at the start of
a line and written as prettier writes it:

* ``import { a, b } from "./x.js";``, of which ``a`` and ``b`` have to be exported there;
* ``export const``, ``export function``, ``export async function``, ``export class``;
* ``export default``, before an expression, which only the view's own file has;
* in style sheets ``@import "./x.css";``. A sheet that is imported twice is taken once, where it comes first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult
    from streamlit.components.v2.types import ComponentRenderer

_APP = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r'^import \{\s*([\w$]+(?:,\s*[\w$]+)*),?\s*\} from "(\.[^"\n]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|function|async function|class) ([\w$]+))", re.MULTILINE)
_DEFAULT = re.compile(r"^export default ", re.MULTILINE)
_STATEMENT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_SHEET = re.compile(r'^@import "(\.[^"\n]+\.css)";$\n?', re.MULTILINE)
_AT_IMPORT = re.compile(r"^[ \t]*@import\b.*", re.MULTILINE)


class BundleError(Exception):
    """A file that cannot be had, or says what this cannot follow; the message names it, and the line of a statement."""


@dataclass(frozen=True)
class _Source:
    """A file, the names that it imports of others, and those that it exports; a style sheet has no names."""

    path: Path
    text: str
    imports: dict[Path, list[str]]
    exports: list[str]


def registered(name: str, view: str, html: str) -> ComponentRenderer:
    """The component of a view: ``pages/pair/view`` has its script in ``view.js`` there, its style in ``view.css``.

    Both are read once, now; under ``orl explore --dev`` whenever the component is drawn.
    """

    def sources() -> tuple[str, str]:
        return style(_APP / f"{view}.css"), script(_APP / f"{view}.js")

    def read_and_drawn(**mounted: Any) -> ComponentResult:
        css, js = sources()
        # A changed style comes with a new root, for which Streamlit runs only a script that has changed.
        return st.components.v2.component(name, html=html, css=css, js=f"{js}// {crc32(css.encode())}\n")(**mounted)

    if os.environ.get("ORL_DEV"):
        return cast("ComponentRenderer", read_and_drawn)
    css, js = sources()
    return st.components.v2.component(name, html=html, css=css, js=js)


def script(entry: Path) -> str:
    """An ES module that imports nothing, out of one and all that it imports.

    Raises BundleError for a file that is not there or no default export of ``entry``, for an import or export of
    another form, of a name that is not exported, or in a circle.
    """
    entry = entry.resolve()
    modules = {module.path: module for module in _in_order(entry, _module)}
    if "default" not in modules[entry].exports:
        raise BundleError(f"{_shown(entry)} has no default export.")
    for module in modules.values():
        for path, names in module.imports.items():
            if missing := sorted({*names} - {*modules[path].exports}):
                raise BundleError(f"{_shown(module.path)}: {_shown(path)} exports no {', '.join(missing)}.")
    numbers = {path: f"$m{at}" for at, path in enumerate(modules)}
    parts = [_function(module, numbers) for module in modules.values()]
    return "".join([*parts, f"export default {numbers[entry]}.default;\n"])


def _function(module: _Source, numbers: dict[Path, str]) -> str:
    """A module as a constant. What it imports stands before its first line: its lines stay its lines."""
    taken = (f" const {{ {', '.join(names)} }} = {numbers[path]};" for path, names in module.imports.items())
    body = _IMPORT.sub(lambda found: "\n" * found[0].count("\n"), module.text)
    body = _DEFAULT.sub("const $default = ", _EXPORT.sub("", body))
    given = ("default: $default" if name == "default" else name for name in module.exports)
    opened = f"// {_shown(module.path)}\nconst {numbers[module.path]} = (() => {{{''.join(taken)}\n"
    return f"{opened}{body}\nreturn {{ {', '.join(given)} }};\n}})();\n"


def style(entry: Path) -> str:
    """A style sheet that imports nothing, out of one and all that it imports, these first.

    Raises BundleError for a file that is not there, and for an import of another form or in a circle.
    """
    return "\n".join(_SHEET.sub("", sheet.text).lstrip() for sheet in _in_order(entry.resolve(), _sheet))


def _in_order(path: Path, read: Callable[[Path], _Source]) -> Iterator[_Source]:
    """A file after those that it imports, each once."""
    done: set[Path] = set()

    def follow(path: Path, importers: tuple[Path, ...]) -> Iterator[_Source]:
        if path in importers:
            circle = " → ".join(_shown(each) for each in (*importers[importers.index(path) :], path))
            raise BundleError(f"Imports in a circle: {circle}")
        if path in done:
            return
        source = read(path)
        for imported in source.imports:
            if not imported.is_file():
                raise BundleError(f"{_shown(path)}: imports {_shown(imported)}, which is not there.")
            yield from follow(imported, (*importers, path))
        done.add(path)
        yield source

    if not path.is_file():
        raise BundleError(f"{_shown(path)} is not there.")
    return follow(path, ())


def _module(path: Path) -> _Source:
    text = path.read_text(encoding="utf-8")
    _refuse_others(path, text, _STATEMENT, (_IMPORT, _EXPORT, _DEFAULT))
    imports: dict[Path, list[str]] = {}
    for names, file in _IMPORT.findall(text):
        imports.setdefault((path.parent / file).resolve(), []).extend(re.findall(r"[\w$]+", names))
    return _Source(path, text, imports, [*_EXPORT.findall(text), *("default" for _ in _DEFAULT.findall(text))])


def _sheet(path: Path) -> _Source:
    text = path.read_text(encoding="utf-8")
    _refuse_others(path, text, _AT_IMPORT, (_SHEET,))
    return _Source(path, text, {(path.parent / file).resolve(): [] for file in _SHEET.findall(text)}, [])


def _refuse_others(path: Path, text: str, statement: re.Pattern[str], forms: tuple[re.Pattern[str], ...]) -> None:
    known = {found.start() for form in forms for found in form.finditer(text)}
    for found in statement.finditer(text):
        if found.start() not in known:
            line = text.count("\n", 0, found.start()) + 1
            raise BundleError(f"{_shown(path)}:{line}: cannot follow {found[0].strip()!r}.")


def _shown(path: Path) -> str:
    return path.relative_to(_APP).as_posix() if path.is_relative_to(_APP) else str(path)
