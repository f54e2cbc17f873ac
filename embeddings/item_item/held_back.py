"""The parts of the data by which a recipe is chosen, and from which it does not learn.

Three of them resemble what will be asked later: entries drawn at random, the end of each history
if there is an order, and users of whom nothing was learned. Rare items of the first two are
counted a second time, as a part of their own. `Trial` fits on the rest and judges all parts
together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import sparse

from embeddings.hold_out import part, places, rows_of
from embeddings.item_item.follows import follow_table
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.judge import TOP, Judge, PerUser
from embeddings.item_item.recency import RecencyJudge, recency_judge, shuffled
from embeddings.item_item.scorers import Feature
from embeddings.item_item.side_by_side import Targets
from embeddings.item_item.worth import Findings
from graph.arrays import F32, I32, I64, Flags

RANDOM, LATER, NEWCOMERS, RARE = 1.0, 2.0, 0.25, 0.5
"""Weights of the parts' NDCG@20 and Recall@20. The end of a history is found about half as easily
as a random part, and is what will be asked for."""
HEAD = 0.5
"""The fewest items that hold this share of all entries are the head; all others are rare."""
KNOWN = 0.5
"""The share of a newcomer's entries that is known, the oldest first; the rest is to be found."""
FEWEST_NEWCOMERS = 50


SEARCHED, SEARCHED_SHARE = 6_000, 0.1
"""While the form of a ridge is chosen, only so many items of a large catalogue are ranked. Each
target is a regression of its own, and a few of them tell which penalty suits all."""


Mixtures = Callable[[F32, F32], Findings]


@dataclass(frozen=True)
class HeldBack:
    """The parts by which a recipe is chosen, and from which nothing is learned."""

    select: sparse.csr_matrix
    """(u, i) the entries of the likes that are held back and to be found."""
    seen: sparse.csr_matrix | None = None
    """(u, i) what users have seen besides what they like: never ranked, as in serving."""
    features: Sequence[Feature] | None = None
    """Used in place of the features, as many, in the same order; they give no held entry away."""
    order: sparse.csr_matrix | None = None
    """(u, i) the order in which likes came, see `recency.order_of`; None: unknown."""
    later: sparse.csr_matrix | None = None
    """(u, i) the last entries of each history, held back, too; none of them is in `select`."""
    newcomers: Flags | None = None
    """(u,) users of whom nothing at all is learned."""

    def among(self, items: I64) -> "HeldBack":
        """The same of these items alone, in this order; other items lose their columns."""

        def narrowed(matrix: sparse.csr_matrix | None) -> sparse.csr_matrix | None:
            return None if matrix is None else sparse.csr_matrix(matrix[:, items])

        return replace(
            self,
            select=sparse.csr_matrix(self.select[:, items]),
            seen=narrowed(self.seen),
            features=None if self.features is None else features_among(self.features, items),
            order=narrowed(self.order),
            later=narrowed(self.later),
        )


class Trial:
    """One way to hold back: what is left to learn from, and how well it finds the parts."""

    def __init__(
        self,
        users: sparse.csr_matrix,
        held: HeldBack,
        features: Sequence[Feature],
        sample: int,
        seed: int,
        threads: int,
    ) -> None:
        self.features = features if held.features is None else held.features
        fit = learned_from(users, held)
        self.fit = fit
        new, gone = held.newcomers, _withheld(held)
        seen = users if held.seen is None else held.seen
        settings = seed, threads, seen
        large = [(RANDOM, held.select)]
        if held.later is not None:
            large.append((LATER, held.later))
        share = sample // (1 + len(large))
        rare = sparse.csr_matrix(gone @ sparse.diags(_rare(fit)))
        rare.eliminate_zeros()
        parts = [(weight, Judge(fit, entries, share, *settings)) for weight, entries in large]
        parts.append((RARE, Judge(fit, rare, sample // 6, *settings)))
        newcomers = []
        if new is not None and np.count_nonzero(new) >= FEWEST_NEWCOMERS:
            known, wanted_entries = _halves(users, new, held.order, seed)
            newcomers.append(Judge(known, wanted_entries, sample // 6, *settings))
            parts.append((NEWCOMERS, newcomers[0]))
        self._parts = [(weight, judge) for weight, judge in parts if judge.users.size]
        self.short = [judge for judge in (parts[0][1], *newcomers) if judge.users.size]
        """Those by whose histories, cut short, it is judged how short ones are read."""
        self.users = int(parts[0][1].users.size)
        self.searched = _drawn_items(fit.shape[1], seed)
        among = sparse.diags(self.searched.astype(np.float32))
        self._quick = []
        for weight, entries in large:
            wanted = sparse.csr_matrix(entries @ among)
            wanted.eliminate_zeros()
            judge = Judge(fit, wanted, sample // len(large), *settings)
            self._quick += [(weight, judge)] if judge.users.size else []
        self.by_order = None
        if held.order is not None:
            self.by_order = recency_judge(fit, gone, held.order, sample, *settings)
        self._by: Callable[[sparse.csr_matrix], RecencyJudge] = partial(
            recency_judge, fit, gone, sample=sample, seed=seed, threads=threads, seen=seen
        )
        self.order, self.seed, self._threads = held.order, seed, threads
        histories = [judge.histories for _, judge in self._parts]
        if held.order is not None:
            ends = np.flatnonzero(np.diff(gone.indptr) > 0)
            histories += [entries[ends] for entries in (fit, gone, seen)]
        item_rows = np.zeros(fit.shape[1], np.bool_)
        for entries in histories:
            item_rows[entries.indices] = True
        self.item_rows = np.flatnonzero(item_rows).astype(np.int32)
        """(r,) the items in the histories of those who judge: only what these speak for counts."""

    def by_chance(self, draw: int) -> RecencyJudge:
        """`by_order` with the order shuffled, to see what is gained by chance."""
        assert self.order is not None
        return self._by(shuffled(self.order, draw))

    def followers(self, draw: int | None = None) -> ItemTable:
        """What follows what in the part that may be learned from; `draw`: in a shuffled order."""
        assert self.order is not None
        order = self.order if draw is None else shuffled(self.order, draw)
        return follow_table(self.fit, order, threads=self._threads)

    def __call__(self, supports: I32, scores: F32) -> tuple[float, float]:
        """The weighted mean of NDCG@20 and of Recall@20 over the parts."""
        return self.findings(supports, scores).quality

    def findings(self, supports: I32, scores: F32) -> Findings:
        """What is found of every part."""
        return _findings(
            self._parts, [judge.per_user(supports, scores) for _, judge in self._parts]
        )

    def quick(self, supports: I32, scores: F32) -> Findings:
        """What is found of the random and the later part, among the items `searched`.

        Of a seventh of the items the first 3 of a list stand for the first 20 of all. Deeper down
        other penalties are best, and few items tell little: see `Findings.longer`.
        """
        depth = max(round(TOP * self.searched.mean()), 1)
        both = [judge.at_depths(supports, scores, [depth, TOP]) for _, judge in self._quick]
        short, longer = (_findings(self._quick, [of[at] for of in both]) for at in (0, 1))
        return short if depth == TOP else replace(short, longer=longer)

    def by_popularity(
        self, targets: Targets, scores: F32, popularity: F32, exponents: Sequence[float]
    ) -> list[Findings]:
        """What scores (r, c) find with history items times each power of their popularity (i,)."""
        by_part = []
        for _, judge in self._parts:
            of_items = popularity[judge.histories.indices]
            weights = np.column_stack([judge.histories.data * of_items**e for e in exponents])
            by_part.append(judge.by_weightings(targets, scores, weights))
        return [_findings(self._parts, findings) for findings in zip(*by_part, strict=True)]

    def mixtures(self, targets: Targets, scores: F32) -> Mixtures:
        """What mixtures of scores (r, c, s) find: of weights (s,) and factors (i,) of targets."""
        lists = [judge.short_lists(targets, scores) for _, judge in self._parts]

        def mixed(weights: F32, factors: F32) -> Findings:
            return _findings(
                self._parts,
                [lists_of_part.per_user(weights, factors, TOP) for lists_of_part in lists],
            )

        return mixed


def features_among(features: Sequence[Feature], items: I64) -> list[Feature]:
    """The features of these items alone, in this order."""
    return [replace(entry, rows=sparse.csr_matrix(entry.rows[:, items])) for entry in features]


def _findings(parts: Sequence[tuple[float, Judge]], findings: Sequence[PerUser]) -> Findings:
    total = sum(weight for weight, _ in parts)
    return Findings(
        tuple(
            (weight / total, figures) for (weight, _), figures in zip(parts, findings, strict=True)
        )
    )


def _drawn_items(items: int, seed: int) -> Flags:
    """(i,) the items that are ranked: all of them, or a random part of a large catalogue."""
    count = max(SEARCHED, int(SEARCHED_SHARE * items))
    drawn = np.zeros(items, np.bool_)
    drawn[np.random.default_rng(seed).permutation(items)[:count]] = True
    return drawn


def learned_from(users: sparse.csr_matrix, held: HeldBack) -> sparse.csr_matrix:
    """`users` (u, i) less all that is held back."""
    fit = without(users, _withheld(held))
    if held.newcomers is not None:
        known = sparse.diags((~held.newcomers).astype(np.float32))
        fit = sparse.csr_matrix(known @ fit, dtype=np.float32)
        fit.eliminate_zeros()
    return fit


def _withheld(held: HeldBack) -> sparse.csr_matrix:
    return held.select if held.later is None else sparse.csr_matrix(held.select + held.later)


def without(users: sparse.csr_matrix, select: sparse.csr_matrix) -> sparse.csr_matrix:
    """`users` (u, i) less the entries that `select` (u, i) has; ValueError when shapes differ."""
    if select.shape != users.shape:
        raise ValueError(f"select is {select.shape}, user_items {users.shape}")
    ones = np.ones(select.nnz, np.float32)
    held = sparse.csr_matrix((ones, select.indices, select.indptr), shape=users.shape)
    kept = sparse.csr_matrix(users - users.multiply(held))
    kept.eliminate_zeros()
    kept.sort_indices()
    return kept


def _rare(users: sparse.csr_matrix) -> F32:
    """(i,) 1 for the items that are not in the head, see `HEAD`."""
    counts = np.bincount(users.indices, minlength=users.shape[1])
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    rare = np.zeros(len(counts), np.float32)
    rare[order] = before >= HEAD * users.nnz
    return rare


def _halves(
    users: sparse.csr_matrix,
    chosen: Flags,
    order: sparse.csr_matrix | None,
    seed: int,
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """The known entries of the chosen users, and those to be found: both (u, i)."""
    rows = rows_of(users)
    drawn = np.random.default_rng(seed).random(users.nnz)
    when = np.zeros(users.nnz) if order is None else order[rows, users.indices].A1
    position, sizes = places(rows, when, drawn)
    known = position < np.ceil(KNOWN * sizes)
    of_chosen = chosen[rows]
    return part(users, of_chosen & known), part(users, of_chosen & ~known)
