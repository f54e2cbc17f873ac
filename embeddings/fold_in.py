"""Vectors for what the model has not seen: an item from its tags and words, a user from events.

Plain numpy on exported arrays, microseconds a call, so that workers need no torch.
"""

import numpy as np
from numpy.typing import NDArray

from embeddings.embedder import Vectors
from embeddings.inductive import InductiveMap

Rows = NDArray[np.integer]


def fold_in_item(
    learned: InductiveMap,
    tag_rows: Rows,
    tag_weights: NDArray[np.floating],
    word_rows: Rows,
) -> Vectors:
    """Unit vector (d,) of an item with these tags and title words, in the space of the items.

    `tag_weights` are positive, one for each of `tag_rows`. Nothing known, or only features no
    training item had, gives zeros. Raises ValueError when rows and weights differ in length.
    """
    if len(tag_rows) != len(tag_weights):
        raise ValueError(f"{len(tag_rows)} tag rows but {len(tag_weights)} weights")
    tags = np.asarray(tag_weights, dtype=np.float32)
    summed = np.zeros(learned.tags.shape[1], dtype=np.float32)
    if len(tags) and tags.sum() > 0:
        scaled = tags * learned.tag_scales[tag_rows] / np.sqrt(tags.sum())
        summed += scaled @ learned.tags[tag_rows]  # (k,) @ (k, d) -> (d,)
    if len(word_rows):
        scaled = learned.word_scales[word_rows] / np.float32(np.sqrt(len(word_rows)))
        summed += scaled @ learned.words[word_rows]
    return _unit(summed)


def fold_in_user(
    items: Vectors, history: Rows, weights: NDArray[np.floating] | None = None
) -> Vectors:
    """Unit vector (d,) of a user with these items in the history; an empty one gives zeros.

    The mean of the items' vectors (i, d), each weighted by its event's positive weight: what the
    network does for users it knows, without their own vector.
    """
    if len(history) == 0:
        return np.zeros(items.shape[1], dtype=np.float32)
    shares = np.ones(len(history)) if weights is None else np.asarray(weights)
    return _unit(shares.astype(np.float32) @ items[history])


def _unit(vector: Vectors) -> Vectors:
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float32)
