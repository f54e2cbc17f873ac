"""Limits on requests and on work, by key or address, in all workers together if there is a Redis.

An item asked for counts as one, and so does an event sent. Work beyond a second's worth is refused
at once, so no request takes more than its caller may have.
"""

import ipaddress
import threading
import time
from collections.abc import Callable
from functools import lru_cache

from flask import g, request
from limits import RateLimitItem, parse
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from api.errors import Problem
from api.keys import Key
from api.metrics import count_refused
from api.observability import log
from api.settings import Settings
from api.shared_results import DEADLINE, PAUSE

COUNTED = "nichegraph.counted"
"""Of a request that was counted before Flask has it: what counts its work, or why it is refused."""


class Limiter:
    """Limits requests and work per caller, by the moving window of `limits`.

    With Redis the workers count together. Without it, or while it is away, each has its share.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` says in seconds how long a Redis that failed is left alone."""
        self._settings, self._clock = settings, clock
        self._alone = MovingWindowRateLimiter(storage_from_string("memory://"))
        self._together = _together(settings)
        self._again, self._away, self._lock = 0.0, False, threading.Lock()

    def count(self, key: Key | None) -> None:
        """Count the request that Flask has; a 429 when its caller has used up the limit."""
        before = request.environ.pop(COUNTED, None)
        if isinstance(before, Problem):
            raise before
        g.charger = before or self.counted(key, request.remote_addr or "")

    def counted(self, key: Key | None, address: str) -> Callable[[int], None]:
        """Count a request; what counts its work. Either raises a 429, see `charge`."""
        caller = caller_of(key, address)
        self._hit(self._settings.requests_per_second, caller, 1, "requests")
        return lambda work: self._charge(caller, work)

    def _charge(self, caller: str, work: int) -> None:
        per_second, share = self._settings.items_per_second, self._share()
        if per_second and work > (allowed := _limit(per_second, share).amount):
            count_refused("items")
            where = f" in each of {share} workers" if share > 1 else ""
            raise Problem(
                400, f"{work} items at once; the setting items_per_second allows {allowed}{where}"
            )
        self._hit(per_second, caller, work, "items")

    def _hit(self, per_second: float, caller: str, cost: int, what: str) -> None:
        if not per_second or cost <= 0:
            return
        caller = f"{what} {caller}"
        limit = _limit(per_second, 1)
        good = self._counted_together(limit, caller, cost)
        if good is None:
            limit = _limit(per_second, self._settings.workers)
            good = self._alone.hit(limit, caller, cost=min(cost, limit.amount))
        if not good:
            count_refused(what)
            raise TooMany(limit)

    def _share(self) -> int:
        """Between how many the limit is shared."""
        return self._settings.workers if self._together is None else 1

    def _counted_together(self, limit: RateLimitItem, caller: str, cost: int) -> bool | None:
        """Whether Redis counts it as allowed; None where there is none, or it is away."""
        if self._together is None or self._clock() < self._again:
            return None
        try:
            good = self._together.hit(limit, caller, cost=cost)
        except Exception as error:  # noqa: BLE001 - whatever the store's driver says when it is away
            with self._lock:
                self._again = self._clock() + PAUSE
                if not self._away:
                    log("limits counted per worker", problem=error)
                self._away = True
            return None
        self._away = False
        return good


class TooMany(Problem):
    """A 429, with the seconds to wait."""

    def __init__(self, limit: RateLimitItem) -> None:
        """Say how much is allowed."""
        super().__init__(
            429, f"more than {limit.amount} per {limit.GRANULARITY.name}; wait a moment"
        )


def charge(work: int) -> None:
    """Count work against the caller's limit: subjects times items, or events.

    Raises:
        Problem: 429 when the limit is used up, 400 when it would never allow so much at once.
    """
    if charger := g.get("charger"):
        charger(work)


def caller_of(key: Key | None, address: str) -> str:
    """Who counts as one: a key; an address where there is none; both, if a page holds the key.

    The key of a page is everybody's, so nobody else is to use up what a visitor may have.
    """
    if key is None:
        return network(address)
    if key.signing is not None or "track" in key.scopes:
        return f"{key.id} {network(address)}"
    return key.id


@lru_cache(1024)
def network(address: str) -> str:
    """An address of IPv4; of IPv6 the /64, all of whose addresses one subscriber has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(getattr(parsed, "ipv4_mapped", None) or parsed)
    return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"


@lru_cache(8)
def _limit(per_second: float, share: int) -> RateLimitItem:
    return parse(f"{max(1, round(per_second / share))}/second")


def _together(settings: Settings) -> MovingWindowRateLimiter | None:
    if not settings.redis_url or not (settings.requests_per_second or settings.items_per_second):
        return None
    store = storage_from_string(
        settings.redis_url, socket_timeout=DEADLINE, socket_connect_timeout=DEADLINE
    )
    return MovingWindowRateLimiter(store)
