"""Whatever is killed while events are acknowledged: none is lost, doubled, stale or never seen."""

import time
from contextlib import closing
from pathlib import Path

import pytest
from neo4j_fixture import address, store  # noqa: F401 - fixtures
from tcp_proxy import TcpProxy

from graph.stores.embedded_store import EmbeddedStore
from tests.faults.live_killed import Campaign

MANY = 100_000  # events of a long form
KILLED = ("worker", "drainer", "server", "worker")  # in turns
FAULTS = (  # of a database, as `TcpProxy` has them, and the bytes after which it cuts
    ("refuse", 0), ("reset", 0), ("kill", 0), ("hang", 0), ("slow", 0), ("cut", 300),
)  # fmt: skip
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")


def holds_its_pace(campaign, events):
    """By the clock, so only where there are enough lists: in the long form."""
    normal, since = campaign.p99s()
    assert since <= normal + 0.1 or events < MANY


def summary(campaign, kind):
    """A line for whoever runs this by hand, with -s."""
    normal, since = campaign.p99s()
    print(
        f"{kind}: {len(campaign.acknowledged):,} events acknowledged, {campaign.versions[1]} puts, "
        f"{len(campaign.lists):,} lists, p99 {normal * 1e3:.0f} ms before and {since * 1e3:.0f} ms "
        f"since the first fault, answers by status {dict(campaign.statuses)}"
    )


@needs_proc
@pytest.mark.parametrize(
    ("events", "kills"),
    [(50_000, 4), pytest.param(1_000_000, 20, marks=pytest.mark.long)],
)
def test_kills_of_workers_drainers_and_servers(home, events, kills):
    with Campaign(home) as campaign:
        campaign.write_undisturbed(events // (kills + 1))
        for number in range(kills):
            campaign.kill(KILLED[number % len(KILLED)])
            campaign.write(events // (kills + 1))
        campaign.write(events - len(campaign.acknowledged))
        campaign.drained(seconds=1_200)
        assert campaign.never_seen() == 0
        summary(campaign, f"{kills} kills")
    with closing(EmbeddedStore(home.store)) as written:
        assert campaign.compare(written) == {}
    assert len(campaign.acknowledged) == events
    assert campaign.versions[1] > 0
    assert set(campaign.statuses) == {200}  # not one answer of 500 or more
    holds_its_pace(campaign, events)


@needs_proc
@pytest.mark.neo4j
@pytest.mark.parametrize(
    ("events", "seconds"), [(5_000, 0), pytest.param(100_000, 600, marks=pytest.mark.long)]
)
def test_a_database_that_is_gone_for_a_while(home, address, store, events, seconds):
    """Refused, reset, killed, silent, slow, cut in the middle: each until the drainer meets it."""
    proxy = TcpProxy(int(address.uri.rsplit(":", 1)[1]))
    environment = {
        "NICHEGRAPH_STORE": proxy.uri,
        "NICHEGRAPH_NEO4J_USER": address.user,
        "NICHEGRAPH_NEO4J_PASSWORD": address.password,
        "NICHEGRAPH_NEO4J_DATABASE": address.database,
        "NICHEGRAPH_NEO4J_DEADLINE": "3",
    }
    with closing(proxy), Campaign(home, environment) as campaign:
        campaign.write_undisturbed(events // 2)
        campaign.drained(seconds=1_200)
        for mode, cut in FAULTS:
            proxy.become("pass" if mode == "kill" else mode, cut)
            if mode == "kill":
                if address.server is None:  # only a server that the tests started can be killed
                    continue
                address.server.kill()
            met, ends = False, time.monotonic() + seconds / len(FAULTS)
            while not met or time.monotonic() < ends:
                if len(campaign.acknowledged) + events // 50 < events:
                    campaign.write(events // 50)
                problem = campaign.ready()["inbox"]["problem"]  # `/ready` says what is wrong
                met = met or (problem is not None and (mode == "refuse" or proxy.accepted > 0))
                time.sleep(0.2)
            if mode == "kill":
                address.server.start()
        proxy.become("pass")
        campaign.write(events - len(campaign.acknowledged))
        campaign.drained(seconds=1_200)
        inbox = campaign.ready()["inbox"]
        assert inbox["problem"] is None
        assert campaign.never_seen() == 0
        summary(campaign, f"a database gone for {seconds} s")
    with closing(address.store()) as written:
        assert campaign.compare(written) == {}
    assert len(campaign.acknowledged) == events
    assert set(campaign.statuses) == {200}
    holds_its_pace(campaign, events)
