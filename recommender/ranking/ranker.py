"""From subjects to ranked rows: proposed, fused, filled when short, adjusted, reranked, checked.

Filters hold inside every source and once more at the end, so nothing disallowed is ever shown,
and a list is short only when fewer items are allowed than were asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from recommender.ranking.candidates import F32, I32, Ranking, Subjects
from recommender.ranking.rerank import POOL, Traits, chosen_places, freshness
from recommender.ranking.sources import IN_DOMAIN, POPULAR, TAGS, Sources, fuse
from recommender.releases.release import Release

Adjust = Callable[[I32], F32]  # item rows (c,) -> what their scores are multiplied by (c,)


def pool_size(n: int) -> int:
    """How many candidates a list of n is chosen from."""
    return max(POOL, 2 * n)


@dataclass(frozen=True)
class Lists:
    """Ranked rows and where they come from, for b subjects."""

    items: I32  # (b, n), -1 where a list is shorter
    scores: F32  # (b, n), -inf there
    origins: npt.NDArray[np.int8]  # (b, n) the place in `Sources.names` that gave the most
    parts: F32  # (b, n, s) what each source gave


class Ranker:
    """Ranks subjects over one release."""

    def __init__(self, release: Release, sources: Sources, fused: Mapping[str, float]) -> None:
        """Rank by the weighted sum of the sources named in `fused`."""
        self._release = release
        self._sources = sources
        self._fused = fused

    def rank(
        self,
        subjects: Subjects,
        tags: csr_array,
        n: Sequence[int],
        weights: F32,
        now: int,
        orders: Sequence[tuple[str, ...]],
        adjustments: Sequence[Adjust | None] | None = None,
        whole: Sequence[bool] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Lists:
        """The best n for each of b subjects; what one gets does not depend on the others.

        Args:
            subjects: histories, what is blocked, what is allowed.
            tags: (b, t) tags asked for.
            n: for each subject the length of its list.
            weights: (b, 7) of reranking, see `Profile.weights`.
            now: seconds since 1970, for freshness.
            orders: which sources are fused for each subject.
            adjustments: for each subject what rules, rotation and seeds make of the scores of
                its candidates, before reranking; None: nothing.
            whole: which subjects get the whole pool (`pool_size`) in its order, of which the
                first n are the same; rules choose from it.
            seeds: of each subject's exploration; None: 0.
        """
        count, names = len(subjects), self._sources.names
        adjust = adjustments or [None] * count
        spare, drawn = whole or [False] * count, seeds or [0] * count
        lengths = [pool_size(k) if w else k for k, w in zip(n, spare, strict=True)]
        width = max(lengths, default=0)
        lists = Lists(
            np.full((count, width), -1, np.int32),
            np.full((count, width), -np.inf, np.float32),
            np.full((count, width), -1, np.int8),
            np.zeros((count, width, len(names)), np.float32),
        )
        neutral = (weights[:, 1:] == 0).all(axis=1).tolist()
        changed = [one is not None for one in adjust]
        groups: dict[Any, list[int]] = {}
        several = _several(subjects)
        kinds = zip(orders, neutral, changed, n, lengths, several, strict=True)
        for place, kind in enumerate(kinds):
            groups.setdefault(kind, []).append(place)
        for (order, plain, adjusted, asked, length, _), places in groups.items():
            who = np.array(places)
            part, wanted = take(subjects, who), tags[who]
            simple = plain and not adjusted and len(order) == 1
            pool = length if simple else pool_size(asked)
            found = self._candidates(part, wanted, order, length, pool)
            if adjusted:
                found = _adjusted(found, [adjust[place] for place in places])
            if not plain:
                traits = self._traits_of(part, weights[who], now, [drawn[p] for p in places])
                found = _reranked(found, weights[who], traits, length)
            lists.items[who, :length] = found.items[:, :length]
            lists.scores[who, :length] = found.scores[:, :length]
            lists.origins[who, :length] = found.origins[:, :length]
            lists.parts[who, :length] = found.parts[:, :length]
        _refuse_disallowed(subjects, lists.items)
        return lists

    def _candidates(
        self, subjects: Subjects, tags: csr_array, order: tuple[str, ...], n: int, pool: int
    ) -> Lists:
        """The pool that a list is chosen from, at least n long where enough is allowed."""
        names = self._sources.names
        proposed = [self._sources.propose(name, subjects, tags, pool) for name in order]
        fused, origin, shares = fuse(proposed, [self._fused.get(o, 1.0) for o in order], pool)
        # Scores are told in the units of the first source, whose sums over the history are
        # exact: without an item of the history they fall by just what that item gave.
        best = proposed[0].scores[:, 0]
        unit = np.where(best > 0, best, 1).astype(np.float32)
        places = np.array([names.index(name) for name in order])
        spread = np.zeros((*origin.shape, len(names)), np.float32)
        spread[:, :, places] = shares * unit[:, None, None]
        lists = Lists(
            fused.items,
            fused.scores * unit[:, None],
            np.where(origin >= 0, places[origin], -1).astype(np.int8),
            spread,
        )
        self._fill(subjects, tags, n, lists)
        return lists

    def _fill(self, subjects: Subjects, tags: csr_array, n: int, lists: Lists) -> None:
        """Complete lists shorter than n in place, source after source, below what is there."""
        names = self._sources.names
        for name in (*self._sources.vectors, TAGS, IN_DOMAIN, POPULAR):
            short = np.flatnonzero(lists.items[:, n - 1] < 0)
            if len(short) == 0:
                return
            more = self._sources.propose(name, take(subjects, short), tags[short], 2 * n)
            for place, subject in enumerate(short):
                have = int(np.count_nonzero(lists.items[subject] >= 0))
                new = more.items[place][more.items[place] >= 0]
                new = new[~np.isin(new, lists.items[subject, :have])][: n - have]
                floor = float(lists.scores[subject, have - 1]) if have else 1.0
                steps = np.arange(1, len(new) + 1, dtype=np.float32)
                span = slice(have, have + len(new))
                lists.items[subject, span] = new
                lists.scores[subject, span] = floor / (1 + steps)
                lists.origins[subject, span] = names.index(name)
                lists.parts[subject, span, names.index(name)] = floor / (1 + steps)

    @cached_property
    def _traits(self) -> Traits:
        """What reranking asks of the items; nothing of a subject."""
        arrays, domains = self._release.arrays, self._release.matrix("item_domains")
        plain = Traits.plain(arrays["likeness"], arrays["rarity"], self._unknown_age, 0)
        return replace(plain, **shares_of(domains))

    @cached_property
    def _unknown_age(self) -> F32:
        return np.zeros(len(self._release.items), np.float32)

    def _traits_of(self, part: Subjects, weights: F32, now: int, seeds: Sequence[int]) -> Traits:
        """With what these subjects' weights ask for: ages, their own mix, seeds of draws."""
        fresh, mix = self._unknown_age, np.zeros((len(part), 0), np.float32)
        if weights[:, 3].any():
            fresh = freshness(self._release.arrays["created_at"], now)
        if weights[:, 4].any():
            mix = self.mixes(part)
        draws = np.array([seed % 2**64 for seed in seeds], np.uint64)
        if weights[:, 5].any():  # by the history, so that not all are shown the same
            who = np.repeat(np.arange(len(part)), np.diff(part.indptr))
            np.add.at(draws, who, (part.items.astype(np.uint64) + np.uint64(1)) ** np.uint64(3))
        return replace(self._traits, fresh=fresh, mix=mix, draws=draws)

    def mixes(self, subjects: Subjects) -> F32:
        """(b, d) what share of each history lies in each domain; rows of 0 where none is known."""
        one, width = self._traits, len(self._release.domains)
        shape = (len(subjects), len(one.rarity))
        liked = csr_array((subjects.weights, subjects.items, subjects.indptr), shape=shape)
        shares = csr_array((one.shares, one.domains, one.indptr), shape=(shape[1], width))
        sums = np.maximum((liked @ shares).toarray(), 0)
        totals = sums.sum(axis=1, keepdims=True)
        mix: F32 = (sums / np.where(totals > 0, totals, 1)).astype(np.float32)
        return mix


def shares_of(item_domains: csr_array) -> dict[str, Any]:
    """The fields of `Traits` that tell of domains: each item's shares sum to one."""
    sums = np.asarray(item_domains.sum(axis=1), np.float64).ravel()
    owner = np.repeat(np.arange(item_domains.shape[0]), np.diff(item_domains.indptr))
    shares = item_domains.data / np.where(sums > 0, sums, 1)[owner]
    return {
        "indptr": item_domains.indptr.astype(np.int64),
        "domains": item_domains.indices.astype(np.int32),
        "shares": shares.astype(np.float32),
    }


def _several(subjects: Subjects) -> list[bool]:
    """Which subjects have more than one interest."""
    if subjects.interests is None:
        return [False] * len(subjects)
    return [bool(subjects.interests[a:b].any()) for a, b in pairwise(subjects.indptr.tolist())]


def _reranked(lists: Lists, weights: F32, traits: Traits, n: int) -> Lists:
    at = chosen_places(Ranking(lists.items, lists.scores), weights, traits, n)
    short = at < 0
    picked = Lists(
        np.take_along_axis(lists.items, at, axis=1),
        np.take_along_axis(lists.scores, at, axis=1),
        np.take_along_axis(lists.origins, at, axis=1),
        np.take_along_axis(lists.parts, at[:, :, None], axis=1),
    )
    picked.items[short], picked.scores[short], picked.origins[short] = -1, -np.inf, -1
    picked.parts[short] = 0
    return picked


def _adjusted(lists: Lists, adjustments: Sequence[Adjust | None]) -> Lists:
    """Scores multiplied, and the order that follows from them."""
    factors = np.ones_like(lists.scores)
    for row, adjust in enumerate(adjustments):
        count = int(np.count_nonzero(lists.items[row] >= 0))
        if adjust is not None:
            factors[row, :count] = adjust(lists.items[row, :count])
    scores = lists.scores * factors
    order = np.argsort(-scores, axis=1, kind="stable")
    return Lists(
        np.take_along_axis(lists.items, order, axis=1),
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(lists.origins, order, axis=1),
        np.take_along_axis(lists.parts * factors[:, :, None], order[:, :, None], axis=1),
    )


def _refuse_disallowed(subjects: Subjects, items: I32) -> None:
    """The last check on every path: a source that breaks a filter is a defect, never an answer."""
    rows, places = np.nonzero(items >= 0)
    if not subjects.masks[subjects.mask[rows], items[rows, places]].all():
        raise AssertionError("a source proposed an item that the filter does not allow")
    width = np.int64(items.max(initial=0)) + 1
    blocked = np.repeat(np.arange(len(subjects)), np.diff(subjects.blocked_indptr))
    low = subjects.blocked < width
    shut = blocked[low] * width + subjects.blocked[low]
    if np.isin(rows * width + items[rows, places], shut).any():
        raise AssertionError("a source proposed an item that the subject must not be shown")


def take(subjects: Subjects, who: npt.NDArray[np.int64]) -> Subjects:
    """The subjects at some places."""
    if len(who) == len(subjects):
        return subjects
    liked, liked_at = _runs(subjects.indptr, who)
    shut, shut_at = _runs(subjects.blocked_indptr, who)
    return Subjects(
        liked,
        subjects.items[liked_at],
        subjects.weights[liked_at],
        shut,
        subjects.blocked[shut_at],
        subjects.masks,
        subjects.mask[who],
        None if subjects.interests is None else subjects.interests[liked_at],
        {source: rows[who] for source, rows in subjects.asked.items()},
    )


def _runs(indptr: npt.NDArray[np.int64], who: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """The indptr of some rows, and where their entries stand."""
    counts = indptr[who + 1] - indptr[who]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return starts, np.repeat(indptr[who] - starts[:-1], counts) + np.arange(starts[-1])
