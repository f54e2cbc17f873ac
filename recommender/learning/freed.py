"""Memory that a refresh no longer needs, given back to the system instead of kept for later."""

import ctypes

LARGE = 1 << 20  # bytes; arrays of this size or more are given back as soon as they are freed
MMAP_THRESHOLD = -3  # as mallopt(3) numbers it


def give_back_freed() -> bool:
    """From now on, have the C library give large arrays back once they are freed.

    By itself glibc keeps freed blocks of up to 32 MB where something small lies behind them: on a
    catalogue of 100,000 items that came to a third of what a refresh held. Holds for the whole
    process. False, and nothing happens, where the C library is another one.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(set_option(MMAP_THRESHOLD, LARGE))
