"""However an event comes again, lists count it once, as the store does."""

import contextlib
import shutil
from dataclasses import replace

import numpy as np
import pytest

from graph.event_keys import event_key, event_keys
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from recommender.inbox import quarantine
from recommender.inbox.announcing import load_into, undo_load
from recommender.inbox.drain import drain, lease
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.histories import Weigher
from recommender.releases.home import Home
from recommender.releases.people import without
from recommender.serving.live import Live

NOW = 1_760_000_000
FAST = RefreshConfig(preset="fast", threads=1)
ANN = [
    {"user": "ann", "item": "x", "kind": "play", "event_id": "ann-1", "value": 1.0},
    {"user": "ann", "item": "x", "kind": "play", "event_id": "ann-2", "value": 3.0},
    {"user": "ann", "item": "x", "kind": "tag", "tag": "quiet", "at": NOW - 50},
    {"user": "ann", "item": "x", "kind": "tag", "tag": "slow", "at": NOW - 50},
    {"user": "ann", "item": "y", "kind": "play", "at": NOW - 60},
]


BOB = [
    {"user": "bob", "item": "x", "kind": "tag", "tag": "quiet", "at": NOW - 50},
    {"user": "bob", "item": "x", "kind": "play", "event_id": "bob-1"},
]
LOADED = [
    {"user": "bob", "item": "x", "kind": "tag", "tag": "loud", "at": NOW - 50},
    {"user": "bob", "item": "x", "kind": "play", "event_id": "bob-2"},
]


@pytest.fixture(scope="module")
def first_home(tmp_path_factory):
    """A home with one release; copied, never changed."""
    home = Home(tmp_path_factory.mktemp("once") / "home").create()
    others = [
        {"user": f"reader-{user}", "item": item, "kind": "play", "at": NOW - 100}
        for user in range(6)
        for number, item in enumerate("xyzvw")
        if (user + number) % 3
    ]
    with contextlib.closing(EmbeddedStore(home.store)) as store:
        store.apply({"events": table("events", ANN + BOB + others)})
        store.apply({"events": table("events", LOADED)}, load=store.begin_load(NOW, {}))
        refresh(store, home, FAST, now=NOW, force=True)
    return home.folder


class World:
    """A home with a release, its store, a journal and a server over both."""

    def __init__(self, folder):
        self.home = Home(folder)
        self.store = EmbeddedStore(self.home.store)
        self.journal = Journal(self.home.inbox)
        self.now = NOW
        self.server = self.served()

    def served(self):
        """A server that has read nothing yet."""
        ticks = iter(range(10**6))
        return Live(self.home, journal=self.journal, clock=lambda: next(ticks))

    def say(self, *events):
        self.now += 10
        return self.journal.append([fact("events", event) for event in events], now=self.now)

    def drain(self):
        drain(self.journal, self.store, now=lambda: self.now)

    def counted(self, user="ann"):
        """What each item of a history weighs in lists, however recent."""
        overlay = self.server.recommender().overlay
        base = overlay.release
        recipe = base.manifest["recipe"] | {"recency_exponent": 0.0}
        weigher = Weigher(replace(base, manifest=base.manifest | {"recipe": recipe}))
        history = weigher.history(overlay.user_row(user), overlay.users.get(user), overlay.kinds)
        items = base.items.ids(history.items.tolist())
        return dict(zip(items, history.weights.tolist(), strict=True))

    def stored(self, user="ann"):
        """The same as a refresh would make it now."""
        snapshot = take_snapshot(self.store)
        row = weigh(snapshot, FAST.weighting, NOW).user_items[[snapshot.users.row(user)]].tocoo()
        items = snapshot.items.ids(row.coords[1].tolist())
        return dict(zip(items, row.data.tolist(), strict=True))

    def agree(self, user="ann"):
        """Lists count what the store would say; before and after the drain."""
        before = self.counted(user)
        self.drain()
        assert self.counted(user) == pytest.approx(self.stored(user))
        assert before == pytest.approx(self.stored(user))
        return before


@pytest.fixture
def world(first_home, tmp_path):
    shutil.copytree(first_home, tmp_path / "home")
    made = World(tmp_path / "home")
    yield made
    made.store.close()
    made.journal.close()


def worth(*counts):
    """The weight of an item after events that count so much each."""
    return float(np.log2(1 + sum(counts)))


X = worth(1, float(np.log2(1 + 3)), 1, 1)  # as in the release: values count with their logarithm


def test_tags_of_one_second_and_plays_without_a_time_all_count_after_any_other_event(world):
    assert world.stored() == pytest.approx({"x": X, "y": 1.0})
    world.say({"user": "ann", "item": "z", "kind": "hide", "at": NOW})
    assert world.agree() == pytest.approx({"x": X, "y": 1.0})


def test_an_id_with_a_corrected_value_item_or_kind_replaces_what_it_said(world):
    world.say(ANN[0] | {"value": 7.0, "at": NOW})
    assert world.agree()["x"] == pytest.approx(worth(3, 2, 1, 1))
    world.say(ANN[0] | {"item": "z", "at": NOW})
    assert world.agree() == pytest.approx({"x": worth(2, 1, 1), "y": 1.0, "z": 1.0})
    world.say(ANN[0] | {"item": "z", "at": NOW, "kind": "hide"})
    assert world.agree() == pytest.approx({"x": worth(2, 1, 1), "y": 1.0})
    history = world.server.recommender().overlay.history("ann")
    release = world.server.recommender().release
    assert release.items.ids(history.hidden.tolist()) == ["z"]
    assert release.items.ids(sorted(history.seen.tolist())) == ["x", "y"]


def test_a_corrected_event_of_a_newcomer_counts_once(world):
    event = {"user": "new", "item": "x", "kind": "play", "event_id": "new-1", "value": 1.0}
    world.say(event)
    world.say(event | {"value": 3.0})
    assert world.agree("new") == pytest.approx({"x": worth(2)})
    world.say(event | {"item": "y"})
    assert world.agree("new") == pytest.approx({"y": 1.0})


def test_an_id_that_comes_again_with_another_user_counts_for_that_one_alone(world):
    event = {"user": "visitor", "item": "x", "kind": "play", "event_id": "moved", "session": "s"}
    world.say(event)
    assert world.counted("visitor") == pytest.approx({"x": 1.0})
    world.say(event | {"user": "new"})
    assert world.agree("new") == pytest.approx({"x": 1.0})
    assert world.agree("visitor") == {}
    world.say(event)  # and back again
    assert world.agree("visitor") == pytest.approx({"x": 1.0})
    assert world.agree("new") == {}
    world.server = world.served()  # as another worker reads it
    assert world.agree("visitor") == pytest.approx({"x": 1.0})
    assert world.agree("new") == {}


def test_an_id_of_a_visitor_who_logged_in_moves_nothing(world):
    event = {"user": "visitor", "item": "x", "kind": "play", "event_id": "moved"}
    world.say(event)
    world.journal.append([fact("alias", {"id": "new", "anonymous": "visitor"})], now=world.now)
    (receipt,) = world.say(event | {"user": "new", "at": world.now})
    assert not receipt.repeated
    assert world.counted("new") == pytest.approx({"x": 1.0})
    assert "event_undone" not in [row.kind for row in world.journal.facts_after(0)]


def test_an_event_sent_again_when_a_refresh_has_it_and_the_journal_has_not_counts_once(world):
    event = {"user": "ann", "item": "z", "kind": "play", "event_id": "ann-3"}
    tag = {"user": "ann", "item": "z", "kind": "tag", "tag": "loud", "at": NOW}
    world.say(event, tag)
    world.drain()
    refresh(world.store, world.home, FAST, now=world.now, force=True)
    world.journal.trim(world.journal.last_sequence())
    receipts = world.say(event, tag)
    assert [receipt.repeated for receipt in receipts] == [False, False]  # the journal forgot them
    assert world.agree() == pytest.approx({"x": X, "y": 1.0, "z": worth(1, 1)})


def test_a_file_loaded_again_beside_a_server_counts_once(world):
    with lease(world.journal.path), load_into(world.store, world.journal, now=NOW) as store:
        store.apply({"events": table("events", ANN)})
    assert world.journal.last_sequence() == len(ANN)
    assert world.agree() == pytest.approx({"x": X, "y": 1.0})


def test_of_a_load_too_large_for_an_overlay_the_rest_waits_for_a_refresh(world, monkeypatch):
    monkeypatch.setattr("recommender.inbox.announcing.MOST_ANNOUNCED", 3)
    more = [
        {"user": "carl", "item": item, "kind": "play", "at": NOW + second}
        for second, item in enumerate("vwxyz")
    ]
    with lease(world.journal.path), load_into(world.store, world.journal, now=NOW) as store:
        store.apply({"events": table("events", more[:2])})
        store.apply({"events": table("events", more[2:])})
    assert set(world.counted("carl")) == set("vwx")
    world.drain()
    assert set(world.counted("carl")) == set("vwx")
    assert set(world.stored("carl")) == set("vwxyz")


def test_a_load_taken_back_takes_only_its_own_events_from_lists(world):
    assert world.counted("bob") == pytest.approx({"x": worth(1, 1, 1, 1)})
    with lease(world.journal.path):
        undo_load(world.store, world.journal, 1, now=NOW)
    assert world.agree("bob") == pytest.approx({"x": worth(1, 1)})


def test_what_is_tried_again_from_the_quarantine_counts_once_also_after_a_restart(world):
    event = {"user": "ann", "item": "z", "kind": "play", "event_id": "ann-3"}
    (receipt,) = world.say(event)
    assert world.counted()["z"] == pytest.approx(1.0)
    row = world.journal.facts_after(0)[-1]
    quarantine.put_aside(world.journal, row, "poison", now=world.now)
    number = quarantine.retry(world.journal, receipt.sequence, now=world.now + 5)
    assert [row.sequence for row in world.journal.facts_after(0)] == [number]
    assert world.agree()["z"] == pytest.approx(1.0)
    world.server = world.served()
    assert world.counted()["z"] == pytest.approx(1.0)


def test_a_release_without_keys_is_read_as_one_of_events_without_ids(world):
    base = world.server.recommender().release
    arrays = {name: array for name, array in base.arrays.items() if name != "events.key"}
    older = replace(base, arrays=arrays)
    events = Weigher(older).events(base.users.row("ann"), None)
    assert not events["key"].any() and len(events) == len(ANN)


def test_of_an_erased_person_no_key_is_left_in_a_release(world):
    base = world.server.recommender().release
    ann, bob = base.users.rows(["ann", "bob"]).tolist()
    keys = without(base.arrays, [ann])["events.key"]
    own, others = (slice(*base.arrays["events.indptr"][row : row + 2]) for row in (ann, bob))
    assert base.arrays["events.key"][own].any() and not keys[own].any()
    assert keys[others].tolist() == base.arrays["events.key"][others].tolist()


def test_keys_of_columns_are_those_of_single_events():
    rows = [
        {"tag": "blue"},
        {"tag": "Blue"},
        {"event_id": "blue"},
        {"event_id": "1", "tag": "blue"},
        {},
    ]
    columns = table("events", rows)
    keys = event_keys(columns["tag"], columns["event_id"]).tolist()
    assert keys == [event_key(row.get("tag"), row.get("event_id")) for row in rows]
    assert len(set(keys)) == 5 and keys[4] == 0
    assert [key & 1 for key in keys] == [0, 0, 1, 1, 0]
    encoded = [columns[name].combine_chunks().dictionary_encode() for name in ("tag", "event_id")]
    assert event_keys(*encoded).tolist() == keys
