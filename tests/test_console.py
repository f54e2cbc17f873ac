"""The console answers reading queries, hides people from strangers, and ends in time."""

import fcntl
import hashlib
import json
import threading
from pathlib import Path

import pytest
import small_world

from graph.errors import QueryRefused, QueryStopped, StoreAway, StoreError
from graph.explore import console_build, ladybug_graph
from graph.explore.console import Console, Limits, Target
from graph.explore.copies import (
    ErasedMeanwhile,
    forget,
    keep_only,
    local_secret,
    made_aside,
    pseudonym,
)
from graph.explore.cypher_guard import check, check_parameters
from graph.explore.ladybug_graph import GraphFile, graph_file
from graph.findings import load_findings, save_findings
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose store holds the small world, with findings."""
    home = tmp_path_factory.mktemp("home")
    store = EmbeddedStore(home / "store.sqlite")
    store.apply(small_world.batch())
    store.close()
    save_findings(small_world.findings(), home / "explore")
    return home


@pytest.fixture(scope="module")
def console(home):
    console = Console(
        Target(str(home / "store.sqlite")),
        home / "explore",
        limits=Limits(seconds=3.0),
        audit=home / "explore" / "audit.jsonl",
        now=lambda: 1_700_000_000.0,
    )
    yield console
    console.close()


def test_answers_with_columns_and_rows(console):
    query = (
        "MATCH (i:Item)-[:`IN`]->(d:Domain) WHERE d.name = $name RETURN count(DISTINCT i.id) AS n"
    )
    result = console.run(query, {"name": "noir"}, privacy=True)
    assert (result.columns, result.rows, result.truncated) == (["n"], [[20]], False)


def test_nodes_relationships_and_paths_are_plain_maps(console):
    query = "MATCH p = (u:User {id: 'user-01'})-[e:INTERACTED]->(i:Item) RETURN u, e, i, p LIMIT 1"
    user, event, item, path = console.run(query, {}, privacy=True).rows[0]
    assert (user["label"], user["properties"]["id"]) == ("User", "user-01")
    assert (event["type"], event["from"], event["to"]) == ("INTERACTED", user["node"], item["node"])
    assert path == {"path": [user, event, item]}


def test_strangers_see_pseudonyms_wherever_a_user_shows(console):
    """Ids, whole nodes, paths, order, aggregates: nowhere does a user's id come out."""
    ids = set(small_world.batch()["users"]["id"].to_pylist())
    for query in (
        "MATCH (u:User) RETURN u.id",
        "MATCH (u:User) RETURN u",
        "MATCH p = (u:User)-[:INTERACTED]->() RETURN p",
        "MATCH (u:User)-[:KNOWS]->(v:User) RETURN collect(u.id) AS a, v",
        "MATCH (u:User) RETURN properties(u) AS p, u.id + '' AS q, {x: u.id} AS m",
    ):
        result = console.run(query, {}, privacy=False)
        assert result.rows
        text = json.dumps(result.rows)
        assert not [user for user in ids if f'"{user}"' in text]
    assert console.run("MATCH (u:User {id: 'user-01'}) RETURN u", {}, privacy=False).rows == []


def test_a_pseudonym_is_the_same_everywhere_and_only_with_the_secret(console, home):
    secret = local_secret(home / "explore")
    name = pseudonym(secret, "user-01")
    query = "MATCH (u:User)-[:INTERACTED]->(i) WHERE u.id = $u RETURN DISTINCT i.id AS i ORDER BY i"
    hidden = console.run(query, {"u": name}, privacy=False)
    assert hidden.rows == console.run(query, {"u": "user-01"}, privacy=True).rows != []
    assert pseudonym(b"another", "user-01") != name
    assert local_secret(home / "explore") == secret
    assert (home / "explore" / "secret").stat().st_mode & 0o077 == 0


def test_strangers_rows_are_not_in_the_order_of_ids(console):
    """The place of a row in the file would otherwise tell the rank of the id."""
    shown = console.run("MATCH (u:User) RETURN u.id", {}, privacy=False).rows
    secret = local_secret(console.folder)
    ids = small_world.batch()["users"]["id"].to_pylist()
    assert [row[0] for row in shown] == sorted(pseudonym(secret, user) for user in ids)
    assert [row[0] for row in shown] != [pseudonym(secret, user) for user in sorted(ids)]


def test_strangers_see_days_and_no_tag_of_few_people(console):
    events = "MATCH ()-[e:INTERACTED]->() RETURN e.at, e.tag"
    rows = console.run(events, {}, privacy=False).rows
    assert all(at is None or at % 86_400 == 0 for at, _ in rows)
    assert not any(tag for _, tag in rows)  # each was written by fewer than twenty people
    assert any(tag for _, tag in console.run(events, {}, privacy=True).rows)


def test_rows_and_bytes_are_limited(home):
    """Whatever time it takes: of 23,716 pairs of nodes so many rows, or so many bytes."""
    limits = Limits(seconds=3_600.0, rows=2_000, bytes=100_000)  # no clock decides
    console = Console(Target(str(home / "store.sqlite")), home / "explore", limits=limits)
    try:
        result = console.run("MATCH (a), (b) RETURN a.id, b.id", {}, privacy=True)
        assert (len(result.rows), result.truncated) == (limits.rows, True)
        wide = console.run("MATCH (a), (b) RETURN a, b, {x: a, y: b}", {}, privacy=True)
    finally:
        console.close()
    assert wide.truncated
    assert 0 < len(wide.rows) < limits.rows
    assert len(json.dumps(wide.rows)) <= limits.bytes + len(wide.rows) * 4


def test_a_query_that_outruns_its_time_is_stopped_and_the_next_is_answered(console):
    with pytest.raises(QueryStopped, match="stopped"):
        console.run("MATCH (a)-[*1..30]-(b) RETURN count(*)", {}, privacy=True)
    assert console.run("RETURN 1 AS x", {}, privacy=True).rows == [[1]]


def test_a_query_that_wants_too_much_memory_is_stopped_and_the_next_is_answered(console):
    with pytest.raises(QueryStopped, match="stopped"):
        console.run(
            "MATCH (a), (b), (c), (d), (e) RETURN a, b, c, d, e ORDER BY e.id", {}, privacy=True
        )
    assert console.run("RETURN 1 AS x", {}, privacy=True).rows == [[1]]


def test_a_killed_worker_is_replaced(console):
    console.run("RETURN 1 AS x", {}, privacy=True)
    for workers in console._idle.values():
        for worker in workers:
            worker._process.kill()
            worker._process.wait()
    assert console.run("RETURN 1 AS x", {}, privacy=True).rows == [[1]]


def test_a_third_query_at_once_is_refused(console):
    slots = [(console.folder / f".slot-{n}").open("a") for n in range(2)]
    try:
        for slot in slots:
            fcntl.flock(slot, fcntl.LOCK_EX)
        with pytest.raises(StoreAway, match="running already"):
            console.run("RETURN 1 AS x", {}, privacy=True)
    finally:
        for slot in slots:
            slot.close()
    assert console.run("RETURN 1 AS x", {}, privacy=True).rows == [[1]]


def test_threads_get_their_own_answers(console):
    answers = {}

    def ask(number):
        answers[number] = console.run("RETURN $n AS n", {"n": number}, privacy=True).rows

    for pair in range(0, 6, 2):
        threads = [threading.Thread(target=ask, args=(pair + k,)) for k in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: [[number]] for number in range(6)}


def test_every_query_is_in_the_audit_log_by_its_hash_alone(console):
    log = console.folder / "audit.jsonl"
    before = len(log.read_text().splitlines())
    answered, refused = "RETURN 'very secret' AS x", "CREATE (:Evil)"
    console.run(answered, {}, privacy=False)
    with pytest.raises(QueryRefused):
        console.run(refused, {}, privacy=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    assert [line["query"] for line in lines] == [
        hashlib.sha256(text.encode()).hexdigest() for text in (answered, refused)
    ]
    assert [(line["verdict"], line["rows"], line["privacy"]) for line in lines] == [
        ("answered", 1, False),
        ("refused", 0, True),
    ]
    assert all(line["at"] == 1_700_000_000.0 for line in lines)
    assert "very secret" not in log.read_text()


def test_mistakes_are_told_in_the_words_of_the_engine(console):
    with pytest.raises(QueryRefused, match="nope"):
        console.run("MATCH (u:User) RETURN u.nope", {}, privacy=True)
    with pytest.raises(QueryRefused, match="missing"):
        console.run("RETURN $missing AS x", {}, privacy=True)


def test_a_copy_is_made_once_per_snapshot_and_old_ones_go(home):
    store = EmbeddedStore(home / "store.sqlite")
    snapshot = take_snapshot(store)
    store.close()
    folder = home / "other"
    first = graph_file(snapshot, folder)
    made = first.stat().st_mtime_ns
    assert graph_file(snapshot, folder) == first
    assert first.stat().st_mtime_ns == made
    with_findings = graph_file(snapshot, folder, findings=load_findings(home / "explore"))
    assert with_findings.parent != first.parent
    keep_only(folder, with_findings.parent.name)
    assert (first.exists(), with_findings.exists()) == (False, True)
    forget(folder)
    assert not with_findings.exists()


@pytest.mark.parametrize("moment", ["take_snapshot", "load_findings", "sync", "graph_file"])
def test_who_is_erased_while_a_copy_is_made_is_in_no_copy(tmp_path, monkeypatch, moment):
    """Whatever the maker of the copy has done when the erasure comes."""
    EmbeddedStore(tmp_path / "store.sqlite").close()
    store = EmbeddedStore(tmp_path / "store.sqlite")
    store.apply(small_world.batch())
    folder = tmp_path / "explore"
    module = ladybug_graph if moment == "sync" else console_build
    step, calls = getattr(module, moment), []

    def then_erase(*given, **named):
        done = step(*given, **named)
        calls.append(moment)
        if len(calls) == 1:
            store.erase_user("user-01")
            forget(folder)
        return done

    monkeypatch.setattr(module, moment, then_erase)
    order = {"target": {"uri": str(tmp_path / "store.sqlite")}, "folder": str(folder)}
    outcome = console_build.build(order | {"secret": None})
    store.close()
    if moment == "graph_file":  # it was in place already, and went
        assert not [*folder.glob("**/*.lbug")]
        return
    assert len(calls) == 2
    assert [str(path) for path in folder.glob("**/*.lbug")] == [outcome["path"]]
    rows = GraphFile(Path(outcome["path"]), seconds=5, memory=1 << 28).rows
    assert next(rows("MATCH (u:User {id: 'user-01'}) RETURN count(u)", {})[1]) == [0]
    assert next(rows("MATCH (u:User) RETURN count(u)", {})[1]) == [47]


def test_a_copy_in_the_making_is_forgotten_too(tmp_path):
    """Its file goes at the erasure, not when its maker is done; what a killed one left goes."""
    path = tmp_path / "fingerprint" / "graph.lbug"
    with pytest.raises(ErasedMeanwhile), made_aside(path, "") as aside:
        aside.write_text("alice")
        forget(tmp_path)
        assert not aside.exists()
        aside.read_text()
    left = tmp_path / ".making-999999999-00-graph.lbug"
    left.write_text("alice")
    keep_only(tmp_path, "other")
    assert not left.exists()


def test_a_copy_that_was_deleted_is_made_again(console, home):
    """An erasure deletes all copies; whatever process asks next gets the graph as it is."""
    forget(home / "explore")
    save_findings(small_world.findings(), home / "explore")
    for workers in console._idle.values():
        for worker in workers:
            worker.kill()
    for privacy in (True, False):
        assert console.run("MATCH (u:User) RETURN count(u) AS n", {}, privacy=privacy).rows == [
            [48]
        ]


def test_an_empty_graph_can_be_asked(tmp_path):
    EmbeddedStore(tmp_path / "store.sqlite").close()
    console = Console(Target(str(tmp_path / "store.sqlite")), tmp_path / "explore")
    try:
        for privacy in (True, False):
            rows = console.run("MATCH (n) RETURN count(n) AS n", {}, privacy=privacy).rows
            assert rows == [[0]]
    finally:
        console.close()


def test_a_store_that_is_not_ours_is_said_to_be(tmp_path):
    (tmp_path / "store.sqlite").write_bytes(b"no store at all" * 100)
    console = Console(Target(str(tmp_path / "store.sqlite")), tmp_path / "explore")
    with pytest.raises(StoreError, match=r"store\.sqlite"):
        console.run("RETURN 1 AS x", {}, privacy=True)


def test_strings_reach_the_engine_as_parameters():
    checked = check("MATCH (n {id: 'it\\'s \\u00fc'}) RETURN n // why", "neo4j")
    assert checked.text == "MATCH (n {id: $_text0}) RETURN n"
    assert checked.strings == {"_text0": "it's ü"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"a b": 1},
        {"_text0": "x"},
        {"x": 2**63},
        {"x": "y" * 200_000},
        {"x": [[[[[[[[1]]]]]]]]},
        {"x": "\ud800"},
        {"x": object()},
    ],
)
def test_parameters_must_be_small_and_plain(parameters):
    with pytest.raises(QueryRefused):
        check_parameters(parameters)
