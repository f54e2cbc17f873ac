"""The newest facts of the journal as an overlay: they count at once, without a refresh.

One follower belongs to one release. It reads, in order, the facts that came after the release was
made, and makes a new overlay from them. Earlier overlays stay as they are, for requests that still
use them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graph.arrays import F32, I32, I64
from graph.model import NO_ROW, NO_TIME
from recommender.inbox.facts import (
    ALIAS,
    CONSENT,
    DELETE,
    EVENT_UNDONE,
    FEEDBACK,
    ITEM_UNDONE,
    PATCH,
    PURPOSES,
    PUT,
    USER_DELETE,
    USER_PUT,
    USER_UNDONE,
    Row,
)
from recommender.inbox.joining import all_names
from recommender.inbox.journal import Journal
from recommender.inbox.known import item_after
from recommender.overlay.appended import LiveItem, appended
from recommender.overlay.histories import EVENT, Events, LiveUser, Weigher
from recommender.overlay.layers import Layers
from recommender.overlay.overlay import Overlay, hidden_items
from recommender.overlay.sessions import SECONDS, Session, Sessions, taken_up
from recommender.overlay.shown import NOTHING, ShownItems, with_impressions
from recommender.overlay.state import State
from recommender.ranking.filters import Filters
from recommender.releases.release import Release
from recommender.serving.known import known_item
from recommender.serving.live_items import live_item, placed
from recommender.serving.live_sessions import in_sessions
from recommender.serving.new_items import NewItems
from recommender.serving.of_people import attributes_in, consents_in
from recommender.serving.rotating import remembered, rotated
from recommender.serving.trend_counts import TrendCounts

CHUNK = 20_000  # facts read at a time: each takes a kilobyte meanwhile
ITEM_KINDS = frozenset(
    {"items", "item_tags", "item_domains", "item_relations", PUT, PATCH, DELETE, ITEM_UNDONE}
)


@dataclass
class Follower:
    """Reads a journal over one release; one thread at a time."""

    base: Release
    journal: Journal
    weigher: Weigher
    sequence: int
    kinds: list[str]
    users: Layers[LiveUser] = field(default_factory=Layers)
    consent: Layers[Mapping[str, bool]] = field(default_factory=Layers)
    opted_out: set[int] = field(default_factory=set)  # rows of users, see `Overlay.uncounted`
    uncounted: I32 | None = None  # the same as an array; None: it has changed
    attributes: Layers[Mapping[str, Any]] = field(default_factory=Layers)
    shown: Layers[ShownItems] = field(default_factory=Layers)  # and not clicked
    items: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # None: taken away
    people: dict[str, set[str]] = field(default_factory=dict)  # new item -> who chose it
    rows: dict[str, tuple[I32, F32]] = field(default_factory=dict)  # new item -> its place
    names: dict[str, int] = field(default_factory=dict)  # new item -> its row
    live: dict[str, LiveItem] = field(default_factory=dict)  # of `items`, as a release takes them
    undone: set[str] = field(default_factory=set)  # items whose loads were taken back
    aliases: Layers[str] = field(default_factory=Layers)  # anonymous id -> whose it is
    state: State = field(default_factory=State)
    counting: TrendCounts | None = None
    sessions: Layers[Session] = field(default_factory=Layers)
    session_seconds: int = SECONDS
    agreed: frozenset[str] = frozenset(PURPOSES)  # see `Overlay`
    recalled: bool = False  # whether what came before `sequence` and still counts was read
    release: Release | None = None  # with the newer items
    changed: int = 0  # the last fact that changed anything but one user's history
    touched: Layers[int] = field(default_factory=Layers)  # user -> the last fact about them

    @classmethod
    def over(
        cls,
        base: Release,
        journal: Journal,
        session_seconds: int = SECONDS,
        agreed: frozenset[str] = frozenset(PURPOSES),
    ) -> "Follower":
        """Begin after the last fact that the release contains; nothing is read yet.

        A session ends `session_seconds` after its last event.
        """
        return cls(
            base=base,
            journal=journal,
            weigher=Weigher(base),
            sequence=base.heard(journal.identity()),
            kinds=list(base.event_kinds),
            release=base,
            session_seconds=session_seconds,
            agreed=agreed,
        )

    def overlay(self, state: State, last: Overlay | None) -> Overlay:
        """The newest overlay; `last` itself if there is no newer fact and the state is the same.

        Raises:
            StoreError: the journal does not answer; the last overlay still holds.
        """
        self.state = state
        self.trend_counts.without_erased(state)
        newest = self.journal.last_sequence()
        if newest and not self.recalled:
            self._recall()
        if newest > self.sequence:
            while facts := self.journal.facts_after(self.sequence, CHUNK):
                self._hear(facts)
        release = self.release or self.base
        if self.uncounted is None:
            self.uncounted = np.array(sorted(self.opted_out), np.int32)
        trends = self.trend_counts.trends
        if last is not None and (last.sequence, last.state) == (self.sequence, state):
            return replace(last, trends=trends) if last.trends is None else last
        same = last is not None and last.release is release and last.state.hidden == state.hidden
        return Overlay(
            release=release,
            state=state,
            hidden=last.hidden if last is not None and same else self._hidden(release, state),
            weigher=self.weigher,
            users=self.users,
            kinds=tuple(self.kinds),
            consent=self.consent,
            uncounted=self.uncounted,
            agreed=self.agreed,
            attributes=self.attributes,
            sessions=Sessions(self.sessions, self.session_seconds),
            shown=self.shown,
            aliases=self.aliases,
            trends=trends,
            sequence=self.sequence,
            journal=self.journal.identity(),
            changed=self.changed,
            touched=self.touched,
        )

    @property
    def trend_counts(self) -> TrendCounts:
        """What is chosen lately, by all that was heard."""
        if self.counting is None:
            self.counting = TrendCounts.over(self.base, self.weigher, self.agreed)
        return self.counting

    def _recall(self) -> None:
        """Read what no release holds, or not all of it: consent, aliases, sessions, lists."""
        self._agree(self.journal.standing_facts(self.sequence))
        self.aliases = Layers(all_names(self.journal))
        events = self.journal.session_events(self.sequence, self.session_seconds)
        rows = self.base.items.rows([str(fact.payload["item"]) for fact in events])
        known = [fact for fact, row in zip(events, rows.tolist(), strict=True) if row != NO_ROW]
        if known:
            self._take_up_sessions(known, self._entries(known, rows[rows != NO_ROW]))
        before = remembered(self.journal.path, self.sequence, self._rows_of)
        self.shown = self.shown.with_(before)
        self.recalled = True

    def _hear(self, facts: Sequence[Row], *, again: bool = False) -> None:
        """Apply facts in order; `again`: the journal is being read anew after an erasure."""
        events: list[Row] = []
        touched: set[str] = set()
        changed: dict[str, list[Row]] = {}
        shown: list[Row] = []
        about: list[Row] = []
        for fact in facts:
            if fact.kind in ("events", EVENT_UNDONE):
                if events and events[-1].kind != fact.kind:
                    self._take_up(events, touched)
                    events = []
                events.append(fact)
            elif fact.kind in ITEM_KINDS:
                name = fact.payload.get("item") or fact.payload.get("id") or fact.payload["source"]
                changed.setdefault(str(name), []).append(fact)
            elif fact.kind in FEEDBACK:
                shown.append(fact)
            elif fact.kind == ALIAS:
                self._take_up(events, touched)
                self.shown = self.shown.with_(rotated(self.shown, shown, self._rows_of))
                events, shown = [], []
                self._join(fact, touched)
            elif fact.kind in (CONSENT, USER_PUT, USER_UNDONE, "users"):
                about.append(fact)
            elif fact.kind == USER_DELETE:
                self.changed = max(self.changed, fact.sequence)
                if not again:
                    self._begin_again()
                    return
        for name, own in changed.items():
            self._change(name, own)
        self._agree(about)
        self.attributes = self.attributes.with_(attributes_in(about))
        self._take_up(events, touched)
        self.shown = self.shown.with_(rotated(self.shown, shown, self._rows_of))
        self._note(facts)
        self.sequence = facts[-1].sequence
        self.users, self.consent = self.users.settled(), self.consent.settled()
        begun = facts[-1].acknowledged - self.session_seconds
        self.sessions = self.sessions.settled(lambda session: session.last >= begun)
        self.attributes, self.shown = self.attributes.settled(), self.shown.settled()
        if changed or touched:
            self._locate([*changed, *touched])

    def _begin_again(self) -> None:
        """Read the journal again from the start: it has dropped all facts of an erased person."""
        fresh = Follower.over(self.base, self.journal, self.session_seconds, self.agreed)
        self.sequence, self.kinds, self.release = fresh.sequence, fresh.kinds, fresh.release
        self.users, self.consent, self.items = fresh.users, fresh.consent, fresh.items
        self.attributes, self.sessions = fresh.attributes, fresh.sessions
        self.shown, self.opted_out, self.uncounted = fresh.shown, fresh.opted_out, None
        self.counting = None
        self.trend_counts.without_erased(self.state)
        self.people, self.rows, self.names = fresh.people, fresh.rows, fresh.names
        self.undone, self.live = fresh.undone, fresh.live
        self.touched = fresh.touched
        self._recall()
        while facts := self.journal.facts_after(self.sequence, CHUNK):
            self._hear(facts, again=True)

    def _note(self, facts: Sequence[Row]) -> None:
        """Note the number of the last fact about each user, and of the last about the catalogue."""
        about_users: dict[str, int] = {}
        for fact in facts:
            if fact.kind == "events":
                about_users[str(fact.payload["user"])] = fact.sequence
                if str(fact.payload["item"]) not in self.names:
                    continue  # what one user did changes nobody else's lists
            if fact.kind == ALIAS:
                about_users |= dict.fromkeys(map(str, fact.payload.values()), fact.sequence)
                continue
            if fact.kind in (USER_PUT, USER_UNDONE):
                about_users[str(fact.payload["id"])] = fact.sequence
                continue
            if fact.kind in FEEDBACK:
                if "user" in fact.payload:
                    about_users[str(fact.payload["user"])] = fact.sequence
                continue
            # Consent, too: others may see what a friend chose.
            self.changed = max(self.changed, fact.sequence)
        self.touched = self.touched.with_(about_users).settled()

    def _agree(self, facts: Sequence[Row]) -> None:
        """Take up what users agree to."""
        newer = consents_in(facts, self.consent)
        if not newer:
            return
        self.consent, self.uncounted = self.consent.with_(newer), None
        for row, agrees in zip(self.base.users.rows(newer).tolist(), newer.values(), strict=True):
            (self.opted_out.discard if all(agrees.values()) else self.opted_out.add)(row)
        self.opted_out.discard(NO_ROW)
        for user, agrees in newer.items():
            self.trend_counts.agree(user, facts[-1].sequence, counted=all(agrees.values()))

    def _join(self, fact: Row, touched: set[str]) -> None:
        """Give a user what was done under an anonymous id."""
        anonymous, user = str(fact.payload["anonymous"]), str(fact.payload["id"])
        self.aliases = self.aliases.with_({anonymous: user}).settled()
        if (unclicked := self.shown.get(anonymous)) is not None:
            rows, times = (np.repeat(unclicked[n], unclicked["count"]) for n in ("item", "last"))
            merged = with_impressions(self.shown.get(user, NOTHING), rows, times)
            self.shown = self.shown.with_({user: merged, anonymous: NOTHING})
        row = int(self.base.users.row(anonymous))
        if row != self.trend_counts.number(anonymous):  # erased
            row = NO_ROW
        self.trend_counts.join(anonymous, user, fact.sequence)
        done = self.weigher.events(row, self.users.get(anonymous))
        if not len(done):
            return
        nobody = LiveUser(np.zeros(0, EVENT))
        left = LiveUser(nobody.events, undone=self.weigher.events(row, None))
        live = self.users.get(user, nobody).with_(done)
        self.users = self.users.with_({user: live, anonymous: left})
        for name, people in self.people.items():
            if anonymous in people:
                people.discard(anonymous)
                people.add(user)
                touched.add(name)
                self.changed = max(self.changed, fact.sequence)

    def _take_up(self, events: Sequence[Row], touched: set[str]) -> None:
        """Add events to the histories of their users, or take undone events out of them."""
        if not events:
            return
        names = [str(fact.payload["item"]) for fact in events]
        back = events[0].kind == EVENT_UNDONE
        for name, row in zip(names, self._rows_of(names).tolist(), strict=True):
            if name in self.undone and not back:
                self.items[name] = {"id": name}
                self.undone.discard(name)
                touched.add(name)
            if row == NO_ROW and name not in self.names:
                self.items.setdefault(name, {"id": name})
                self.names[name] = len(self.base.items) + len(self.names)
                touched.add(name)
        rows = self._rows_of(names)
        entries = self._entries(events, rows)
        if not back:
            self._take_up_sessions(events, entries)
            self.trend_counts.take_up(events, entries, self.kinds)
        places: dict[str, list[int]] = {}
        for number, fact in enumerate(events):
            user = str(fact.payload["user"])
            places.setdefault(user, []).append(number)
            if names[number] in self.names:
                chosen_by = self.people.setdefault(names[number], set())
                (chosen_by.discard if back else chosen_by.add)(user)
                touched.add(names[number])
        nobody = LiveUser(np.zeros(0, EVENT))
        changed = {}
        for user, own in places.items():
            live = self.users.get(user, nobody)
            changed[user] = live.without(entries[own]) if back else live.with_(entries[own])
        self.users = self.users.with_(changed)
        for user, live in changed.items() if back else ():
            self.trend_counts.take_back(user, live, self.kinds, events[-1].sequence)

    def _entries(self, events: Sequence[Row], rows: I64) -> Events:
        """Events as columns; `rows` are those of their items."""
        entries = np.zeros(len(events), EVENT)
        entries["item"] = rows
        entries["kind"] = [self._kind(str(fact.payload["kind"])) for fact in events]
        entries["value"] = [fact.payload.get("value", np.nan) for fact in events]
        entries["at"] = [fact.payload.get("at", NO_TIME) for fact in events]
        entries["named"] = ["event_id" in fact.payload or "tag" in fact.payload for fact in events]
        return entries

    def _take_up_sessions(self, events: Sequence[Row], entries: Events) -> None:
        """Add events to the sessions that they name."""
        happened = in_sessions(events, entries, self.weigher, self.kinds)
        newer = taken_up(self.sessions, happened, self.session_seconds)
        self.sessions = self.sessions.with_(newer)

    def _rows_of(self, names: Sequence[str]) -> I64:
        rows = self.base.items.rows(names)
        for number in np.flatnonzero(rows == NO_ROW).tolist():
            rows[number] = self.names.get(names[number], NO_ROW)
        return rows

    def _kind(self, name: str) -> int:
        if name not in self.kinds:
            self.kinds.append(name)
        return self.kinds.index(name)

    def _change(self, name: str, facts: Sequence[Row]) -> None:
        """What is known of an item after facts about it."""
        before = self.items[name] if name in self.items else known_item(self._plain, name)
        self.items[name] = item_after(before, facts, name)
        gone = any(fact.kind == ITEM_UNDONE for fact in facts) and self.items[name] is None
        (self.undone.add if gone else self.undone.discard)(name)
        if self.base.items.row(name) == NO_ROW and name not in self.names:
            self.names[name] = len(self.base.items) + len(self.names)

    @property
    def _plain(self) -> Overlay:
        return Overlay.over(self.base, agreed=self.agreed)

    def _locate(self, names: Iterable[str]) -> None:
        """The release with all the items that are new or have changed."""
        places = NewItems(self.base, Filters(self.base))
        for name in dict.fromkeys(names):
            known = self.items.get(name)
            item = replace(live_item(name, known), people=len(self.people.get(name, ())))
            if name in self.names and known is not None:
                item, self.rows[name] = placed(places, self.base, item)
                self.items[name] = {**known, "likeness": item.likeness}
            self.live[name] = item
        in_order = sorted(self.live, key=lambda name: self.names.get(name, NO_ROW))
        self.release = appended(self.base, {name: self.live[name] for name in in_order}, self.rows)

    def _hidden(self, release: Release, state: State) -> Any:
        hidden = hidden_items(release, state)
        rows = release.items.rows(list(self.items))
        flags = [known is None or bool(known.get("hidden")) for known in self.items.values()]
        if len(rows):
            hidden = hidden.copy()
            hidden[rows[rows != NO_ROW]] = np.array(flags, np.bool_)[rows != NO_ROW]
        return hidden
