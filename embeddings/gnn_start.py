"""Where the graph network starts from: spectral vectors, and the degrees that normalise edges."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings.embedder import EmbeddingGraph, Vectors

Tables = tuple[Vectors, Vectors, Vectors]
"""Inputs and outputs of items, (i, d) each, and vectors of tags (t, d)."""


def spectral_start(graph: EmbeddingGraph, dimensions: int, shift: float, seed: int) -> Tables:
    """Inputs (i, d), outputs (i, d) and tags (t, d) from singular vectors of the items' side.

    Inputs are scaled by the root of the singular value, so that users times outputs is a spectral
    filter. Randomised subspace iteration (Halko et al. 2011, arXiv 0909.4061), four rounds.
    Directions beyond the rank are small noise, open to training.
    """
    users, items, tags = graph.counts
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.01, (2 * items + tags, dimensions)).astype(np.float32)
    start = (noise[:items], noise[items : 2 * items], noise[2 * items :])
    rank = min(dimensions, items, users + tags)
    if rank == 0 or graph.user_items.nnz + graph.item_tags.nnz == 0:
        return start
    block = sparse.vstack(
        [
            normalised(graph.user_items, shift),
            0.3 * normalised(sparse.csr_matrix(graph.item_tags.T)),
        ]
    ).tocsr()  # (u + t, i)
    back = block.T.tocsr()
    basis = rng.normal(size=(items, min(rank + 32, items))).astype(np.float32)
    for _ in range(4):
        basis, _ = np.linalg.qr(back @ (block @ basis))
    images = block @ basis  # (u + t, r)
    values, turns = np.linalg.eigh((images.T @ images).astype(np.float64))
    strongest = np.argsort(-values)[:rank]
    singular = np.sqrt(np.maximum(values[strongest], 1e-12))
    vectors = basis @ turns[:, strongest]  # (i, r)
    rows = images[users:] @ (turns[:, strongest] / singular)  # (t, r)
    inputs, outputs, words = (np.zeros_like(part) for part in start)
    inputs[:, :rank] = vectors * np.sqrt(singular)
    outputs[:, :rank] = vectors
    words[:, :rank] = rows * np.sqrt(singular)
    return tuple(  # type: ignore[return-value]
        scaled(made) + 0.1 * before
        for made, before in zip((inputs, outputs, words), start, strict=True)
    )


def normalised(matrix: sparse.csr_matrix, shift: float = 0.0) -> sparse.csr_matrix:
    """Dr^-1/2 A Dc^-1/2 with shifted weighted degrees of rows and columns; empty ones stay so."""
    scales = [sparse.diags(degrees**-0.5) for degrees in shifted_degrees(matrix, shift)]
    return sparse.csr_matrix(scales[0] @ matrix @ scales[1], dtype=np.float32)


def shifted_degrees(
    matrix: sparse.csr_matrix, shift: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted degrees of rows and columns plus `shift` mean weights; 1 where that is nothing."""
    added = shift * float(matrix.data.mean()) if matrix.nnz else 0.0
    sums = [np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel() + added for axis in (1, 0)]
    rows, columns = (np.where(degrees > 0, degrees, 1.0) for degrees in sums)
    return rows, columns


def scaled(vectors: NDArray[Any], length: float | None = None) -> Vectors:
    """The same up to one factor: rows of that mean length, or entries of mean square 0.1**2."""
    if length is None:
        now, wanted = np.sqrt(np.mean(np.square(vectors), dtype=np.float64)), 0.1
    else:
        now, wanted = np.linalg.norm(vectors, axis=1).mean(dtype=np.float64), length
    factor = wanted / now if vectors.size and now > 0 else 1.0
    return np.ascontiguousarray(vectors * factor, dtype=np.float32)
