"""An erasure on a real Neo4j server: nothing in the graph names the person any more."""

import json
from contextlib import closing

import pyarrow as pa
import pytest
from neo4j_fixture import address, ask, store  # noqa: F401 - fixtures
from store_contract import events, facts

from graph.findings import NEAR, SEGMENTS, Findings
from graph.model import table
from recommender.inbox import erasing
from recommender.inbox.drain import drain
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.overlay import erasure
from recommender.overlay.erasure import carrier
from recommender.overlay.spellings import spellings
from recommender.releases.home import Home

pytestmark = pytest.mark.neo4j


def left_of(address, person):
    """Every node and relationship that names a person, in whatever spelling."""
    nodes = ask(address, "MATCH (n) RETURN labels(n) AS kind, properties(n) AS held")
    edges = ask(address, "MATCH ()-[r]->() RETURN [type(r)] AS kind, properties(r) AS held")
    texts = [json.dumps([row["kind"], row["held"]], default=str) for row in nodes + edges]
    return [text for text in texts if spellings(person).search(text.encode())]


def test_nothing_in_the_graph_names_a_person_who_was_erased(address, store, tmp_path):
    """What loads, the inbox and models wrote about her; the drain carries the erasure here."""
    person, now = "Angélique d'Été/7", 1_760_000_000
    home = Home(tmp_path / "home").create()
    about = {"id": person, "consent": True, "attributes": '{"mail": "a@example.org"}'}
    for attributes in ("{}", about["attributes"]):  # the second load keeps what there was
        load = store.begin_load(now, {"files": ["people.csv"]})
        store.apply({"users": table("users", [about | {"attributes": attributes}])}, load=load)
        store.apply(events((person, "x"), (person, "y"), ("bob", "x")), load=load)
    with closing(Journal(home.inbox)) as journal:
        tagged = {
            "user": person,
            "item": "x",
            "kind": "tag",
            "tag": "quiet",
            "event_id": f"{person} 1",
        }
        friends = {"source": "bob", "target": person, "kind": "knows", "weight": 1.0}
        journal.append([fact("events", tagged), fact("user_relations", friends)], now=now)
        carry = carrier(journal, store, home, lambda: now)
        while drain(journal, store, now=lambda: now, carry=carry).facts:
            pass
        segments = pa.table({"user": [person, "bob"], "segment": ["s", "s"]}, schema=SEGMENTS)
        store.write_back(Findings(segments, NEAR.empty_table()), "release 1")
        assert left_of(address, person)
        sequence = erasure.ask(journal, home, person, now=now)
        while drain(journal, store, now=lambda: now, carry=carry).facts:
            pass
        receipt = erasing.receipt(journal, sequence)
    assert receipt.done
    assert {step.location: step.count for step in receipt.steps}["store"] == 3
    assert left_of(address, person) == []
    assert [row["user"] for row in facts(store, "events")] == ["bob"]
    assert store.undo_load(load)  # does not bring her back
    assert left_of(address, person) == []
