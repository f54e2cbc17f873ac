"""The spectrum of a normalised graph: what a spectral filter ranks by, and what is searched.

GF-CF (Shen et al. 2021, arXiv:2108.07567).
"""

from embeddings.item_item.graph_filter import NormalisedGraph, vector_scores
from embeddings.singular import Spectral, leading
from graph.arrays import F32, I32


def spectrum(
    graph: NormalisedGraph,
    dimensions: int,
    seed: int,
    passes: int = 3,
    threads: int = 1,
    start: F32 | None = None,
) -> Spectral:
    """At most `dimensions` leading right singular vectors of a graph's X, see `leading`."""
    return leading(graph.rows, graph.columns, dimensions, seed, passes, threads, start)


def spectral_scores(
    spectral: Spectral, supports: I32, sharpness: float = 1.0, threads: int = 1, begin: int = 0
) -> F32:
    """(V diag(s^sharpness) V')[support, target] for each target: float32 (r, c), 0 at padding.

    The rows of supports (r, c) are those of the items `begin` and following.
    """
    rows = spectral.item_vectors[begin : begin + len(supports)]
    weighted = rows * spectral.values**sharpness
    return vector_scores(weighted, spectral.item_vectors, supports, threads)
