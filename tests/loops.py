"""Coroutines in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: tests in a browser leave an event loop in the main one."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, work).result()
