"""The truncated item-item table that ranks: how to read it, and how scores become a table.

Row s holds the strongest targets j of history item s. A subject's score for j is the weighted sum
over its history of table[s, j]: so the share of each history item is exact, and known users, new
users and sessions cost the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from embeddings.best import add_row, keep_best, sort_best
from embeddings.blocks import in_blocks
from graph.arrays import F32, I32, I64, Flags

WIDER = 2
"""Histories of up to so many times the limit for few items read both tables, added up."""
ROWS_AT_ONCE = 4_096
"""Rows of targets, and of scores at them, that are worked on at once: all of them are wide."""


@dataclass(frozen=True)
class ItemTable:
    """The strongest targets of each item, strongest first; -1 with score 0 pads short rows.

    Strong means far from 0: a negative score says that people who have one item rarely want the
    other, and is worth its place (a table of positive scores alone ranks up to 4 % worse).
    """

    neighbours: I32  # (i, k)
    scores: F32  # (i, k)
    follows: "ItemTable | None" = None
    """What people go on to after each item, read by the newest entries of a history only, which
    have a second weight for that; None: the order of things says nothing. See `follows`."""

    def __post_init__(self) -> None:
        if self.neighbours.ndim != 2 or self.neighbours.shape != self.scores.shape:
            raise ValueError(
                f"neighbours {self.neighbours.shape} and scores {self.scores.shape} must be (i, k)"
            )

    def rows(self, rows: slice) -> "ItemTable":
        """Some of the rows, without what follows."""
        return ItemTable(self.neighbours[rows], self.scores[rows])


@dataclass(frozen=True)
class Transposed:
    """Supports (target-major) read by history item: entry e of item s is one (s, target) pair."""

    indptr: I64  # (i + 1,)
    targets: I32  # (nnz,)
    positions: I64  # (nnz,), into the flattened (r, c) supports


def table_read(items: int, limit: int) -> int:
    """Which table a history of so many different items reads: 0 the item table, 1 that for few
    items, of which `limit` are the most, and 2 the one in which both are added up.
    """
    if items == 0 or items > WIDER * limit:
        return 0
    return 1 if items <= limit else 2


def table_read_by(items: I32, limit: int) -> int:
    """The same for a history (h,), which may hold an item more than once."""
    return table_read(_different(items, WIDER * limit), limit)


def score_history(
    table: ItemTable,
    indptr: NDArray[np.integer[Any]],
    items: I32,
    weights: F32,
    count: int,
    *,
    exclude_history: bool = True,
    threads: int = 1,
) -> tuple[I32, F32]:
    """The `count` best items of each history, strongest first: int32 (b, n), float32 (b, n).

    History b is items[indptr[b]:indptr[b + 1]] with `weights` beside it, of any length. Only
    positive scores are returned; -1 with score 0 pads what is missing, so an empty history gives
    padding. Releases the GIL; `threads` = 1 starts none.
    """
    starts = np.arange(table.neighbours.shape[0] + 1, dtype=np.int64) * table.neighbours.shape[1]
    return score_lists(
        (starts, table.neighbours.ravel(), table.scores.ravel()),
        (indptr, items, weights),
        count,
        exclude_history=exclude_history,
        threads=threads,
    )


def score_lists(
    lists: tuple[I64, I32, F32],
    histories: tuple[NDArray[np.integer[Any]], I32, F32],
    count: int,
    *,
    exclude_history: bool = True,
    threads: int = 1,
) -> tuple[I32, F32]:
    """`score_history` over lists of any length, as (indptr, targets, scores)."""
    indptr, items, weights = histories
    batch = len(indptr) - 1
    rows = np.full((batch, count), -1, np.int32)
    scores = np.zeros((batch, count), np.float32)
    if count == 0 or len(lists[0]) <= 1:
        return rows, scores
    starts = np.ascontiguousarray(indptr, np.int64)
    members = np.ascontiguousarray(items, np.int32)
    amounts = np.ascontiguousarray(weights, np.float32)

    def block(low: int, high: int) -> None:
        _score(*lists, starts, members, amounts, exclude_history, rows, scores, low, high)

    in_blocks(block, batch, threads)
    return rows, scores


def transpose(supports: I32, targets: I32 | None = None, items: int | None = None) -> Transposed:
    """Turn target-major supports (r, c) round, so that they can be read from a history.

    Their rows are those of `targets` (r,) from a catalogue of `items`, or of all.
    """
    item_rows = np.arange(len(supports), dtype=np.int32) if targets is None else targets
    return Transposed(*_transpose(supports, item_rows, len(supports) if items is None else items))


def truncate(turned: Transposed, blended: F32, width: int) -> ItemTable:
    """Keep the `width` strongest targets of each item; `blended` is (r, c) like supports."""
    items = len(turned.indptr) - 1
    neighbours = np.full((items, width), -1, np.int32)
    scores = np.zeros((items, width), np.float32)
    values = blended.ravel()
    for begin in range(0, items if width else 0, ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        starts = turned.indptr[begin : begin + ROWS_AT_ONCE + 1]
        own = slice(*starts[[0, -1]].tolist())
        _truncate(
            starts - starts[0], turned.targets[own], values[turned.positions[own]],
            neighbours[rows], scores[rows],
        )  # fmt: skip
    return ItemTable(neighbours, scores)


def strongest(supports: I32, blended: F32, width: int) -> ItemTable:
    """Keep the `width` strongest targets of each item: supports and scores are (i, c)."""
    count = supports.shape[1]
    starts = np.arange(len(supports) + 1, dtype=np.int64) * count
    neighbours = np.full((len(supports), width), -1, np.int32)
    scores = np.zeros((len(supports), width), np.float32)
    if width and len(supports):
        values = np.where(supports >= 0, blended, 0).astype(np.float32, copy=False).ravel()
        _truncate(starts, supports.ravel(), values, neighbours, scores)
    return ItemTable(neighbours, scores)


def added(table: ItemTable, other: ItemTable, share: float, width: int) -> ItemTable:
    """The `width` strongest of a table's scores plus `share` times another's, row by row."""
    count = len(table.neighbours)
    neighbours = np.full((count, width), -1, np.int32)
    scores = np.zeros((count, width), np.float32)
    targets = max(int(each.neighbours.max(initial=-1)) for each in (table, other)) + 1
    for begin in range(0, count, ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        both = _as_matrix(table.rows(rows), targets)
        both = both + np.float32(share) * _as_matrix(other.rows(rows), targets)
        entries = both.indptr.astype(np.int64), both.indices, both.data
        _truncate(*entries, neighbours[rows], scores[rows])
    return ItemTable(neighbours, scores)


def _as_matrix(table: ItemTable, targets: int) -> sparse.csr_matrix:
    """(r, targets) the same scores."""
    there = table.neighbours >= 0
    starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return sparse.csr_matrix(
        (table.scores[there], table.neighbours[there], starts), (len(there), targets)
    )


def strongest_entries(matrix: sparse.csr_matrix, width: int) -> ItemTable:
    """The `width` largest positive entries of each row (b, i): neighbours are its columns."""
    rows = sparse.csr_matrix(matrix, dtype=np.float32)
    neighbours = np.full((rows.shape[0], width), -1, np.int32)
    scores = np.zeros((rows.shape[0], width), np.float32)
    starts = rows.indptr.astype(np.int64)
    _truncate(starts, rows.indices, np.maximum(rows.data, 0), neighbours, scores)
    return ItemTable(neighbours, scores)


def replaced(table: ItemTable, kept: Flags, new: sparse.csr_matrix, width: int) -> ItemTable:
    """The strongest of the entries `kept` (i, k) of a table and of `new` (i, i), row by row."""
    neighbours = np.full((len(table.neighbours), width), -1, np.int32)
    scores = np.zeros(neighbours.shape, np.float32)
    entries = new.indptr.astype(np.int64), new.indices, new.data
    _replace(table.neighbours, table.scores, kept, *entries, neighbours, scores)
    return ItemTable(neighbours, scores)


def look_up(table: ItemTable, supports: I32, begin: int = 0) -> F32:
    """The table's scores at other pairs: float32 (r, c), 0 where the table has none.

    The rows of supports (r, c) are those of the items `begin` and following.
    """
    scores = np.zeros(supports.shape, np.float32)
    _look_up(table.neighbours, table.scores, supports, scores, begin)
    return scores


def history_of(user_items: sparse.csr_matrix, users: I64) -> sparse.csr_matrix:
    """The rows of `users`, with sorted int32 columns and float32 weights."""
    rows = sparse.csr_matrix(user_items[users], dtype=np.float32)
    rows.sort_indices()
    return rows


@njit(cache=True, nogil=True)
def _different(items, most):  # type: ignore[no-untyped-def]
    """How many different items there are; beyond `most`, one more than that."""
    count = 0
    for at in range(len(items)):
        new = True
        for before in range(at):
            new &= items[before] != items[at]
        count += new
        if count > most:
            break
    return count


@njit(cache=True, nogil=True)
def _score(  # type: ignore[no-untyped-def]
    starts, targets, values, indptr, items, weights, exclude, rows, scores, low, high
):
    items_known = len(starts) - 1
    sums = np.zeros(items_known, np.float32)
    seen = np.zeros(items_known, np.uint8)  # 1: in `touched`
    touched = np.empty(items_known + 1, np.int32)
    for subject in range(low, high):
        own, best = rows[subject], scores[subject]
        count = 0
        for h in range(indptr[subject], indptr[subject + 1]):
            begin, end = starts[items[h]], starts[items[h] + 1]
            row, worths = targets[begin:end], values[begin:end]
            count = add_row(row, worths, weights[h], sums, seen, touched, count)
        if exclude:
            for h in range(indptr[subject], indptr[subject + 1]):
                sums[items[h]] = 0
        size = 0
        for at in range(count):
            target = touched[at]
            if sums[target] > 0:
                size = keep_best(own, best, size, target, sums[target])
            sums[target] = 0
            seen[target] = 0
        sort_best(own, best, size)


@njit(cache=True, nogil=True)
def _transpose(supports, item_rows, items):  # type: ignore[no-untyped-def]
    width = supports.shape[1]
    indptr = np.zeros(items + 1, np.int64)
    for row in range(len(item_rows)):
        for q in range(width):
            if supports[row, q] >= 0:
                indptr[supports[row, q] + 1] += 1
    for item in range(items):
        indptr[item + 1] += indptr[item]
    filled = indptr[:-1].copy()
    targets = np.empty(indptr[items], np.int32)
    positions = np.empty(indptr[items], np.int64)
    for row in range(len(item_rows)):
        for q in range(width):
            item = supports[row, q]
            if item >= 0:
                targets[filled[item]] = item_rows[row]
                positions[filled[item]] = row * width + q
                filled[item] += 1
    return indptr, targets, positions


@njit(cache=True, nogil=True)
def _truncate(indptr, targets, values, neighbours, scores):  # type: ignore[no-untyped-def]
    for item in range(neighbours.shape[0]):
        rows, best = neighbours[item], scores[item]
        size = 0
        for e in range(indptr[item], indptr[item + 1]):
            if values[e] != 0:  # the heap holds sizes; ~target stands for a negative score
                signed = targets[e] if values[e] > 0 else ~targets[e]
                size = keep_best(rows, best, size, signed, abs(values[e]))
        sort_best(rows, best, size)
        for at in range(size):
            if rows[at] < 0:
                rows[at] = ~rows[at]
                best[at] = -best[at]


@njit(cache=True, nogil=True)
def _replace(  # type: ignore[no-untyped-def]
    old, old_scores, kept, indptr, targets, values, neighbours, scores
):
    ends = np.zeros(2, np.int64)
    for item in range(neighbours.shape[0]):
        count = 0
        for at in range(old.shape[1]):
            count += kept[item, at]
        size = count + indptr[item + 1] - indptr[item]
        own, amounts = np.empty(size, np.int32), np.empty(size, np.float32)
        ends[1] = 0
        for at in range(old.shape[1]):
            if kept[item, at]:
                own[ends[1]] = old[item, at]
                amounts[ends[1]] = old_scores[item, at]
                ends[1] += 1
        for e in range(indptr[item], indptr[item + 1]):
            own[ends[1]] = targets[e]
            amounts[ends[1]] = values[e]
            ends[1] += 1
        _truncate(ends, own, amounts, neighbours[item : item + 1], scores[item : item + 1])


@njit(cache=True, nogil=True)
def _look_up(neighbours, scores, supports, found_scores, begin):  # type: ignore[no-untyped-def]
    of_item = np.zeros(neighbours.shape[0], np.float32)
    for number in range(supports.shape[0]):
        row = begin + number
        for at in range(neighbours.shape[1]):
            if neighbours[row, at] < 0:
                break
            of_item[neighbours[row, at]] = scores[row, at]
        for at in range(supports.shape[1]):
            if supports[number, at] < 0:
                break
            found_scores[number, at] = of_item[supports[number, at]]
        for at in range(neighbours.shape[1]):
            if neighbours[row, at] < 0:
                break
            of_item[neighbours[row, at]] = 0
