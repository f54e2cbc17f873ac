"""Checks of what was learned: no leak, no empty vectors, an index that finds, lists to show."""

import numpy as np

from embeddings.indexes.faiss_index import FaissIndex
from graph.arrays import F32, I32, Flags
from recommender.learning.build import SPECTRAL
from recommender.learning.checked_release import (
    FEWEST_ENTRIES,
    FORCE,
    Seen,
    Text,
    hashes_of,
    keys_of,
)
from recommender.learning.split import FIT
from recommender.releases.contents import TABLES
from recommender.segments.membership import Segments
from recommender.serving.recommend import Recommender

BLANK = 0.05  # share of the items with events that may have no vector


SAME = 0.5  # fewest different vectors for each different set of users


MOVED = 0.05  # overlap of the ten nearest items; with less, the vectors are other ones


FEWEST_ITEMS = 100  # below, overlap and recall say nothing


RECALL, ASKED, NEAREST = 0.98, 200, 10  # recall of the index, queries tried, items sought for each
AT_ONCE = 10  # queries whose products with all vectors are held


LOOKED = 20  # users of each segment whose lists are looked at


def leaked(seen: Seen) -> Text:
    """Pairs that were held back were learned from nevertheless."""
    if seen.fitted is None:
        return None
    out = seen.parts.part != FIT
    width = max(seen.fitted.width, 1)
    keys = seen.parts.pairs.users[out] * width + seen.parts.pairs.items[out]
    both = int(np.isin(keys, keys_of(seen.fitted)).sum())
    if not both:
        return None
    return (
        f"{both:,} pairs that were held back to judge by were learned from: the figures mean "
        "nothing; refresh again, and report this"
    )


def not_numbers(seen: Seen) -> Text:
    """NaN or infinity among what ranks."""
    named = {f"vectors of {name}": array for name, array in seen.new.vectors.items()}
    if seen.new.sequence is not None:
        parts = seen.new.sequence.arrays.items()
        named |= {f"{name} of the sequence model": array for name, array in parts}
    names = list(TABLES.values())[: len(seen.new.tables)]
    ranking = {name: table.scores for name, table in zip(names, seen.new.tables, strict=True)}
    for name, array in (ranking | named).items():
        wrong = int(np.count_nonzero(~np.isfinite(array)))
        if wrong:
            return f"{name}: {wrong:,} values are not numbers; refresh with another --seed"
    return None


def no_vectors(seen: Seen) -> Text:
    """Many items with events have no vector, or the same vector though their users differ."""
    known = np.diff(seen.new.item_users.indptr) > 0
    vectors = seen.new.vectors[SPECTRAL][known]
    if len(vectors) < FEWEST_ENTRIES:
        return None
    blank = float((~vectors.any(axis=1)).mean())
    if blank > BLANK:
        return f"{blank:.0%} of the items with events have no vector; refresh with another --seed"
    places = len(np.unique(vectors, axis=0))
    sets = len(np.unique(hashes_of(seen.new.item_users)[known]))
    if places < SAME * min(sets, len(vectors)) and sets > FEWEST_ENTRIES:
        return (
            f"{len(vectors):,} items with {sets:,} different sets of users have only "
            f"{places:,} different vectors; refresh with another --seed"
        )
    return None


def moved(seen: Seen) -> Text:
    """Hardly any item has the neighbours that it has in the served release."""
    drift = (seen.new.manifest.get("drift") or {}).get("vectors", {}).get(SPECTRAL)
    if not drift or (drift["sample"] or 0) < FEWEST_ITEMS or drift["jaccard@10"] >= MOVED:
        return None
    return (
        f"the ten nearest items overlap with those of the served release by "
        f"only {drift['jaccard@10']:.2f}: the vectors did not settle, or the data is different; "
        f"refresh with another --seed; {FORCE}"
    )


def index_recall(seen: Seen) -> Text:
    """The index misses too much of what an exact search finds."""
    for name, vectors in seen.new.vectors.items():
        if len(vectors) < FEWEST_ITEMS:
            continue
        sample = np.linspace(0, len(vectors) - 1, ASKED).astype(np.int64)
        queries = np.ascontiguousarray(vectors[sample], np.float32)
        neighbours, _ = FaissIndex.load(seen.new.folder / f"{name}.faiss", vectors).search(
            queries, NEAREST
        )
        blocks = [slice(begin, begin + AT_ONCE) for begin in range(0, ASKED, AT_ONCE)]
        good = [_as_near(queries[rows], vectors, neighbours[rows]) for rows in blocks]
        recall = float(np.concatenate(good).mean())
        if recall < RECALL:
            return (
                f"the index of {name} finds {recall:.3f} of the nearest items, less than "
                f"{RECALL}; refresh again"
            )
    return None


def _as_near(queries: F32, vectors: F32, neighbours: I32) -> Flags:
    """(b, k) which neighbours of each query are as near as its k nearest of all vectors."""
    exact = queries @ vectors.T
    floor = np.partition(exact, -NEAREST, axis=1)[:, -NEAREST]
    reached = np.take_along_axis(exact, np.maximum(neighbours, 0).astype(np.int64), axis=1)
    slack = 1e-5 * np.maximum(np.abs(floor), 1e-6)
    near: Flags = (neighbours >= 0) & (reached >= (floor - slack)[:, None])
    return near


def nothing_to_show(seen: Seen) -> Text:
    """A segment whose users get empty lists."""
    release = seen.new
    if release.segments is None or not len(release.items):
        return None
    segments = Segments(release)
    of_users = segments.of_users()
    recommender = Recommender(release)
    for number in np.unique(of_users).tolist():
        users = np.flatnonzero(of_users == number)
        users = users[:: max(1, len(users) // LOOKED)]
        met = np.diff(release.blocked.indptr)[users]
        users = users[met < np.count_nonzero(~release.hidden)]
        if len(users) and not (recommender.rank_users(users, NEAREST).items >= 0).any():
            return (
                f"nobody in segment {segments.name(number)!r} gets a single item; check whether "
                "its items are hidden"
            )
    return None
