"""From the graph to vectors: what every embedder takes, promises and returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from graph.arrays import F32

Progress = Callable[[str, float], None]
"""Called with the name of a step and the share of it that is done, 0 to 1."""


@dataclass(frozen=True)
class EmbeddingGraph:
    """The weighted graph an embedder reads: positive float32 weights, rows and not ids.

    `user_items` is (u, i), `item_tags` (i, t); `item_items` (i, i) holds relations between items
    (citations, series) and may be missing. Raises ValueError when shapes do not fit together.
    """

    user_items: sparse.csr_matrix  # (u, i)
    item_tags: sparse.csr_matrix  # (i, t)
    item_items: sparse.csr_matrix | None = None  # (i, i)

    def __post_init__(self) -> None:
        items = self.user_items.shape[1]
        if self.item_tags.shape[0] != items:
            message = f"item_tags has {self.item_tags.shape[0]} rows, user_items {items} columns"
            raise ValueError(message)
        if self.item_items is not None and self.item_items.shape != (items, items):
            raise ValueError(f"item_items is {self.item_items.shape}, expected {(items, items)}")

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of users, items and tags: the lengths of the three runs of nodes."""
        users, items = self.user_items.shape
        return int(users), int(items), int(self.item_tags.shape[1])


@dataclass(frozen=True)
class Embeddings:
    """Vectors of every node, row for row as in the graph, float32.

    `item_outputs` are the items' output (context) vectors where a user's or item's vector times
    those ranks better than times `items`; None where it does not. `report` says, in values that
    JSON can hold, what was trained and how it went.
    """

    users: F32  # (u, d)
    items: F32  # (i, d)
    tags: F32  # (t, d)
    item_outputs: F32 | None = None  # (i, d)
    report: dict[str, Any] = field(default_factory=dict)


class Embedder(Protocol):
    """A way to make vectors; bit-equal for the same graph and seed on one thread."""

    @property
    def name(self) -> str:
        """What reports and releases call its vectors."""
        ...

    def embed(
        self, graph: EmbeddingGraph, *, seed: int, progress: Progress | None = None
    ) -> Embeddings:
        """Vectors for every node of the graph; nodes without edges get zeros or small noise."""
        ...


def adjacency(graph: EmbeddingGraph) -> sparse.csr_matrix:
    """One symmetric matrix over the nodes [users | items | tags], float32, sorted, no diagonal.

    Relations between items count in both directions; where they are given in both, they add up.
    """
    users, items, tags = graph.counts
    related = graph.item_items
    if related is not None:
        related = (related + related.T).tocsr()
        related.setdiag(0)
        related.eliminate_zeros()
    if users + items + tags == 0:
        return sparse.csr_matrix(np.zeros((0, 0), dtype=np.float32))
    nothing: list[Any] = [sparse.coo_array((count, count)) for count in (users, items, tags)]
    blocks: list[list[Any]] = [
        [nothing[0], graph.user_items, None],
        [graph.user_items.T, nothing[1] if related is None else related, graph.item_tags],
        [None, graph.item_tags.T, nothing[2]],
    ]
    stacked: Any = sparse.bmat(blocks, format="csr")
    matrix = sparse.csr_matrix(stacked, dtype=np.float32)
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix
