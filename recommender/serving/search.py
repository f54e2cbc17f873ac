"""Finding items, users and tags by what somebody types: words, their beginnings, a typing error.

Names are cut into groups of three letters, the first ones padded: "cello" is "  c", " ce", "cel",
"ell", "llo". A query proposes the names that share most groups with it; those are then compared
word by word.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from graph.arrays import F32, I32, I64
from recommender.overlay.appended import AppendedRelease
from recommender.overlay.overlay import base_of
from recommender.releases.release import Release

ITEM, USER, TAG = "item", "user", "tag"
KINDS = (ITEM, USER, TAG)
GROUPS = 1 << 18  # groups of letters are hashed into so many lists
CANDIDATES = 400  # names compared word by word
LONGEST_NAME = 120  # letters of a name that are looked at
ONE_ERROR, TWO_ERRORS = 4, 8  # letters that a word needs for so many errors to be forgiven
EXACT, BEGINS, WITHIN, MISTYPED = 1.0, 0.9, 0.7, 0.5  # what a matched word of the query is worth


@dataclass(frozen=True)
class Names:
    """The names of one kind, ready to be searched."""

    texts: Sequence[str]  # (r,) folded: small letters without accents, words separated by blanks
    rows: I32  # (m,) the rows that hold each group, list after list
    starts: I64  # (GROUPS + 1,)
    weight: F32  # (r,) breaks ties: what more people chose comes first

    @classmethod
    def of(cls, names: Iterable[str], weight: F32) -> "Names":
        """Names by row; `weight` (r,) is any positive number."""
        texts = [folded(name)[:LONGEST_NAME] for name in names]
        padded = "".join(f"  {text.replace(' ', '  ')}" for text in texts)
        lengths = [len(text) + text.count(" ") + 2 for text in texts]
        owners = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
        groups = _groups(padded)
        inside = owners[:-2] == owners[2:] if len(owners) > 2 else np.zeros(0, bool)
        pairs = np.unique((groups[: len(inside)][inside] << 32) | owners[: len(inside)][inside])
        starts = np.searchsorted(pairs >> 32, np.arange(GROUPS + 1)).astype(np.int64)
        rows = (pairs & 0xFFFFFFFF).astype(np.int32)
        return cls(texts, rows, starts, weight)

    def find(self, query: str, n: int) -> list[tuple[int, float]]:
        """At most n (row, score 0 … 1) whose words hold every word of the query, best first."""
        words = folded(query).split()
        if not words or not self.texts:
            return []
        groups = np.unique(np.concatenate([_groups(f"  {word}") for word in words]))
        spans = [self.rows[self.starts[g] : self.starts[g + 1]] for g in groups.tolist()]
        counts = np.bincount(np.concatenate(spans), minlength=len(self.texts))
        near = np.flatnonzero(counts)
        best = near[np.lexsort((near, -self.weight[near], -counts[near]))[:CANDIDATES]]
        worth = cache(_worth)  # names share words
        scored = [(row, _likeness(words, self.texts[row], worth)) for row in best.tolist()]
        kept = [(row, score) for row, score in scored if score > 0]
        kept.sort(key=lambda hit: (-hit[1], -float(self.weight[hit[0]]), hit[0]))
        return kept[:n]


class Search:
    """The names of a release, each kind read when it is first asked for.

    Items that came or changed after the refresh are kept apart, so that the names of the release
    are read only once, however often a new item comes.
    """

    def __init__(self, release: Release, last: "Search | None" = None) -> None:
        """Read nothing yet; names that `last`, over the same folder, has read are reused."""
        self.release = release
        base = base_of(release)
        lent = None if last is None or last.base.release is not base else last.base
        # No reference to itself: a cycle would keep the files of a dropped release open.
        self._base: Search | None = None if base is release else lent or Search(base)
        self._kinds: dict[str, tuple[Names, I64]] = {}

    @property
    def base(self) -> "Search":
        """The names of the release as it was written."""
        return self if self._base is None else self._base

    def find(self, kind: str, query: str, n: int) -> list[tuple[int, float]]:
        """At most n (row, score 0 … 1) of items (by title and id), users (by id) or tags (by
        name without category) whose words hold every word of the query, best first.
        """
        if self.base is self:
            return self.names(kind)[0].find(query, n)
        newer, rows = self.names(kind)
        old, _ = self.base.names(kind)
        own = {int(rows[row]): (score, float(newer.weight[row]))
               for row, score in newer.find(query, n)}  # fmt: skip
        again = set(rows.tolist())
        hits = own | {
            row: (score, float(old.weight[row]))
            for row, score in old.find(query, CANDIDATES)
            if row not in again
        }
        best = sorted(hits, key=lambda row: (-hits[row][0], -hits[row][1], row))[:n]
        return [(row, hits[row][0]) for row in best]

    def names(self, kind: str) -> tuple[Names, I64]:
        """Names of a kind that came or changed since the release was written, and their rows."""
        if kind not in self._kinds:
            rows = self._rows(kind)
            self._kinds[kind] = self._read(kind, rows), rows
        return self._kinds[kind]

    def _rows(self, kind: str) -> I64:
        release, base = self.release, self.base.release
        if kind == ITEM:
            live = release.live if isinstance(release, AppendedRelease) else range(len(base.items))
            return np.array(sorted(live), np.int64)
        of = {TAG: (release.tag_names, base.tag_names), USER: (release.users, base.users)}[kind]
        return np.arange(0 if self.base is self else len(of[1]), len(of[0]), dtype=np.int64)

    def _read(self, kind: str, rows: I64) -> Names:
        release = self.release
        if kind == ITEM:
            named = (f"{release.card(row).get('title') or ''} {release.items.id(row)}"
                     for row in rows.tolist())  # fmt: skip
            return Names.of(named, np.asarray(release.popularity)[rows] + 1)
        if kind == TAG:
            of = np.asarray(release.tag_name_rows)
            carried = np.diff(release.carriers.indptr)
            weight = np.bincount(of, carried, len(release.tag_names)).astype(np.float32)
            return Names.of(release.tag_names.ids(rows), weight[rows] + 1)
        weight = np.diff(release.histories.indptr).astype(np.float32)
        return Names.of(release.users.ids(rows), weight[rows] + 1)


def folded(name: str) -> str:
    """Small letters and digits without accents, words separated by one blank.

    Chinese and Japanese do not separate words, so each of their letters is a word.
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = (
        f" {c} " if "\u2e80" <= c <= "\u9fff" or c >= "\U00020000" else c if c.isalnum() else " "
        for c in plain
        if not unicodedata.combining(c)
    )
    return " ".join("".join(letters).split())


def _groups(text: str) -> I64:
    """(len - 2,) which list each group of three letters belongs to."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
    mixed = codes[:-2] * 1_000_003 + codes[1:-1] * 8_191 + codes[2:]
    return mixed % GROUPS


def _likeness(words: Sequence[str], text: str, worth_of: Callable[[str, str], float]) -> float:
    """The mean worth of the query's words in a name; 0 if one of them is missing."""
    there = text.split()
    total = 0.0
    for word in words:
        worth = max((worth_of(word, own) for own in there), default=0.0)
        if worth == 0:
            return 0.0
        total += worth
    bonus = 0.05 if text.startswith(words[0]) else 0.0
    return min(1.0, total / len(words) * 0.95 + bonus)


def _worth(word: str, own: str) -> float:
    if own == word:
        return EXACT
    if own.startswith(word):
        return BEGINS
    if len(word) >= 2 and word in own:
        return WITHIN
    allowed = (len(word) >= ONE_ERROR) + (len(word) >= TWO_ERRORS)
    if allowed and _errors(word, own, allowed) <= allowed:
        return MISTYPED
    return 0.0


def _errors(word: str, own: str, most: int) -> int:
    """Letters too many, missing, wrong or swapped between a word and a word's beginning.

    Optimal string alignment; more than `most` count as `most` + 1.
    """
    own = own[: len(word) + most]
    before: list[int] = []
    last = list(range(len(own) + 1))
    for i, letter in enumerate(word, 1):
        row = [i]
        for j, other in enumerate(own, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == own[j - 2] and word[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last)  # the least over all beginnings of `own`: the word may go on
