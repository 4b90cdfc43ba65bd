"""Inputs for settings. Labels, limits, choices and help texts come from the fields of the settings.

Inputs of a form start from a preset, and the session remembers them. The mining settings are in the sidebar, in a
``MiningPanel`` whose values are in the URL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.pages import shell
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.settings import (
    S,
    Settings,
    Value,
    as_text,
    choices,
    control,
    explained,
    limits,
    slider,
    with_settings,
)

URL = {name: control(MineConfig, name).url for name in MineConfig.model_fields}  # parameters of mining settings
ALWAYS = ""  # the group of settings that are always visible


@dataclass(frozen=True)
class MiningPanel:
    """The mining settings as controls in the sidebar. The controls write their values to the URL.

    mined: the set on screen; a setting that is not in the URL has the set's own value.
    page: prefix of the inputs' keys, one for each page.
    groups: the groups to draw, each with an explanation.
    more: choices of settings that differ from those of their type.
    """

    mined: CorrespondenceSet
    page: str
    groups: Mapping[str, str] = field(default_factory=lambda: {ALWAYS: ""})
    more: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    @property
    def own(self) -> MineConfig:
        """The set's own settings."""
        return MineConfig.of(self.mined)

    def named(self, group: str | None = None) -> list[str]:
        """Return the names of the settings that are drawn, of all groups or of one."""
        groups = self.groups if group is None else (group,)
        return [name for name in MineConfig.model_fields if control(MineConfig, name).group in groups]

    def choices(self, name: str) -> list[Value]:
        """Return a setting's choices, always with the set's own value; empty if the setting has a slider."""
        known = self.more.get(name) or choices(MineConfig, name)
        return list(dict.fromkeys([*known, getattr(self.own, name)])) if known else []

    def range(self, name: str) -> tuple[float, float, float]:
        """Return a slider's minimum, maximum and step. The range includes the set's own value."""
        least, most, step = slider(MineConfig, name)
        if name == "neighbors":
            most = max(min(most, self.mined.image_count - 1), 2)  # a slider needs two values
        saved = getattr(self.own, name)
        return min(least, saved), max(most, saved), step

    def asked(self) -> MineConfig:
        """Return the set's own settings, overridden by the valid ones in the URL."""
        shell.bring_url_up_to_date(URL.values())
        chosen: dict[str, Value] = {}
        for name in self.named():
            text = st.query_params.get(URL[name], "")
            if options := self.choices(name):
                chosen.update((name, value) for value in options if as_text(value) == text)
            elif (number := number_of(text)) is not None:
                least, most, step = self.range(name)
                chosen[name] = type(step)(min(max(number, least), most))
        return with_settings(self.own, chosen)

    def draw(self, config: MineConfig, on_change: Callable[[], None]) -> None:
        """Draw the controls with these values. on_change: callback that writes ``in_url`` to the URL."""
        with st.sidebar:
            st.subheader("Settings", anchor=False, divider="gray")
            for group, explanation in self.groups.items():
                if group == ALWAYS:
                    self._draw(group, config, on_change)
                    continue
                said = any(st.query_params.get(URL[name]) for name in self.named(group))
                with st.expander(group, expanded=said):
                    st.caption(explanation)
                    self._draw(group, config, on_change)

    def _draw(self, group: str, config: MineConfig, on_change: Callable[[], None]) -> None:
        for name in self.named(group):
            shown, key = control(MineConfig, name), self._key(name)
            known: dict[str, Any] = {"key": key, "help": explained(MineConfig, name), "on_change": on_change}
            value = getattr(config, name)
            if options := self.choices(name):
                shell.set_widget(key, value)
                st.segmented_control(shown.label, options, required=True, format_func=shown.word, **known)
                continue
            least, most, step = self.range(name)
            shell.set_widget(key, type(step)(value))
            st.slider(shown.label, least, most, step=step, format=decimals(step), **known)

    def in_url(self) -> dict[str, str]:
        """Return the URL parameters of the controls' values; "" for the set's own value.

        All controls, not only the one that moved: the browser may not have the URL of the previous move yet.
        """
        values = {
            name: st.session_state[self._key(name)] for name in self.named() if self._key(name) in st.session_state
        }
        return {URL[name]: "" if value == getattr(self.own, name) else as_text(value) for name, value in values.items()}

    def _key(self, name: str) -> str:
        return f"{self.page}{URL[name]}-{self.mined.id}"


def as_query(own: MineConfig, config: MineConfig) -> dict[str, str]:
    """Return the URL parameters of these settings where they differ from a set's own."""
    return {
        short: as_text(getattr(config, name))
        for name, short in URL.items()
        if getattr(config, name) != getattr(own, name)
    }


def ask_for(own: MineConfig, config: MineConfig) -> None:
    """Write these settings to the URL. Call it in a callback, or before the panel is drawn."""
    shell.put_in_url(**dict.fromkeys(URL.values(), "") | as_query(own, config))


def settings_described(config: MineConfig) -> str:
    """Describe the settings that are always visible, as "K 10, N 0.1, min size 96, …"."""
    shown = {name: control(MineConfig, name) for name in MineConfig.model_fields}
    said = (f"{c.term} {as_text(getattr(config, name))}" for name, c in shown.items() if c.group == ALWAYS)
    return ", ".join(said)


def free_name(subject: PreviewSubject, config: MineConfig) -> str:
    """Return a free name for a new set: dataset, encoder, settings that differ from the paper's; a number if taken."""
    paper, parts = MINE_PRESETS["paper"], []
    for name, value in config:
        if value != getattr(paper, name):
            parts.append(value if isinstance(value, str) else URL[name] if value is True else f"{URL[name]}{value:g}")
    stem = "-".join([subject.dataset.name, subject.encoder.name, *parts])
    name, number = stem, 1
    while find_set(subject.workspace.store, name) is not None:
        number += 1
        name = f"{stem}-{number}"
    return name


def number_of(text: str) -> float | None:
    """Return the finite number that a text of the URL holds, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def decimals(step: float) -> str:
    """Return the format of a slider's numbers, with as many decimals as its step."""
    return "%d" if isinstance(step, int) else f"%.{len(f'{step:g}'.partition('.')[2])}f"


@dataclass(frozen=True)
class Choice:
    """Choices of a text field, with labels. ``free``: other values are allowed."""

    labels: Mapping[str, str]
    free: bool = False


def fill(
    preset: Settings, names: Sequence[str], key: str, choices: Mapping[str, Choice], columns: int
) -> dict[str, object]:
    """Draw inputs in columns, mark those that differ from the preset, and return their values.

    choices: of text fields whose choices differ from those of their type. The session stores the values under
    ``{name}-{key}``.
    """
    values: dict[str, object] = {}
    for start in range(0, len(names), columns):
        row = st.columns(columns, vertical_alignment="bottom")
        for column, name in zip(row, names[start : start + columns], strict=False):
            with column:
                values[name] = _input(preset, name, f"{name}-{key}", choices.get(name))
    return values


def _input(preset: Settings, name: str, key: str, choice: Choice | None) -> object:
    value, settings = getattr(preset, name), type(preset)
    label = control(settings, name).label + (
        "" if st.session_state.get(key, _listed(value)) == _listed(value) else " :orange[●]"
    )
    known: dict[str, Any] = {"key": key, "help": explained(settings, name), "persist_state": "session"}
    if isinstance(value, bool):
        return st.toggle(label, value, wrap=True, **known)
    if isinstance(value, str):
        choice = choice or Choice({str(option): str(option) for option in choices(settings, name)})
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
    least, most = (None if bound is None else type(value)(bound) for bound in limits(settings, name))
    if isinstance(value, float):
        step = 10.0 ** (math.floor(math.log10(value)) - 1) if value else 0.1
        form = "%.1e" if 0 < value < 1e-3 else "%g"
        return st.number_input(label, least, most, value, step=step, format=form, **known)
    return st.number_input(label, least, most, value, **known)


def changed_values(preset: Settings, values: Mapping[str, object]) -> dict[str, object]:
    """Return the values that differ from the preset's."""
    return {name: value for name, value in values.items() if value != _listed(getattr(preset, name))}


def _listed(value: object) -> object:
    """Return several numbers as a text with commas; any other value unchanged."""
    return ", ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else value


def validated(preset: S, values: Mapping[str, object]) -> tuple[S | None, list[str]]:
    """Return the settings, or None and a message for each invalid value. A browser may ignore the limits of a form."""
    wrong = []
    for name, value in changed_values(preset, values).items():
        try:
            if value is None:
                raise UserError(f"No value for {name}. Enter one, such as {getattr(preset, name)}.")
            with_settings(preset, {name: value})
        except UserError as mistake:
            wrong.append(str(mistake))
    if wrong:
        return None, wrong
    try:
        return with_settings(preset, dict(values)), []
    except UserError as mistake:
        return None, [str(mistake)]


def filled(preset: S, names: Sequence[str], key: str, columns: int) -> S | None:
    """Draw inputs, what they change of the preset, and what is wrong with them. Returns the settings, None if wrong."""
    values = fill(preset, names, key, {}, columns=columns)
    show_changes(preset, values, key)
    config, wrong = validated(preset, values)
    for sentence in wrong:
        st.error(shell.escape(sentence))
    return config


def show_changes(preset: Settings, values: Mapping[str, object], key: str) -> None:
    """Draw a button for each value that differs from the preset. The button resets the value."""
    differing = changed_values(preset, values)
    if not differing:
        return
    with st.container(horizontal=True, gap="small"):
        for name, value in differing.items():
            was = _listed(getattr(preset, name))
            now, before = (shell.escape(_short(each)) for each in (value, was))
            st.button(
                f"{shell.escape(name)} {now} ({before})",
                icon=":material/undo:",
                key=f"back-{name}-{key}",
                help=f"Reset to the preset's value, {before}.",
                type="tertiary",
                on_click=_reset,
                args=({f"{name}-{key}": was},),
            )
        if len(differing) > 1:
            every = {f"{name}-{key}": _listed(getattr(preset, name)) for name in differing}
            st.button("Reset all to the preset", key=f"back-{key}", on_click=_reset, args=(every,), type="tertiary")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "none"


def _reset(values: Mapping[str, object]) -> None:
    for key, value in values.items():
        st.session_state[key] = value


def choice_in_url(label: str, name: str, options: Mapping[str, str], help: str | None = None) -> str:
    """Draw a choice with its value in the URL as ``name=option``. Default: the session's last choice, or the first."""
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
