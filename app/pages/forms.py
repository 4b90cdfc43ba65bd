"""Inputs made from the fields of validated settings: limits, choices and help are the fields' own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import streamlit as st

from orl_explorer.train.errors import UserError
from orl_explorer.train.settings import S, Settings, with_settings


def limits(settings: type[Settings], name: str) -> tuple[Any, Any]:
    """Least and most of a numeric field as its input has them, None for no limit.

    An input cannot exclude its limit, so one that the field excludes is left to the validation.
    """
    found: dict[str, Any] = {}
    for rule in settings.model_fields[name].metadata:
        for bound in ("ge", "gt", "le", "lt"):
            if (value := getattr(rule, bound, None)) is not None:
                found[bound[0]] = value
    return found.get("g"), found.get("l")


@dataclass(frozen=True)
class Choice:
    """What a text field may be, with labels; ``free``: or anything else."""

    labels: Mapping[str, str]
    free: bool = False


def fill(
    preset: Settings, names: Sequence[str], key: str, choices: Mapping[str, Choice], columns: int
) -> dict[str, object]:
    """Draw inputs side by side, with a mark at those that differ from the preset, and say what they hold.

    choices: of text fields that have any besides their type's. The session remembers the values under ``{name}-{key}``.
    """
    values: dict[str, object] = {}
    for start in range(0, len(names), columns):
        row = st.columns(columns, vertical_alignment="bottom")
        for column, name in zip(row, names[start : start + columns], strict=False):
            with column:
                values[name] = _input(preset, name, f"{name}-{key}", choices.get(name))
    return values


def _input(preset: Settings, name: str, key: str, choice: Choice | None) -> object:
    field = type(preset).model_fields[name]
    value = getattr(preset, name)
    label = said(name) + ("" if st.session_state.get(key, _listed(value)) == _listed(value) else " :orange[●]")
    known: dict[str, Any] = {"key": key, "help": field.description, "persist_state": "session"}
    if isinstance(value, bool):
        return st.toggle(label, value, wrap=True, **known)
    if isinstance(value, str):
        choice = choice or Choice({option: option for option in get_args(field.annotation)})
        if not choice.labels:
            return st.text_input(label, value, **known).strip()
        options = list(dict.fromkeys([*choice.labels, value]))
        return st.selectbox(
            label,
            options,
            options.index(value),
            format_func=lambda option: choice.labels.get(option, option),
            accept_new_options=choice.free,
            **known,
        )
    if isinstance(value, tuple):
        return st.text_input(label, str(_listed(value)), **known)
    least, most = (None if bound is None else type(value)(bound) for bound in limits(type(preset), name))
    if isinstance(value, float):
        step = 10.0 ** (math.floor(math.log10(value)) - 1) if value else 0.1
        form = "%.1e" if 0 < value < 1e-3 else "%g"
        return st.number_input(label, least, most, value, step=step, format=form, **known)
    return st.number_input(label, least, most, value, **known)


def said(name: str) -> str:
    """A setting's name as a label."""
    return name.replace("_", " ").capitalize()


def changed(preset: Settings, values: Mapping[str, object]) -> dict[str, object]:
    """Those values that differ from the preset's."""
    return {name: value for name, value in values.items() if value != _listed(getattr(preset, name))}


def _listed(value: object) -> object:
    """Several numbers as their text field has them; anything else as it is."""
    return ", ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else value


def validated(preset: S, values: Mapping[str, object]) -> tuple[S | None, list[str]]:
    """The settings, or a sentence for each value that will not do: a form's own limits bind only honest browsers."""
    wrong = []
    for name, value in changed(preset, values).items():
        try:
            if value is None:
                raise UserError(f"{name} is empty; it was {getattr(preset, name)}.")
            with_settings(preset, {name: value})
        except UserError as mistake:
            wrong.append(str(mistake))
    if wrong:
        return None, wrong
    try:
        return with_settings(preset, dict(values)), []
    except UserError as mistake:
        return None, [str(mistake)]


def show_changes(preset: Settings, values: Mapping[str, object], key: str) -> None:
    """Say what differs from the preset, each with a way back."""
    differing = changed(preset, values)
    if not differing:
        return
    with st.container(horizontal=True, gap="small"):
        for name, value in differing.items():
            was = _listed(getattr(preset, name))
            st.button(
                f"{name} {_short(value)} ({_short(was)})",
                icon=":material/undo:",
                key=f"back-{name}-{key}",
                help=f"Back to the preset's {_short(was)}",
                type="tertiary",
                on_click=_reset,
                args=({f"{name}-{key}": was},),
            )
        if len(differing) > 1:
            every = {f"{name}-{key}": _listed(getattr(preset, name)) for name in differing}
            st.button("All back to the preset", key=f"back-{key}", on_click=_reset, args=(every,), type="tertiary")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "none"


def _reset(values: Mapping[str, object]) -> None:
    for key, value in values.items():
        st.session_state[key] = value


def choose(label: str, name: str, options: Mapping[str, str], help: str | None = None) -> str:
    """A choice that the URL has as ``name=option``; without it, what the session chose last, or the first."""
    asked = st.query_params.get(name, "")
    last = st.session_state.get(f"last-{name}", "")
    picked = next((option for option in (asked, last) if option in options), next(iter(options)))
    st.session_state[f"last-{name}"] = st.session_state[f"pick-{name}"] = picked
    st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        required=True,
        key=f"pick-{name}",
        on_change=_to_url,
        args=(name,),
        help=help,
    )
    return picked


def _to_url(name: str) -> None:
    st.query_params[name] = st.session_state[f"pick-{name}"]
