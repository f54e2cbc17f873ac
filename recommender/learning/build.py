"""Everything a release serves, learned from a weighted graph or taken from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from embeddings.item_item.blend import build_item_table
from embeddings.item_item.held_back import HeldBack, learned_from
from embeddings.item_item.recency import weighed
from embeddings.item_item.scorers import LearnedVectors, Pair, Recipe
from embeddings.vectors.embedder import Embedder, EmbeddingGraph, Embeddings
from graph.errors import InputError
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from graph.weighting import Weighting, speaking
from recommender.learning.held_parts import features_of, held_parts, order_of_pairs
from recommender.measures.split import relevant_pairs
from recommender.releases.graph_arrays import Arrays, attribute_columns, graph_arrays

Say = Callable[[str], None]
Preset = Literal["default", "fast", "graph"]
Trained = tuple[Embeddings, Embeddings]  # without the select pairs, and from everything

SPECTRAL = "spectral"
VECTOR_DIMENSIONS = 64  # of the spectral vectors that FAISS searches: enough to propose
LIKENESS_DIMENSIONS = 32  # of the vectors that tell how alike two items of a list are
GRAPH_FUSION = 0.05  # of a graph preset's vector source, before its weight is fitted


@dataclass(frozen=True)
class RefreshConfig:
    """What a refresh computes."""

    preset: Preset = "default"
    seed: int = 0
    weighting: Weighting = field(default_factory=Weighting)
    threads: int = 2  # one thread: the same seed gives the same bytes

    def to_json(self) -> dict[str, Any]:
        """As the manifest and the fingerprint hold it."""
        return {
            "preset": self.preset,
            "seed": self.seed,
            "weighting": self.weighting.to_json(),
            "threads": self.threads,
        }


@dataclass(frozen=True)
class Built:
    """A release before it is written."""

    arrays: Arrays
    vectors: dict[str, npt.NDArray[np.float32]]  # name -> (i, d), each to be indexed
    weights: dict[str, float]  # name -> its share when sources are fused
    recipe: Recipe  # what the table was made by
    manifest: dict[str, Any]


def build(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
    say: Say,
    *,
    recipe: Recipe | None = None,
    fusion: Mapping[str, float] | None = None,
    start: npt.NDArray[np.float32] | None = None,
) -> Built:
    """Compute table, vectors and all that filters, reasons and fallbacks need.

    Args:
        snapshot: ids, titles, times.
        graph: its edges after weighting; what is learned from.
        config: preset, seed, threads.
        say: told what is being done.
        recipe: of the item table, when it was chosen before; else it is chosen here.
        fusion: weights of the vector sources, when they were chosen before.
        start: (i, d) the last release's spectral vectors, from which the search for those of the
            whole graph begins; nothing is chosen by them.
    """
    user_items = sparse.csr_matrix(graph.user_items)
    user_items.sort_indices()
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    order = order_of_pairs(pairs, user_items)
    ways: list[HeldBack] = []
    if recipe is None or config.preset == "graph":  # else nothing is chosen here
        ways = held_parts(snapshot, graph, config.weighting, config.seed)
    trained: dict[str, Trained] = {}
    if config.preset == "graph":
        trained = _graph_vectors(graph, ways[0], config, say)
    say("choosing and fitting the item table")
    table, spectral, report = build_item_table(
        user_items,
        features_of(graph),
        preset="fast" if config.preset == "fast" else "default",
        seed=config.seed,
        progress=say,
        held=ways,
        recipe=recipe,
        threads=config.threads,
        start=start,
        learned=[
            LearnedVectors(name, *(Pair(one.items, _ranked(one)) for one in both))
            for name, both in trained.items()
        ],
    )
    scaled = spectral.item_vectors * np.sqrt(spectral.values)  # (i, d)
    vectors = {SPECTRAL: _at_least_one_column(scaled[:, :VECTOR_DIMENSIONS])}
    arrays: Arrays = {"table.neighbours": table.neighbours, "table.scores": table.scores}
    reports: dict[str, Any] = {}
    for name, (_, made) in trained.items():
        vectors[name] = _ranked(made)
        arrays[f"queries.{name}"] = np.ascontiguousarray(made.items, np.float32)
        reports[name] = made.report
    exponent = report.recipe.recency_exponent
    histories = user_items if order is None else weighed(user_items, order, exponent)
    arrays |= graph_arrays(snapshot, graph, histories, pairs.at)
    arrays["likeness"] = _unit_rows(_at_least_one_column(scaled[:, :LIKENESS_DIMENSIONS]))
    attribute_arrays, attributes = attribute_columns(snapshot)
    arrays |= attribute_arrays
    weights = {name: 0.0 if name == SPECTRAL else GRAPH_FUSION for name in vectors}
    return Built(
        arrays=arrays,
        vectors=vectors,
        weights=weights | dict(fusion or {}),
        recipe=report.recipe,
        manifest={
            "counts": _counts(snapshot, graph),
            "event_kinds": list(snapshot.kinds),
            "speaking": speaking(snapshot, config.weighting),
            "relation_kinds": list(snapshot.item_relations.kinds),
            "domains_from": graph.domains_from,
            "attributes": attributes,
            "item_table": report.as_json(),
            "embedders": reports,
        },
    )


def _graph_vectors(
    graph: WeightedGraph,
    held: HeldBack,
    config: RefreshConfig,
    say: Say,
) -> dict[str, Trained]:
    """node2vec and GNN vectors, learned without what is held back and from everything.

    The first tell how long to train and how much the vectors are worth in the blend; where there
    are no such pairs, both are the same. An `InputError` when the extra `train` is not installed.
    """
    try:
        from embeddings.vectors.gnn_embedder import GnnConfig, GnnEmbedder
        from embeddings.vectors.node2vec_embedder import Node2VecConfig, Node2VecEmbedder
    except ImportError as error:
        raise InputError(
            f"the preset graph trains networks and needs {error.name}: install nichegraph[train]"
        ) from error

    users = sparse.csr_matrix(graph.user_items)
    tags = sparse.csr_matrix(graph.item_tags)
    related = sparse.csr_matrix(graph.item_items) if graph.item_items.nnz else None
    whole = EmbeddingGraph(users, tags, related)
    select = held.select
    written = next((one.rows.T for one in held.features or () if one.name == "tags"), tags)
    part = whole
    if select.nnz:
        part = EmbeddingGraph(learned_from(users, held), sparse.csr_matrix(written), related)

    def learn(embedder: Embedder, seen: EmbeddingGraph) -> Embeddings:
        pairs = f"{seen.user_items.nnz:,} pairs"
        say(f"training {embedder.name} on {pairs}")
        tenths = [0]

        def tell(step: str, share: float) -> None:
            if int(10 * share) > tenths[-1]:
                tenths.append(int(10 * share))
                say(f"{step}: {share:.0%}")

        return embedder.embed(seen, seed=config.seed, progress=tell)

    node2vec = Node2VecEmbedder(Node2VecConfig(threads=config.threads))
    settings = GnnConfig(threads=config.threads)
    looked = learn(GnnEmbedder(settings, validation=select if select.nnz else None), part)
    settled = replace(settings, epochs=max(1, looked.report["best_epoch"]))
    if not select.nnz:
        once = learn(node2vec, whole)
        return {"node2vec": (once, once), "gnn": (looked, looked)}
    return {
        "node2vec": (learn(node2vec, part), learn(node2vec, whole)),
        "gnn": (looked, learn(GnnEmbedder(settled), whole)),
    }


def _ranked(made: Embeddings) -> npt.NDArray[np.float32]:
    """(i, d) the vectors that queries are compared with."""
    return np.ascontiguousarray(
        made.items if made.item_outputs is None else made.item_outputs, np.float32
    )


def _counts(snapshot: GraphSnapshot, graph: WeightedGraph) -> dict[str, int]:
    return {
        "users": len(snapshot.users),
        "items": len(snapshot.items),
        "tags": len(snapshot.tags),
        "domains": len(graph.domains),
        "events": len(snapshot.events.user),
        "user_items": int(graph.user_items.nnz),
        "item_tags": int(graph.item_tags.nnz),
        "item_items": int(graph.item_items.nnz),
        "user_users": int(graph.user_users.nnz),
    }


def _at_least_one_column(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """FAISS and products need a width, also of an empty catalogue."""
    if vectors.shape[1] == 0:
        vectors = np.zeros((len(vectors), 1), np.float32)
    return np.ascontiguousarray(vectors, np.float32)


def _unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
