"""An erasure on a real Neo4j server: nothing in the graph names the person any more."""

from contextlib import closing

import pyarrow as pa
import pytest
from neo4j_fixture import address, store  # noqa: F401 - fixtures
from store_contract import events, facts

from api.cli.main import run
from graph.findings import NEAR, SEGMENTS, Findings
from graph.model import table
from recommender.inbox import erasing
from recommender.inbox.drain import drain
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.overlay import erasure
from recommender.overlay.erasure import carrier
from recommender.releases.home import Home

pytestmark = pytest.mark.neo4j


@pytest.fixture
def verify(address, tmp_path, monkeypatch, capsys):
    """What `erase --verify` says of a person: the exit code, and the lines about the graph."""
    monkeypatch.setenv("NICHEGRAPH_STORE", address.uri)
    for name in ("user", "password", "database"):
        monkeypatch.setenv(f"NICHEGRAPH_NEO4J_{name.upper()}", getattr(address, name))

    def verified(person):
        code = run(["--home", str(tmp_path / "home"), "erase", person, "--verify"])
        lines = capsys.readouterr().out.splitlines()
        return code, [line for line in lines if line.startswith("Neo4j: ")]

    return verified


def test_nothing_in_the_graph_names_a_person_who_was_erased(verify, store, tmp_path):
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
        assert verify(person) == (1, ["Neo4j: 2 times"])  # her node, and the id of an event
        sequence = erasure.ask(journal, home, person, now=now)
        while drain(journal, store, now=lambda: now, carry=carry).facts:
            pass
        receipt = erasing.receipt(journal, sequence)
    assert receipt.done
    assert {step.location: step.count for step in receipt.steps}["store"] == 3
    assert verify(person) == (0, ["Neo4j: 0 times"])
    assert [row["user"] for row in facts(store, "events")] == ["bob"]
    assert store.undo_load(load)  # does not bring her back
    assert verify(person) == (0, ["Neo4j: 0 times"])
