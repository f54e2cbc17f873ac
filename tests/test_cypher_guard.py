"""Cypher as people write it is written anew for each engine, or refused with the way that works."""

import re
from pathlib import Path

import pytest
import small_world

from graph.errors import QueryRefused
from graph.explore.console import Console, Target
from graph.explore.cypher_guard import check
from graph.stores.embedded_store import EmbeddedStore

DAY = 86_400


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Ask the file of the small world: `ask(query, name=value)` gives the result."""
    home = tmp_path_factory.mktemp("home")
    store = EmbeddedStore(home / "store.sqlite")
    store.apply(
        small_world.batch()
        | {"users": small_world.table("users", [{"id": "user-01", "attributes": '{"age": 30}'}])}
    )
    store.close()
    console = Console(Target(str(home / "store.sqlite")), home / "explore")
    yield lambda query, privacy=True, **given: console.run(query, given, privacy=privacy)
    console.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[10, 20, 30][0]", 10),
        ("[10, 20, 30][-1]", 30),
        ("[10, 20, 30, 40][1..3]", [20, 30]),
        (".5 + 1", 1.5),
        ("[.25, 1.5e2]", [0.25, 150.0]),
        ("[10, 20, 30][..2]", [10, 20]),
        ("head([10, 20])", 10),
        ("tail([10, 20, 30])", [20, 30]),
        ("substring('abcdef', 0, 2)", "ab"),
        ("substring('abcdef', 2)", "cdef"),
        ("split('a-b', '-')[1]", "b"),
        ("toInteger('07') + 1", 8),
        ("toInteger(2.7)", 2),
        ("round(log(100.0), 3)", 4.605),
        ("'a' || 'b'", "ab"),
        ("'n: ' + 5", "n: 5"),
        ("[x IN [1, 2, 3] WHERE x > 1 | x * 2]", [4, 6]),
        ("reduce(total = 10, x IN [1, 2, 3] | total + x)", 16),
        ("reduce(total = 1, x IN [2, 3] | total * (x + 1))", 12),
        ("any(x IN ['a', 'b'] WHERE x = 'b')", True),
        ("all(x IN ['a', 'b'] WHERE x = 'b')", False),
        ("'Bach' =~ 'B.*'", True),
        ("'Bach' =~ 'ac'", False),
        ("1 < 2 < 3", True),
        ("2 <-1", False),
        ("datetime('2024-12-01T18:30').hour", 18),
        ("date('2024-12-01').dayOfWeek", 7),
        ("datetime({epochSeconds: 0}).year", 1970),
        ("datetime('1970-01-02').epochSeconds", DAY),
        ("date({year: 2024, month: 2, day: 29}).day", 29),
        ("toString(date.truncate('month', date('2024-12-24')))", "2024-12-01"),
        ("date('2024-12-01') < date('2024-12-02')", True),
        ("datetime('2024-12-01') > datetime() - duration('P7D')", False),
        ("CAST('12' AS INT64)", 12),
    ],
)
def test_an_expression_means_what_it_means_on_neo4j(ask, expression, value):
    assert ask(f"RETURN {expression} AS x").rows == [[value]]


def test_rows_are_ordered_and_cut_before_they_are_counted(ask):
    """The engine alone takes any rows here."""
    for query in (
        "UNWIND [3, 1, 2] AS x WITH x ORDER BY x LIMIT 2 RETURN collect(x) AS l",
        "UNWIND [3, 1, 2] AS x WITH x ORDER BY x LIMIT 2 WITH x + 0 AS y RETURN collect(y) AS l",
        "UNWIND [3, 1, 2] AS x WITH x ORDER BY x LIMIT 3 WHERE x < 3 RETURN collect(x) AS l",
    ):
        assert ask(query).rows == [[[1, 2]]], query
    (ids,) = ask("MATCH (i:Item) WITH i ORDER BY i.id RETURN collect(i.id) AS ids").rows[0]
    assert ids == sorted(ids)


def test_no_relationship_is_walked_twice_in_a_pattern(ask):
    """Pairs of events on one item, from the batch: none with itself."""
    events = [e for e in small_world.batch()["events"].to_pylist() if e["item"] == "item-05"]
    pairs = len(events) * (len(events) - 1)
    query = "MATCH (a:User)-[:INTERACTED]->(i:Item {id: 'item-05'})<-[:INTERACTED]-(b:User)"
    assert ask(f"{query} RETURN count(*) AS n").rows == [[pairs]]
    there = [event["user"] for event in events]
    apart = sum(a != b for a in there for b in there)
    assert ask(f"{query} WHERE a.id <> b.id RETURN count(*) AS n").rows == [[apart]]


def test_a_pattern_that_says_already_what_differs_gets_no_condition():
    query = "MATCH (a:Item)<-[:INTERACTED]-(u)-[:INTERACTED]->(b:Item) WHERE a.id <> b.id RETURN u"
    assert "link" not in check(query, "ladybug").text
    assert "id(link1) <> id(link2)" in check(query.replace("<> b.id", "< 'x'"), "ladybug").text


@pytest.mark.parametrize("when", ["'2021-01-15'", "$since", "date('2021-01-15')"])
def test_times_are_asked_for_as_dates(ask, when):
    since = 1_610_668_800  # 2021-01-15 in UTC
    events = [e["at"] for e in small_world.batch()["events"].to_pylist()]
    right = sum(at is not None and at >= since for at in events)
    given = {"since": "2021-01-15"} if when == "$since" else {}
    query = f"MATCH ()-[e:INTERACTED]->() WHERE e.at >= {when} RETURN count(*) AS n"
    assert ask(query, **given).rows == [[right]]
    assert 0 < right < len(events)


def test_columns_that_are_times_are_known(ask):
    query = "MATCH (u)-[e:INTERACTED]->(i) WITH u, min(e.at) AS first RETURN u.id, first LIMIT 1"
    assert ask(query).times == (False, True)
    assert ask("MATCH (i:Item) RETURN i.created_at / 60, i.created_at LIMIT 1").times == (
        False,
        True,
    )


def test_headers_are_what_was_written(ask):
    query = "MATCH (u:User)  RETURN count(*), u.id =  'x' AS `is it`, left( u.id, 3 ) LIMIT 1"
    assert ask(query).columns == ["count(*)", "is it", "left( u.id, 3 )"]
    assert ask("MATCH (t:Tag) RETURN t.name + '!' LIMIT 1").columns == ["t.name + '!'"]


def test_people_have_attributes_and_strangers_see_none(ask):
    query = "MATCH (u:User) WHERE u.attributes IS NOT NULL RETURN u.attributes"
    assert ask(query).rows == [['{"age": 30}']]
    assert ask(query, privacy=False).rows == []


@pytest.mark.parametrize(
    ("query", "way"),
    [
        ("MATCH (n:Person) RETURN n", "there are User, Item, Tag"),
        ("MATCH (n:item) RETURN n", "did you mean Item"),
        ("MATCH (u)-[:LIKED]->(i) RETURN i", "there are INTERACTED"),
        ("MATCH (n:User:Item) RETURN n", "User|Item"),
        ("MATCH (u:User) RETURN [(u)-[:KNOWS]->(v) | v.id]", "collect"),
        ("MATCH (u:User) RETURN COLLECT { MATCH (u)-->(v) RETURN v.id }", "collect"),
        ("MATCH (u:User) CALL { WITH u MATCH (u)-->(i) RETURN count(i) AS n } RETURN n", "WITH"),
        ("MATCH (u:User) USING INDEX u:User(id) RETURN u", "leave them out"),
        ("SELECT u.id FROM User", "MATCH"),
        ("MATCH (u:User) RETURN u.id, count(*) GROUP BY u.id", "groups by"),
        ("MATCH (u:User) RETURN rand()", "ORDER BY"),
        ("MATCH (u:User) WITH u.id, count(*) AS n RETURN n", "AS something"),
        ("CALL apoc.meta.schema()", "db.labels()"),
        ("CALL db.schema.visualization()", "db.labels()"),
        ("MATCH (a)-[:KNOWS]->{1,3}(b) RETURN b", "*1..3"),
        ("MATCH p = shortestPath((a)-[:KNOWS]->(b)) RETURN p", "*..5"),
        ("MATCH (u:User) WHERE u.id =~ '(a+)+' RETURN u", "CONTAINS"),
        ("MATCH ()-[e]->() WHERE e.at > '2024-13-40' RETURN e", "2024-12-01"),
        ("MATCH (u:User) SET u.x = 1", "only read"),
        ("MATCH (u:User)", "RETURN"),
        ("RETURN 99999999999999999999 AS x", "64 bits"),
        (f"RETURN {'9' * 5000} AS x", "64 bits"),
        (f"MATCH (u:User) RETURN u LIMIT {'9' * 5000}", "64 bits"),
        ("RETURN ² AS x", "²"),
        ("RETURN apoc.text.join(['a'], 'b')", "APOC"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_that_works(query, way):
    with pytest.raises(QueryRefused, match=re.escape(way)) as refused:
        check(query, "ladybug")
    assert "oC_" not in str(refused.value)


def test_the_words_of_a_parser_are_never_shown(ask):
    """What the guard lets through and the engine refuses is told in plain words."""
    for query in (
        "MATCH (u:User) RETURN u.colour",
        "RETURN [1, 2][7] AS x",
        "RETURN toInteger('x') AS x",
        "MATCH (u:User) RETURN unknown",
        "RETURN [1, 'a'] AS x",
        "MATCH (i:Item)<-[:INTERACTED]-(u) RETURN i.id + count(u)",
    ):
        with pytest.raises(QueryRefused) as refused:
            ask(query)
        assert not re.search(r"exception:|oC_|iC_|Assertion", str(refused.value)), refused.value


def test_a_worker_that_is_starved_by_earlier_queries_is_replaced(ask):
    query = (
        "MATCH (u:User)-[e:INTERACTED]->(i:Item) RETURN i.id AS id, count(*) AS n ORDER BY n DESC"
    )
    assert {len(ask(query).rows) for _ in range(120)} == {78}


def test_the_corpus_says_what_it_is():
    text = (Path(__file__).parent / "hostile" / "analysts.cypher").read_text()
    for habit in (
        "[:IN]",
        "=~",
        "type(r)",
        "EXISTS {(u)-->(i)}",
        "reduce(",
        "shortestPath(",
        "CALL db.",
    ):
        assert habit in text


def test_the_same_text_is_asked_with_other_values(ask):
    """The engine alone keeps the plan of the first values."""
    query = (
        "MATCH (i:Item) WITH i ORDER BY i.id SKIP $skip LIMIT $limit RETURN collect(i.id) AS ids"
    )
    for skip, limit in ((0, 20), (3, 2), (0, 1), (5, 30)):
        ids = [f"item-{n:02}" for n in range(skip, skip + limit)]
        assert ask(query, skip=skip, limit=limit).rows == [[ids]]
    count = "MATCH ()-[e:INTERACTED]->() RETURN sum(CASE WHEN e.at >= $t THEN 1 ELSE 0 END) AS n"
    events = [e["at"] for e in small_world.batch()["events"].to_pylist()]
    for since in (0, 1_620_000_000, 1_640_000_000, 10**12):
        right = sum(at is not None and at >= since for at in events)
        assert ask(count, t=since).rows == [[right]]
