"""Ways to propose items, each with a ranking for a batch of subjects; and their fusion.

items               the item–item table: what ranks
spectral, node2vec, gnn   nearest vectors to the subject's own, by FAISS
sequence            what a sequence model foretells to come next
trending            what many chose lately, for somebody without a history
friends             what several friends of somebody without a history chose
tags                items that share the tags of the history, or those that were asked for
popular in domain   what many chose in the domains of the history
popular             what many chose
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from scipy.sparse import csr_array

from embeddings.indexes.faiss_index import FaissIndex
from embeddings.indexes.index import VectorIndex
from embeddings.vectors.fold_in import fold_in_users
from embeddings.vectors.sequence_model import SequenceModel
from graph.arrays import F32, I8, I32, I64
from graph.model import NO_ROW
from recommender.ranking import interests
from recommender.ranking.candidates import Ranking, Subjects, from_table, top_of_scores
from recommender.releases.release import Release

ITEMS, TAGS, IN_DOMAIN, POPULAR = "items", "tags", "popular in domain", "popular"
FRIENDS, TRENDING = "friends", "trending"
SEQUENCE = "sequence"
FEWEST_FRIENDS = 3  # friends who must have chosen an item for that to show: fewer could be guessed
LEAST = np.float32(-80)  # of a logit below the likeliest: its share is still above 0
_DENSE_CELLS = 20_000_000  # subjects × items scored densely at a time


@dataclass(frozen=True)
class AskedTags:
    """The tags that each of b subjects asks for; few do, so no matrix is made before it is read."""

    rows: tuple[Sequence[int], ...]  # b of them
    tags: int  # of the release

    def __getitem__(self, subject_rows: slice | I64) -> "AskedTags":
        """Those of some subjects."""
        if isinstance(subject_rows, slice):
            return AskedTags(self.rows[subject_rows], self.tags)
        return AskedTags(tuple(self.rows[at] for at in subject_rows.tolist()), self.tags)

    @property
    def matrix(self) -> csr_array:
        """(b, t) one where a subject asks for a tag."""
        columns = np.array(list(chain.from_iterable(self.rows)), np.int64)
        starts = np.cumsum([0, *map(len, self.rows)])
        shape = (len(self.rows), self.tags)
        return csr_array((np.ones(len(columns), np.float32), columns, starts), shape=shape)


class Sources:
    """The sources of one release."""

    def __init__(self, release: Release, threads: int = 1, last: "Sources | None" = None) -> None:
        """Open the indexes, or use those of `last`, of the same folder; nothing is searched."""
        self._release = release
        self._threads = threads
        self.indexes: dict[str, VectorIndex] = (
            last.indexes
            if last is not None
            else {
                name: FaissIndex.load(release.folder / f"{name}.faiss", release.vectors[name])
                for name in release.sources
            }
        )

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the sources that search vectors."""
        return tuple(self.indexes)

    @property
    def names(self) -> tuple[str, ...]:
        """All sources."""
        learned = () if self._release.sequence is None else (SEQUENCE,)
        return (ITEMS, *self.indexes, *learned, FRIENDS, TRENDING, TAGS, IN_DOMAIN, POPULAR)

    def propose(self, name: str, subjects: Subjects, tags: AskedTags, n: int) -> Ranking:
        """At most n items a subject, best first, all of them allowed and none blocked.

        Args:
            name: one of `names`.
            subjects: b of them.
            tags: what was asked for beside the history.
            n: at least 1.
        """
        if name == ITEMS:
            return self._by_tables(subjects, n)
        if name in self.indexes:
            return self._nearest(name, subjects, n)
        step = max(1, _DENSE_CELLS // max(len(self._release.items), 1))
        parts = []
        for start in range(0, max(len(subjects), 1), step):
            part = subjects.part(start, min(start + step, len(subjects)))
            wanted = tags[start : start + step]
            parts.append(top_of_scores(self._scores(name, part, wanted), part, n))
        return Ranking(
            np.concatenate([part.items for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )

    def _by_tables(self, subjects: Subjects, n: int) -> Ranking:
        """What each subject gets from the table that it reads."""
        numbers = np.array(subjects.table_numbers, np.int32)
        items = np.full((len(subjects), n), NO_ROW, np.int32)
        scores = np.full((len(subjects), n), -np.inf, np.float32)
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            best = self._by_table(number, subjects.taken(rows), n)
            items[rows], scores[rows] = best.items, best.scores
        return Ranking(items, scores)

    def _by_table(self, number: int, subjects: Subjects, n: int) -> Ranking:
        """What all the subjects get from one of the release's tables."""
        table, arrivals = self._release.tables[number], self._release.arrivals[number]
        if subjects.interests is not None and subjects.interests.any():
            return interests.propose(table, subjects, n, arrivals)
        return from_table(table, subjects, n, arrivals, threads=self._threads)

    def _scores(self, name: str, subjects: Subjects, tags: AskedTags) -> F32:
        """(b, i) dense scores of the sources that have no index."""
        popularity = self._popularity
        if name == POPULAR:
            return np.broadcast_to(popularity, (len(subjects), len(popularity)))
        model = self._release.sequence
        if name == SEQUENCE and model is not None:
            none = np.full((len(subjects), 1), NO_ROW, np.int32)
            return foretold(model, subjects.queries.get(SEQUENCE, none), len(popularity))
        if name == FRIENDS:
            return self._chosen_by_friends(subjects)
        if name == TRENDING:
            return self._chosen_lately(subjects)
        links, back = (
            (self._item_tags, self._tag_items) if name == TAGS else (self._item_domains, None)
        )
        taste = self._histories(subjects) @ links
        if back is None:  # every item of the domains, the best known first
            if name in subjects.queries:
                taste = csr_array(taste + csr_array(subjects.queries[name]))
            shares = (taste @ links.T).toarray()
            return np.where(shares > 0, popularity * (1 + shares / (1 + shares)), 0)
        dense = ((taste + tags.matrix) @ back).toarray().astype(np.float32)
        # Equal tags: the better known item first, without overtaking a better match.
        result: F32 = np.where(dense > 0, dense * (1 + 0.01 * popularity), 0)
        return result

    def _chosen_by_friends(self, subjects: Subjects) -> F32:
        """(b, i) how many friends chose each item; of equals the better known comes first."""
        counts = np.zeros((len(subjects), len(self._release.items)), np.float32)
        for row, friends in enumerate(subjects.queries.get(FRIENDS, ())):
            counts[row] = friends_who_chose(self._release, friends[friends >= 0].astype(np.int64))
        result: F32 = counts * (1 + 0.01 * self._popularity)
        return result

    def _chosen_lately(self, subjects: Subjects) -> F32:
        """(b, i) how many people chose each item lately; 0 for a subject who has a history."""
        counts = np.zeros((len(subjects), len(self._release.items)), np.float32)
        for row, (items, people) in enumerate(subjects.queries.get(TRENDING, ())):
            there = people > 0
            counts[row, items[there].astype(np.int64)] = people[there]
        return counts

    def _nearest(self, name: str, subjects: Subjects, n: int) -> Ranking:
        vectors = self._release.vectors[name]
        # node2vec multiplies input vectors with output vectors.
        histories = self._histories(subjects)[:, : len(vectors)]  # items that came since have none
        queries = fold_in_users(self._release.queries[name], histories)  # (b, d)
        if name in subjects.queries:
            queries = queries + subjects.queries[name]
        blocked = np.diff(subjects.blocked_indptr)
        rows = np.full((len(subjects), n), -1, np.int32)
        scores = np.full((len(subjects), n), -np.inf, np.float32)
        known = np.abs(queries).sum(axis=1) > 0
        # Subjects with equally long lists of blocked items are searched together.
        widths = np.where(known, 2 ** np.ceil(np.log2(np.maximum(blocked + n, 1))), 0).astype(int)
        for width, mask in set(zip(widths.tolist(), subjects.mask.tolist(), strict=True)):
            if width == 0:
                continue
            chosen = np.flatnonzero((widths == width) & (subjects.mask == mask))
            allowed = subjects.masks[mask, : len(vectors)]
            neighbours, products = self.indexes[name].search(
                queries[chosen],
                min(width, max(len(vectors), 1)),
                None if allowed.all() else allowed,
            )
            for number, subject in enumerate(chosen):
                shut = subjects.blocked[
                    subjects.blocked_indptr[subject] : subjects.blocked_indptr[subject + 1]
                ]
                good = (
                    (neighbours[number] >= 0)
                    & ~np.isin(neighbours[number], shut)
                    & (products[number] > 0)
                )
                kept = neighbours[number][good][:n]
                rows[subject, : len(kept)] = kept
                scores[subject, : len(kept)] = products[number][good][:n]
        return Ranking(rows, scores)

    def _histories(self, subjects: Subjects) -> csr_array:
        shape = (len(subjects), len(self._release.items))
        return csr_array((subjects.weights, subjects.items, subjects.indptr), shape=shape)

    @cached_property
    def _popularity(self) -> F32:
        """(i,) 0 … 1, and positive for every item, so that a list can always be filled."""
        counts = self._release.popularity
        return ((counts + 0.5) / (counts.max(initial=0) + 0.5)).astype(np.float32)

    @cached_property
    def _item_tags(self) -> csr_array:
        return self._release.item_tags.matrix

    @cached_property
    def _tag_items(self) -> csr_array:
        return self._release.tag_items.matrix

    @cached_property
    def _item_domains(self) -> csr_array:
        return self._release.item_domains.matrix


def foretold(model: SequenceModel, lists: I32, items: int) -> F32:
    """(b, i) how likely each item comes next after lists (b, l), the likeliest 1; 0: not known.

    Args:
        model: its logits become shares of the likeliest one.
        lists: of item rows, the newest at the end; -1 pads at the beginning.
        items: how many there are; the model may know fewer.
    """
    scores = np.zeros((len(lists), items), np.float32)
    logits, known = model.foretell(lists)
    if logits.shape[1]:
        logits = np.exp(np.maximum(logits - logits.max(axis=1, keepdims=True), LEAST))
        scores[:, model.rows] = logits * known[:, None]
    return scores


def friends_who_chose(release: Release, friends: I64) -> F32:
    """(i,) how many of some users chose each item; 0 where fewer than `FEWEST_FRIENDS` did."""
    _, at = release.histories.take(friends)
    chosen = release.histories.indices[at]
    counts = np.bincount(chosen, minlength=len(release.items)).astype(np.float32)
    counts[counts < FEWEST_FRIENDS] = 0
    return counts


def fuse(rankings: Sequence[Ranking], weights: Sequence[float], n: int) -> tuple[Ranking, I8, F32]:
    """Add up rankings, each divided by its best score and weighted; absent items count 0.

    Returns:
        the n best of the union (b, n); which ranking gave each the most, i8 (b, n), -1 where
        empty; and what each ranking gave, f32 (b, n, s).
    """
    items = np.concatenate([r.items for r in rankings], axis=1)  # (b, c)
    shares = []
    for ranking, weight in zip(rankings, weights, strict=True):
        best = np.where(ranking.scores[:, :1] > 0, ranking.scores[:, :1], 1)
        shares.append(np.where(ranking.items >= 0, ranking.scores / best, 0) * weight)
    parts = np.zeros((*items.shape, len(rankings)), np.float32)  # (b, c, s)
    start = 0
    for number, share in enumerate(shares):
        parts[:, start : start + share.shape[1], number] = share
        start += share.shape[1]
    order = np.argsort(items, axis=1, kind="stable")  # equal items side by side
    items = np.take_along_axis(items, order, axis=1)
    parts = np.take_along_axis(parts, order[:, :, None], axis=1)
    for step in range(len(rankings) - 1, 0, -1):  # an item occurs at most once per ranking
        same = items[:, step:] == items[:, :-step]
        parts[:, :-step] += np.where(same[:, :, None], parts[:, step:], 0)
    repeated = np.zeros_like(items, dtype=bool)
    repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    total = np.where(repeated | (items < 0), -np.inf, parts.sum(axis=2))
    top = np.argsort(-total, axis=1, kind="stable")[:, :n]  # ties go to the lower row
    total = np.take_along_axis(total, top, axis=1)
    empty = np.isneginf(total)
    rows: I32 = np.where(empty, -1, np.take_along_axis(items, top, axis=1)).astype(np.int32)
    parts = np.take_along_axis(parts, top[:, :, None], axis=1)
    origin = np.where(empty, -1, parts.argmax(axis=2)).astype(np.int8)
    return Ranking(rows, total.astype(np.float32)), origin, parts
