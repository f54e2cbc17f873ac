"""A user's last word on an item counts: finds the events that a later one takes back."""

import numpy as np

from graph.arrays import I32, Flags
from graph.model import NO_TIME
from graph.snapshot import EventColumns

AGAINST = ("dislike", "unlike", "downvote", "thumbs_down", "thumbsdown", "not_interested")
"""Kinds of events against an item: they make no edge and take back the events before them."""


def taken_back(events: EventColumns, ratings: Flags, against: Flags) -> Flags:
    """(e,) events that a later event of the same pair takes back.

    Of a pair's ratings only the latest count, if they have times. An event against an item takes
    back every event of the pair before it, or all of them if it has no time of its own.

    Args:
        events: sorted by user, item.
        ratings: (e,) True for ratings.
        against: (e,) True for events that speak against their item.
    """
    if not len(events.user):
        return np.zeros(0, np.bool_)
    new = np.append(True, (np.diff(events.user) != 0) | (np.diff(events.item) != 0))
    begins = np.flatnonzero(new)
    pair = np.cumsum(new) - 1
    rated = np.maximum.reduceat(np.where(ratings, events.at, NO_TIME), begins)
    back = ratings & (events.at < rated[pair])
    if not against.any():
        return back
    undated = np.logical_or.reduceat(against & (events.at == NO_TIME), begins)
    spoken = np.maximum.reduceat(np.where(against, events.at, NO_TIME), begins)
    some = np.logical_or.reduceat(against, begins)
    return back | (some[pair] & (undated[pair] | (events.at <= spoken[pair])))


def chosen(kinds: tuple[str, ...], places: I32, names: tuple[str, ...]) -> Flags:
    """(e,) True for events of the kinds `names`; `places` (e,) are their kinds in `kinds`."""
    own = [number for number, kind in enumerate(kinds) if kind.lower() in names]
    return np.isin(places, own)
