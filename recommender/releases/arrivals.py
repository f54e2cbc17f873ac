"""The item table's scores for items that came after it.

A new item gets the scores of the items most like it. Its row is read in both directions, because
scores of the table are nearly symmetric: it proposes items, and is proposed to people who chose
items like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from embeddings.best import add_row, keep_best, sort_best
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.likeness import DAMPING, OWN, SHARPNESS, WORTH
from graph.arrays import F32, I32, I64

NEAREST = 100  # items of the release that stand for a new one
WIDTH = 100  # items that a new one speaks for: 1.6 KB of a worker for each new item
HALF = 8.0  # this many people bring a new item half of the way to a chosen one's worth


@dataclass(frozen=True)
class Arrivals:
    """Rows of the items behind a table's own, and the same by the table's items."""

    first: int  # the row of the first of them
    neighbours: I32  # (l, k) items of the table, strongest first, -1 pads
    scores: F32  # (l, k)
    sources: I32  # (s,) items of the table that propose any of them, ascending
    indptr: I64  # (s + 1,)
    targets: I32  # rows of the items behind
    strengths: F32

    @classmethod
    def none(cls, first: int) -> "Arrivals":
        """No items behind the table's own."""
        return cls.of(first, {}, 0)

    @classmethod
    def of(cls, first: int, rows: Mapping[int, tuple[I32, F32]], count: int) -> "Arrivals":
        """From the row of each item that has a place; `count` items are behind."""
        width = max((len(indices) for indices, _ in rows.values()), default=0)
        neighbours = np.full((count, width), -1, np.int32)
        scores = np.zeros((count, width), np.float32)
        for row, (indices, strengths) in rows.items():
            neighbours[row - first, : len(indices)] = indices
            scores[row - first, : len(indices)] = strengths
        return cls._over(first, neighbours, scores)

    @classmethod
    def _over(cls, first: int, neighbours: I32, scores: F32) -> "Arrivals":
        return cls(first, neighbours, scores, *_by_source(neighbours, scores, first))

    def with_(self, rows: I64, neighbours: I32, scores: F32, count: int) -> "Arrivals":
        """The same with other places (n, k), see `placed_rows`, for some rows; `count` are behind.

        Rows that have had no place so far, and get none, propose nothing.
        """
        if np.array_equal(rows, np.arange(self.first, self.first + count)):  # all of them
            return self._over(self.first, neighbours, scores)
        width = max(neighbours.shape[1], self.neighbours.shape[1])
        longer = np.full((count, width), -1, np.int32), np.zeros((count, width), np.float32)
        for made, before, newer in zip(
            longer, (self.neighbours, self.scores), (neighbours, scores), strict=True
        ):
            made[: len(before), : before.shape[1]] = before
            made[rows - self.first] = -1 if made.dtype == np.int32 else 0
            made[rows - self.first, : newer.shape[1]] = newer
        return self._over(self.first, *longer)

    @property
    def arrays(self) -> tuple[I32, F32, I32, I64, I32, F32]:
        """As compiled code takes them."""
        return (
            self.neighbours,
            self.scores,
            self.sources,
            self.indptr,
            self.targets,
            self.strengths,
        )

    def of_item(self, row: int) -> tuple[I32, F32]:
        """The scores between an item, in the table or behind it, and those on the other side."""
        if row >= self.first:
            return self.neighbours[row - self.first], self.scores[row - self.first]
        at = int(np.searchsorted(self.sources, row))
        if at == len(self.sources) or self.sources[at] != row:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        own = slice(int(self.indptr[at]), int(self.indptr[at + 1]))
        return self.targets[own], self.strengths[own]


def placed_rows(table: ItemTable, near: I32, likeness: F32, people: I64) -> tuple[I32, F32]:
    """The rows of n new items: what the items near them speak for, and those items themselves.

    Args:
        table: of the release.
        near: (n, k) items of the table, the most like first; at most `NEAREST` count.
        likeness: (n, k) cosines; items that are not alike (0 or less) count nothing.
        people: (n,) how many chose it so far; each raises its scores towards those of a chosen
            item.

    Returns:
        (n, WIDTH) items, strongest first, -1 after the last; their scores.
    """
    like = np.maximum(likeness[:, :NEAREST].astype(np.float64), 0) ** SHARPNESS
    total = like.sum(axis=1)
    scale = np.where(total > 0, total, 1.0) ** -DAMPING
    grown = 1 - (1 - WORTH) * HALF / (HALF + people)  # `WORTH` at first, 1 when many chose it
    rows, scores = _placed(
        table.neighbours, table.scores, near[:, :NEAREST], like * (scale * grown)[:, None], WIDTH
    )
    return rows, scores


@njit(cache=True, nogil=True)
def _placed(neighbours, strengths, near, like, width):  # type: ignore[no-untyped-def]
    items = len(neighbours)
    sums = np.zeros(items, np.float64)
    state, touched = np.zeros(items, np.uint8), np.empty(items + 1, np.int32)
    rows = np.full((len(near), width), -1, np.int32)
    scores = np.zeros((len(near), width), np.float32)
    best, own = np.empty(width, np.float64), np.empty(1, np.float64)
    every = near.shape[1] * neighbours.shape[1] > items  # then all items are looked at
    for new in range(len(near)):
        count = 0
        for k in range(near.shape[1]):
            row, weight = near[new, k], like[new, k]
            if weight <= 0:
                continue
            own[0] = OWN * max(strengths[row, 0], 0) if strengths.shape[1] else 0  # the strongest
            if every:
                for entry in range(neighbours.shape[1]):
                    if neighbours[row, entry] < 0:
                        break
                    sums[neighbours[row, entry]] += weight * strengths[row, entry]
                sums[row] += weight * own[0]
                continue
            count = add_row(neighbours[row], strengths[row], weight, sums, state, touched, count)
            count = add_row(near[new, k : k + 1], own, weight, sums, state, touched, count)
        kept = 0
        for k in range(items if every else count):
            item = k if every else touched[k]
            if sums[item] > 0:
                kept = keep_best(rows[new], best, kept, item, sums[item])
            sums[item], state[item] = 0, 0
        sort_best(rows[new], best, kept)
        scores[new, :kept] = best[:kept]
    return rows, scores


@njit(cache=True, nogil=True)
def _by_source(neighbours, scores, first):  # type: ignore[no-untyped-def]
    """The same by the items that are proposed from: sources, indptr, targets, strengths."""
    most = 0
    for owner in range(len(neighbours)):
        for row in neighbours[owner]:
            most = max(most, row + 1)
    counts = np.zeros(most, np.int64)
    for owner in range(len(neighbours)):
        for row in neighbours[owner]:
            if row >= 0:
                counts[row] += 1
    sources = np.flatnonzero(counts).astype(np.int32)
    ends = np.cumsum(counts)
    indptr = np.zeros(len(sources) + 1, np.int64)
    indptr[1:] = ends[sources]
    at = ends - counts
    total = counts.sum()
    targets, strengths = np.empty(total, np.int32), np.empty(total, np.float32)
    for owner in range(len(neighbours)):
        for k in range(neighbours.shape[1]):
            row = neighbours[owner, k]
            if row >= 0:
                targets[at[row]], strengths[at[row]] = first + owner, scores[owner, k]
                at[row] += 1
    return sources, indptr, targets, strengths
