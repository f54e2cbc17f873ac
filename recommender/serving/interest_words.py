"""A list with each of a subject's interests in proportion, and a label in words on every item."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from graph.arrays import F32, I32, unit_rows
from graph.model import tag_parts
from recommender.ranking.candidates import Subjects
from recommender.ranking.interests import interests_of, shares_of_interests, shown_first, voices
from recommender.ranking.sources import ITEMS, SEQUENCE
from recommender.releases.release import Release
from recommender.releases.rows import Rows
from recommender.serving.rules import Entry
from recommender.serving.subject import Subject

MOST_WORDS = 2  # in a label
CARRIED = 0.3  # a word stands for an interest if so much of its weight carries the word …
MORE = 0.2  # … and by so much more than in any other interest


def found_interests(release: Release, subject: Subject) -> I32 | None:
    """(h,) the interest of each history entry, if the history falls into several."""
    labels = interests_of(release.likeness, _alone(subject))
    return labels if labels.any() else None


def in_proportion(release: Release, subject: Subject, entries: Sequence[Entry]) -> list[Entry]:
    """The entries, labelled; in the first n each interest has its share of the places."""
    if subject.interests is None:
        return list(entries)
    shares = shares_of_interests(subject.interests, subject.weights)
    labels = _closest(release, subject, entries)
    names = interest_names(release, subject)
    order = shown_first(labels, shares, subject.request.n).tolist()
    interests = [names[label] if label >= 0 else None for label in labels.tolist()]
    return [
        Entry(
            row=entry.row,
            score=entry.score,
            source=entry.source,
            parts=entry.parts,
            label=entry.label,
            interest=interests[at],
        )
        for at, entry in ((at, entries[at]) for at in order)
    ]


def interest_names(release: Release, subject: Subject) -> list[str]:
    """What each interest is about: the domains and tags that mark it, else its strongest titles."""
    rows, weights, labels = subject.items, np.maximum(subject.weights, 0), _labels(subject)
    marks: list[dict[str, float]] = [{} for _ in range(labels.max() + 1)]
    for carried, names in (
        (release.item_domains, release.domains),
        (release.item_tags, release.tags),
    ):
        columns, shares = _carried(carried, rows, weights, labels)
        for label, words in enumerate(marks):
            more = shares[label] - np.delete(shares, label, axis=0).max(axis=0)
            for at in np.flatnonzero((shares[label] >= CARRIED) & (more >= MORE)).tolist():
                name = names.id(int(columns[at]))
                words.setdefault(tag_parts(name)[1] if names is release.tags else name, more[at])
    middles = _middles(release, subject)
    phrases = []
    for label, words in enumerate(marks):
        best = sorted(words, key=lambda word: -words[word])[:MOST_WORDS]
        own = np.flatnonzero(labels == label)
        strength = weights[own] * (release.likeness[rows[own]] @ middles[label])
        first = rows[own[np.argsort(-strength, kind="stable")]].tolist()
        phrases.append(", ".join(best) or _titles(release, first) or f"interest {label + 1}")
    return phrases


def _closest(release: Release, subject: Subject, entries: Sequence[Entry]) -> I32:
    """(c,) the interest that explains each entry best, by the table or else by vectors; or -1."""
    pool = np.array([entry.row for entry in entries], np.int32)
    table, arrivals = release.tables[subject.reads], release.arrivals[subject.reads]
    scores = voices(table, _alone(subject), pool, arrivals)  # (c, g)
    labels = scores.argmax(axis=1).astype(np.int32)
    searched = (ITEMS, SEQUENCE, *release.sources)
    for at in np.flatnonzero(scores.max(axis=1) <= 0).tolist():
        near = _middles(release, subject) @ release.likeness[pool[at]]  # (g, d) @ (d,)
        labels[at] = near.argmax() if entries[at].source in searched else -1
    return labels


def _middles(release: Release, subject: Subject) -> F32:
    """(g, d) the direction of each interest."""
    labels = _labels(subject)
    members = (np.arange(labels.max() + 1)[:, None] == labels) * np.maximum(subject.weights, 0)
    sums = members @ release.likeness[subject.items]  # (g, h) @ (h, d) -> (g, d)
    return unit_rows(sums)


def _alone(subject: Subject) -> Subjects:
    """A single subject as arrays, with nothing blocked and everything allowed."""
    return Subjects(
        indptr=np.array([0, len(subject.items)]),
        items=subject.items,
        weights=subject.weights,
        blocked_indptr=np.array([0, 0]),
        blocked=np.zeros(0, np.int32),
        masks=np.ones((1, 0), np.bool_),
        mask=np.zeros(1, np.int32),
        interests=subject.interests,
        newest=subject.newest,
    )


def _labels(subject: Subject) -> I32:
    return (
        np.zeros(len(subject.items), np.int32) if subject.interests is None else subject.interests
    )


def _carried(
    carried: Rows, rows: I32, weights: F32, labels: I32
) -> tuple[npt.NDArray[np.integer], F32]:
    """The columns (c,) of what some items carry, and what share of each interest does, (g, c)."""
    spans = [carried.of(row) for row in rows.tolist()]
    owner = np.repeat(np.arange(len(rows)), [len(span) for span in spans])
    columns, at = np.unique(np.concatenate(spans), return_inverse=True)
    sums = np.zeros((labels.max() + 1, len(columns)), np.float32)
    np.add.at(sums, (labels[owner], at), weights[owner])
    return columns, sums / np.maximum(np.bincount(labels, weights), 1e-12)[:, None]


def _titles(release: Release, rows: list[int]) -> str:
    """The titles of the first two that have one; nothing where none has."""
    titles: list[str] = []
    for row in rows:
        if len(titles) == MOST_WORDS:
            break
        title = release.card(row).get("title")
        if title:
            titles.append(f"“{title}”")
    return f"like {' and '.join(titles)}" if titles else ""
