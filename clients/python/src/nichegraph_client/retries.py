"""When a request is sent again, and after how long.

Every request of this client may be repeated: reading changes nothing, `PUT`, `PATCH` and `DELETE`
say how things are to be, events carry an `event_id`, and lists of items an `Idempotency-Key`.
"""

import email.utils
import random
import time
from dataclasses import dataclass

import httpx

from nichegraph_client.errors import Unreachable

REPEATED = (429, 502, 503, 504)  # statuses that say: later
Outcome = httpx.Response | Unreachable


@dataclass(frozen=True)
class Retries:
    """How often a request is tried, and how long is waited between."""

    tries: int = 4
    first: float = (
        0.2  # seconds before the second try; twice as long each time, drawn from its half up
    )
    longest: float = 30.0  # seconds; if the service asks for a longer wait, its refusal is raised

    def pause_after(self, outcome: Outcome, tried: int) -> float | None:
        """Seconds to wait before the next try; None: this outcome stands. `tried` counts from 1."""
        if tried >= self.tries:
            return None
        pause: float = self.first * 2.0 ** (tried - 1) * (0.5 + random.random() / 2)
        if isinstance(outcome, httpx.Response):
            if outcome.status_code not in REPEATED:
                return None
            asked = seconds(outcome.headers.get("Retry-After", ""), time.time())
            if asked > self.longest:
                return None
            pause = max(pause, asked)
        return min(pause, self.longest)


def seconds(retry_after: str, now: float) -> float:
    """What a `Retry-After` asks for: seconds or a date; 0 where it says nothing."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return 0.0
