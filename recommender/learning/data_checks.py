"""Checks of the data behind a release: is it older than before, emptied or half loaded?"""

from collections.abc import Mapping

import numpy as np

from graph.arrays import I32, I64, Flags
from graph.ids import as_word
from graph.model import NO_TIME
from recommender.learning.checked_release import (
    FEWEST_ENTRIES,
    FORCE,
    Seen,
    Text,
    hashes_of,
    keys_of,
)
from recommender.learning.stability import common_rows
from recommender.releases.release import Release
from recommender.releases.rows import Rows

KEPT = 2 / 3  # share of the served release's items, or of its pairs, that must still be there


LEFT = 0.1  # share of a domain's pairs, a kind's entries, a column's values; less: gone


TAGS_KEPT = 0.5  # share of the tags of items in both releases that must still be there


EARLIER = 0.1  # share of pairs whose last event may have an earlier time than before


TWINS = 0.2  # share of items (users) that may have exactly the users (items) of another


TWIN_EVENTS = 5  # an item or user of fewer events may well have a twin


SAMPLED = 2_000  # items whose cards are read


Expired = Mapping[str, int]  # see `Seen`


def older(new: Release, old: Release) -> Text:
    """The snapshot is older than the served release's: the store is a wrong or restored one."""
    if new.watermark >= old.watermark:
        return None
    return (
        f"the snapshot ends at fact {new.watermark:,}, the served release at "
        f"{old.watermark:,}: an older or another store was read; check --home and the "
        f"setting store; {FORCE}"
    )


def items_gone(new: Release, old: Release) -> Text:
    """A third of the items or more is gone."""
    if not len(old.items):
        return None
    both = len(common_rows(new.items, old.items)[0])
    before = len(old.items)
    if both >= KEPT * before:
        return None
    return (
        f"of {before:,} items of the served release {both:,} are left; load the items that are "
        f"missing; {FORCE}"
    )


def events_gone(new: Release, old: Release, expired: Expired) -> Text:
    """A third of what users did is gone, or belongs to others."""
    there = _still_there(new, old)[_to_be_kept(old, expired)]
    if not len(there) or there.mean() >= KEPT:
        return None
    return (
        f"of {len(there):,} pairs of a user and an item in the served release "
        f"{int(there.sum()):,} are left; a load went wrong, or ids changed; {FORCE}"
    )


def domain_gone(new: Release, old: Release, expired: Expired) -> Text:
    """In one domain, nearly all that users did is gone."""
    if not len(old.domains) or not len(old.histories.indices):
        return None
    wanted = _to_be_kept(old, expired)
    there = wanted & _still_there(new, old)
    items = old.item_domains.matrix  # (i, d)
    before = np.bincount(old.histories.indices[wanted], minlength=len(old.items)) @ items
    left = np.bincount(old.histories.indices[there], minlength=len(old.items)) @ items
    lost = np.flatnonzero((before >= FEWEST_ENTRIES) & (left < LEFT * before))
    if not len(lost):
        return None
    worst = int(lost[np.argmax(before[lost])])
    return (
        f"domain {old.domains.id(worst)!r}: of {before[worst]:,.0f} pairs in the served release "
        f"{left[worst]:,.0f} are left; load what is missing; {FORCE}"
    )


def kind_gone(new: Release, old: Release, expired: Expired) -> Text:
    """A kind of event is gone."""
    before, now = _kinds(old, expired), _kinds(new, {})
    gone = [
        name
        for name, count in before.items()
        if count >= FEWEST_ENTRIES and now.get(name, 0) < LEFT * count
    ]
    if not gone:
        return None
    worst = max(gone, key=lambda name: before[name])
    return (
        f"{worst!r} events: the served release had {before[worst]:,}, now there are "
        f"{now.get(worst, 0):,}; load them; {FORCE}"
    )


def turned_back(new: Release, old: Release) -> Text:
    """Events have earlier times than before: times are reversed, or in another unit."""
    there, rows = _matched(new, old)
    before = old.history_times[there]
    after = new.history_times[rows]
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


def tags_changed(new: Release, old: Release) -> Text:
    """Items carry other tags than they did."""
    own, theirs = common_rows(new.items, old.items)
    to_new = new.tags.rows(old.tags)  # (old tags,)
    before = old.item_tags.matrix[theirs].tocoo()
    if before.nnz < FEWEST_ENTRIES:
        return None
    tags = to_new[before.col]
    width = max(len(new.tags), 1)
    now = new.item_tags.matrix[own].tocoo()
    keys = np.where(tags >= 0, before.row.astype(np.int64) * width + tags, -1)
    left = float(np.isin(keys, now.row.astype(np.int64) * width + now.col).mean())
    if left >= TAGS_KEPT:
        return None
    return (
        f"of {before.nnz:,} tags of items {left:.0%} are still on them; check the file of tags; "
        f"{FORCE}"
    )


def column_emptied(new: Release, old: Release) -> Text:
    """Most titles, or the values of an attribute, are gone."""
    own, theirs = common_rows(new.items, old.items)
    step = max(1, len(own) // SAMPLED)
    pairs = list(zip(own[::step].tolist(), theirs[::step].tolist(), strict=True))
    before: dict[str, int] = {}
    now: dict[str, int] = {}
    for new_row, old_row in pairs:
        for counts, card in ((before, old.card(old_row)), (now, new.card(new_row))):
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
    """Many items, or users, have exactly the events of another."""
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


def _matched(new: Release, old: Release) -> tuple[I64, I64]:
    """Positions of pairs that both releases have, in the old histories and in the new ones."""
    users, items = new.users.rows(old.users), new.items.rows(old.items)
    owners = np.repeat(np.arange(len(old.users)), np.diff(old.histories.indptr))
    rows, columns = users[owners], items[old.histories.indices]
    wanted = np.where((rows >= 0) & (columns >= 0), rows * max(len(new.items), 1) + columns, -1)
    keys = keys_of(new.histories)
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


def _kinds(release: Release, expired: Expired) -> dict[str, int]:
    """How many events there are of each kind. Histories would hide a kind that comes second."""
    kinds = release.arrays["events.kind"]
    kinds = kinds[~_expired(release, kinds, release.arrays["events.at"], expired)]
    counts = np.bincount(kinds, minlength=len(release.event_kinds))
    return dict(zip(release.event_kinds, counts.tolist(), strict=False))


def _to_be_kept(release: Release, expired: Expired) -> Flags:
    """(n,) of each pair of the histories whether it is to be kept still."""
    return ~_expired(release, release.history_kinds, release.history_times, expired)


def _expired(release: Release, kinds: I32, at: I64, expired: Expired) -> Flags:
    """Which events happened before the oldest of their kind that may be kept."""
    never = np.iinfo(np.int64).min
    names = map(as_word, release.event_kinds)
    oldest = np.array([expired.get(name, never) for name in names] or [never])
    flags: Flags = (at != NO_TIME) & (at < oldest[kinds])
    return flags


def _filled(card: dict[str, object]) -> list[str]:
    names = ["titles"] if card.get("title") else []
    attributes = card.get("attributes")
    if isinstance(attributes, dict):
        names += [
            f"attribute {name!r}" for name, value in attributes.items() if value not in (None, "")
        ]
    return names


def _twins(rows: Rows) -> float:
    """Share of the rows with `TWIN_EVENTS` entries or more that another row equals."""
    active = np.diff(rows.indptr) >= TWIN_EVENTS
    if active.sum() < FEWEST_ENTRIES:
        return 0.0
    _, places, counts = np.unique(hashes_of(rows)[active], return_inverse=True, return_counts=True)
    return float((counts[places] > 1).mean())
