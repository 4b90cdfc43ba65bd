"""Bundle ES modules and style sheets with imports into components for Streamlit.

Streamlit accepts a component's script as one text, and its style as another. The bundler follows the imports from the
view's file. Each module becomes a function that returns its exports, so that it keeps its own scope; the functions are
called in the order of the imports. It supports the forms that the views use, each at the start of a line and
formatted by prettier:

* ``import { a, b } from "./x.js";``, where ``a`` and ``b`` must be exported;
* ``export const``, ``export function``, ``export async function``, ``export class``;
* ``export default`` before an expression; other files cannot import it;
* in style sheets ``@import "./x.css";``. A sheet that is imported twice is included once, at its first place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

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
    """A file is missing or has an unsupported statement. The message names the file and the line."""


@dataclass(frozen=True)
class _Source:
    """A file with its imported names by file, and its exported names. A style sheet has no names."""

    path: Path
    text: str
    imports: dict[Path, list[str]]
    exports: list[str]


def registered(name: str, view: str, html: str) -> ComponentRenderer:
    """Return the component of a view: ``pages/pair/view`` has its script in ``view.js``, its style in ``view.css``.

    Both are read once, now; under ``orl explore --dev`` each time the component is drawn.
    """

    import streamlit as st  # a shared folder is written without it

    def sources() -> tuple[str, str]:
        return style(_APP / f"{view}.css"), script(_APP / f"{view}.js")

    def read_and_drawn(**mounted: Any) -> ComponentResult:
        css, js = sources()
        # A changed style creates a new root. Streamlit runs the script for it only if the script has changed too.
        return st.components.v2.component(name, html=html, css=css, js=f"{js}// {crc32(css.encode())}\n")(**mounted)

    if os.environ.get("ORL_DEV"):
        return cast("ComponentRenderer", read_and_drawn)
    css, js = sources()
    return st.components.v2.component(name, html=html, css=css, js=js)


def script(entry: Path) -> str:
    """Bundle a module and all its imports into one ES module without imports.

    Raises BundleError for a missing file, a missing default export of ``entry``, an unsupported import or export, an
    import of a name that is not exported, and circular imports.
    """
    parts, name = _functions(entry)
    return "".join([*parts, f"export default {name}.default;\n"])


def classic_script(entry: Path) -> str:
    """Bundle a module into a classic script, which pages on disk may load. It calls the default export.

    Raises BundleError as ``script`` does.
    """
    parts, name = _functions(entry)
    return "".join(["(() => {\n", '"use strict";\n', *parts, f"{name}.default();\n", "})();\n"])


def _functions(entry: Path) -> tuple[list[str], str]:
    """Return a module's imports and the module itself, each as a constant, and the name of the last."""
    entry = entry.resolve()
    modules = {module.path: module for module in _in_order(entry, _module)}
    if "default" not in modules[entry].exports:
        raise BundleError(f"{_shown(entry)} has no default export.")
    for module in modules.values():
        for path, names in module.imports.items():
            if missing := sorted({*names} - {*modules[path].exports}):
                raise BundleError(f"{_shown(module.path)}: {_shown(path)} exports no {', '.join(missing)}.")
    numbers = {path: f"$m{at}" for at, path in enumerate(modules)}
    return [_function(module, numbers) for module in modules.values()], numbers[entry]


def _function(module: _Source, numbers: dict[Path, str]) -> str:
    """Return a module as a constant. Its imports come before its first line, so that line numbers stay the same."""
    taken = (f" const {{ {', '.join(names)} }} = {numbers[path]};" for path, names in module.imports.items())
    body = _IMPORT.sub(lambda found: "\n" * found[0].count("\n"), module.text)
    body = _DEFAULT.sub("const $default = ", _EXPORT.sub("", body))
    given = ("default: $default" if name == "default" else name for name in module.exports)
    opened = f"// {_shown(module.path)}\nconst {numbers[module.path]} = (() => {{{''.join(taken)}\n"
    return f"{opened}{body}\nreturn {{ {', '.join(given)} }};\n}})();\n"


def style(entry: Path) -> str:
    """Bundle a style sheet and all its imports into one, imports first.

    Raises BundleError for a missing file, an unsupported import, and circular imports.
    """
    return "\n".join(_SHEET.sub("", sheet.text).lstrip() for sheet in _in_order(entry.resolve(), _sheet))


def _in_order(path: Path, read: Callable[[Path], _Source]) -> Iterator[_Source]:
    """Yield a file after its imports, each once."""
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
