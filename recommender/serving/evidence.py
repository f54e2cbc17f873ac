"""The evidence for the items of a list, found in one compiled call.

For each item shown: the three history entries that add most to its score, and what connects each
of them with the item. That is a relation between the two, or else the rarest tag that both carry,
or else how many people chose both.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from graph.arrays import F32, F64, I32, I64, Flags
from recommender.ranking.candidates import arriving, row_of, scratch
from recommender.releases.release import Release

MOST_REASONS = 3


@dataclass(frozen=True)
class Evidence:
    """For each of k items up to three history entries, strongest first; -1 after the last."""

    entries: I64  # (k, 3) places in the history
    shares: F64  # (k, 3) share of all that speaks for the item
    relations: I64  # (k, 3) places in `Release.relations`; -1: none
    tags: I32  # (k, 3) rows of tags; -1: none, or a relation is told instead
    tagged: Flags  # (k, 3) whether both items carry the tag; else people wrote it
    people: I32  # (k, 3) how many others chose both; 0 where a relation or tag is told instead


NOBODY: I32 = np.zeros(0, np.int32)


def evidence(
    release: Release,
    shown: I32,
    items: I32,
    weights: F32,
    user_row: int,
    left_out: I32 = NOBODY,
) -> Evidence:
    """Which entries of a history speak for the items shown.

    Args:
        release: what is served.
        shown: (k,) rows of different items.
        items: (h,) the history.
        weights: (h,) its weights.
        user_row: the user who asks, and is not counted among the people.
        left_out: further users who are not counted, ascending.
    """
    item = release
    return Evidence(
        *_evidence(  # type: ignore[call-arg]
            *_of_table(release), shown, items, weights, item.relations.indptr,
            item.relations.indices, item.item_tags.indptr, item.item_tags.indices, item.tags_given,
            item.tag_items.indptr, item.item_users.indptr, item.item_users.indices, user_row,
            left_out, scratch(len(release.items))[1],
        )
    )  # fmt: skip


def contributions(release: Release, item: int, rows: I32, weights: F32) -> F32:
    """(h,) what each history item adds to the item's score in the table; they sum to it."""
    marks = scratch(len(release.items))[1]
    parts: F32 = _contributions(  # type: ignore[call-arg]
        *_of_table(release), np.array([item], np.int32), rows, weights, marks
    )[0]
    return parts


def _of_table(release: Release) -> tuple[Any, ...]:
    return release.table.neighbours, release.table.scores, release.arrivals.arrays


@njit(cache=True, nogil=True)
def _contributions(neighbours, strengths, arrivals, shown, items, weights, marks):  # type: ignore[no-untyped-def]
    """(k, h) what each history entry adds to each item shown; marks (i,) come and go as zeros."""
    parts = np.zeros((len(shown), len(items)), np.float32)
    order = np.argsort(shown)
    ascending = shown[order]
    targets, gains = arrivals[4], arrivals[5]
    for item in shown:
        marks[item] = 1
    for entry in range(len(items)):
        item, weight = items[entry], weights[entry]
        row, worths = row_of(neighbours, strengths, arrivals, item)
        for k in range(len(row)):
            if row[k] < 0:
                break
            if marks[row[k]]:
                at = order[np.searchsorted(ascending, row[k])]
                parts[at, entry] += weight * worths[k]
        start, stop = arriving(arrivals, item)
        for k in range(start, stop):
            if marks[targets[k]]:
                at = order[np.searchsorted(ascending, targets[k])]
                parts[at, entry] += weight * gains[k]
    for item in shown:
        marks[item] = 0
    return parts


@njit(cache=True, nogil=True)
def _evidence(  # type: ignore[no-untyped-def]
    neighbours, strengths, arrivals, shown, items, weights, relation_indptr, relations, tag_indptr,
    tags, tagged, carriers_indptr, people_indptr, people, user, left_out, marks,
):  # fmt: skip
    count = len(shown)
    parts = _contributions(neighbours, strengths, arrivals, shown, items, weights, marks)
    entries = np.full((count, MOST_REASONS), -1, np.int64)
    shares = np.zeros((count, MOST_REASONS), np.float64)
    related = np.full((count, MOST_REASONS), -1, np.int64)
    shared = np.full((count, MOST_REASONS), -1, np.int32)
    both_tagged = np.zeros((count, MOST_REASONS), np.bool_)
    both = np.zeros((count, MOST_REASONS), np.int32)
    for s in range(count):
        total = 0.0
        for part in parts[s]:
            if part > 0:
                total += part
        if total <= 0:
            continue
        kept = _strongest(parts[s], items, entries[s])
        for position in range(kept):
            entry = entries[s, position]
            shares[s, position] = parts[s, entry] / total
            near = items[entry]
            at = _relation(relation_indptr, relations, near, shown[s])
            if at >= 0:
                related[s, position] = at
                continue
            tag, as_tagged = _rarest_tag(tag_indptr, tags, tagged, carriers_indptr, near, shown[s])
            if tag >= 0:
                shared[s, position], both_tagged[s, position] = tag, as_tagged
                continue
            both[s, position] = _people(people_indptr, people, near, shown[s], user, left_out)
    return entries, shares, related, shared, both_tagged, both


@njit(cache=True, nogil=True)
def _strongest(parts, items, entries):  # type: ignore[no-untyped-def]
    """The places of the largest positive parts, earlier ones first among equals; how many items.

    An item that is in the history twice counts once, with the larger of its parts.
    """
    for position in range(len(entries)):
        best = -1
        for at in range(len(parts)):
            if parts[at] <= 0 or (best >= 0 and parts[at] <= parts[best]):
                continue
            taken = False
            for before in range(position):
                taken |= entries[before] == at
            if not taken:
                best = at
        entries[position] = best
        if best < 0:
            break
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
    """How many people but some chose both items: the shorter row looked up in the longer."""
    if indptr[item + 1] - indptr[item] > indptr[other_item + 1] - indptr[other_item]:
        item, other_item = other_item, item
    count = 0
    low, stop = indptr[other_item], indptr[other_item + 1]
    for at in range(indptr[item], indptr[item + 1]):
        low += np.searchsorted(people[low:stop], people[at])
        if low == stop:
            break
        if people[low] == people[at] and people[at] != user:
            within = np.searchsorted(left_out, people[at])
            if within == len(left_out) or left_out[within] != people[at]:
                count += 1
    return count
