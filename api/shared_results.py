"""Answers that workers share in a Redis; while it is away, each worker serves by itself."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from api.observability import log
from graph.extras import missing_extra

PREFIX = "nichegraph:answer:"
DEADLINE = 0.1  # seconds a call may take
PAUSE = 5.0  # seconds for which a Redis that failed is not asked again
AT_A_TIME = 1000  # keys that Redis looks at before it answers others


class RedisResults:
    """Keeps answers in a Redis; see `recommender.serving.results.Shared`."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is connected before the first call.

        Raises:
            MissingExtra: the package redis is not installed.
        """
        try:
            import redis
        except ModuleNotFoundError as error:
            raise missing_extra(error) or error from error
        self._errors = redis.RedisError
        self._redis = redis.Redis.from_url(
            url.replace("redis+unix://", "unix://", 1),  # as `limits` writes a socket
            socket_timeout=DEADLINE,
            socket_connect_timeout=DEADLINE,
        )
        self._clock = clock
        self._again = 0.0
        self._away = False
        self._state = ""  # the last one for which the others' answers were to be removed

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The kept answers, in the order of `keys`; None where there is none, or Redis is away."""
        values = self._answered(lambda: self._redis.mget([PREFIX + key for key in keys]))
        return [None] * len(keys) if values is None else list(values)

    def put(self, key: str, answer: bytes, seconds: float) -> None:
        """Keep an answer for so many seconds; while Redis is away, it is not kept."""
        self._answered(lambda: self._redis.set(PREFIX + key, answer, px=round(1000 * seconds)))

    def forget(self, state: str) -> None:
        """Remove the answers of other states in a thread of its own; later, if Redis is away."""
        self._state = state
        threading.Thread(target=self._forget, args=(state,), daemon=True).start()

    def _forget(self, state: str) -> None:
        while self._state == state and self.remove(state) is None:
            time.sleep(PAUSE)

    def remove(self, state: str) -> int | None:
        """Remove the answers of other states; how many there were. None: Redis is away.

        If other homes share the Redis, this empties their caches, too.
        """
        stay, gone, cursor = f"{PREFIX}{state}:".encode(), 0, 0
        try:
            while True:
                looked: Any = self._redis.scan(cursor, match=f"{PREFIX}*", count=AT_A_TIME)
                cursor, keys = looked
                if old := [key for key in keys if not key.startswith(stay)]:
                    gone += self._redis.unlink(*old)
                if cursor == 0:
                    return gone
        except self._errors as error:
            self._failed(error)
            return None

    def _answered(self, call: Callable[[], Any]) -> Any:
        if self._clock() < self._again:
            return None
        try:
            answer = call()
        except self._errors as error:
            self._again = self._clock() + PAUSE
            self._failed(error)
            return None
        self._away = False
        return answer

    def _failed(self, error: Exception) -> None:
        """Log it at the first call that fails, not again until one was answered."""
        if not self._away:
            log("redis away", problem=error)
        self._away = True
