"""Whatever is killed while events are acknowledged: none is lost, doubled, stale or never seen."""

from contextlib import closing
from pathlib import Path

import pytest

from graph.stores.embedded_store import EmbeddedStore
from tests.faults.live_killed import Campaign

MANY = 100_000  # events of a long form
KILLED = ("worker", "drainer", "server", "worker")  # in turns
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
