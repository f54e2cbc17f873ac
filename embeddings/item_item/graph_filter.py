"""The normalised graph that every item-item score reads, and which items occur together.

X = Du^-a R Di^-b, where R is users x items with weighted tags as further rows (what shares a tag
is as if one more person had both). Item rows of every result are columns of R.

Ridges on it are in `local_ridge` and `exact_ridge`, its spectrum in `spectrum`. Blocks of targets
are independent, so the results do not depend on `threads`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy import sparse

from embeddings.best import keep_best, sort_best
from embeddings.blocks import in_blocks
from graph.arrays import F32, I32, I64

TAG_DEGREES = (2, 2000)
"""A tag on one item links nothing, one on very many says nothing and costs its degree squared."""


@dataclass(frozen=True)
class NormalisedGraph:
    """X = Du^-a R Di^-b both ways round, and the item degrees that undo Di."""

    rows: sparse.csr_matrix  # (u + f, i)
    columns: sparse.csr_matrix  # (i, u + f)
    item_degrees: F32  # (i,), at least 1


def add_feature_rows(
    user_items: sparse.csr_matrix, feature_rows: sparse.csr_matrix | None, weight: float = 1.0
) -> sparse.csr_matrix:
    """The users' rows (u, i) with the usable feature rows (f, i) below, times `weight`."""
    users = sparse.csr_matrix(user_items, dtype=np.float32)
    if feature_rows is None or weight <= 0:
        return users
    features = sparse.csr_matrix(feature_rows, dtype=np.float32)
    if features.shape[1] != users.shape[1]:
        raise ValueError(f"features have {features.shape[1]} items, users {users.shape[1]}")
    degrees = np.diff(features.indptr)
    usable = (degrees >= TAG_DEGREES[0]) & (degrees <= TAG_DEGREES[1])
    return sparse.csr_matrix(sparse.vstack([users, features[usable] * np.float32(weight)]))


def normalise(
    rows: sparse.csr_matrix, row_exponent: float = 0.5, item_exponent: float = 0.5
) -> NormalisedGraph:
    """Divide by powers of the degrees (sums of weights, at least 1); weights must be positive."""
    matrix = sparse.csr_matrix(rows, dtype=np.float32, copy=True)
    matrix.sum_duplicates()
    row_degrees = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)
    item_degrees = np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1.0).astype(np.float32)
    matrix.data *= np.repeat(row_degrees**-row_exponent, np.diff(matrix.indptr)).astype(np.float32)
    matrix.data *= (item_degrees**-item_exponent)[matrix.indices]
    columns = sparse.csr_matrix(matrix.T)
    columns.sort_indices()
    return NormalisedGraph(matrix, columns, item_degrees)


def co_occurrence_supports(
    graph: NormalisedGraph,
    width: int,
    threads: int = 1,
    gains: F32 | None = None,
    items: I32 | None = None,
) -> I32:
    """For each item the `width` others with the largest (X'X) x gain, strongest first, -1 padded.

    `gains` (i,) are of the others, 1 when not given; `items` (r,) are those asked for, or all.
    Returns int32 (r, width). Time is the sum of squared row degrees.
    """
    return co_occurrence(graph, width, threads, gains, items)[0]


def co_occurrence(
    graph: NormalisedGraph,
    width: int,
    threads: int = 1,
    gains: F32 | None = None,
    items: I32 | None = None,
) -> tuple[I32, F32]:
    """`co_occurrence_supports`, and beside each its (X'X) x gain: float32 (r, width), 0 padded."""
    weights = np.ones(graph.columns.shape[0], np.float32) if gains is None else gains
    item_rows = np.arange(graph.columns.shape[0], dtype=np.int32) if items is None else items
    supports = np.full((len(item_rows), width), -1, np.int32)
    scores = np.zeros(supports.shape, np.float32)

    def block(low: int, high: int) -> None:
        _co_occurrence(*both_ways(graph), weights, item_rows, supports, scores, low, high)

    in_blocks(block, supports.shape[0], threads)
    return supports, scores


def vector_supports(
    vectors: F32,
    width: int,
    block_size: int = 512,
    targets: F32 | None = None,
    threads: int = 1,
) -> I32:
    """For each item the `width` others with the largest inner product: int32 (i, width), exact.

    `others` (i, d) are the vectors on the other side; the same when not given.

    Quadratic in the items: memory is `block_size` rows of scores a thread, time i^2 d.
    """
    items = vectors.shape[0]
    right = vectors if targets is None else targets
    supports = np.full((items, width), -1, np.int32)

    def block(low: int, high: int) -> None:
        for begin in range(low * block_size, min(high * block_size, items), block_size):
            scores = vectors[begin : begin + block_size] @ right.T  # (b, d) @ (d, i) -> (b, i)
            _strongest_per_row(scores, supports, begin)

    in_blocks(block, -(-items // block_size), threads)  # whole blocks: rounding depends on them
    return supports


def merge_supports(first: I32, second: I32, begin: int = 0, items: int | None = None) -> I32:
    """All of `first` and what `second` adds, row by row: int32 (r, c1 + c2), -1 at the end.

    The rows are those of the items `begin` and following, from a catalogue of `items`, or of all.
    """
    merged = np.full((first.shape[0], first.shape[1] + second.shape[1]), -1, np.int32)
    _merge(first, second, merged, begin, len(first) if items is None else items)
    return merged


def vector_scores(vectors: F32, targets: F32, supports: I32, threads: int = 1) -> F32:
    """The products of each row of `vectors` and its supports' rows of `others`: float32 (i, c)."""
    scores = np.zeros(supports.shape, np.float32)

    def block(low: int, high: int) -> None:
        _inner_products(targets, vectors, supports, scores, low, high)

    if vectors.size:
        in_blocks(block, supports.shape[0], threads)
    return scores


def pair_products(left: F32, right: F32, rows: I64, others: I64, threads: int = 1) -> F32:
    """The products of rows of `left` (i, d) and `right` (i, d), pair by pair: float32 (p,)."""
    products = np.zeros(len(rows), np.float32)

    def block(low: int, high: int) -> None:
        _pair_products(left, right, rows, others, products, low, high)

    in_blocks(block, len(rows), threads)
    return products


def both_ways(graph: NormalisedGraph) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Starts, places and values of the rows, then of the columns, as kernels take them."""
    rows, columns = graph.rows, graph.columns
    return (
        rows.indptr.astype(np.int64),
        rows.indices,
        rows.data,
        columns.indptr.astype(np.int64),
        columns.indices,
        columns.data,
    )


@njit(cache=True, nogil=True)
def _co_occurrence(  # type: ignore[no-untyped-def]
    ip, ix, xv, tp, ti, tv, gains, item_rows, supports, scores, low, high
):
    """Fill rows low … high - 1 of supports (r, w) i32 and scores (r, w) f32, strongest first.

    They are those of `item_rows` (r,).

    ip, ix, xv are X (r, i) by row: where each row begins, its items, their values; tp, ti, tv the
    same by item: its rows and values; gains (i,) f32 by which a score is multiplied.

        target j ──tp, ti──▶ rows with j ──ip, ix──▶ their items          sums (i,)
                             r1 (value a)            k: a·b               k: ab + cd
                             r2 (value c)            k: c·d, l: c·e       l: ce
                                                                          · gains ─▶ heap of w

    That is row j of X'X, never held as a whole: `touched` tells which sums to read and set back.
    """
    sums = np.zeros(len(tp) - 1, np.float32)
    touched = np.empty(len(tp) - 1, np.int32)
    for row in range(low, high):
        rows, best, target = supports[row], scores[row], item_rows[row]
        count = 0
        for e in range(tp[target], tp[target + 1]):
            for f in range(ip[ti[e]], ip[ti[e] + 1]):
                item = ix[f]
                if sums[item] == 0:
                    touched[count] = item
                    count += 1
                sums[item] += tv[e] * xv[f]
        size = 0
        for at in range(count):
            item = touched[at]
            if item != target and sums[item] > 0:
                score = sums[item] * gains[item]
                size = keep_best(rows, best, size, item, score)
            sums[item] = 0
        sort_best(rows, best, size)


@njit(cache=True, nogil=True)
def _strongest_per_row(scores, supports, low):  # type: ignore[no-untyped-def]
    width = supports.shape[1]
    best = np.empty(width, np.float32)
    for row in range(scores.shape[0]):
        rows, size = supports[low + row], 0
        bar = np.float32(0)  # what an entry must pass to be among the strongest
        for item in range(scores.shape[1]):
            if scores[row, item] > bar and item != low + row:
                size = keep_best(rows, best, size, item, scores[row, item])
                if size == width:
                    bar = best[0]
        sort_best(rows, best, size)


@njit(cache=True, nogil=True)
def _merge(first, second, merged, begin, items):  # type: ignore[no-untyped-def]
    seen_by = np.full(items, -1, np.int32)
    for row in range(first.shape[0]):
        size = 0
        for item in first[row]:
            if item >= 0 and seen_by[item] != row:
                seen_by[item] = row
                merged[row, size] = item
                size += 1
        for item in second[row]:
            if item >= 0 and item != begin + row and seen_by[item] != row:
                seen_by[item] = row
                merged[row, size] = item
                size += 1


@njit(cache=True, nogil=True, fastmath=True)
def _inner_products(left, right, supports, scores, low, high):  # type: ignore[no-untyped-def]
    for target in range(low, high):
        for q in range(supports.shape[1]):
            item = supports[target, q]
            if item < 0:
                break
            total = np.float32(0)
            for d in range(left.shape[1]):
                total += left[item, d] * right[target, d]
            scores[target, q] = total


@njit(cache=True, nogil=True, fastmath=True)
def _pair_products(left, right, rows, others, products, low, high):  # type: ignore[no-untyped-def]
    for pair in range(low, high):
        total = np.float32(0)
        for d in range(left.shape[1]):
            total += left[rows[pair], d] * right[others[pair], d]
        products[pair] = total
