"""Everything a release serves, learned from a weighted graph or taken from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy import sparse

from embeddings.item_item.blend import choose_recipe
from embeddings.item_item.few import both_tables, few_of, few_table
from embeddings.item_item.fitting import Learned, fit_table
from embeddings.item_item.follows import follow_table
from embeddings.item_item.held_back import without
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.recency import weighed
from embeddings.item_item.recipe import Recipe
from embeddings.item_item.relearning import relearned
from embeddings.item_item.scorers import Feature, Fitted, LearnedVectors, Pair
from embeddings.item_item.table_settings import TableSettings
from embeddings.vectors.embedder import Embeddings
from graph.arrays import F32, unit_rows
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from graph.weighting import Weighting, speaking
from recommender.learning.going_on import Changes, Fit, fit_after
from recommender.learning.held_parts import features_of, held_parts, order_of_pairs
from recommender.learning.item_features import chosen_word_weight
from recommender.learning.networks import Last, Networks, Trained, graph_vectors
from recommender.learning.sequences import sharpened, trained, what_trains, with_sequences
from recommender.learning.split import relevant_pairs
from recommender.ranking.sources import SEQUENCE
from recommender.releases.graph_arrays import Arrays, attribute_columns, graph_arrays
from recommender.releases.item_words import texts_among
from recommender.releases.people import attribute_names, people_arrays, user_attributes
from recommender.releases.steps import Steps

Say = Callable[[str], None]
Preset = Literal["default", "fast", "graph", "sequence"]

SPECTRAL = "spectral"
VECTOR_DIMENSIONS = 64  # of the spectral vectors that FAISS searches: enough to propose items
LIKENESS_DIMENSIONS = 32  # of the vectors that tell how alike two items of a list are
GRAPH_FUSION = 0.05  # weight of a vector source of the preset graph, before it is fitted


@dataclass(frozen=True)
class RefreshConfig:
    """What a refresh computes."""

    preset: Preset = "default"
    seed: int = 0
    weighting: Weighting = field(default_factory=Weighting)
    threads: int = 2  # one thread: the same seed gives the same bytes
    networks: Networks = field(default_factory=Networks)  # of the preset graph
    consent: bool = True  # may users who have not said be learned from
    table: TableSettings = field(default_factory=TableSettings)

    def to_json(self) -> dict[str, Any]:
        """As the manifest and the fingerprint hold it."""
        return {
            "preset": self.preset,
            "seed": self.seed,
            "weighting": self.weighting.to_json(),
            "threads": self.threads,
            "networks": asdict(self.networks),
            "consent": self.consent,
            "table": self.table.to_json(),
        }


@dataclass(frozen=True)
class Built:
    """A release before it is written."""

    arrays: Arrays
    vectors: dict[str, F32]  # name -> (i, d), each to be indexed
    weights: dict[str, float]  # name -> its share when sources are fused
    recipe: Recipe  # what the table was made by
    manifest: dict[str, Any]
    fit: Fit | None = None  # to go on from at the next refresh


@dataclass(frozen=True)
class Choice:
    """What was chosen on held-back data, before anything is fitted on all data."""

    recipe: Recipe
    report: dict[str, Any] = field(default_factory=dict)  # what was tried, for the manifest
    networks: dict[str, Trained] = field(default_factory=dict)


def choose(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
    say: Say,
    *,
    last: Last | None = None,
    steps: Steps | None = None,
) -> Choice:
    """Train the networks of a preset that has some, and choose the recipe of the item table.

    Args:
        snapshot: ids and times.
        graph: its edges after weighting.
        config: preset, seed, threads.
        say: called with the name of each step.
        last: what networks learned for the last release, see `networks_of`.
        steps: keeps finished steps, in case the refresh is killed; None: nothing is kept.
    """
    if config.preset == "sequence":
        what_trains()  # or say now that it is missing
    ways, gate = held_parts(snapshot, graph, config.weighting, config.seed)
    networks: dict[str, Trained] = {}
    if config.preset == "graph":
        training = None if steps is None else steps.folder / "training"

        def trained() -> dict[str, Trained]:
            return graph_vectors(
                graph, ways[0], config.networks, config.seed, config.threads, say,
                unseen=gate, last=last, training=training,
            )  # fmt: skip

        networks = trained() if steps is None else steps.value("networks", trained)
    say("choosing how the item table is made")
    user_items = _sorted(graph)
    report = choose_recipe(
        user_items,
        features_of(graph),
        preset=_table_preset(config),
        seed=config.seed,
        say=say,
        held=ways,
        unseen=gate,
        threads=config.threads,
        learned=network_vectors(networks),
        settings=config.table,
    )
    weight = chosen_word_weight(
        snapshot, graph, gate, config.weighting, config.seed, report.tried, say
    )
    report = replace(report, recipe=replace(report.recipe, word_weight=weight))
    recipe, facts = report.recipe, report.as_json()
    if config.preset == "sequence":
        known = without(sparse.csr_matrix(user_items, dtype=np.float32), gate)
        recipe, tried = with_sequences(
            recipe, known, ways[0], features_of(graph),
            seed=config.seed, threads=config.threads, say=say,
        )  # fmt: skip
        facts["tried"] |= tried
    return Choice(recipe, facts, networks)


def build(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
    say: Say,
    *,
    choice: Choice | None = None,
    start: F32 | None = None,
    changes: Changes | None = None,
    beside: Learned | None = None,
) -> Built:
    """Compute the table, the vectors, and all that filters, reasons and fallbacks need.

    Args:
        snapshot: ids, titles, times.
        graph: its edges after weighting; what is learned from.
        config: preset, seed, threads.
        say: called with the name of each step.
        choice: the recipe of the table; None: it is chosen here.
        start: (i, d) the last release's spectral vectors. The search for those of the whole graph
            begins there; they have no say in what is chosen.
        changes: what changed since the last fit, see `changes_since`; only that is learned anew.
            None: everything is.
        beside: see `fit_table`.
    """
    choice = choice or choose(snapshot, graph, config, say)
    user_items, recipe = _sorted(graph), choice.recipe
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    order = order_of_pairs(pairs, user_items)
    say("fitting the item table")
    features = features_of(graph)
    if changes is None:
        table, spectral, learned = fit_table(
            sparse.csr_matrix(user_items, dtype=np.float32), features, recipe,
            seed=config.seed, threads=config.threads, start=start,
            learned=network_vectors(choice.networks), beside=beside,
        )  # fmt: skip
    else:
        fitted = Fitted(user_items, features, recipe, config.seed, config.threads, ())
        table, spectral, learned = relearned(
            changes.table, changes.learned, fitted, recipe, changes.changed, changes.fresh,
            config.threads,
        )  # fmt: skip
    scaled = spectral.item_vectors * np.sqrt(spectral.values)  # (i, d)
    vectors = {SPECTRAL: _at_least_one_column(scaled[:, :VECTOR_DIMENSIONS])}
    vectors |= {name: _ranked(made) for name, (_, made) in choice.networks.items()}
    embedders = {name: made.report for name, (_, made) in choice.networks.items()}
    arrays = _table_arrays("table", table) | _few_arrays(
        user_items, features, recipe, table, config
    )
    arrays |= {
        f"queries.{name}": np.ascontiguousarray(made.items, np.float32)
        for name, (_, made) in choice.networks.items()
    }
    histories = user_items
    if order is not None:
        histories = weighed(user_items, order, recipe.recency_exponent)
        arrays |= _follows_arrays(user_items, order, recipe, config.threads)
    if recipe.sequence_weight and order is not None and config.preset == "sequence":
        say("training the sequence model on everything")
        model, embedders[SEQUENCE] = trained(
            user_items, order, scaled, recipe.sequence_epochs, config.seed, config.threads, say
        )
        model = sharpened(model, recipe.sequence_sharpness)
        arrays |= {f"{SEQUENCE}.{name}": array for name, array in model.arrays.items()}
    attribute_arrays, attributes = attribute_columns(snapshot)
    arrays |= graph_arrays(snapshot, graph, histories, pairs.at)
    arrays |= people_arrays(snapshot, graph) | attribute_arrays
    arrays["likeness"] = unit_rows(_at_least_one_column(scaled[:, :LIKENESS_DIMENSIONS]))
    return Built(
        arrays=arrays,
        vectors=vectors,
        weights={name: 0.0 if name == SPECTRAL else GRAPH_FUSION for name in vectors},
        recipe=recipe,
        manifest={
            "counts": _counts(snapshot, graph),
            "event_kinds": list(snapshot.kinds),
            "speaking": speaking(snapshot, config.weighting),
            "relation_kinds": list(snapshot.item_relations.kinds),
            "domains_from": graph.domains_from,
            "attributes": attributes,
            "user_attributes": attribute_names(user_attributes(snapshot)),
            "scales": {name: asdict(scale) for name, scale in graph.scales.items()},
            "texts": texts_among(snapshot.item_attributes.to_pylist()),
            "item_table": choice.report,
            "embedders": embedders,
        },
        fit=fit_after(learned, changes, len(snapshot.items)) if learned else None,
    )


def _sorted(graph: WeightedGraph) -> sparse.csr_matrix:
    """(u, i) what users chose, the items of each in order."""
    user_items = sparse.csr_matrix(graph.user_items)
    user_items.sort_indices()
    return user_items


def _table_arrays(name: str, table: ItemTable) -> Arrays:
    return {f"{name}.neighbours": table.neighbours, f"{name}.scores": table.scores}


def _few_arrays(
    user_items: sparse.csr_matrix, features: Sequence[Feature], recipe: Recipe, table: ItemTable,
    config: RefreshConfig,
) -> Arrays:  # fmt: skip
    """The tables that short histories read; empty where the recipe has none."""
    if not recipe.few_items:
        return {}
    fitted = Fitted(user_items, features, recipe, config.seed, config.threads, ())
    few = few_table(fitted, few_of(recipe), table.scores, config.threads)
    return _table_arrays("few", few) | _table_arrays("both", both_tables(few, table))


def _follows_arrays(
    user_items: sparse.csr_matrix, order: sparse.csr_matrix, recipe: Recipe, threads: int
) -> Arrays:
    """What follows what, and how much each entry of a history reads of it; empty without."""
    if not recipe.follows_weight:
        return {}
    newest = weighed(user_items, order, recipe.follows_steepness).data
    follows = follow_table(user_items, order, threads=threads)
    weights: Arrays = {"histories.newest": np.float32(recipe.follows_weight) * newest}
    return _table_arrays("follows", follows) | weights


def _table_preset(config: RefreshConfig) -> Literal["fast", "default"]:
    return "fast" if config.preset == "fast" else "default"


def network_vectors(networks: Mapping[str, Trained]) -> list[LearnedVectors]:
    """The networks' vectors, in the form that scorers of the item table take."""
    return [
        LearnedVectors(name, *(Pair(vectors.items, _ranked(vectors)) for vectors in both))
        for name, both in networks.items()
    ]


def _ranked(made: Embeddings) -> F32:
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


def _at_least_one_column(vectors: F32) -> F32:
    """Vectors with at least one column: FAISS and products need it, even without any items."""
    if vectors.shape[1] == 0:
        vectors = np.zeros((len(vectors), 1), np.float32)
    return np.ascontiguousarray(vectors, np.float32)
