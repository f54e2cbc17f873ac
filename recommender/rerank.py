"""The list an editor would print: relevant first, yet varied, fresh, and not only the hits.

Greedy maximal marginal relevance (Carbonell & Goldstein 1998, doi:10.1145/290941.291025),
with two additions to the gain of an item: how rare and how new it is. Weights come from the
profile of the subject's segment; the neutral profile leaves the order of the scores alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from recommender.candidates import F32, I32, Ranking

POOL = 100  # candidates that reranking chooses from


@dataclass(frozen=True)
class Profile:
    """What a list is made for; each weight is a share of the best item's relevance."""

    relevance: float = 1.0
    diversity: float = 0.0  # taken off for likeness to what the list already holds
    long_tail: float = 0.0  # added for rarity: 0 for the most popular item, 1 for the rarest
    freshness: float = 0.0  # added for newness, halved every `FRESH_DAYS`

    @property
    def neutral(self) -> bool:
        """Whether the order of the scores is kept."""
        return self.diversity == self.long_tail == self.freshness == 0.0

    def weights(self) -> tuple[float, float, float, float]:
        """As the columns that `rerank` takes."""
        return self.relevance, self.diversity, self.long_tail, self.freshness


FRESH_DAYS = 30.0
NEUTRAL_PROFILE = Profile()
DEFAULT_PROFILE = Profile(diversity=0.05, long_tail=0.3)  # by measurement: docs/reranking.md


def freshness(created_at: npt.NDArray[np.int64], now: int) -> F32:
    """(i,) 1 for an item made now, halved every `FRESH_DAYS`; 0 where the time is unknown."""
    age = np.maximum(now - created_at.astype(np.float64), 0) / 86_400  # NO_TIME: 10^14 days
    return np.exp2(-age / FRESH_DAYS).astype(np.float32)


def rerank(
    candidates: Ranking, weights: F32, likeness: F32, rarity: F32, fresh: F32, n: int
) -> Ranking:
    """Choose n of each subject's candidates.

    Args:
        candidates: (b, c) items and scores, best first, -1 where there are fewer.
        weights: (b, 4) relevance, diversity, long tail, freshness.
        likeness: (i, d) unit vectors; likeness is their product, negative counts as 0.
        rarity: (i,) 0 … 1.
        fresh: (i,) 0 … 1.
        n: length of the lists.

    Returns:
        (b, n) items in their new order with the scores they came with.
    """
    rows, scores = _choose(candidates.items, candidates.scores, weights, likeness, rarity, fresh, n)
    return Ranking(rows, scores)


@njit(cache=True, nogil=True)
def _choose(  # type: ignore[no-untyped-def]
    items: I32, scores: F32, weights: F32, likeness: F32, rarity: F32, fresh: F32, n: int
):
    subjects, pool = items.shape
    rows = np.full((subjects, n), -1, np.int32)
    kept = np.full((subjects, n), -np.inf, np.float32)
    gains = np.empty(pool, np.float32)
    nearest = np.empty(pool, np.float32)
    width = likeness.shape[1]
    vectors = np.empty((width, pool), np.float32)  # dimensions first: loops over candidates
    like = np.empty(pool, np.float32)
    for s in range(subjects):
        count = 0
        while count < pool and items[s, count] >= 0:
            count += 1
        if count == 0:
            continue
        relevance, diversity, tail, newness = weights[s]
        scale = max(scores[s, 0], np.float32(1e-12))
        for c in range(count):
            item = items[s, c]
            gain = relevance * scores[s, c] / scale
            gains[c] = gain + tail * rarity[item] + newness * fresh[item]
            nearest[c] = 0.0
            if diversity > 0:
                for d in range(width):
                    vectors[d, c] = likeness[item, d]
        for place in range(min(n, count)):
            best, best_value = -1, -np.inf
            for c in range(count):
                if gains[c] != -np.inf:
                    value = gains[c] - diversity * nearest[c]
                    if value > best_value:
                        best, best_value = c, value
            chosen = items[s, best]
            rows[s, place], kept[s, place] = chosen, scores[s, best]
            gains[best] = -np.inf
            if diversity > 0:
                like[:count] = 0.0
                for d in range(width):
                    own, row = vectors[d, best], vectors[d]
                    for c in range(count):
                        like[c] += own * row[c]
                for c in range(count):
                    nearest[c] = max(nearest[c], like[c])
    return rows, kept
