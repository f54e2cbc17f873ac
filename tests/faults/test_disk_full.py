"""A full disk: the old release serves, the inbox loses nothing, all heals with room."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home
from tests.conftest import NOW
from tests.data import no_fault

PROGRAM = Path(__file__).with_name("full_disk.py")
JOURNAL = Path(__file__).with_name("full_journal.py")


def alone(*words):
    """A command in a mount namespace; where none can be made the test is skipped."""
    if shutil.which("unshare") is None:
        no_fault("there is no unshare here: no mount namespace")
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    tried = subprocess.run(
        ["unshare", "--mount", *own, "mount", "-t", "tmpfs", "tmpfs", "/tmp"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode:
        no_fault(f"no mount namespace can be made here: {tried.stderr.strip()}")
    return subprocess.run(
        ["unshare", "--mount", *own, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("places", [5, pytest.param(24, marks=pytest.mark.long)])
def test_a_refresh_on_a_full_disk_leaves_the_old_release_and_heals(
    tmp_path, places, record_property
):
    home = Home(tmp_path / "home").create()
    home.segments.write_text("[learned]\nmost = 3\n")
    with closing(EmbeddedStore(home.store)) as store:
        for batch in generate(1200, seed=1).batches():
            store.apply(batch)
        refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    (tmp_path / "disk").mkdir()
    done = alone(
        sys.executable, str(PROGRAM), str(home.folder), str(tmp_path / "disk"), str(places)
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == places
    for outcome in rounds:
        assert outcome["whole"], outcome
        assert outcome["healed"], outcome
        assert outcome["leftovers"] == []
        assert outcome["code"] == 1, outcome
        assert "No space left on device" in outcome["message"], outcome
        assert str(tmp_path / "disk" / "home") in outcome["message"], outcome
    record_property("counted", f"disk full at {places} places: all whole, all named, all healed")


@pytest.mark.parametrize("key", [[], ["5a" * 32]], ids=["plain", "encrypted"])
def test_a_full_disk_under_the_journal_loses_nothing_acknowledged(tmp_path, record_property, key):
    """With rooms of 5 kB to 5.8 MB, in which the log of changes is moved into the file, too."""
    (tmp_path / "disk").mkdir()
    done = alone(sys.executable, str(JOURNAL), str(tmp_path / "disk"), "16", *key)
    assert done.returncode == 0, done.stderr[-2000:]
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == 16
    for outcome in rounds:
        assert outcome["while_full"], outcome
        assert outcome["with_room"], outcome
        assert outcome["opened_full"] is not False, outcome
        assert outcome["goes_on"], outcome
        assert str(tmp_path / "disk" / "inbox") in outcome["problem"], outcome
        assert "disk is full" in outcome["problem"], outcome
    taken = [outcome["taken"] for outcome in rounds]
    assert taken[0] == 0  # not even the file could be made
    assert taken[-1] > 1000
    assert rounds[-1]["last"] == sum(taken) + 3 * 16  # numbers without gaps
    record_property("counted", f"inbox on a disk full at 16 places: {sum(taken):,} facts, 0 lost")
