"""The compiler of the loops over pixels and regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit

F = TypeVar("F", bound=Callable)
Int = int | np.integer  # numbers of compiled functions, which Python's checker does not tell apart
Float = float | np.floating


def jit(function: F) -> F:
    """Compile a function at its first call, without Python's lock, and keep the result on disk for other processes.

    Floating-point operations stay as they are written: no sum is reordered, and no product is fused with a sum.
    """
    try:
        compiled = njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder for compiled code can be written
        compiled = njit(nogil=True, error_model="numpy")(function)
    return cast(F, compiled)
