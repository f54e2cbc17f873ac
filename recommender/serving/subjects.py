"""From requests to arrays: whose history, which session, which tags, and what is never shown.

A subject's history is the sum of what a request gives. When a session runs beside a history,
the session gets `SESSION_SHARE` of the weight: what a person looks for now outweighs what the
person liked for years. A mix gives each part the share that its weight says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graph.errors import InputError, NotFound
from graph.model import NO_ROW
from recommender.ranking.candidates import F32, I32, Subjects
from recommender.ranking.contexts import Context
from recommender.ranking.filters import Filters
from recommender.ranking.request import SESSION_SHARE, Filter, NewItem, Request
from recommender.ranking.sources import IN_DOMAIN, TAGS
from recommender.releases.release import Release
from recommender.serving.circles import FEWEST, Circles
from recommender.serving.new_items import NewItems, Placed

TAG_ITEMS = 50  # best known items of a tag that stand for it in a mix
MOST_MEMBERS = 10  # of a household
ASKED = "asked:"  # kind of a history entry that stands for a tag of a mix
SHARED = "shared:"  # … that so many users like the one named chose


@dataclass
class Subject:
    """One request with ids turned into rows."""

    request: Request
    filter: Filter  # with ages turned into times
    session_share: float = SESSION_SHARE
    contexts: tuple[Context, ...] = ()  # that hold
    user_row: int = NO_ROW
    items: list[int] = field(default_factory=list)  # the history
    weights: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # what was done to each
    blocked: list[int] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    seen: list[int] | None = None  # nothing but these may be shown
    served_by: str = "popular"
    notes: list[str] = field(default_factory=list)
    segments: tuple[str, ...] = ()  # those of rules first, then the learned one
    interests: list[int] = field(default_factory=list)  # of each history entry, where several
    placed: Placed | None = None  # a new item

    def add(self, items: Sequence[int], weights: Sequence[float], kinds: Sequence[str]) -> None:
        """Lengthen the history."""
        self.items += items
        self.weights += weights
        self.kinds += kinds

    def scale(self, total: float, start: int = 0) -> None:
        """Make the weights from `start` on sum to `total`."""
        old = sum(self.weights[start:])
        if old > 0:
            self.weights[start:] = [weight * total / old for weight in self.weights[start:]]


class SubjectReader:
    """Turns requests into subjects over one release."""

    def __init__(self, release: Release, filters: Filters, circles: Circles) -> None:
        """Hold the release; nothing is read yet."""
        self._release = release
        self._filters = filters
        self._circles = circles
        self._new_items = NewItems(release, filters)

    def read(
        self, request: Request, now: int, erased: frozenset[str], share: float | None = None
    ) -> Subject:
        """The subject of a request; unknown ids are noted, `erased` users are unknown.

        `share` is that of a session where the request names none; None: `SESSION_SHARE`.
        """
        self.check(request)
        if request.session_share is not None:
            share = request.session_share
        one = Subject(
            request,
            request.filter.at(now),
            session_share=SESSION_SHARE if share is None else share,
        )
        if request.mix:
            self._mix(one, erased)
        elif request.similar_to is not None:
            self._circle(one, request.similar_to, erased)
        elif request.new_item is not None:
            self._new_item(one, request.new_item)
        else:
            self._sum(one, erased)
        rows = map(self._release.items.row, request.exclude)
        one.blocked += [row for row in rows if row != NO_ROW]
        return one

    def knows(self, user: str, erased: frozenset[str]) -> bool:
        """Whether a user is in the release and not erased."""
        return user not in erased and user in self._release.users

    def check(self, request: Request) -> None:
        """An `InputError` when what is asked for does not go together."""
        alone = bool(request.user or request.items or request.tags)
        circle, new = request.similar_to is not None, request.new_item is not None
        if sum(map(bool, (alone, request.mix, request.household, circle, new))) > 1:
            raise InputError(
                "a subject is a user, items and tags, or a mix, or a household, or similar_to, "
                "or a new item"
            )
        if request.only_seen and request.user is None:
            raise InputError("only what was seen can be shown to a user alone; name the user")
        if len(request.household) > MOST_MEMBERS:
            raise InputError(f"a household has at most {MOST_MEMBERS} members")
        if request.interests and request.household:
            raise InputError("interests are those of one subject, not of a household")
        share = request.session_share
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"session_share is {share}; it is a share, 0 to 1")

    def _sum(self, one: Subject, erased: frozenset[str]) -> None:
        request = one.request
        if request.user is not None:
            one.user_row = self._user(one, request.user, erased)
            if request.only_seen:
                one.seen = self._row_of("blocked", one.user_row)
        if one.items:
            one.served_by = "history"
        session = self._session(one)
        if session:
            one.served_by = "session"
            share = one.session_share
            one.scale(1 - share)
            start = len(one.items)
            one.add(list(session), list(session.values()), ["view"] * len(session))
            one.scale(share if start else 1.0, start)
            one.blocked += session
        for name in request.tags:
            rows = self._filters.tag_rows(name).tolist()
            one.tags += rows
            if not rows:
                one.notes.append(f"nobody knows the tag {name!r}")
        if one.tags and not one.items:
            one.served_by = TAGS

    def _session(self, one: Subject) -> dict[int, float]:
        items = self._release.items
        rows = {name: items.row(name) for name in one.request.items}
        unknown = [name for name, row in rows.items() if row == NO_ROW]
        if unknown:
            one.notes.append(f"nobody knows the items {', '.join(map(repr, unknown[:5]))}")
        return {rows[name]: w for name, w in one.request.items.items() if rows[name] != NO_ROW}

    def _mix(self, one: Subject, erased: frozenset[str]) -> None:
        for part in one.request.mix:
            if not part.weight > 0:
                raise InputError(f"the weight of {part.kind} {part.name!r} must be above 0")
            start = len(one.items)
            if part.kind == "user":
                self._user(one, part.name, erased)
            elif part.kind == "item":
                row = self._release.items.row(part.name)
                if row == NO_ROW:
                    one.notes.append(f"nobody knows the item {part.name!r}")
                else:
                    one.add([row], [1.0], ["view"])
                    one.blocked.append(row)
            elif part.kind == "tag":
                carriers = self._carriers(part.name)
                if not carriers:
                    one.notes.append(f"nobody knows the tag {part.name!r}")
                one.add(carriers, [1.0] * len(carriers), [ASKED + part.name] * len(carriers))
            else:
                raise InputError(f"a part of a mix is a user, an item or a tag, not {part.kind!r}")
            one.scale(part.weight, start)
        if one.items:
            one.served_by = "mix"

    def _new_item(self, one: Subject, item: NewItem) -> None:
        """Its place stands for a history; items it is related to are known, and not shown."""
        placed = self._new_items.place(item)
        one.placed, one.tags = placed, placed.tags
        one.blocked += placed.related
        one.notes += placed.notes
        if placed.source is not None:
            one.served_by = "new item"
        elif placed.domains:
            one.served_by = IN_DOMAIN
        elif placed.tags:
            one.served_by = TAGS
        if placed.source is None:
            one.notes.append("nothing is known of the new item that tells where it belongs")

    def _circle(self, one: Subject, user: str, erased: frozenset[str]) -> None:
        """What users like one share becomes the history; what the one knows is not shown."""
        try:
            circle = self._circles.of(user, erased)
        except (NotFound, InputError) as error:
            one.notes.append(str(error))
            return
        counts = self._circles.shared(circle)
        rows = np.flatnonzero(counts).tolist()
        one.blocked += self._never(one.request, int(self._release.users.row(user)))
        shares = (counts[rows] / len(circle)).tolist()
        one.add(rows, shares, [f"{SHARED}{counts[row]}" for row in rows])
        if rows:
            one.served_by = "similar users"
        else:
            one.notes.append(f"no item is shared by {FEWEST} users like {user!r}")

    def _user(self, one: Subject, user: str, erased: frozenset[str]) -> int:
        """Add a user's history and what the user must not be shown; the user's row."""
        row = NO_ROW if user in erased else self._release.users.row(user)
        if row == NO_ROW:
            one.notes.append(f"nobody knows the user {user!r} yet")
            return row
        arrays = self._release.arrays
        own = slice(*arrays["histories.indptr"][row : row + 2])
        names = self._release.manifest["event_kinds"]
        one.add(
            arrays["histories.indices"][own].tolist(),
            arrays["histories.values"][own].tolist(),
            [names[kind] for kind in arrays["histories.kinds"][own].tolist()],
        )
        one.blocked += self._never(one.request, int(row))
        return int(row)

    def _never(self, request: Request, row: int) -> list[int]:
        """What a user must not be shown."""
        seen_too = request.include_seen or request.only_seen
        return self._row_of("hides" if seen_too else "blocked", row)

    def _row_of(self, matrix: str, row: int) -> list[int]:
        if row == NO_ROW:
            return []
        arrays = self._release.arrays
        start, stop = arrays[f"{matrix}.indptr"][row : row + 2]
        entries: list[int] = arrays[f"{matrix}.indices"][start:stop].tolist()
        return entries

    def _carriers(self, name: str) -> list[int]:
        """The best known items that carry a tag."""
        found = [self._row_of("carriers", row) for row in self._filters.tag_rows(name).tolist()]
        rows = np.unique(np.array(list(chain.from_iterable(found)), np.int64))
        order = np.argsort(-self._release.arrays["popularity"][rows], kind="stable")[:TAG_ITEMS]
        best: list[int] = rows[order].tolist()
        return best

    # ── arrays ───────────────────────────────────────────────────────────────────────────

    def arrays(self, known: Sequence[Subject]) -> tuple[Subjects, csr_array]:
        """All subjects as arrays, and the tags they ask for, (b, t)."""
        keys = [(one.filter, None if one.seen is None else tuple(one.seen)) for one in known]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        subjects = Subjects(
            _starts([one.items for one in known]),
            _joined([one.items for one in known], np.int32),
            _joined([one.weights for one in known], np.float32),
            _starts([one.blocked for one in known]),
            _joined([one.blocked for one in known], np.int32),
            np.stack([self._mask(*key) for key in places]),
            np.array([places[key] for key in keys], np.int32),
            _joined([one.interests or [0] * len(one.items) for one in known], np.int32)
            if any(one.interests for one in known)
            else None,
            self._asked([one.placed for one in known]),
        )
        return subjects, self.tags([one.tags for one in known])

    def _asked(self, placed: Sequence[Placed | None]) -> dict[str, F32]:
        """What new items ask of each source, (b, …); nothing where there is no new item."""
        asked: dict[str, F32] = {}
        for row, one in enumerate(placed):
            if one is None:
                continue
            domains = np.zeros(len(self._release.domains), np.float32)
            domains[one.domains] = 1
            told = {source: one.vector(source) for source in one.parts} | {IN_DOMAIN: domains}
            for source, vector in told.items():
                if source not in asked:
                    asked[source] = np.zeros((len(placed), len(vector)), np.float32)
                asked[source][row] = vector
        return asked

    def _mask(self, wanted: Filter, seen: tuple[int, ...] | None) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = self._filters.mask(wanted)
        if seen is None:
            return mask
        only = np.zeros_like(mask)
        only[list(seen)] = mask[list(seen)]
        return only

    def tags(self, asked: Sequence[list[int]]) -> csr_array:
        """(b, t) one where a subject asks for a tag."""
        columns = _joined(asked, np.int64)
        shape = (len(asked), len(self._release.tags))
        return csr_array((np.ones(len(columns), np.float32), columns, _starts(asked)), shape=shape)

    def users(self, rows: npt.NDArray[np.int64]) -> Subjects:
        """Known users with their histories, shown what they have not seen."""
        histories = self._release.matrix("histories")[rows]
        blocked = self._release.matrix("blocked")[rows]
        return Subjects(
            histories.indptr.astype(np.int64),
            histories.indices.astype(np.int32),
            histories.data.astype(np.float32),
            blocked.indptr.astype(np.int64),
            blocked.indices.astype(np.int32),
            self._filters.mask(Filter())[None, :],
            np.zeros(len(rows), np.int32),
        )


def history(one: Subject) -> tuple[I32, F32]:
    """A subject's history as arrays, (h,) item rows and (h,) weights."""
    return np.array(one.items, np.int32), np.array(one.weights, np.float32)


def _starts(lists: Sequence[list[Any]]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)


def _joined(lists: Sequence[list[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.array(list(chain.from_iterable(lists)), dtype)
