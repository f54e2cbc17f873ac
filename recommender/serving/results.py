"""Keeps answers for a while, so that the same list is not made twice.

The key of an answer is made of the request, the release, and the version of the overlay. This
contains the number of the last fact about the catalogue and about each user of the request. So
after an event, or after an item was hidden or a person erased, the key differs and the old answer
is never used. It is dropped when its time is over, or when others need the memory. When somebody
is erased, or other items are hidden, all answers made before are removed at once.
"""

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from recommender.ranking.request import Request
from recommender.serving.recommend import Recommender
from recommender.serving.versions import last_seen, version_of

SHORTEST = 60.0  # seconds an answer is kept at least
OF_THE_PAUSE = 24  # share of the time since a user was last seen
FORM = 3  # of answers as JSON; to be raised with every change, as other versions share a Redis
ENTRY = 200  # bytes that keeping an answer takes besides its own


class Shared(Protocol):
    """A store that several workers share; when it cannot be reached, it answers nothing."""

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The answers that are kept; None for a key without one."""

    def put(self, key: str, answer: bytes, seconds: float) -> None:
        """Keep an answer for so many seconds."""

    def forget(self, state: str) -> None:
        """Remove the answers whose keys begin with the name of another state, without delay."""


class Results:
    """Keeps answers within a bound of memory; threads may share it."""

    def __init__(
        self,
        most_bytes: int,
        longest: float,
        clock: Callable[[], float],
        shared: Shared | None = None,
    ) -> None:
        """Keep nothing yet.

        Args:
            most_bytes: of all answers kept here; 0: none is kept.
            longest: seconds an answer is kept at most.
            clock: seconds, for how long answers are kept.
            shared: asked for answers that are not here.
        """
        self.counts: Counter[str] = Counter()  # hits, shared hits, misses, dropped
        self.bytes = 0
        self._most = most_bytes
        self._longest = longest
        self._clock = clock
        self._shared = shared if most_bytes else None
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._state: str | None = None  # the only one whose answers are kept; None: any
        self._lock = threading.Lock()

    def answers(
        self, recommender: Recommender, requests: Sequence[Request], *, now: int
    ) -> list[bytes]:
        """As `Recommender.recommend_json`; only answers that are not kept are computed."""
        if not self._most:
            return recommender.recommend_json(requests, now=now)
        keys = [_key(recommender, request, now) for request in requests]
        answers = [self._get(key) for key in keys]
        self._ask_the_others(keys, answers)
        missing = [at for at, answer in enumerate(answers) if answer is None]
        if missing:
            made = recommender.recommend_json([requests[at] for at in missing], now=now)
            for at, answer in zip(missing, made, strict=True):
                answers[at] = answer
                self._put(keys[at], answer, self._seconds(recommender, requests[at], now))
        with self._lock:
            self.counts["misses"] += len(missing)
        return [answer for answer in answers if answer is not None]

    def forget(self, state: str) -> None:
        """Remove all answers, as from now on another state holds: of who is erased, what is hidden.

        Answers under way that were made before are not kept either.
        """
        with self._lock:
            self._state = state
            self._kept.clear()
            self.bytes = 0
        if self._shared is not None:
            self._shared.forget(state)

    def _ask_the_others(self, keys: Sequence[str | None], answers: list[bytes | None]) -> None:
        if self._shared is None:
            return
        wanted = {at: key for at, key in enumerate(keys) if key is not None and answers[at] is None}
        if not wanted:
            return
        for at, answer in zip(wanted, self._shared.get(list(wanted.values())), strict=True):
            if answer is not None:
                answers[at] = answer
                with self._lock:
                    self.counts["shared hits"] += 1

    def _get(self, key: str | None) -> bytes | None:
        if key is None:
            return None
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            ends, answer = kept
            if ends <= self._clock():
                self._drop(key)
                return None
            self._kept.move_to_end(key)
            self.counts["hits"] += 1
            return answer

    def _put(self, key: str | None, answer: bytes, seconds: float) -> None:
        if key is None:
            return
        with self._lock:
            if not self._holds(key):
                return
            if len(answer) + ENTRY <= self._most:
                if key in self._kept:
                    self._drop(key)
                self._kept[key] = self._clock() + seconds, answer
                self.bytes += len(answer) + ENTRY
                while self.bytes > self._most:
                    self._drop(next(iter(self._kept)))
                    self.counts["dropped"] += 1
        if self._shared is not None:
            self._shared.put(key, answer, seconds)
            if not self._holds(key) and self._state is not None:  # changed in this moment
                self._shared.forget(self._state)

    def _holds(self, key: str) -> bool:
        """Whether an answer was made under the state that holds now."""
        return self._state is None or key.startswith(self._state)

    def _drop(self, key: str) -> None:
        self.bytes -= len(self._kept.pop(key)[1]) + ENTRY

    def _seconds(self, recommender: Recommender, request: Request, now: int) -> float:
        """How long an answer is kept: longer for a user who was last seen longer ago."""
        seen = last_seen(recommender, request, now)
        pause = self._longest * OF_THE_PAUSE if seen is None else max(now - seen, 0)
        return min(max(pause / OF_THE_PAUSE, SHORTEST), self._longest)


def _key(recommender: Recommender, request: Request, now: int) -> str | None:
    """The key of an answer: the name of the state, and a digest; it contains no ids.

    None: answers to this request are not kept.
    """
    version = version_of(recommender, request, now)
    if version is None:
        return None
    digest = hashlib.blake2b(
        f"{FORM} {version}\x1e{request.differing()}".encode(), digest_size=20
    ).hexdigest()
    return f"{recommender.overlay.state.name}:{digest}"
