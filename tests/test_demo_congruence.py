"""On the demo, ready questions and reasons are the same on a Neo4j server and on the file."""

import re

import pytest
from neo4j_fixture import address, store
from test_hostile_queries import comparable

from graph.explore.console import Console, Limits, Target
from graph.explore.questions import questions
from graph.findings import load_findings
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.serving.live import Live
from recommender.serving.why import why

__all__ = ["address", "store"]  # fixtures
pytestmark = pytest.mark.neo4j
NOW = 1_760_000_000
NOT_IN_THE_DEMO = {  # no relations, friends, written tags, hides, dates of items there
    "items-in-several-domains", "rising-tags", "new-items", "why-relations", "hidden-wishes",
    "lonely-tags", "friends-know", "circle", "most-cited",
}  # fmt: skip


@pytest.fixture(
    params=[
        pytest.param((4_000, 10), id="4,000 events"),
        pytest.param((20_000, 20), id="20,000 events", marks=pytest.mark.long),
    ]
)
def demo(request, address, store, tmp_path):
    """The catalogue of `nichegraph demo` in both stores, with one release; (ask, home, users)."""
    home = Home(tmp_path).create()
    local = EmbeddedStore(home.store)
    for batch in generate(request.param[0], 0).batches():
        local.apply(batch)
        store.apply(batch)
    refresh(local, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    local.close()
    store.write_back(load_findings(home.explore), "1-first")
    limits = Limits(seconds=60.0)
    server = Target(address.uri, address.user, address.password, address.database)
    consoles = [
        Console(Target(str(home.store)), home.explore, limits=limits),
        Console(server, tmp_path / "explore-server", limits=limits),
    ]
    yield (
        (lambda query, given: [side.run(query, given, privacy=True) for side in consoles]),
        home,
        request.param[1],
    )
    for console in consoles:
        console.close()


def test_questions_and_reasons_are_the_same_on_both_engines(demo):
    ask, home, users = demo
    for name, listed_question in questions().items():
        file, server = ask(
            listed_question.query,
            listed_question.parameters | examples(ask, listed_question.parameters),
        )
        assert file.columns == server.columns
        assert comparable(file.rows) == comparable(server.rows), name
        assert (name in NOT_IN_THE_DEMO) == (not file.rows), name
    recommender = Live(home).recommender()
    reasons = people = 0
    for user in [f"reader-{n}" for n in range(1, users + 1)]:
        for shown in recommender.recommend([Request(user=user, n=3)], now=NOW)[0].items:
            for reason in why(recommender, user, shown.item, now=NOW)["reasons"]:
                file, server = ask(reason["cypher"]["query"], reason["cypher"]["parameters"])
                assert comparable(file.rows) == comparable(server.rows), reason
                assert file.rows, reason
                reasons += 1
                match = re.search(r"which (\d+) people", reason["text"])
                if match:
                    assert file.rows[0][file.columns.index("people")] == int(match[1]), reason
                    people += 1
    assert reasons >= 8 * users
    assert people >= users // 2


def examples(ask, parameters):
    """Values that are in the demo, for whatever a question asks."""

    def first(query):
        return ask(query, {})[0].rows[0]

    domains = first(
        "MATCH (d:Domain)<-[:IN]-() WITH d.name AS name, count(*) AS n ORDER BY n DESC, name "
        "RETURN collect(name)"
    )[0]
    category, tag, _ = first(
        "MATCH (t:Tag)<-[:HAS_TAG]-() RETURN t.category, t.name, count(*) AS n "
        "ORDER BY n DESC, t.name"
    )
    item, _ = first(
        "MATCH (i:Item)<-[:INTERACTED]-() RETURN i.id, count(*) AS n ORDER BY n DESC, i.id"
    )
    there = {
        "domain": domains[0], "from_domain": domains[0], "to_domain": domains[1],
        "user": "reader-1", "category": category, "tag": tag,
        "item": item,
        "segment": first("MATCH (s:Segment) RETURN s.name ORDER BY s.name")[0],
        "since": 1_700_000_000, "from_time": 1_690_000_000, "to_time": 1_720_000_000,
    }  # fmt: skip
    return {name: there[name] for name in parameters if name in there}
