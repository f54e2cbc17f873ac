"""The features by which items are placed that nobody chose: tags, domains, words, numbers."""

import json
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from embeddings.item_item.candidates import Quality, Say
from embeddings.item_item.held_back import without
from embeddings.item_item.word_choice import best_word_weight
from embeddings.vectors.inductive import Features
from graph.arrays import I64
from graph.snapshot import GraphSnapshot
from graph.vocabulary import Vocabulary
from graph.weighted import WeightedGraph
from graph.weighting import Weighting
from recommender.learning.held_parts import without_written_tags
from recommender.learning.split import cold_items, relevant_pairs
from recommender.releases.item_words import item_words, texts_among, texts_of

FEWEST_ITEMS = 3  # with events that a tag or word needs to be learned about
COLD_SHARE, MOST_COLD = 0.1, 0.3  # of all items are taken for cold when words are weighed, …
ENOUGH_COLD = 500  # … more than the first share where that is fewer


@dataclass(frozen=True)
class KnownFeatures:
    """What a map is learned from: the items that somebody chose, and their features."""

    items: I64  # (n,) rows of the items, ascending
    features: Features  # (i, …) 1 where an item has a tag of `tag_rows` or a domain, else weights
    all_words: sparse.csr_matrix  # (i, w) how much each word counts of each item
    tag_rows: I64  # (k,) ascending
    words: Vocabulary


def known_features(
    snapshot: GraphSnapshot, graph: WeightedGraph, *, with_words: bool = True
) -> KnownFeatures:
    """Tags and words of at least `FEWEST_ITEMS` such items; no more of either than items."""
    items = np.flatnonzero(np.asarray(graph.user_items.sum(axis=0)).ravel() > 0)
    all_words, names = (
        words_of_items(snapshot) if with_words else item_words([("", ())] * len(snapshot.items))
    )
    order = np.argsort(np.array(names, object), kind="stable").astype(np.int64)
    tags, words = sparse.csr_matrix(graph.item_tags), all_words[:, order]
    most = len(snapshot.items)
    tag_rows, word_rows = _known(tags[items], most), _known(words[items], most)
    features = {
        "tags": _there(tags[:, tag_rows]),
        "domains": _there(sparse.csr_matrix(graph.item_domains)),
        "words": sparse.csr_matrix(words[:, word_rows]),
        "numbers": sparse.csr_matrix(graph.item_numbers),
    }
    vocabulary = Vocabulary.of(names[row] for row in order[word_rows].tolist())
    return KnownFeatures(
        items=items, features=features, all_words=all_words, tag_rows=tag_rows, words=vocabulary
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


def words_of_items(snapshot: GraphSnapshot) -> tuple[sparse.csr_matrix, list[str]]:
    """(i, w) the words of each item, and their names, see `item_words`."""
    titles = snapshot.item_titles.to_pylist()
    attributes = snapshot.item_attributes.to_pylist()
    names = texts_among(attributes)
    if not names:
        return item_words((title, ()) for title in titles)
    texts = (texts_of(json.loads(own), names) for own in attributes)
    return item_words(zip(titles, texts, strict=True))


def chosen_word_weight(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    gate: sparse.csr_matrix,
    weighting: Weighting,
    seed: int,
    tried: dict[str, Quality],
    say: Say,
) -> float:
    """How much words count beside tags, chosen without the pairs of the gate (u, i).

    See `best_word_weight`. The items taken for cold lose the tags that users wrote on them.
    """
    share = min(max(COLD_SHARE, ENOUGH_COLD / max(len(snapshot.items), 1)), MOST_COLD)
    drawn = np.flatnonzero(cold_items(snapshot.items, seed + 1, share))
    pairs = relevant_pairs(snapshot, graph.user_items, seed)
    gone = np.isin(pairs.items, drawn)
    tags = without_written_tags(snapshot, graph, pairs, gone, weighting).item_tags.sign()
    user_items = sparse.csr_matrix(graph.user_items, dtype=np.float32)
    return best_word_weight(
        without(user_items, gate), sparse.csr_matrix(tags), words_of_items(snapshot)[0], drawn,
        seed=seed, tried=tried, say=say,
    )  # fmt: skip
