"""The pages of reference that are written from the code: commands of ``orl``, settings, and the glossary.

``make docs`` writes them, and a test compares them with the code. Never edit them by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from orl_explorer.app.cli import app
from orl_explorer.app.explorer.glossary import TERMS
from orl_explorer.train.evaluate.protocols import PROTOCOLS
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.mining.config import PRESET_HELP as MINE_PRESET_HELP
from orl_explorer.train.settings import Settings, choices, explained, limits_in_words
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.presets import PRESET_HELP as TRAIN_PRESET_HELP
from orl_explorer.train.training.presets import PRESETS

FOLDER = Path(__file__).resolve().parents[1] / "reference"
_WORDS = {
    "str": "text",
    "int": "integer",
    "int range": "integer",
    "float": "number",
    "float range": "number",
    "path": "path",
    "Path": "path",
}
_TYPE = re.compile(r"<(?P<type>.+)>$")
_ARGUMENT = re.compile(r"\{([^{}]+)\}")  # in a usage
_NO_SETTINGS = ("method", "protocol")  # fields that say which class it is


def commands() -> Iterator[tuple[str, Any, typer.Context]]:
    """Yield each command and group as ("orl runs show", command, context), in the order of the help."""
    root = typer.main.get_command(app)
    yield from _walk("orl", root, typer.Context(root, info_name="orl"))


def _walk(name: str, command: Any, context: typer.Context) -> Iterator[tuple[str, Any, typer.Context]]:
    yield name, command, context
    for inner, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _walk(f"{name} {inner}", below, typer.Context(below, info_name=inner, parent=context))


def parameters(command: Any) -> list[Any]:
    """The arguments and options of a command that its help shows, but ``--help``."""
    return [each for each in command.params if not getattr(each, "hidden", False)]


def commands_page() -> str:
    """The page of all commands, as Markdown."""
    parts = [
        "# Commands",
        "Every command of `orl`, written from the code of this version. `orl COMMAND --help` prints the same. "
        "[Settings](settings.md) lists the settings that `--set` changes.",
    ]
    for name, command, context in commands():
        usage = _ARGUMENT.sub(lambda found: found[1].upper(), command.get_usage(context).removeprefix("Usage: "))
        parts += [
            f"{'##' if name.count(' ') < 2 else '###'} {name}",
            _paragraphs(command.help),
            f"```text\n{usage}\n```",
        ]
        shown = parameters(command)
        arguments = [_argument(each, context) for each in shown if each.param_type_name == "argument"]
        options = [_option(each, context) for each in shown if each.param_type_name == "option"]
        if arguments:
            parts.append(_table(("Argument", "Value", "Meaning"), arguments))
        if options:
            parts.append(_table(("Option", "Value", "Default", "Meaning"), options))
    return "\n\n".join(parts) + "\n"


def _paragraphs(text: str | None) -> str:
    """A help text without the line breaks of its source."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _argument(parameter: Any, context: typer.Context) -> tuple[str, ...]:
    name = (parameter.metavar or parameter.name.upper()).strip("[]")
    return f"`{name}`", _value(parameter, context), _cell(parameter.help or "")


def _option(parameter: Any, context: typer.Context) -> tuple[str, ...]:
    flags = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    said = "required" if parameter.required else "" if default in (None, "", False) else f"`{_text(default)}`"
    return flags, _value(parameter, context), said, _cell(parameter.help or "")


def _value(parameter: Any, context: typer.Context) -> str:
    """What an argument or option takes: its choices, or its type and range; "" for a flag."""
    record = parameter.get_help_record(context)
    found = _TYPE.search(record[0]) if record else None
    if found is None:
        return ""
    kind = found["type"]
    if "|" in kind:
        return ", ".join(f"`{choice}`" for choice in kind.split("|"))
    inner = kind.removeprefix("list[").removesuffix("]")
    words = _WORDS.get(inner, inner)
    least, most = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if least is not None or most is not None:
        words += f", {least:g} to {most:g}" if None not in (least, most) else f", from {least}"
    return f"{words}, repeatable" if kind.startswith("list[") else words


def settings() -> Iterator[tuple[str, str, Mapping[str, Settings], Mapping[str, str]]]:
    """Yield the heading, introduction, presets (the default first) and presets' help of each class of settings."""
    yield "Mining", "`orl mine` takes each of these as an option too.", MINE_PRESETS, MINE_PRESET_HELP
    for method, presets in PRESETS.items():
        command = "orl train" if method == "orl" else f"orl pretrain --method {method}"
        heading = f"Training: {type(presets['paper']).title}"
        yield heading, f"Settings of `{command}`.", {"paper": presets["paper"]} | presets, TRAIN_PRESET_HELP
    said = "Settings of `orl adapt`, which learns a linear projector and leaves the encoder's network as it is."
    yield "Adaptation", said, {"default": AdaptConfig()}, {}
    for name, protocol in PROTOCOLS.items():
        said = f"Settings of `orl evaluate {name}`. Data: {protocol.data}. Result in tables: {protocol.headline_title}."
        yield f"Evaluation: {protocol.title}", said, protocol.presets, {}


def settings_page() -> str:
    """The page of all settings, as Markdown."""
    parts = [
        "# Settings",
        "Every setting with its default, written from the code. `--set NAME=VALUE` changes one setting; "
        "`--preset NAME` selects a group of settings.",
    ]
    for heading, introduction, presets, help_texts in settings():
        default, *others = presets
        parts += [f"## {heading}", introduction]
        listed = [f"- `{name}`: {help_texts[name]}." for name in presets if name in help_texts]
        parts.append(
            "\n".join(listed) or f"Preset{'s' if others else ''}: {', '.join(f'`{name}`' for name in presets)}."
        )
        kind = type(presets[default])
        rows = [_setting(kind, name, presets) for name in kind.model_fields if name not in _NO_SETTINGS]
        parts.append(_table(("Setting", f"Default (`{default}`)", "Other presets", "Values", "Meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _setting(kind: type[Settings], name: str, presets: Mapping[str, Settings]) -> tuple[str, ...]:
    default, *others = presets
    value = getattr(presets[default], name)
    values = {preset: getattr(presets[preset], name) for preset in others}
    differing = [f"{p}: `{_text(own)}`" if own != "" else f"{p}: empty" for p, own in values.items() if own != value]
    known = limits_in_words(kind, name) or ", ".join(f"`{_text(choice)}`" for choice in choices(kind, name))
    shown = f"`{_text(value)}`" if value != "" else ""
    return f"`{name}`", shown, ", ".join(differing), known, _cell(explained(kind, name)) + "."


def _text(value: object) -> str:
    """A value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    """Text inside a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def glossary_page() -> str:
    """The page of the explorer's words, as Markdown."""
    terms = "\n".join(f"- **{term}**: {text}" for term, text in TERMS.items())
    said = "The words of the explorer, which every page explains too: *What do the words mean?* in the sidebar."
    return f"# Glossary\n\n{said}\n\n{terms}\n"


def pages() -> dict[Path, str]:
    """The text of each page."""
    written = {"commands": commands_page, "settings": settings_page, "glossary": glossary_page}
    return {FOLDER / f"{name}.md": page() for name, page in written.items()}


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
