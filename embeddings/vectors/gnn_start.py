"""Where the graph network starts from: the singular vectors of the normalised graph."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings.singular import leading
from embeddings.vectors.embedder import EmbeddingGraph
from graph.arrays import F32


def spectral_start(graph: EmbeddingGraph, dimensions: int, seed: int) -> F32:
    """Item vectors (i, d): the strongest singular vectors of users and tags by items.

    Each is scaled by the root of its singular value, so that products of two items are a spectral
    filter. Directions beyond the rank, and items without edges, are small noise, open to training.
    """
    items = graph.user_items.shape[1]
    rng = np.random.default_rng(seed)
    start = rng.normal(0, 0.01, (items, dimensions)).astype(np.float32)
    block = sparse.vstack(
        [normalised(graph.user_items), 0.3 * normalised(sparse.csr_matrix(graph.item_tags.T))]
    ).tocsr()  # (u + t, i)
    strongest = leading(block, block.T.tocsr(), dimensions, int(rng.integers(2**63)), passes=4)
    rank = len(strongest.values)
    if rank == 0:
        return start
    spectral = np.zeros_like(start)
    spectral[:, :rank] = strongest.item_vectors * np.sqrt(strongest.values)  # (i, r) scaled
    return scaled(scaled(spectral) + 0.1 * start)


def normalised(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Dr^-1/2 A Dc^-1/2 with the weighted degrees of rows and columns; empty ones stay so."""
    scales = []
    for axis in (1, 0):
        degrees = np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel()
        scales.append(sparse.diags(np.where(degrees > 0, degrees, 1.0) ** -0.5))
    return sparse.csr_matrix(scales[0] @ matrix @ scales[1], dtype=np.float32)


def scaled(vectors: NDArray[Any], length: float | None = None) -> F32:
    """The same up to one factor: rows of that mean length, or entries of mean square 0.1**2."""
    if vectors.size == 0:
        return np.ascontiguousarray(vectors, dtype=np.float32)
    if length is None:
        now, wanted = np.sqrt(np.mean(np.square(vectors), dtype=np.float64)), 0.1
    else:
        now, wanted = np.linalg.norm(vectors, axis=1).mean(dtype=np.float64), length
    factor = wanted / now if now > 0 else 1.0
    return np.ascontiguousarray(vectors * factor, dtype=np.float32)
