"""Stops asking a server that does not answer, and tries again after a pause."""

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after `failures` in a row; then one call per `pause` seconds may try.

    Threads may share it. `clock` gives seconds and never goes back.
    """

    def __init__(
        self, failures: int = 3, pause: float = 3.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._closed_until_asked = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are refused until the pause is over."""
        with self._lock:
            return self._failed >= self._limit

    def wait(self) -> float:
        """0 when a call may be made now, else the seconds until one may."""
        with self._lock:
            if self._failed < self._limit:
                return 0.0
            left = self._closed_until_asked - self._clock()
            if left > 0:
                return left
            self._closed_until_asked = self._clock() + self._pause  # this one tries, others wait
            return 0.0

    def succeeded(self) -> None:
        """An answer came: all calls may pass again."""
        with self._lock:
            self._failed = 0

    def failed(self) -> None:
        """No answer came."""
        with self._lock:
            self._failed += 1
            if self._failed >= self._limit:
                self._closed_until_asked = self._clock() + self._pause
