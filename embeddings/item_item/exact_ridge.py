"""The exact ridge between all items, for catalogues whose inverse is cheap.

EASE (arXiv:1905.03375): with P = (X'X + l I)^-1 the weight of source s for target t is
-P_st / P_tt, and nothing for itself. Where X has fewer rows than columns it is had from the small
side (Woodbury): with M = (XX' + l I)^-1 the same weight is x_s' M x_t / (1 - x_t' M x_t), and no
matrix of items x items is ever made.
"""

import numpy as np
from numba import njit
from scipy import sparse
from scipy.linalg import lapack

from embeddings.item_item.graph_filter import NormalisedGraph
from embeddings.item_item.item_table import ItemTable, strongest
from embeddings.item_item.local_ridge import mean_square
from graph.arrays import F32, I64

CUBES_PER_ITEM = 1.1e7
"""An inverse of n x n takes n^3 steps, 10^11 a second: exact as long as that is .11 ms an item."""
BLOCK = 256


def is_cheap(graph: NormalisedGraph) -> bool:
    """Whether the inverse of the smaller side costs little beside the rest of a refresh."""
    return float(min(sides(graph))) ** 3 <= CUBES_PER_ITEM * graph.rows.shape[1]


def sides(graph: NormalisedGraph) -> tuple[int, int]:
    """How many rows and how many items have any entry."""
    rows, items = (
        np.count_nonzero(np.diff(matrix.indptr)) for matrix in (graph.rows, graph.columns)
    )
    return int(rows), int(items)


def exact_ridge(graph: NormalisedGraph, penalty: float, width: int, power: float) -> ItemTable:
    """The `width` largest weights of each source by size, times (d_t / d_s)^power: (i, width).

    The penalty is in units of `mean_square`, d are item degrees. Time is the cube of the smaller
    side and entries x items, memory the square of the smaller side. An empty graph gives padding.
    """
    items = graph.rows.shape[1]
    table = ItemTable(np.full((items, width), -1, np.int32), np.zeros((items, width), np.float32))
    used = np.flatnonzero(np.diff(graph.columns.indptr))
    if not len(used):
        return table
    x = graph.columns[used]  # (n, u) items in use
    x = sparse.csr_matrix(x[:, np.flatnonzero(np.diff(graph.rows.indptr))])
    ridge = np.float32(max(penalty * mean_square(graph), 1e-6))
    degrees = (graph.item_degrees[used] ** power).astype(np.float32)
    weights = _dual(x, ridge) if x.shape[1] < x.shape[0] else _primal(x, ridge)
    columns = np.tile(used.astype(np.int32), (BLOCK, 1))
    for begin in range(0, len(used), BLOCK):
        rows = np.arange(begin, min(begin + BLOCK, len(used)))
        block = weights(rows)  # (b, n)
        block[np.arange(len(rows)), rows] = 0
        block *= degrees / degrees[rows][:, None]
        kept = strongest(columns[: len(rows)], block, width)
        table.neighbours[used[rows]], table.scores[used[rows]] = kept.neighbours, kept.scores
    return table


def _primal(x: sparse.csr_matrix, ridge: np.float32):  # type: ignore[no-untyped-def]
    inverse = ridge_inverse((x @ x.T).toarray(), ridge)
    diagonal = np.diag(inverse).copy()

    def block(rows: I64) -> F32:
        return -inverse[rows] / diagonal

    return block


def _dual(x: sparse.csr_matrix, ridge: np.float32):  # type: ignore[no-untyped-def]
    inverse = ridge_inverse((x.T @ x).toarray(), ridge)
    own = np.empty(x.shape[0], np.float32)  # x_t' M x_t
    for begin in range(0, x.shape[0], BLOCK):
        part = x[begin : begin + BLOCK]
        own[begin : begin + BLOCK] = np.asarray(part.multiply(part @ inverse).sum(axis=1)).ravel()
    remainder = np.maximum(1 - own, np.float32(1e-6))

    def block(rows: I64) -> F32:
        sources = np.ascontiguousarray((x[rows] @ inverse).T)  # (u, b)
        return np.ascontiguousarray((x @ sources).T) / remainder

    return block


def ridge_inverse(gram: F32, ridge: np.float32) -> F32:
    """(gram + ridge I)^-1 by Cholesky, float32, both triangles; `gram` is overwritten."""
    gram = np.asfortranarray(gram, np.float32)
    gram[np.diag_indices_from(gram)] += ridge
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    if not failed:
        factor, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise np.linalg.LinAlgError(
            f"a matrix of {len(gram)} rows has no inverse with a ridge of {ridge}"
        )
    inverse: F32 = factor.T  # in C's order, the upper triangle holds what was computed
    _mirror(inverse)
    return inverse


@njit(cache=True, nogil=True)
def _mirror(upper):  # type: ignore[no-untyped-def]
    """Copy the upper triangle of a square matrix into the lower one, tile by tile."""
    size = 64
    for top in range(0, len(upper), size):
        for left in range(0, top + 1, size):
            for row in range(top, min(top + size, len(upper))):
                for column in range(left, min(left + size, row)):
                    upper[row, column] = upper[column, row]
