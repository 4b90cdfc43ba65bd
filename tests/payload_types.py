"""Generates TypeScript types of the payloads that Python sends to scripts. `tsc` checks the scripts against them.

    python -m tests.payload_types

The TypedDicts of every module with a component, of ``app/share``, and of the modules whose TypedDicts these contain,
become interfaces in a file beside the module: those of ``component.py`` in ``component_types.d.ts``.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

APP = Path(__file__).resolve().parents[1] / "app"
PACKAGE = "orl_explorer.app"
PLAIN = {int: "number", float: "number", str: "string", bool: "boolean", type(None): "null", Any: "unknown"}


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(APP.parent))


def files() -> dict[Path, str]:
    """Return every file and its content."""
    found: dict[Path, str] = {}
    waiting = [
        f"{PACKAGE}.{'.'.join(path.relative_to(APP).with_suffix('').parts)}"
        for path in sorted(APP.rglob("*.py"))
        if " = registered(" in (text := path.read_text(encoding="utf-8"))
        or (path.parent.name == "share" and "(TypedDict)" in text)
    ]
    while waiting:
        module = waiting.pop()
        if _file_of(module) in found:
            continue
        types = Types(module)
        found[_file_of(module)] = types.text()
        waiting += types.others
    return found


class Types:
    """The types of a module's TypedDicts. others: the modules whose TypedDicts they contain."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.others: dict[str, set[str]] = {}
        members = vars(importlib.import_module(module)).values()
        self.interfaces = [
            self._interface(each) for each in members if is_typeddict(each) and each.__module__ == module
        ]

    def text(self) -> str:
        here = _file_of(self.module).parent
        parts = ["// Of the TypedDicts of the same name, by `python -m tests.payload_types`.\n"]
        for other, names in sorted(self.others.items()):
            beside = os.path.relpath(_file_of(other), here).removesuffix(".d.ts")
            path = beside if beside.startswith(".") else f"./{beside}"
            parts.append(f'import type {{ {", ".join(sorted(names))} }} from "{path}";\n')
        return "\n".join([*parts, *self.interfaces])

    def _interface(self, payload: type) -> str:
        fields = []
        for name, hint in get_type_hints(payload, include_extras=True).items():
            optional = get_origin(hint) is NotRequired
            kind = get_args(hint)[0] if get_origin(hint) in (NotRequired, Required) else hint
            fields.append(f"  {name}{'?' if optional else ''}: {self._type(kind)};")
        said = inspect.cleandoc(payload.__doc__ or "").replace("``", "`")
        comment = ["/**", *(f" * {line}".rstrip() for line in said.splitlines()), " */"]
        return "\n".join([*comment, f"export interface {payload.__name__} {{", *fields, "}", ""])

    def _type(self, hint: Any) -> str:
        origin, of = get_origin(hint), get_args(hint)
        if hint in PLAIN:
            return PLAIN[hint]
        if is_typeddict(hint):
            if hint.__module__ != self.module:
                self.others.setdefault(hint.__module__, set()).add(hint.__name__)
            return hint.__name__
        if origin is Literal:
            return " | ".join(f'"{value}"' if isinstance(value, str) else str(value).lower() for value in of)
        if origin in (Union, UnionType):
            return " | ".join(self._type(each) for each in of)
        if origin in (list, Sequence) or (origin is tuple and of[-1] is Ellipsis):
            item = self._type(of[0])
            return f"({item})[]" if "|" in item else f"{item}[]"
        if origin is tuple:
            return f"[{', '.join(self._type(each) for each in of)}]"
        if origin is dict:
            return f"Record<{self._type(of[0])}, {self._type(of[1])}>"
        raise TypeError(f"{self.module}: no type of TypeScript for {hint}.")


def _file_of(module: str) -> Path:
    parts = module.removeprefix(f"{PACKAGE}.").split(".")
    return APP.joinpath(*parts[:-1], f"{parts[-1]}_types.d.ts")


if __name__ == "__main__":
    main()
