"""Items that nobody has touched, put into the item table by what they are like.

A history speaks for a cold item as it speaks for the items whose tags and title words are like
it: content chooses the neighbours, and what people did tells how much each is worth to whom. That
is more than likeness alone, which ranks by content what people choose by taste. Where many items
are equally like, vectors tell them apart: those of the history's items, and that which the cold
item's features place it at.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings.graph_filter import Floats
from embeddings.item_table import ItemTable, strongest

NEIGHBOURS = 100
"""Warm items that stand for a cold one."""
WIDTH = 100
"""Cold items that each history item speaks for."""
OWN = 2.0
"""How much an item speaks for itself, in units of its strongest entry."""
SHARPNESS, DAMPING = 2.0, 0.8
"""Cosines to a power; their sum is divided out to a power: below 1, many like items are worth
more than few. Chosen by hand on a draw of cold items of citeulike-a and ml-latest-small."""
WORD_WEIGHT = 0.6
WORTH = 0.25
"""Of a cold item beside one that people have chosen and that is as like the history. On parts of
train held back, 1 costs up to 6 % of NDCG@20 + Recall@20, .1 to .75 nothing or little."""
PRODUCTS = 0.5
"""What products of vectors weigh beside likeness, see `with_cold_items`. 1 is better still on
ml-latest-small, where an item has few tags, and costs 5 % on citeulike-a, where it has many."""
_ROWS_AT_ONCE = 500
_CELLS_AT_ONCE = 20_000_000

Rows = NDArray[np.int64]


def content(tags: sparse.csr_matrix, words: sparse.csr_matrix) -> sparse.csr_matrix:
    """(i, t + w) unit rows of an item's tags (i, t) and title words (i, w), the rare ones longer.

    A tag or word counts by log(items / items that have it), once per item.
    """
    parts = [_unit(_rare(tags)), WORD_WEIGHT * _unit(_rare(words))]
    return _unit(sparse.csr_matrix(sparse.hstack(parts)))


def with_cold_items(
    table: ItemTable,
    features: sparse.csr_matrix,
    cold: Rows,
    vectors: tuple[Floats, Floats] | None = None,
) -> ItemTable:
    """The table, wider by the entries of `cold` items; itself where there are none to add.

    score(h -> c) = WORTH * sum over warm items j of likeness(c, j) * (score(h -> j), or OWN times
    the strongest score of h where j is h), over the `NEIGHBOURS` that are most like c. What the
    table already had of cold items is replaced. `features` (i, f) are unit rows, see `content`.
    With `vectors`, of all items as history (i, d) and where the cold ones were placed (c, d, in
    the order of `cold`), the score is the mean of that, weighing 1, and of their products, weighing
    `PRODUCTS`, brought to the same root mean square.
    """
    items = len(table.neighbours)
    if len(cold) == 0 or features.nnz == 0:
        return table
    order = np.argsort(cold)
    cold = cold[order]
    is_cold = np.zeros(items, bool)
    is_cold[cold] = True
    likeness = _likeness(features, cold, ~is_cold)  # (c, i)
    if likeness.nnz == 0:
        return table
    back = likeness.T.tocsr()
    blocks = [slice(begin, begin + _ROWS_AT_ONCE) for begin in range(0, items, _ROWS_AT_ONCE)]
    said = [
        _said(table.neighbours[rows], table.scores[rows], rows.start, back, is_cold)
        for rows in blocks
    ]
    if vectors is not None:
        said = _beside_products(said, vectors[0], vectors[1][order], blocks)
    parts = [
        _joined(table.neighbours[rows], table.scores[rows], part, cold, is_cold)
        for rows, part in zip(blocks, said, strict=True)
    ]
    widest = max(part.shape[1] for part, _ in parts)
    neighbours = np.full((items, widest), -1, np.int32)
    scores = np.zeros((items, widest), np.float32)
    for rows, (part, values) in zip(blocks, parts, strict=True):
        neighbours[rows, : part.shape[1]] = part
        scores[rows, : part.shape[1]] = values
    return ItemTable(neighbours, scores)


def _said(
    neighbours: NDArray[np.int32], scores: Floats, begin: int, back: Any, is_cold: Any
) -> sparse.csr_matrix:
    """(b, c) what some rows of the table, from row `begin` on, say of cold items by likeness.

    `back` (i, c) tells how much each item stands for each cold one, `is_cold` (i,) which they are.
    """
    count = len(neighbours)
    known = (neighbours >= 0) & ~is_cold[neighbours]
    owner = np.repeat(np.arange(count), known.sum(axis=1))
    shape = (count, back.shape[0])
    said = sparse.csr_matrix((scores[known], (owner, neighbours[known])), shape=shape)
    speaks = (OWN * np.where(known, scores, 0).max(axis=1, initial=0)).astype(np.float32)
    own = sparse.csr_matrix((speaks, (np.arange(count), begin + np.arange(count))), shape=shape)
    part = sparse.csr_matrix(sparse.csr_matrix(said + own) @ back)
    _keep_largest(part, WIDTH)
    return part


def _beside_products(
    said: list[sparse.csr_matrix], histories: Floats, placed: Floats, blocks: list[slice]
) -> list[sparse.csr_matrix]:
    """The weighted mean of what likeness and products say, at likeness's level; the largest kept.

    `said` (b, c) for each of `blocks` of the histories (i, d), `placed` (c, d).
    """
    entries = sum(part.nnz for part in said)
    squares = sum(float(np.square(part.data, dtype=np.float64).sum()) for part in said)
    grams = [(one.T @ one).astype(np.float64) for one in (histories, placed)]
    products = float((grams[0] * grams[1]).sum()) / (len(histories) * len(placed))
    if not entries or products <= 0:
        return said
    scale = np.float32(PRODUCTS * np.sqrt(squares / entries / products))
    both = []
    for part, rows in zip(said, blocks, strict=True):
        low = max(1, _CELLS_AT_ONCE // len(placed))
        pieces = []
        for begin in range(0, part.shape[0], low):
            piece = part[begin : begin + low]
            near = histories[rows][begin : begin + low] @ placed.T  # (b, d) @ (d, c) -> (b, c)
            pieces.append(_largest((piece.toarray() + scale * near) / (1 + PRODUCTS), WIDTH))
        both.append(sparse.csr_matrix(sparse.vstack(pieces)))
    return both


def _joined(
    neighbours: NDArray[np.int32],
    scores: Floats,
    part: sparse.csr_matrix,
    cold: Rows,
    is_cold: Any,
) -> tuple[NDArray[np.int32], Floats]:
    """Some rows of the table with what `part` (b, c) says of cold items; strongest first."""
    width = neighbours.shape[1]
    known = (neighbours >= 0) & ~is_cold[neighbours]
    wider = np.full((len(neighbours), width + WIDTH), -1, np.int32)
    values = np.zeros(wider.shape, np.float32)
    wider[:, :width] = np.where(known, neighbours, -1)
    values[:, :width] = np.where(known, scores, 0)
    for place, (first, end) in enumerate(pairwise(part.indptr)):
        to = slice(width, width + end - first)
        wider[place, to] = cold[part.indices[first:end]]
        values[place, to] = part.data[first:end]
    order = np.argsort(wider < 0, axis=1, kind="stable")  # padding at the end
    packed = np.take_along_axis(wider, order, axis=1)
    most = int((packed >= 0).sum(axis=1).max(initial=0))
    table = strongest(packed, np.take_along_axis(values, order, axis=1), most)
    return table.neighbours, table.scores


def _likeness(features: sparse.csr_matrix, cold: Rows, warm: NDArray[np.bool_]) -> Any:
    """(c, i) how much each warm item stands for each cold one."""
    able = sparse.csr_matrix(sparse.diags(warm.astype(np.float32)) @ features).T.tocsr()
    parts = []
    for begin in range(0, len(cold), _ROWS_AT_ONCE):
        part = sparse.csr_matrix(features[cold[begin : begin + _ROWS_AT_ONCE]] @ able)
        _keep_largest(part, NEIGHBOURS)
        part.data = part.data**SHARPNESS
        parts.append(part)
    likeness = sparse.csr_matrix(sparse.vstack(parts), dtype=np.float32)
    sums = np.asarray(likeness.sum(axis=1), np.float64).ravel()
    scale = WORTH * np.where(sums > 0, sums, 1) ** -DAMPING
    return sparse.csr_matrix(sparse.diags(scale.astype(np.float32)) @ likeness)


def _largest(dense: Floats, count: int) -> sparse.csr_matrix:
    """The `count` largest positive entries of each row of a (b, c) array."""
    kept = min(count, dense.shape[1])
    top = np.argpartition(-dense, kept - 1, axis=1)[:, :kept]
    rows = np.repeat(np.arange(len(dense)), kept)
    values = np.maximum(np.take_along_axis(dense, top, axis=1), 0).ravel()
    made = sparse.csr_matrix(
        (values, (rows, top.ravel())), (len(dense), dense.shape[1]), np.float32
    )
    made.eliminate_zeros()
    return made


def _keep_largest(matrix: sparse.csr_matrix, count: int) -> None:
    """Leave the `count` largest positive entries of each row, in place."""
    for begin, end in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        row = matrix.data[begin:end]  # a view
        row[row < 0] = 0
        if len(row) > count:
            row[np.argpartition(-row, count)[count:]] = 0
    matrix.eliminate_zeros()


def _rare(features: sparse.csr_matrix) -> sparse.csr_matrix:
    """Each entry log(items / items with that feature)."""
    counts = np.maximum(np.bincount(features.indices, minlength=features.shape[1]), 1)
    rarity = np.log(max(features.shape[0], 1) / counts)
    there = sparse.csr_matrix(features, dtype=np.float32, copy=True)
    there.data = rarity[there.indices].astype(np.float32)
    return there


def _unit(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), np.float64).ravel())
    scale = 1 / np.where(lengths > 0, lengths, 1)
    return sparse.csr_matrix(sparse.diags(scale.astype(np.float32)) @ rows)
