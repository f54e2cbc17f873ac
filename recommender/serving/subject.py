"""Whose list it is: a subject while it is being put together, and when it is finished."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graph.arrays import F32, I32
from graph.model import NO_ROW
from recommender.overlay.trends import F64
from recommender.ranking.contexts import Context
from recommender.ranking.request import Filter, Request
from recommender.serving.new_items import Placed


@dataclass(frozen=True)
class Subject:
    """One request with ids turned into rows, finished: nothing changes it any more."""

    request: Request
    filter: Filter  # with ages turned into times
    items: I32  # (h,) the history
    weights: F32  # (h,)
    kinds: Sequence[str]  # (h,) what was done to each
    blocked: I32
    newest: F32 | None = None  # (h,) its weight where `follows` is read; None: it is not
    reads: int = 0  # which of `Release.tables`
    user_row: int = NO_ROW
    tags: tuple[int, ...] = ()
    seen: I32 | None = None  # nothing but these may be shown
    served_by: str = "popular"
    notes: tuple[str, ...] = ()
    contexts: tuple[Context, ...] = ()  # that hold
    segments: tuple[str, ...] = ()  # those of rules first, then the learned one
    interests: I32 | None = None  # (h,) of each history entry; None: there is but one
    placed: Placed | None = None  # a new item
    friends: I32 = field(default_factory=lambda: np.zeros(0, np.int32))  # rows, where they speak
    uncounted: I32 = field(default_factory=lambda: np.zeros(0, np.int32))  # see `Overlay`
    trending: F64 = field(default_factory=lambda: np.zeros((2, 0)))  # rows, and who chose each
    # (l,) what a sequence model foretells from, oldest first; empty: no order, or no model.
    in_order: I32 = field(default_factory=lambda: np.zeros(0, np.int32))

    def for_household(self, notes: Iterable[str]) -> "Subject":
        """The subject of a household's list: the same request, without any member's own history."""
        nothing = np.zeros(0, np.int32)
        return replace(
            self, items=nothing, weights=nothing.astype(np.float32), kinds=(), newest=None,
            reads=0, user_row=NO_ROW, seen=None, served_by="household",
            notes=tuple(dict.fromkeys(notes)), segments=(), in_order=nothing,
        )  # fmt: skip


class Kinds(Sequence[str]):
    """What was done to each item of a history, as a release's codes; named only when asked."""

    def __init__(self, codes: I32, names: Sequence[str]) -> None:
        """`codes` (h,) are places in `names`."""
        self.codes = codes
        self.names = names

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return Kinds(self.codes[at], self.names)
        return self.names[self.codes[at]]


@dataclass
class Draft:
    """A subject while it is being read."""

    request: Request
    session_share: float
    user_row: int = NO_ROW
    items: Sequence[int] | I32 = field(default_factory=list)
    weights: Sequence[float] | F32 = field(default_factory=list)
    kinds: Sequence[str] = field(default_factory=list)
    newest: Sequence[float] | F32 = field(default_factory=list)
    blocked: list[Sequence[int] | I32] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    seen: Sequence[int] | I32 | None = None
    known: Sequence[int] = ()  # items that a user with newer events did anything to
    served_by: str = "popular"
    notes: list[str] = field(default_factory=list)
    placed: Placed | None = None
    friends: list[int] = field(default_factory=list)
    trending: F64 = field(default_factory=lambda: np.zeros((2, 0)))
    in_order: I32 = field(default_factory=lambda: np.zeros(0, np.int32))

    def add(
        self,
        items: Sequence[int] | I32,
        weights: Sequence[float] | F32,
        kinds: Sequence[str],
        newest: Sequence[float] | F32 | None = None,
    ) -> None:
        """Add entries to the history; if they stay its only part, they are not copied.

        `newest` are their weights where `follows` is read; None: they have no order.
        """
        if newest is None:
            newest = np.zeros(len(items), np.float32)
        if len(self.items) == 0:
            self.items, self.weights, self.kinds, self.newest = items, weights, kinds, newest
        elif len(items):
            self.newest = [*_listed(self.newest), *_listed(newest)]
            self.items = [*_listed(self.items), *_listed(items)]
            self.weights = [*_listed(self.weights), *_listed(weights)]
            self.kinds = [*self.kinds, *kinds]

    def scale(self, total: float, start: int = 0) -> None:
        """Make the weights from `start` on sum to `total`."""
        weights = _listed(self.weights)
        old = sum(weights[start:])
        if old > 0:
            factor, newest = total / old, _listed(self.newest)
            self.weights = [*weights[:start], *(weight * factor for weight in weights[start:])]
            self.newest = [*newest[:start], *(weight * factor for weight in newest[start:])]

    def finished(self, wanted: Filter, uncounted: I32) -> Subject:
        """The subject, its filter given with ages turned into times."""
        return Subject(
            request=self.request,
            filter=wanted,
            items=np.asarray(self.items, np.int32),
            weights=np.asarray(self.weights, np.float32),
            kinds=self.kinds,
            newest=np.asarray(self.newest, np.float32),
            blocked=_joined(self.blocked),
            user_row=self.user_row,
            tags=tuple(self.tags),
            seen=None if self.seen is None else np.asarray(self.seen, np.int32),
            served_by=self.served_by,
            notes=tuple(self.notes),
            placed=self.placed,
            friends=np.array(self.friends, np.int32),
            uncounted=uncounted,
            trending=self.trending,
            in_order=self.in_order,
        )


def _listed(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _joined(parts: Sequence[Sequence[int] | I32]) -> I32:
    """All rows as one array; if only one part has any, that part itself."""
    some = [part for part in parts if len(part)]
    if len(some) == 1:
        return np.asarray(some[0], np.int32)
    return np.concatenate([np.zeros(0, np.int32), *(np.asarray(p, np.int32) for p in some)])
