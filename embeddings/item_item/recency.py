"""Recent events say more about what comes next: histories weighed by their order.

Only the order of a user's own entries counts, never how long ago they were, so that a session of an
afternoon and a history of ten years are treated alike. Entries of the same moment weigh the same.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.judge import Judge, PerUser
from embeddings.item_item.side_by_side import Targets
from graph.arrays import F32, I32, I64

CUTS = ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0), (0.9, 1.0))
"""A history is cut here: the entries before the first share are to find those up to the second. A
release has to look a fifth ahead; with live events, it knows everything up to the end."""
CLEARLY, DRAWS = 0.01, 2
"""An order must gain more than its shuffles do on average, by at least this much."""


class Way(NamedTuple):
    """How the order of a history is read."""

    recency: float = 0.0
    """An entry weighs (1 + how many came later) to the power -`recency` in the item table, …"""
    weight: float = 0.0
    steepness: float = 0.0
    """… and `weight` x (1 + how many came later)^-`steepness` in the table of what follows what."""


class RecencyJudge(Protocol):
    """Judges scores at their targets by what came next: (b, 2) for each way, at each cut."""

    def __call__(
        self, targets: Targets, scores: F32, ways: Sequence[Way], follows: ItemTable | None = None
    ) -> list[list[PerUser]]:
        """`follows` is the table of what follows what, where a way reads it."""


def order_of(user_items: sparse.csr_matrix, at: I64) -> sparse.csr_matrix:
    """(u, i) float32: 1 for a user's first entry, 1 + how many came earlier for the others.

    `at` (n,) is when each entry of `user_items` happened, in its order.
    """
    order = (1 + _before(user_items.indptr, at)).astype(np.float32)
    made = sparse.csr_matrix(user_items, dtype=np.float32, copy=True)
    made.data = order
    return made


def weighed(
    user_items: sparse.csr_matrix, order: sparse.csr_matrix, exponent: float
) -> sparse.csr_matrix:
    """(u, i) each entry times (1 + how many of the user's came later) to the power -`exponent`.

    `order` (u, i) says when each entry of `user_items` came; it may hold more entries.
    """
    made = sparse.csr_matrix(user_items, dtype=np.float32, copy=True)
    made.sort_indices()
    made.data *= _ranks(user_items, order).data ** np.float32(-exponent)
    return made


def recency_judge(
    fit: sparse.csr_matrix,
    select: sparse.csr_matrix,
    order: sparse.csr_matrix,
    sample: int,
    seed: int,
    threads: int,
    seen: sparse.csr_matrix | None = None,
) -> RecencyJudge:
    """What scores find at their targets: (b, 2) for each way at each cut.

    At each of `CUTS` a history is cut: the entries of `fit` (u, i) before the cut, weighed by their
    order, are to find those of `select` (u, i) that come next. `order` (u, i) says when the
    entries of both came. Other entries of either, and items that were `seen`, are not ranked.
    """
    users = np.flatnonzero(np.diff(select.indptr) > 0)
    most = len(CUTS) * sample  # few users have something to find at every cut
    if len(users) > most:
        users = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
    fit, select, order = fit[users], select[users], order[users]
    met = fit.sign() + select.sign() + (0 * fit if seen is None else seen[users].sign())
    windows = []
    for cut, end in CUTS:
        known = _part(fit, order, 0, cut)
        wanted = _part(select, order, cut, end)
        judge = Judge(known, wanted, sample, seed, threads, met)
        if judge.users.size:
            windows.append((judge, np.maximum(judge.values_of(_ranks(known, order)), 1)))

    def judged(
        targets: Targets, scores: F32, ways: Sequence[Way], follows: ItemTable | None = None
    ) -> list[list[PerUser]]:
        by_cut = []
        for judge, ranks in windows:
            known = judge.histories.data
            weights = np.column_stack([known * ranks**-way.recency for way in ways])
            newest = np.column_stack([known * way.weight * ranks**-way.steepness for way in ways])
            by_cut.append(judge.by_weightings(targets, scores, weights, follows, newest))
        return [list(of_way) for of_way in zip(*by_cut, strict=True)]

    return judged


def shuffled(order: sparse.csr_matrix, seed: int) -> sparse.csr_matrix:
    """(u, i) the same entries, each user's in random order."""
    users = np.repeat(np.arange(order.shape[0]), np.diff(order.indptr))
    drawn = np.random.default_rng(seed).random(order.nnz)
    made = order.copy()
    made.data = order.data[np.lexsort((drawn, users))]
    return made


def order_tells(gain: float, by_chance: Sequence[float]) -> bool:
    """Whether recency gains clearly more by the order of histories than by the same shuffled.

    A gain is the factor by which weighed histories are better than plain ones.
    """
    return gain > float(np.mean(by_chance)) + CLEARLY


def _ranks(user_items: sparse.csr_matrix, order: sparse.csr_matrix) -> sparse.csr_matrix:
    """(u, i) float32: 1 + how many of the user's entries came later, for each of `user_items`."""
    own = sparse.csr_matrix(user_items.sign().multiply(order))
    own.sort_indices()
    own.data = (1 + _before(own.indptr, -own.data)).astype(np.float32)
    return own


def _part(
    entries: sparse.csr_matrix, order: sparse.csr_matrix, begin: float, end: float
) -> sparse.csr_matrix:
    """(u, i) the entries between two shares of a user's history; `end` is included."""
    counts = np.diff(order.indptr)
    age_rank = order.data / np.repeat(counts, counts)
    inside = order.copy()
    inside.data = ((age_rank > begin) & (age_rank <= end)).astype(np.float32)
    part = sparse.csr_matrix(entries.multiply(inside))
    part.eliminate_zeros()
    return part


def _before(starts: I32, values: NDArray[np.number]) -> I64:
    """(n,) how many values of the same row (values[starts[r]:starts[r + 1]]) are smaller."""
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((values, rows))
    position = np.arange(len(values))
    first = np.ones(len(values), bool)  # of a run of equal values
    first[1:] = (np.diff(rows[order]) != 0) | (np.diff(values[order]) != 0)
    begins = np.maximum.accumulate(np.where(first, position, 0))
    smaller = np.empty(len(values), np.int64)
    smaller[order] = begins - np.asarray(starts)[rows[order]]
    return smaller
