"""Requests for many subjects: answered in pieces, within a time limit, never on all threads.

So a client with large requests leaves a thread of each worker to everybody else.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from api.errors import Problem
from api.metrics import count_refused
from api.settings import Settings
from recommender.ranking.filters import passes
from recommender.ranking.request import Request

A = TypeVar("A")  # an answer, in whatever form
PIECE = 50  # subjects, or passes of their filters over the items, between two looks at the clock


class LongRequests:
    """Lets large requests in, and stops those that take too long."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Large requests get all but one of a worker's threads, but at least one."""
        self._seconds = settings.request_seconds
        self._seats = threading.BoundedSemaphore(max(1, settings.threads - 1))
        self._clock = clock

    def answers(
        self, recommend: Callable[[Sequence[Request]], list[A]], requests: Sequence[Request]
    ) -> list[A]:
        """One answer per request, in order.

        Raises:
            Problem: 503 if other large requests hold all their threads, 400 if the time is up.
        """
        pieces = list(_pieces(requests))
        if len(pieces) <= 1:
            return recommend(requests)
        if not self._seats.acquire(blocking=False):
            count_refused("large")
            raise Problem(
                503, "this worker is busy with other requests for many subjects; try again soon"
            )
        try:
            return self._one_by_one(recommend, pieces)
        finally:
            self._seats.release()

    def _one_by_one(
        self, recommend: Callable[[Sequence[Request]], list[A]], pieces: list[list[Request]]
    ) -> list[A]:
        ends = self._clock() + self._seconds
        answers: list[A] = []
        for piece in pieces:
            if self._clock() > ends:
                text = (
                    f"after {self._seconds:g} s {len(answers)} of {sum(map(len, pieces))} subjects "
                    "had their lists; send fewer at once, or raise the setting request_seconds"
                )
                raise Problem(400, text, [("subjects", text)])
            answers += recommend(piece)
        return answers


def _pieces(requests: Sequence[Request]) -> Iterator[list[Request]]:
    piece: list[Request] = []
    work = 0
    for request in requests:
        own = max(1, len(request.household)) * (1 + passes(request.filter) // 10)
        if piece and work + own > PIECE:
            yield piece
            piece, work = [], 0
        piece.append(request)
        work += own
    if piece:
        yield piece
