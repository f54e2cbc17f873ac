"""Histories scored in several ways at once, in one pass over the lists of their items.

Choosing asks the same histories again and again: with other weights of their entries, with other
mixtures of the same scorers. What costs time is to walk the lists; here they are walked once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from embeddings.best import keep_best, sort_best
from embeddings.blocks import in_blocks
from embeddings.item_item.item_table import ItemTable
from graph.arrays import F32, I32

SHORT = 60
"""A user's short list holds so many targets of each scorer, and of their sum: mixtures rank little
else among their first twenty."""


@dataclass(frozen=True)
class Targets:
    """What some history items speak for: choosing needs it of those in its judges' histories."""

    items: I32  # (r,) the history items
    supports: I32  # (r, c) the targets of each, -1 at the end
    row_of: I32  # (i,) the row of every item; -1: it has none

    @classmethod
    def of(cls, items: I32, supports: I32, count: int) -> "Targets":
        """Supports (r, c) of `items` (r,), from a catalogue of `count`."""
        row_of = np.full(count, -1, np.int32)
        row_of[items] = np.arange(len(items), dtype=np.int32)
        return cls(items, supports, row_of)

    def require(self, histories: sparse.csr_matrix) -> None:
        """Raise ValueError where a history (b, i) holds an item that has no row."""
        missing = self.row_of[histories.indices] < 0
        if missing.any():
            raise ValueError(f"{np.count_nonzero(missing)} entries of histories have no targets")


def score_weightings(
    targets: Targets, scores: F32, histories: sparse.csr_matrix, weights: F32, count: int,
    threads: int = 1, follows: ItemTable | None = None, newest: F32 | None = None,
) -> I32:  # fmt: skip
    """The `count` best items of each history under each of k weightings: int32 (k, b, n).

    Scores are (r, c), as targets; `weights` (nnz, k) stand for the data of `histories` (b, i). As
    `item_table.score_history`: only positive scores, nothing of the history itself, -1 pads what is
    missing. `newest` (nnz, k) are the weights with which the same entries read `follows`.
    """
    targets.require(histories)
    top = np.full((weights.shape[1], histories.shape[0], count), -1, np.int32)
    amounts = np.ascontiguousarray(weights, np.float32)
    starts = histories.indptr.astype(np.int64)
    if follows is None or newest is None:
        after, newest = (targets.supports[:, :0], scores[:, :0]), amounts
    else:
        after, newest = (follows.neighbours, follows.scores), np.asarray(newest, np.float32)

    def block(low: int, high: int) -> None:
        _weightings(
            targets.row_of, targets.supports, scores, *after,
            starts, histories.indices, amounts, newest, top, low, high,
        )  # fmt: skip

    in_blocks(block, histories.shape[0], threads)
    return top


ROWS_AT_ONCE = 4_096


@dataclass(frozen=True)
class ShortLists:
    """What may come first for each user under any mixture of scorers, and how each scores it."""

    indptr: NDArray[np.int64]  # (b + 1,)
    targets: I32  # (n,)
    scores: F32  # (n, s)
    wanted: NDArray[np.bool_]  # (n,) whether it is to be found
    counts: NDArray[np.int64]  # (b,) how many are to be found, on the list or not

    def per_user(self, mixture: F32, factors: F32, depth: int) -> NDArray[np.float64]:
        """NDCG and Recall of each user by scores @ mixture times the target's factor: (b, 2)."""
        values = (self.scores @ mixture) * factors[self.targets]
        result = np.zeros((len(self.counts), 2))
        _judged(self.indptr, values, self.wanted, self.counts, depth, result)
        return result


def short_lists(
    targets: Targets,
    scores: F32,
    histories: sparse.csr_matrix,
    wanted: sparse.csr_matrix,
    threads: int = 1,
) -> ShortLists:
    """The `SHORT` best of each of s scorers alone, and of their even sum, for each history.

    Scores are (r, c, s), as targets; `histories` and `wanted` are (b, i).
    """
    targets.require(histories)
    users, kinds = histories.shape[0], scores.shape[2]
    rows = np.full((users, (kinds + 1) * SHORT), -1, np.int32)
    values = np.zeros((*rows.shape, kinds), np.float32)
    starts = histories.indptr.astype(np.int64)
    data = np.asarray(histories.data, np.float32)

    def block(low: int, high: int) -> None:
        _lists(
            targets.row_of, targets.supports, scores,
            starts, histories.indices, data, rows, values, low, high,
        )  # fmt: skip

    in_blocks(block, users, threads)
    kept = rows >= 0
    owners = np.repeat(np.arange(users), kept.sum(axis=1))
    listed = rows[kept]
    keys = np.repeat(np.arange(users), np.diff(wanted.indptr)) * wanted.shape[1] + wanted.indices
    return ShortLists(
        np.concatenate([[0], np.cumsum(kept.sum(axis=1))]),
        listed,
        values[kept],
        np.isin(owners * wanted.shape[1] + listed, keys),
        np.diff(wanted.indptr).astype(np.int64),
    )


def summed(scores: F32, weights: Sequence[float]) -> F32:
    """(r, c) the sum of scores (r, c, s), each times its weight; rows in blocks, to save memory."""
    total = np.zeros(scores.shape[:2], np.float32)
    for number, weight in enumerate(weights):
        for begin in range(0, len(scores) if weight else 0, ROWS_AT_ONCE):
            rows = slice(begin, begin + ROWS_AT_ONCE)
            total[rows] += np.float32(weight) * scores[rows, :, number]
    return total


@njit(cache=True, nogil=True)
def _marked(target, seen, touched, count):  # type: ignore[no-untyped-def]
    """How many targets are touched, this one among them; `seen` says which are."""
    if seen[target] == 0:
        seen[target] = 1
        touched[count] = target
        count += 1
    return count


@njit(cache=True, nogil=True)
def _silent(weights):  # type: ignore[no-untyped-def]
    """Whether all weights (k,) are 0: the entry is only there so that it is not ranked."""
    return not np.any(weights)


@njit(cache=True, nogil=True)
def _weightings(  # type: ignore[no-untyped-def]
    row_of, supports, scores, after, worths, starts, items, weights, newest, top, low, high
):
    """Fill top (k, b, n) i32 of histories low … high - 1; weights, newest (nnz, k) f32.

    Item i's targets are supports[row_of[i]], with scores[row_of[i]] beside them; what follows it is
    after[i], with worths[i] beside it.

    The sums of a target under all weightings lie side by side in memory.
    """
    kinds, _, width = top.shape
    sums = np.zeros((len(row_of), kinds), np.float32)
    seen = np.zeros(len(row_of), np.uint8)
    touched = np.empty(len(row_of), np.int32)
    best = np.empty(width, np.float32)
    for subject in range(low, high):
        count = 0
        for h in range(starts[subject], starts[subject + 1]):
            if _silent(weights[h]) and _silent(newest[h]):
                continue
            item = row_of[items[h]]
            for q in range(supports.shape[1]):
                target = supports[item, q]
                if target < 0:
                    break
                count = _marked(target, seen, touched, count)
                value = scores[item, q]
                for k in range(kinds):
                    sums[target, k] += weights[h, k] * value
            item = items[h]
            for q in range(after.shape[1]):
                target = after[item, q]
                if target < 0:
                    break
                count = _marked(target, seen, touched, count)
                for k in range(kinds):
                    sums[target, k] += newest[h, k] * worths[item, q]
        for h in range(starts[subject], starts[subject + 1]):
            sums[items[h]] = 0
        for k in range(kinds):
            size = 0
            for at in range(count):
                value = sums[touched[at], k]
                if value > 0:
                    size = keep_best(top[k, subject], best, size, touched[at], value)
            sort_best(top[k, subject], best, size)
        for at in range(count):
            sums[touched[at]] = 0
            seen[touched[at]] = 0


@njit(cache=True, nogil=True)
def _lists(  # type: ignore[no-untyped-def]
    row_of, supports, scores, starts, items, weights, rows, values, low, high
):
    """Fill rows (b, n) i32 and values (b, n, s) f32 of histories low … high - 1; scores (r, c, s).

    Column s of the sums belongs to scorer s. A target that is among the best of any scorer, or of
    all together, is written once.
    """
    kinds = scores.shape[2]
    width = rows.shape[1] // (kinds + 1)
    sums = np.zeros((len(row_of), kinds), np.float32)
    seen = np.zeros(len(row_of), np.uint8)  # 1 touched, 2 on the list
    touched = np.empty(len(row_of), np.int32)
    best = np.empty(width, np.float32)
    kept = np.empty(width, np.int32)
    for subject in range(low, high):
        count = 0
        for h in range(starts[subject], starts[subject + 1]):
            item, weight = row_of[items[h]], weights[h]
            for q in range(supports.shape[1]):
                target = supports[item, q]
                if target < 0:
                    break
                count = _marked(target, seen, touched, count)
                for k in range(kinds):
                    sums[target, k] += weight * scores[item, q, k]
        for h in range(starts[subject], starts[subject + 1]):
            sums[items[h]] = 0
        listed = 0
        for k in range(kinds + 1):
            size = 0
            for at in range(count):
                value = sums[touched[at]].sum() if k == kinds else sums[touched[at], k]
                if value > 0:
                    size = keep_best(kept, best, size, touched[at], value)
            for at in range(size):
                target = kept[at]
                if seen[target] == 1:
                    seen[target] = 2
                    rows[subject, listed] = target
                    values[subject, listed] = sums[target]
                    listed += 1
        for at in range(count):
            sums[touched[at]] = 0
            seen[touched[at]] = 0


@njit(cache=True, nogil=True)
def _judged(starts, scores, wanted, counts, depth, result):  # type: ignore[no-untyped-def]
    discounts = 1.0 / np.log2(np.arange(2, depth + 2))
    best = np.empty(depth, np.float32)
    ranked = np.empty(depth, np.int32)
    for user in range(len(counts)):
        size = 0
        for at in range(starts[user], starts[user + 1]):
            if scores[at] > 0:
                size = keep_best(ranked, best, size, at, scores[at])
        sort_best(ranked, best, size)
        gained, hits = 0.0, 0
        for rank in range(size):
            if wanted[ranked[rank]]:
                gained += discounts[rank]
                hits += 1
        result[user, 0] = gained / discounts[: min(counts[user], depth)].sum()
        result[user, 1] = hits / counts[user]
