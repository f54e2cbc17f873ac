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
from numba import njit

from graph.arrays import F32, I8, I32, I64
from recommender.ranking.candidates import Ranking, Subjects
from recommender.ranking.rerank import (
    BALANCE,
    EXPLORATION,
    FRESHNESS,
    POOL,
    Traits,
    chosen_places,
    freshness,
    shares_of,
)
from recommender.ranking.sources import IN_DOMAIN, ITEMS, POPULAR, TAGS, AskedTags, Sources, fuse
from recommender.ranking.table_lists import adjusted_lists, count_wrong, factors_of, table_lists
from recommender.releases.release import Release

Adjust = Callable[[I32], F32]  # item rows (c,) -> what their scores are multiplied by (c,)


Defect = Callable[[str, int], None]  # what is wrong, and with how many items


def refuse(broken: str, items: int) -> None:
    """Raise the defect: it must end the request, unless somebody counts and logs it instead."""
    raise AssertionError(f"{broken} ({items})")


def pool_size(n: int) -> int:
    """How many candidates a list of n is chosen from."""
    return max(POOL, 2 * n)


@dataclass(frozen=True)
class Order:
    """How one subject's list is to be made."""

    n: int  # how long the list is
    sources: tuple[str, ...]  # that are fused
    weights: tuple[float, ...]  # of reranking, see `Profile.weights`
    adjust: Adjust | None = None  # what rules, rotation and variety make of the scores
    whole_pool: bool = False  # return the whole pool; its first n are the list
    seed: int = 0  # of exploration

    @cached_property
    def plain(self) -> bool:
        """Whether the order of the scores is kept."""
        return not any(self.weights[1:])

    @cached_property
    def length(self) -> int:
        """How many items are asked for."""
        return pool_size(self.n) if self.whole_pool else self.n

    @cached_property
    def pool(self) -> int:
        """How many candidates the list is chosen from."""
        simple = self.plain and self.adjust is None and len(self.sources) == 1
        return self.length if simple else pool_size(self.n)

    @property
    def kind(self) -> tuple[object, ...]:
        """Subjects of one kind are ranked together."""
        return self.sources, self.plain, self.adjust is None, self.n, self.length


@dataclass(frozen=True)
class Lists:
    """Ranked rows and where they come from, for b subjects."""

    items: I32  # (b, n), -1 where a list is shorter
    scores: F32  # (b, n), -inf there
    origins: I8  # (b, n) the place in `Sources.names` that gave the most
    parts: F32  # (b, n, s) what each source gave

    @classmethod
    def empty(cls, subjects: int, n: int, sources: int) -> "Lists":
        """Lists with nothing in them."""
        return cls(
            items=np.full((subjects, n), -1, np.int32),
            scores=np.full((subjects, n), -np.inf, np.float32),
            origins=np.full((subjects, n), -1, np.int8),
            parts=np.zeros((subjects, n, sources), np.float32),
        )

    def put(self, rows: I64, lists: "Lists", n: int) -> None:
        """Take over the first n of some subjects' lists."""
        for mine, theirs in (
            (self.items, lists.items),
            (self.scores, lists.scores),
            (self.origins, lists.origins),
            (self.parts, lists.parts),
        ):
            mine[rows, :n] = theirs[:, :n]

    def first(self, n: int) -> "Lists":
        """The first n of each list."""
        return Lists(
            items=self.items[:, :n],
            scores=self.scores[:, :n],
            origins=self.origins[:, :n],
            parts=self.parts[:, :n],
        )

    def taken(self, at: I64) -> "Lists":
        """The entries at some places (b, m) of each list."""
        return Lists(
            items=np.take_along_axis(self.items, at, axis=1),
            scores=np.take_along_axis(self.scores, at, axis=1),
            origins=np.take_along_axis(self.origins, at, axis=1),
            parts=np.take_along_axis(self.parts, at[:, :, None], axis=1),
        )


class Ranker:
    """Ranks subjects over one release."""

    def __init__(
        self,
        release: Release,
        sources: Sources,
        fused: Mapping[str, float],
        defect: Defect = refuse,
    ) -> None:
        """Rank by the weighted sum of the sources in `fused`; `defect` is called on mistakes."""
        self._defect = defect
        self._release = release
        self._sources = sources
        self._fused = fused
        self._fresh: tuple[int, F32] | None = None

    def rank(self, subjects: Subjects, tags: AskedTags, orders: Sequence[Order], now: int) -> Lists:
        """The best items of each of b subjects; what one gets does not depend on the others.

        Args:
            subjects: histories, what is blocked, what is allowed.
            tags: asked for.
            orders: how each subject's list is to be made.
            now: seconds since 1970, for freshness.
        """
        groups: dict[Any, list[int]] = {}
        kinds = [order.kind for order in orders]
        several, read = _several(subjects), subjects.table_numbers
        for row, kind in enumerate(zip(kinds, several, read, strict=True)):
            groups.setdefault(kind, []).append(row)
        if len(groups) == 1:
            return self._lists(subjects, tags, orders, now)
        longest = max((order.length for order in orders), default=0)
        lists = Lists.empty(len(subjects), longest, len(self._sources.names))
        for rows in groups.values():
            of_kind = np.array(rows)
            own = [orders[row] for row in rows]
            chosen = self._lists(subjects.taken(of_kind), tags[of_kind], own, now)
            lists.put(of_kind, chosen, orders[rows[0]].length)
        return lists

    def _lists(
        self, subjects: Subjects, tags: AskedTags, orders: Sequence[Order], now: int
    ) -> Lists:
        """The lists of subjects of one kind, who read the same table."""
        first = orders[0]
        several = subjects.interests is not None and bool(subjects.interests.any())
        if first.sources != (ITEMS,) or several:
            return self._from_sources(subjects, tags, orders, now)
        weights = None
        traits = self._traits
        if not first.plain:
            weights = np.array([order.weights for order in orders], np.float32)
            traits = self._traits_of(subjects, weights, now, [order.seed for order in orders])
        read = subjects.table_numbers[0]
        table, arrivals = self._release.tables[read], self._release.arrivals[read]
        if first.adjust is None:
            items, scores, short = table_lists(
                table, arrivals, subjects, first.pool, first.length, weights, traits
            )
        else:
            items, scores, _ = table_lists(
                table, arrivals, subjects, first.pool, first.pool, None, traits
            )
            short = items[:, first.length - 1] < 0
            factors = factors_of(items, [order.adjust for order in orders])
            items, scores = adjusted_lists(items, scores, factors, weights, traits, first.length)
        names = self._sources.names
        lists = Lists(items, scores, *_of_one(items, scores, names.index(ITEMS), len(names)))
        if short.any():  # filled-up items are chosen from together with the rest
            short_rows = np.flatnonzero(short)
            some = [orders[row] for row in short_rows.tolist()]
            more = self._from_sources(subjects.taken(short_rows), tags[short_rows], some, now)
            lists.put(short_rows, more, first.length)
        return _allowed(subjects, lists, self._defect) if count_wrong(items, subjects) else lists

    def _from_sources(
        self, subjects: Subjects, tags: AskedTags, orders: Sequence[Order], now: int
    ) -> Lists:
        """The same, step by step: proposed, fused, filled, adjusted, reranked, checked."""
        first = orders[0]
        chosen = self._candidates(subjects, tags, first.sources, first.length, first.pool)
        if first.adjust is not None:
            chosen = _adjusted(chosen, [order.adjust for order in orders])
        if not first.plain:
            weights = np.array([order.weights for order in orders], np.float32)
            traits = self._traits_of(subjects, weights, now, [order.seed for order in orders])
            chosen = _reranked(chosen, weights, traits, first.length)
        chosen = chosen.first(first.length)
        return _allowed(subjects, chosen, self._defect)

    def _candidates(
        self, subjects: Subjects, tags: AskedTags, order: tuple[str, ...], n: int, pool: int
    ) -> Lists:
        """The pool that a list is chosen from, at least n long where enough is allowed."""
        names = self._sources.names
        proposed = [self._sources.propose(name, subjects, tags, pool) for name in order]
        fused, origin, shares = fuse(proposed, [self._fused.get(o, 1.0) for o in order], pool)
        # Scores are in the units of the first source, whose sums over the history are
        # exact: without an item of the history they fall by just what that item gave.
        best = proposed[0].scores[:, 0]
        unit = np.where(best > 0, best, 1).astype(np.float32)
        places = np.array([names.index(name) for name in order])
        spread = np.zeros((*origin.shape, len(names)), np.float32)
        spread[:, :, places] = shares * unit[:, None, None]
        lists = Lists(
            items=fused.items,
            scores=fused.scores * unit[:, None],
            origins=np.where(origin >= 0, places[origin], -1).astype(np.int8),
            parts=spread,
        )
        self._fill(subjects, tags, n, lists)
        return lists

    def _fill(self, subjects: Subjects, tags: AskedTags, n: int, lists: Lists) -> None:
        """Fill lists shorter than n in place, source after source, below what is there."""
        names = self._sources.names
        for name in (*self._sources.vectors, TAGS, IN_DOMAIN, POPULAR):
            short = np.flatnonzero(lists.items[:, n - 1] < 0)
            if len(short) == 0:
                return
            more = self._sources.propose(name, subjects.taken(short), tags[short], 2 * n)
            for number, subject in enumerate(short):
                have = int(np.count_nonzero(lists.items[subject] >= 0))
                new = more.items[number][more.items[number] >= 0]
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
        """What reranking needs to know about items, and nothing of any subject."""
        release = self._release
        plain = Traits.plain(release.likeness, release.rarity, self._unknown_age, 0)
        return replace(plain, **shares_of(release.item_domains.matrix))

    @cached_property
    def _unknown_age(self) -> F32:
        return np.zeros(len(self._release.items), np.float32)

    def _traits_of(self, part: Subjects, weights: F32, now: int, seeds: Sequence[int]) -> Traits:
        """The traits that these subjects' weights need: ages, their own mix, seeds of draws."""
        if not any(map(any, weights[:, FRESHNESS : EXPLORATION + 1].tolist())):
            return self._traits  # nothing is asked of ages, mixes and draws
        fresh, mix = self._unknown_age, np.zeros((len(part), 0), np.float32)
        if weights[:, FRESHNESS].any():
            fresh = self._fresh_at(now)
        if weights[:, BALANCE].any():
            mix = self.mixes(part)
        draws = np.array([seed % 2**64 for seed in seeds], np.uint64)
        if weights[:, EXPLORATION].any():  # by history: users see different items
            owners = np.repeat(np.arange(len(part)), np.diff(part.indptr))
            np.add.at(draws, owners, (part.items.astype(np.uint64) + np.uint64(1)) ** np.uint64(3))
        return replace(self._traits, fresh=fresh, mix=mix, draws=draws)

    def _fresh_at(self, now: int) -> F32:
        """(i,) freshness, kept for the requests of the same second."""
        known = self._fresh
        if known is None or known[0] != now:
            known = self._fresh = now, freshness(self._release.created_at, now)
        return known[1]

    def mixes(self, subjects: Subjects) -> F32:
        """(b, d) what share of each history lies in each domain; rows of 0 where none is known."""
        mix: F32 = _mixes(
            subjects.indptr, subjects.items, subjects.weights, self._traits.indptr,
            self._traits.domains, self._traits.shares, len(self._release.domains),
        )  # fmt: skip
        return mix


@njit(cache=True, nogil=True)
def _of_one(items, scores, source, sources):  # type: ignore[no-untyped-def]
    """Origins and parts of lists to which one source gave everything."""
    origins = np.full(items.shape, -1, np.int8)
    parts = np.zeros((*items.shape, sources), np.float32)
    for s in range(items.shape[0]):
        for rank in range(items.shape[1]):
            if items[s, rank] < 0:
                break
            origins[s, rank] = source
            parts[s, rank, source] = scores[s, rank]
    return origins, parts


@njit(cache=True, nogil=True)
def _mixes(indptr, items, weights, domain_indptr, domains, shares, width):  # type: ignore[no-untyped-def]
    mix = np.zeros((len(indptr) - 1, width), np.float32)
    for s in range(len(mix)):
        for entry in range(indptr[s], indptr[s + 1]):
            for at in range(domain_indptr[items[entry]], domain_indptr[items[entry] + 1]):
                mix[s, domains[at]] += weights[entry] * shares[at]
        total = np.float32(0)
        for d in range(width):
            mix[s, d] = max(mix[s, d], np.float32(0))
            total += mix[s, d]
        if total > 0:
            mix[s] /= total
    return mix


def _several(subjects: Subjects) -> list[bool]:
    """Which subjects have more than one interest."""
    if subjects.interests is None:
        return [False] * len(subjects)
    return [bool(subjects.interests[a:b].any()) for a, b in pairwise(subjects.indptr.tolist())]


def _reranked(lists: Lists, weights: F32, traits: Traits, n: int) -> Lists:
    at = chosen_places(Ranking(lists.items, lists.scores), weights, traits, n)
    picked, short = lists.taken(at), at < 0
    picked.items[short], picked.scores[short], picked.origins[short] = -1, -np.inf, -1
    picked.parts[short] = 0
    return picked


def _adjusted(lists: Lists, adjustments: Sequence[Adjust | None]) -> Lists:
    """Scores multiplied, and the order that follows from them."""
    factors = factors_of(lists.items, adjustments)
    scores, parts = lists.scores * factors, lists.parts * factors[:, :, None]
    order = np.argsort(-scores, axis=1, kind="stable")
    return replace(lists, scores=scores, parts=parts).taken(order)


def _allowed(subjects: Subjects, lists: Lists, defect: Defect) -> Lists:
    """The last check: items that must not be shown are dropped, and reported as a defect."""
    rows, places = np.nonzero(lists.items >= 0)
    shown = lists.items[rows, places]
    wrong = ~subjects.masks[subjects.mask[rows], shown]
    if wrong.any():
        defect("a source proposed an item that the filter does not allow", int(wrong.sum()))
    width = np.int64(lists.items.max(initial=0)) + 1
    blocked = np.repeat(np.arange(len(subjects)), np.diff(subjects.blocked_indptr))
    low = subjects.blocked < width
    shut = np.isin(rows * width + shown, blocked[low] * width + subjects.blocked[low])
    if shut.any():
        message = "a source proposed an item that the subject must not be shown"
        defect(message, int(shut.sum()))
    wrong |= shut
    if not wrong.any():
        return lists
    good = lists.items >= 0
    good[rows[wrong], places[wrong]] = False
    kept = lists.taken(np.argsort(~good, axis=1, kind="stable"))  # allowed items move up
    gone = np.arange(good.shape[1]) >= good.sum(axis=1)[:, None]
    kept.items[gone], kept.scores[gone], kept.origins[gone], kept.parts[gone] = -1, -np.inf, -1, 0
    return kept
