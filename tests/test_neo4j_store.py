"""The store on a real Neo4j server: the contract, the embedded store beside it, and kills."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neo4j_fixture import address, ask, store  # noqa: F401 - fixtures
from store_contract import StoreContract, batch_of_everything, events, facts

from graph.errors import StoreForeign
from graph.findings import NEAR, SEGMENTS, Findings
from graph.model import SCHEMAS, table
from graph.snapshot import take_snapshot
from graph.stores import neo4j_writing
from graph.stores.cypher import CONSTRAINTS, SCHEMA_VERSION
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate

pytestmark = pytest.mark.neo4j


class TestNeo4jContract(StoreContract):
    @pytest.fixture
    def fresh(self, address):
        opened = []

        def fresh():
            address.empty()
            opened.append(address.store())
            return opened[-1]

        yield fresh
        for made in opened:
            made.close()


# The same operations on both stores

names = st.sampled_from(["a", "b", "Ελένη", "c/d"])
maybe_time = st.none() | st.integers(-5, 5)
event = st.fixed_dictionaries(
    {
        "user": names,
        "item": names,
        "kind": st.sampled_from(["like", "play", "tag"]),
        "value": st.none() | st.sampled_from([1.0, 2.5]),
        "tag": st.none() | st.sampled_from(["noir", "jazz"]),
        "at": maybe_time,
        "event_id": st.none() | st.sampled_from(["1", "2", "3"]),
    }
)
weight = st.none() | st.sampled_from([0.5, 2.0])
rows = {
    "users": st.fixed_dictionaries(
        {
            "id": names,
            "consent": st.none() | st.booleans(),
            "attributes": st.sampled_from([None, "{}"]),
        }
    ),
    "items": st.fixed_dictionaries(
        {
            "id": names,
            "title": st.sampled_from([None, "T", "U"]),
            "created_at": maybe_time,
            "hidden": st.none() | st.booleans(),
        }
    ),
    "item_tags": st.fixed_dictionaries(
        {
            "item": names,
            "category": st.sampled_from(["tag", "genre"]),
            "tag": names,
            "weight": weight,
        }
    ),
    "item_domains": st.fixed_dictionaries({"item": names, "domain": names, "weight": weight}),
    "events": event,
    "item_relations": st.fixed_dictionaries(
        {
            "source": names,
            "target": names,
            "kind": st.sampled_from(["cites", "part"]),
            "weight": weight,
        }
    ),
    "user_relations": st.fixed_dictionaries(
        {"source": names, "target": names, "kind": st.just("friend"), "weight": weight}
    ),
}
batch = st.fixed_dictionaries(
    {}, optional={name: st.lists(row, min_size=1, max_size=6) for name, row in rows.items()}
).map(lambda tables: {name: table(name, given) for name, given in tables.items()})
operation = st.one_of(
    st.tuples(st.just("apply"), batch, st.sampled_from([None, "n1", "n2"]), st.booleans()),
    st.tuples(st.just("apply"), batch, st.none(), st.just(False)),
    st.tuples(st.just("erase"), names),
)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(operation, min_size=1, max_size=6))
def test_both_stores_give_the_same_after_any_operations(address, tmp_path_factory, operations):
    """Reads, counts, snapshots until any moment and fingerprints are those of the embedded one."""
    address.empty()
    both = [address.store(), EmbeddedStore(tmp_path_factory.mktemp("pair") / "graph.sqlite")]
    moments = []
    for what, *arguments in operations:
        if what == "apply":
            tables, name, replace = arguments
            answers = [side.apply(tables, name=name, replace=replace) for side in both]
        else:
            answers = [side.erase_user(arguments[0]) for side in both]
        assert answers[0] == answers[1]
        moments.append([side.watermark() for side in both])
    for name in SCHEMAS:
        assert facts(both[0], name) == facts(both[1], name), name
    assert both[0].counts() == both[1].counts()
    for marks in moments:
        untils = [
            facts(store, "events", until=mark) for store, mark in zip(both, marks, strict=True)
        ]
        assert untils[0] == untils[1]
    assert take_snapshot(both[0]).fingerprint == take_snapshot(both[1]).fingerprint
    for side in both:
        side.close()


# The model an analyst sees


def test_the_graph_has_the_shape_the_docs_draw(store, address):
    store.apply(batch_of_everything())
    [result] = ask(
        address,
        "MATCH (u:User {id: 'bob'})-[r:INTERACTED {kind: 'tag', tag: 'noir'}]->(i:Item {id: 'z'}) "
        "MATCH (u)-[used:USED]->(t:Tag {category: 'tag', name: 'noir'})<-[h:HAS_TAG]-(x:Item) "
        "RETURN r.event_id AS id, r.seq AS seq, used.events AS used, x.id AS item, h.weight AS w",
    )
    assert result.data() == {"id": "e1", "seq": 1, "used": 1, "item": "x", "w": 1.0} | {
        "seq": result["seq"]
    }
    assert ask(address, "MATCH (:User {id: 'ann'})-[:KNOWS {kind: 'friend'}]->(f) RETURN f.id")
    assert ask(address, "MATCH (:Item {id: 'y'})-[:IN {weight: 2.0}]->(d:Domain) RETURN d.name")


def test_a_used_tag_counts_every_event_and_follows_an_event_that_changes(store, address):
    store.apply(events({"user": "a", "item": "x", "tag": "t", "at": 1}))
    store.apply(events({"user": "a", "item": "x", "tag": "t", "event_id": "9"}))
    used = "MATCH (:User {id: 'a'})-[r:USED]->(t) RETURN t.name AS name, r.events AS n"
    assert [row.data() for row in ask(address, used)] == [{"name": "t", "n": 2}]
    store.apply(events({"user": "b", "item": "x", "tag": "t", "event_id": "9"}))
    assert [row.data() for row in ask(address, used)] == [{"name": "t", "n": 1}]


def test_a_large_batch_in_several_transactions_shows_only_when_complete(store, monkeypatch):
    """Cut in pieces, killed after the first: no snapshot has a part; the second try completes."""
    monkeypatch.setattr(neo4j_writing, "TRANSACTION_EVENTS", 10)
    monkeypatch.setattr(neo4j_writing, "STATEMENT_ROWS", 7)
    store.apply(events(("before", "x")))
    mark = store.watermark()
    batch = events(*((f"u{k % 9}", f"i{k}") for k in range(60)))
    whole = neo4j_writing._save_counter
    calls = []

    def dies_at_the_second(tx, counter):
        calls.append(counter)
        if len(calls) == 2:
            raise KeyError("killed")
        whole(tx, counter)

    monkeypatch.setattr(neo4j_writing, "_save_counter", dies_at_the_second)
    with pytest.raises(KeyError):
        store.apply(batch, name="load")
    assert store.watermark() == mark
    assert len(facts(store, "events", until=mark)) == 1
    monkeypatch.setattr(neo4j_writing, "_save_counter", whole)
    assert store.apply(batch, name="load")
    assert len(facts(store, "events", until=store.watermark())) == 61
    assert not store.apply(batch, name="load")


def test_an_index_that_a_killed_client_left_without_its_constraint_is_replaced(store, address):
    ask(address, "DROP CONSTRAINT item_id IF EXISTS")
    ask(address, "CREATE INDEX item_id FOR (n:Item) ON (n.id)")
    store.apply(events(("a", "x")))
    names = [row["name"] for row in ask(address, "SHOW CONSTRAINTS YIELD name")]
    assert "item_id" in names and len(names) == len(CONSTRAINTS)


def test_a_database_of_a_newer_version_is_refused(store, address):
    store.apply(events(("a", "x")))
    ask(address, "MATCH (c:Counter) SET c.schema = $v", v=SCHEMA_VERSION + 1)
    with pytest.raises(StoreForeign, match="newer version"):
        store.apply(events(("b", "x")))
    with pytest.raises(StoreForeign, match="newer version"):
        store.read("events")


# What models found


def test_write_back_replaces_what_the_release_before_found(store, address):
    """Segments and nearest items are explorable, old ones go, facts stay as they were."""
    store.apply(events(("a", "x"), ("b", "y")))
    before = take_snapshot(store).fingerprint
    first = Findings(
        pa.table([["a", "b", "gone"], ["s1", "s2", "s1"]], schema=SEGMENTS),
        pa.table([["x", "y"], ["y", "x"], [0.5, 0.25]], schema=NEAR),
    )
    store.write_back(first, "1-abc")
    second = Findings(
        pa.table([["a"], ["s3"]], schema=SEGMENTS), pa.table([["x"], ["y"], [0.75]], schema=NEAR)
    )
    for _ in range(2):
        store.write_back(second, "2-def")
        segments = ask(address, "MATCH (u:User)-[:IN_SEGMENT]->(s) RETURN u.id, s.name")
        assert [row.values() for row in segments] == [["a", "s3"]]
        assert [r.values() for r in ask(address, "MATCH (s:Segment) RETURN s.name")] == [["s3"]]
        near = ask(address, "MATCH (a)-[n:NEAR]->(b) RETURN a.id, b.id, n.score")
        assert [row.values() for row in near] == [["x", "y", 0.75]]
    assert take_snapshot(store).fingerprint == before


# Kills

PARTS = 6
ROOT = Path(__file__).parents[1]


def part(number):
    """One named batch of several that a killed client loads; drawn anew from its number."""
    drawn = random.Random(number)
    return events(
        *(
            {
                "user": f"u{drawn.randrange(40)}",
                "item": f"i{drawn.randrange(60)}",
                "value": drawn.choice([None, 1.0, 2.0]),
                "tag": drawn.choice([None, "t1", "t2"]),
                "at": drawn.randrange(50),
            }
            for _ in range(300)
        )
    )


def load_all(uri, user, password, database):
    """What the killed process runs (see the end of this file)."""
    from graph.stores.neo4j_store import Neo4jStore

    store = Neo4jStore(uri, user, password, database, deadline=20.0)
    print("ready", flush=True)
    for number in range(PARTS):
        store.apply(part(number), name=f"part {number}")
    store.close()


def client(address):
    return subprocess.Popen(
        [sys.executable, __file__, address.uri, address.user, address.password, address.database],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
    )


def expected(tmp_path):
    store = EmbeddedStore(tmp_path / "expected.sqlite")
    for number in range(PARTS):
        store.apply(part(number))
    fingerprint = take_snapshot(store).fingerprint
    store.close()
    return fingerprint


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)], ids=["5", "50"])
def test_a_load_killed_at_random_moments_and_run_again_gives_the_same_graph(
    store, address, tmp_path, kills
):
    wanted = expected(tmp_path)
    moments = random.Random(4)
    killed = 0
    while killed < kills:
        address.empty()
        for _ in range(min(5, kills - killed)):
            process = client(address)
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moments.random() * 0.8)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            killed += 1
        for number in range(PARTS):
            store.apply(part(number), name=f"part {number}")
        assert take_snapshot(store).fingerprint == wanted


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.long)], ids=["2", "10"])
def test_a_server_killed_at_random_moments_has_lost_and_doubled_nothing(
    store, address, tmp_path, kills
):
    if address.server is None:
        pytest.skip("the server was given by NEO4J_TEST_URI: it is not ours to kill")
    wanted = expected(tmp_path)
    moments = random.Random(5)
    for _ in range(kills):
        process = client(address)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(moments.random() * 0.8)
        address.server.kill()
        process.kill()
        process.wait()
        process.stdout.close()
        address.server.start()
    again = address.store(deadline=60.0)
    for number in range(PARTS):
        again.apply(part(number), name=f"part {number}")
    assert take_snapshot(again).fingerprint == wanted
    again.close()


SNAPSHOT = """
import resource, sys
from graph.stores.neo4j_store import Neo4jStore
from graph.snapshot import take_snapshot
from loaders.synthetic import generate
store = Neo4jStore(*sys.argv[1:], deadline=60.0)
store.counts()  # connected, driver and Arrow in place
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
events = take_snapshot(store).events
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(events.user), (after - before) * 1024)
"""


@pytest.mark.long
def test_memory_of_a_snapshot_is_bounded_by_its_arrays(address, store):
    """A snapshot has 28 bytes an event; a record of the driver alone would be ten times that."""
    events = [b["events"] for b in generate(500_000, seed=1).batches() if "events" in b]
    store.apply({"events": pa.concat_tables(events)})
    given = [address.uri, address.user, address.password, address.database]
    done = subprocess.run(
        [sys.executable, "-c", SNAPSHOT, *given], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, grown = (int(word) for word in done.stdout.split())
    assert count >= 450_000
    assert grown < 6 * 28 * count, f"{grown / count:.0f} bytes an event"


if __name__ == "__main__":
    load_all(*sys.argv[1:])


@pytest.mark.neo4j
def test_a_property_of_an_older_version_gets_its_name_of_today(address, store):
    store.apply({"items": table("items", [{"id": "a", "title": "A"}])})
    ask(address, "MATCH (n:Item {id: 'a'}) SET n.told = 7 REMOVE n.described")
    again = address.store()
    again.apply({"items": table("items", [{"id": "b"}])})
    again.close()
    (node,) = ask(address, "MATCH (n:Item {id: 'a'}) RETURN n.told AS old, n.described AS new")
    assert (node["old"], node["new"]) == (None, 7)
