"""The spectrum of a normalised graph: what a spectral filter ranks by, and what is searched.

Singular vectors by randomised subspace iteration (GF-CF, arXiv:2108.07567; Halko et al.,
arXiv:0909.4061).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse

from embeddings.item_item.graph_filter import (
    Floats,
    NormalisedGraph,
    Rows,
    in_blocks,
    vector_scores,
)


@dataclass(frozen=True)
class Spectral:
    """Leading right singular vectors of the normalised graph, strongest first."""

    item_vectors: Floats  # (i, d), orthonormal columns
    values: Floats  # (d,), not negative, falling


def spectrum(
    graph: NormalisedGraph,
    dimensions: int,
    seed: int,
    passes: int = 3,
    threads: int = 1,
    start: Floats | None = None,
) -> Spectral:
    """The leading right singular vectors of a graph's X: item_vectors (i, d), values (d,), float32.

    `dimensions` is an upper bound: there are never more than rows or items. An empty graph gives
    d = 0. Bit-equal for the same seed on one BLAS thread. Each pass is one product with X'X.
    `start` (i, k) spans what the leading vectors were before, in any basis and scale; the search
    begins there instead of anywhere, and ends nearer to the truth in as many passes.
    """
    count, items = graph.rows.shape
    kept = min(dimensions, count, items) if graph.rows.nnz else 0
    if kept <= 0:
        return Spectral(np.zeros((items, 0), np.float32), np.zeros(0, np.float32))
    width = min(kept + 32, count, items)
    generator = np.random.default_rng(seed)
    basis = generator.standard_normal((items, width), dtype=np.float32)
    if start is not None:
        lengths = np.linalg.norm(start[:, :width], axis=0)
        known = np.flatnonzero(lengths > 0)
        basis[:, known] = start[:, known] * (np.sqrt(items) / lengths[known]).astype(np.float32)
    for _ in range(passes):
        image = product(graph.rows, basis, threads)  # (u + f, d)
        basis = _orthonormal(product(graph.columns, image, threads))  # (i, d)
    basis = _orthonormal(basis)  # once more: a Gram matrix has half the digits
    image = product(graph.rows, basis, threads)
    squares, rotation = np.linalg.eigh((image.T @ image).astype(np.float64))
    order = np.argsort(-squares, kind="stable")[:kept]
    vectors = basis @ rotation[:, order].astype(np.float32)  # (i, d)
    values = np.sqrt(np.maximum(squares[order], 0.0)).astype(np.float32)
    return Spectral(np.ascontiguousarray(vectors), values)


def product(matrix: sparse.csr_matrix, dense: Floats, threads: int = 1) -> Floats:
    """The product float32 (n, i) @ (i, d) -> (n, d), its rows divided among threads."""
    result = np.zeros((matrix.shape[0], dense.shape[1]), np.float32)
    starts = matrix.indptr.astype(np.int64)

    def block(low: int, high: int) -> None:
        _product(starts, matrix.indices, matrix.data, dense, result, low, high)

    in_blocks(block, matrix.shape[0], threads)
    return result


def _orthonormal(columns: Floats) -> Floats:
    """A basis of what the columns span: by their Gram matrix, many times as fast as QR.

    QR where the Gram matrix, which squares the condition, would lose directions in rounding.
    """
    squares, rotation = np.linalg.eigh((columns.T @ columns).astype(np.float64))
    if squares[0] <= 1e-6 * squares[-1]:
        exact: Floats = np.linalg.qr(columns)[0]
        return exact
    basis: Floats = columns @ (rotation / np.sqrt(squares)).astype(np.float32)
    return basis


def spectral_scores(
    spectral: Spectral, supports: Rows, sharpness: float = 1.0, threads: int = 1
) -> Floats:
    """(V diag(s^sharpness) V')[support, target] for each target: float32 (i, c), 0 at padding."""
    weighted = spectral.item_vectors * spectral.values**sharpness
    return vector_scores(weighted, spectral.item_vectors, supports, threads)


@njit(cache=True, nogil=True, fastmath=True)
def _product(starts, columns, values, dense, result, low, high):  # type: ignore[no-untyped-def]
    for row in range(low, high):
        for e in range(starts[row], starts[row + 1]):
            for d in range(dense.shape[1]):
                result[row, d] += values[e] * dense[columns[e], d]
