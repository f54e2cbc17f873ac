"""Items without events, put into the item table by the items they are similar to.

A cold item gets the scores of items with similar tags and title words: content decides which items
are neighbours, and people's choices decide what each neighbour is worth to whom. Likeness alone
would rank by content what people choose by taste. When many items are equally like, vectors decide:
those of the history's items, and the one that the cold item's features give it. What the table
itself already knows of a cold item, by its tags, is added.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from embeddings.item_item import graph_filter as gf
from embeddings.item_item.item_table import (
    ROWS_AT_ONCE,
    ItemTable,
    replaced,
    strongest,
    strongest_entries,
)
from embeddings.item_item.likeness import DAMPING, OWN, SHARPNESS, WORTH
from embeddings.item_item.recipe import WORD_WEIGHT
from embeddings.item_item.scorers import nearest, sum_of_squares
from graph.arrays import F32, I64, Flags

NEIGHBOURS = 100
"""How many warm items stand for a cold one."""
WIDTH = 100
"""How many cold items each history item may propose."""
PRODUCTS = 0.5
"""Weight of products of vectors beside likeness, see `with_cold_items`. 1 is even better on
ml-latest-small, where an item has few tags, and costs 5 % on citeulike-a, where it has many."""
KNOWN = 0.5
"""Weight of what the table itself says of a cold item, see `with_cold_items`. It hardly matters on
ml-latest-small, where an item has few tags; on citeulike-a 0 loses 6 % among cold items."""
MOST_CARRIERS = 5000
"""Items looked at for one tag or word, evenly drawn: what more items carry tells little."""
_ROWS_AT_ONCE = 500


def content(
    tags: sparse.csr_matrix, words: sparse.csr_matrix, word_weight: float = WORD_WEIGHT
) -> sparse.csr_matrix:
    """(i, t + w) unit rows of an item's tags (i, t) and words (i, w), the rare ones longer.

    A tag or word counts by its weight times log(items / items that have it). All tags of an item
    together weigh 1, all its words `word_weight`.
    """
    parts = [_unit(_rare(tags)), np.float32(word_weight) * _unit(_rare(words))]
    return _unit(sparse.csr_matrix(sparse.hstack(parts), dtype=np.float32))


def with_cold_items(
    table: ItemTable,
    features: sparse.csr_matrix,
    cold: I64,
    vectors: tuple[F32, F32] | None = None,
    threads: int = 1,
) -> ItemTable:
    """The table, wider by the entries of `cold` items; itself where there are none to add.

    score(h -> c) = WORTH * sum over warm items j of likeness(c, j) * (score(h -> j), or OWN times
    the strongest score of h where j is h), over the `NEIGHBOURS` that are most like c; less where
    most items are cold, see `WORTH`. `features` (i, f) are unit rows, see `content`.
    With `vectors`, of all items as history (i, d) and where the cold ones were placed (c, d, in
    the order of `cold`), the score is the mean of that, weighing 1, and of their products, weighing
    `PRODUCTS`, brought to the same root mean square; taken of the `WIDTH` that either has most of.
    `KNOWN` times the table's own score of h -> c is added; a sum below 0 counts as 0.
    """
    items = len(table.neighbours)
    if len(cold) == 0 or features.nnz == 0:
        return table
    order = np.argsort(cold)
    cold = cold[order]
    is_cold = np.zeros(items, bool)
    is_cold[cold] = True
    back = likeness(features, cold, ~is_cold)  # (i, i)
    if back.nnz == 0:
        return table
    blocks = [slice(begin, begin + _ROWS_AT_ONCE) for begin in range(0, items, _ROWS_AT_ONCE)]
    width = table.neighbours.shape[1]
    wide = ItemTable(
        np.full((items, width + WIDTH), -1, np.int32),
        np.zeros((items, width + WIDTH), np.float32),
    )
    # Its last columns hold what is known of cold items until the rows are joined.
    by_likeness = ItemTable(wide.neighbours[:, width:], wide.scores[:, width:])
    for rows in blocks:
        _put(by_likeness, rows, _of_warm(_without(table, is_cold, rows), rows, back))
    of_cold: Callable[[slice], ItemTable] = by_likeness.rows
    if vectors is not None:
        of_cold = _beside_products(by_likeness, vectors[0], cold, vectors[1][order], threads)
    widest = 0
    for rows in blocks:
        joined = _joined(table.rows(rows), of_cold(rows), is_cold)
        widest = max(widest, int((joined.neighbours >= 0).sum(axis=1).max(initial=0)))
        _put(wide, rows, joined)
    del of_cold  # and the nearest items that it holds
    return _narrowed(wide, widest)


def _put(table: ItemTable, rows: slice, part: ItemTable) -> None:
    """Overwrite some rows of a table, which is as wide as the new ones or wider."""
    width = part.neighbours.shape[1]
    for whole, new, nothing in (
        (table.neighbours, part.neighbours, -1),
        (table.scores, part.scores, 0),
    ):
        whole[rows, :width] = new
        whole[rows, width:] = nothing


def _narrowed(table: ItemTable, width: int) -> ItemTable:
    """The first columns of a table."""
    neighbours, scores = (
        np.ascontiguousarray(whole[:, :width]) for whole in (table.neighbours, table.scores)
    )
    return ItemTable(neighbours, scores)


def _without(table: ItemTable, gone: Flags, rows: slice) -> ItemTable:
    """Some rows of the table, -1 with score 0 in place of the items that are `gone` (i,)."""
    part = table.rows(rows)
    kept = (part.neighbours >= 0) & ~gone[part.neighbours]
    return ItemTable(
        np.where(kept, part.neighbours, np.int32(-1)), np.where(kept, part.scores, np.float32(0))
    )


def _of_warm(warm: ItemTable, rows: slice, back: sparse.csr_matrix) -> ItemTable:
    """Scores of cold items in some rows of the table, by likeness: (b, WIDTH).

    `warm` (b, k) are the entries of these rows that tell of warm items, `back` (i, i) what each of
    those is worth for each cold one.
    """
    speaking = warm.neighbours >= 0
    count = len(speaking)
    owner = np.repeat(np.arange(count), speaking.sum(axis=1))
    shape = (count, back.shape[0])
    of_others = sparse.csr_matrix(
        (warm.scores[speaking], (owner, warm.neighbours[speaking])), shape
    )
    speaks = (OWN * warm.scores.max(axis=1, initial=0)).astype(np.float32)
    own = sparse.csr_matrix((speaks, (np.arange(count), rows.start + np.arange(count))), shape)
    part = sparse.csr_matrix(sparse.csr_matrix(of_others + own) @ back)
    return strongest_entries(part, WIDTH)


def _beside_products(
    by_likeness: ItemTable, histories: F32, cold: I64, placed: F32, threads: int
) -> Callable[[slice], ItemTable]:
    """A function that gives the scores of cold items in any rows: (b, WIDTH).

    They are the weighted mean of scores by likeness and by products, scaled alike; the products are
    those of the histories (i, d) and of `cold` items, `placed` (c, d).
    """
    entries = np.count_nonzero(by_likeness.neighbours >= 0)
    grams = [(vectors.T @ vectors).astype(np.float64) for vectors in (histories, placed)]
    products = float((grams[0] * grams[1]).sum()) / (len(histories) * len(placed))
    if not entries or products <= 0:
        return by_likeness.rows
    scores = by_likeness.scores
    squares = sum(
        sum_of_squares(scores[begin : begin + ROWS_AT_ONCE])
        for begin in range(0, len(scores), ROWS_AT_ONCE)
    )
    scale = np.float32(PRODUCTS * np.sqrt(squares / entries / products))
    targets = np.zeros_like(histories)
    targets[cold] = placed
    near = nearest(histories, targets, WIDTH, threads, cold)

    def both(rows: slice) -> ItemTable:
        first = np.ascontiguousarray(by_likeness.neighbours[rows])
        supports = gf.merge_supports(first, near[rows], rows.start, len(histories))
        scores = gf.vector_scores(histories[rows], targets, supports, threads)
        scores *= scale
        scores[:, : first.shape[1]] += by_likeness.scores[rows]  # in the same order
        scores /= 1 + PRODUCTS
        return strongest(supports, np.maximum(scores, 0, out=scores), WIDTH)

    return both


def _joined(own: ItemTable, of_cold: ItemTable, is_cold: Flags) -> ItemTable:
    """Rows of the table, in which `of_cold` is added to a part of what they have of cold items."""
    there = own.neighbours >= 0
    of_warm = there & ~is_cold[own.neighbours]
    own_cold = _entries(own, there & ~of_warm, len(is_cold))
    own_cold.data *= np.float32(KNOWN)
    cold = own_cold + _entries(of_cold, of_cold.neighbours >= 0, len(is_cold))
    np.maximum(cold.data, 0, out=cold.data)  # that a tag is avoided tells too little of one item
    cold.eliminate_zeros()
    width = int((of_warm.sum(axis=1) + np.diff(cold.indptr)).max(initial=0))
    return replaced(own, of_warm, cold, width)


def _entries(table: ItemTable, kept: Flags, items: int) -> sparse.csr_matrix:
    """(b, i) the entries of a table's rows that are `kept` (b, k)."""
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    parts = table.scores[kept], table.neighbours[kept], starts
    return sparse.csr_matrix(parts, shape=(len(kept), items))


def likeness(features: sparse.csr_matrix, cold: I64, warm: Flags) -> sparse.csr_matrix:
    """(i, i) how much each warm item, by row, stands for each cold one, by column.

    `features` (i, f) are unit rows, see `content`; a cold item like none has an empty column.
    """
    able = sparse.csr_matrix(sparse.diags(warm.astype(np.float32)) @ features).T.tocsr()
    able.eliminate_zeros()
    able = _thinned(able, MOST_CARRIERS)
    tables = [
        strongest_entries(features[cold[begin : begin + _ROWS_AT_ONCE]] @ able, NEIGHBOURS)
        for begin in range(0, len(cold), _ROWS_AT_ONCE)
    ]
    like = np.concatenate([table.scores for table in tables]).astype(np.float64) ** SHARPNESS
    sums = like.sum(axis=1, keepdims=True)
    worth = WORTH * min(1.0, np.count_nonzero(warm) / max(len(cold), 1))
    like *= worth * np.where(sums > 0, sums, 1) ** -DAMPING
    warm_rows = np.concatenate([table.neighbours for table in tables])
    there = warm_rows >= 0
    columns = np.repeat(cold, there.sum(axis=1))
    shape = (len(warm), len(warm))
    return sparse.csr_matrix((like[there].astype(np.float32), (warm_rows[there], columns)), shape)


def _thinned(rows: sparse.csr_matrix, most: int) -> sparse.csr_matrix:
    """At most `most` entries of each row, evenly drawn from its own."""
    counts = np.diff(rows.indptr)
    if counts.max(initial=0) <= most:
        return rows
    position = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], counts)
    shares = np.repeat(np.minimum(1.0, most / np.maximum(counts, 1)), counts)
    kept = np.floor((position + 1) * shares) > np.floor(position * shares)
    starts = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    return sparse.csr_matrix((rows.data[kept], rows.indices[kept], starts), rows.shape)


def _rare(features: sparse.csr_matrix) -> sparse.csr_matrix:
    """Each entry times log(items / items with that feature)."""
    counts = np.maximum(np.bincount(features.indices, minlength=features.shape[1]), 1)
    rarity = np.log(max(features.shape[0], 1) / counts)
    there = sparse.csr_matrix(features, dtype=np.float32, copy=True)
    there.data *= rarity[there.indices].astype(np.float32)
    return there


def _unit(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), np.float64).ravel())
    scale = 1 / np.where(lengths > 0, lengths, 1)
    return sparse.csr_matrix(sparse.diags(scale.astype(np.float32)) @ rows)
