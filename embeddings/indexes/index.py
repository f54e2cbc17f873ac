"""From vectors to neighbours: the protocol, and the exact index as the reference for others."""

from pathlib import Path
from typing import Protocol

import numpy as np

from graph.arrays import F32, I32, Flags

_BLOCK = 256  # queries scored at once, so that the score matrix stays small


class VectorIndex(Protocol):
    """Finds the rows with the largest inner products."""

    dimensions: int

    def __len__(self) -> int:
        """How many vectors (n) the index holds."""
        ...

    def search(self, queries: F32, k: int, allowed: Flags | None = None) -> tuple[I32, F32]:
        """The k best rows per query and their inner products, best first.

        Args:
            queries: (b, d) finite float32; another width or a NaN is a `ValueError`.
            k: at least 1; where fewer rows are allowed, the rest is -1 with score -inf.
            allowed: (n,) bool, the rows that may be answered; None allows all.

        Returns:
            rows i32 (b, k), scores f32 (b, k).
        """
        ...

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        ...


def checked(queries: F32, dimensions: int, k: int) -> F32:
    """The queries, contiguous; `ValueError` when they do not fit the index."""
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimensions:
        raise ValueError(f"queries of shape {queries.shape} do not fit {dimensions} dimensions")
    if not np.isfinite(queries).all():
        raise ValueError("a query has a component that is not a finite number")
    if k < 1:
        raise ValueError(f"k is {k}; ask for at least 1 neighbour")
    return queries


def exact_search(
    vectors: F32, queries: F32, k: int, allowed: Flags | None = None
) -> tuple[I32, F32]:
    """What `VectorIndex.search` promises, by computing every product; ties go to the lower row."""
    candidates = (
        np.arange(len(vectors), dtype=np.int32)
        if allowed is None
        else np.flatnonzero(allowed).astype(np.int32)
    )
    rows = np.full((len(queries), k), -1, np.int32)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    width = min(k, len(candidates))
    if width == 0:
        return rows, scores
    wanted = vectors if allowed is None else vectors[candidates]
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        products = queries[block] @ wanted.T  # (b, d) @ (d, c) -> (b, c)
        best = np.argpartition(-products, width - 1, axis=1)[:, :width]
        order = np.lexsort((best, -np.take_along_axis(products, best, axis=1)), axis=1)
        best = np.take_along_axis(best, order, axis=1)
        rows[block, :width] = candidates[best]
        scores[block, :width] = np.take_along_axis(products, best, axis=1)
    return rows, scores


class ExactIndex:
    """Every product is computed: the oracle, and the right choice for small catalogues."""

    def __init__(self, vectors: F32) -> None:
        """Hold vectors f32 (n, d); they are not copied and may be memory-mapped."""
        self.vectors = vectors
        self.dimensions = int(vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: F32, k: int, allowed: Flags | None = None) -> tuple[I32, F32]:
        """See `VectorIndex.search`."""
        return exact_search(self.vectors, checked(queries, self.dimensions, k), k, allowed)

    def save(self, path: Path) -> None:
        """Write the vectors as `.npy`."""
        with path.open("wb") as file:
            np.save(file, self.vectors, allow_pickle=False)


def recall_by_distance(reached: F32, exact: F32, *, tolerance: float = 1e-5) -> float:
    """Share of answers (b, k) at least as good as the exact k-th, so that ties are no misses.

    Source: the counting of ann-benchmarks (arXiv:1807.05614). No queries: 1.
    """
    if exact.size == 0:
        return 1.0
    threshold = exact[:, -1:] - tolerance * np.abs(exact[:, -1:])
    return float((reached >= threshold).mean())
