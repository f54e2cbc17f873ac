"""From requests to arrays: whose history, which session, which tags, and what is never shown.

A subject's history is the sum of what a request gives. When a session runs beside a history,
the session gets `SESSION_SHARE` of the weight: what somebody looks for now counts more than what
they liked for years. In a mix each part gets a share in proportion to its weight.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.arrays import I32, I64, Flags
from graph.errors import InputError, NotFound
from graph.model import NO_ROW
from graph.weighting import HIDE
from recommender.inbox.facts import PURPOSES
from recommender.overlay.histories import in_order
from recommender.overlay.overlay import Overlay
from recommender.overlay.sessions import together
from recommender.ranking.attributes import as_texts
from recommender.ranking.candidates import Subjects
from recommender.ranking.filters import Filters
from recommender.ranking.request import (
    EVERYTHING,
    SESSION_DECAY,
    SESSION_SHARE,
    Filter,
    NewItem,
    Request,
    changed,
)
from recommender.ranking.sources import (
    FRIENDS,
    IN_DOMAIN,
    POPULAR,
    TAGS,
    TRENDING,
    AskedTags,
    friends_who_chose,
)
from recommender.ranking.unknown_names import notes_on, unknown
from recommender.releases.rows import Rows
from recommender.serving.circles import FEWEST, Circles
from recommender.serving.new_items import NewItems, Placed
from recommender.serving.subject import Draft, Kinds, Subject
from recommender.serving.subject_arrays import (
    asked_friends,
    chosen_lately,
    in_order_of,
    interests_of,
    joined,
    newest_of,
    reads_of,
    starts_of,
)

TAG_ITEMS = 50  # best known items with a tag, which stand for it in a mix
MOST_FRIENDS = 1_000  # of one newcomer
NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})
MOST_MEMBERS = 10  # of a household
ASKED = "asked:"  # kind of history entries that stand for a tag of a mix
SHARED = "shared:"  # … that so many users like the one named chose


class SubjectReader:
    """Turns requests into subjects over one release."""

    def __init__(self, overlay: Overlay, filters: Filters, circles: Circles) -> None:
        """Hold what is served; nothing is read yet."""
        self._overlay = overlay
        self._release = release = overlay.release
        self._filters = filters
        self._circles = circles
        self._new_items = NewItems(release, filters)

    def read(self, request: Request, now: int, share: float | None = None) -> Subject:
        """The subject of a request; unknown ids are noted, erased users are unknown.

        `share` is that of a session where the request names none; None: `SESSION_SHARE`.
        """
        self.check(request)
        if request.session_share is not None:
            share = request.session_share
        draft = Draft(request, SESSION_SHARE if share is None else share)
        if request.mix:
            self._mix(draft)
        elif request.similar_to is not None:
            self._circle(draft, request.similar_to)
        elif request.new_item is not None:
            self._new_item(draft, request.new_item)
        else:
            self._sum(draft, now)
        if request.exclude:
            rows = map(self._release.items.row, request.exclude)
            draft.blocked.append([row for row in rows if row != NO_ROW])
        wanted = request.filter
        if not wanted.allows_all:
            wanted = self._filter(draft, now)
        self._follow_trends(draft, wanted, now)
        subject = draft.finished(wanted, self._overlay.uncounted)
        read = 0 if request.similar else self._release.reads(subject.items)
        return changed(subject, reads=read) if read else subject

    def _filter(self, draft: Draft, now: int) -> Filter:
        """The request's filter, with what the subject says and with times filled in."""
        request = draft.request
        draft.notes += notes_on(request.filter, self._release, self._filters)
        wanted, own = request.filter.asks_for, NO_ATTRIBUTES
        if request.user is not None and wanted:
            own = self._overlay.attributes_of(request.user)
        missing = sorted(name for name in wanted if not as_texts(own.get(name)))
        if missing:
            draft.notes.append(
                f"the subject has no {', '.join(missing)}, so no item meets what the filter says "
                "about it"
            )
        return request.filter.of(own).at(now)

    def check(self, request: Request) -> None:
        """An `InputError` when parts of the request do not go together."""
        alone = bool(request.user or request.items or request.tags)
        circle, new = request.similar_to is not None, request.new_item is not None
        if sum(map(bool, (alone, request.mix, request.household, circle, new))) > 1:
            raise InputError(
                "a subject is a user, items and tags, or a mix, or a household, or similar_to, "
                "or a new item"
            )
        if request.sessions and (request.mix or circle or new):
            raise InputError("a session goes with a user, items and tags, or with a household")
        if request.only_seen and request.user is None:
            raise InputError("only a user can be shown what they have seen; name the user")
        if request.household and request.filter.asks_for:
            raise InputError("a filter compares items with one user, not with a household")
        if len(request.sessions) > MOST_MEMBERS:
            raise InputError(f"a request names at most {MOST_MEMBERS} sessions")
        if len(request.household) > MOST_MEMBERS:
            raise InputError(f"a household has at most {MOST_MEMBERS} members")
        if request.interests and request.household:
            raise InputError("interests can be shown for one user, not for a household")
        share = request.session_share
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"session_share is {share}; it is a share, 0 to 1")

    def _sum(self, draft: Draft, now: int) -> None:
        request = draft.request
        if request.user is not None:
            draft.user_row = self._user(draft, request.user)
            if request.only_seen:
                draft.seen = draft.known or _row_of(self._release.blocked, draft.user_row)
        if len(draft.items):
            draft.served_by = "history"
        session = self._session(draft)
        kinds = ["view"] * len(session)
        if request.sessions:
            self._add_sessions(draft, session, kinds, now)
        if session:
            draft.served_by = "session"
            share = draft.session_share
            draft.scale(1 - share)
            start = len(draft.items)
            weights = list(session.values())
            draft.add(list(session), weights, kinds, self._overlay.weigher.of_session(weights))
            draft.scale(share if start else 1.0, start)
            draft.blocked.append(list(session))
            self._go_on(draft, session)
        for name in request.tags:
            rows = self._filters.tag_rows(name).tolist()
            draft.tags += rows
            if not rows:
                draft.notes.append(unknown("tag", name, self._release.tag_names))
        if draft.tags and not len(draft.items):
            draft.served_by = TAGS
        elif draft.user_row != NO_ROW and (not len(draft.items) or request.source == FRIENDS):
            self._ask_friends(draft)

    def _go_on(self, draft: Draft, session: Mapping[int, float]) -> None:
        """Put a session behind the history's order: the newer an item, the more it weighs.

        Equal weights say nothing of an order, so nothing is foretold from such a session.
        """
        if self._release.sequence is None:
            return
        rows = np.array(sorted(session, key=lambda row: session[row]), np.int32)
        if len(rows) > 1 and len(set(session.values())) == 1:
            draft.in_order = rows[:0]
            return
        before = draft.in_order
        draft.in_order = np.concatenate([before[~np.isin(before, rows)], rows])

    def _ask_friends(self, draft: Draft) -> None:
        """Ask the friends of somebody without a history, but for who opted out of anything.

        How many of them chose an item is shown: who opted out is in no such number.
        """
        overlay, users = self._overlay, self._release.users
        known = self._release.friends.of(draft.user_row)
        agreeing = [
            row
            for row in known[~overlay.gone[known]].tolist()
            if all(overlay.agrees(users.id(row), purpose) for purpose in PURPOSES)
        ][:MOST_FRIENDS]
        if friends_who_chose(self._release, np.array(agreeing, np.int64)).any():
            draft.friends, draft.served_by = agreeing, FRIENDS

    def _follow_trends(self, draft: Draft, wanted: Filter, now: int) -> None:
        """Show who has no history what many chose lately; by the day, or else by the week."""
        user, only = draft.request.user, draft.request.source == TRENDING
        if self._overlay.trends is None or not (only or (user and draft.served_by == POPULAR)):
            return
        if not only and user and self._overlay.why_impersonal(user) is not None:
            return
        allowed = self._filters.mask(wanted)
        for window in ("day", "week"):
            rows, people = self._overlay.trending(window, now)
            there = allowed[rows]
            if there.any():
                draft.trending = np.stack([rows[there].astype(float), people[there]])
                draft.served_by = TRENDING
                return

    def _session(self, draft: Draft) -> dict[int, float]:
        items = self._release.items
        rows = {name: items.row(name) for name in draft.request.items}
        unknown = [name for name, row in rows.items() if row == NO_ROW]
        if unknown:
            draft.notes.append(f"these items are not known: {', '.join(map(repr, unknown[:5]))}")
        return {rows[name]: w for name, w in draft.request.items.items() if rows[name] != NO_ROW}

    def _add_sessions(
        self, draft: Draft, session: dict[int, float], kinds: list[str], now: int
    ) -> None:
        """Add what was done in the sessions that a request names, older than its own items."""
        running = []
        for name in draft.request.sessions:
            open_session = self._overlay.sessions.running(name, now)
            if open_session is None:
                draft.notes.append(f"nothing is known about a running session {name!r}")
                continue
            running.append(open_session)
        heard = together(running)
        hides = [kind.lower() == HIDE for kind in self._overlay.kinds]
        seen_too = draft.request.include_seen or draft.request.only_seen
        draft.blocked.append(
            [row for row, kind in heard[["item", "kind"]].tolist() if hides[kind] or not seen_too]
        )
        users = {
            user
            for user in (draft.request.user, *(self._overlay.own_name(s.user) for s in running))
            if user
        }
        why = next(filter(None, map(self._overlay.why_impersonal, sorted(users))), None)
        if why is not None:
            if why not in draft.notes:
                draft.notes.append(why)
            return
        hidden = {row for row, kind in heard[["item", "kind"]].tolist() if hides[kind]}
        for row, kind, liked, _ in reversed(heard.tolist()):
            if liked and row not in hidden and row not in session:
                session[row] = SESSION_DECAY ** len(session)
                kinds.append(self._overlay.kinds[kind])

    def _mix(self, draft: Draft) -> None:
        for part in draft.request.mix:
            if not part.weight > 0:
                raise InputError(f"the weight of {part.kind} {part.name!r} must be above 0")
            start = len(draft.items)
            if part.kind == "user":
                self._user(draft, part.name)
            elif part.kind == "item":
                row = self._release.items.row(part.name)
                if row == NO_ROW:
                    draft.notes.append(f"the item {part.name!r} is not known")
                else:
                    draft.add([row], [1.0], ["view"])
                    draft.blocked.append([row])
            elif part.kind == "tag":
                carriers = self._carriers(part.name)
                if not carriers:
                    draft.notes.append(unknown("tag", part.name, self._release.tag_names))
                draft.add(carriers, [1.0] * len(carriers), [ASKED + part.name] * len(carriers))
            else:
                raise InputError(
                    f"a part of a mix must be a user, an item or a tag, not {part.kind!r}"
                )
            draft.scale(part.weight, start)
        draft.in_order = draft.in_order[:0]  # several histories have no common order
        if len(draft.items):
            draft.served_by = "mix"

    def _new_item(self, draft: Draft, item: NewItem) -> None:
        """Use its vectors in place of a history; the items it is related to are not shown."""
        placed = self._new_items.locate(item)
        draft.placed, draft.tags = placed, placed.tags
        draft.blocked.append(placed.related)
        draft.notes += placed.notes
        if placed.source is not None:
            draft.served_by = "new item"
        elif placed.domains:
            draft.served_by = IN_DOMAIN
        elif placed.tags:
            draft.served_by = TAGS
        if placed.source is None:
            draft.notes.append("nothing that is known about the new item says where it belongs")

    def _circle(self, draft: Draft, user: str) -> None:
        """Use what similar users share as the history; items that the user knows are not shown."""
        try:
            circle = self._circles.of(user, self._overlay)
        except (NotFound, InputError) as error:
            draft.notes.append(str(error))
            return
        counts = self._circles.shared(circle, self._filters.mask(Filter()))
        rows = np.flatnonzero(counts).tolist()
        draft.blocked.append(self._never(draft.request, int(self._release.users.row(user))))
        shares = (counts[rows] / len(circle)).tolist()
        draft.add(rows, shares, [f"{SHARED}{counts[row]}" for row in rows])
        if rows:
            draft.served_by = "similar users"
        else:
            draft.notes.append(f"no item is shared by {FEWEST} users like {user!r}")

    def _user(self, draft: Draft, user: str) -> int:
        """Add a user's history and what the user must not be shown; the user's row."""
        row = self._overlay.user_row(user)
        live = self._overlay.history(user)
        impersonal = self._overlay.why_impersonal(user)
        if impersonal is not None:
            draft.notes.append(impersonal)
            if live is not None:
                draft.blocked.append(live.hidden)
            elif row != NO_ROW:
                draft.blocked.append(_row_of(self._release.hides, row))
            return NO_ROW
        if live is not None:
            draft.add(live.items, live.weights, live.kinds, live.newest)
            if self._release.sequence is not None:
                draft.in_order = in_order(live.items, live.at)
            draft.known = [*live.seen.tolist(), *live.hidden.tolist()]
            seen_too = draft.request.include_seen or draft.request.only_seen
            draft.blocked.append(live.hidden if seen_too else draft.known)
            return row
        if row == NO_ROW:
            draft.notes.append(f"the user {user!r} is not known yet")
            return row
        histories, names = self._release.histories, self._release.event_kinds
        own = histories.span(row)
        values = histories.values
        draft.add(
            histories.indices[own],
            [] if values is None else values[own],
            Kinds(self._release.history_kinds[own], names),
            None if self._release.newest is None else self._release.newest[own],
        )
        draft.blocked.append(self._never(draft.request, row))
        if self._release.sequence is not None:
            draft.in_order = self._in_order(row)
        return row

    def _in_order(self, row: int) -> I32:
        """A user's history in the order of time."""
        own = self._release.histories.span(row)
        return in_order(self._release.histories.indices[own], self._release.history_times[own])

    def _never(self, request: Request, row: int) -> I32:
        """What a user must not be shown."""
        seen_too = request.include_seen or request.only_seen
        return _row_of(self._release.hides if seen_too else self._release.blocked, row)

    def _carriers(self, name: str) -> list[int]:
        """The best known items that carry a tag."""
        carriers = self._release.carriers
        own = [carriers.of(row) for row in self._filters.tag_rows(name).tolist()]
        rows = np.unique(np.concatenate([np.zeros(0, np.int32), *own]))
        order = np.argsort(-self._release.popularity[rows], kind="stable")[:TAG_ITEMS]
        best: list[int] = rows[order].tolist()
        return best

    # ── arrays ───────────────────────────────────────────────────────────────────────────

    def arrays(self, known: Sequence[Subject]) -> tuple[Subjects, AskedTags]:
        """All subjects as arrays, and the tags they ask for."""
        keys = [
            (
                None if subject.filter.allows_all else subject.filter,
                None if subject.seen is None else tuple(subject.seen.tolist()),
            )
            for subject in known
        ]
        places = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        masks = [self._mask(wanted or EVERYTHING, seen) for wanted, seen in places]
        subjects = Subjects(
            indptr=starts_of([subject.items for subject in known]),
            items=joined([subject.items for subject in known]),
            weights=joined([subject.weights for subject in known]),
            blocked_indptr=starts_of([subject.blocked for subject in known]),
            blocked=joined([subject.blocked for subject in known]),
            masks=masks[0][None, :] if len(masks) == 1 else np.stack(masks),
            mask=np.array([places[key] for key in keys], np.int32),
            interests=interests_of(known),
            newest=newest_of(known),
            reads=reads_of(known),
            queries=self._wanted([subject.placed for subject in known])
            | asked_friends(known)
            | chosen_lately(known)
            | in_order_of([subject.in_order for subject in known]),
        )
        return subjects, self.tags([subject.tags for subject in known])

    def _wanted(self, placed: Sequence[Placed | None]) -> dict[str, npt.NDArray[Any]]:
        """The query vectors of new items for each source, (b, …); empty without new items."""
        queries: dict[str, npt.NDArray[Any]] = {}
        for row, item in enumerate(placed):
            if item is None:
                continue
            domains = np.zeros(len(self._release.domains), np.float32)
            domains[item.domains] = 1
            vectors = {source: item.vector(source) for source in item.parts} | {IN_DOMAIN: domains}
            for source, vector in vectors.items():
                if source not in queries:
                    queries[source] = np.zeros((len(placed), len(vector)), np.float32)
                queries[source][row] = vector
        return queries

    def _mask(self, wanted: Filter, seen: tuple[int, ...] | None) -> Flags:
        mask: Flags = self._filters.mask(wanted)
        if seen is None:
            return mask
        only = np.zeros_like(mask)
        only[list(seen)] = mask[list(seen)]
        return only

    def tags(self, wanted: Sequence[Sequence[int]]) -> AskedTags:
        """The tags that subjects ask for, by their rows."""
        return AskedTags(tuple(wanted), len(self._release.tags))

    def users(self, rows: I64) -> Subjects:
        """Known users as subjects: their histories, and what they have seen blocked."""
        histories, blocked = self._release.histories, self._release.blocked
        starts, at = histories.take(rows)
        shut_starts, shut = blocked.take(rows)
        weights = np.ones(len(at), np.float32)
        read = rows[:0] if self._release.sequence is None else rows
        return Subjects(
            indptr=starts,
            items=histories.indices[at],
            weights=weights if histories.values is None else histories.values[at],
            newest=None if self._release.newest is None else self._release.newest[at],
            reads=self._reads(np.diff(starts)),
            blocked_indptr=shut_starts,
            blocked=blocked.indices[shut],
            masks=self._filters.mask(Filter())[None, :],
            mask=np.zeros(len(rows), np.int32),
            queries=in_order_of([self._in_order(row) for row in read.tolist()]),
        )

    def _reads(self, sizes: I64) -> I32 | None:
        """(b,) which of the release's tables histories of these sizes read; None: the first."""
        numbers = [self._release.reads_by(size) for size in sizes.tolist()]
        return np.array(numbers, np.int32) if any(numbers) else None


def _row_of(rows: Rows, row: int) -> I32:
    return np.zeros(0, np.int32) if row == NO_ROW else rows.of(row)
