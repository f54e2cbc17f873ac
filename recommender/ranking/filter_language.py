"""The filter language: a JSON (or TOML) object whose every condition must hold.

    {"domains": ["baroque", "jazz"],            in any of them
     "tags_all": ["keyboard"], "tags_any": ["solo", "duo"], "tags_none": ["live"],
     "attributes": {"year": {"from": 1990, "to": 2000}, "language": {"in": ["de", "fr"]},
                    "released": {"from": "2024-01-01", "to": "2024-06"}},   to the end of June
     "newer_than_days": 7, "older_than_days": 1,
     "created_after": 1735689600, "created_before": 1767225600,
     "items": ["bwv-988"],                      one of these
     "and": [{…}, {…}], "or": [{…}, {…}], "not": {…},
     "exclude": ["bwv-1004"],                   only at the top: none of these
     "seen": "include"}                         only at the top: "exclude", "include" or "only"

What is not known or does not fit is an `InputError` that names the place, as in `or.1.tags_any`.
"""

import contextlib
import datetime as dt
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graph.dates import last_second_of, seconds_of
from graph.errors import InputError
from recommender.ranking.request import Bound, Filter

SEEN = ("exclude", "include", "only")
MOST_DEPTH = 8  # of and, or, not inside each other
MOST_CONDITIONS = 200  # in one filter: objects, and what stands in them
MOST_LISTED = 1_000  # names in one list
MOST_NAMES = 2_000  # in all lists of a filter together
LARGEST_TIME = 2**62


@dataclass(frozen=True)
class Conditions:
    """What a filter says: about items, and about the one who asks."""

    filter: Filter
    exclude: tuple[str, ...] = ()
    seen: str = "exclude"


def parse_conditions(said: object, where: str = "filter") -> Conditions:
    """Read a whole filter; `where` begins the places that errors name."""
    content = dict(_object(said, where))
    exclude = _names(content.pop("exclude"), f"{where}.exclude") if "exclude" in content else ()
    seen = content.pop("seen", "exclude")
    if seen not in SEEN:
        raise InputError(f"{where}.seen: {seen!r} is not one of {', '.join(SEEN)}")
    return Conditions(_Reader().read(content, where, 0), exclude, seen)


def parse_filter(said: object, where: str = "filter") -> Filter:
    """Read conditions on items alone, without `exclude` and `seen`."""
    return _Reader().read(said, where, 0)


class _Reader:
    """Reads one filter, counting its conditions and names: each costs a pass over the items."""

    def __init__(self) -> None:
        self._conditions = 0
        self._names = 0

    def read(self, said: object, where: str, depth: int) -> Filter:
        if depth > MOST_DEPTH:
            raise InputError(f"{where}: a filter nests at most {MOST_DEPTH} deep")
        values: dict[str, Any] = {}
        content = _object(said, where)
        self._count(1 + len(content), 0, where)
        for key, value in content.items():
            place = f"{where}.{key}"
            if key in _BRANCHES:
                many = [value] if key == "not" and isinstance(value, Mapping) else value
                if not isinstance(many, list) or not many:
                    raise InputError(f"{place}: must be a list of filters, at least one")
                values[_BRANCHES[key]] = tuple(
                    self.read(one, f"{place}.{number}" if many is value else place, depth + 1)
                    for number, one in enumerate(many)
                )
            elif key in _CONDITIONS:
                made = _CONDITIONS[key](value, place)
                if key == "attributes":
                    self._count(len(made), sum(len(allowed) for *_, allowed in made), place)
                elif isinstance(made, tuple):
                    self._count(0, len(made), place)
                values[key] = made
            else:
                raise InputError(f"{place[:200]}: {_unknown(key, depth)}")
        return Filter(**values)

    def _count(self, conditions: int, names: int, where: str) -> None:
        self._conditions += conditions
        self._names += names
        if self._conditions > MOST_CONDITIONS:
            raise InputError(f"{where}: a filter holds at most {MOST_CONDITIONS} conditions")
        if self._names > MOST_NAMES:
            raise InputError(f"{where}: a filter holds at most {MOST_NAMES:,} names in all lists")


def _unknown(key: str, depth: int) -> str:
    if key in ("exclude", "seen"):
        inside = " inside and, or, not" if depth else ""
        return f"{key!r} can not stand{inside} here; it belongs to a request's filter, at its top"
    known = [*_CONDITIONS, *_BRANCHES]
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"{key[:80]!r} is no condition; {hint}"


def _object(said: object, where: str) -> Mapping[str, Any]:
    if not isinstance(said, Mapping):
        raise InputError(f'{where}: must be an object such as {{"domains": ["baroque"]}}')
    return said


def _names(said: object, where: str) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(one, str) and one for one in said):
        raise InputError(f"{where}: must be a list of texts")
    if not 1 <= len(said) <= MOST_LISTED:
        raise InputError(f"{where}: name 1 to {MOST_LISTED}, or leave it out")
    return tuple(said)


def _number(said: object, where: str) -> float:
    if isinstance(said, int | float) and not isinstance(said, bool):
        with contextlib.suppress(OverflowError):  # an integer beyond the largest float
            if math.isfinite(number := float(said)):
                return number
    raise InputError(f"{where}: must be a number")


def _days(said: object, where: str) -> float:
    days = _number(said, where)
    if not 0 <= days <= 1e6:
        raise InputError(f"{where}: must be a number of days, 0 or more")
    return days


def _time(said: object, where: str) -> int:
    if not isinstance(said, int) or isinstance(said, bool) or abs(said) > LARGEST_TIME:
        raise InputError(f"{where}: must be a whole number of seconds since 1970")
    return said


def _attributes(said: object, where: str) -> tuple[Any, ...]:
    conditions = []
    for name, rule in _object(said, where).items():
        place = f"{where}.{name}"
        content = _object(rule, place)
        wrong = set(content) - {"from", "to", "in"}
        if wrong or not content:
            raise InputError(f'{place}: say from, to or in, such as {{"from": 1990}}')
        low, high = (
            _bound(content[key], f"{place}.{key}") if key in content else None
            for key in ("from", "to")
        )
        _check_range(low, high, place)
        allowed = _values(content["in"], f"{place}.in") if "in" in content else ()
        conditions.append((name, low, high, allowed))
    if not conditions:
        raise InputError(f"{where}: name at least one attribute, or leave it out")
    return tuple(conditions)


def _bound(said: object, where: str) -> float | str:
    """A number, or a date as text; TOML has dates of its own."""
    if isinstance(said, dt.date):
        return said.isoformat()
    if isinstance(said, str):
        if seconds_of(said) is None:
            raise InputError(f'{where}: {said[:80]!r} is no date; write it as "2024-01-31"')
        return said
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise InputError(f'{where}: must be a number, or a date such as "2024-01-31"')
    return _number(said, where)


def _check_range(low: Bound, high: Bound, where: str) -> None:
    if low is None or high is None:
        return
    if isinstance(low, str) or isinstance(high, str):
        if not (isinstance(low, str) and isinstance(high, str)):
            raise InputError(f"{where}: from and to must be two numbers or two dates")
        above = (seconds_of(low) or 0) > (last_second_of(high) or 0)
        if above:
            raise InputError(f"{where}: from {low} is after to {high}")
    elif low > high:
        raise InputError(f"{where}: from {low:g} is above to {high:g}")


def _values(said: object, where: str) -> tuple[str, ...]:
    if not isinstance(said, list) or not 1 <= len(said) <= MOST_LISTED:
        raise InputError(f"{where}: must be a list of 1 to {MOST_LISTED} values")
    if not all(isinstance(one, str | int | float) for one in said):
        raise InputError(f"{where}: values are texts, numbers, true or false")
    return tuple(map(str, said))


_BRANCHES = {"and": "all_of", "or": "any_of", "not": "none_of"}
_CONDITIONS: dict[str, Callable[[object, str], Any]] = {
    "domains": _names,
    "tags_all": _names,
    "tags_any": _names,
    "tags_none": _names,
    "attributes": _attributes,
    "created_after": _time,
    "created_before": _time,
    "newer_than_days": _days,
    "older_than_days": _days,
    "items": _names,
}
