"""The condition language, for anything with fields: an object whose conditions must all hold.

    {FIELD: what it must be, …, "and": [{…}, {…}], "or": [{…}, {…}], "not": {…}}

A number lies within bounds: {"from": 1990, "to": 2000} includes them, {"above": 0.3, "below": 0.5}
excludes them. A date lies between days, months or years, {"to": "2024-06"}. A word or a number is
one of several, {"in": ["de", "fr"]}.
`ranking/filter_language.py` has the fields of items, `segments/rules.py` those of subjects.

Unknown fields and values that do not fit raise an `InputError` that names the key, such as
`or.1.tags_any`.
"""

import contextlib
import datetime as dt
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from graph.dates import last_second_of, seconds_of
from graph.errors import InputError
from recommender.ranking.request import Bound, Bounds

MOST_LISTED = 1_000  # names in one list
MOST_NAMES = 2_000  # in all lists of one object together

Value = float | str | None  # of a field; None or NaN where it is not known
Read = Callable[[object, str], Any]  # what a field says and where -> its value

_BRANCHES = {"and": "all_of", "or": "any_of", "not": "none_of"}
_LOW, _HIGH = {"from": None, "above": math.inf}, {"to": None, "below": -math.inf}

T = TypeVar("T")


@dataclass(frozen=True)
class Language(Generic[T]):
    """The fields that there are, and how their values are read.

    `make` is called with the value of each field that stands there, and with the parts of `and`,
    `or` and `not` as `all_of`, `any_of` and `none_of`.
    """

    make: Callable[..., T]
    fields: Mapping[str, Read]
    name: str  # "filter", as in "a filter nests at most …"
    example: str  # of an object, for whoever wrote something else
    deepest: int  # of and, or, not inside each other
    most_conditions: int  # objects, and what stands in them
    elsewhere: Mapping[str, str]  # keys that belong to another object, and to which

    def read(self, content: object, where: str) -> T:
        """Read an object; `where` begins the keys that errors name."""
        return _Reader(self).read(content, where, 0)


class _Reader(Generic[T]):
    """Reads one object, counting its conditions and names: each costs a pass over the items."""

    def __init__(self, language: Language[T]) -> None:
        self._language = language
        self._conditions = 0
        self._names = 0

    def read(self, content: object, where: str, depth: int) -> T:
        language = self._language
        if depth > language.deepest:
            raise InputError(f"{where}: a {language.name} nests at most {language.deepest} deep")
        if not isinstance(content, Mapping):
            raise InputError(f"{where}: must be an object such as {language.example}")
        self._count(1 + len(content), 0, where)
        values: dict[str, Any] = {}
        for key, value in content.items():
            inside = f"{where}.{key}"
            if key in _BRANCHES:
                values[_BRANCHES[key]] = self._parts(key, value, inside, depth)
            elif key in language.fields:
                values[key] = language.fields[key](value, inside)
                self._count(*_size(values[key]), inside)
            else:
                raise InputError(f"{inside[:200]}: {self._unknown(key, depth)}")
        return language.make(**values)

    def _parts(self, key: str, value: object, where: str, depth: int) -> tuple[T, ...]:
        if key == "not" and isinstance(value, Mapping):
            return (self.read(value, where, depth + 1),)
        if not isinstance(value, list) or not value:
            raise InputError(f"{where}: must be a list of {self._language.name}s, at least one")
        return tuple(self.read(part, f"{where}.{k}", depth + 1) for k, part in enumerate(value))

    def _count(self, conditions: int, names: int, where: str) -> None:
        self._conditions += conditions
        self._names += names
        name, most = self._language.name, self._language.most_conditions
        if self._conditions > most:
            raise InputError(f"{where}: a {name} holds at most {most} conditions")
        if self._names > MOST_NAMES:
            raise InputError(f"{where}: a {name} holds at most {MOST_NAMES:,} names in all lists")

    def _unknown(self, key: str, depth: int) -> str:
        if key in self._language.elsewhere:
            inside = " inside and, or, not" if depth else ""
            home = self._language.elsewhere[key]
            return f"{key!r} cannot be used{inside} here; it belongs to {home}"
        known = [*self._language.fields, *_BRANCHES]
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(known)}"
        return f"{key[:80]!r} is not a condition; {hint}"


def _size(value: object) -> tuple[int, int]:
    """How many conditions and names the value of a field holds."""
    parts = value if isinstance(value, tuple) else ()
    bounded = [part for part in parts if isinstance(part, tuple)]
    return len(bounded), len(parts) - len(bounded) + sum(len(part[-1]) for part in bounded)


def names(content: object, where: str) -> tuple[str, ...]:
    """A list of names."""
    if not isinstance(content, list) or not all(isinstance(n, str) and n for n in content):
        raise InputError(f"{where}: must be a list of texts")
    if not 1 <= len(content) <= MOST_LISTED:
        raise InputError(f"{where}: name 1 to {MOST_LISTED}, or leave it out")
    return tuple(content)


def number(content: object, where: str) -> float:
    """A finite number."""
    if isinstance(content, int | float) and not isinstance(content, bool):
        with contextlib.suppress(OverflowError):  # an integer beyond the largest float
            if math.isfinite(value := float(content)):
                return value
    raise InputError(f"{where}: must be a number")


def days(content: object, where: str) -> float:
    """A number of days."""
    value = number(content, where)
    if not 0 <= value <= 1e6:
        raise InputError(f"{where}: must be a number of days, 0 or more")
    return value


def attributes(content: object, where: str) -> tuple[Bounds, ...]:
    """Bounds or allowed values of each attribute that is named."""
    return named(content, where, "attribute", bounds)


def named(
    content: object, where: str, what: str, read: Callable[[object, str, str], Bounds]
) -> tuple[Bounds, ...]:
    """Bounds under the name of what they bound: at least one of them."""
    if not isinstance(content, Mapping):
        raise InputError(f'{where}: must be an object such as {{"NAME": {{"from": 1}}}}')
    if not content:
        raise InputError(f"{where}: give at least one {what}, or leave it out")
    return tuple(read(value, f"{where}.{name}", name) for name, value in content.items())


def bounds(content: object, where: str, name: str = "", *, values: bool = True) -> Bounds:
    """Bounds of a number, and (where `values`) the values that are allowed."""
    if not isinstance(content, Mapping):
        raise InputError(f'{where}: must be an object such as {{"from": 1990}}')
    allowed = ("in",) if values else ()
    if not content or set(content) - {*_LOW, *_HIGH, *allowed}:
        known = "from, to or in, or above or below" if values else "from, to, above or below"
        raise InputError(f'{where}: say {known}, such as {{"from": 1990}}')
    low, high = (_bound(content, keys, where, dates=values) for keys in (_LOW, _HIGH))
    _check_range(low, high, content, where)
    return name, low, high, _values(content["in"], f"{where}.in") if "in" in content else ()


def _bound(
    content: Mapping[str, Any], keys: Mapping[str, float | None], where: str, *, dates: bool
) -> Bound:
    """The bound that is given; one that is excluded becomes the next number."""
    there = [key for key in keys if key in content]
    if len(there) > 1:
        raise InputError(f"{where}: say {' or '.join(there)}, not both")
    if not there:
        return None
    value, inside, towards = content[there[0]], f"{where}.{there[0]}", keys[there[0]]
    if towards is not None:
        if isinstance(value, str | dt.date):
            raise InputError(f"{inside}: must be a number; give dates by from and to")
        return math.nextafter(number(value, inside), towards)
    return _number_or_date(value, inside) if dates else number(value, inside)


def _number_or_date(value: object, where: str) -> float | str:
    """A number, or a date as text; TOML has dates of its own."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        if seconds_of(value) is None:
            raise InputError(f'{where}: {value[:80]!r} is not a date; write it as "2024-01-31"')
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f'{where}: must be a number, or a date such as "2024-01-31"')
    return number(value, where)


def _check_range(low: Bound, high: Bound, content: Mapping[str, Any], where: str) -> None:
    if low is None or high is None:
        return
    if isinstance(low, str) or isinstance(high, str):
        if not (isinstance(low, str) and isinstance(high, str)):
            raise InputError(f"{where}: from and to must be two numbers or two dates")
        if (seconds_of(low) or 0) > (last_second_of(high) or 0):
            raise InputError(f"{where}: from {low} is after to {high}")
    elif low > high:
        if {"from", "to"} <= set(content):
            raise InputError(f"{where}: from {low:g} is above to {high:g}")
        both = " and ".join(f"{key} {content[key]:g}" for key in (*_LOW, *_HIGH) if key in content)
        raise InputError(f"{where}: no number is {both}")


def _values(content: object, where: str) -> tuple[str, ...]:
    if not isinstance(content, list) or not 1 <= len(content) <= MOST_LISTED:
        raise InputError(f"{where}: must be a list of 1 to {MOST_LISTED} values")
    if not all(isinstance(value, str | int | float) for value in content):
        raise InputError(f"{where}: values are texts, numbers, true or false")
    return tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in content)


def within(value: Value, bound: Bounds) -> bool:
    """Whether a value lies within bounds; what is not known lies within none."""
    _, low, high, allowed = bound
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return False
    if isinstance(value, str) and (low is not None or high is not None):
        return _dated(value, low, high) and (not allowed or value in allowed)
    if isinstance(value, str):
        return value in allowed
    return (
        not (isinstance(low, str) or isinstance(high, str))
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (not allowed or any(_same(value, text) for text in allowed))
    )


def _dated(value: str, low: Bound, high: Bound) -> bool:
    """Whether a text is a date between two dates, either of which may be left out."""
    second = seconds_of(value)
    first = seconds_of(low) if isinstance(low, str) else None
    last = last_second_of(high) if isinstance(high, str) else None
    return (
        second is not None
        and (low is None or (first is not None and second >= first))
        and (high is None or (last is not None and second <= last))
    )


def _same(value: float, text: str) -> bool:
    try:
        return value == float(text)
    except ValueError:
        return False
