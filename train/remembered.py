"""What was computed on demand, kept in memory up to a number."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Generic, ParamSpec, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")


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


class ComputedOnce(Generic[P, V]):
    """A function that remembers its values as ``lru_cache`` does. Threads that ask for the same compute it once.

    They compute one at a time.
    """

    def __init__(self, compute: Callable[P, V], most: int) -> None:
        self._cached, self._computing = lru_cache(maxsize=most)(compute), threading.Lock()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> V:
        with self._computing:
            return self._cached(*args, **kwargs)  # type: ignore[arg-type]  # lru_cache says what cannot be hashed

    def cache_clear(self) -> None:
        """Forget all values."""
        self._cached.cache_clear()


def computed_once(most: int) -> Callable[[Callable[P, V]], ComputedOnce[P, V]]:
    """Let a function remember its last values, at most ``most``. See ``ComputedOnce``."""
    return lambda compute: ComputedOnce(compute, most)
