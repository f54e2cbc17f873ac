"""Places items that nobody chose: those in the catalogue, and those that it does not have yet.

A map from tags, domains and title words to vectors puts the former into the item table, see
`embeddings.item_item.cold_items`, and is kept in the release for the latter:

fold.tag_rows               (k,) rows of the tags about which something was learned
fold.words.data, .offsets   the vocabulary of title words
fold.<source>.tags          (k, d) what each tag adds to an item's vector, see `InductiveMap`
fold.<source>.domains       (domains, d)
fold.<source>.words         (words, d)

`recommender.serving.new_items` reads them. Vectors are float16: d · 2 bytes a feature. There are
at most twice as many tags and words as items, and the domains. For `spectral` that is about 126
bytes an item on citeulike-a, 24 on ml-latest-small.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from embeddings.item_item.cold_items import content, with_cold_items
from embeddings.item_item.item_table import ItemTable
from embeddings.vectors.fold_in import fold_in_items
from embeddings.vectors.inductive import Features, InductiveMap, fit_ridge
from graph.arrays import I64
from graph.snapshot import GraphSnapshot
from graph.vocabulary import Vocabulary
from graph.weighted import WeightedGraph
from recommender.learning.build import SPECTRAL, Built, Say
from recommender.releases.graph_arrays import Arrays, vocabulary_arrays
from recommender.releases.title_words import title_words
from recommender.serving.new_items import PLACING

FEWEST_ITEMS = 3  # with events that a tag or word needs to be learned about


def with_new_items(
    built: Built, snapshot: GraphSnapshot, graph: WeightedGraph, say: Say, threads: int = 1
) -> Built:
    """What was built, with cold items added to its table and a map for each source of `PLACING`."""
    say("learning where new items belong")
    known = known_features(snapshot, graph)
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
    built: Built, graph: WeightedGraph, known: "KnownFeatures", learned: InductiveMap, cold: I64,
    threads: int,
) -> Arrays:  # fmt: skip
    table = ItemTable(built.arrays["table.neighbours"], built.arrays["table.scores"])
    placed = fold_in_items(learned, {kind: part[cold] for kind, part in known.features.items()})
    like = content(sparse.csr_matrix(graph.item_tags), known.titled)
    table = with_cold_items(table, like, cold, (built.vectors[SPECTRAL], placed), threads)
    return {"table.neighbours": table.neighbours, "table.scores": table.scores}


def map_arrays(source: str, learned: InductiveMap) -> Arrays:
    """The arrays of a source's map."""
    return {
        f"fold.{source}.{kind}": vectors.astype(np.float16)
        for kind, vectors in learned.vectors.items()
    }


@dataclass(frozen=True)
class KnownFeatures:
    """What a map is learned from: the items that somebody chose, and their features."""

    items: I64  # (n,) rows of the items, ascending
    features: Features  # (i, …) 1 where an item has a tag of `tag_rows`, a domain, one of `words`
    titled: sparse.csr_matrix  # (i, w) all words of the titles
    tag_rows: I64  # (k,) ascending
    words: Vocabulary


def known_features(snapshot: GraphSnapshot, graph: WeightedGraph) -> KnownFeatures:
    """Tags and words of at least `FEWEST_ITEMS` such items; no more of either than items."""
    items = np.flatnonzero(np.asarray(graph.user_items.sum(axis=0)).ravel() > 0)
    titled, names = title_words(snapshot.item_titles.to_pylist())
    order = np.argsort(np.array(names, object), kind="stable").astype(np.int64)
    tags, words = sparse.csr_matrix(graph.item_tags), titled[:, order]
    most = len(snapshot.items)
    tag_rows, word_rows = _known(tags[items], most), _known(words[items], most)
    features = {
        "tags": _there(tags[:, tag_rows]),
        "domains": _there(sparse.csr_matrix(graph.item_domains)),
        "words": _there(words[:, word_rows]),
    }
    vocabulary = Vocabulary.of(names[row] for row in order[word_rows].tolist())
    return KnownFeatures(
        items=items, features=features, titled=titled, tag_rows=tag_rows, words=vocabulary
    )


def _known(features: sparse.csr_matrix, most: int) -> I64:
    """The columns that are kept, ascending."""
    carriers = np.bincount(features.indices, minlength=features.shape[1])
    kept = np.flatnonzero(carriers >= FEWEST_ITEMS)
    return np.sort(kept[np.argsort(-carriers[kept], kind="stable")[:most]]).astype(np.int64)


def _there(features: sparse.csr_matrix) -> sparse.csr_matrix:
    """1 wherever an item has a feature: no weights, as features of new items have none."""
    there = sparse.csr_matrix(features, copy=True)
    there.data = np.ones_like(there.data)
    return there
