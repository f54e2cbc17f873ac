"""How users are grouped, and the profiles of the groups: `segments.toml`.

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

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PlainValidator

from graph.errors import SettingError
from graph.tables import Count, Switch, Table, Text, When, known, must, read_tables
from graph.toml_file import read_toml
from recommender.ranking.contexts import FACTORS, Context
from recommender.ranking.request import NEUTRAL
from recommender.ranking.rerank import Profile
from recommender.segments.features import GROUPS
from recommender.segments.rules import Rule, parse_rule

Method = Literal["kmeans", "gaussian", "hdbscan", "dbscan", "spectral", "agglomerative", "none"]
METHODS: tuple[str, ...] = get_args(Method)
Filling = Literal["typical", "nearest"]
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
    missing: str = "typical"
    learn_profiles: bool = True
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[tuple[str, Rule], ...] = ()  # names and what they say
    profiles: Mapping[str, Profile] = field(default_factory=lambda: MappingProxyType({}))
    contexts: tuple[Context, ...] = ()


Weight = Annotated[
    float,
    Field(ge=0, le=MOST_WEIGHT),
    must(f"it must be a number and lie between 0 and {MOST_WEIGHT:g}"),
]
Share = Annotated[float, Field(ge=0, le=1), must("it is a share, 0 to 1")]
Factors = Mapping[Annotated[str, known(FACTORS)], Weight]
Weights = Mapping[Annotated[str, known(GROUPS)], Weight]


class _Learned(Table):
    method: Annotated[Method, must(f"it must be one of {', '.join(METHODS)}")] = "kmeans"
    fewest: Count = 2
    most: Count = 8
    minimum_events: Count = 5
    missing: Annotated[Filling, must("it must be one of typical, nearest")] = "typical"
    profiles: Switch = True


class _Segment(Table):
    name: Text
    rule: Annotated[Rule, PlainValidator(parse_rule)]


class _Context(Table):
    name: Text
    when: When = Field(default_factory=dict)
    profile: Factors = Field(default_factory=dict)
    session_share: Share | None = None
    enabled: Switch = True


class _Profile(Table):
    relevance: Weight = 1.0
    diversity: Weight = 0.0
    long_tail: Weight = 0.0
    freshness: Weight = 0.0
    balance: Weight = 0.0
    exploration: Share = 0.0
    method: Annotated[Literal["mmr", "dpp"], must("it must be mmr or dpp")] = "mmr"


class _File(Table):
    learned: _Learned = _Learned()
    weights: Weights = Field(default_factory=dict)
    segment: list[_Segment] = Field(default_factory=list)
    profiles: Mapping[str, _Profile] = Field(default_factory=dict)
    context: list[_Context] = Field(default_factory=list)


def load_segment_settings(path: Path) -> SegmentSettings:
    """Read `segments.toml`; a missing file gives the defaults, a wrong key a `SettingError`."""
    return parse_segment_settings(read_toml(path), path.name)


def parse_segment_settings(content: Mapping[str, Any], where: str = "segments") -> SegmentSettings:
    """Settings from a parsed document; a `SettingError` names key and remedy."""
    file = read_tables(_File, content, where)
    _check(file, where)
    learned = file.learned
    return SegmentSettings(
        method=learned.method,
        fewest=learned.fewest,
        most=learned.most,
        minimum_events=learned.minimum_events,
        missing=learned.missing,
        learn_profiles=learned.profiles,
        weights=file.weights,
        rules=tuple((segment.name, segment.rule) for segment in file.segment),
        profiles={name: Profile(**content.model_dump()) for name, content in file.profiles.items()},
        contexts=tuple(
            Context(
                name=context.name,
                when=context.when,
                profile=context.profile,
                session_share=context.session_share,
            )
            for context in file.context
            if context.enabled
        ),
    )


def _check(file: _File, where: str) -> None:
    """Check what is only wrong about several values together."""
    fewest, most = file.learned.fewest, file.learned.most
    if not 2 <= fewest <= most <= MOST_GROUPS:
        raise SettingError(
            f"{where}: learned.fewest {fewest} and learned.most {most}: "
            f"2 ≤ fewest ≤ most ≤ {MOST_GROUPS}"
        )
    if not any(file.weights.get(group, 1.0) for group in GROUPS):
        raise SettingError(f"{where}: [weights]: every weight is 0; leave one")
    names = [segment.name for segment in file.segment]
    for number, name in enumerate(names):
        if name in (*names[:number], *RESERVED):
            raise SettingError(
                f"{where}: segment {number + 1}: the name {name!r} is taken; choose another"
            )
    for name, profile in file.profiles.items():
        if name == NEUTRAL:
            raise SettingError(
                f'{where}: [profiles."{name}"]: the neutral profile is fixed; choose another name'
            )
        if not any(profile.model_dump(exclude={"method"}).values()):
            raise SettingError(
                f'{where}: [profiles."{name}"]: every weight is 0; say what lists are made for'
            )
    for number, context in enumerate(file.context, 1):
        works = context.profile or context.session_share is not None
        if not context.when or not works:
            raise SettingError(
                f"{where}: context {number} ({context.name}): "
                "say when, and a profile or a session_share"
            )
