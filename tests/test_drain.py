"""Facts reach the store exactly once and in order, whoever dies, pauses or doubles on the way."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.errors import InputError, NotFound, StoreAway
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.drain import caught_up, drain, lease, source
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.inbox.known import item_after
from recommender.inbox.quarantine import aside, drop, retry
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home
from recommender.releases.publishing import current, oldest_heard, open_release, prune

NOW = 1_760_000_000
PROPERTY = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def clock():
    return NOW


def event(user="ann", item="x", **more):
    return fact("events", {"user": user, "item": item, "kind": "play", **more})


def drain_all(journal, store, limit=10_000):
    while drain(journal, store, now=clock, limit=limit).facts:
        pass


def everything(store):
    """All that a store holds, as sorted rows."""
    tables = ("users", "items", "item_tags", "item_domains", "events", "item_relations")
    read = {table: store.read(table).to_pylist() for table in tables}
    return {table: sorted(rows, key=repr) for table, rows in read.items()}


def test_nothing_waits_where_nobody_wrote(journal, store):
    assert drain(journal, store, now=clock).facts == 0
    assert caught_up(journal, store) == (0, 0)


def test_events_arrive_with_every_field_and_are_counted(journal, store):
    journal.append([event(value=4.5, tag="slow", at=5, event_id="e1"), event("bob")], now=NOW)
    journal.append([event("cleo", event_id="e2")], now=NOW + 7)
    assert drain(journal, store, now=clock).facts == 3
    rows = {row["user"]: row for row in store.read("events").to_pylist()}
    assert rows["ann"] == {
        "user": "ann",
        "item": "x",
        "kind": "play",
        "value": 4.5,
        "tag": "slow",
        "at": 5,
        "event_id": "e1",
    }
    assert rows["bob"]["at"] is None
    assert rows["cleo"]["at"] == NOW + 7
    assert caught_up(journal, store) == (3, store.watermark())
    assert drain(journal, store, now=clock).facts == 0


def test_items_users_and_consent_arrive(journal, store):
    tags = [{"category": "genre", "tag": "baroque", "weight": 2.0}]
    journal.append(
        [
            fact("item_put", {"id": "x", "title": "X", "attributes": {"é": 1}, "tags": tags}),
            fact("item_put", {"id": "y", "title": "Y", "domains": [{"domain": "d", "weight": 1}]}),
            fact("user_put", {"id": "ann", "attributes": {"age": 7}}),
            fact("consent", {"id": "ann", "consent": {"train": False}}),
            fact("item_relations", {"source": "x", "target": "y", "kind": "cites"}),
        ],
        now=NOW,
    )
    drain_all(journal, store)
    got = everything(store)
    assert got["users"] == [{"id": "ann", "consent": False, "attributes": '{"age": 7}'}]
    assert [row["title"] for row in got["items"]] == ["X", "Y"]
    assert json.loads(got["items"][0]["attributes"]) == {"é": 1}
    assert got["item_tags"] == [tags[0] | {"item": "x"}]
    assert [row["domain"] for row in got["item_domains"]] == ["d"]
    assert [row["kind"] for row in got["item_relations"]] == ["cites"]
    journal.append(
        [
            fact("item_patch", {"id": "x", "tags": [], "title": None}),
            fact("item_delete", {"id": "y"}),
        ],
        now=NOW,
    )
    drain_all(journal, store)
    got = everything(store)
    assert [(row["title"], row["hidden"]) for row in got["items"]] == [(None, False), (None, True)]
    assert json.loads(got["items"][0]["attributes"]) == {"é": 1}
    assert not got["item_tags"]
    assert not got["item_domains"]


names = st.sampled_from(["x", "y"])
tag = st.fixed_dictionaries(
    {"category": st.just("tag"), "tag": st.sampled_from(["a", "b"]), "weight": st.just(1.0)}
)
parts = {
    "title": st.none() | st.sampled_from(["T", "U"]),
    "hidden": st.booleans(),
    "attributes": st.none() | st.just({"k": 1}),
    "tags": st.lists(tag, max_size=2, unique_by=lambda tag_entry: tag_entry["tag"]),
}
facts = st.one_of(
    st.builds(
        lambda kind, item, more: fact(kind, {"id": item} | more),
        st.sampled_from(["item_put", "item_patch"]),
        names,
        st.fixed_dictionaries({}, optional=parts),
    ),
    st.builds(lambda item: fact("item_delete", {"id": item}), names),
    st.builds(lambda item: fact("items", {"id": item, "title": "loaded"}), names),
    st.builds(lambda item, tag_entry: fact("item_tags", {"item": item} | tag_entry), names, tag),
    st.builds(
        lambda item, at, value: event(item=item, at=at, value=value),
        names,
        st.integers(1, 3),
        st.sampled_from([1.0, 2.0]),
    ),
    st.builds(lambda item, name: event(item=item, event_id=name), names, st.sampled_from("ef")),
)


class Dying:
    """A store whose process dies before or after some of its writes."""

    def __init__(self, store, dies):
        self._store, self._dies = store, iter(dies)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def apply(self, batch, **options):
        when = next(self._dies, None)
        if when == "before":
            raise StoreAway("killed")
        done = self._store.apply(batch, **options)
        if when == "after":
            raise StoreAway("killed")
        return done


@PROPERTY
@given(
    content=st.lists(facts, min_size=1, max_size=12),
    limit=st.integers(1, 12),
    dies=st.lists(st.sampled_from([None, "before", "after"]), max_size=8),
)
def test_in_batches_of_any_size_and_killed_at_any_write_the_store_is_as_one_by_one(
    tmp_path_factory, content, limit, dies
):
    folder = tmp_path_factory.mktemp("drain")
    journal = Journal(folder / "journal.sqlite")
    for next_fact in content:
        journal.append([next_fact], now=NOW)
    stores = [EmbeddedStore(folder / f"{name}.sqlite") for name in ("slow", "dying")]
    drain_all(journal, stores[0], limit=1)
    dying = Dying(stores[1], dies)
    while True:
        try:
            if not drain(journal, dying, now=clock, limit=limit).facts:
                break
        except StoreAway:
            continue
    slow, fast = map(everything, stores)
    assert fast == slow
    rows = journal.facts_after(0)
    for item in ("x", "y"):  # what a GET tells is what the store holds
        standing = item_after(None, rows, item) or {"hidden": True}
        held = next((row for row in slow["items"] if row["id"] == item), None)
        if held is None or (standing.keys() == {"hidden"}):
            continue
        assert standing.get("title") == held["title"]
        assert standing["hidden"] == held["hidden"]
        assert standing.get("attributes") == json.loads(held["attributes"] or "null")
        tags = [row["tag"] for row in slow["item_tags"] if row["item"] == item]
        assert sorted(tag_entry["tag"] for tag_entry in standing.get("tags", ())) == tags
    journal.close()
    for store in stores:
        store.close()


def test_of_two_drains_the_one_that_comes_too_late_writes_nothing(journal, store, monkeypatch):
    """The first is paused between reading and writing; the second goes on meanwhile."""
    journal.append([event(at=1, value=1.0)], now=NOW)

    class Paused:
        def __getattr__(self, name):
            return getattr(store, name)

        def apply(self, batch, **options):
            journal.append([event(at=1, value=2.0), event(at=2)], now=NOW)
            drain_all(journal, store, limit=1)
            before = everything(store)
            done = store.apply(batch, **options)
            assert everything(store) == before
            return done

    assert drain(journal, Paused(), now=clock).facts == 0
    assert store.position(source(journal)) == 3
    assert sorted(row["value"] or 0 for row in store.read("events").to_pylist()) == [0, 2.0]


class Choosy:
    """A store that refuses everything about one user."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def apply(self, batch, **options):
        if "events" in batch and "poison" in batch["events"]["user"].to_pylist():
            raise InputError("events.user: poison")
        return self._store.apply(batch, **options)


def test_what_the_store_refuses_for_itself_goes_aside_and_the_rest_goes_on(journal, store):
    events = [event(f"user {number}") for number in range(20)]
    events[3] = events[17] = event("poison")
    events[17] = event("poison", item="y")
    journal.append(events, now=NOW)
    done = drain(journal, Choosy(store), now=clock)
    assert (done.facts, done.refused, done.position) == (20, 2, 20)
    assert store.counts()["events"] == 18
    assert [(result.fact.sequence, result.reason, result.at) for result in aside(journal)] == [
        (4, "events.user: poison", NOW),
        (18, "events.user: poison", NOW),
    ]
    assert aside(journal)[0].fact.payload == {"user": "poison", "item": "x", "kind": "play"}
    assert retry(journal, 4, now=NOW + 1) == 21  # the store has learned to take it
    drop(journal, 18)
    assert aside(journal) == []
    assert drain(journal, store, now=clock).facts == 1
    users = set(store.read("users")["id"].to_pylist())
    assert "poison" in users
    assert store.counts()["events"] == 19
    assert [row.sequence for row in journal.facts_after(16)] == [17, 19, 20, 21]
    with pytest.raises(NotFound, match="inbox list"):
        drop(journal, 18)


def test_a_store_that_is_away_keeps_nothing_aside(journal, store):
    journal.append([event()], now=NOW)
    with pytest.raises(StoreAway):
        drain(journal, Dying(store, ["before"]), now=clock)
    assert aside(journal) == []
    assert drain(journal, store, now=clock).facts == 1


def test_a_journal_out_of_a_backup_gives_no_number_twice_and_loses_nothing(tmp_path, store):
    old = Journal(tmp_path / "backup.sqlite")
    old.append([event(at=1)], now=NOW)
    old.close()
    content = old.path.read_bytes()
    newer = Journal(old.path)
    newer.append([event(at=2), event(at=3)], now=NOW)
    drain_all(newer, store)
    newer.close()
    for left in tmp_path.glob("backup.sqlite*"):
        left.unlink()
    old.path.write_bytes(content)
    restored = Journal(old.path)
    restored.append([event(at=4)], now=NOW)  # number 2 again, and another fact
    drain(restored, store, now=clock)
    assert restored.append([event(at=5)], now=NOW)[0].sequence == 4
    drain_all(restored, store)
    assert sorted(row["at"] for row in store.read("events").to_pylist()) == [1, 2, 3, 4, 5]
    restored.close()


def test_only_one_process_has_the_lease(tmp_path):
    journal = tmp_path / "inbox" / "journal.sqlite"
    with lease(journal) as first, lease(journal) as second:
        assert (first, second) == (True, False)
    with lease(journal) as third:
        assert third


def test_a_release_says_up_to_which_fact_it_has_heard(planted_home, tmp_path):
    """The events of a release are those up to there, whatever is drained while it is made."""
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    journal, store = Journal(home.inbox), EmbeddedStore(home.store)
    journal.append([event("new", "x", at=NOW)], now=NOW)
    drain_all(journal, store)

    class Busy:
        """A store into which facts are drained between its reads."""

        def __getattr__(self, name):
            return getattr(store, name)

        def read(self, table, **options):
            if table == "events":
                journal.append([event("late", "x", at=NOW)], now=NOW)
                drain_all(journal, store)
            return store.read(table, **options)

    assert current_release(home).heard(journal.identity()) == 0
    refresh(Busy(), home, RefreshConfig(preset="fast", threads=1), now=NOW)
    release = current_release(home)
    assert release.heard(journal.identity()) == 1
    assert release.heard("another journal") == 0

    def of(user):
        return release.histories.of(release.users.row(user)).tolist()

    assert of("new") == [release.items.row("x")]
    assert "late" not in release.users or of("late") == []
    assert oldest_heard(home, journal.identity()) == 0  # the first release knows of nothing
    prune(home, 1)
    assert oldest_heard(home, journal.identity()) == 1
    journal.close()
    store.close()


def current_release(home):
    return open_release(home.releases / current(home))


def test_what_is_trimmed_is_gone_but_for_consent_and_numbers_go_on(journal):
    events = [event(at=1), fact("consent", {"id": "ann", "consent": {"train": False}}), event(at=2)]
    journal.append(events, now=NOW)
    assert journal.trim(2) == 1
    assert [row.sequence for row in journal.facts_after(0)] == [2, 3]
    assert [row.sequence for row in journal.standing_facts(3)] == [2]
    assert journal.standing_facts(1) == []
    assert journal.trim(3) == 1
    assert journal.append([event(at=1)], now=NOW)[0].sequence == 4
