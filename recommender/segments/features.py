"""What a user's behaviour looks like as numbers, at a refresh and for one subject online.

`behaviour` makes a row of raw features per user, NaN where nothing is known of a feature.
`Scale` turns raw rows into rows that can be compared: missing values filled with the median,
outliers clipped, standardised, weighted. Both are numpy only, so a worker does the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from graph.arrays import F32, F64, I32, I64, Flags, unit_rows
from graph.model import NO_TIME
from graph.values import COUNT, MONEY, RATING

DAY = 86_400
MOST_DOMAINS = 8  # domains whose share is a feature of its own
MOST_KINDS = 6
USERS_AT_ONCE = 1_024  # whose mix over all domains is held at once
VECTOR_WIDTH = 8  # first dimensions of the users' vectors
PAUSE = 30 * 60  # seconds without an event after which a new visit begins
LATELY = 30 * DAY
CLIPPED = (1.0, 99.0)  # percentiles at which features are clipped

# group of features -> names; its weight (segments.toml) holds for each of its features
PLAIN = {
    "recency": ("days since last seen",),
    "frequency": ("events", "days known"),
    "value": ("weight of choices", "mean value"),
    "time": ("night", "morning", "afternoon", "evening", "weekend"),
    "breadth": ("domains", "largest domain", "tag concentration"),
    "novelty": ("novelty", "spread of novelty"),
    "visits": ("visits in 30 days", "session length"),
    "money": ("order value",),
}
GROUPS = (*PLAIN, "kinds", "domains", "vectors", "attributes")


@dataclass(frozen=True)
class Catalogue:
    """What features need to know about items."""

    item_domains: csr_array  # (i, d)
    item_tags: csr_array  # (i, t)
    rarity: F32  # (i,) 0 … 1
    vectors: F32  # (i, v)


@dataclass(frozen=True)
class History:
    """What u users did: pairs with weights, and each event."""

    user_items: csr_array  # (u, i)
    user: I32  # (e,) row of each event
    kind: I32  # (e,) place in the names of kinds
    value: F32  # (e,) NaN where none
    at: I64  # (e,) seconds since 1970, NO_TIME where none
    meanings: Sequence[str] = ()  # of each kind, what its values mean (`graph.values`); else counts

    def values_of(self, *meanings: str) -> Flags:
        """(e,) events with a value of one of these meanings."""
        flags: Flags = ~np.isnan(self.value)
        if not len(self.meanings):
            return flags & (COUNT in meanings)
        return flags & np.array([meaning in meanings for meaning in self.meanings])[self.kind]


@dataclass(frozen=True)
class Layout:
    """Which features there are, in order."""

    domains: tuple[int, ...]  # columns of `item_domains` with a feature of their own
    domain_names: tuple[str, ...]
    kinds: tuple[str, ...]
    vectors: int
    attributes: tuple[str, ...] = ()  # names of features made from what users say of themselves

    @classmethod
    def read(cls, manifest: Mapping[str, Any], kinds: Sequence[str]) -> "Layout":
        """The layout of a release's segments, from its manifest."""
        by_group = list(zip(manifest["features"], manifest["groups"], strict=True))
        return cls(
            tuple(manifest["domains"]),
            tuple(manifest["domain_names"]),
            tuple(kinds),
            manifest["groups"].count("vectors"),
            tuple(name for name, group in by_group if group == "attributes"),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """One name per feature."""
        return (
            *(name for names in PLAIN.values() for name in names),
            *(f"kind {name}" for name in self.kinds[:MOST_KINDS]),
            *(f"domain {name}" for name in self.domain_names),
            *(f"vector {number}" for number in range(self.vectors)),
            *self.attributes,
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each feature."""
        return (
            *(group for group, names in PLAIN.items() for _ in names),
            *("kinds" for _ in self.kinds[:MOST_KINDS]),
            *("domains" for _ in self.domains),
            *("vectors" for _ in range(self.vectors)),
            *("attributes" for _ in self.attributes),
        )


def layout(
    catalogue: Catalogue, domains: Sequence[str], kinds: Sequence[str], user_items: csr_array
) -> Layout:
    """The features of a catalogue: its largest domains by use, its kinds of events."""
    used = np.asarray(user_items.sum(axis=0)).ravel() @ catalogue.item_domains  # (d,)
    order = np.argsort(-used, kind="stable")[:MOST_DOMAINS]
    width = min(VECTOR_WIDTH, catalogue.vectors.shape[1])
    return Layout(tuple(order.tolist()), tuple(domains[row] for row in order), tuple(kinds), width)


def behaviour(history: History, catalogue: Catalogue, wanted: Layout, moment: int) -> F64:
    """(u, f) raw features, NaN where unknown, in the order of `wanted.names` up to attributes.

    Args:
        history: what the users did; a user without anything gives a row of NaN.
        catalogue: of the same items.
        wanted: which features.
        moment: seconds since 1970 from which recency counts back.
    """
    users = history.user_items.shape[0]
    counts = np.bincount(history.user, minlength=users).astype(np.float64)
    dated = history.at != NO_TIME
    user, at = history.user[dated], history.at[dated]
    first, last = np.full(users, np.inf), np.full(users, -np.inf)
    np.minimum.at(first, user, at)
    np.maximum.at(last, user, at)
    timed = np.isfinite(last)
    first, last = np.where(timed, first, np.nan), np.where(timed, last, np.nan)
    valued = history.values_of(RATING, COUNT)
    means = _means(history.user[valued], history.value[valued].astype(np.float64), users)
    weights = np.asarray(history.user_items.sum(axis=1), np.float64).ravel()
    columns = [
        np.log1p(np.maximum(moment - last, 0) / DAY),
        np.where(counts > 0, np.log1p(counts), np.nan),
        np.log1p((last - first) / DAY),
        np.where(weights > 0, np.log1p(weights), np.nan),
        means,
        *_clock(user, at, users),
        *_breadth(history.user_items, catalogue),
        *_novelty(history.user_items, catalogue.rarity),
        *_visits(user, at, users, moment),
        _orders(history, users),
        *_kinds(history, len(wanted.kinds[:MOST_KINDS]), counts),
        *shares(history.user_items, catalogue.item_domains, wanted.domains).T,
        *_vectors(history.user_items, catalogue.vectors[:, : wanted.vectors]).T,
    ]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Scale:
    """How raw features become comparable; (f,) each."""

    low: F64
    high: F64
    median: F64
    mean: F64
    spread: F64
    weight: F64

    @classmethod
    def of(cls, raw: F64, groups: Sequence[str], weights: Mapping[str, float]) -> "Scale":
        """Learn the scale from rows; a feature that is constant or unknown gets the weight 0."""
        if len(raw) == 0:
            raw = np.zeros((1, raw.shape[1]))
        known = np.where(np.isnan(raw).all(axis=0), 0.0, raw)
        low, median, high = np.nanpercentile(known, [CLIPPED[0], 50, CLIPPED[1]], axis=0)
        clipped = np.clip(np.where(np.isnan(known), median, known), low, high)
        mean, spread = clipped.mean(axis=0), clipped.std(axis=0)
        sizes = {group: list(groups).count(group) for group in groups}
        # A group of many columns must not outvote the others: its columns share its weight.
        share = np.array([weights.get(group, 1.0) / np.sqrt(sizes[group]) for group in groups])
        flat = spread < 1e-9
        return cls(
            low=low,
            high=high,
            median=median,
            mean=mean,
            spread=np.where(flat, 1.0, spread),
            weight=np.where(flat, 0.0, share),
        )

    @classmethod
    def read(cls, array: F64) -> "Scale":
        """From the rows of `array` (6, f)."""
        return cls(*np.asarray(array, np.float64))

    def array(self) -> F64:
        """As a release keeps it: (6, f)."""
        return np.stack([self.low, self.high, self.median, self.mean, self.spread, self.weight])

    def __call__(self, raw: F64) -> F64:
        """(u, f) comparable features."""
        clipped = np.clip(np.where(np.isnan(raw), self.median, raw), self.low, self.high)
        scaled: F64 = (clipped - self.mean) / self.spread * self.weight
        return scaled


def shares(
    user_items: csr_array, item_parts: csr_array, columns: Sequence[int] | None = None
) -> F64:
    """(u, p) each user's mix over domains or tags; rows sum to one, NaN where nothing is known.

    With `columns`, only these of the parts.
    """
    width = item_parts.shape[1] if columns is None else len(columns)
    result = np.empty((user_items.shape[0], width))
    for rows in _blocks(len(result)):
        mix = _mix(user_items[rows], item_parts)
        result[rows] = mix if columns is None else mix[:, list(columns)]
    return result


def _blocks(users: int) -> Iterator[slice]:
    for begin in range(0, users, USERS_AT_ONCE):
        yield slice(begin, begin + USERS_AT_ONCE)


def _mix(user_items: csr_array, item_parts: csr_array) -> F64:
    sums = np.asarray((user_items @ item_parts).todense(), np.float64)
    totals = sums.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.where(totals > 0, sums / np.where(totals > 0, totals, 1), np.nan)


def nearest(points: F64, centroids: F64) -> I64:
    """(u,) the centroid each point lies nearest to."""
    distances = (centroids**2).sum(axis=1) - 2 * points @ centroids.T  # (u, k)
    rows: I64 = distances.argmin(axis=1)
    return rows


def _means(owners: I32, values: F64, users: int) -> F64:
    counts = np.bincount(owners, minlength=users)
    sums = np.bincount(owners, weights=values, minlength=users)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: F64 = np.where(counts > 0, sums / counts, np.nan)
    return means


def _clock(owners: I32, at: I64, users: int) -> list[F64]:
    """Shares of events by quarter of the day (UTC) and on weekends."""
    quarter = (at % DAY) // (DAY // 4)
    weekend = (at // DAY + 3) % 7 >= 5  # day 0 was a Thursday; 0 is Monday
    parts = [(quarter == of_day).astype(np.float64) for of_day in range(4)] + [
        weekend.astype(np.float64)
    ]
    return [_means(owners, part, users) for part in parts]


def _visits(owners: I32, at: I64, users: int, moment: int) -> list[F64]:
    """Visits of the last 30 days, and how many minutes a visit takes; both as logarithms."""
    order = np.lexsort((at, owners))
    owners, at = owners[order], at[order]
    begins = np.ones(len(at), np.bool_)
    begins[1:] = (np.diff(owners) != 0) | (np.diff(at) > PAUSE)
    ends = np.append(begins[1:], np.ones(min(len(at), 1), np.bool_))
    owner, start, end = owners[begins], at[begins], at[ends]
    lately = (start > moment - LATELY) & (start <= moment)
    number = np.bincount(owner[lately], minlength=users).astype(np.float64)
    known = np.bincount(owner, minlength=users) > 0
    minutes = _means(owner, ((end - start) / 60).astype(np.float64), users)
    return [np.where(known, np.log1p(number), np.nan), np.log1p(minutes)]


def _orders(history: History, users: int) -> F64:
    """(u,) the value of an order, as a logarithm; events of one second are one order."""
    paid = np.flatnonzero(history.values_of(MONEY))
    user, at = history.user[paid].astype(np.int64), history.at[paid]
    own = np.where(at == NO_TIME, np.arange(len(at)), -1)
    order = np.lexsort((own, at, user))
    first = np.ones(len(order), np.bool_)
    for key in (user, at, own):
        first[1:] &= np.diff(key[order]) == 0
    first[1:] = ~first[1:]
    values = history.value[paid][order].astype(np.float64)
    sums = np.bincount(np.cumsum(first) - 1, weights=values)
    means = _means(user[order][first].astype(np.int32), sums.astype(np.float64), users)
    return np.log1p(np.maximum(means, 0))


def _breadth(user_items: csr_array, catalogue: Catalogue) -> list[F64]:
    """How many domains count (the exponential of the entropy), the largest's share, tags' focus."""
    number, largest = np.full((2, user_items.shape[0]), np.nan)
    for rows in _blocks(len(number)):
        mix = _mix(user_items[rows], catalogue.item_domains)
        filled = np.where(mix > 0, mix, 1.0)
        known = ~np.isnan(mix).all(axis=1) if mix.shape[1] else np.zeros(len(mix), np.bool_)
        number[rows][known] = np.exp(-(filled * np.log(filled)).sum(axis=1))[known]
        largest[rows][known] = np.where(np.isnan(mix), 0, mix).max(axis=1, initial=0.0)[known]
    tags = csr_array(user_items @ catalogue.item_tags)
    totals = np.asarray(tags.sum(axis=1), np.float64).ravel()
    squares = np.asarray(tags.multiply(tags).sum(axis=1), np.float64).ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        focus = np.where(totals > 0, squares / totals**2, np.nan)
    return [number, largest, focus]


def _novelty(user_items: csr_array, rarity: F32) -> list[F64]:
    """Mean and deviation of the rarity of what was chosen."""
    users = user_items.shape[0]
    owners = np.repeat(np.arange(users, dtype=np.int32), np.diff(user_items.indptr))
    values = rarity[user_items.indices].astype(np.float64)
    mean = _means(owners, values, users)
    square = _means(owners, values**2, users)
    return [mean, np.sqrt(np.maximum(square - mean**2, 0))]


def _kinds(history: History, kinds: int, counts: F64) -> list[F64]:
    shares = []
    for kind in range(kinds):
        own = np.bincount(history.user[history.kind == kind], minlength=len(counts))
        with np.errstate(invalid="ignore", divide="ignore"):
            shares.append(np.where(counts > 0, own / counts, np.nan))
    return shares


def _vectors(user_items: csr_array, vectors: F32) -> F64:
    known = user_items[:, : len(vectors)]  # items that came since the release have no vector
    unit = unit_rows(np.asarray(known @ vectors, np.float64)).astype(np.float64)
    return np.where(unit.any(axis=1, keepdims=True), unit, np.nan)
