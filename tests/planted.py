"""Graphs with planted niches, whose right neighbours are known, and users with planted tastes."""

import numpy as np
from scipy import sparse

from embeddings.vectors.embedder import EmbeddingGraph


def niches(seed=0, groups=6, users=20, items=15, tags=2, stray=0.05):
    """(graph, niche of each item): users take half their niche's items and few others.

    Each item wears one of its niche's tags; a twentieth of all choices stray anywhere.
    """
    rng = np.random.default_rng(seed)
    user_niche = np.repeat(np.arange(groups), users)
    item_niche = np.repeat(np.arange(groups), items)
    chance = np.where(user_niche[:, None] == item_niche, 0.5, 0.5 * stray / groups)
    user_items = sparse.csr_matrix((rng.random(chance.shape) < chance).astype(np.float32))
    worn = item_niche * tags + rng.integers(tags, size=len(item_niche))
    item_tags = sparse.csr_matrix(
        (np.ones(len(worn), np.float32), (np.arange(len(worn)), worn)),
        shape=(len(worn), groups * tags),
    )
    return EmbeddingGraph(user_items, item_tags), item_niche


def tastes(seed, users, items=600, motives=8):
    """User-item matrix (u, i): 8 to 59 choices each, by popularity, mixed motives, and chance.

    Nothing goes together for certain; many users tell the motives apart, few do not.
    """
    rng = np.random.default_rng(seed)
    wishes, kinds = rng.normal(size=(users, motives)), rng.normal(size=(items, motives))
    liking = wishes @ kinds.T / np.sqrt(motives) + 1.2 * rng.normal(size=items)
    best_first = np.argsort(-liking - rng.gumbel(size=liking.shape), axis=1)
    chosen = np.zeros(liking.shape, np.float32)
    for row, order, count in zip(chosen, best_first, rng.integers(8, 60, users), strict=True):
        row[order[:count]] = 1
    return sparse.csr_matrix(chosen)


def neighbours_in_niche(vectors, niche, count=10):
    """Share of each item's `count` nearest by cosine that lie in its own niche."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1)[:, :count]
    return float((niche[nearest] == niche[:, None]).mean())


def without_a_tenth(*batches):
    """(batches without the last tenth of the events, that tenth, how many events came before).

    The events lie in the last batch of `generate(…).batches()`.
    """
    *first, last = batches
    events = last["events"]
    known = len(events) - len(events) // 10
    return [*first, last | {"events": events.slice(0, known)}], events.slice(known), known
