"""Memory that is no longer needed, given back to the system instead of kept for later.

Only glibc is asked; where the C library is another one, nothing happens.
"""

import ctypes
from typing import Any

LARGE = 1 << 20  # bytes; arrays of this size or more are given back as soon as they are freed
MMAP_THRESHOLD = -3  # as mallopt(3) numbers it


def give_back_freed() -> bool:
    """From now on, have the C library give large arrays back once they are freed; whether it does.

    By itself glibc keeps freed blocks of up to 32 MB where something small lies behind them: on a
    catalogue of 100,000 items that came to a third of what a refresh held. Holds for the whole
    process.
    """
    return _call("mallopt", MMAP_THRESHOLD, LARGE)


def give_back_now() -> bool:
    """Give back what many small things took that are freed by now; whether anything was."""
    return _call("malloc_trim", 0)


def _call(name: str, *values: int) -> bool:
    try:
        function: Any = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return False
    return bool(function(*values))
