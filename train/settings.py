"""Declaration, validation and change of settings. ``mining.config`` and ``training.methods`` define them.

A field is declared once, by ``setting``: its default, limits and help, and how a form shows it. The command line, the
forms and the captions are generated from this declaration.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from orl_explorer.train.errors import UserError

Precision = Literal["fp32", "fp32-onnx", "bf16"]  # of forward passes; onnx: by ONNX Runtime
Value = float | str

_LIMITS = ("ge", "gt", "le", "lt")
# Pydantic's types of error whose remedy is to respect the limits: a number outside of them, or no number at all.
_OUTSIDE = {f"{side}_than{equal}" for side in ("greater", "less") for equal in ("", "_equal")} | {
    f"{kind}_{trouble}" for kind in ("int", "float") for trouble in ("type", "parsing")
}


def check_precision(precision: Precision) -> None:
    """Raise UserError if packages are missing that forward passes of this precision need."""
    needed = ("onnx", "onnxruntime") if precision == "fp32-onnx" else ()
    if missing := [name for name in needed if find_spec(name) is None]:
        raise UserError(
            f"The precision {precision} needs {' and '.join(missing)}. Install what is missing with: "
            "pip install 'orl-explorer[onnx]'. Or use fp32."
        )


class Settings(BaseModel):
    """Base class of settings: immutable, and without unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def start_of(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that changes are made to: these, unless a change brings others with it."""
        return self.model_dump()


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Control:
    """How a form and a caption show a setting.

    label: of the input; by default the name in words. term: name in captions, by default the start of the label:
    "min size" for "Min size, px".
    url: URL parameter on pages that have the setting as a control.
    slider: minimum, maximum and step; by default the limits, in steps of 1 or of a hundredth of the range.
    choices: values to choose from, if the type does not name them. words: labels of choices; others use ``form``.
    grid: default values of a grid of settings; without any, the Tune page does not offer the setting in a grid.
    group: heading in the form; "" for settings that are always visible.
    """

    label: str = ""
    term: str = ""
    url: str = ""
    slider: tuple[float, float, float] | None = None
    choices: tuple[Value, ...] = ()
    words: Mapping[Value, str] = field(default_factory=dict)
    form: str = "{}"
    grid: tuple[Value, ...] = ()
    group: str = ""

    def word(self, choice: Value) -> str:
        """Return the label of a choice."""
        return self.words.get(choice, self.form.format(choice))


def setting(
    default: Any = PydanticUndefined,
    *,
    help: str,
    label: str = "",
    term: str = "",
    url: str = "",
    slider: tuple[float, float, float] | None = None,
    choices: tuple[Value, ...] = (),
    words: Mapping[Value, str] | None = None,
    form: str = "{}",
    grid: tuple[Value, ...] = (),
    group: str = "",
    **limits: Any,
) -> Any:
    """Declare a field of settings; without a default, the common part of several fields, for ``Annotated``.

    help: text of the command line and the forms, without a full stop. limits: pydantic's ge, gt, le, lt, ….
    The other arguments are those of ``Control``.
    """
    shown = Control(label, term, url, slider, choices, words or {}, form, grid, group)
    extra: dict[str, Any] = {"control": shown}
    return Field(default, description=help, json_schema_extra=extra, **limits)


def control(settings: type[Settings], name: str) -> Control:
    """Return the control of a setting, with defaults filled in."""
    extra = settings.model_fields[name].json_schema_extra
    own = extra["control"] if isinstance(extra, dict) else Control()
    assert isinstance(own, Control)
    label = own.label or name.replace("_", " ").capitalize()
    begins = label.split(" · ")[0].split(",")[0]
    return replace(own, label=label, term=own.term or (begins if begins.isupper() else begins[0].lower() + begins[1:]))


def explained(settings: type[Settings], name: str) -> str:
    """Return the help text of a setting."""
    return settings.model_fields[name].description or ""


def limits(settings: type[Settings], name: str) -> tuple[Any, Any]:
    """Return the minimum and maximum of a numeric input, None for no limit.

    An input includes its limits. If a field excludes a limit, only its validation refuses that value.
    """
    found = {bound[0]: value for bound, value in _bounds(settings, name).items()}
    return found.get("g"), found.get("l")


def limits_in_words(settings: type[Settings], name: str) -> str:
    """Return the limits of a setting in words, or "" if it has none.

    Examples: "1 to 100", "more than 0 and at most 1", "at least 0 and less than 1", "at least 0".
    """
    return _in_words(_bounds(settings, name))


def _in_words(bounds: Mapping[str, float]) -> str:
    figures = {bound: str(value) if isinstance(value, int) else f"{value:g}" for bound, value in bounds.items()}
    if {*bounds} == {"ge", "le"}:
        return f"{figures['ge']} to {figures['le']}"
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return " and ".join(f"{word} {figures[bound]}" for bound, word in words.items() if bound in figures)


def _bounds(settings: type[Settings], name: str) -> dict[str, float]:
    return {
        bound: value
        for rule in settings.model_fields[name].metadata
        for bound in _LIMITS
        if (value := getattr(rule, bound, None)) is not None
    }


def choices(settings: type[Settings], name: str) -> tuple[Value, ...]:
    """Return the choices of a setting, or () if it has none."""
    kind = settings.model_fields[name].annotation
    return get_args(kind) if get_origin(kind) is Literal else control(settings, name).choices


def slider(settings: type[Settings], name: str) -> tuple[float, float, float]:
    """Return the minimum, maximum and step of a numeric setting's slider, in the setting's type."""
    kind: Any = settings.model_fields[name].annotation
    least, most = limits(settings, name)
    steps = control(settings, name).slider or (least, most, 1 if kind is int else (most - least) / 100)
    least, most, step = (kind(part) for part in steps)
    return least, most, step


def as_text(value: Value) -> str:
    """Format a value for URLs and captions."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"


def differences(config: S, other: S) -> list[str]:
    """Return the settings that differ, as "min size 64 (96)": the value of config, and in brackets that of other."""
    return [
        f"{control(type(config), name).term} {as_text(value)} ({as_text(getattr(other, name))})"
        for name, value in config
        if value != getattr(other, name)
    ]


def with_settings(preset: S, changes: Mapping[str, Any]) -> S:
    """Return a preset with some values changed. Raises UserError that names the setting, its value and its limits."""
    known = type(preset).model_fields
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known settings: {', '.join(known)}."
            raise UserError(f"There is no setting '{name}'. {hint}")
    try:
        return type(preset).model_validate(preset.start_of(changes) | dict(changes))
    except ValidationError as error:
        first = error.errors()[0]
        about = f"Invalid value for {first['loc'][0]}: {first['input']!s}. " if first["loc"] else ""
        raise UserError(about + _remedy(type(preset), first)) from error


def _remedy(settings: type[Settings], error: ErrorDetails) -> str:
    """Return what to do about a validation error: the limits or choices of the setting, else the validator's text."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        expected = context["expected"].replace("'", "")
        return f"Use {expected}."
    if error["type"] in _OUTSIDE:
        of_part = {bound: value for bound, value in context.items() if bound in _LIMITS}  # such as a number of a list
        if bounds := _bounds(settings, str(error["loc"][0])) or of_part:
            return f"Use {_in_words(bounds)}."
    said = error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{said[:1].upper()}{said[1:]}."


def preset_named(presets: Mapping[str, S], name: str) -> S:
    """Return a preset. Raises UserError that lists the known presets if there is none of this name."""
    if name not in presets:
        raise UserError(f"There is no preset '{name}'. Known presets: {', '.join(presets)}.")
    return presets[name]


def parse_settings(assignments: Iterable[str]) -> dict[str, str]:
    """Parse ``["epochs=3", …]`` to a dictionary. Raises UserError if an item has another form."""
    changes = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name.strip():
            raise UserError(f"'{assignment}' is not a setting. Write it as key=value.")
        changes[name.strip()] = value.strip()
    return changes


def parse_grid(assignments: Iterable[str], usual: type[Settings] | None = None) -> dict[str, list[str]]:
    """Parse ``["epochs=3,5", …]`` to the values of each setting. Raises UserError as ``parse_settings`` does.

    usual: settings of which the name alone stands for the default values of a grid.
    """
    values: dict[str, list[str]] = {}
    for assignment in assignments:
        name = assignment.strip()
        if usual is not None and name in usual.model_fields and (grid := control(usual, name).grid):
            values[name] = [as_text(value) for value in grid]
        else:
            values |= {key: [v.strip() for v in text.split(",")] for key, text in parse_settings([assignment]).items()}
    return values
