"""Memory that is no longer needed: given back to the system, or used again.

Only glibc is asked; where the C library is another one, nothing happens.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LARGE = 1 << 20  # bytes; arrays of this size or more are given back as soon as they are freed
LARGEST = 32 << 20  # the most that glibc takes for this
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # as mallopt(3) numbers them
TRIM_BY_DEFAULT, NEVER = 128 << 10, 1 << 30  # bytes free at the end of the heap


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


@contextmanager
def reusing_freed() -> Iterator[None]:
    """Keep freed arrays for the next ones meanwhile, then give them back, and from now on at once.

    What makes the same arrays thousands of times, as training does, spends a third of its time on
    pages that the system has to clear anew if each is given back.
    """
    _call("mallopt", MMAP_THRESHOLD, LARGEST)
    _call("mallopt", TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        _call("mallopt", TRIM_THRESHOLD, TRIM_BY_DEFAULT)
        give_back_freed()
        give_back_now()


def _call(name: str, *values: int) -> bool:
    try:
        function: Any = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return False
    return bool(function(*values))
