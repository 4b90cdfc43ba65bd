"""Products of small matrices in one thread: BLAS would spend more time on sharing them than on computing."""

from __future__ import annotations

import threading

from threadpoolctl import threadpool_limits


class _OneThread:
    """Limit BLAS to one thread inside the block. Blocks of several threads may overlap.

    The limit is the process's: the first of these blocks sets it, and the last one lifts it.
    """

    def __init__(self) -> None:
        self._lock, self._blocks = threading.Lock(), 0
        self._limit: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._blocks:
                self._limit = threadpool_limits(1, user_api="blas")
            self._blocks += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks and self._limit is not None:
                self._limit.restore_original_limits()


one_blas_thread = _OneThread()
