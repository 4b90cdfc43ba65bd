"""Settings: how they are validated and changed. Those of mining and training are in `mining.config`, `training.config`.

The field descriptions are the help texts of the command line and of the forms.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from orl_explorer.train.errors import UserError

Precision = Literal["fp32", "bf16"]  # of forward passes


class Settings(BaseModel):
    """Immutable, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def with_settings(preset: S, changes: dict[str, Any]) -> S:
    """A preset with some values changed. Raises UserError naming the setting, its value and what it may be."""
    known = type(preset).model_fields
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known settings: {', '.join(known)}."
            raise UserError(f"There is no setting '{name}'; {hint}")
    try:
        return type(preset).model_validate(preset.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ").rstrip(".")
        if not first["loc"]:
            raise UserError(f"{said[:1].upper()}{said[1:]}.") from error
        raise UserError(f"{first['loc'][0]} = {first['input']!s} will not do: {said[:1].lower()}{said[1:]}.") from error


def preset_named(presets: dict[str, S], name: str) -> S:
    """One of the presets. Raises UserError naming them."""
    if name not in presets:
        raise UserError(f"There is no preset '{name}'; known: {', '.join(presets)}.")
    return presets[name]


def parse_settings(assignments: Iterable[str]) -> dict[str, str]:
    """``["epochs=3", …]`` as a dictionary. Raises UserError on anything else."""
    changes = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name.strip():
            raise UserError(f"'{assignment}' is not of the form key=value.")
        changes[name.strip()] = value.strip()
    return changes
