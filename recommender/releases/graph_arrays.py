"""What a release stores of the graph itself: ids, cards, histories, tags, domains, times.

These arrays are what filters, reasons and fallbacks need; nothing here is learned.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csr_array

from graph.arrays import F32, I32, I64, Flags
from graph.dates import is_date, seconds_of
from graph.ids import as_word
from graph.model import tag_parts
from graph.snapshot import GraphSnapshot
from graph.vocabulary import Vocabulary
from graph.weighted import WeightedGraph
from graph.weighting import HIDE
from recommender.releases.cards import card_arrays, heaviest, make_card
from recommender.releases.rows import list_rows, matrix_rows

Arrays = dict[str, npt.NDArray[Any]]

MOST_SHOWN = 20  # tags that an item's card shows of those it carries
MOST_ATTRIBUTES = 32  # kept as columns that requests can filter by


def graph_arrays(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    histories: sparse.csr_matrix,
    at: I64,
) -> Arrays:
    """Ids, cards, histories, tags, domains, popularity and times.

    Args:
        snapshot: ids, titles, times.
        graph: its edges after weighting.
        histories: (u, i) as they are weighed.
        at: when each of their entries was last done.
    """
    names = [tag_parts(key)[1] for key in snapshot.tags]
    words = [as_word(name) for name in names]
    tag_names = Vocabulary.of(words)
    popularity = np.asarray(graph.user_items.sum(axis=0), np.float32).ravel()  # (i,)
    cards = map(
        make_card,
        snapshot.items,
        snapshot.item_titles.to_pylist(),
        _heaviest(graph.item_tags, names),
        _heaviest(graph.item_domains, list(graph.domains)),
        snapshot.item_attributes.to_pylist(),
        _carried(snapshot, names),
    )
    return {
        **vocabulary_arrays("users", snapshot.users),
        **vocabulary_arrays("items", snapshot.items),
        **vocabulary_arrays("tags", snapshot.tags),
        **vocabulary_arrays("domains", graph.domains),
        **vocabulary_arrays("tag_names", tag_names),
        "tag_name_rows": tag_names.rows(words).astype(np.int32),
        **card_arrays(cards),
        **matrix_rows("histories", csr_array(histories)),
        "histories.kinds": _history_kinds(snapshot, graph.user_items),
        "histories.at": at,
        **_events(snapshot),
        **list_rows("item_users", _sorted(csr_array(graph.user_items.T))),
        **_item_relations(snapshot),
        **matrix_rows("item_tags", graph.item_tags),
        "item_tags.given": _given_tags(snapshot, graph.item_tags),
        **_carriers(snapshot),
        **matrix_rows("tag_items", csr_array(graph.item_tags.T)),
        **matrix_rows("item_domains", graph.item_domains),
        **matrix_rows("domain_items", csr_array(graph.item_domains.T)),
        "popularity": popularity,
        "rarity": rarity(popularity),
        "created_at": snapshot.item_created_at,
        "hidden": snapshot.item_hidden,
    }


def _carried(snapshot: GraphSnapshot, names: Sequence[str]) -> list[list[str]]:
    """Names of the tags that each item carries, the heaviest first, `MOST_SHOWN` at most."""
    item_tags = snapshot.item_tags
    order = np.lexsort((item_tags.target, -item_tags.weight, item_tags.source))
    starts = np.searchsorted(item_tags.source[order], np.arange(len(snapshot.items) + 1)).tolist()
    tags = item_tags.target[order]
    return [
        [names[tag] for tag in tags[start : min(stop, start + MOST_SHOWN)].tolist()]
        for start, stop in pairwise(starts)
    ]


def _heaviest(matrix: csr_array, names: Sequence[str]) -> list[list[str]]:
    return heaviest(
        matrix.indptr.astype(np.int64), matrix.indices, matrix.data.astype(np.float32), names
    )


def rarity(popularity: F32) -> F32:
    """(i,) 0 for the most popular item, 1 for one that nobody chose; logarithmic between."""
    top = float(np.log1p(popularity.max(initial=0)))
    return (1 - np.log1p(popularity) / (top or 1)).astype(np.float32)


def _events(snapshot: GraphSnapshot) -> Arrays:
    """What users did, event by event, so that later events can be weighed together with it.

    For users who do not agree to be learned from, only what they hid.
    """
    events = snapshot.events
    hides = np.array([kind.lower() == HIDE for kind in snapshot.kinds], np.bool_)
    kept = snapshot.user_consents[events.user] | hides[events.kind]
    keys = {"events.key": events.key[kept]} if events.key[kept].any() else {}
    return {
        "events.indptr": np.searchsorted(events.user[kept], np.arange(len(snapshot.users) + 1)),
        "events.item": events.item[kept],
        "events.kind": events.kind[kept],
        "events.value": events.value[kept],
        "events.at": events.at[kept],
        **keys,
    }


def _history_kinds(snapshot: GraphSnapshot, user_items: csr_array) -> I32:
    """The kind of event of each entry of the histories: the first kind of the pair."""
    count = len(snapshot.items)
    events = snapshot.events
    keys = events.user.astype(np.int64) * count + events.item
    users = np.repeat(np.arange(user_items.shape[0]), np.diff(user_items.indptr))
    entries = users * count + user_items.indices
    if len(entries) == 0:
        return np.zeros(0, np.int32)
    return events.kind[np.searchsorted(keys, entries)]


def _sorted(matrix: csr_array) -> csr_array:
    matrix.sort_indices()
    return matrix


def _item_relations(snapshot: GraphSnapshot) -> Arrays:
    """Relations between items, for reasons: targets and kinds by source."""
    links = snapshot.item_relations
    return {
        "relations.indptr": np.searchsorted(links.source, np.arange(len(snapshot.items) + 1)),
        "relations.indices": links.target,
        "relations.kinds": links.kind,
    }


def _carriers(snapshot: GraphSnapshot) -> Arrays:
    """The items of every tag, for filters: also of tags too rare or common to be learned from."""
    events = snapshot.events
    written = (events.tag >= 0) & snapshot.user_consents[events.user]
    tags = np.concatenate([snapshot.item_tags.target, events.tag[written]]).astype(np.int64)
    items = np.concatenate([snapshot.item_tags.source, events.item[written]])
    count = max(len(snapshot.items), 1)
    pairs = np.unique(tags * count + items)
    return {
        "carriers.indptr": np.searchsorted(pairs, np.arange(len(snapshot.tags) + 1) * count),
        "carriers.indices": (pairs % count).astype(np.int32),
    }


def _given_tags(snapshot: GraphSnapshot, item_tags: csr_array) -> Flags:
    """For each entry of `item_tags`: whether the item carries the tag, or people only wrote it."""
    count = len(snapshot.tags)
    items = np.repeat(np.arange(item_tags.shape[0]), np.diff(item_tags.indptr))
    pairs = snapshot.item_tags.source.astype(np.int64) * count + snapshot.item_tags.target
    return np.isin(items * count + item_tags.indices, pairs)


def attribute_columns(snapshot: GraphSnapshot) -> tuple[Arrays, dict[str, Any]]:
    """Columns of the attributes that the most items have: numbers, or words as codes.

    Where all words are dates their first seconds stand beside them.
    """
    rows = [json.loads(text) for text in snapshot.item_attributes.to_pylist()]
    counts: dict[str, int] = {}
    for row in rows:
        for name in row:
            counts[name] = counts.get(name, 0) + 1
    kept = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_ATTRIBUTES]
    arrays: Arrays = {}
    manifest: dict[str, Any] = {}
    for number, name in enumerate(sorted(kept)):
        values = [row.get(name) for row in rows]
        numeric = all(v is None or _is_number(v) for v in values)
        manifest[name] = {"place": number, "numeric": numeric}
        if numeric:
            numbers = [np.nan if value is None else float(value) for value in values]
            arrays[f"attribute{number}.values"] = np.array(numbers, np.float64)
            continue
        words = [None if value is None else attribute_word(value) for value in values]
        vocabulary = Vocabulary.of(word for word in words if word is not None)
        arrays |= vocabulary_arrays(f"attribute{number}.words", vocabulary)
        codes = [-1 if word is None else vocabulary.row(word) for word in words]
        arrays[f"attribute{number}.codes"] = np.array(codes, np.int32)
        if len(vocabulary) and all(map(is_date, vocabulary)):
            manifest[name]["dates"] = True
            seconds = [np.nan if word is None else seconds_of(word) for word in words]
            arrays[f"attribute{number}.seconds"] = np.array(seconds, np.float64)
    return arrays, manifest


def attribute_word(value: object) -> str:
    """A value of an attribute as the text that filters name; flags as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_arrays(name: str, texts: list[str]) -> Arrays:
    """The arrays of a column of texts, as a release holds them."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return {f"{name}.data": np.frombuffer(b"".join(encoded), np.uint8), f"{name}.offsets": offsets}


def vocabulary_arrays(name: str, vocabulary: Vocabulary) -> Arrays:
    """The arrays of a vocabulary, as a release holds them."""
    return {f"{name}.{part}": array for part, array in vocabulary.arrays().items()}
