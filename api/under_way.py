"""How many requests a worker has under way, and how many of them it works on at once.

    key and limits ─▶ body, if there is one ─▶ place ─▶ seat ─▶ the work
                       503 if too many wait     503 if none   waits for one

The server program has a thread for each of these, so that whoever waits holds nobody else up: a
body that never comes keeps a thread, and no place. Python works with a few threads at once, which
have the seats.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from api.settings import Settings

SPARE = 8  # threads that refuse requests, and answer those that need no place


def threads_of(settings: Settings) -> int:
    """How many threads the server program needs for a worker."""
    return 2 * settings.max_in_flight + SPARE


class UnderWay:
    """Places and seats of one worker."""

    def __init__(self, settings: Settings) -> None:
        """`max_in_flight` places, `threads` seats; as many bodies may be awaited as have places."""
        self._places = BoundedSemaphore(settings.max_in_flight)
        self._seats = _InTurn(settings.threads)
        self._bodies = BoundedSemaphore(settings.max_in_flight)

    def enter(self) -> bool:
        """Take a place and wait for a seat; False at once if there is no place."""
        if not self._places.acquire(blocking=False):
            return False
        self._seats.acquire()
        return True

    def leave(self) -> None:
        """Give seat and place back."""
        self._seats.release()
        self._places.release()

    @contextmanager
    def body(self) -> Iterator[bool]:
        """While a body is awaited; False if too many are."""
        good = self._bodies.acquire(blocking=False)
        try:
            yield good
        finally:
            if good:
                self._bodies.release()


class _InTurn:
    """A semaphore that serves who waits in turn; Python's own lets those who just came go first."""

    def __init__(self, count: int) -> None:
        self._free, self._waiting, self._lock = count, deque[Lock](), Lock()

    def acquire(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def release(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
