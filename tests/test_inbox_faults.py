"""What is acknowledged while a database refuses, resets, hangs or cuts is there once in the end."""

import threading

import pytest
from neo4j_fixture import address, store  # noqa: F401 - fixtures
from tcp_proxy import TcpProxy

from graph.errors import StoreAway
from recommender.inbox.drain import drain, source
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal

NOW = 1_760_000_000


@pytest.mark.neo4j
def test_nothing_is_lost_or_doubled_while_neo4j_goes_and_comes(address, store, tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append([fact("events", {"user": "first", "item": "x", "kind": "view"})], now=NOW)
    proxy = TcpProxy(int(address.uri.rsplit(":", 1)[1]))
    through = address.store(proxy.uri, deadline=5.0, bulk_deadline=5.0)
    through._has_schema = True
    drain(journal, store, now=lambda: NOW)  # makes the schema, with patience
    acknowledged, written = [], threading.Event()

    def write():
        for batch in range(40):
            events = [
                {
                    "user": f"u{batch % 7}",
                    "item": f"i{k}",
                    "kind": "view",
                    "event_id": f"{batch}-{k}",
                }
                for k in range(50)
            ]
            receipts = journal.append([fact("events", event) for event in events], now=NOW)
            acknowledged.extend(zip(receipts, events, strict=True))
        written.set()

    def attempt():
        try:
            return drain(journal, through, now=lambda: NOW, limit=100).facts
        except StoreAway:
            return -1

    writer = threading.Thread(target=write)
    writer.start()
    while attempt() < 0:  # a new connection, while all is well; a busy machine may need two
        through._breaker.succeeded()
    failed = 0
    for mode, cut in (("refuse", 0), ("reset", 0), ("hang", 0), ("cut", 300), ("slow", 0)):
        proxy.become(mode, cut)
        failed += attempt() == -1
        proxy.become("pass")
        for _ in range(200):  # the breaker lets one call through every few seconds
            if attempt() > 0:
                break
            through._breaker.succeeded()
    assert failed >= 3
    writer.join()
    assert written.is_set()
    last = journal.last_sequence()
    while store.position(source(journal)) < last:
        attempt()
    proxy.close()
    through.close()
    assert [receipt.sequence for receipt, _ in acknowledged] == list(range(2, 2002))
    assert not any(receipt.repeated for receipt, _ in acknowledged)
    rows = store.read("events").to_pylist()
    assert len(rows) == 2001
    sent = {event["event_id"] for _, event in acknowledged}
    assert {row["event_id"] for row in rows} == sent | {None}
    assert store.watermark() == 2001  # each was counted once
    journal.close()
