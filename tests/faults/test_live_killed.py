"""Whatever is killed while events are acknowledged: none is lost, doubled, stale or never seen."""

import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
from neo4j_fixture import address, store  # noqa: F401 - fixtures
from tcp_proxy import TcpProxy

from graph.stores.embedded_store import EmbeddedStore
from recommender.releases.home import Home
from tests.faults.live_killed import Campaign

KILLED = ("worker", "drainer", "server", "worker")  # in turns
MODES = (("refuse", 0), ("reset", 0), ("hang", 0), ("slow", 0), ("cut", 300))
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")


@pytest.fixture
def home(planted_home, tmp_path):
    return Home(shutil.copytree(planted_home.folder, tmp_path / "home"))


def summary(campaign, kind):
    """A line for whoever runs this by hand, with -s."""
    took = sorted(campaign.lists)
    p99 = took[int(len(took) * 0.99)] if took else float("nan")
    print(
        f"{kind}: {len(campaign.acknowledged):,} events acknowledged, {campaign.versions[1]} puts, "
        f"{len(took):,} lists, p50 {took[len(took) // 2] * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, "
        f"answers by status {dict(campaign.statuses)}"
    )


@needs_proc
@pytest.mark.parametrize(
    ("events", "kills"),
    [(50_000, 4), pytest.param(1_000_000, 20, marks=pytest.mark.long)],
)
def test_kills_of_workers_drainers_and_servers(home, events, kills):
    with Campaign(home) as campaign:
        for number in range(kills):
            campaign.write(events // (kills + 1))
            campaign.kill(KILLED[number % len(KILLED)])
        campaign.write(events - len(campaign.acknowledged))
        campaign.drained(seconds=1_200)
        assert campaign.never_seen() == 0
        summary(campaign, f"{kills} kills")
    with closing(EmbeddedStore(home.store)) as written:
        assert campaign.compare(written) == {}
    assert len(campaign.acknowledged) == events
    assert campaign.versions[1] > 0
    assert set(campaign.statuses) == {200}  # not one answer of 500 or more


@needs_proc
@pytest.mark.neo4j
@pytest.mark.parametrize(
    ("events", "seconds"), [(5_000, 10), pytest.param(100_000, 600, marks=pytest.mark.long)]
)
def test_a_database_that_is_gone_for_a_while(home, address, store, events, seconds):
    """Refused, reset, silent, slow, cut in the middle, each for a fifth of the time."""
    proxy = TcpProxy(int(address.uri.rsplit(":", 1)[1]))
    environment = {
        "NICHEGRAPH_STORE": proxy.uri,
        "NICHEGRAPH_NEO4J_USER": address.user,
        "NICHEGRAPH_NEO4J_PASSWORD": address.password,
        "NICHEGRAPH_NEO4J_DATABASE": address.database,
        "NICHEGRAPH_NEO4J_DEADLINE": "5",
    }
    heard = []
    with closing(proxy), Campaign(home, environment) as campaign:
        campaign.write(events // 10)
        campaign.drained()
        for mode, cut in MODES:
            ends = time.monotonic() + seconds / len(MODES)
            proxy.become(mode, cut)
            sent = 0
            while time.monotonic() < ends or sent == 0:
                if len(campaign.acknowledged) + events // 50 < events:
                    campaign.write(events // 50)
                sent += 1
                heard.append(campaign.ready()["inbox"]["problem"])
                time.sleep(0.2)
            while mode == "refuse" and not heard[-1]:  # `/ready` says what is wrong
                heard.append(campaign.ready()["inbox"]["problem"])
        proxy.become("pass")
        campaign.write(events - len(campaign.acknowledged))
        campaign.drained(seconds=1_200)
        assert campaign.never_seen() == 0
        summary(campaign, f"a database gone for {seconds} s")
    assert campaign.compare(store) == {}
    assert len(campaign.acknowledged) == events
    assert set(campaign.statuses) == {200}
