"""Several interests of one subject: the groups a history falls into, and candidates from each.

A history is halved along the direction in which its items vary most (Boley 1998,
doi:10.1023/A:1009740529316), the halves are refined by spherical 2-means (Dhillon & Modha 2001,
doi:10.1023/A:1007612920971). They stay two groups if their middles are unlike enough and both are
large enough. Then the heaviest group is tried next. Nothing is random. A history that
is not split stays one group, and its list does not change.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from numba import njit

from embeddings.item_item.item_table import ItemTable
from graph.arrays import F32, I32, I64
from recommender.ranking.candidates import (
    Ranking,
    Subjects,
    arriving,
    follows_read,
    from_table,
    row_of,
)
from recommender.releases.arrivals import Arrivals

MOST = 5  # interests of a subject
FEWEST_ITEMS = 3  # in each
SMALLEST = 0.1  # share of the history's weight in each
APART = 0.6  # cosine of the middles, below which two groups are two interests
_ROUNDS = 8  # of power iteration, and of 2-means


def interests_of(likeness: F32, subjects: Subjects) -> I32:
    """(h,) which interest each entry of the histories belongs to, from 0, the heaviest first.

    Args:
        likeness: (i, d) unit vectors of the items.
        subjects: weights of their histories; those below zero count as zero.
    """
    labels = np.zeros(len(subjects.items), np.int32)
    for start, stop in zip(subjects.indptr[:-1], subjects.indptr[1:], strict=True):
        if stop - start >= 2 * FEWEST_ITEMS:
            own = slice(start, stop)
            weights = np.maximum(subjects.weights[own], np.float32(0))
            groups = _grouped(likeness[subjects.items[own]], weights)
            heaviest = np.argsort(-np.bincount(groups, weights, MOST), kind="stable")
            labels[own] = np.argsort(heaviest)[groups]
    return labels


def shares_of_interests(labels: I32, weights: F32) -> F32:
    """(g,) what share of a history's weight lies in each of its g interests."""
    sums = np.bincount(labels, np.maximum(weights, 0))
    shares: F32 = (sums / max(sums.sum(), 1e-12)).astype(np.float32)
    return shares


def propose(
    table: ItemTable, subjects: Subjects, n: int, arrivals: Arrivals | None = None
) -> Ranking:
    """The n best of what each interest proposes by itself, in proportion to the interests.

    Scores are those of the whole history, as `from_table` gives them; ties go to the lower row.

    Args:
        table: of a release.
        subjects: b of them, with `interests`.
        n: candidates per subject.
        arrivals: the items behind the table's own; None: there are none.
    """
    assert subjects.interests is not None
    rows = np.full((len(subjects), n), -1, np.int32)
    scores = np.full((len(subjects), n), -np.inf, np.float32)
    for number in range(len(subjects)):
        subject = subjects.part(number, number + 1)
        assert subject.interests is not None
        shares = shares_of_interests(subject.interests, subject.weights)
        own = from_table(table, _apart(subject, len(shares)), n, arrivals).items  # (g, n)
        turn = _turns(np.repeat(np.arange(len(shares)), n), shares)
        order = turn[own.ravel()[turn] >= 0]
        distinct, first = np.unique(own.ravel()[order], return_index=True)
        pool = distinct[np.argsort(first)][:n]
        total = voices(table, subject, pool, arrivals).sum(axis=1)
        best = np.lexsort((pool, -total))[: np.count_nonzero(total > 0)]
        rows[number, : len(best)], scores[number, : len(best)] = pool[best], total[best]
    return Ranking(rows, scores)


def voices(table: ItemTable, subject: Subjects, pool: I32, arrivals: Arrivals | None = None) -> F32:
    """(c, g) what each interest of a single subject adds to the table's score of c items."""
    assert subject.interests is not None
    behind = (arrivals or Arrivals.none(len(table.neighbours))).arrays
    added: F32 = _voices(
        table.neighbours,
        table.scores,
        behind,
        subject.items,
        subject.weights,
        follows_read(table, subject),
        subject.interests,
        pool,
    )
    return added


def shown_first(labels: I32, shares: F32, n: int) -> I64:
    """(c,) an order of a pool; its first n hold each interest in proportion to its share.

    Both the first n and the rest keep their old order among themselves. An item of no interest,
    label -1, keeps its place if it was among the first n, and counts for no interest.
    """
    free = np.flatnonzero(labels[:n] < 0)
    belonging = np.flatnonzero(labels >= 0)
    taken = belonging[_turns(labels[belonging], shares)[: n - len(free)]]
    chosen = np.zeros(len(labels), np.bool_)
    chosen[free] = chosen[taken] = True
    return np.concatenate([np.flatnonzero(chosen), np.flatnonzero(~chosen)])


def _turns(labels: npt.NDArray[np.integer], shares: F32) -> I64:
    """The order in which items take places, so that any first places are shared in proportion.

    The r-th of an interest with share s has its turn at (r - 1/2) / s: the method of Webster.
    """
    by_label = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=len(shares))
    rank = np.empty(len(labels))
    rank[by_label] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    turn: I64 = np.argsort((rank + 0.5) / np.maximum(shares[labels], 1e-12), kind="stable")
    return turn


def _apart(subject: Subjects, count: int) -> Subjects:
    """Each interest of a single subject as a subject of its own."""
    assert subject.interests is not None
    order = np.argsort(subject.interests, kind="stable")
    sizes = np.bincount(subject.interests, minlength=count)
    return replace(
        subject,
        indptr=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        items=subject.items[order],
        weights=subject.weights[order],
        newest=None if subject.newest is None else subject.newest[order],
        reads=None,
        blocked_indptr=np.arange(count + 1, dtype=np.int64) * len(subject.blocked),
        blocked=np.tile(subject.blocked, count),
        mask=np.repeat(subject.mask, count),
        interests=None,
    )


@njit(cache=True, nogil=True)
def _voices(neighbours, strengths, arrivals, items, weights, follows, labels, pool):  # type: ignore[no-untyped-def]
    scores = np.zeros((len(pool), labels.max() + 1), np.float32)
    position = np.full(neighbours.shape[0] + len(arrivals[0]), -1, np.int32)
    targets, gains = arrivals[4], arrivals[5]
    after, worth, newest = follows
    for at in range(len(pool)):
        position[pool[at]] = at
    for entry in range(len(items)):
        item, weight, label = items[entry], weights[entry], labels[entry]
        row, worths = row_of(neighbours, strengths, arrivals, item)
        for k in range(len(row)):
            neighbour = row[k]
            if neighbour < 0:
                break
            if position[neighbour] >= 0:
                scores[position[neighbour], label] += weight * worths[k]
        start, stop = arriving(arrivals, item)
        for k in range(start, stop):
            if position[targets[k]] >= 0:
                scores[position[targets[k]], label] += weight * gains[k]
        if item < len(after):
            for k in range(after.shape[1]):
                following = after[item, k]
                if following < 0:
                    break
                if position[following] >= 0:
                    scores[position[following], label] += newest[entry] * worth[item, k]
    return scores


@njit(cache=True, nogil=True)
def _grouped(vectors, weights):  # type: ignore[no-untyped-def]
    """(h,) groups of a history's vectors (h, d), in the order they were found."""
    labels = np.zeros(len(vectors), np.int32)
    indivisible = np.zeros(MOST, np.bool_)  # cannot be halved
    sums = np.zeros(MOST, np.float32)
    sums[0] = weights.sum()
    least = np.float32(SMALLEST) * sums[0]
    count = 1
    while count < MOST:
        heaviest = -1
        for group in range(count):
            free = not indivisible[group] and sums[group] >= 2 * least
            if free and (heaviest < 0 or sums[group] > sums[heaviest]):
                heaviest = group
        if heaviest < 0 or least <= 0:
            break
        members = np.flatnonzero(labels == heaviest)
        second_half, alike = _halved(vectors[members], weights[members])
        inside = weights[members][second_half].sum()
        fewer = min(second_half.sum(), len(members) - second_half.sum())
        smaller = min(inside, sums[heaviest] - inside)
        if alike < APART and fewer >= FEWEST_ITEMS and smaller >= least:
            labels[members[second_half]] = count
            sums[count] = inside
            sums[heaviest] -= inside
            count += 1
        else:
            indivisible[heaviest] = True
    return labels


@njit(cache=True, nogil=True)
def _halved(vectors, weights):  # type: ignore[no-untyped-def]
    """Which vectors (h, d) lie in the second half, and the cosine of the halves' middles."""
    middle = _sum(vectors, weights, np.ones(len(vectors), np.bool_), True) / weights.sum()
    differences = vectors - middle
    spread = np.empty(len(vectors), np.float32)
    for at in range(len(vectors)):
        spread[at] = weights[at] * (differences[at] * differences[at]).sum()
    axis = differences[spread.argmax()]  # a beginning that is the same every time
    for _ in range(_ROUNDS):
        pulled = np.zeros_like(axis)
        for at in range(len(vectors)):
            pulled += weights[at] * _product(differences[at], axis) * differences[at]
        axis = pulled / max(np.sqrt((pulled * pulled).sum()), np.float32(1e-12))
    second = np.empty(len(vectors), np.bool_)
    for at in range(len(vectors)):
        second[at] = _product(differences[at], axis) > 0
    alike = np.float32(1)
    for _ in range(_ROUNDS):
        here, there = _sum(vectors, weights, second, False), _sum(vectors, weights, second, True)
        here /= max(np.sqrt((here * here).sum()), np.float32(1e-12))
        there /= max(np.sqrt((there * there).sum()), np.float32(1e-12))
        alike = _product(here, there)
        moved = False
        for at in range(len(vectors)):
            side = _product(vectors[at], there) > _product(vectors[at], here)
            moved |= side != second[at]
            second[at] = side
        if not moved:
            break
    return second, alike


@njit(cache=True, nogil=True)
def _sum(vectors, weights, second, side):  # type: ignore[no-untyped-def]
    total = np.zeros(vectors.shape[1], np.float32)
    for at in range(len(vectors)):
        if second[at] == side:
            for d in range(len(total)):
                total[d] += weights[at] * vectors[at, d]
    return total


@njit(cache=True, nogil=True)
def _product(left, right):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for d in range(len(left)):
        total += left[d] * right[d]
    return total
