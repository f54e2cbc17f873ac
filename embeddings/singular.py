"""The leading singular vectors of a sparse matrix, by randomised subspace iteration.

Halko et al. 2011, arXiv:0909.4061. What ranks and where the graph network starts from both use it.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse

from embeddings.blocks import in_blocks
from graph.arrays import F32

SPARE_VECTORS = 32  # iterated beside those that are kept, so that these settle sooner


@dataclass(frozen=True)
class Spectral:
    """Leading right singular vectors of a matrix whose columns are items, strongest first."""

    item_vectors: F32  # (i, d), orthonormal columns
    values: F32  # (d,), not negative, falling


def leading(
    rows: sparse.csr_matrix,
    columns: sparse.csr_matrix,
    dimensions: int,
    seed: int,
    passes: int = 3,
    threads: int = 1,
    start: F32 | None = None,
) -> Spectral:
    """The leading right singular vectors of `rows` (r, i), whose transpose is `columns` (i, r).

    `dimensions` is an upper bound: there are never more than rows or items. A matrix without
    entries gives d = 0. Bit-equal for the same seed on one BLAS thread. Each pass is one product
    with X'X. `start` (i, k) spans what the leading vectors were before, in any basis and scale;
    the search begins there instead of anywhere, and ends nearer to the truth in as many passes.
    """
    count, items = rows.shape
    kept = min(dimensions, count, items) if rows.nnz else 0
    if kept <= 0:
        return Spectral(np.zeros((items, 0), np.float32), np.zeros(0, np.float32))
    width = min(kept + SPARE_VECTORS, count, items)
    generator = np.random.default_rng(seed)
    basis = generator.standard_normal((items, width), dtype=np.float32)
    if start is not None:
        lengths = np.linalg.norm(start[:, :width], axis=0)
        known = np.flatnonzero(lengths > 0)
        basis[:, known] = start[:, known] * (np.sqrt(items) / lengths[known]).astype(np.float32)
    for _ in range(passes):
        basis = product(columns, product(rows, basis, threads), threads)  # (i, d)
        basis = _orthonormal(basis)
    basis = _orthonormal(basis)  # once more: a Gram matrix has half the digits
    image = product(rows, basis, threads)
    squares, rotation = np.linalg.eigh((image.T @ image).astype(np.float64))
    order = np.argsort(-squares, kind="stable")[:kept]
    vectors = basis @ rotation[:, order].astype(np.float32)  # (i, d)
    values = np.sqrt(np.maximum(squares[order], 0.0)).astype(np.float32)
    return Spectral(np.ascontiguousarray(vectors), values)


def product(matrix: sparse.csr_matrix, dense: F32, threads: int = 1) -> F32:
    """The product float32 (n, i) @ (i, d) -> (n, d), its rows divided among threads."""
    result = np.zeros((matrix.shape[0], dense.shape[1]), np.float32)
    starts = matrix.indptr.astype(np.int64)

    def block(low: int, high: int) -> None:
        _product(starts, matrix.indices, matrix.data, dense, result, low, high)

    in_blocks(block, matrix.shape[0], threads)
    return result


def _orthonormal(columns: F32) -> F32:
    """A basis of what the columns span: by their Gram matrix, many times as fast as QR.

    QR where the Gram matrix, which squares the condition, would lose directions in rounding.
    """
    squares, rotation = np.linalg.eigh((columns.T @ columns).astype(np.float64))
    if squares[0] <= 1e-6 * squares[-1]:
        exact: F32 = np.linalg.qr(columns)[0]
        return exact
    basis: F32 = columns @ (rotation / np.sqrt(squares)).astype(np.float32)
    return basis


@njit(cache=True, nogil=True, fastmath=True)
def _product(starts, columns, values, dense, result, low, high):  # type: ignore[no-untyped-def]
    for row in range(low, high):
        for e in range(starts[row], starts[row + 1]):
            for d in range(dense.shape[1]):
                result[row, d] += values[e] * dense[columns[e], d]
