"""The filter language: conditions on items, as JSON or TOML, in the form of `conditions`.

    {"domains": ["baroque", "jazz"],            in any of them
     "tags_all": ["keyboard"], "tags_any": ["solo", "duo"], "tags_none": ["live"],
     "attributes": {"year": {"from": 1990, "to": 2000}, "language": {"in": ["de", "fr"]},
                    "released": {"from": "2024-01-01", "to": "2024-06"}},   to the end of June
     "newer_than_days": 7, "older_than_days": 1,
     "created_after": 1735689600, "created_before": 1767225600,
     "items": ["bwv-988"],                      one of these
     "and": [{…}, {…}], "or": [{…}, {…}], "not": {…},
     "subject": {"language": {"in": "languages"}, "min_age": {"to": "age"}},   see below
     "exclude": ["bwv-1004"],                   only at the top: none of these
     "seen": "include"}                         only at the top: "exclude", "include" or "only"

`subject`, only in requests, compares an attribute of items with one of the user who asks: here the
item's language must be one of the user's `languages`, and its `min_age` at most the user's `age`.
If the user lacks the attribute, no item passes.

Unknown fields and values that do not fit raise an `InputError` that names the key, such as
`or.1.tags_any`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graph.errors import InputError
from recommender.ranking.conditions import Language, attributes, days, names
from recommender.ranking.request import Filter, Own

SEEN = ("exclude", "include", "only")
LARGEST_TIME = 2**62


@dataclass(frozen=True)
class Conditions:
    """What a filter asks for: conditions on items, and what is excluded or seen."""

    filter: Filter
    exclude: tuple[str, ...] = ()
    seen: str = "exclude"


def parse_conditions(content: object, where: str = "filter") -> Conditions:
    """Read a whole filter; `where` begins the keys that errors name."""
    if not isinstance(content, Mapping):
        return Conditions(_OF_REQUESTS.read(content, where))  # which says what is wrong
    rest = dict(content)
    exclude = names(rest.pop("exclude"), f"{where}.exclude") if "exclude" in rest else ()
    seen = rest.pop("seen", "exclude")
    if seen not in SEEN:
        raise InputError(f"{where}.seen: {seen!r} is not one of {', '.join(SEEN)}")
    return Conditions(_OF_REQUESTS.read(rest, where), exclude, seen)


def parse_filter(content: object, where: str = "filter") -> Filter:
    """Read conditions on items alone, without `subject`, `exclude` and `seen`."""
    return _LANGUAGE.read(content, where)


def _subject(content: object, where: str) -> tuple[Own, ...]:
    if not isinstance(content, Mapping) or not content:
        raise InputError(f'{where}: must be an object such as {{"min_age": {{"to": "age"}}}}')
    made = []
    for name, compared in content.items():
        inside = f"{where}.{name}"
        if (
            not isinstance(compared, Mapping)
            or not compared
            or set(compared) - {"from", "to", "in"}
        ):
            raise InputError(f'{inside}: say from, to or in, such as {{"in": "languages"}}')
        for how, own in compared.items():
            if not isinstance(own, str) or not own:
                raise InputError(f"{inside}.{how}: must name an attribute of the user, as a text")
            made.append(Own(name, how, own))
    return tuple(made)


def _time(content: object, where: str) -> int:
    if not isinstance(content, int) or isinstance(content, bool) or abs(content) > LARGEST_TIME:
        raise InputError(f"{where}: must be a whole number of seconds since 1970")
    return content


_LANGUAGE = Language(
    make=Filter,
    fields={
        "domains": names,
        "tags_all": names,
        "tags_any": names,
        "tags_none": names,
        "attributes": attributes,
        "created_after": _time,
        "created_before": _time,
        "newer_than_days": days,
        "older_than_days": days,
        "items": names,
    },
    name="filter",
    example='{"domains": ["baroque"]}',
    deepest=8,
    most_conditions=200,
    elsewhere=dict.fromkeys(("exclude", "seen"), "a request's filter, at its top")
    | {"subject": "the filter of a request"},
)
_OF_REQUESTS = replace(
    _LANGUAGE,
    fields={**_LANGUAGE.fields, "subject": _subject},
    elsewhere=dict.fromkeys(("exclude", "seen"), "a request's filter, at its top"),
)
