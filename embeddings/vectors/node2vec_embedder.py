"""Vectors from random walks: node2vec by our own engine, or by the node2vec package.

Grover and Leskovec 2016, arXiv 1607.00653. The only module that imports the package, and only
when its engine is asked for.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from embeddings.vectors.embedder import EmbeddingGraph, Embeddings, Progress, adjacency
from embeddings.vectors.skipgram import SkipgramConfig, noise, train
from embeddings.vectors.walks import WalkConfig, prepare, start_nodes, walk_blocks
from graph.arrays import F32, F64, Flags
from graph.errors import SettingError

PACKAGE_LIMIT = 20_000_000
"""Largest sum of squared degrees for the package, whose time and memory grow with it."""


@dataclass(frozen=True)
class Node2VecConfig:
    """How to walk and what to learn; the defaults were chosen on a tenth of Gowalla's train part.

    Walks step to an item or tag in proportion to the edge's weight × its degree**`popularity`:
    popular items are where tastes meet, and plain walks spend most steps beyond them.
    `engine` "package" runs the node2vec package, for graphs up to `PACKAGE_LIMIT` in the sum of
    squared degrees. `contexts` "items" learns output vectors for items alone: half the work, and
    all that ranking needs; "all" is node2vec as published.
    """

    dimensions: int = 128
    walks: int = 40
    length: int = 20
    window: int = 3
    p: float = 1.0
    q: float = 1.0
    popularity: float = 0.3
    negatives: float = 5.0
    shared: int = 32
    negative_exponent: float = 0.2
    learning_rate: float = 0.15
    epochs: int = 1
    contexts: Literal["items", "all"] = "items"
    metapath: tuple[int, ...] = ()
    engine: Literal["fast", "package"] = "fast"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.engine not in ("fast", "package"):
            raise SettingError(f'engine must be "fast" or "package", not {self.engine!r}')
        if self.contexts not in ("items", "all"):
            raise SettingError(f'contexts must be "items" or "all", not {self.contexts!r}')
        if self.epochs < 1 or self.threads < 1:
            raise SettingError("epochs and threads must be at least 1")
        if self.engine == "package" and self.metapath:
            raise SettingError('the package does not support metapaths: use engine = "fast"')
        self.walk_config()
        self.skipgram_config()

    def walk_config(self) -> WalkConfig:
        """The part of this that says how to walk; each epoch is a further round of walks."""
        return WalkConfig(self.walks * self.epochs, self.length, self.p, self.q, self.metapath)

    def skipgram_config(self) -> SkipgramConfig:
        """The part of this that says what to learn."""
        return SkipgramConfig(
            self.dimensions,
            self.window,
            self.negatives,
            self.shared,
            self.negative_exponent,
            self.learning_rate,
        )


@dataclass(frozen=True)
class Node2VecEmbedder:
    """node2vec over users, items and tags; bit-equal for a seed with one thread.

    Item vectors are input vectors; `item_outputs` are the items' output vectors, and a user or
    item vector times those ranks items (the package engine gives them as well). A user's vector
    is its own input vector plus the mean of those of its items: together they rank better than
    either alone, and the mean is what a user nobody has seen begins with.

    `start` holds items' input and output vectors (i, d) to begin with, those of the last release,
    so that new ones stay near; rows of 0 and every other node begin with noise. The package knows
    no start.
    """

    config: Node2VecConfig = Node2VecConfig()
    start: tuple[F32, F32] | None = None
    name: str = "node2vec"

    def embed(
        self, graph: EmbeddingGraph, *, seed: int, progress: Progress | None = None
    ) -> Embeddings:
        """Vectors for every node; nodes without edges keep small noise.

        Raises SettingError when the package engine is asked for a graph beyond its limit.
        """
        matrix = _towards_popular(adjacency(graph), graph.counts[0], self.config.popularity)
        if self.config.engine == "package":
            inputs, outputs = _by_package(matrix, self.config, seed)
        else:
            inputs, outputs = self._by_walks(matrix, graph, seed, progress)
        users, items, _ = graph.counts
        item_inputs = inputs[users : users + items]
        return Embeddings(
            inputs[:users] + _means(graph.user_items, item_inputs),
            item_inputs,
            inputs[users + items :],
            outputs[users : users + items],
            {"config": asdict(self.config), "nodes": len(inputs), "edges": int(matrix.nnz // 2)},
        )

    def _by_walks(
        self,
        matrix: sparse.csr_matrix,
        graph: EmbeddingGraph,
        seed: int,
        progress: Progress | None,
    ) -> tuple[F32, F32]:
        config, counts = self.config, graph.counts
        walks = config.walk_config()
        prepared = prepare(matrix, counts if config.metapath else None)
        tokens = len(start_nodes(prepared, walks)) * walks.walks_per_node * walks.length
        users, items, _ = counts
        start, settled = self._start(counts, seed)
        return train(
            walk_blocks(prepared, walks, seed=seed, threads=config.threads),
            visit_frequencies(adjacency(graph)),
            tokens,
            config.skipgram_config(),
            contexts=(users, users + items) if config.contexts == "items" else None,
            start=start,
            settled=settled,
            seed=seed,
            threads=config.threads,
            progress=None if progress is None else lambda part: progress("node2vec", part),
        )

    def _start(
        self, counts: tuple[int, int, int], seed: int
    ) -> tuple[tuple[F32, F32] | None, Flags | None]:
        """(n, d) vectors of all nodes to begin with, and which nodes (n,) were learned before."""
        users, items, _ = counts
        if self.start is None or self.start[0].shape != (items, self.config.dimensions):
            return None, None
        settled = np.zeros(sum(counts), np.bool_)
        settled[users : users + items] = self.start[0].any(axis=1)
        inputs, outputs = noise(sum(counts), self.config.dimensions, seed)
        own = np.flatnonzero(settled)
        inputs[own], outputs[own] = (part[own - users] for part in self.start)
        return (inputs, outputs), settled


def _towards_popular(matrix: sparse.csr_matrix, users: int, power: float) -> sparse.csr_matrix:
    """(n, n) each edge times (degree of its item or tag)**power, both degrees between items."""
    pull = visit_frequencies(matrix) ** power
    pull[:users] = 1.0
    scale = sparse.diags(pull.astype(np.float32))
    return sparse.csr_matrix(scale @ matrix @ scale)


def _means(user_items: sparse.csr_matrix, vectors: F32) -> F32:
    """(u, d) the weighted mean vector of each user's items, zeros without any."""
    weights = np.asarray(user_items.sum(axis=1), np.float32)
    return np.asarray(user_items @ vectors, np.float32) / np.maximum(weights, 1e-9)


def visit_frequencies(matrix: sparse.csr_matrix) -> F64:
    """How often each node (n,) is visited by a long walk, up to a factor: its weighted degree."""
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()


def _by_package(matrix: sparse.csr_matrix, config: Node2VecConfig, seed: int) -> tuple[F32, F32]:
    """The node2vec package with gensim's word2vec, one worker: its seed holds for one only."""
    degrees = np.diff(matrix.indptr).astype(np.int64)
    work = int(np.square(degrees).sum())
    if work > PACKAGE_LIMIT:
        message = (
            f"the node2vec package would need time and memory for {work:,} transitions, more than "
            f'{PACKAGE_LIMIT:,}: set engine = "fast"'
        )
        raise SettingError(message)
    import networkx as nx
    from node2vec import Node2Vec

    nodes = int(matrix.shape[0])
    network = nx.from_scipy_sparse_array(matrix)
    model = Node2Vec(
        network,
        dimensions=config.dimensions,
        walk_length=config.length,
        num_walks=config.walks * config.epochs,
        p=config.p,
        q=config.q,
        workers=1,
        seed=seed % 2**32,
        quiet=True,
    ).fit(
        window=config.window,
        negative=max(1, round(config.negatives)),
        ns_exponent=config.negative_exponent,
        min_count=0,
        seed=seed % 2**32,
        epochs=5,
    )
    rows = [int(key) for key in model.wv.index_to_key]
    inputs = np.zeros((nodes, config.dimensions), dtype=np.float32)
    outputs = np.zeros((nodes, config.dimensions), dtype=np.float32)
    inputs[rows] = model.wv.vectors
    outputs[rows] = model.syn1neg
    return inputs, outputs
