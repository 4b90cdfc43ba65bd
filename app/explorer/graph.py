"""Layout of an acyclic graph in layers: each node comes after all its sources."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


@dataclass(frozen=True)
class Spot:
    """A position: layer from the left, row from the top. Rows of a layer are at least 1 apart."""

    layer: int
    row: float


def layered(nodes: Sequence[N], edges: Iterable[tuple[N, N]]) -> dict[N, Spot]:
    """Return a position for each node: one layer after its last parent, as close as possible to their mean row.

    Edges that would close a cycle are ignored.
    """
    parents = _parents(nodes, edges)
    depth: dict[N, int] = {}

    def layer(node: N, above: tuple[N, ...]) -> int:
        if node not in depth:
            known = [p for p in parents[node] if p not in above and p != node]
            depth[node] = 1 + max((layer(p, (*above, node)) for p in known), default=-1)
        return depth[node]

    for node in nodes:
        layer(node, ())
    spots: dict[N, Spot] = {}
    for number in range(max(depth.values(), default=-1) + 1):
        wanted = []
        for node in (n for n in nodes if depth[n] == number):
            rows = [spots[p].row for p in parents[node] if p in spots]
            wanted.append((sum(rows) / len(rows) if rows else 0.0, node))
        below = 0.0
        for row, node in sorted(wanted, key=lambda pair: pair[0]):  # stable: equals keep the order given
            spots[node] = Spot(number, max(row, below))
            below = spots[node].row + 1
    return spots


def related(node: N, edges: Sequence[tuple[N, N]]) -> set[N]:
    """Return a node with all its sources and results."""
    return _reach(node, [(b, a) for a, b in edges]) | _reach(node, edges)


def _parents(nodes: Sequence[N], edges: Iterable[tuple[N, N]]) -> dict[N, list[N]]:
    parents: dict[N, list[N]] = {node: [] for node in nodes}
    for parent, child in edges:
        if parent in parents and child in parents:
            parents[child].append(parent)
    return parents


def _reach(node: N, edges: Sequence[tuple[N, N]]) -> set[N]:
    onward: dict[N, list[N]] = {}
    for a, b in edges:
        onward.setdefault(a, []).append(b)
    found, waiting = {node}, [node]
    while waiting:
        for following in onward.get(waiting.pop(), []):
            if following not in found:
                found.add(following)
                waiting.append(following)
    return found
