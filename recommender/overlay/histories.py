"""What one user did, in the release and after it, weighed as a refresh would weigh it.

The release keeps the events of each user as columns, so that a new event is weighed together with
the earlier ones, by the rule that made the release's histories. A list from release and overlay is
therefore the list that a release with all these events and the same table would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embeddings.item_item.untold_order import worth_of_session
from graph.arrays import F32, I32, I64, Flags
from graph.event_keys import BY_ID, NO_KEY
from graph.model import NO_ROW, NO_TIME
from graph.snapshot import EventColumns, GraphSnapshot
from graph.weighting import HIDE, Weighting, domain_factors, event_weights
from recommender.releases.release import Release

EVENT = np.dtype(
    [
        ("item", np.int32),
        ("kind", np.int16),
        ("value", np.float32),
        ("at", np.int64),
        ("key", np.int64),  # of its id or tag, see `graph.event_keys`
    ]
)
Events = npt.NDArray[np.void]  # of dtype EVENT, in any order
NONE: Events = np.zeros(0, EVENT)


@dataclass(frozen=True)
class History:
    """One user's history as ranking takes it."""

    items: I32  # (h,) that the user chose
    weights: F32  # (h,)
    kinds: tuple[str, ...]  # (h,) the kind of event of each; of several, the first by name
    newest: F32  # (h,) what each counts where the table of what follows what is read
    at: I64  # (h,) when each was last done; NO_TIME: unknown
    seen: I32  # items that the user did anything to
    hidden: I32  # items that the user never wants to see again


@dataclass(frozen=True, slots=True)
class LiveUser:
    """What one user did after the release was made."""

    events: Events
    undone: Events = field(default_factory=lambda: NONE)  # events of the release

    def with_(self, events: Events) -> "LiveUser":
        """The same with more events, which are copied."""
        return LiveUser(_joined(self.events, events), self.undone)

    def without(self, events: Events) -> "LiveUser":
        """The same after some events were taken back; if they happen again later, they count."""
        undone = np.concatenate([self.undone, events])
        return replace(self, events=_less(self.events, events), undone=undone)


@dataclass(frozen=True)
class _Happened:
    """Events and their kinds, with the fields that weighting reads."""

    events: EventColumns
    kinds: tuple[str, ...]


class Weigher:
    """Weighs histories by the rule of a release."""

    def __init__(self, release: Release) -> None:
        """Read from the release the rule by which its histories were weighed."""
        self._release = release
        rule: dict[str, Any] = dict(release.manifest["config"]["weighting"])
        rule["rating_scale"] = release.manifest.get("rating_scale") or rule["rating_scale"]
        rule["typical"] = release.manifest.get("typical", {})
        self._weighting = Weighting.from_json(rule)
        self._made = int(release.manifest["created_at"])
        recipe = release.manifest["recipe"]
        self._exponent = float(recipe["recency_exponent"])
        self._follows = float(recipe.get("follows_weight", 0.0))
        self._steepness = float(recipe.get("follows_steepness", 0.0))

    @cached_property
    def _factors(self) -> F32 | None:
        """(i,) of the items' domains; None where all are 1."""
        if not self._weighting.domains:
            return None
        release = self._release
        return domain_factors(release.item_domains.matrix, list(release.domains), self._weighting)

    def history(self, user_row: int, live: LiveUser | None, kinds: Sequence[str]) -> History:
        """The history of a user of the release (or `NO_ROW`), with newer events.

        Args:
            user_row: of the user whose events in the release count; `NO_ROW`: none.
            live: events since the release.
            kinds: names of the kinds of those.
        """
        return self._weighed(self.events(user_row, live), kinds)

    def events(self, user_row: int, live: LiveUser | None) -> Events:
        """Everything that a user of the release (or `NO_ROW`) did, newer events included."""
        events = np.zeros(0, EVENT) if live is None else live.events
        if user_row == NO_ROW:
            return events
        kept = self._kept(user_row)
        if live is not None and len(live.undone):
            kept = _less(kept, live.undone)
        return _joined(kept, events)

    def _kept(self, row: int) -> Events:
        """The events of a user in the release."""
        kept = self._release.user_events(row)
        events = np.zeros(len(kept["item"]), EVENT)
        for name, column in kept.items():
            events[name] = column
        return events

    def liked(self, events: Events, users: I32, kinds: Sequence[str]) -> Flags:
        """(e,) whether each event speaks for its item: a hide does not, nor does a low rating.

        Args:
            events: of any users.
            users: (e,) a number for the user of each, from 0.
            kinds: names of the kinds of the events.
        """
        worth: Flags = self._worth(replace(_columns(events), user=users), kinds) > 0
        return worth

    def _worth(self, columns: EventColumns, kinds: Sequence[str]) -> F32:
        happened = cast(
            "GraphSnapshot", _Happened(columns, tuple(kinds))
        )  # all that weighting reads of a snapshot
        return event_weights(happened, self._weighting, self._made)

    def _weighed(self, events: Events, kinds: Sequence[str]) -> History:
        events = _once(events)
        hides = np.array([kind.lower() == HIDE for kind in kinds], np.bool_)[events["kind"]]
        columns = _columns(events)
        worth = self._worth(columns, kinds)
        items, pair = np.unique(columns.item, return_inverse=True)
        weights = np.log2(1 + np.bincount(pair, worth, len(items))).astype(np.float32)
        if self._factors is not None:
            known = items < len(self._factors)
            weights[known] *= self._factors[items[known]]
        hidden = np.unique(columns.item[hides])
        weights[np.isin(items, hidden)] = 0
        at = np.full(len(items), NO_TIME, np.int64)
        np.maximum.at(at, pair, columns.at)
        first = np.full(len(items), np.iinfo(np.int32).max)
        order = np.argsort(np.argsort(np.array(kinds, object))) if len(kinds) else np.zeros(0, int)
        np.minimum.at(first, pair, order[columns.kind])
        chosen = weights > 0
        by_name = sorted(kinds)
        return History(
            items=items[chosen].astype(np.int32),
            weights=weights[chosen] * _recent(at[chosen], self._exponent),
            kinds=tuple(by_name[entry] for entry in first[chosen].tolist()),
            newest=self._follows * weights[chosen] * _recent(at[chosen], self._steepness),
            at=at[chosen],
            seen=np.unique(columns.item[~hides]),
            hidden=hidden,
        )

    def of_session(self, weights: Sequence[float]) -> F32:
        """(h,) what each item of a session counts where what follows what is read.

        The newer an item, the more it weighs. Equal weights say nothing of an order, see
        `embeddings.item_item.untold_order`.
        """
        if self._follows == 0:
            return np.zeros(len(weights), np.float32)
        return (self._follows * worth_of_session(weights, self._steepness)).astype(np.float32)


def in_order(items: I32, at: I64) -> I32:
    """(l,) the items whose time is known, oldest first; those of a moment by their rows."""
    dated = np.flatnonzero(at != NO_TIME)
    return items[dated[np.lexsort((items[dated], at[dated]))]]


def _recent(at: npt.NDArray[Any], exponent: float) -> F32:
    """What each entry is multiplied by, see `embeddings.item_item.recency.weighed`."""
    if exponent == 0 or len(at) == 0:
        return np.ones(len(at), np.float32)
    later = len(at) - np.searchsorted(np.sort(at), at, side="right")
    return ((1.0 + later) ** -exponent).astype(np.float32)


def _columns(events: Events) -> EventColumns:
    return EventColumns(
        user=np.zeros(len(events), np.int32),
        item=events["item"].astype(np.int32),
        kind=events["kind"].astype(np.int32),
        value=events["value"].astype(np.float32),
        tag=np.full(len(events), NO_ROW, np.int32),
        at=events["at"].astype(np.int64),
        key=events["key"].astype(np.int64),
    )


def _joined(events: Events, more: Events) -> Events:
    """Both, one after the other: numpy compares the fields of two types anew for each pair."""
    joined = np.empty(len(events) + len(more), EVENT)
    joined[: len(events)], joined[len(events) :] = events, more
    return joined


def _less(events: Events, undone: Events) -> Events:
    """The events, less those that were taken back."""
    gone = set(zip(*(part.tolist() for part in _identity(undone)), strict=True))
    own = zip(*(part.tolist() for part in _identity(events)), strict=True)
    return events[np.array([each not in gone for each in own], np.bool_)]


def _once(events: Events) -> Events:
    """Each event once, as it came last; sorted as in a snapshot."""
    parts = _identity(events)
    order = np.lexsort((np.arange(len(events)), *reversed(parts)))
    differs = [part[order][1:] != part[order][:-1] for part in parts]
    last = np.append(np.logical_or.reduce(differs), np.ones(min(len(events), 1), np.bool_))
    kept = events[order[last]]
    if (kept["key"] == NO_KEY).all():
        return kept
    return kept[np.lexsort((kept["key"], kept["at"], kept["kind"], kept["item"]))]


def _identity(events: Events) -> tuple[npt.NDArray[Any], ...]:
    """What tells one user's events apart, as the store does: an id alone, or else all the rest."""
    by_id = (events["key"] & BY_ID) == BY_ID
    return (*(np.where(by_id, 0, events[name]) for name in ("item", "kind", "at")), events["key"])
