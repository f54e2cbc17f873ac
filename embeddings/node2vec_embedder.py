"""Vectors from random walks: node2vec by our own engine, or by the node2vec package.

Grover and Leskovec 2016, arXiv 1607.00653. The only module that imports the package, and only
when its engine is asked for.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings.embedder import EmbeddingGraph, Embeddings, Progress, Vectors, adjacency
from embeddings.skipgram import SkipgramConfig, train
from embeddings.walks import WalkConfig, prepare, start_nodes, walk_blocks
from graph.errors import SettingError

PACKAGE_LIMIT = 20_000_000
"""Largest sum of squared degrees for the package, whose time and memory grow with it."""


@dataclass(frozen=True)
class Node2VecConfig:
    """How to walk and what to learn; the defaults are not yet tuned on a validation part.

    `engine` "package" runs the node2vec package, for graphs up to `PACKAGE_LIMIT` in the sum of
    squared degrees. `contexts` "items" learns output vectors for items alone: half the work, and
    all that ranking needs; "all" is node2vec as published.
    """

    dimensions: int = 128
    walks: int = 20
    length: int = 20
    window: int = 3
    p: float = 1.0
    q: float = 1.0
    negatives: float = 5.0
    shared: int = 32
    negative_exponent: float = 0.0
    learning_rate: float = 0.2
    epochs: int = 1
    contexts: Literal["items", "all"] = "items"
    metapath: tuple[int, ...] = ()
    engine: Literal["fast", "package"] = "fast"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.engine not in ("fast", "package"):
            raise SettingError(f'engine is "fast" or "package", not {self.engine!r}')
        if self.contexts not in ("items", "all"):
            raise SettingError(f'contexts is "items" or "all", not {self.contexts!r}')
        if self.epochs < 1 or self.threads < 1:
            raise SettingError("epochs and threads must be at least 1")
        if self.engine == "package" and self.metapath:
            raise SettingError('the package knows no metapaths: use engine = "fast"')
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

    User and item vectors are input vectors; `item_outputs` are the items' output vectors, and
    a user or item vector times those ranks items (the package engine gives them as well).
    """

    config: Node2VecConfig = Node2VecConfig()
    name: str = "node2vec"

    def embed(
        self, graph: EmbeddingGraph, *, seed: int, progress: Progress | None = None
    ) -> Embeddings:
        """Vectors for every node; nodes without edges keep small noise.

        Raises SettingError when the package engine is asked for a graph beyond its limit.
        """
        matrix = adjacency(graph)
        if self.config.engine == "package":
            inputs, outputs = _by_package(matrix, self.config, seed)
        else:
            inputs, outputs = self._by_walks(matrix, graph.counts, seed, progress)
        users, items, _ = graph.counts
        return Embeddings(
            inputs[:users],
            inputs[users : users + items],
            inputs[users + items :],
            outputs[users : users + items],
            {"config": asdict(self.config), "nodes": len(inputs), "edges": int(matrix.nnz // 2)},
        )

    def _by_walks(
        self,
        matrix: sparse.csr_matrix,
        counts: tuple[int, int, int],
        seed: int,
        progress: Progress | None,
    ) -> tuple[Vectors, Vectors]:
        config = self.config
        walks = config.walk_config()
        prepared = prepare(matrix, counts if config.metapath else None)
        tokens = len(start_nodes(prepared, walks)) * walks.walks_per_node * walks.length
        users, items, _ = counts
        return train(
            walk_blocks(prepared, walks, seed=seed, threads=config.threads),
            visit_frequencies(matrix),
            tokens,
            config.skipgram_config(),
            contexts=(users, users + items) if config.contexts == "items" else None,
            seed=seed,
            threads=config.threads,
            progress=None if progress is None else lambda part: progress("node2vec", part),
        )


def visit_frequencies(matrix: sparse.csr_matrix) -> NDArray[np.float64]:
    """How often each node (n,) is visited by a long walk, up to a factor: its weighted degree."""
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()


def _by_package(
    matrix: sparse.csr_matrix, config: Node2VecConfig, seed: int
) -> tuple[Vectors, Vectors]:
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
