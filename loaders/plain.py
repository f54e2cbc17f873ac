"""Events that are plainly good: what `records.validate` makes of them, without the cost of columns.

A single event costs `validate` almost as much as a thousand, about half a millisecond. Most need
nothing of what it can do: they hold short printable ASCII and whole times. Whatever is not of that
form is left to `validate`, which alone refuses, and knows why.
"""

import struct
from collections.abc import Mapping
from typing import Any

from graph.model import SESSION
from loaders.records import EARLIEST_EVENT, LONGEST_ID
from loaders.times import DAY

_SINGLE = struct.Struct("f")  # as precise as a stored value
_LARGEST = 1e30
_MILLISECONDS = range(100_000_000_000, 100_000_000_000_000)  # see `times.by_size`


def plain_event(entry: Any, now: int) -> dict[str, Any] | None:
    """The entry as a row of `events`, with its `session`; None: `validate` has to look at it.

    `now` is in seconds since 1970.
    """
    if not isinstance(entry, Mapping):
        return None
    row: dict[str, Any] = {"kind": "view"}
    for name, value in entry.items():
        if name not in _MADE:
            return None
        if value is None:
            continue
        made = _MADE[name](value, now)
        if made is None:
            return None
        row[name] = made
    if SESSION in row:
        row.setdefault("user", row[SESSION])
    return row if "user" in row and "item" in row else None


def _name(value: Any, _now: int) -> str | None:
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_ID:
        return None
    plain = text.isascii() and text.isprintable() and text[0] != " " and text[-1] != " "
    return text if plain else None


def _kind(value: Any, now: int) -> str | None:
    name = _name(value, now)
    return None if name is None else name.lower()


def _value(value: Any, _now: int) -> float | None:
    if type(value) not in (int, float) or not -_LARGEST < value < _LARGEST:
        return None
    single: float = _SINGLE.unpack(_SINGLE.pack(value))[0]
    return single


def _time(value: Any, now: int) -> int | None:
    if type(value) is not int:
        return None
    parts = 1000 if value in _MILLISECONDS else 1  # of a second
    return value // parts if EARLIEST_EVENT * parts <= value <= (now + DAY) * parts else None


_MADE = {
    "user": _name,
    "item": _name,
    "kind": _kind,
    "value": _value,
    "tag": _name,
    "at": _time,
    "event_id": _name,
    SESSION: _name,
}
