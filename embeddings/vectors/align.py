"""Turn new vectors onto the last release's, to keep neighbours and caches comparable."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.arrays import F32, F64, unit_rows

TIE_DECIMALS = 4
SCORES_AT_ONCE = 20_000_000


def rotation(new: F32, old: F32) -> F32:
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


def neighbour_overlap(
    new: F32, old: F32, *, count: int = 10, rows: NDArray[np.integer[Any]] | None = None
) -> F64:
    """Jaccard overlap (r,) of the `count` nearest by cosine of each of `rows`, before and after.

    Neighbours are sought among all rows of both (n, d), exactly, in time r n d; all rows are asked
    when none are named. Cosines that are the same to four decimals are ties, and the first rows
    win: items that the same people chose have the same vector but for rounding.
    """
    sample = np.arange(len(new)) if rows is None else np.asarray(rows)
    nearest = [_nearest(vectors, sample, count) for vectors in (new, old)]
    common = np.array(
        [len(np.intersect1d(a, b)) for a, b in zip(*nearest, strict=True)], dtype=np.float64
    )
    return common / np.maximum(2 * nearest[0].shape[1] - common, 1)


def _nearest(vectors: F32, rows: NDArray[np.integer[Any]], count: int) -> NDArray[np.intp]:
    unit = unit_rows(vectors)
    count = max(0, min(count, len(unit) - 1))
    neighbours = np.empty((len(rows), count), dtype=np.intp)
    step = max(1, SCORES_AT_ONCE // max(len(unit), 1))
    for begin in range(0, len(rows) if count else 0, step):
        own = rows[begin : begin + step]
        scores = np.round(unit[own] @ unit.T, TIE_DECIMALS)
        scores[np.arange(len(own)), own] = -np.inf
        least = np.partition(scores, len(unit) - count, axis=1)[:, len(unit) - count]
        for number, similarities in enumerate(scores):
            near = np.flatnonzero(similarities >= least[number])
            neighbours[begin + number] = near[
                np.argsort(-similarities[near], kind="stable")[:count]
            ]
    return neighbours
