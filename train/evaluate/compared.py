"""Columns of comparable evaluations: of one protocol, on the same data, with the same settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

from orl_explorer.db.runs.evaluations import Evaluated
from orl_explorer.train.evaluate.protocols import PROTOCOLS, evaluate_preset

INDIFFERENT = frozenset(("protocol", "workers"))  # settings that do not change the result


@dataclass(frozen=True)
class ResultColumn:
    """Comparable evaluations, the newest of each encoder, best first.

    key: stable identifier. settings: its nearest preset, if there are several, and what differs from it.
    """

    key: str
    protocol: str
    data: str
    settings: tuple[str, ...]
    found: list[Evaluated]

    @property
    def short(self) -> str:
        """Protocol and data."""
        return f"{self.protocol} · {Path(self.data).name or self.data}"

    @property
    def label(self) -> str:
        """Protocol, data and settings."""
        return " · ".join([self.short, *self.settings])

    @property
    def headline(self) -> str:
        """The title of its numbers."""
        known = PROTOCOLS.get(self.protocol)
        return known.headline_title if known else ""


def columns(found: Sequence[Evaluated]) -> list[ResultColumn]:
    """Group evaluations, newest first, into columns of a table of encoders, in the order of the protocols."""
    groups: dict[tuple[str, str, str], dict[int, Evaluated]] = {}
    for each in found:
        row = each.evaluation
        key = row.protocol, row.data, dumps(_telling(each), sort_keys=True)
        groups.setdefault(key, {}).setdefault(row.encoder_id, each)
    order = list(PROTOCOLS)
    known = sorted(groups.items(), key=lambda g: (order.index(g[0][0]) if g[0][0] in order else len(order), *g[0]))
    made = []
    for (protocol, data, settings), by_encoder in known:
        members = sorted(by_encoder.values(), key=lambda e: -(headline(e) or 0.0))
        said = tuple(_settings(protocol, _telling(members[0])))
        made.append(ResultColumn(f"{protocol} {data} {settings}", protocol, data, said, members))
    return made


def headings(found: Sequence[ResultColumn]) -> list[str]:
    """Return distinct headings of columns: protocol, what tells those of one protocol and data apart, and data."""
    made = []
    for column in found:
        alike = [other.settings for other in found if other.short == column.short]
        own = [said for said in column.settings if any(said not in settings for settings in alike)]
        made.append(" · ".join([column.protocol, *own, Path(column.data).name or column.data]))
    return numbered(made)


def numbered(texts: Sequence[str]) -> list[str]:
    """Return distinct texts: those that came before get a number. Equal ones would be one column of a table."""
    counts: dict[str, int] = {}
    made = []
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
        made.append(text if counts[text] == 1 else f"{text} ({counts[text]})")
    return made


def headline(found: Evaluated) -> float | None:
    """Return the number of an evaluation that tables show, a share of 1."""
    known = PROTOCOLS.get(found.evaluation.protocol)
    value = found.evaluation.summary.get(known.headline) if known else None
    return None if value is None else float(value)


def _telling(found: Evaluated) -> dict[str, Any]:
    """Return the settings that change the result.

    A setting that the version of then did not have stands at its default, which must be what was done without it.
    """
    protocol = found.evaluation.protocol
    defaults = evaluate_preset(protocol).model_dump(mode="json") if protocol in PROTOCOLS else {}
    return {name: value for name, value in (defaults | found.evaluation.params).items() if name not in INDIFFERENT}


def _settings(protocol: str, own: dict[str, Any]) -> list[str]:
    """Return the nearest preset, if the protocol has several, and the settings that differ from it."""
    if protocol not in PROTOCOLS:
        return []
    presets = PROTOCOLS[protocol].presets
    differences = {
        name: [k for k, value in own.items() if preset.model_dump(mode="json").get(k) != value]
        for name, preset in presets.items()
    }
    nearest = min(differences, key=lambda name: len(differences[name]))
    return [*([nearest] if len(presets) > 1 else []), *(f"{k} {_said(own[k])}" for k in differences[nearest])]


def _said(value: Any) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, list) else str(value)
