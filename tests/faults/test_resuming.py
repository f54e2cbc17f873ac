"""A refresh that was killed goes on from its last finished step, and makes the same release."""

import json
import random
import shutil
import time
from contextlib import closing
from unittest.mock import ANY

import pytest

from graph.stores.embedded_store import EmbeddedStore
from loaders.format import Options
from loaders.ingest import load
from loaders.synthetic import generate
from recommender.inbox.drain import drain
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay import erasure
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from recommender.releases.steps import ASIDE, Steps, drop_unfinished, taken_up
from recommender.serving.live import Live
from tests.faults.killed_refreshes import Refreshes

NOW = 1_760_000_000
TAKEN_UP = "already finished before this refresh was stopped"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home with a release of a planted catalogue, and one event more than that."""
    home = Home(tmp_path_factory.mktemp("resuming") / "home").create()
    home.segments.write_text("[learned]\nmost = 3\n")
    with closing(EmbeddedStore(home.store)) as store:
        *first, last = generate(1500, seed=1).batches()
        events = last["events"]
        for batch in [*first, last | {"events": events.slice(0, len(events) - 1)}]:
            store.apply(batch)
        refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
        store.apply({"events": events.slice(len(events) - 1)})
    return home


@pytest.fixture(scope="module")
def refreshed():
    refreshes = Refreshes()
    yield refreshes
    refreshes.close()


@pytest.fixture(scope="module")
def undisturbed(base, refreshed, tmp_path_factory):
    """What it says, how long it takes, and the sums of its release."""
    for _ in range(2):  # the first one may compile
        home = copied(base, tmp_path_factory.mktemp("undisturbed"))
        log = home.folder / "log"
        begun = time.monotonic()
        assert refreshed(home.folder, log, now=NOW + 60) == 0
    return log.read_text().splitlines(), time.monotonic() - begun, sums(home)


LONG_DIGEST = 64  # characters of the name of a snapshot


def copied(base, folder):
    return Home(shutil.copytree(base.folder, folder / "home"))


def sums(home):
    release = open_release(home.releases / current(home))
    # Its number is one higher where the kill came between naming the release and serving it.
    fingerprint = release.name.partition("-")[2]
    return fingerprint, {name: file["sha256"] for name, file in release.manifest["files"].items()}


def finished(home):
    """Names of the finished steps that lie in a home; some lie in a folder of their snapshot."""
    steps = [*home.unfinished.glob("*/*"), *home.unfinished.glob("*/*/*")]
    names = {path.name for path in steps if path.is_dir() and not path.name.startswith(ASIDE)}
    return {name for name in names if len(name) != LONG_DIGEST}


def goes_on(home, refreshed, undisturbed):
    """The second run takes up what was finished, says nothing of it anew, and leaves nothing."""
    content, _, expected = undisturbed
    before, log = finished(home), home.folder / "log"
    # An hour later: what it makes is of the moment at which the first began.
    assert refreshed(home.folder, log, now=NOW + 3660) == 0
    lines = log.read_text().splitlines()
    assert {line.split(":")[0] for line in lines if line.endswith(TAKEN_UP)} == before
    if "choice" in before:
        assert "choosing how the item table is made" not in lines
    if "table" in before:
        assert "fitting the item table" not in lines
    assert set(lines) - {f"{name}: {TAKEN_UP}" for name in before} <= set(content)
    assert sums(home) == expected
    assert not home.unfinished.exists()
    return before


def test_killed_at_step_boundaries(base, refreshed, undisturbed, tmp_path, pytestconfig):
    """At every boundary with --long, at six in CI, the last among them."""
    count = len(undisturbed[0])
    steps = range(count)
    if not pytestconfig.getoption("--long"):
        steps = [*random.Random(count).sample(range(count - 1), 5), count - 1]
    seen = set()
    for number, at in enumerate(steps):
        home = copied(base, tmp_path / str(number))
        assert refreshed(home.folder, home.folder / "log", now=NOW + 60, at_step=at) == 9
        assert current(home).startswith("000001")
        seen |= goes_on(home, refreshed, undisturbed)
    assert seen >= {"choice", "table", "trial", "groups", "profiles"}


def test_killed_at_random_moments(
    base, refreshed, undisturbed, tmp_path, pytestconfig, record_property
):
    """Fifty times with --long, eight times in CI."""
    draws = random.Random(7)
    rounds = 50 if pytestconfig.getoption("--long") else 8
    killed = 0
    for number in range(5 * rounds):
        if killed == rounds:
            break
        home = copied(base, tmp_path / str(number))
        after = draws.uniform(0.02, 0.8) * undisturbed[1]
        if refreshed(home.folder, home.folder / "log", now=NOW + 60, after=after) == 0:
            continue  # it was faster: another moment is drawn
        killed += 1
        if current(home).startswith("000001"):
            goes_on(home, refreshed, undisturbed)
        else:  # killed between publishing and the end
            assert sums(home) == undisturbed[2]
    assert killed == rounds
    record_property(
        "counted", f"refresh killed at {killed} random moments: all went on to the same release"
    )


def test_what_is_not_as_it_was_written_is_computed_again(tmp_path):
    import numpy as np

    steps = Steps(tmp_path)
    made = []

    def make():
        made.append(1)
        return {"numbers": np.arange(5), "pair": (1, [2.5, None]), 7: "seven"}

    def again():
        value = steps.value("step", make)
        assert value["numbers"].tolist() == [0, 1, 2, 3, 4]
        assert (value["pair"], value[7]) == ((1, [2.5, None]), "seven")
        return len(made)

    assert [again(), again()] == [1, 1]
    for number, path in enumerate(sorted(steps.folder.glob("step/*"))):
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
        assert again() == number + 2, path
    shutil.rmtree(steps.folder / "step")
    (steps.folder / f"{ASIDE}step").mkdir()
    (steps.folder / f"{ASIDE}step" / "half").write_text("half")
    assert again() == 5


def test_without_sums_what_was_altered_would_be_taken_up(tmp_path, monkeypatch):
    import numpy as np

    steps = Steps(tmp_path)
    assert steps.value("step", lambda: np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    path = steps.folder / "step" / "0.npy"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the last number
    path.write_bytes(content)
    monkeypatch.setattr("recommender.releases.steps._sum", lambda _: ANY)
    assert steps.value("step", lambda: np.arange(5)).tolist() == [0, 1, 2, 3, 5]
    monkeypatch.undo()
    assert steps.value("step", lambda: np.arange(5)).tolist() == [0, 1, 2, 3, 4]


def test_other_leftovers_go_and_a_running_one_stays(tmp_path):
    home = Home(tmp_path).create()
    quiet = {"types": (), "say": lambda _: None}
    with pytest.raises(KeyboardInterrupt), taken_up(home, "old", now=NOW, **quiet) as steps:
        steps.value("step", lambda: 1)
        raise KeyboardInterrupt
    assert finished(home) == {"step"}
    with taken_up(home, "running", now=NOW, **quiet) as steps:
        steps.value("mine", lambda: 1)
        assert finished(home) == {"mine"}
        assert drop_unfinished(home) == []
        with taken_up(home, "running", now=NOW, **quiet) as beside:
            assert beside.folder != steps.folder
            assert beside.value("mine", lambda: 2) == 2
        assert steps.value("mine", lambda: 3) == 1
    assert not home.unfinished.exists()


def test_after_six_hours_it_begins_anew(tmp_path):
    home = Home(tmp_path).create()
    quiet = {"types": (), "say": lambda _: None}
    for later, expected in ((0, NOW), (21_600, NOW), (21_601, NOW + 21_601)):
        with (
            pytest.raises(ZeroDivisionError),
            taken_up(home, "same", now=NOW + later, **quiet) as steps,
        ):
            assert steps.now == expected
            assert steps.value("at", lambda: steps.now) == expected
            raise ZeroDivisionError
    began = next(home.unfinished.glob("*/began.json"))
    assert json.loads(began.read_text()) == {"now": NOW + 21_601}


def heard(home, user):
    """An event of somebody new, acknowledged and carried into the store."""
    with closing(Journal(home.inbox)) as journal, closing(EmbeddedStore(home.store)) as store:
        event = {"user": user, "item": "i0", "kind": "play", "at": NOW}
        (receipt,) = journal.append([fact("events", event)], now=NOW)
        while drain(journal, store, now=lambda: NOW).facts:
            pass
        return receipt.sequence, store.watermark()


@pytest.fixture
def killed(base, refreshed, undisturbed, tmp_path):
    """A home whose refresh was killed at its last step, and up to where that had read."""
    home = copied(base, tmp_path)
    read = heard(home, "early")
    last = len(undisturbed[0]) - 1
    assert refreshed(home.folder, home.folder / "log", now=NOW + 60, at_step=last) == 9
    assert "snapshot" in finished(home)
    return home, read


def test_beside_a_drainer_it_goes_on_too(killed, refreshed):
    """What came meanwhile counts in lists at once, and the next refresh learns it."""
    home, (sequence, watermark) = killed
    before, log = finished(home), home.folder / "log"
    assert heard(home, "late")[1] > watermark
    assert refreshed(home.folder, log, now=NOW + 3660) == 0
    lines = log.read_text().splitlines()
    assert {line.split(":")[0] for line in lines if line.endswith(TAKEN_UP)} == before
    release = open_release(home.releases / current(home))
    assert release.manifest["inbox"]["upto"] == sequence
    assert release.watermark == watermark
    assert "early" in release.users
    assert "late" not in release.users
    with closing(Journal(home.inbox)) as journal:
        served = Live(home, journal=journal, clock=lambda: 0).recommender()
        (answer,) = served.recommend([Request(user="late", n=3)], now=NOW)
    assert answer.served_by == "history"
    assert refreshed(home.folder, log, now=NOW + 7200) == 0
    assert not [line for line in log.read_text().splitlines() if line.endswith(TAKEN_UP)]
    assert "late" in open_release(home.releases / current(home)).users


@pytest.mark.parametrize("what", ["load", "erasure", "withdrawal", "retention", "late load"])
def test_after_what_no_overlay_adds_it_begins_anew(killed, refreshed, what, monkeypatch):
    """The overlay does not know the load; and nothing comes back that is gone since."""
    home, _ = killed
    with closing(EmbeddedStore(home.store)) as store, closing(Journal(home.inbox)) as journal:
        if what == "withdrawal":
            refusal = {"id": "early", "consent": {"train": False}}
            journal.append([fact("consent", refusal)], now=NOW)
            drain(journal, store, now=lambda: NOW)
        elif what == "retention":
            home.retention.write_text("[days]\nhide = 30\n")
        elif what == "late load":  # it ran while the snapshot was read
            journal.append([fact("load", {"at": NOW})], now=NOW)
        elif what == "load":
            file = home.folder / "more.csv"
            file.write_text("user,item\nloaded,i0\n")
            kept = {"staging_folder": home.folder / "kept", "rejects_file": home.folder / "bad.csv"}
            load([file], "table", store, now=NOW, options=Options(), **kept)
        else:
            monkeypatch.setattr(erasure, "drop_unfinished", lambda _: [])  # its steps are in use
            erasure.erase(store, home, "early")
    assert refreshed(home.folder, home.folder / "log", now=NOW + 3660) == 0
    assert TAKEN_UP not in (home.folder / "log").read_text()
    users = open_release(home.releases / current(home)).users
    assert ("early" in users) == (what != "erasure")
    assert ("loaded" in users) == (what == "load")


def test_a_damaged_snapshot_is_read_again_and_what_was_made_from_it_is_made_again(
    killed, refreshed
):
    home, _ = killed
    heard(home, "late")
    array = next(home.unfinished.glob("*/snapshot/*.npy"))
    array.write_bytes(array.read_bytes()[:-1] + b"?")
    assert refreshed(home.folder, home.folder / "log", now=NOW + 3660) == 0
    assert TAKEN_UP not in (home.folder / "log").read_text()
    assert "late" in open_release(home.releases / current(home)).users


def test_an_erasure_leaves_no_unfinished_refresh(base, refreshed, undisturbed, tmp_path):
    """What a killed refresh had learned knows the person."""
    last = len(undisturbed[0]) - 1
    home = copied(base, tmp_path)
    assert refreshed(home.folder, home.folder / "log", now=NOW + 60, at_step=last) == 9
    assert finished(home)
    with closing(EmbeddedStore(home.store)) as store:
        erasure.erase(store, home, "u0")
    assert not list(home.unfinished.glob("*"))
