"""Turns events and tags into edge weights: kind × domain × tag category × tag rarity × age.

All of it is declared in one TOML file (read by `graph.weighting_file`); whatever the file leaves
out has a default:

    [kinds]                  # what one event of a kind is worth; kinds not named are worth 1
    view = 0.5
    hide = 0                 # never an edge, whatever is written here
    [values]                 # what a kind's values are; not named: count, see `graph.values`
    watch = "seconds"        # rating, count, seconds or money
    [typical]                # seconds or money worth 1; not named: the median
    watch = 240
    [categories]             # what a tag of a category is worth; not named: 1
    genre = 0.5
    [domains]                # factor on every edge of a domain's items; not named: 1
    baroque = 1.5
    [relations]              # what a relation between items is worth; not named: 0, unused.
                             # Between users: not named: 1; with 0 nobody is a friend
    cites = 0.5
    [attributes]             # what a number of items is worth, such as a rating by experts; not
    critics = 0.5            # named: 0, unused
    [age]
    half_life_days = 365     # of events that have a time; left out: age does not matter
    [tags]
    rarity = 0.5             # exponent of the inverse frequency; 0: all tags weigh the same
    fewest_items = 2         # tags on fewer items say nothing
    most_items = 2000        # tags on more items say nothing either
    [against]
    kinds = ["dislike"]      # take back what came before; left out: see `graph.last_word`
    [minimum]
    user_events = 1          # fewest pairs of a user whom models learn from
    item_events = 1          # fewest pairs of an item that models learn from
    [ratings]
    kinds = ["rating"]       # events whose value is a rating
    relevant_from = 0.6      # this far up the scale; lower ratings make no edges
    scale = [1, 5]           # lowest and highest; left out: found from the ratings
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from graph.arrays import F32, F64, Flags
from graph.domains import Domains, derive_domains
from graph.errors import SettingError
from graph.ids import as_word
from graph.last_word import AGAINST, chosen, taken_back
from graph.model import NO_TIME, tag_parts
from graph.numbers import item_numbers
from graph.ratings import Scale, Tally
from graph.snapshot import EventColumns, GraphSnapshot, Relations
from graph.values import COUNT, typical_values, value_worth
from graph.weighted import WeightedGraph

HIDE = "hide"
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Weighting:
    """How events and tags become weights; see the module for each field's place in the file."""

    kinds: Mapping[str, float] = field(default_factory=lambda: {"view": 0.5})
    values: Mapping[str, str] = field(default_factory=dict)
    typical: Mapping[str, float] = field(default_factory=dict)
    categories: Mapping[str, float] = field(default_factory=dict)
    domains: Mapping[str, float] = field(default_factory=dict)
    relations: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)
    half_life_days: float | None = None
    tag_rarity: float = 0.5
    tag_fewest_items: int = 2
    tag_most_items: int = 2000
    user_events: int = 1
    item_events: int = 1
    against_kinds: tuple[str, ...] = AGAINST
    rating_kinds: tuple[str, ...] = ("rating",)
    relevant_from: float = 0.6
    rating_scale: Scale | None = None

    def to_json(self) -> dict[str, Any]:
        """The weighting as a manifest keeps it."""
        return {
            name: _plain(value)
            for name, value in ((f.name, getattr(self, f.name)) for f in fields(self))
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Weighting":
        """The weighting that `to_json` wrote; keys that this version does not know are left out."""
        known = {setting.name for setting in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
            if name in known
        }
        return cls(**values)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


# ── weighing ─────────────────────────────────────────────────────────────────────────────


def weigh(
    snapshot: GraphSnapshot,
    weighting: Weighting,
    now: int,
    domains: Domains | None = None,
) -> WeightedGraph:
    """Weighted edges from a snapshot; the same input always gives the same arrays.

    Args:
        snapshot: events, tags, relations.
        weighting: the rule.
        now: seconds since 1970; with a half-life, the age of events is counted back from here.
        domains: the items' domains; None: from `derive_domains`, which may take seconds.

    A pair's weight is log2(1 + sum of its events' weights), so that the first event counts 1
    and the hundredth adds little. `graph.values` says what values are worth.
    """
    shape = (len(snapshot.users), len(snapshot.items))
    events = snapshot.events
    allowed = snapshot.user_consents[events.user]
    hides = allowed & (events.kind == _index_of(snapshot.kinds, HIDE))
    links, names, origin = domains or derive_domains(snapshot)
    item_domains = _matrix(
        links.source, links.target, links.weight, (len(snapshot.items), len(names))
    )
    worth = np.where(allowed, event_weights(snapshot, weighting, now), 0)
    user_items = _matrix(events.user, events.item, worth, shape)
    user_items.data = np.log2(1 + user_items.data).astype(np.float32)
    user_items = user_items * domain_factors(item_domains, list(names), weighting)[None, :]
    user_hides = _pattern(events, hides, shape)
    user_items = csr_array(user_items - user_items * user_hides)
    worth_of = weighting.attributes if any(weighting.attributes.values()) else {}
    texts = snapshot.item_attributes.to_pylist() if worth_of else ()
    numbers, scales = item_numbers(texts, worth_of, shape[1])
    return WeightedGraph(
        user_items=_with_minimum(user_items, weighting),
        user_seen=_pattern(events, allowed & ~hides, shape),
        user_hides=user_hides,
        item_tags=weigh_tags(snapshot, weighting),
        item_domains=item_domains,
        item_items=_relations(snapshot.item_relations, weighting.relations, 0.0, shape[1]),
        user_users=_relations(
            _among(snapshot.user_relations, snapshot.user_consents),
            weighting.relations,
            1.0,
            shape[0],
        ),
        item_numbers=numbers,
        scales=scales,
        domains=names,
        domains_from=origin,
    )


def event_weights(snapshot: GraphSnapshot, weighting: Weighting, now: int) -> F32:
    """(e,) what each event is worth; 0 for hides and for ratings below the relevant share."""
    events = snapshot.events
    by_kind = np.array([weighting.kinds.get(kind.lower(), 1.0) for kind in snapshot.kinds] + [0.0])
    worth = by_kind[events.kind]
    ratings = chosen(snapshot.kinds, events.kind, weighting.rating_kinds)
    against = chosen(snapshot.kinds, events.kind, weighting.against_kinds)
    scale = weighting.rating_scale or scale_of(snapshot, weighting)
    typical = typical_of(snapshot, weighting)
    for number, kind in enumerate(snapshot.kinds):
        own = events.kind == number
        if kind.lower() == HIDE:
            worth[own] = 0
        elif kind.lower() in weighting.rating_kinds:
            worth[own] *= _rating_worth(events.value[own], weighting.relevant_from, scale)
        else:
            meaning = weighting.values.get(kind.lower(), COUNT)
            worth[own] *= value_worth(events.value[own], meaning, typical.get(kind.lower()))
    worth = np.where(taken_back(events, ratings, against) | against, 0, worth)
    if weighting.half_life_days is not None:
        age = np.maximum(now - events.at.astype(np.float64), 0) / SECONDS_A_DAY
        aged = np.exp2(-age / weighting.half_life_days)
        worth = np.where(events.at == NO_TIME, worth, worth * aged)
    return worth.astype(np.float32)


def typical_of(snapshot: GraphSnapshot, weighting: Weighting) -> dict[str, float]:
    """Kind whose values are seconds or money -> the value that counts 1."""
    events, kinds = snapshot.events, snapshot.kinds
    return typical_values(kinds, events.kind, events.value, weighting.values, weighting.typical)


def speaking(snapshot: GraphSnapshot, weighting: Weighting) -> dict[str, float | None]:
    """Kind of event that speaks for an item -> the least value that does; None: any value."""
    low, high = weighting.rating_scale or scale_of(snapshot, weighting) or (0.0, 0.0)
    made: dict[str, float | None] = {}
    for kind in snapshot.kinds:
        name = kind.lower()
        worthless = weighting.kinds.get(name, 1.0) <= 0 or name in (HIDE, *weighting.against_kinds)
        if not worthless:
            rated = name in weighting.rating_kinds and low < high
            made[kind] = low + weighting.relevant_from * (high - low) - 1e-6 if rated else None
    return made


def scale_of(snapshot: GraphSnapshot, weighting: Weighting) -> Scale | None:
    """The given scale of ratings, else the one found from the ratings of a snapshot."""
    if weighting.rating_scale is not None:
        return weighting.rating_scale
    tally = Tally()
    events = snapshot.events
    tally.add(events.value[chosen(snapshot.kinds, events.kind, weighting.rating_kinds)])
    return tally.scale()


def _rating_worth(values: F32, relevant_from: float, scale: Scale | None) -> F64:
    """0 off the scale or below its relevant part, else rising from 0.5 to 1; 1 without a value."""
    low, high = scale or (0.0, 0.0)
    if low == high:
        return np.ones(len(values))
    position = (np.nan_to_num(values.astype(np.float64), nan=high) - low) / (high - low)
    good = (position >= relevant_from - 1e-9) & (position <= 1)
    return np.where(good, 0.5 + 0.5 * position, 0.0)


def weigh_tags(snapshot: GraphSnapshot, weighting: Weighting) -> csr_array:
    """(i, t) given tags and those of tag events: users who gave the tag / √(taggers of the item).

    The weight of a tag on n items is multiplied by (1 / log2(1 + n)) ^ (2 · rarity).
    """
    shape = (len(snapshot.items), len(snapshot.tags))
    item_tags = snapshot.item_tags
    matrix = _matrix(item_tags.source, item_tags.target, item_tags.weight, shape)
    events = snapshot.events
    tagged = snapshot.user_consents[events.user] & (events.tag >= 0)
    if tagged.any():
        users, items, tags = events.user[tagged], events.item[tagged], events.tag[tagged]
        user_items, pairs = np.unique(
            users.astype(np.int64) * shape[0] + items, return_inverse=True
        )
        once = np.unique(pairs.astype(np.int64) * shape[1] + tags)  # a user gives a tag once
        item_of_once = user_items[once // shape[1]] % shape[0]
        counts = _matrix(item_of_once, once % shape[1], np.ones(len(once)), shape)
        taggers = np.maximum(np.bincount(user_items % shape[0], minlength=shape[0]), 1)
        shares = counts * np.sqrt(1 / taggers).astype(np.float32)[:, None]
        matrix = csr_array(matrix + shares)
    spread = np.bincount(matrix.indices, minlength=shape[1])  # (t,) items per tag
    kept = (spread >= weighting.tag_fewest_items) & (spread <= weighting.tag_most_items)
    rarity = (1 / np.log2(1 + np.maximum(spread, 1))) ** (2 * weighting.tag_rarity)
    by_category = np.array(
        [weighting.categories.get(tag_parts(key)[0], 1.0) for key in snapshot.tags], np.float32
    ).reshape(shape[1])
    return _clean(csr_array(matrix * (kept * rarity * by_category).astype(np.float32)[None, :]))


def _among(relations: Relations, consents: Flags) -> Relations:
    """The relations in which both users consent."""
    kept = consents[relations.source] & consents[relations.target]
    return Relations(
        source=relations.source[kept],
        target=relations.target[kept],
        kind=relations.kind[kept],
        weight=relations.weight[kept],
        kinds=relations.kinds,
    )


def _relations(
    relations: Relations, weights: Mapping[str, float], unnamed: float, count: int
) -> csr_array:
    by_kind = np.array([weights.get(kind, unnamed) for kind in relations.kinds] + [0.0])
    worth = by_kind[relations.kind] * relations.weight
    worth = np.where(relations.source == relations.target, 0, worth)
    return _matrix(relations.source, relations.target, worth, (count, count))


def domain_factors(item_domains: csr_array, names: list[str], weighting: Weighting) -> F32:
    """(i,) the factor of each item: the mean over its domains, 1 where it has none."""
    by_word = {as_word(name): factor for name, factor in weighting.domains.items()}
    known = {as_word(name) for name in names}
    unknown = [name for name in weighting.domains if as_word(name) not in known]
    if unknown:
        first = min(unknown)
        close = difflib.get_close_matches(first, names, 1)
        remedy = (
            f"did you mean {close[0]!r}?"
            if close
            else f"there are {', '.join(names[:10]) or 'none'}"
        )
        raise SettingError(f"weighting: domains.{first} is no domain of this catalogue; {remedy}")
    factors = np.array([by_word.get(as_word(name), 1.0) for name in names], np.float32)
    total = np.asarray(item_domains.sum(axis=1), np.float32).ravel()
    weighed = item_domains @ factors.reshape(len(names))
    return np.where(total > 0, weighed / np.where(total > 0, total, 1), 1).astype(np.float32)


def _with_minimum(matrix: csr_array, weighting: Weighting) -> csr_array:
    """The matrix without the rows of users and columns of items that have too few pairs."""
    users = np.diff(matrix.indptr) >= weighting.user_events
    items = np.bincount(matrix.indices, minlength=matrix.shape[1]) >= weighting.item_events
    kept = matrix * users.astype(np.float32)[:, None] * items.astype(np.float32)[None, :]
    return _clean(csr_array(kept))


def _pattern(events: EventColumns, chosen: Flags, shape: tuple[int, int]) -> csr_array:
    """(u, i) 1 for each pair with a chosen event."""
    ones = np.ones(int(chosen.sum()), np.float32)
    matrix = _matrix(events.user[chosen], events.item[chosen], ones, shape)
    matrix.data[:] = 1
    return matrix


def _matrix(source: Any, target: Any, weight: Any, shape: tuple[int, int]) -> csr_array:
    weight = np.asarray(weight, np.float32)
    places = (np.asarray(source, np.int32), np.asarray(target, np.int32))
    return _clean(csr_array((weight, places), shape=shape))


def _clean(matrix: csr_array) -> csr_array:
    """float32 weights above 0, int32 indices and pointers, sorted, each entry once."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    matrix.indices = matrix.indices.astype(np.int32, copy=False)
    matrix.indptr = matrix.indptr.astype(np.int32, copy=False)  # SciPy wants both of one type
    matrix.data = matrix.data.astype(np.float32, copy=False)
    return matrix


def _index_of(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1
