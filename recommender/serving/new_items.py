"""Where an item that is not in the catalogue would lie, by what is known about it.

Its tags, domains, words and related items are folded into a vector of each source that has
a map (`fold_in_arrays`), within milliseconds and without a refresh. Items near that vector are like
the new one; reasons say which of its features put it there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import sparse

from embeddings.vectors.fold_in import RELATED, fold_in_item, fold_in_items
from embeddings.vectors.inductive import InductiveMap
from graph.arrays import F32, I32, I64
from graph.model import NO_ROW
from graph.numbers import number_of
from graph.vocabulary import Vocabulary
from recommender.ranking.filters import Filters
from recommender.ranking.request import NewItem
from recommender.releases.item_words import texts_of, weighed_words, words_of
from recommender.releases.release import Release

PLACING = ("gnn", "spectral")
"""Vector sources that new items are placed among, the better first."""
MOST_NAMED = 20  # unknown names in one note
Known = tuple[I64, F32]  # rows of features, and the weight of each


@dataclass
class Placed:
    """A new item in rows and vectors; `parts` of a source sum to its vector there.

    `names` are (kind, name), one for each row of the parts; the kinds are those of `NewItem`'s
    fields, "words" for its title, "texts" for its words where items have texts, too.
    """

    source: str | None = None  # the best source that can place it; None: none can
    names: list[tuple[str, str]] = field(default_factory=list)
    parts: dict[str, F32] = field(default_factory=dict)  # source -> (k, d)
    tags: list[int] = field(default_factory=list)  # rows
    domains: list[int] = field(default_factory=list)
    related: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on what nobody knows

    def vector(self, source: str) -> F32:
        """(d,) of length one, or zeros."""
        summed: F32 = self.parts[source].sum(axis=0)
        return summed


class NewItems:
    """Places items that a release does not have among those it has."""

    def __init__(self, release: Release, filters: Filters) -> None:
        """Hold the release; nothing is read yet."""
        self._release = release
        self._filters = filters
        self._tag_rows: dict[str, tuple[list[int], list[int]]] = {}
        self._words_rows: dict[str, int] = {}

    def locate(self, item: NewItem) -> Placed:
        """Fold an item in; what is not known is left out, and `notes` say so."""
        placed = Placed()
        features = {
            "tags": _alike(self._tags(item.tags, placed)),
            "domains": _alike(self._domains(item.domains, placed)),
            "words": self._words(item, placed),
            "numbers": self._numbers(item, placed),
        }
        placed.related = self._related(item.related, placed)
        for source, learned in self._maps.items():
            near = self._release.vectors[source][placed.related]
            known = {kind: own for kind, own in features.items() if kind in learned.vectors}
            folded = fold_in_item(learned, known, near)
            placed.parts[source] = np.concatenate([folded[k] for k in (*known, RELATED)])
        placed.source = next((s for s in self._maps if placed.vector(s).any()), None)
        return placed

    def locate_many(self, items: Sequence[NewItem]) -> dict[str, tuple[I64, F32]]:
        """The same for many items without related ones.

        For each source: the items (numbers) that it is the best to place, and their vectors.
        """
        self._look_up({word for item in items for word in self._words_of(item)})
        rows: dict[str, list[Known]] = {
            "tags": [_alike(self._tags(item.tags, Placed())) for item in items],
            "domains": [_alike(self._domains(item.domains, Placed())) for item in items],
            "words": [self._words(item, Placed()) for item in items],
            "numbers": [self._numbers(item, Placed()) for item in items],
        }
        placed: dict[str, tuple[I64, F32]] = {}
        left = np.arange(len(items))
        for source, learned in self._maps.items():
            known = {
                kind: _matrix([own[number] for number in left.tolist()], len(learned.vectors[kind]))
                for kind, own in rows.items()
                if kind in learned.vectors
            }
            vectors = fold_in_items(learned, known)
            there = vectors.any(axis=1)
            placed[source] = left[there], vectors[there]
            left = left[~there]
        return placed

    def nearest_many(self, source: str, vectors: F32, n: int) -> tuple[I32, F32]:
        """(b, n) the n items of the release nearest to unit vectors (b, d), and their cosines."""
        known, lengths = self._release.vectors[source], self._lengths[source]
        cosines: F32 = (vectors @ known.T) / lengths  # (b, d) @ (d, i) -> (b, i)
        near = np.argpartition(-cosines, min(n, len(lengths)) - 1, axis=1)[:, :n]
        likeness = np.take_along_axis(cosines, near, axis=1)
        order = np.argsort(-likeness, axis=1, kind="stable")
        best = np.take_along_axis(near, order, axis=1)
        return best.astype(np.int32), np.take_along_axis(likeness, order, axis=1).astype(np.float32)

    @cached_property
    def _lengths(self) -> dict[str, F32]:
        lengths = {s: np.linalg.norm(v, axis=1) for s, v in self._release.vectors.items()}
        return {source: np.where(own > 0, own, np.inf) for source, own in lengths.items()}

    @cached_property
    def _maps(self) -> dict[str, InductiveMap]:
        learned = {source: self._release.fold_map(source) for source in PLACING}
        return {
            source: InductiveMap(matrix) for source, matrix in learned.items() if matrix is not None
        }

    def _tags(self, names: Sequence[str], placed: Placed) -> I64:
        learned = self._release.fold_tag_rows
        unknown, rare, rows = [], [], []
        for name in dict.fromkeys(names):
            if name not in self._tag_rows:  # many new items carry the same tags
                carried = self._filters.tag_rows(name)
                own_rows = np.flatnonzero(np.isin(learned, carried)).tolist()
                self._tag_rows[name] = carried.tolist(), own_rows
            tags, own = self._tag_rows[name]
            placed.tags += tags
            rows += own
            placed.names += [("tags", name)] * len(own)
            if len(tags) == 0:
                unknown.append(name)
            elif not own:
                rare.append(name)
        _tell(placed, "these tags are not known:", unknown)
        _tell(placed, "too few items to learn from, or too many, have these tags:", rare)
        return np.array(rows, np.int64)

    def _domains(self, names: Sequence[str], placed: Placed) -> I64:
        known = _known(self._release.domains, names)
        placed.domains = list(known.values())
        placed.names += [("domains", name) for name in known]
        _tell(placed, "these domains are not known:", [n for n in names if n not in known])
        return np.array(placed.domains, np.int64)

    def _words(self, item: NewItem, placed: Placed) -> Known:
        words = self._words_of(item)
        self._look_up(words)
        known = {w: self._words_rows[w] for w in words if self._words_rows[w] != NO_ROW}
        kind = "texts" if self._release.texts else "words"
        placed.names += [(kind, word) for word in known]
        unknown = [word for word in words_of(item.title) if word not in known]
        _tell(placed, "nothing was learned about these words of the title:", unknown)
        weights = [words[word] for word in known]
        return np.array(list(known.values()), np.int64), np.array(weights, np.float32)

    def _words_of(self, item: NewItem) -> dict[str, float]:
        return weighed_words(item.title, texts_of(item.attributes, self._release.texts))

    def _numbers(self, item: NewItem, placed: Placed) -> Known:
        rows, weights, first = [], [], 0
        for name, scale in self._release.scales.items():
            at = scale.features([number_of(item.attributes.get(name))])
            rows += [first + column for column in at.indices.tolist()]
            weights += at.data.tolist()
            placed.names += [("numbers", name)] * at.nnz
            first += len(scale.knots)
        return np.array(rows, np.int64), np.array(weights, np.float32)

    def _look_up(self, words: Iterable[str]) -> None:
        """Remember the rows of words: one look-up costs as much as that of thousands."""
        new = [word for word in words if word not in self._words_rows]
        if new:
            rows = self._release.item_words.rows(new).tolist()
            self._words_rows |= zip(new, rows, strict=True)

    def _related(self, ids: Sequence[str], placed: Placed) -> list[int]:
        count = len(self._release.table.neighbours)  # items after the table have no vector
        known = {n: row for n, row in _known(self._release.items, ids).items() if row < count}
        placed.names += [("related", name) for name in known]
        _tell(placed, "these related items are not known:", [i for i in ids if i not in known])
        return list(known.values())


def _alike(rows: I64) -> Known:
    return rows, np.ones(len(rows), np.float32)


def _matrix(known: Sequence[Known], width: int) -> sparse.csr_matrix:
    """(n, width) the weights at the rows of each item, twice where a row is named twice."""
    indptr = np.cumsum([0, *(len(rows) for rows, _ in known)])
    indices = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in known)])
    weights = np.concatenate([np.zeros(0, np.float32), *(weights for _, weights in known)])
    return sparse.csr_matrix((weights, indices, indptr), shape=(len(known), width))


def _known(vocabulary: Vocabulary, names: Sequence[str]) -> dict[str, int]:
    rows = {name: int(vocabulary.row(name)) for name in names}
    return {name: row for name, row in rows.items() if row != NO_ROW}


def _tell(placed: Placed, reason: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        placed.notes.append(f"{reason} {', '.join(map(repr, names[:MOST_NAMED]))}{more}")
