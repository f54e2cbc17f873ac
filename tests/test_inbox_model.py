"""Said, repeated, erased, drained or killed in any order: a dictionary tells what holds."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from graph.errors import StoreAway
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox import erasing
from recommender.inbox.drain import drain
from recommender.inbox.facts import fact, item_subject, user_subject
from recommender.inbox.journal import Journal
from recommender.inbox.known import item_after, user_after

USERS, ITEMS = st.sampled_from(["ann", "bob"]), st.sampled_from(["x", "y"])
TAGS = st.lists(st.sampled_from(["slow", "solo"]), unique=True)


class Dying:
    """A store whose process dies around its next write."""

    def __init__(self, store, when):
        self._store, self._when = store, when

    def __getattr__(self, name):
        return getattr(self._store, name)

    def apply(self, batch, **options):
        if self._when == "before":
            raise StoreAway("killed")
        done = self._store.apply(batch, **options)
        if self._when == "after":
            raise StoreAway("killed")
        return done


class Inbox(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="inbox-model-"))
        self.journal = Journal(self.folder / "journal.sqlite")
        self.store = EmbeddedStore(self.folder / "store.sqlite")
        self.now = 1_000_000_000
        self.events = {}  # event id -> (user, item, value)
        self.items = {}  # id -> title, hidden, tags; None: taken away
        self.consent = {}  # user -> purposes
        self.erased = {}  # user -> when, and whether it is done
        self.last = 0

    def teardown(self):
        try:
            self.catch_up()
            held = {
                row["event_id"]: (row["user"], row["item"], row["value"])
                for row in self.store.read("events").to_pylist()
            }
            assert held == self.events
            assert self.store.read("events").num_rows == len(self.events)
            shown = {row["id"]: row for row in self.store.read("items").to_pylist()}
            for item, known in self.items.items():
                assert shown[item]["hidden"] == (known is None or known["hidden"])
                assert shown[item]["title"] == (known and known["title"])
            assert erasing.open_erasures(self.journal) == 0
        finally:
            self.journal.close()
            self.store.close()
            shutil.rmtree(self.folder)

    def say(self, *facts):
        self.now += 10
        receipts = self.journal.append(facts, now=self.now)
        for receipt in receipts:
            if not receipt.repeated and receipt.refused is None:
                assert receipt.sequence > self.last  # numbers rise, and none is given twice
                self.last = receipt.sequence
        return receipts

    def is_taken(self, user, happened):
        arguments, done = self.erased.get(user, (0, True))
        return done and happened >= arguments and self.consent.get(user, {}).get("track", True)

    @rule(user=USERS, item=ITEMS, name=st.sampled_from("efg"), value=st.sampled_from([1.0, 2.0]))
    def an_event(self, user, item, name, value):
        """The same id again is the same event, with what was said last."""
        name = f"{user} {name}"
        event = {"user": user, "item": item, "kind": "rating", "value": value, "event_id": name}
        (receipt,) = self.say(fact("events", event | {"at": self.now + 10}))
        assert (receipt.refused is None) == self.is_taken(user, self.now)
        if receipt.refused is None:
            self.events[name] = (user, item, value)

    @rule(user=USERS, item=ITEMS, name=st.sampled_from("efg"))
    def an_event_that_comes_late(self, user, item, name):
        name = f"{user} {name}"
        event = {"user": user, "item": item, "kind": "rating", "value": 3.0, "event_id": name}
        (receipt,) = self.say(fact("events", event | {"at": 999_999_999}))
        assert (receipt.refused is None) == self.is_taken(user, 999_999_999)
        if receipt.refused is None:
            self.events[name] = (user, item, 3.0)

    @rule(item=ITEMS, title=st.sampled_from("TU"), tags=TAGS)
    def an_item(self, item, title, tags):
        listed = [{"category": "tag", "tag": tag, "weight": 1.0} for tag in tags]
        self.say(fact("item_put", {"id": item, "title": title, "tags": listed}))
        self.items[item] = {"title": title, "hidden": False, "tags": set(tags)}

    @rule(item=ITEMS, hidden=st.booleans())
    def hidden_or_shown(self, item, hidden):
        self.say(fact("item_patch", {"id": item, "hidden": hidden}))
        known = self.items.get(item) or {"title": None, "tags": set()}
        self.items[item] = known | {"hidden": hidden}

    @rule(item=ITEMS)
    def taken_away(self, item):
        self.say(fact("item_delete", {"id": item}))
        self.items[item] = None

    @rule(user=USERS, purpose=st.sampled_from(["train", "track"]), agreed=st.booleans())
    def asked_for_consent(self, user, purpose, agreed):
        (receipt,) = self.say(fact("consent", {"id": user, "consent": {purpose: agreed}}))
        if receipt.refused is None:
            self.consent.setdefault(user, {})[purpose] = agreed

    @rule(user=USERS)
    def erased_for_good(self, user):
        self.now += 10
        sequence = erasing.ask(self.journal, user, f"person {len(user)}", now=self.now)
        assert sequence > self.last
        self.last = sequence
        self.erased[user] = (self.now, False)
        self.consent.pop(user, None)
        self.events = {name: event for name, event in self.events.items() if event[0] != user}

    @rule(limit=st.integers(1, 4), dies=st.sampled_from([None, "before", "after"]))
    def drained(self, limit, dies):
        with contextlib.suppress(StoreAway):
            drain(self.journal, Dying(self.store, dies), now=lambda: self.now, limit=limit)
        if erasing.open_erasures(self.journal) == 0:
            self.erased = {user: (arguments, True) for user, (arguments, _) in self.erased.items()}

    @rule()
    def catch_up(self):
        while drain(self.journal, self.store, now=lambda: self.now).facts:
            pass
        self.erased = {user: (arguments, True) for user, (arguments, _) in self.erased.items()}

    @rule()
    def restarted(self):
        self.journal.close()
        self.store.close()
        self.journal = Journal(self.folder / "journal.sqlite")
        self.store = EmbeddedStore(self.folder / "store.sqlite")

    @invariant()
    def what_is_told_is_what_was_said(self):
        for item, known in self.items.items():
            standing = item_after(None, self.journal.facts_about(item_subject(item)), item)
            if known is None:
                assert standing is None
                continue
            assert (standing.get("title"), standing["hidden"]) == (known["title"], known["hidden"])
            assert {tag["tag"] for tag in standing.get("tags", ())} == known["tags"]
        for user in ("ann", "bob"):
            facts = self.journal.facts_about(user_subject(user))
            standing = user_after(None, facts, user) or {}
            assert standing.get("consent", {}) == self.consent.get(user, {})


TestInbox = Inbox.TestCase
TestInbox.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True
)
