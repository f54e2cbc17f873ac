"""Lists for everybody, block after block, by the code that answers requests."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from graph.arrays import I64
from recommender.ranking.candidates import Ranking
from recommender.ranking.request import Request
from recommender.serving.profiles import SEGMENTS
from recommender.serving.recommend import Recommender

BLOCK = 512  # users ranked at a time: their data stays in the processor's cache


def all_lists(
    recommender: Recommender, n: int, *, profile: str | None = None, now: int, threads: int = 2
) -> Iterator[tuple[I64, Ranking]]:
    """Rows of users and their lists, in the order of the users; the same for any `threads`.

    Each list is what the user's own request would give. Without editorial rules and segments by
    rule it is ranked from arrays alone, which is faster.

    Args:
        recommender: erased users are left out.
        n: length of the lists.
        profile: of reranking; None: that of each user's segment.
        now: seconds since 1970, for freshness and for rules that hold at certain times.
        threads: blocks ranked side by side; at most twice as many are held at once.
    """
    rows = np.flatnonzero(~recommender.overlay.gone)
    ruled = bool(recommender.rulebook.rules or recommender.segments.rules)

    def ranked(block: I64) -> tuple[I64, Ranking]:
        if ruled:
            return block, _by_request(recommender, block, n, profile, now)
        return block, recommender.rank_users(block, n, profile=profile or SEGMENTS, now=now)

    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(blocks), 2 * threads):
            yield from pool.map(ranked, blocks[start : start + 2 * threads])


def _by_request(
    recommender: Recommender, block: I64, n: int, profile: str | None, now: int
) -> Ranking:
    """The lists of requests, as arrays."""
    requests = [
        Request(user=user, n=n, profile=profile, reasons=False)
        for user in recommender.release.users.ids(block)
    ]
    return recommender.rank_requests(requests, n, now=now)
