"""In which segments a subject is, decided for each request over one release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from graph.arrays import F32, F64, I16, I32, Flags
from graph.model import NO_TIME
from recommender.ranking.attributes import as_values
from recommender.ranking.conditions import Value
from recommender.releases.release import Release
from recommender.segments.attributes import Encoding
from recommender.segments.features import (
    DAY,
    Catalogue,
    History,
    Layout,
    Scale,
    behaviour,
    nearest,
    shares,
)
from recommender.segments.rules import Rule
from recommender.segments.settings import EVERYONE, NEW

FROM_EVENTS = ("recency", "frequency", "value", "time", "kinds", "visits", "money")


CHANGED = 0.25  # growth of a known user's history at which the user is assigned again


@dataclass(frozen=True)
class Behaviour:
    """What segments need to know of a subject; `user_row` is -1 if it is not in the release."""

    user_row: int
    items: Sequence[int] | I32  # everything in the history, session included
    weights: Sequence[float] | F32
    attributes: Mapping[str, Any] | None = None  # since the refresh; None: no new ones
    described: Mapping[str, Any] = field(default_factory=dict)  # the attributes that hold now


class Segments:
    """Decides which segments subjects are in, over one release."""

    def __init__(self, release: Release, rules: Sequence[tuple[str, Rule]] = ()) -> None:
        """Hold a release, which may have no segments, and the editors' rules."""
        self._release = release
        self.rules = tuple(rules)
        report = release.segments
        self.names: tuple[str, ...] = tuple(report["names"]) if report else (EVERYONE,)
        self._learned = report is not None
        if report is None:
            return
        self._assigned = release.segment_arrays["assigned"]
        self._raw = release.segment_arrays["raw"]
        self._scale = Scale.read(release.segment_arrays["scale"])
        self._centroids = np.asarray(release.segment_arrays["centroids"])
        self._layout = Layout.read(report, release.event_kinds)
        self._encoding = Encoding.from_json(report["attributes"])
        self._moment, self._minimum = int(report["moment"]), int(report["minimum_events"])
        self._catalogue = Catalogue(
            release.item_domains.matrix,
            release.item_tags.matrix,
            release.rarity,
            release.vectors["spectral"][:, : self._layout.vectors],
        )

    def of(self, subject: Behaviour, now: int) -> tuple[str, ...]:
        """Every segment of a subject: those of rules, in the rules' order, then the learned one."""
        by_rule = [name for name, rule in self.rules if self._holds(rule, subject, now)]
        return (*by_rule, self.learned(subject))

    def learned(self, subject: Behaviour) -> str:
        """The learned segment of a subject.

        A known user is assigned again when the history grew by `CHANGED` or the attributes changed.
        """
        if not self._learned:
            return EVERYONE
        row = subject.user_row
        known = len(self._release.histories.of(row)) if row >= 0 else 0
        grown = len(subject.items) >= max(known + self._minimum, known * (1 + CHANGED))
        if row >= 0 and not grown and subject.attributes is None:
            return self.name(int(self._assigned[row]))
        if len(subject.items) < self._minimum:
            return NEW
        raw = behaviour(self._history(subject), self._catalogue, self._layout, self._moment)
        about = self._encoding([subject.attributes or {}])
        if row >= 0 and subject.attributes is None:
            about = self._raw[row : row + 1, raw.shape[1] :].astype(np.float64)
        raw = np.concatenate([raw, about], axis=1)
        if row >= 0:  # times, kinds and values of the past are known from the refresh
            before = self._raw[row].astype(np.float64)
            raw = np.where(np.isnan(raw) | self._from_events, before, raw)
        elif self._from_events.any():
            raw = np.where(self._from_events, np.nan, raw)
        return self.name(int(nearest(self._scale(raw), self._centroids)[0]))

    def of_users(self) -> I16:
        """(u,) the learned segment of each user of the release, -1 for "new"."""
        if not self._learned:
            return np.zeros(len(self._release.users), np.int16)
        return np.asarray(self._assigned)

    def chance(self, name: str, user_row: int) -> float | None:
        """The chance that a user "moves" to another segment or "returns"; None: not predicted."""
        chances = self._release.segment_arrays.get(name)
        if chances is None or user_row < 0 or np.isnan(chances[user_row]):
            return None
        return round(float(chances[user_row]), 4)

    @property
    def _from_events(self) -> Flags:
        """(f,) which features need the kinds and times of events: live histories lack these."""
        groups = self._layout.groups
        return np.array([group in FROM_EVENTS for group in groups])

    def name(self, segment: int) -> str:
        """The segment at a place of `names`; -1 is "new"."""
        return self.names[segment] if segment >= 0 else NEW

    def _history(self, subject: Behaviour) -> History:
        shape = (1, len(self._release.items))
        count = len(subject.items)
        chosen = csr_array(
            (
                np.array(subject.weights, np.float32),
                np.array(subject.items, np.int64),
                [0, count],
            ),
            shape=shape,
        )
        chosen.sum_duplicates()
        return History(
            user_items=chosen,
            user=np.zeros(count, np.int32),
            kind=np.full(count, -1, np.int32),
            value=np.full(count, np.nan, np.float32),
            at=np.full(count, NO_TIME, np.int64),
        )

    def _holds(self, rule: Rule, subject: Behaviour, now: int) -> bool:
        return rule.holds(lambda field, name: self.measured(field, name, subject, now))

    def measured(
        self, field: str, name: str, subject: Behaviour, now: int
    ) -> Value | tuple[Value, ...]:
        """The value of a rule's field for a subject; NaN, or nothing, when it is not known."""
        if field == "attributes":
            return as_values(subject.described.get(name))
        if field == "items":
            return float(len(subject.items))
        if field in ("domain_share", "tag_share"):
            return self._share(field, name, subject)
        if field == "novelty":
            rarity = self._release.rarity
            return float(rarity[list(subject.items)].mean()) if len(subject.items) else np.nan
        if field == "domains":
            mix = self._mix(subject)
            return float(np.count_nonzero(mix > 0)) if not np.isnan(mix).all() else np.nan
        if not self._learned or subject.user_row < 0:
            return np.nan
        if field in ("last_seen_days", "first_seen_days"):
            array = self._release.segment_arrays[field.removesuffix("_days")]
            at = int(array[subject.user_row])
            return (now - at) / DAY if at != NO_TIME else np.nan
        return self._remembered(field, name, subject.user_row)

    def _remembered(self, field: str, name: str, row: int) -> float:
        """A value that the refresh stored for a known user."""
        features = {"night_share": "night", "weekend_share": "weekend", "events": "events"}
        wanted = features.get(field, f"kind {name}")
        if wanted not in self._layout.names:
            return np.nan
        value = float(self._raw[row, self._layout.names.index(wanted)])
        return round(float(np.expm1(value)), 3) if field == "events" else value

    def _share(self, field: str, name: str, subject: Behaviour) -> float:
        if field == "domain_share":
            mix, row = self._mix(subject), self._release.domains.row(name)
            return float(mix[row]) if row >= 0 else np.nan
        row = self._release.tag_name_row(name)
        if row < 0 or len(subject.items) == 0:
            return np.nan
        columns = np.flatnonzero(self._release.tag_name_rows == row)
        tags = self._release.item_tags.matrix[list(subject.items)]
        weights = np.array(subject.weights, np.float64)
        carried = np.isin(tags.indices, columns)
        owners = np.repeat(np.arange(len(subject.items)), np.diff(tags.indptr))[carried]
        return float(weights[np.unique(owners)].sum() / weights.sum())

    def _mix(self, subject: Behaviour) -> F64:
        domains = self._release.item_domains.matrix
        mix: F64 = shares(self._history(subject).user_items, domains)[0]
        return mix
