"""Turn new vectors onto the last release's, so that neighbours and caches stay comparable."""

import numpy as np
from numpy.typing import NDArray

from embeddings.embedder import Vectors


def rotation(new: Vectors, old: Vectors) -> Vectors:
    """The orthogonal (d, d) matrix R that brings new @ R nearest to old (Schönemann 1966).

    Rows of both (n, d) belong to the same nodes; distances inside `new` stay as they are. No
    common rows give the identity. Raises ValueError when shapes differ.
    """
    if new.shape != old.shape:
        raise ValueError(f"vectors to align have shapes {new.shape} and {old.shape}")
    if len(new) == 0:
        return np.eye(new.shape[1], dtype=np.float32)
    left, _, right = np.linalg.svd(new.T.astype(np.float64) @ old)
    return (left @ right).astype(np.float32)


def neighbour_overlap(new: Vectors, old: Vectors, *, count: int = 10) -> NDArray[np.float64]:
    """Jaccard overlap (n,) of each row's `count` nearest by cosine, before and after.

    Exact and quadratic: pass a sample of the rows when there are more than some ten thousand.
    """
    nearest = [_nearest(vectors, count) for vectors in (new, old)]
    common = np.array(
        [len(np.intersect1d(a, b)) for a, b in zip(*nearest, strict=True)], dtype=np.float64
    )
    return common / np.maximum(2 * nearest[0].shape[1] - common, 1)


def _nearest(vectors: Vectors, count: int) -> NDArray[np.intp]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1.0)
    count = max(0, min(count, len(unit) - 1))
    found = np.empty((len(unit), count), dtype=np.intp)
    for begin in range(0, len(unit), 1024):
        scores = unit[begin : begin + 1024] @ unit.T
        scores[np.arange(len(scores)), begin + np.arange(len(scores))] = -np.inf
        found[begin : begin + 1024] = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return found
