"""Which evaluations may stand in one column: those by one protocol, on the same data, with the same settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

from db.evaluations import Evaluated
from train.evaluate.protocols import PROTOCOLS

INDIFFERENT = frozenset(("protocol", "workers"))  # settings that change no number


@dataclass(frozen=True)
class Column:
    """Evaluations that may be compared, the newest of each encoder, best first.

    key: the same from one look to the next. label: protocol, data, and how its settings differ from another column's.
    """

    key: str
    label: str
    protocol: str
    data: str
    found: list[Evaluated]

    @property
    def headline(self) -> str:
        """What its numbers are called."""
        known = PROTOCOLS.get(self.protocol)
        return known.headline_title if known else ""


def columns(found: Sequence[Evaluated]) -> list[Column]:
    """Evaluations, newest first, as columns of a table of encoders; protocols in their own order."""
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
        rivals = [_telling(next(iter(o.values()))) for k, o in groups.items() if k[:2] == (protocol, data)]
        label = " · ".join([protocol, Path(data).name or data, *_differences(_telling(members[0]), rivals)])
        made.append(Column(f"{protocol} {data} {settings}", label, protocol, data, members))
    return made


def headline(found: Evaluated) -> float | None:
    """The number of an evaluation that tables show, a share of 1."""
    known = PROTOCOLS.get(found.evaluation.protocol)
    value = found.evaluation.summary.get(known.headline) if known else None
    return None if value is None else float(value)


def _telling(found: Evaluated) -> dict[str, Any]:
    return {name: value for name, value in found.evaluation.params.items() if name not in INDIFFERENT}


def _differences(own: dict[str, Any], rivals: list[dict[str, Any]]) -> list[str]:
    """Settings of a column that not all columns of its protocol and data have."""
    telling = [name for name in own if any(rival.get(name) != own[name] for rival in rivals)]
    return [f"{name} {_said(own[name])}" for name in telling]


def _said(value: Any) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, list) else str(value)
