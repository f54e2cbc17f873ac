"""Turns columns into attributes: numbers, yes or no, dates and texts, alike for every format."""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from loaders.lists import pieces

NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9:]+)?)?")
FLAGS = {"true": True, "yes": True, "false": False, "no": False}
EXACT = 2**53  # whole numbers up to here are exact everywhere


class Values:
    """Counts what the values of a column look like."""

    def __init__(self) -> None:
        self._texts = 0
        self._fits = {"number": 0, "flag": 0, "date": 0}
        self._odd: dict[str, str] = {}  # type -> the first text that is not of it

    def add(self, column: Any) -> None:
        """Look at some more values; only texts are counted, as other values have a type already."""
        texts = Counter(value for value in plain_values(column) if isinstance(value, str))
        self._texts += texts.total()
        for kind in self._fits:
            for value, count in texts.items():
                if converted(value, kind) is not None:
                    self._fits[kind] += count
                else:
                    self._odd.setdefault(kind, value)

    @property
    def type(self) -> str:
        """The type that all texts have, `text` if they differ, empty if no value is a text."""
        fits = (kind for kind, count in self._fits.items() if count == self._texts)
        return next(fits, "text") if self._texts else ""

    def doubts(self, name: str, kind: str, column: str) -> list[str]:
        """Warnings that values are nearly all of a type, or not all of the type that was given."""
        if kind not in ("", "text", "list") and self._texts > self._fits[kind]:
            count = self._texts - self._fits[kind]
            some = f"such as {self._odd[kind]!r}"
            return [
                f"{count:,} of the values of {name!r} cannot be read as {kind}, {some}: left out"
            ]
        return [
            f"{name!r} stays text, as {self._odd[likely]!r} cannot be read as {likely}; "
            f"--column attr:{name}:{likely}={column} leaves such values out"
            for likely, count in self._fits.items()
            if kind == "text" and self._texts > count >= 0.9 * self._texts > 0
        ]


def converted(value: str, kind: str) -> Any:
    """A text as a value of a type; None if it is not of that type.

    A list stands in brackets, as JSON or Python writes it, or has `|` between its words. Digits
    with a leading zero are a code, not a number. Dates become ISO 8601; those with a time are in
    UTC and exact to the second.
    """
    if kind == "number":
        if not value or NUMBER.fullmatch(value) is None or not any(map(str.isdigit, value)):
            return None
        number = float(value)
        if abs(number) == float("inf"):
            return None
        return int(number) if number.is_integer() and abs(number) <= EXACT else number
    if kind == "flag":
        return FLAGS.get(value.lower())
    if kind == "date":
        if DATE.fullmatch(value) is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        if len(value) == len("2020-01-31"):
            return value
        zone = moment.tzinfo or UTC
        return moment.replace(tzinfo=zone).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if kind == "list":
        return pieces(value)
    return value


def plain_values(column: Any) -> list[Any]:
    """A column's values in Python; blanks around texts are removed, and empty texts become None."""
    values = column if isinstance(column, list) else column.to_pylist()
    return [_plain(value) for value in values]


def attributes_of(columns: dict[str, Any], types: dict[str, str], rows: int) -> list[bytes | None]:
    """Each row's values as a JSON object; an object named `attributes` is merged in."""
    values = {name: _typed(column, types.get(name, "")) for name, column in columns.items()}
    objects: list[bytes | None] = []
    for row in range(rows):
        named: dict[str, Any] = {}
        for name, column in values.items():
            value = column[row]
            if name == "attributes" and isinstance(value, dict):
                named |= value
            elif value is not None:
                named[name] = value
        objects.append(as_json(named) if named else None)
    return objects


def _typed(column: Any, kind: str) -> list[Any]:
    values = plain_values(column)
    texts = {value for value in values if isinstance(value, str)}
    meant: dict[Any, Any] = {value: converted(value, kind) for value in texts}
    if kind == "text":  # a value of another type here would be text in other formats
        meant |= {value: str(value) for value in values if isinstance(value, int | float)}
    return [
        meant.get(value, value) if isinstance(value, str | int | float) else value
        for value in values
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value.strip() or None
    return value


def as_json(value: dict[str, Any]) -> bytes:
    """Attributes as the stores keep them; equal attributes give equal bytes."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair from JSON: rejected, as it is not UTF-8
        return text.encode("utf-8", "surrogatepass")
