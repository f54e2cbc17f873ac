"""Places items that nobody chose: those in the catalogue, and those that it does not have yet.

A map from tags, domains, words and numbers to vectors puts the former into the item table, see
`embeddings.item_item.cold_items`, and is kept in the release for the latter:

fold.tag_rows               (k,) rows of the tags about which something was learned
fold.words.data, .offsets   the vocabulary of words
fold.<source>.tags          (k, d) what each tag adds to an item's vector, see `InductiveMap`
fold.<source>.domains       (domains, d)
fold.<source>.words         (words, d)
fold.<source>.numbers       (knots, d)

`recommender.serving.new_items` reads them. Vectors are float16: d · 2 bytes a feature. There are
at most twice as many tags and words as items, and the domains. For `spectral` that is about 126
bytes an item on citeulike-a, 24 on ml-latest-small.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from embeddings.item_item.cold_items import content, with_cold_items
from embeddings.item_item.item_table import ItemTable
from embeddings.vectors.fold_in import fold_in_items
from embeddings.vectors.inductive import InductiveMap, fit_ridge
from graph.arrays import I64
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import SPECTRAL, Built, Say
from recommender.learning.item_features import KnownFeatures, known_features
from recommender.releases.contents import TABLES
from recommender.releases.graph_arrays import Arrays, vocabulary_arrays
from recommender.serving.new_items import PLACING


def with_new_items(
    built: Built, snapshot: GraphSnapshot, graph: WeightedGraph, say: Say, threads: int = 1
) -> Built:
    """What was built, with cold items added to its table and a map for each source of `PLACING`."""
    say("learning where new items belong")
    known = known_features(snapshot, graph, with_words=built.recipe.word_weight > 0)
    warm = {kind: part[known.items] for kind, part in known.features.items()}
    arrays: Arrays = {
        "fold.tag_rows": known.tag_rows.astype(np.int32),
        **vocabulary_arrays("fold.words", known.words),
    }
    maps = {
        source: fit_ridge(warm, built.vectors[source][known.items])
        for source in PLACING
        if source in built.vectors
    }
    for source, learned in maps.items():
        arrays |= map_arrays(source, learned)
    cold = np.setdiff1d(np.arange(len(snapshot.items)), known.items)
    if len(cold):
        arrays |= _with_cold_items(built, graph, known, maps[SPECTRAL], cold, threads)
    return replace(built, arrays=built.arrays | arrays)


def _with_cold_items(
    built: Built, graph: WeightedGraph, known: KnownFeatures, learned: InductiveMap, cold: I64,
    threads: int,
) -> Arrays:  # fmt: skip
    placed = fold_in_items(learned, {kind: part[cold] for kind, part in known.features.items()})
    weight = built.recipe.word_weight
    worn = sparse.hstack([graph.item_tags.sign(), graph.item_numbers])  # both as tags
    like = content(sparse.csr_matrix(worn, dtype=np.float32), known.all_words, weight)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in TABLES:
        if f"{name}.scores" in built.arrays:
            table = ItemTable(built.arrays[f"{name}.neighbours"], built.arrays[f"{name}.scores"])
            table = with_cold_items(table, like, cold, (built.vectors[SPECTRAL], placed), threads)
            arrays |= {f"{name}.neighbours": table.neighbours, f"{name}.scores": table.scores}
    return arrays


def map_arrays(source: str, learned: InductiveMap) -> Arrays:
    """The arrays of a source's map."""
    return {
        f"fold.{source}.{kind}": vectors.astype(np.float16)
        for kind, vectors in learned.vectors.items()
    }
