"""What was computed on demand, kept in memory up to a number."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, at most ``most``: the oldest are forgotten. Threads that share it compute one at a time."""

    def __init__(self, most: int) -> None:
        self._most, self._known, self._computing = most, OrderedDict[K, V](), threading.Lock()

    def __contains__(self, key: K) -> bool:
        return key in self._known

    def get(self, key: K, compute: Callable[[], V]) -> V:
        """Return the value of a key; compute it if it is not known."""
        with self._computing:
            if key not in self._known:
                self._known[key] = compute()
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
            return self._known[key]
