"""The networks of the preset graph, node2vec and a GNN, and their settings.

node2vec begins with the vectors of the last release; a killed training of the GNN goes on where it
stopped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from scipy import sparse

from embeddings.item_item.held_back import HeldBack, learned_from, without
from embeddings.vectors.embedder import Embedder, EmbeddingGraph, Embeddings
from graph.arrays import F32
from graph.errors import InputError, SettingError
from graph.weighted import WeightedGraph

Say = Callable[[str], None]
Trained = tuple[Embeddings, Embeddings]  # learned without the select pairs, and from everything
Last = Mapping[str, tuple[F32, F32]]  # network -> items' input and output vectors

NODE2VEC, GNN = "node2vec", "gnn"
TYPES = {"user": 0, "item": 1, "tag": 2}  # of nodes, as walks count them


@dataclass(frozen=True)
class Networks:
    """The settings of the networks.

    `node2vec_engine` "package" runs the node2vec package, for small graphs; `node2vec_metapath`
    names the types of nodes that walks pass in a cycle; empty: walks take any edge. node2vec begins
    with its last vectors wherever there are some, so that new ones stay near; the GNN begins with
    the singular vectors of the graph, which stay near anyway.
    """

    node2vec_engine: Literal["fast", "package"] = "fast"
    node2vec_metapath: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.node2vec_metapath:
            if name not in TYPES:
                raise SettingError(
                    f"setting 'node2vec_metapath': {name!r} is not one of {', '.join(TYPES)}"
                )


def graph_vectors(
    graph: WeightedGraph,
    held: HeldBack,
    networks: Networks,
    seed: int,
    threads: int,
    say: Say,
    *,
    unseen: sparse.csr_matrix | None = None,
    last: Last | None = None,
    training: Path | None = None,
) -> dict[str, Trained]:
    """node2vec and GNN vectors, learned without what is held back and from everything.

    The first tell how long to train and how much the vectors are worth in the blend; if no pairs
    are held back, both are the same. An `InputError` if the extra `train` is not installed.

    Args:
        graph: its edges after weighting.
        held: pairs that are held back, and features that do not give these away.
        networks: their settings.
        seed: of walks and of training.
        threads: one gives the same bytes for the same seed.
        say: called with the name of each step.
        unseen: pairs that must not influence any choice; the first vectors never see them.
        last: of the last release; vectors learned without the held pairs never begin from it.
        training: a folder for checkpoints of the GNN; None: there are none.
    """
    try:
        from embeddings.vectors.gnn_embedder import GnnEmbedder
        from embeddings.vectors.gnn_network import GnnConfig
        from embeddings.vectors.node2vec_embedder import Node2VecConfig, Node2VecEmbedder
    except ImportError as error:
        raise InputError(
            f"the preset graph trains networks and needs {error.name}: install nichegraph[train]"
        ) from error

    users = sparse.csr_matrix(graph.user_items)
    tags = sparse.csr_matrix(graph.item_tags)
    related = sparse.csr_matrix(graph.item_items) if graph.item_items.nnz else None
    everything = EmbeddingGraph(users, tags, related)
    select = held.select
    written = next(
        (feature.rows.T for feature in held.features or () if feature.name == "tags"), tags
    )
    part = everything
    if select.nnz:
        known = users if unseen is None else without(users, unseen)
        part = EmbeddingGraph(learned_from(known, held), sparse.csr_matrix(written), related)

    def learn(embedder: Embedder, seen: EmbeddingGraph) -> Embeddings:
        pairs = f"{seen.user_items.nnz:,} pairs"
        say(f"training {embedder.name} on {pairs}")
        tenths = [0]

        def tell(step: str, share: float) -> None:
            if int(10 * share) > tenths[-1]:
                tenths.append(int(10 * share))
                say(f"{step}: {share:.0%}")

        return embedder.embed(seen, seed=seed, progress=tell)

    def checkpoint(name: str) -> Path | None:
        if training is None:
            return None
        training.mkdir(parents=True, exist_ok=True)
        path = training / f"gnn-{name}.checkpoint"
        if path.exists():
            say("a training run was stopped: continuing it, if the data is the same")
        return path

    begun = last or {}
    metapath = tuple(TYPES[name] for name in networks.node2vec_metapath)
    walking = Node2VecConfig(engine=networks.node2vec_engine, metapath=metapath, threads=threads)
    settings = GnnConfig(threads=threads)
    validation = select if select.nnz else None
    looked = learn(GnnEmbedder(settings, validation, checkpoint=checkpoint("part")), part)
    begins = Node2VecEmbedder(walking, start=begun.get(NODE2VEC))
    if not select.nnz:
        once = learn(begins, everything)
        return {NODE2VEC: (once, once), GNN: (looked, looked)}
    settled = replace(settings, epochs=max(1, looked.report["best_epoch"]))
    finished = GnnEmbedder(settled, checkpoint=checkpoint("whole"))
    return {
        NODE2VEC: (learn(Node2VecEmbedder(walking), part), learn(begins, everything)),
        GNN: (looked, learn(finished, everything)),
    }
