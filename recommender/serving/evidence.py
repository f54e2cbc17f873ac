"""The evidence for the items of a list, found in one compiled call.

For each item shown: the three history entries that add most to its score, and what connects each
of them with the item. That is a relation between the two, or else the rarest tag that both carry,
or else how many people chose both. If most of what an entry adds comes from what people go on to
after it, that is the connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numba import njit

from graph.arrays import F32, F64, I32, I64, Flags
from recommender.ranking.candidates import arriving, follows_of, load_row, row_of, scratch
from recommender.releases.release import Release
from recommender.serving.subject_arrays import joined, newest_of, starts_of

MOST_REASONS = 3
GO_ON = -1
UNLIKE = 8  # times as long


@dataclass(frozen=True)
class Evidence:
    """For each of k items up to three history entries, strongest first; -1 after the last."""

    entries: I64  # (k, 3) places in the histories of all speakers, one after the other
    near: I32  # (k, 3) the items there
    shares: F64  # (k, 3) share of all that speaks for the item
    relations: I64  # (k, 3) places in `Release.relations`; -1: none
    tags: I32  # (k, 3) rows of tags; -1: none, or a relation is told instead
    tagged: Flags  # (k, 3) whether both items carry the tag; else people wrote it
    people: I32  # (k, 3) how many others chose both; 0 where a relation or tag is told instead;
    # `GO_ON`: people go on from the entry to the item

    @classmethod
    def none(cls, items: int) -> "Evidence":
        """Nothing speaks for so many items."""
        return cls(*_nothing(items))

    def put(self, places: I64, items: int) -> "Evidence":
        """The evidence for more items, of which those at `places` (k,) have this."""
        if np.array_equal(places, np.arange(items)):
            return self
        whole = Evidence.none(items)
        whole.fill(places, self)
        return whole

    def fill(self, places: I64, part: "Evidence") -> None:
        """Take over the evidence for the items at some places (m,), in place."""
        for name in vars(self):
            getattr(self, name)[places] = getattr(part, name)


class Speaker(Protocol):
    """Whose history speaks for items; see `Subject`."""

    @property
    def items(self) -> I32:
        """(h,) the history."""

    @property
    def weights(self) -> F32:
        """(h,) its weights."""

    @property
    def newest(self) -> F32 | None:
        """(h,) its weights where what follows what is read; None: it is not."""

    @property
    def reads(self) -> int:
        """Which of `Release.tables` the history reads."""

    @property
    def user_row(self) -> int:
        """The user who asks, and is not counted among the people."""

    @property
    def uncounted(self) -> I32:
        """Further users who are not counted, ascending; the same for all speakers."""


def evidence(release: Release, speakers: Sequence[Speaker], shown: Sequence[I32]) -> Evidence:
    """Which entries of their histories speak for the items shown to some people.

    One call for each of the release's tables that any of them reads.

    Args:
        release: what is served.
        speakers: at least one.
        shown: for each speaker rows of different items; all together they are the k of the result.
    """
    read = np.array([speaker.reads for speaker in speakers])
    tables = np.unique(read).tolist()
    if len(tables) == 1:
        return _by_table(release, speakers, shown)
    places = np.arange(sum(map(len, shown))), np.arange(sum(len(s.items) for s in speakers))
    runs = [
        np.split(every, np.cumsum([len(part) for part in parts])[:-1])
        for every, parts in zip(places, (shown, [s.items for s in speakers]), strict=True)
    ]
    whole = Evidence.none(len(places[0]))
    for own in (np.flatnonzero(read == table) for table in tables):
        part = _by_table(release, [speakers[at] for at in own], [shown[at] for at in own])
        items, entries = (np.concatenate([run[at] for at in own]) for run in runs)
        known = np.append(entries, -1)[part.entries]  # where each stands in all histories; -1: none
        whole.fill(items, replace(part, entries=known))
    return whole


def _by_table(release: Release, speakers: Sequence[Speaker], shown: Sequence[I32]) -> Evidence:
    """`evidence` for people who read the same table."""
    item = release
    read = speakers[0].reads
    table, arrivals = release.tables[read], release.arrivals[read]
    weights = joined([speaker.weights for speaker in speakers])
    follows = follows_of(table, weights, newest_of(speakers))
    return Evidence(
        *_evidence(
            table.neighbours, table.scores, arrivals.arrays, starts_of(shown), joined(list(shown)),
            starts_of([speaker.items for speaker in speakers]),
            joined([speaker.items for speaker in speakers]),
            weights, follows, item.relations.indptr, item.relations.indices, item.item_tags.indptr,
            item.item_tags.indices, item.tags_given, item.tag_items.indptr, item.item_users.indptr,
            item.item_users.indices,
            np.array([speaker.user_row for speaker in speakers]), speakers[0].uncounted,
            *scratch(len(release.items))[1:],
        )
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _contributions(  # type: ignore[no-untyped-def]
    neighbours, strengths, arrivals, shown, items, weights, follows, marks, places
):
    """(k, h) what each history entry adds to each item shown, and how much of that because people
    go on from the one to the other; marks (i,) u8 come and go as zeros, and say where `places`
    (i + 1,) i32 holds which of the items shown it is.
    """
    parts = np.zeros((len(shown), len(items)), np.float32)
    going_on = np.zeros(parts.shape, np.float32)
    after, worth, newest = follows
    targets, gains = arrivals[4], arrivals[5]
    for at in range(len(shown)):
        marks[shown[at]], places[shown[at]] = 1, at
    for entry in range(len(items)):
        item, weight = items[entry], weights[entry]
        if entry + 1 < len(items):
            load_row(neighbours, strengths, items[entry + 1])
        row, worths = row_of(neighbours, strengths, arrivals, item)
        for k in range(len(row)):
            target = row[k]
            if target < 0:
                break
            if marks[target]:
                parts[places[target], entry] += weight * worths[k]
        start, stop = arriving(arrivals, item)
        for k in range(start, stop):
            if marks[targets[k]]:
                parts[places[targets[k]], entry] += weight * gains[k]
        if item < len(after):
            for k in range(after.shape[1]):
                target = after[item, k]
                if target < 0:
                    break
                if marks[target]:
                    going_on[places[target], entry] += newest[entry] * worth[item, k]
    for item in shown:
        marks[item] = 0
    return parts + going_on, going_on


@njit(cache=True, nogil=True)
def _nothing(count):  # type: ignore[no-untyped-def]
    """The arrays of `Evidence` where nothing speaks for an item."""
    return (
        np.full((count, MOST_REASONS), -1, np.int64),
        np.full((count, MOST_REASONS), -1, np.int32),
        np.zeros((count, MOST_REASONS), np.float64),
        np.full((count, MOST_REASONS), -1, np.int64),
        np.full((count, MOST_REASONS), -1, np.int32),
        np.zeros((count, MOST_REASONS), np.bool_),
        np.zeros((count, MOST_REASONS), np.int32),
    )


@njit(cache=True, nogil=True)
def _evidence(  # type: ignore[no-untyped-def]
    neighbours, strengths, arrivals, shown_indptr, shown, indptr, items, weights, follows,
    relation_indptr, relations, tag_indptr, tags, tagged, carriers_indptr, people_indptr, people,
    users, left_out, marks, places,
):  # fmt: skip
    entries, near_rows, shares, related, shared, both_tagged, both = _nothing(len(shown))
    for speaker in range(len(users)):
        first = indptr[speaker]
        own, worth = items[first : indptr[speaker + 1]], weights[first : indptr[speaker + 1]]
        start, stop = shown_indptr[speaker], shown_indptr[speaker + 1]
        after = follows[0], follows[1], follows[2][first : indptr[speaker + 1]]
        parts, going_on = _contributions(
            neighbours, strengths, arrivals, shown[start:stop], own, worth, after, marks, places
        )
        for s in range(start, stop):
            total = 0.0
            for part in parts[s - start]:
                if part > 0:
                    total += part
            if total <= 0:
                continue
            kept = _strongest(parts[s - start], own, entries[s])
            for position in range(kept):
                entry = entries[s, position]
                near = own[entry]
                near_rows[s, position] = near
                entries[s, position] = first + entry
                shares[s, position] = parts[s - start, entry] / total
                if going_on[s - start, entry] > parts[s - start, entry] / 2:
                    both[s, position] = GO_ON
                    continue
                at = _relation(relation_indptr, relations, near, shown[s])
                if at >= 0:
                    related[s, position] = at
                    continue
                tag, as_tagged = _rarest_tag(
                    tag_indptr, tags, tagged, carriers_indptr, near, shown[s]
                )
                if tag >= 0:
                    shared[s, position], both_tagged[s, position] = tag, as_tagged
                    continue
                both[s, position] = _people(
                    people_indptr, people, near, shown[s], users[speaker], left_out
                )
    return entries, near_rows, shares, related, shared, both_tagged, both


@njit(cache=True, nogil=True)
def _strongest(parts, items, entries):  # type: ignore[no-untyped-def]
    """The places of the largest positive parts, earlier ones first among equals; how many items.

    An item that is in the history twice counts once, with the larger of its parts.
    """
    entries[:] = -1
    least = np.float32(0)  # a part must be above this to be kept
    for at in range(len(parts)):
        if not parts[at] > least:
            continue
        position = len(entries) - 1
        while position > 0:
            before = entries[position - 1]
            if before >= 0 and parts[before] >= parts[at]:
                break
            entries[position] = before
            position -= 1
        entries[position] = at
        if entries[-1] >= 0:
            least = parts[entries[-1]]
    kept = 0
    for position in range(len(entries)):
        at = entries[position]
        entries[position] = -1
        if at < 0:
            break
        again = False
        for before in range(kept):
            again |= items[entries[before]] == items[at]
        if not again:
            entries[kept] = at
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _relation(indptr, targets, item, other_item):  # type: ignore[no-untyped-def]
    """Where the first relation between two items stands, in either direction; -1: none."""
    for at in range(indptr[item], indptr[item + 1]):
        if targets[at] == other_item:
            return at
    for at in range(indptr[other_item], indptr[other_item + 1]):
        if targets[at] == item:
            return at
    return -1


@njit(cache=True, nogil=True)
def _rarest_tag(indptr, tags, tagged, carriers_indptr, item, other_item):  # type: ignore[no-untyped-def]
    """The rarest tag that both items carry; if there is none, the rarest that they share otherwise.

    The rows are sorted and merged; of equally rare tags the first is taken.
    """
    best, best_tagged, fewest = -1, False, 0
    here, there = indptr[item], indptr[other_item]
    while here < indptr[item + 1] and there < indptr[other_item + 1]:
        tag = tags[here]
        if tag < tags[there]:
            here += 1
            continue
        if tag > tags[there]:
            there += 1
            continue
        both, carriers = (
            tagged[here] and tagged[there],
            carriers_indptr[tag + 1] - carriers_indptr[tag],
        )
        if best < 0 or (both and not best_tagged) or (both == best_tagged and carriers < fewest):
            best, best_tagged, fewest = tag, both, carriers
        here += 1
        there += 1
    return best, best_tagged


@njit(cache=True, nogil=True)
def _people(indptr, people, item, other_item, user, left_out):  # type: ignore[no-untyped-def]
    """How many people but some chose both items.

    Rows of like lengths are merged; of unlike ones the shorter is looked up in the longer.
    """
    if indptr[item + 1] - indptr[item] > indptr[other_item + 1] - indptr[other_item]:
        item, other_item = other_item, item
    here, end = indptr[item], indptr[item + 1]
    low, stop = indptr[other_item], indptr[other_item + 1]
    unlike = stop - low > UNLIKE * (end - here)
    count = 0
    while here < end and low < stop:
        own = people[here]
        if unlike:
            low += np.searchsorted(people[low:stop], own)
            if low == stop:
                break
        other = people[low]
        if own == other and own != user:
            within = np.searchsorted(left_out, own)
            if within == len(left_out) or left_out[within] != own:
                count += 1
        here += own <= other
        low += other <= own
    return count
