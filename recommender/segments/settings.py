"""How users are grouped and what each group's lists are made for: `segments.toml`.

    [learned]
    method = "kmeans"            # gaussian, hdbscan, dbscan, spectral, agglomerative, or none
    fewest = 2                   # groups to try, up to `most`; the best number is chosen
    most = 8
    minimum_events = 5           # users with fewer are in the segment "new"
    missing = "typical"          # attributes that somebody does not say: or "nearest"
    profiles = true              # learn a profile for each segment at a refresh
    [weights]                    # of the groups of features; not named: 1
    recency = 1.0                # frequency, value, time, breadth, novelty, visits, money, kinds,
                                 # domains, vectors, attributes
    [[segment]]                  # beside the learned ones; a user may be in several
    name = "baroque now"
    rule = { domain_share = { baroque = { above = 0.3 } }, last_seen_days = { below = 7 } }
    [profiles."baroque now"]     # of a segment, or under any name that requests may ask for
    diversity = 0.1              # relevance, diversity, long_tail, freshness, balance,
    long_tail = 0.2              # exploration (a share of the places), method = "mmr" or "dpp"

    [[context]]                  # device, place, time, first visit: see ranking/contexts.py
    name = "short breaks"
    when = { device = ["phone"] }
    profile = { diversity = 2.0 }

A profile written here stands over a learned one. Running servers read rules and profiles again
when the file changes; the rest holds from the next refresh on.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graph.errors import SettingError
from graph.toml_file import read_toml
from recommender.ranking.contexts import FACTORS, Context
from recommender.ranking.request import NEUTRAL
from recommender.ranking.rerank import METHODS as METHODS_OF_LIKENESS
from recommender.ranking.rerank import MMR, Profile
from recommender.segments.features import GROUPS
from recommender.segments.rules import Rule, parse_rule

METHODS = ("kmeans", "gaussian", "hdbscan", "dbscan", "spectral", "agglomerative", "none")
FILLINGS = ("typical", "nearest")
NEW = "new"
EVERYONE = "everyone"
RESERVED = (NEW, EVERYONE)
MOST_WEIGHT = 10.0
MOST_GROUPS = 50


@dataclass(frozen=True)
class SegmentSettings:
    """What `segments.toml` says; see the module for each field's place in the file."""

    method: str = "kmeans"
    fewest: int = 2
    most: int = 8
    minimum_events: int = 5
    missing: str = FILLINGS[0]
    learn_profiles: bool = True
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[tuple[str, Rule], ...] = ()  # names and what they say
    profiles: Mapping[str, Profile] = field(default_factory=lambda: MappingProxyType({}))
    contexts: tuple[Context, ...] = ()


_LEARNED = {  # key -> field, type
    "method": ("method", str),
    "fewest": ("fewest", int),
    "most": ("most", int),
    "minimum_events": ("minimum_events", int),
    "missing": ("missing", str),
    "profiles": ("learn_profiles", bool),
}
_TABLES = ("learned", "weights", "segment", "profiles", "context")


def load_segment_settings(path: Path) -> SegmentSettings:
    """Read `segments.toml`; a missing file gives the defaults, a wrong key a `SettingError`."""
    return parse_segment_settings(read_toml(path), path.name)


def parse_segment_settings(said: Mapping[str, Any], where: str = "segments") -> SegmentSettings:
    """Settings from a parsed document; a `SettingError` names key and remedy."""
    _known(said, _TABLES, where)
    learned = _table(said, "learned", where)
    _known(learned, _LEARNED, f"{where}: [learned]")
    values: dict[str, Any] = {}
    for key, value in learned.items():
        name, kind = _LEARNED[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise SettingError(f"{where}: learned.{key} is {value!r}; it must be {_said(kind)}")
        values[name] = value
    settings = SegmentSettings(
        **values,
        weights=_weights(_table(said, "weights", where), f"{where}: [weights]"),
        rules=_rules(said.get("segment", []), where),
        profiles={
            name: _profile(one, f'{where}: [profiles."{name}"]', name)
            for name, one in _table(said, "profiles", where).items()
        },
        contexts=_contexts(said.get("context", []), where),
    )
    if settings.method not in METHODS:
        raise SettingError(
            f"{where}: learned.method {settings.method!r} is not one of {', '.join(METHODS)}"
        )
    if settings.missing not in FILLINGS:
        raise SettingError(
            f"{where}: learned.missing {settings.missing!r} is not one of {', '.join(FILLINGS)}"
        )
    if not 2 <= settings.fewest <= settings.most <= MOST_GROUPS:
        raise SettingError(
            f"{where}: learned.fewest {settings.fewest} and learned.most {settings.most}: "
            f"2 ≤ fewest ≤ most ≤ {MOST_GROUPS}"
        )
    if settings.minimum_events < 1:
        raise SettingError(f"{where}: learned.minimum_events must be 1 or more")
    return settings


def _rules(said: object, where: str) -> tuple[tuple[str, Rule], ...]:
    if not isinstance(said, list):
        raise SettingError(f"{where}: write each segment as [[segment]], with two brackets")
    rules: dict[str, Rule] = {}
    for number, one in enumerate(said, 1):
        place = f"{where}: segment {number}"
        _known(one, ("name", "rule"), place)
        name, rule = one.get("name"), one.get("rule")
        if not isinstance(name, str) or not name.strip() or rule is None:
            raise SettingError(f"{place}: needs a name and a rule")
        if name in rules or name in RESERVED:
            raise SettingError(f"{place}: the name {name!r} is taken; choose another")
        rules[name] = parse_rule(rule, f"{place} ({name})")
    return tuple(rules.items())


def _contexts(said: object, where: str) -> tuple[Context, ...]:
    if not isinstance(said, list):
        raise SettingError(f"{where}: write each context as [[context]], with two brackets")
    found = []
    for number, one in enumerate(said, 1):
        place = f"{where}: context {number}"
        _known(one, ("name", "when", "profile", "session_share", "enabled"), place)
        name, enabled, share = one.get("name"), one.get("enabled", True), one.get("session_share")
        if not isinstance(name, str) or not name:
            raise SettingError(f"{place}: needs a name, a text")
        place = f"{place} ({name})"
        if not isinstance(enabled, bool):
            raise SettingError(f"{place}: enabled must be true or false")
        when = _table(one, "when", place)
        for key, values in when.items():
            if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
                raise SettingError(f"{place}: when.{key} must be a list of texts")
        factors = _table(one, "profile", place)
        _known(factors, FACTORS, f"{place}: profile")
        if share is not None and _number(share, f"{place}: session_share") > 1:
            raise SettingError(f"{place}: session_share is a share, 0 to 1")
        if not when or not (factors or share is not None):
            raise SettingError(f"{place}: say when, and a profile or a session_share")
        if enabled:
            found.append(
                Context(
                    name,
                    {key: tuple(values) for key, values in when.items()},
                    {k: _number(v, f"{place}: profile.{k}") for k, v in factors.items()},
                    None if share is None else float(share),
                )
            )
    return tuple(found)


def _profile(said: object, where: str, name: str) -> Profile:
    if name == NEUTRAL:
        raise SettingError(f"{where}: the neutral profile is fixed; choose another name")
    if not isinstance(said, Mapping):
        raise SettingError(f"{where} must be a table")
    _known(said, [one.name for one in fields(Profile)], where)
    method = said.get("method", MMR)
    if method not in METHODS_OF_LIKENESS:
        there = " or ".join(METHODS_OF_LIKENESS)
        raise SettingError(f"{where}: method is {method!r}; it must be {there}")
    weights = {
        key: _number(value, f"{where}: {key}") for key, value in said.items() if key != "method"
    }
    if weights.get("relevance", 1.0) == 0 and not any(weights.values()):
        raise SettingError(f"{where}: every weight is 0; say what lists are made for")
    if weights.get("exploration", 0.0) > 1:
        raise SettingError(f"{where}: exploration is a share of the places, 0 to 1")
    return Profile(**weights, method=method)


def _weights(said: Mapping[str, Any], where: str) -> dict[str, float]:
    _known(said, GROUPS, where)
    weights = {key: _number(value, f"{where}: {key}") for key, value in said.items()}
    if not any(weights.get(group, 1.0) for group in GROUPS):
        raise SettingError(f"{where}: every weight is 0; leave one")
    return weights


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"{where} is {value!r}; it must be a number")
    if not 0 <= value <= MOST_WEIGHT:
        raise SettingError(f"{where} is {value:g}; it must lie between 0 and {MOST_WEIGHT:g}")
    return float(value)


def _table(said: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    table = said.get(key, {})
    if not isinstance(table, Mapping):
        raise SettingError(f"{where}: {key} must be a table, written as [{key}]")
    return table


def _known(said: object, keys: Any, where: str) -> None:
    if not isinstance(said, Mapping):
        raise SettingError(f"{where} must be a table")
    for key in said:
        if key not in keys:
            near = difflib.get_close_matches(key, list(keys), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
            raise SettingError(f"{where}: {key!r} is not known; {hint}")


def _said(kind: type) -> str:
    return {str: "a text", int: "a whole number", bool: "true or false"}[kind]
