"""Of two refreshes one publishes; one that was stopped past its lease publishes nothing."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from tiny_release import write_tiny

from api import reporting
from graph.errors import ReleaseError
from graph.model import SCHEMAS
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.state import read_state
from recommender.releases import lease
from recommender.releases.home import Home
from recommender.releases.lease import holder, leased
from recommender.releases.publishing import current, list_releases, pin, prune, publish, staged

TESTS = Path(__file__).resolve().parent


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


def make(home, number, fence=None):
    with staged(home.releases) as folder:
        write_tiny(folder, number)
        return publish(home, folder, f"{number:064x}", fence=fence)


def test_the_second_hears_who_holds_it_and_since_when(home):
    clock = lambda: 1_760_000_000.0  # noqa: E731
    with leased(home, clock=clock) as fence:
        with pytest.raises(ReleaseError) as refused, leased(home, clock=clock):
            pass
        assert f"process {os.getpid()} on" in str(refused.value)
        assert "since 2025-10-09 08:53:20 UTC" in str(refused.value)
        fence()
    assert holder(home, clock=clock) is None
    with leased(home, clock=clock):
        pass


def test_a_lease_ends_although_the_disk_filled_up_meanwhile(home, monkeypatch):
    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with leased(home, clock=time.time):
        monkeypatch.setattr(lease, "replace_file", full)
    assert holder(home, clock=time.time) is None
    monkeypatch.undo()
    with leased(home, clock=time.time) as fence:
        fence()


def test_without_a_free_lease_at_hand_a_full_disk_would_leave_it_held(home, monkeypatch):
    """What takes its place is written before the disk fills."""

    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(FileNotFoundError), leased(home, clock=time.time):
        monkeypatch.setattr(lease, "replace_file", full)
        (home.releases / lease.FREE).unlink()
    assert holder(home, clock=time.time) is not None


@pytest.mark.parametrize("jump", [-31_536_000, 31_536_000])
def test_a_clock_that_jumps_a_year_stops_nobody_and_fences_who_was_overtaken(home, jump):
    moment = [1_760_000_000.0]
    with leased(home, clock=lambda: moment[0]) as first:
        moment[0] += jump
        with leased(home, clock=lambda: moment[0]) as second:
            second()
            with pytest.raises(ReleaseError, match="overtaken"):
                make(home, 1, first)
            assert list_releases(home) == []
            release = make(home, 2, second)
    assert current(home) == release.name


HOLDER = """
import sys, time
from pathlib import Path
from recommender.releases.home import Home
from recommender.releases.lease import leased
from recommender.releases.publishing import publish, staged
from tiny_release import write_tiny
home = Home(Path(sys.argv[1]))
with leased(home, clock=time.time, expiry=1.0) as fence:
    with staged(home.releases) as folder:
        write_tiny(folder, 1)
        print("held", flush=True)
        sys.stdin.readline()
        publish(home, folder, "1" * 64, fence=fence)
"""


@pytest.fixture
def other(home):
    """Another process that holds the lease, and publishes when it is told to."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_refresh_that_was_stopped_past_its_lease_publishes_nothing(home, other):
    with pytest.raises(ReleaseError, match="under way"), leased(home, clock=time.time):
        pass
    other.send_signal(signal.SIGSTOP)
    with leased(home, clock=time.time, wait=True, expiry=1.0) as fence:
        mine = make(home, 2, fence)
    other.send_signal(signal.SIGCONT)
    _, errors = other.communicate("go\n")
    assert other.returncode != 0
    assert "overtaken" in errors
    assert current(home) == mine.name
    assert [row["name"] for row in list_releases(home)] == [mine.name]


def test_without_a_fence_that_refresh_would_be_served(home, other):
    """The fence alone keeps it out, where both learned from the same snapshot."""
    other.kill()
    other.wait()
    mine = make(home, 2)
    theirs = make(home, 1, fence=None)
    assert current(home) == theirs.name != mine.name


@pytest.mark.parametrize("why", ["overtaken", "made meanwhile from a newer snapshot"])
def test_what_was_hidden_meanwhile_stays_hidden(home, why):
    """Whatever stops the older refresh: its word on hidden items is older, too."""
    moment, hidden = [1_760_000_000], []
    clock = lambda: float(moment[0])  # noqa: E731
    config = RefreshConfig(preset="fast", threads=1)
    with closing(EmbeddedStore(home.store)) as store:
        for batch in generate(800, seed=1).batches():
            store.apply(batch)

        def meanwhile(text):
            if text != "writing the release" or hidden:
                return
            hidden.append(store.read("items")["id"].to_pylist()[0])
            row = {"id": hidden[0], "hidden": True}
            event = {"user": "u", "item": hidden[0], "kind": "view", "at": moment[0]}
            store.apply(
                {
                    "items": pa.Table.from_pylist([row], schema=SCHEMAS["items"]),
                    "events": pa.Table.from_pylist([event], schema=SCHEMAS["events"]),
                }
            )
            moment[0] += 3600
            with leased(home, clock=clock) as newer:
                refresh(store, home, config, now=moment[0], fence=newer)

        with leased(home, clock=clock) as older, pytest.raises(ReleaseError, match=why):
            fence = older if why == "overtaken" else None
            refresh(store, home, config, now=moment[0], say=meanwhile, fence=fence)
    assert read_state(home).hidden == tuple(hidden)
    assert len(list_releases(home)) == 1


def test_what_the_refresh_that_took_over_noted_stays(home, monkeypatch):
    moment = [1_760_000_000]
    monkeypatch.setattr(reporting, "now", lambda: moment[0])
    with pytest.raises(ReleaseError), reporting.noted(home):
        moment[0] += 3600
        with reporting.noted(home) as newer:
            newer["release"] = "000002-of-mine"
        raise ReleaseError("overtaken")
    assert reporting.last_refresh(home)["outcome"] == "published"
    assert reporting.last_refresh(home)["release"] == "000002-of-mine"


def test_the_lease_of_a_killed_refresh_is_over(home, other):
    other.kill()
    other.wait()
    with leased(home, clock=time.time) as fence:
        fence()


def test_what_is_pinned_is_never_pruned(home):
    names = [make(home, number).name for number in range(4)]
    assert pin(home, "1") == names[0]
    assert prune(home, keep=1) == names[1:3]
    assert [row["pinned"] for row in list_releases(home)] == [True, False]
    assert pin(home, "1", on=False) == names[0]
    assert prune(home, keep=1) == names[:1]
