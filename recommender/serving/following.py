"""The newest facts of the journal as an overlay: they count at once, without a refresh.

One follower belongs to one release. It reads, in order, the facts that came after the release was
made, and makes a new overlay from them. Earlier overlays stay as they are, for requests that still
use them.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graph.arrays import I32, I64
from graph.event_keys import event_key
from graph.freed import give_back_now
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
from recommender.overlay.histories import EVENT, Events, LiveUser, Weigher
from recommender.overlay.layers import Layers
from recommender.overlay.overlay import Overlay, hidden_items
from recommender.overlay.sessions import SECONDS, Session, Sessions, taken_up
from recommender.overlay.shown import NOTHING, ShownItems, with_impressions
from recommender.overlay.state import State
from recommender.releases.release import Release
from recommender.serving.live_items import LiveItems
from recommender.serving.live_sessions import in_sessions
from recommender.serving.of_people import attributes_in, consents_in
from recommender.serving.rotating import remembered, rotated
from recommender.serving.trend_counts import TrendCounts

CHUNK = 5_000  # facts read at a time: each takes a kilobyte meanwhile
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
    kept: LiveItems | None = None  # items that are new or have changed; None: none yet
    aliases: Layers[str] = field(default_factory=Layers)  # anonymous id -> whose it is
    state: State = field(default_factory=State)
    counting: TrendCounts | None = None
    sessions: Layers[Session] = field(default_factory=Layers)
    session_seconds: int = SECONDS
    agreed: frozenset[str] = frozenset(PURPOSES)  # see `Overlay`
    recalled: bool = False  # whether what came before `sequence` and still counts was read
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
        with _uncollected(newest - self.sequence >= CHUNK):
            while self.sequence < newest and (
                facts := self.journal.facts_after(self.sequence, CHUNK)
            ):
                self._hear(facts)
            release = self.items.release_with_all()
        if self.uncounted is None:
            self.uncounted = np.array(sorted(self.opted_out), np.int32)
        trends = self.trend_counts.trends
        if last is not None and (last.sequence, last.state) == (self.sequence, state):
            return replace(last, trends=trends) if last.trends is None else last
        same = last is not None and last.release is release and last.state.hidden == state.hidden
        return Overlay(
            release=release,
            state=state,
            hidden=last.hidden
            if last is not None and same
            else self.items.hidden_among(hidden_items(release, state)),
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
    def items(self) -> LiveItems:
        """What came since of items, by all that was heard."""
        if self.kept is None:
            self.kept = LiveItems(self.base, self.agreed)
        return self.kept

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
        before = remembered(self.journal, self.sequence, self.items.rows_of)
        self.shown = self.shown.with_(before)
        self.recalled = True

    def _hear(self, facts: Sequence[Row], *, again: bool = False) -> None:
        """Apply facts in order; `again`: the journal is being read anew after an erasure."""
        events: list[Row] = []
        changed: dict[str, list[Row]] = {}
        shown: list[Row] = []
        about: list[Row] = []
        for fact in facts:
            if fact.kind in ("events", EVENT_UNDONE):
                if events and events[-1].kind != fact.kind:
                    self._take_up(events)
                    events = []
                events.append(fact)
            elif fact.kind in ITEM_KINDS:
                name = fact.payload.get("item") or fact.payload.get("id") or fact.payload["source"]
                changed.setdefault(str(name), []).append(fact)
            elif fact.kind in FEEDBACK:
                shown.append(fact)
            elif fact.kind == ALIAS:
                self._take_up(events)
                self.shown = self.shown.with_(rotated(self.shown, shown, self.items.rows_of))
                events, shown = [], []
                self._join(fact)
            elif fact.kind in (CONSENT, USER_PUT, USER_UNDONE, "users"):
                about.append(fact)
            elif fact.kind == USER_DELETE:
                self.changed = max(self.changed, fact.sequence)
                if not again:
                    self._begin_again()
                    return
        self.items.change(changed)
        self._agree(about)
        self.attributes = self.attributes.with_(attributes_in(about))
        self._take_up(events)
        self.shown = self.shown.with_(rotated(self.shown, shown, self.items.rows_of))
        self._note(facts)
        self.sequence = facts[-1].sequence
        self.users, self.consent = self.users.settled(), self.consent.settled()
        begun = facts[-1].acknowledged - self.session_seconds
        self.sessions = self.sessions.settled(lambda session: session.last >= begun)
        self.attributes, self.shown = self.attributes.settled(), self.shown.settled()

    def _begin_again(self) -> None:
        """Read the journal again from the start: it has dropped all facts of an erased person."""
        fresh = Follower.over(self.base, self.journal, self.session_seconds, self.agreed)
        self.sequence, self.kinds, self.kept = fresh.sequence, fresh.kinds, None
        self.users, self.consent = fresh.users, fresh.consent
        self.attributes, self.sessions = fresh.attributes, fresh.sessions
        self.shown, self.opted_out, self.uncounted = fresh.shown, fresh.opted_out, None
        self.counting = None
        self.trend_counts.without_erased(self.state)
        self.touched = fresh.touched
        self._recall()
        while facts := self.journal.facts_after(self.sequence, CHUNK):
            self._hear(facts, again=True)

    def _note(self, facts: Sequence[Row]) -> None:
        """Note the number of the last fact about each user, and of the last about the catalogue."""
        about_users: dict[str, int] = {}
        new_items = self.items.names
        for fact in facts:
            if fact.kind == "events":
                about_users[fact.payload["user"]] = fact.sequence
                if fact.payload["item"] not in new_items:
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

    def _join(self, fact: Row) -> None:
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
        if self.items.join(anonymous, user):
            self.changed = max(self.changed, fact.sequence)

    def _take_up(self, events: Sequence[Row]) -> None:
        """Add events to the histories of their users, or take undone events out of them."""
        if not events:
            return
        names = [str(fact.payload["item"]) for fact in events]
        back = events[0].kind == EVENT_UNDONE
        rows = self.items.named(names, back=back)
        entries = self._entries(events, rows)
        if not back:
            self._take_up_sessions(events, entries)
            self.trend_counts.take_up(events, entries, self.kinds)
        users = [str(fact.payload["user"]) for fact in events]
        if self.items.names:
            for name, user in zip(names, users, strict=True):
                self.items.choose(name, user, back=back)
        numbers = {user: number for number, user in enumerate(dict.fromkeys(users))}
        codes = np.array([numbers[user] for user in users])
        in_order = entries[np.argsort(codes, kind="stable")]
        ends = np.cumsum(np.bincount(codes)).tolist()
        nobody = LiveUser(np.zeros(0, EVENT))
        changed, start = {}, 0
        for user, end in zip(numbers, ends, strict=True):
            live, own = self.users.get(user, nobody), in_order[start:end]
            changed[user] = live.without(own) if back else live.with_(own)
            start = end
        self.users = self.users.with_(changed)
        for user, live in changed.items() if back else ():
            self.trend_counts.take_back(user, live, self.kinds, events[-1].sequence)

    def _entries(self, events: Sequence[Row], rows: I64) -> Events:
        """Events as columns; `rows` are those of their items."""
        entries = np.zeros(len(events), EVENT)
        entries["item"] = rows
        kinds = [str(fact.payload["kind"]) for fact in events]
        codes = {kind: self._kind(kind) for kind in dict.fromkeys(kinds)}
        entries["kind"] = [codes[kind] for kind in kinds]
        entries["value"] = [fact.payload.get("value", np.nan) for fact in events]
        entries["at"] = [fact.payload.get("at", NO_TIME) for fact in events]
        named = [(fact.payload.get("tag"), fact.payload.get("event_id")) for fact in events]
        entries["key"] = [event_key(tag, event_id) for tag, event_id in named]
        return entries

    def _take_up_sessions(self, events: Sequence[Row], entries: Events) -> None:
        """Add events to the sessions that they name."""
        happened = in_sessions(events, entries, self.weigher, self.kinds)
        newer = taken_up(self.sessions, happened, self.session_seconds)
        self.sessions = self.sessions.with_(newer)

    def _kind(self, name: str) -> int:
        if name not in self.kinds:
            self.kinds.append(name)
        return self.kinds.index(name)


@contextmanager
def _uncollected(many: bool) -> Iterator[None]:
    """Look for no cycles while many facts are read: they hold none, and looking takes a third.

    Afterwards memory that was needed for a moment goes back to the system.
    """
    paused = many and gc.isenabled()
    if paused:
        gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()
    if many:
        give_back_now()
