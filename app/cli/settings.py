"""Settings on the command line: presets, a flag for each setting, and ``--set key=value``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, Literal, Optional, get_args, get_origin

import typer

from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import PROTOCOLS
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.mining.config import PRESET_HELP as MINE_PRESET_HELP
from orl_explorer.train.settings import (
    S,
    Settings,
    as_text,
    explained,
    limits_in_words,
    parse_settings,
    with_settings,
)
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.presets import PRESET_HELP as TRAIN_PRESET_HELP
from orl_explorer.train.training.presets import train_preset

ChangesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change a setting: key=value. May be repeated. docs/reference/settings.md lists the settings."
    ),
]


def one_of(names: Iterable[str], *flags: str, help: str) -> Any:
    """Return an option that accepts one of some names. The error for another value lists them."""
    return typer.Option(*flags, help=help, metavar=f"<{'|'.join(names)}>", **_known(names))


def _known(names: Iterable[str]) -> dict[str, Any]:
    """Return the check and the completion of an option or argument that accepts one of some names."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, names))}.")
        return value

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return {"callback": check, "autocompletion": complete}


def _in_words(presets: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {text}." for name, text in presets.items())


MinePreset = Annotated[str, one_of(MINE_PRESETS, help=_in_words(MINE_PRESET_HELP))]
TrainPreset = Annotated[str, one_of(TRAIN_PRESET_HELP, help=_in_words(TRAIN_PRESET_HELP))]
ProtocolName = Annotated[str, one_of(PROTOCOLS, help="Protocol of the evaluation.")]
ProtocolArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROTOCOL", help=f"{', '.join(PROTOCOLS)}. docs/evaluation.md describes them.", **_known(PROTOCOLS)
    ),
]


def with_changes(preset: S, changes: Iterable[str] | None, flags: Mapping[str, Any] | None = None) -> S:
    """Return a preset, changed by ``--set`` and the flags. Raises UserError, also if both give a setting."""
    asked, flags = parse_settings(changes or []), flags or {}
    refuse_twice("--set", asked, {name: _flag(name) for name in flags})
    return with_settings(preset, asked | dict(flags))


def of_training(method: str, preset: str, changes: Iterable[str] | None, start_from: str = "") -> TrainConfig:
    """Return the settings of a training: a preset, changed by ``--set`` and ``--start-from``. Raises UserError.

    An encoder to start from brings its architecture, unless another is asked for.
    """
    flags = {"start_from": start_from} if start_from else {}
    asked = parse_settings(changes or []) | flags
    if asked.get("start_from") and "backbone" not in asked:
        flags["backbone"] = ""
    return with_changes(train_preset(method, preset), changes, flags)


def refuse_twice(way: str, asked: Collection[str], others: Mapping[str, str]) -> None:
    """Raise UserError if a setting is given in two ways. others: the other way, by name of a setting."""
    for name in asked:
        if name in others:
            raise UserError(f"{name} is given twice, by {others[name]} and by {way}. Give it once.")


def takes_flags(
    settings: type[Settings], presets: Mapping[str, Settings], only: Collection[str] | None = None
) -> Callable[..., Callable[..., None]]:
    """Return a decorator that replaces a command's parameter ``flags`` by an option for each setting.

    only: names of the settings that get one, by default all. The command gets the options that are given, by name of
    the setting.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def taking(**given: Any) -> None:
            flags = {name: given.pop(name) for name in options}
            command(**given, flags={name: value for name, value in flags.items() if value is not None})

        asked = [name for name in settings.model_fields if only is None or name in only]
        options = {name: _option(settings, name, presets) for name in asked}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            own = options.values() if parameter.name == "flags" else [parameter]
            parameters += (one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own)
        taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        taking.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return taking

    return decorate


def _option(settings: type[Settings], name: str, presets: Mapping[str, Settings]) -> inspect.Parameter:
    facts = [limits_in_words(settings, name), f"paper: {as_text(getattr(presets['paper'], name))}"]
    said = f"{explained(settings, name)}. [{'; '.join(fact for fact in facts if fact)}]"
    kind: Any = settings.model_fields[name].annotation
    if get_origin(kind) is Literal:
        kind, option = str, one_of(get_args(kind), _flag(name), help=said)
    else:
        flag = f"{_flag(name)}/--no-{_flag(name)[2:]}" if kind is bool else _flag(name)
        option = typer.Option(flag, help=said)
    annotation = Annotated[Optional[kind], option]  # noqa: UP045 - kind is a value
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
