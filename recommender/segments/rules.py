"""Groups that an editor describes, by conditions on subjects in the form of `ranking/conditions`.

    domain_share, tag_share, kind_share    {"baroque": {"above": 0.3}}    of the history, 0 to 1
    last_seen_days, first_seen_days        {"below": 7}                   counted back from now
    events, items, domains                 {"from": 5}                    how many
    novelty, night_share, weekend_share    {"from": 0.5}                  0 to 1
    attributes    {"country": {"in": ["DE"]}, "age": {"below": 30}}    what users say of themselves
    and, or, not                           as in every filter

A condition on something unknown does not hold, and `not` turns that round, too.
The older form, a text, is read as well: see `rule_text`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graph.errors import InputError, SettingError
from recommender.ranking.conditions import (
    Language,
    Value,
    attributes,
    bounds,
    named,
    within,
)
from recommender.ranking.request import Bounds
from recommender.segments.rule_text import DEEPEST, as_object

# Field and name ("" where it has none) -> a value, or several, one of which must fit.
Measure = Callable[[str, str], Value | tuple[Value, ...]]


@dataclass(frozen=True)
class Rule:
    """Conditions on a subject, every one of which must hold."""

    tests: tuple[tuple[str, Bounds], ...] = ()  # field, and what bounds it
    all_of: tuple["Rule", ...] = ()
    any_of: tuple["Rule", ...] = ()
    none_of: tuple["Rule", ...] = ()

    def holds(self, measure: Measure) -> bool:
        """Whether it holds for a subject; `measure` gives the values of the subject's fields."""
        return (
            all(_fits(measure(field, bound[0]), bound) for field, bound in self.tests)
            and all(part.holds(measure) for part in self.all_of)
            and (not self.any_of or any(part.holds(measure) for part in self.any_of))
            and not any(part.holds(measure) for part in self.none_of)
        )


def _fits(value: Value | tuple[Value, ...], bound: Bounds) -> bool:
    several = value if isinstance(value, tuple) else (value,)
    return any(within(each, bound) for each in several)


def parse_rule(content: object, where: str = "rule") -> Rule:
    """Read a rule, an object or a text; a `SettingError` says where what was expected."""
    if isinstance(content, str):
        content = as_object(content, where)
    if content == {}:
        raise SettingError(
            f"{where}: this holds for everyone; give a condition, {_LANGUAGE.example}"
        )
    try:
        return _LANGUAGE.read(content, where)
    except InputError as error:
        raise SettingError(str(error)) from error


def _rule(
    all_of: tuple[Rule, ...] = (),
    any_of: tuple[Rule, ...] = (),
    none_of: tuple[Rule, ...] = (),
    **fields: tuple[Bounds, ...],
) -> Rule:
    tests = tuple((field, bound) for field, many in fields.items() for bound in many)
    return Rule(tests, all_of, any_of, none_of)


def _number(content: object, where: str) -> tuple[Bounds, ...]:
    return (bounds(content, where, values=False),)


def _share(content: object, where: str) -> tuple[Bounds, ...]:
    return (_share_of(content, where, ""),)


def _shares(content: object, where: str) -> tuple[Bounds, ...]:
    return named(content, where, "of them", _share_of)


def _share_of(content: object, where: str, name: str) -> Bounds:
    made = bounds(content, where, name, values=False)
    if isinstance(content, Mapping) and not all(0 <= bound <= 1 for bound in content.values()):
        raise InputError(f"{where}: is a share, between 0 and 1; 0.3 means 30%")
    return made


_LANGUAGE = Language(
    make=_rule,
    fields={
        "domain_share": _shares,
        "tag_share": _shares,
        "kind_share": _shares,
        "last_seen_days": _number,
        "first_seen_days": _number,
        "events": _number,
        "items": _number,
        "domains": _number,
        "novelty": _share,
        "night_share": _share,
        "weekend_share": _share,
        "attributes": attributes,
    },
    name="rule",
    example="{ events = { from = 5 } }",
    deepest=3 * DEEPEST,  # of a text that nests as deep as it may
    most_conditions=1_000,
    elsewhere={},
)
