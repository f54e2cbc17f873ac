"""Lists for everybody, block after block, by the code that answers requests."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from recommender.candidates import I64, Ranking
from recommender.recommend import Recommender
from recommender.request import DEFAULT

BLOCK = 512  # users ranked in one go: what they need stays in the processor's cache


def all_lists(
    recommender: Recommender, n: int, *, profile: str = DEFAULT, now: int, threads: int = 2
) -> Iterator[tuple[I64, Ranking]]:
    """Rows of users and their lists, in the order of the users; the same for any `threads`.

    Args:
        recommender: erased users are left out.
        n: length of the lists.
        profile: of reranking; segments and editorial rules do not hold here.
        now: seconds since 1970, for freshness.
        threads: blocks ranked side by side; at most twice as many are held at once.
    """
    gone = recommender.release.users.rows(sorted(recommender.erased))
    rows = np.setdiff1d(np.arange(len(recommender.release.users)), gone)

    def ranked(block: I64) -> tuple[I64, Ranking]:
        return block, recommender.rank_users(block, n, profile=profile, now=now)

    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(blocks), 2 * threads):
            yield from pool.map(ranked, blocks[start : start + 2 * threads])
