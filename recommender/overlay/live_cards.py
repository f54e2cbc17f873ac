"""The cards of live items, made when they are first shown, where compiled code finds them.

A release finds the card of an item by arrays. Here are the same arrays, one entry longer, in which
the entries of live items point into text of their own.
"""

import threading
from collections.abc import Callable, Iterable

import numpy as np

from graph.arrays import I32, I64, U8
from recommender.releases.cards import Card

UNMADE = np.iinfo(np.int64).min  # in place of where a card begins


class LiveCards:
    """Cards of a release and of live items; threads may share it."""

    def __init__(self, starts: I64, parts: I32, items: int, live: Iterable[int]) -> None:
        """Make no card yet.

        Args:
            starts: (i,) where each card of the release begins.
            parts: (i, 3) where its parts end.
            items: how many there are with the live ones.
            live: rows of these.
        """
        self._starts = np.zeros(items + 1, np.int64)  # the last belongs to `NO_ROW`
        self._parts = np.zeros((items + 1, 3), np.int32)
        self._starts[: len(starts)], self._parts[: len(parts)] = starts, parts
        self._starts[list(live)] = UNMADE
        self._room = np.empty(0, np.uint8)
        self._text = _read_only(self._room)
        self._used = 0
        self._lock = threading.Lock()

    def of(self, rows: I32, make: Callable[[int], Card]) -> tuple[U8, I64, I32]:
        """The second to fourth of what `Release.cards_of` gives; `make` makes the card of a row."""
        starts = self._starts[rows]
        if starts.min(initial=0) == UNMADE:
            for row in np.unique(rows[starts == UNMADE]).tolist():
                self._put(row, make(row))
            starts = self._starts[rows]
        return self._text, starts, self._parts[rows]  # text that is newer than starts fits, too

    def _put(self, row: int, card: Card) -> None:
        text = np.frombuffer(card.text.encode(), np.uint8)
        with self._lock:
            if self._starts[row] != UNMADE:  # another thread was quicker
                return
            begin, end = self._used, self._used + len(text)
            if end > len(self._room):
                room = np.empty(2 * end, np.uint8)
                room[:begin] = self._room[:begin]
                self._room = room
            self._room[begin:end] = text
            self._text = _read_only(self._room)
            self._parts[row], self._used = card[1:], end
            self._starts[row] = -1 - begin  # last: from now on it is found


def _read_only(array: U8) -> U8:
    view = array.view()
    view.flags.writeable = False
    return view
