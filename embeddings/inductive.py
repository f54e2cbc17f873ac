"""What is exported so that items never seen get vectors: one linear map from features.

The map is trained in `gnn_embedder.fit_inductive`; this module holds its arrays and imports
nothing but numpy, so workers can load it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings.embedder import Vectors


@dataclass(frozen=True)
class InductiveMap:
    """Vectors of tags (domains may be among them) and words, and what scales each.

    An item's vector is the sum over its tags of weight * scale * vector / sqrt(sum of weights),
    plus the same over its distinct title words with weight 1, brought to length one.
    """

    tags: Vectors  # (t, d)
    words: Vectors  # (w, d)
    tag_scales: NDArray[np.float32]  # (t,): total weight in training, to the power -1/2
    word_scales: NDArray[np.float32]  # (w,)


def feature_scales(features: sparse.csr_matrix) -> NDArray[np.float32]:
    """(f,) column weights to the power -1/2 of an (i, f) matrix; 0 for features never seen."""
    totals = np.asarray(features.sum(axis=0), dtype=np.float64).ravel()
    scales = np.divide(1.0, np.sqrt(totals), out=np.zeros_like(totals), where=totals > 0)
    return scales.astype(np.float32)


def apply(learned: InductiveMap, tags: sparse.csr_matrix, words: sparse.csr_matrix) -> Vectors:
    """(n, d) unit vectors of n items from their tags (n, t) and words (n, w); unknown ones 0."""
    summed = np.zeros((tags.shape[0], learned.tags.shape[1]), dtype=np.float32)
    for features, vectors, scales in (
        (tags, learned.tags, learned.tag_scales),
        (words, learned.words, learned.word_scales),
    ):
        totals = np.asarray(features.sum(axis=1), dtype=np.float64).ravel()
        rows = sparse.diags(1.0 / np.sqrt(np.where(totals > 0, totals, 1.0)))
        summed += (rows @ features) @ (scales[:, None] * vectors)  # (n, f) @ (f, d) -> (n, d)
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    return (summed / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
