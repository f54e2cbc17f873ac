"""Said, repeated, refreshed, swapped, rolled back or killed in any order: what lists must show.

A dictionary tells it: what was acknowledged counts in the next list, whatever release is served.
"""

import contextlib
import itertools
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from graph.errors import StoreAway
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.drain import drain
from recommender.inbox.facts import CONSENT, DELETE, PATCH, PUT, fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.erasure import ask, carrier
from recommender.ranking.request import Filter, Request
from recommender.releases.home import Home
from recommender.releases.publishing import activate, names, oldest_heard, prune
from recommender.serving.live import Live
from tests.test_inbox_model import Dying

START = 1_760_000_000
FAST = RefreshConfig(preset="fast", threads=1)
MEMORY = Path("/dev/shm")  # where nothing waits for a disk
OF_RELEASE = [f"old-{number}" for number in range(9)]
USERS = ["ann", "reader-1"]  # one is new, one has a history
ITEMS = ["new", "old-1", "old-2"]
A_USER, AN_ITEM = st.sampled_from(USERS), st.sampled_from(ITEMS)
KINDS = st.sampled_from(["view", "hide"])
VIEW = 0.5  # what a view is worth, by the rule of whoever writes none


def history(user):
    """Items that a reader chose before: every third, and one more."""
    return {f"old-{item}" for item in range(9) if item % 3 == user % 3 or item == user}


def first_chosen():
    """Each reader and item of the first release, in the order of their times."""
    return [(f"reader-{user}", item) for user in range(9) for item in sorted(history(user))]


def first_done(user):
    """What a reader did then, see `Served.done`."""
    return {
        item: (item, "view", START - 1_000 + number)
        for number, (name, item) in enumerate(first_chosen())
        if name == f"reader-{user}"
    }


@cache
def first_home():
    """A home with one release of nine readers; copied, never changed."""
    folder = Path(tempfile.mkdtemp(prefix="live-model-", dir=MEMORY if MEMORY.is_dir() else None))
    home = Home(folder / "home").create()
    chosen = first_chosen()
    users, items = zip(*chosen, strict=True)
    with contextlib.closing(EmbeddedStore(home.store)) as store:
        times = [START - 1_000 + number for number in range(len(chosen))]
        kinds = ["view"] * len(chosen)
        store.apply(
            {"events": pa.table({"user": users, "item": items, "kind": kinds, "at": times})}
        )
        refresh(store, home, FAST, now=START, force=True)
    return home.folder


def teardown_module():
    shutil.rmtree(first_home().parent)


class Served(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=first_home().parent))
        self.home = Home(self.folder / "home")
        shutil.copytree(first_home(), self.home.folder)
        self.now = START
        self.ticks = itertools.count()
        self.items = {item: {"title": "", "hidden": False} for item in OF_RELEASE}  # None: gone
        # By what identifies it, each event that a user has done: its item, kind and time.
        self.done = {"ann": {}, "reader-1": first_done(1)}
        self.untrained = set()  # who a refresh may have left without history
        self.consent = {user: {} for user in USERS}
        self.sent = []  # events, to be repeated
        self.last = 0
        self.open()
        self.say(PUT, {"id": "new", "title": "T"})
        self.items["new"] = {"title": "T", "hidden": False}

    def open(self):
        self.journal = Journal(self.home.inbox)
        self.store = EmbeddedStore(self.home.store)
        self.server = Live(self.home, journal=self.journal, clock=lambda: next(self.ticks))

    def close(self):
        self.journal.close()
        self.store.close()

    def teardown(self):
        self.close()
        shutil.rmtree(self.folder)

    def say(self, kind, payload):
        """Whether it was acknowledged."""
        self.now += 10
        (receipt,) = self.journal.append([fact(kind, payload)], now=self.now)
        self.last = max(self.last, receipt.sequence or 0)
        return receipt.refused is None

    # ── what applications and editors say ────────────────────────────────────────────────

    @rule(user=A_USER, item=AN_ITEM, kind=KINDS, late=st.booleans())
    def an_event(self, user, item, kind, late):
        event = {"user": user, "item": item, "kind": kind, "event_id": f"{user} {item} {kind}"}
        self.sent.append(event | {"at": START - 500 if late else self.now})
        self.sent_again(len(self.sent) - 1)

    @rule(user=A_USER, item=AN_ITEM, tag=st.sampled_from(["quiet", "slow"]))
    def a_tag(self, user, item, tag):
        """Several in one second, told apart by nothing else."""
        event = {"user": user, "item": item, "kind": "tag", "tag": tag, "at": START - 400}
        self.sent.append(event)
        self.sent_again(len(self.sent) - 1)

    @rule(number=st.integers(0, 30), item=AN_ITEM)
    def corrected(self, number, item):
        """It was about another item."""
        if number < len(self.sent):
            self.sent.append(self.sent[number] | {"item": item})
            self.sent_again(len(self.sent) - 1)

    @rule(number=st.integers(0, 30))
    def sent_again(self, number):
        if number < len(self.sent) and self.say("events", event := self.sent[number]):
            name = event.get("event_id") or (event["item"], event["tag"])
            self.done[event["user"]][name] = (event["item"], event["kind"], event["at"])

    @rule(item=AN_ITEM, title=st.sampled_from("TU"))
    def an_item(self, item, title):
        self.say(PUT, {"id": item, "title": title})
        self.items[item] = {"title": title, "hidden": False}

    @rule(item=AN_ITEM, hidden=st.booleans())
    def hidden_or_shown(self, item, hidden):
        self.say(PATCH, {"id": item, "hidden": hidden})
        self.items[item] = (self.items[item] or {"title": ""}) | {"hidden": hidden}

    @rule(item=AN_ITEM)
    def taken_away(self, item):
        self.say(DELETE, {"id": item})
        self.items[item] = None

    @rule(user=A_USER, purpose=st.sampled_from(["personalise", "train"]), agreed=st.booleans())
    def asked_for_consent(self, user, purpose, agreed):
        if self.say(CONSENT, {"id": user, "consent": {purpose: agreed}}):
            self.consent[user][purpose] = agreed
            if purpose == "train" and not agreed:
                self.untrained.add(user)

    @rule(user=A_USER)
    def erased(self, user):
        self.now += 10
        self.last = ask(self.journal, self.home, user, now=self.now)
        self.done[user], self.consent[user] = {}, {}

    # ── what happens meanwhile ───────────────────────────────────────────────────────────

    @rule(limit=st.integers(1, 6), dies=st.sampled_from([None, "before", "after"]))
    def drained(self, limit, dies):
        store = Dying(self.store, dies)
        carry = carrier(self.journal, self.store, self.home, lambda: self.now)
        with contextlib.suppress(StoreAway):
            drain(self.journal, store, now=lambda: self.now, limit=limit, carry=carry)

    @rule()
    def refreshed(self):
        """From what the store has by now; the journal holds the rest."""
        self.now += 10
        refresh(self.store, self.home, FAST, now=self.now, force=True)

    @rule(number=st.integers(0, 3))
    def another_release_is_made_current(self, number):
        there = names(self.home)
        activate(self.home, there[number % len(there)])

    @rule()
    def tidied(self):
        prune(self.home, 2)
        self.journal.trim(oldest_heard(self.home, self.journal.identity()))

    @rule()
    def restarted(self):
        self.close()
        self.open()

    # ── what must be seen ────────────────────────────────────────────────────────────────

    @invariant()
    def what_was_acknowledged_counts_in_the_next_lists(self):
        serving = self.server.recommender()
        assert serving.overlay.sequence >= self.last
        shown = {item for item, known in self.items.items() if known and not known["hidden"]}
        for item in shown & set(ITEMS):
            row = int(serving.release.items.row(item))
            assert (serving.release.card(row)["title"] or "") == self.items[item]["title"]
        for user in USERS:
            request = Request(user=user, n=50, filter=Filter(items=tuple(self.items)))
            listed = {entry.item for entry in serving.recommend([request], now=self.now)[0].items}
            hides = {item for item, kind, _ in self.done[user].values() if kind == "hide"}
            seen = {item for item, *_ in self.done[user].values()}
            expected = shown - hides
            consent = self.consent[user]
            if consent.get("personalise") is False:
                assert listed == expected
                assert serving.overlay.why_impersonal(user) is not None
            elif consent.get("train", True):
                assert serving.overlay.why_impersonal(user) is None
                assert listed == expected - seen
            else:  # personal until a release was made without them
                assert listed in (expected, expected - seen)
            if user not in self.untrained:
                self.weighs(serving, user, hides)

    def weighs(self, serving, user, hides):
        """Each event counts once, and the more recent the item, the more it weighs."""
        overlay, times, sums = serving.overlay, {}, {}
        history = overlay.weigher.history(
            overlay.user_row(user), overlay.users.get(user), overlay.kinds
        )
        for item, kind, at in self.done[user].values():
            times[item] = max(at, times.get(item, 0))
            sums[item] = sums.get(item, 0) + {"view": VIEW, "hide": 0, "tag": 1}[kind]
        chosen = {
            item: np.log2(1 + sums[item]) for item in sums if sums[item] and item not in hides
        }
        exponent = serving.release.manifest["recipe"]["recency_exponent"]
        later = {item: sum(times[item] < times[other] for other in chosen) for item in chosen}
        weights = {item: chosen[item] * (1 + later[item]) ** -exponent for item in chosen}
        items = serving.release.items.ids(history.items.tolist())
        assert dict(zip(items, history.weights.tolist(), strict=True)) == pytest.approx(weights)


TestServed = Served.TestCase
TestServed.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, derandomize=True
)
