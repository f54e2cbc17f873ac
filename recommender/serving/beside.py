"""Another release beside the one that is served: to see what its lists would be.

It answers as if it were served now: by the same path, with the same newer facts, rules, hidden
items and erased people. A process holds one at most, opened when somebody asks for it, and lets it
go when nobody has asked for a while; so comparing costs the memory of one more release.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from graph.errors import ReleaseError
from recommender.releases.publishing import find
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender

IDLE_SECONDS = 60.0  # after the last question the release is let go
WAIT_SECONDS = 20.0  # for others who compare


class Beside:
    """Holds at most one other release; threads may share it, and take turns."""

    def __init__(self, live: Live, idle_seconds: float = IDLE_SECONDS) -> None:
        """Open nothing yet; `live` is what is served."""
        self._live = live
        self._idle_seconds = idle_seconds
        self._opened: Live | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    @property
    def opened(self) -> str | None:
        """The release that is open now, besides the one that is served."""
        return None if self._opened is None or self._opened.only is None else self._opened.only.name

    @contextmanager
    def recommender(self, release: str) -> Iterator[Recommender]:
        """A recommender over a release, published or refused, given by name or number.

        Raises:
            NotFound: there is no such release.
            ReleaseError: it cannot be read, or others compare for too long.
        """
        folder = find(self._live.home, release)
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise ReleaseError(
                "somebody else is comparing releases in this worker; try again in a while"
            )
        try:
            if self._opened is None or self._opened.only != folder:
                self._opened = None  # the last one goes before the next comes
                self._opened = self._live.over(folder)
            yield self._opened.recommender()
        except ReleaseError:
            self._opened = None
            raise
        finally:
            self._let_go_later()
            self._lock.release()

    def _let_go_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._idle_seconds, self._let_go)
        self._timer.daemon = True
        self._timer.start()

    def _let_go(self) -> None:
        with self._lock:
            self._opened = None
