"""What follows what: for each item, what people go on to after it.

Sequential rules: a pair of items counts in each history in which one comes after the other, the
more the fewer steps lie between (Ludewig & Jannach 2018, arXiv:1803.09587; Choi et al. 2021,
arXiv:2103.16104, put such transitions into a linear model). The table is read by the newest entries
of a history only, whose weights fall steeply, see `recency.weighed`.
"""

from dataclasses import replace
from itertools import product

import numpy as np
from numba import njit
from scipy import sparse

from embeddings.best import keep_best, sort_best
from embeddings.blocks import in_blocks
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.recipe import Recipe
from embeddings.item_item.scorers import QUADRATIC_ITEMS
from graph.arrays import I32, I64

REACH = 10
"""A pair of items further apart in a history is no longer counted."""
DAMPING = 0.5
"""Counts are divided by this power of how often anything follows the item: with 1 they would be
shares, and what was seen once would be as sure as what was seen a thousand times."""
WIDTH, WIDTH_OF_MANY = 100, 50
"""So many items are kept that follow an item; the second above `QUADRATIC_ITEMS` items."""
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
EXPONENTS = (0.75, 1.5, 3.0)
"""What is tried: weights beside the item table, and how steeply a history's entries fall off."""
WAYS = ((0.0, 0.0), *product(WEIGHTS, EXPONENTS))
"""(weight, exponent); the first leaves order out."""
COST = 0.02
"""To use order at all must raise quality by this share."""


def with_follows(
    table: ItemTable,
    user_items: sparse.csr_matrix,
    order: sparse.csr_matrix | None,
    recipe: Recipe,
    threads: int = 1,
) -> ItemTable:
    """The item table with what follows what, if there is an order and the recipe weighs it."""
    if order is None or not recipe.follows_weight:
        return table
    return replace(table, follows=follow_table(user_items, order, threads=threads))


def width_for(items: int) -> int:
    """How many items that follow are kept of each."""
    return WIDTH_OF_MANY if items > QUADRATIC_ITEMS else WIDTH


def follow_table(
    user_items: sparse.csr_matrix,
    order: sparse.csr_matrix,
    width: int | None = None,
    threads: int = 1,
) -> ItemTable:
    """(i, k) what follows each item, strongest first, with positive scores; -1 pads.

    `order` (u, i) says when each entry of `user_items` (u, i) came, see `recency.order_of`; it may
    hold more entries, which count as steps but are not learned from. Steps are counted from the
    first entry of the one moment to the last entry of the other: entries of the same moment do not
    follow each other, and a moment of more than `REACH` entries says nothing. Scores are as large
    as those of the scorers that an item table is blended of.
    """
    starts, items, places = _sequences(user_items, order)
    count = user_items.shape[1]
    width = width or width_for(count)
    at = np.argsort(items, kind="stable")
    owners = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    begins = np.searchsorted(items[at], np.arange(count + 1))
    ends = starts[1:][owners]
    neighbours = np.full((count, width), -1, np.int32)
    scores = np.zeros((count, width), np.float32)

    def block(low: int, high: int) -> None:
        _followers(begins, at, ends, items, *places, neighbours, scores, low, high)

    in_blocks(block, count, threads)
    spread = np.sqrt(np.square(scores, dtype=np.float64).mean()) if scores.size else 0.0
    scores /= np.float32(spread or 1.0)
    return ItemTable(neighbours, scores)


def _sequences(
    user_items: sparse.csr_matrix, order: sparse.csr_matrix
) -> tuple[I64, I32, tuple[I64, I64]]:
    """Histories in order, flattened: where each user's begins, the items, and of each entry the
    first and the last place of its moment.
    """
    known = sparse.csr_matrix(order.multiply(user_items.sign()))
    users = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
    by_time = np.lexsort((known.indices, known.data, users))
    first = known.data[by_time].astype(np.int64)
    moments = users * (int(first.max(initial=0)) + 1) + first
    sizes = np.unique(moments, return_inverse=True, return_counts=True)
    last = first + sizes[2][sizes[1]] - 1
    return (
        known.indptr.astype(np.int64),
        known.indices[by_time].astype(np.int32),
        (first, last.astype(np.int64)),
    )


@njit(cache=True, nogil=True)
def _followers(begins, at, ends, items, first, last, neighbours, scores, low, high):  # type: ignore[no-untyped-def]
    """Fill the rows low … high - 1; at (n,) lists the places of each item in all histories."""
    sums = np.zeros(len(neighbours), np.float32)
    touched = np.empty(len(neighbours), np.int32)
    for item in range(low, high):
        count, total = 0, np.float32(0)
        for e in range(begins[item], begins[item + 1]):
            here = at[e]
            for later in range(here + 1, ends[here]):
                if first[later] - first[here] > REACH:
                    break
                steps = last[later] - first[here]
                if first[later] == first[here] or steps > REACH:
                    continue
                target = items[later]
                if sums[target] == 0:
                    touched[count] = target
                    count += 1
                sums[target] += np.float32(1.0 / steps)
                total += np.float32(1.0 / steps)
        size = 0
        for k in range(count):
            target = touched[k]
            worth = sums[target] / total**DAMPING
            size = keep_best(neighbours[item], scores[item], size, target, np.float32(worth))
            sums[target] = 0
        sort_best(neighbours[item], scores[item], size)
