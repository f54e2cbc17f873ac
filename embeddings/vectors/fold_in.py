"""Vectors for what the model has never seen: an item from its features, users from their events.

Plain numpy on exported arrays, microseconds a call, so that workers need no torch.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from embeddings.vectors.inductive import Features, InductiveMap, rows_scaled
from graph.arrays import F32, unit_rows

RELATED = "related"

Rows = NDArray[np.integer]
Weights = NDArray[np.floating]


def fold_in_item(
    learned: InductiveMap,
    features: Mapping[str, tuple[Rows, Weights]],
    related: F32,
) -> dict[str, F32]:
    """What each feature and related item adds to the unit vector of an item: (k, d) by kind.

    The sum of all rows is the vector, of length one, in the space of the items; or zeros, where
    nothing is known, or only features that no training item had.

    Args:
        learned: the map.
        features: by kind of the map, rows of features and a positive weight for each.
        related: (r, d) vectors of related items, of any length. Their directions are averaged,
            and what the features say counts as one of them; their rows are of kind `RELATED`.

    Raises:
        ValueError: rows and weights of a kind differ in length.
    """
    parts: dict[str, F32] = {}
    for kind, (rows, weights) in features.items():
        if len(rows) != len(weights):
            raise ValueError(f"{len(rows)} {kind} but {len(weights)} weights")
        shares = np.asarray(weights, np.float32)
        shares = shares / np.sqrt(max(float(shares.sum()), 1e-12))
        parts[kind] = shares[:, None] * learned.vectors[kind][rows].astype(np.float32)
    parts = _scaled(parts)
    parts[RELATED] = unit_rows(related)
    return _scaled(parts)


def fold_in_items(learned: InductiveMap, features: Features) -> F32:
    """(n, d) unit vectors of many items at once, without relations; zeros where nothing is known.

    `features` holds (n, f) positive weights by kind of the map.
    """
    made = sum(rows_scaled(rows) @ learned.vectors[kind] for kind, rows in features.items())
    return unit_rows(np.asarray(made))


def fold_in_users(vectors: F32, histories: csr_array) -> F32:
    """(b, d) what users with these histories (b, i) compare items with; an empty one gives zeros.

    The sum of the items' vectors (i, d), each times its weight in the history.
    """
    return (histories @ vectors).astype(np.float32)  # (b, i) @ (i, d) -> (b, d)


def _scaled(parts: dict[str, F32]) -> dict[str, F32]:
    """The rows, all multiplied by the factor that gives their sum the length 1."""
    summed = sum((part.sum(axis=0) for part in parts.values()), np.zeros(1, np.float32))
    length = float(np.linalg.norm(summed))
    return {kind: part / length if length > 0 else part for kind, part in parts.items()}
