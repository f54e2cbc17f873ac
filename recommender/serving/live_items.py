"""Items that came after a release: what is known of each, and where its vectors place it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from graph.arrays import F32, I32, I64, Flags
from graph.model import NO_ROW
from recommender.inbox.facts import ITEM_UNDONE, Row
from recommender.inbox.known import item_after
from recommender.overlay.appended import Link, LiveItem, appended
from recommender.overlay.overlay import Overlay
from recommender.ranking.filters import Filters
from recommender.ranking.request import NewItem
from recommender.releases.arrivals import NEAREST, WIDTH, Arrivals, placed_rows
from recommender.releases.release import Release
from recommender.serving.known import known_item
from recommender.serving.new_items import NewItems

TOGETHER = 1_000_000  # cosines that are held at once
NOTHING: Mapping[str, Any] = {}


@dataclass
class LiveItems:
    """Keeps what came since of items, for one follower; `release` has it too, after `located`."""

    base: Release  # as it was written
    agreed: frozenset[str]  # see `Overlay`
    live: dict[str, LiveItem] = field(default_factory=dict)  # items that are new or have changed
    hidden: set[str] = field(default_factory=set)  # of these
    gone: set[str] = field(default_factory=set)  # of these: taken away
    undone: set[str] = field(default_factory=set)  # of these: their loads were taken back
    names: dict[str, int] = field(default_factory=dict)  # new item -> its row
    people: dict[str, set[str]] = field(default_factory=dict)  # new item -> who chose it
    links: dict[Link, Link] = field(default_factory=dict)  # each once, since many items share them
    moved: set[str] = field(default_factory=set)  # not yet in `release` as they are now
    arrivals: tuple[Arrivals, ...] = ()  # where the new items were placed, by each table
    likeness: F32 | None = None  # (l, d) and their vectors there
    release: Release | None = None  # the last that `release_with_all` made

    def change(self, changed: Mapping[str, Sequence[Row]]) -> None:
        """Take up facts about items, by their names."""
        rows = self.base.items.rows(list(changed)).tolist()
        for (name, facts), row in zip(changed.items(), rows, strict=True):
            known = item_after(self._known(name, row), facts, name)
            self._know(name, known)
            gone = any(fact.kind == ITEM_UNDONE for fact in facts) and known is None
            (self.undone.add if gone else self.undone.discard)(name)
            if row == NO_ROW:
                self.names.setdefault(name, len(self.base.items) + len(self.names))

    def named(self, names: Sequence[str], *, back: bool) -> I64:
        """The rows of items that events name; those that nobody knew are new items.

        `back`: the events were taken back.
        """
        rows = self.rows_of(names)
        for at, (name, row) in enumerate(zip(names, rows.tolist(), strict=True)):
            if name in self.undone and not back:
                self._know(name, {"id": name})
                self.undone.discard(name)
            if row == NO_ROW:
                if name not in self.live:
                    self._know(name, {"id": name})
                rows[at] = self.names.setdefault(name, len(self.base.items) + len(self.names))
        return rows

    def choose(self, name: str, user: str, *, back: bool) -> None:
        """Note who did something to an item, if it is new; `back`: that was taken back."""
        if name in self.names:
            people = self.people.setdefault(name, set())
            (people.discard if back else people.add)(user)
            self.moved.add(name)

    def join(self, anonymous: str, user: str) -> bool:
        """Note of a user what was noted under an anonymous id; whether anything was."""
        changed = False
        for name, people in self.people.items():
            if anonymous in people:
                people.discard(anonymous)
                people.add(user)
                self.moved.add(name)
                changed = True
        return changed

    def rows_of(self, names: Sequence[str]) -> I64:
        """The rows of items, `NO_ROW` where nobody knows one."""
        rows = self.base.items.rows(names)
        for number in np.flatnonzero(rows == NO_ROW).tolist():
            rows[number] = self.names.get(names[number], NO_ROW)
        return rows

    def release_with_all(self) -> Release:
        """The release with all the items that are new or have changed."""
        if self.release is None or self.moved:
            self._locate()
        return self.release or self.base

    def hidden_among(self, hidden: Flags) -> Flags:
        """(i,) the items that no list shows, from those of the release as it was written."""
        if self.live:
            off = self.hidden | self.gone
            hidden = hidden.copy()
            hidden[self.rows_of(list(self.live))] = [name in off for name in self.live]
        return hidden

    def _locate(self) -> None:
        new = []
        for name in sorted(
            (self.moved & self.names.keys()) - self.gone, key=self.names.__getitem__
        ):
            item, people = self.live[name], len(self.people.get(name, ()))
            new.append(item if item.people == people else replace(item, people=people))
        units, by_table = placed(NewItems(self.base, Filters(self.base)), self.base, new)
        self.live |= {item.id: item for item in new}
        rows = np.array([self.names[item.id] for item in new], np.int64)
        likeness = np.zeros((len(self.names), units.shape[1]), np.float32)
        if self.likeness is not None:
            likeness[: len(self.likeness)] = self.likeness
        likeness[rows - len(self.base.items)] = units
        self.likeness = likeness
        before = self.arrivals or [Arrivals.none(len(self.base.items))] * len(by_table)
        self.arrivals = tuple(
            old.with_(rows, *near, len(self.names))
            for old, near in zip(before, by_table, strict=True)
        )
        changed = {name: item for name, item in self.live.items() if name not in self.names}
        changed |= {name: self.live[name] for name in self.names}  # in the order of their rows
        self.release = appended(self.base, changed, self.arrivals, self.likeness)
        self.moved = set()

    def _known(self, name: str, row: int) -> dict[str, Any] | None:
        """What is known of an item so far; `row` is that in the release as it was written."""
        if name in self.live:
            hidden = name in self.hidden
            return None if name in self.gone else known_of(self.live[name], hidden=hidden)
        return None if row == NO_ROW else known_item(self._plain, name)

    def _know(self, name: str, known: Mapping[str, Any] | None) -> None:
        """Replace what is known of an item; None: it was taken away."""
        self.live[name] = live_item(name, known, self.links)
        (self.gone.add if known is None else self.gone.discard)(name)
        (self.hidden.add if known and known.get("hidden") else self.hidden.discard)(name)
        self.moved.add(name)

    @cached_property
    def _plain(self) -> Overlay:
        return Overlay.over(self.base, agreed=self.agreed)


def live_item(name: str, known: Mapping[str, Any] | None, shared: dict[Link, Link]) -> LiveItem:
    """What is known of an item, as an appended release takes it; `shared` are links of others."""
    known = known or {}
    return LiveItem(
        id=name,
        title=known.get("title"),
        created_at=known.get("created_at"),
        attributes=known.get("attributes") or NOTHING,
        tags=tuple(
            shared.setdefault(link, link)
            for tag in known.get("tags") or ()
            for link in [(tag.get("category") or "tag", tag["tag"], float(tag.get("weight", 1.0)))]
        ),
        domains=tuple(
            shared.setdefault(link, link)
            for domain in known.get("domains") or ()
            for link in [(domain["domain"], float(domain.get("weight", 1.0)))]
        ),
    )


def known_of(item: LiveItem, *, hidden: bool) -> dict[str, Any]:
    """An item in the form of `recommender.inbox.known`, as `live_item` took it."""
    return {
        "id": item.id,
        "title": item.title,
        "created_at": item.created_at,
        "hidden": hidden,
        "attributes": dict(item.attributes) or None,
        "tags": [
            {"category": category, "tag": name, "weight": weight}
            for category, name, weight in item.tags
        ],
        "domains": [{"domain": name, "weight": weight} for name, weight in item.domains],
    }


def placed(
    places: NewItems, base: Release, items: Sequence[LiveItem]
) -> tuple[F32, list[tuple[I32, F32]]]:
    """The unit vectors (n, l) of new items, zeros where nothing is like one, and their rows.

    The rows are those of `placed_rows`, by each of the release's tables: the items that each one
    proposes, and their scores.
    """
    units = np.zeros((len(items), base.likeness.shape[1]), np.float32)
    shape = len(items), WIDTH
    by_table = [(np.full(shape, -1, np.int32), np.zeros(shape, np.float32)) for _ in base.tables]
    step = max(1, TOGETHER // max(len(base.items), 1))
    for start in range(0, len(items), step):
        some = items[start : start + step]
        known = [
            NewItem(
                title=item.title or "",
                tags=tuple(name for _, name, _ in item.tags),
                domains=tuple(name for name, _ in item.domains),
                attributes=item.attributes,
            )
            for item in some
        ]
        own = slice(start, start + step)
        near, likeness, units[own] = _near(places, base, known)
        people = np.array([item.people for item in some], np.int64)
        for table, (neighbours, scores) in zip(base.tables, by_table, strict=True):
            neighbours[own], scores[own] = placed_rows(table, near, likeness, people)
    return units, by_table


def _near(places: NewItems, base: Release, items: Sequence[NewItem]) -> tuple[I32, F32, F32]:
    """The items of the release nearest to each, their cosines, and its short unit vector (n, l)."""
    width = base.likeness.shape[1]
    units = np.zeros((len(items), width), np.float32)
    near: I32 = np.zeros((len(items), NEAREST), np.int32)
    likeness: F32 = np.zeros((len(items), NEAREST), np.float32)
    for source, (numbers, vectors) in places.locate_many(items).items():
        closest, cosines = places.nearest_many(source, vectors, NEAREST)
        near[numbers, : closest.shape[1]], likeness[numbers, : closest.shape[1]] = closest, cosines
        if source == "spectral":
            short = vectors[:, :width]
            lengths = np.linalg.norm(short, axis=1, keepdims=True)
            units[numbers, : short.shape[1]] = short / np.where(lengths > 0, lengths, 1)
    units[~likeness.any(axis=1)] = 0
    return near, likeness, units
