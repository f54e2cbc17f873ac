"""What no release may look like: checks without statistics, beside the release that is served.

Each is one small function that gives a `Reason` or None; a reason names what was seen and what to
do. Those that compare with the served release know both by ids, never by rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embeddings.indexes.faiss_index import FaissIndex
from graph.arrays import I64, U64, Flags
from graph.model import NO_TIME
from recommender.learning.build import SPECTRAL
from recommender.learning.gates import Reason
from recommender.learning.parts import Parts
from recommender.learning.stability import common_rows
from recommender.measures.split import FIT
from recommender.releases.release import Release
from recommender.releases.rows import Rows
from recommender.segments.grouping import Segments
from recommender.serving.recommend import Recommender

Text = str | None

KEPT = 2 / 3  # share of the served release's items, or of its pairs, that must still be there
FEWEST_ENTRIES = 20  # of a domain, a kind, a column: with fewer nothing is concluded
LEFT = 0.1  # share of a domain's pairs, a kind's entries, a column's values: below, it is gone
TAGS_KEPT = 0.5  # share of the tags of items that both know
EARLIER = 0.1  # share of pairs whose last event may lie before where it lay
TWINS = 0.2  # share of items (or users) that may have the very users (items) of another
TWIN_EVENTS = 5  # an item or user of fewer events may well have a twin
BLANK = 0.05  # share of the items with events that may have no vector
SAME = 0.5  # distinct vectors must be this many per distinct set of users
MOVED = 0.05  # overlap of the ten nearest items below which vectors are no longer the same
FEWEST_ITEMS = 100  # to speak of overlap and recall
RECALL, ASKED, NEAREST = 0.98, 200, 10  # of the index, for some queries
SAMPLED = 2_000  # items whose cards are read
LOOKED = 20  # users of each segment whose lists are looked at
FORCE = "if that is meant, publish with --force"


@dataclass(frozen=True)
class Seen:
    """What is checked."""

    new: Release
    old: Release | None  # that is served
    parts: Parts
    fitted: Rows | None = None  # (u, i) what the trial has met


def checked(seen: Seen) -> tuple[list[Reason], list[str]]:
    """Every reason against a release, and the names of all checks that were made."""
    reasons = []
    for name, check in CHECKS.items():
        text = check(seen)
        if text:
            reasons.append(Reason(name, text))
    return reasons, list(CHECKS)


# ── beside the served release: the data ──────────────────────────────────────────────────


def older(seen: Seen) -> Text:
    """A snapshot from before the served one: a wrong store, or one that was restored."""
    if seen.old is None or seen.new.watermark >= seen.old.watermark:
        return None
    return (
        f"the snapshot ends at fact {seen.new.watermark:,}, the served release at "
        f"{seen.old.watermark:,}: an older or another store was read; check --home and the "
        f"setting store; {FORCE}"
    )


def items_gone(seen: Seen) -> Text:
    """A third of the items or more is gone."""
    if seen.old is None or not len(seen.old.items):
        return None
    both = len(common_rows(seen.new.items, seen.old.items)[0])
    before = len(seen.old.items)
    if both >= KEPT * before:
        return None
    return (
        f"of {before:,} items of the served release {both:,} are left; load the items that are "
        f"missing; {FORCE}"
    )


def events_gone(seen: Seen) -> Text:
    """A third of what users did is gone, or belongs to others."""
    if seen.old is None or not len(seen.old.histories.indices):
        return None
    there = _still_there(seen.new, seen.old)
    if there.mean() >= KEPT:
        return None
    return (
        f"of {len(there):,} pairs of a user and an item in the served release "
        f"{int(there.sum()):,} are left; a load went wrong, or ids changed; {FORCE}"
    )


def domain_gone(seen: Seen) -> Text:
    """What users did in one domain is gone."""
    old = seen.old
    if old is None or not len(old.domains) or not len(old.histories.indices):
        return None
    there = _still_there(seen.new, old)
    items = old.item_domains.matrix  # (i, d)
    before = np.bincount(old.histories.indices, minlength=len(old.items)) @ items
    left = np.bincount(old.histories.indices[there], minlength=len(old.items)) @ items
    lost = np.flatnonzero((before >= FEWEST_ENTRIES) & (left < LEFT * before))
    if not len(lost):
        return None
    worst = int(lost[np.argmax(before[lost])])
    return (
        f"domain {old.domains.id(worst)!r}: of {before[worst]:,.0f} pairs in the served release "
        f"{left[worst]:,.0f} are left; load what is missing; {FORCE}"
    )


def kind_gone(seen: Seen) -> Text:
    """A kind of event is gone."""
    if seen.old is None:
        return None
    before, now = _kinds(seen.old), _kinds(seen.new)
    gone = [
        name
        for name, count in before.items()
        if count >= FEWEST_ENTRIES and now.get(name, 0) < LEFT * count
    ]
    if not gone:
        return None
    worst = max(gone, key=lambda name: before[name])
    return (
        f"{worst!r} events: {before[worst]:,} pairs of the served release rested on them, "
        f"{now.get(worst, 0):,} do now; load them; {FORCE}"
    )


def turned_back(seen: Seen) -> Text:
    """Events lie earlier than they did: times are reversed, or of another unit."""
    if seen.old is None:
        return None
    there, rows = _matched(seen.new, seen.old)
    before = seen.old.history_times[there]
    after = seen.new.history_times[rows]
    dated = (before != NO_TIME) & (after != NO_TIME)
    if dated.sum() < FEWEST_ENTRIES:
        return None
    share = float((after[dated] < before[dated]).mean())
    if share <= EARLIER:
        return None
    return (
        f"of {int(dated.sum()):,} pairs {share:.0%} have their last event earlier than in the "
        f"served release; check the column and the unit of the times; {FORCE}"
    )


def tags_changed(seen: Seen) -> Text:
    """Items carry other tags than they did."""
    if seen.old is None:
        return None
    own, theirs = common_rows(seen.new.items, seen.old.items)
    to_new = seen.new.tags.rows(seen.old.tags)  # (old tags,)
    before = seen.old.item_tags.matrix[theirs].tocoo()
    if before.nnz < FEWEST_ENTRIES:
        return None
    tags = to_new[before.col]
    width = max(len(seen.new.tags), 1)
    now = seen.new.item_tags.matrix[own].tocoo()
    keys = np.where(tags >= 0, before.row.astype(np.int64) * width + tags, -1)
    left = float(np.isin(keys, now.row.astype(np.int64) * width + now.col).mean())
    if left >= TAGS_KEPT:
        return None
    return (
        f"of {before.nnz:,} tags of items {left:.0%} are still on them; check the file of tags; "
        f"{FORCE}"
    )


def column_emptied(seen: Seen) -> Text:
    """Titles, or an attribute, are gone."""
    if seen.old is None:
        return None
    own, theirs = common_rows(seen.new.items, seen.old.items)
    step = max(1, len(own) // SAMPLED)
    pairs = list(zip(own[::step].tolist(), theirs[::step].tolist(), strict=True))
    before: dict[str, int] = {}
    now: dict[str, int] = {}
    for new_row, old_row in pairs:
        for counts, card in ((before, seen.old.card(old_row)), (now, seen.new.card(new_row))):
            for name in _filled(card):
                counts[name] = counts.get(name, 0) + 1
    for name, count in sorted(before.items(), key=lambda entry: -entry[1]):
        if count >= FEWEST_ENTRIES and now.get(name, 0) < LEFT * count:
            return (
                f"{name}: {count:,} of {len(pairs):,} items had it in the served release, "
                f"{now.get(name, 0):,} do now; load the items with it again; {FORCE}"
            )
    return None


def twins(seen: Seen) -> Text:
    """Many items, or users, are the doubles of others."""
    for noun, rows in (("item", seen.new.item_users), ("user", seen.new.histories)):
        share = _twins(rows)
        before = 0.0
        if seen.old is not None:
            before = _twins(seen.old.item_users if noun == "item" else seen.old.histories)
        if share > TWINS and share > 2 * before:
            return (
                f"{share:.0%} of the {noun}s with {TWIN_EVENTS} events or more have exactly the "
                f"events of another {noun}; look for {noun}s under two ids; {FORCE}"
            )
    return None


# ── the result ───────────────────────────────────────────────────────────────────────────


def leaked(seen: Seen) -> Text:
    """What should be found was learned from."""
    if seen.fitted is None:
        return None
    out = seen.parts.part != FIT
    width = max(seen.fitted.width, 1)
    keys = seen.parts.pairs.users[out] * width + seen.parts.pairs.items[out]
    both = int(np.isin(keys, _keys(seen.fitted)).sum())
    if not both:
        return None
    return (
        f"{both:,} pairs that were held back to judge by were learned from: the figures mean "
        "nothing; refresh again, and report this"
    )


def not_numbers(seen: Seen) -> Text:
    """NaN or infinity among what ranks."""
    named = {f"vectors of {name}": array for name, array in seen.new.vectors.items()}
    for name, array in {"the item table": seen.new.table.scores, **named}.items():
        wrong = int(np.count_nonzero(~np.isfinite(array)))
        if wrong:
            return f"{name} holds {wrong:,} values that are no numbers; refresh with another --seed"
    return None


def no_vectors(seen: Seen) -> Text:
    """Items with events lie nowhere, or most at the same place."""
    known = np.diff(seen.new.item_users.indptr) > 0
    vectors = seen.new.vectors[SPECTRAL][known]
    if len(vectors) < FEWEST_ENTRIES:
        return None
    blank = float((~vectors.any(axis=1)).mean())
    if blank > BLANK:
        return f"{blank:.0%} of the items with events have no vector; refresh with another --seed"
    places = len(np.unique(vectors, axis=0))
    sets = len(np.unique(_hashes(seen.new.item_users)[known]))
    if places < SAME * min(sets, len(vectors)) and sets > FEWEST_ENTRIES:
        return (
            f"{len(vectors):,} items with {sets:,} different sets of users have {places:,} "
            "different vectors; refresh with another --seed"
        )
    return None


def moved(seen: Seen) -> Text:
    """Vectors have nothing to do with those of the served release."""
    drift = (seen.new.manifest.get("drift") or {}).get("vectors", {}).get(SPECTRAL)
    if not drift or (drift["sample"] or 0) < FEWEST_ITEMS or drift["jaccard@10"] >= MOVED:
        return None
    return (
        f"the ten nearest items overlap with those of the served release by "
        f"{drift['jaccard@10']:.2f} only: the vectors did not settle, or the data are others; "
        f"refresh with another --seed; {FORCE}"
    )


def index_recall(seen: Seen) -> Text:
    """The index finds what an exact search finds."""
    for name, vectors in seen.new.vectors.items():
        if len(vectors) < FEWEST_ITEMS:
            continue
        sample = np.linspace(0, len(vectors) - 1, ASKED).astype(np.int64)
        queries = np.ascontiguousarray(vectors[sample], np.float32)
        neighbours, _ = FaissIndex.load(seen.new.folder / f"{name}.faiss", vectors).search(
            queries, NEAREST
        )
        exact = queries @ vectors.T
        floor = -np.partition(-exact, NEAREST - 1, axis=1)[:, NEAREST - 1]
        reached = np.take_along_axis(exact, np.maximum(neighbours, 0).astype(np.int64), axis=1)
        slack = 1e-5 * np.maximum(np.abs(floor), 1e-6)
        good = (neighbours >= 0) & (reached >= (floor - slack)[:, None])
        if float(good.mean()) < RECALL:
            return (
                f"the index of {name} finds {good.mean():.3f} of the nearest items, less than "
                f"{RECALL}; refresh again"
            )
    return None


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
                f"nobody of segment {segments.name(number)!r} gets a single item; look whether "
                "its items are hidden"
            )
    return None


CHECKS: dict[str, Callable[[Seen], Text]] = {
    "older snapshot": older,
    "items gone": items_gone,
    "events gone": events_gone,
    "domain gone": domain_gone,
    "kind gone": kind_gone,
    "times turned back": turned_back,
    "tags changed": tags_changed,
    "column emptied": column_emptied,
    "twins": twins,
    "leak": leaked,
    "not numbers": not_numbers,
    "no vectors": no_vectors,
    "vectors moved": moved,
    "index recall": index_recall,
    "nothing to show": nothing_to_show,
}


# ─────────────────────────────────────────────────────────────────────────────────────────


def _keys(rows: Rows) -> I64:
    """Each entry of a (u, i) list as one number, row by row."""
    owners = np.repeat(np.arange(len(rows), dtype=np.int64), np.diff(rows.indptr))
    return owners * max(rows.width, 1) + rows.indices


def _matched(new: Release, old: Release) -> tuple[I64, I64]:
    """Places in the old histories of pairs that both have, and their places in the new ones."""
    users, items = new.users.rows(old.users), new.items.rows(old.items)
    owners = np.repeat(np.arange(len(old.users)), np.diff(old.histories.indptr))
    rows, columns = users[owners], items[old.histories.indices]
    wanted = np.where((rows >= 0) & (columns >= 0), rows * max(len(new.items), 1) + columns, -1)
    keys = _keys(new.histories)
    order = np.argsort(keys, kind="stable")
    if not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    places = np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)
    matched = keys[order][places] == wanted
    return np.flatnonzero(matched), order[places[matched]]


def _still_there(new: Release, old: Release) -> Flags:
    there = np.zeros(len(old.histories.indices), np.bool_)
    there[_matched(new, old)[0]] = True
    return there


def _kinds(release: Release) -> dict[str, int]:
    counts = np.bincount(release.history_kinds, minlength=len(release.event_kinds))
    return dict(zip(release.event_kinds, counts.tolist(), strict=False))


def _filled(card: dict[str, object]) -> list[str]:
    names = ["titles"] if card.get("title") else []
    attributes = card.get("attributes")
    if isinstance(attributes, dict):
        names += [
            f"attribute {name!r}" for name, value in attributes.items() if value not in (None, "")
        ]
    return names


def _hashes(rows: Rows) -> U64:
    """(rows,) a number for the set of each row: the same for the same set."""
    draw = np.random.default_rng(0).integers(0, 2**63, max(rows.width, 1)).astype(np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(draw[rows.indices])])
    result: U64 = sums[rows.indptr[1:]] - sums[rows.indptr[:-1]]
    return result


def _twins(rows: Rows) -> float:
    """Share of the rows with `TWIN_EVENTS` entries or more that another row equals."""
    active = np.diff(rows.indptr) >= TWIN_EVENTS
    if active.sum() < FEWEST_ENTRIES:
        return 0.0
    _, places, counts = np.unique(_hashes(rows)[active], return_inverse=True, return_counts=True)
    return float((counts[places] > 1).mean())
