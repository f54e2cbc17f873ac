"""The list an editor would print: relevant first, yet varied, fresh, and not only the hits.

Greedy maximal marginal relevance (Carbonell & Goldstein 1998, doi:10.1145/290941.291025), with
additions to the gain of an item: how rare and how new it is, and how much nearer it brings the
list's domains to the subject's own mix (Steck 2018, doi:10.1145/3240323.3240372). In place of
the likeness to the nearest item of the list a profile may ask for a determinantal point process
(Chen 2018, arXiv:1709.05135). Weights come from the profile of the subject's segment; the
neutral profile leaves the order of the scores alone.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import csr_array

from graph.arrays import F32, I32, I64, U64
from graph.mixing import GAMMA, mixed_bits
from recommender.ranking.candidates import Ranking

POOL = 100  # candidates that reranking chooses from
MMR, DPP = "mmr", "dpp"
METHODS = (MMR, DPP)

# Columns of `Profile.weights`.
RELEVANCE, DIVERSITY, LONG_TAIL, FRESHNESS, BALANCE, EXPLORATION, BY_DPP = range(7)


@dataclass(frozen=True)
class Profile:
    """What a list is made for; each weight is a share of the best item's relevance."""

    relevance: float = 1.0
    diversity: float = 0.0  # taken off for likeness to what the list already holds
    long_tail: float = 0.0  # added for rarity: 0 for the most popular item, 1 for the rarest
    freshness: float = 0.0  # added for newness, halved every `FRESH_DAYS`
    balance: float = 0.0  # added for what brings the list nearer to the subject's own domains
    exploration: float = 0.0  # share of the places drawn from all candidates, by relevance
    method: str = MMR  # how likeness counts: to the nearest item (mmr), to all of them (dpp)

    def weights(self) -> tuple[float, ...]:
        """As the columns that `rerank` takes."""
        return (
            self.relevance,
            self.diversity,
            self.long_tail,
            self.freshness,
            self.balance,
            self.exploration,
            float(self.method == DPP),
        )

    @classmethod
    def of(cls, weights: "npt.ArrayLike") -> "Profile":
        """The profile that `weights` came from."""
        *numbers, dpp = np.asarray(weights, np.float64).tolist()
        return replace(cls(*numbers), method=DPP if dpp >= 0.5 else MMR)


@dataclass(frozen=True)
class Traits:
    """What reranking asks of items and subjects."""

    likeness: F32  # (i, d) unit vectors; likeness is their product, negative counts as 0 for mmr
    rarity: F32  # (i,) 0 … 1
    fresh: F32  # (i,) 0 … 1
    indptr: I64  # (i + 1,) where each item's domains begin
    domains: I32  # domain rows
    shares: F32  # their shares, that sum to one over an item's domains
    mix: F32  # (b, m) each subject's own mix, rows sum to one or to zero; m = 0: nobody asks
    draws: U64  # (b,) what each subject's draws are seeded with

    @classmethod
    def plain(cls, likeness: F32, rarity: F32, fresh: F32, subjects: int) -> "Traits":
        """Without domains, the same draws for everybody."""
        none = np.zeros(len(rarity) + 1, np.int64)
        return cls(
            likeness=likeness,
            rarity=rarity,
            fresh=fresh,
            indptr=none,
            domains=np.zeros(0, np.int32),
            shares=np.zeros(0, np.float32),
            mix=np.zeros((subjects, 0), np.float32),
            draws=np.zeros(subjects, np.uint64),
        )

    def part(self, rows: I64) -> "Traits":
        """Of some of the subjects."""
        return replace(self, mix=self.mix[rows], draws=self.draws[rows])


FRESH_DAYS = 30.0
BLUR = 0.05  # share of the own mix that counts as shown: no domain is infinitely short
OWN = np.float32(0.1)  # part of an item like no other: lists may be longer than vectors
NEUTRAL_PROFILE = Profile()
DEFAULT_PROFILE = Profile(diversity=0.02, long_tail=0.15)  # where none was learned


def freshness(created_at: I64, now: int) -> F32:
    """(i,) 1 for an item made now, halved every `FRESH_DAYS`; 0 where the time is unknown."""
    age = np.maximum(now - created_at.astype(np.float64), 0) / 86_400  # NO_TIME: 10^14 days
    return np.exp2(-age / FRESH_DAYS).astype(np.float32)


def shares_of(item_domains: csr_array) -> dict[str, Any]:
    """The fields of `Traits` for domains: each item's shares sum to one."""
    sums = np.asarray(item_domains.sum(axis=1), np.float64).ravel()
    owner = np.repeat(np.arange(item_domains.shape[0]), np.diff(item_domains.indptr))
    shares = item_domains.data / np.where(sums > 0, sums, 1)[owner]
    return {
        "indptr": item_domains.indptr.astype(np.int64),
        "domains": item_domains.indices.astype(np.int32),
        "shares": shares.astype(np.float32),
    }


def rerank(candidates: Ranking, weights: F32, traits: Traits, n: int) -> Ranking:
    """Choose n of each subject's candidates.

    Args:
        candidates: (b, c) items and scores, best first, -1 where there are fewer.
        weights: (b, 7) `Profile.weights` of each subject.
        traits: of the items and the subjects.
        n: length of the lists.

    Returns:
        (b, n) items in their new order with the scores they came with.
    """
    at = chosen_places(candidates, weights, traits, n)
    there = at >= 0
    return Ranking(
        np.where(there, np.take_along_axis(candidates.items, at, axis=1), -1),
        np.where(there, np.take_along_axis(candidates.scores, at, axis=1), -np.inf),
    )


def chosen_places(candidates: Ranking, weights: F32, traits: Traits, n: int) -> I64:
    """(b, n) where the chosen stand among the candidates, -1 after the last; as `rerank`."""
    places: I64 = choose(
        candidates.items, candidates.scores, weights, traits.likeness, traits.rarity,
        traits.fresh, traits.indptr, traits.domains, traits.shares, traits.mix, traits.draws, n,
    )  # fmt: skip
    return places


@njit(cache=True, nogil=True)
def choose(  # type: ignore[no-untyped-def]
    items, scores, weights, likeness, rarity, fresh, indptr, domains, shares, mix, draws, n
):
    """(b, n) i64 places among each subject's candidates, in the order they are chosen; -1 pads.

    items (b, c) i32 and scores (b, c) f32, best first, -1 after the last; weights (b, 7) as
    `Profile.weights` orders them; likeness (i, h), rarity (i,), fresh
    (i,) f32 of the items; indptr, domains, shares the domains of each item; mix (b, d) the
    subject's own shares of domains; draws (b,) u64 seeds.

        candidates   0     1     2     3     4     5   …        gains: relevance, rarity, freshness,
        gains       .9    .8    .8    .5    .4    .2             once; -inf when it is chosen
                     │
        place 0      0 ◀─ largest gain - diversity · nearest + balance · nearer
                     │    nearest[c] = max(nearest[c], likeness to 0)       mmr
                     ▼    or 0 is projected out of every candidate          dpp
        place 1            3 …           the same again over what is left

    At every place that `exploration` says, the candidate that arrives first in a race is taken
    instead. `nearer` is asked again only where it could still decide (see `_worths`).
    """
    subjects, pool = items.shape
    places = np.full((subjects, n), -1, np.int64)
    gains = np.empty(pool, np.float32)
    nearest = np.empty(pool, np.float32)  # mmr: likeness to the nearest; dpp: minus the log of
    left = np.empty(pool, np.float32)  # what of an item the list does not hold yet
    width = likeness.shape[1]
    vectors = np.empty((width, pool), np.float32)  # dimensions first: loops over candidates
    like = np.empty(pool, np.float32)
    steps = np.empty((min(n, pool), pool), np.float32)  # of the growing Cholesky factor
    nearer = np.empty(pool, np.float32)  # gain in calibration, as of when it was last asked for
    shown = np.zeros(mix.shape[1], np.float32)  # domains of the list so far
    worth = np.zeros(mix.shape[1], np.float32)  # of more of each domain
    arrivals = np.empty(pool, np.float32)  # of a race that the drawn items win
    for s in range(subjects):
        count = 0
        while count < pool and items[s, count] >= 0:
            count += 1
        if count == 0:
            continue
        relevance, diversity, tail, newness, balance, exploration, dpp = weights[s]
        balanced = balance > 0 and mix.shape[1] > 0 and mix[s].sum() > 0
        scale = max(scores[s, 0], np.float32(1e-12))
        nearer[:] = np.inf if balanced else 0.0
        shown[:] = 0.0
        for c in range(count):
            item = items[s, c]
            gain = relevance * scores[s, c] / scale
            gains[c] = gain + tail * rarity[item] + newness * fresh[item]
            nearest[c] = 0.0
            left[c] = 1.0
            if diversity > 0:
                for d in range(width):
                    vectors[d, c] = likeness[item, d]
        if exploration > 0:
            _race(items[s, :count], scores[s], scale, draws[s], arrivals[:count])
        for step in range(min(n, count)):
            if balanced:
                _worths(mix[s], shown, step + 1, worth)
            best, best_value = -1, -np.inf
            if np.floor((step + 1) * exploration) > np.floor(step * exploration):
                best = int(np.where(gains[:count] == -np.inf, np.inf, arrivals[:count]).argmin())
            else:
                for c in range(count):
                    if gains[c] == -np.inf:
                        continue
                    value = gains[c] - diversity * nearest[c]
                    if balanced and value + balance * nearer[c] > best_value:
                        nearer[c] = _nearer(items[s, c], indptr, domains, shares, mix[s], worth)
                    value += balance * nearer[c]
                    if value > best_value:
                        best, best_value = c, value
            chosen = items[s, best]
            places[s, step] = best
            gains[best] = -np.inf
            if balanced:
                for at in range(indptr[chosen], indptr[chosen + 1]):
                    shown[domains[at]] += shares[at]
            if diversity > 0:
                like[:count] = 0.0
                for d in range(width):
                    own, row = vectors[d, best], vectors[d]
                    for c in range(count):
                        like[c] += own * row[c]
                if dpp > 0:
                    _project(like, steps, left, nearest, step, best, count)
                else:
                    for c in range(count):
                        nearest[c] = max(nearest[c], like[c])
    return places


@njit(cache=True, nogil=True)
def _project(like, steps, left, nearest, step, best, count):  # type: ignore[no-untyped-def]
    """Project the chosen item out of each candidate: one row of the factor."""
    row = steps[step]
    for c in range(count):
        row[c] = (1 - OWN) * like[c]
    for before in range(step):
        own, basis = steps[before, best], steps[before]
        for c in range(count):
            row[c] -= own * basis[c]
    length = np.sqrt(max(left[best], np.float32(1e-6)))
    for c in range(count):
        row[c] /= length
        left[c] = max(left[c] - row[c] * row[c], np.float32(1e-6))
        nearest[c] = left[c]
    _logarithms(nearest[:count])
    for c in range(count):
        nearest[c] = -nearest[c]


@njit(cache=True, nogil=True)
def _worths(own, shown, length, worth):  # type: ignore[no-untyped-def]
    """What more of each domain is worth to a list of this length; 0 if it is not in the mix.

    A domain is never worth more in a longer list, or in one that shows more of it. So an item's
    gain at an earlier place bounds its gain now, and few need to be computed again (the lazy
    greedy choice of Minoux 1978, doi:10.1007/BFb0006528).
    """
    for d in range(len(own)):
        worth[d] = 0.0
        if own[d] > 0:
            worth[d] = (1 - BLUR) / ((1 - BLUR) * shown[d] + BLUR * own[d] * length)


@njit(cache=True, nogil=True)
def _nearer(item, indptr, domains, shares, own, worth):  # type: ignore[no-untyped-def]
    """By how much an item brings the list nearer to the subject's mix, in nats.

    In the divergence sum p log(p / q) only the terms of the item's domains change. The length of
    the list changes, too, but for all candidates alike.
    """
    total = np.float32(0.0)
    for at in range(indptr[item], indptr[item + 1]):
        d = domains[at]
        if own[d] > 0:
            total += own[d] * np.log(np.float32(1.0) + shares[at] * worth[d])
    return total


@njit(cache=True, nogil=True)
def _logarithms(values):  # type: ignore[no-untyped-def]
    """Natural logarithms of normal numbers above 0 in place, to 10⁻⁶: many at once, unlike libm.

    A number is 2ᵏ m with m between √½ and √2, and log m = 2 artanh((m - 1) / (m + 1)).
    """
    bits, powers = values.view(np.int32), np.empty(len(values), np.float32)
    for at in range(len(values)):
        shifted = bits[at] - np.int32(0x3F3504F3)
        powers[at] = np.float32(0.6931472) * np.float32(shifted >> np.int32(23))
        bits[at] = (shifted & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3)
    for at in range(len(values)):
        t = (values[at] - np.float32(1)) / (values[at] + np.float32(1))
        z = t * t
        series = z * (np.float32(1 / 3) + z * (np.float32(1 / 5) + z * np.float32(1 / 7)))
        values[at] = powers[at] + np.float32(2) * (t + t * series)


@njit(cache=True, nogil=True)
def _race(items, scores, scale, seed, arrivals):  # type: ignore[no-untyped-def]
    """A random time at which each candidate arrives: the more relevant, the sooner (exponential).

    So the first of the free candidates to arrive is drawn in proportion to relevance.
    """
    for c in range(len(items)):
        z = mixed_bits(seed + np.uint64(items[c] + 1) * GAMMA)
        arrivals[c] = (np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0
    _logarithms(arrivals)
    for c in range(len(items)):
        arrivals[c] = -arrivals[c] / max(scores[c] / scale, np.float32(1e-6))
