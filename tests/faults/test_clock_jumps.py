"""A clock that jumps a year, forwards and back: refreshes go on, in order, and learn the same."""

import json
import shutil
from contextlib import closing

import numpy as np
import pytest

from api.cli import status
from api.cli.main import run
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import END, generate
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases import publishing, steps
from recommender.releases.home import Home
from recommender.releases.publishing import (
    activate,
    current,
    list_releases,
    note,
    open_release,
    prune,
    publish,
    staged,
)
from tests.tiny_release import write_tiny

YEAR = 365 * 86_400
NOW = END + 30 * 86_400
CONFIG = RefreshConfig(preset="fast", threads=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home with a release made at NOW."""
    home = Home(tmp_path_factory.mktemp("clock") / "home").create()
    home.segments.write_text("[learned]\nmost = 3\n")
    with closing(EmbeddedStore(home.store)) as store:
        for batch in generate(1000, seed=1).batches():
            store.apply(batch)
    refreshed(home, NOW)
    return home


@pytest.fixture
def home(base, tmp_path):
    return Home(shutil.copytree(base.folder, tmp_path / "home"))


def refreshed(home, now, say=lambda _: None):
    with closing(EmbeddedStore(home.store)) as store:
        return refresh(store, home, CONFIG, now=now, say=say)


@pytest.fixture(scope="module")
def undisturbed(base, tmp_path_factory):
    """Two more releases of the same home, by a clock that goes on as clocks do."""
    home = Home(shutil.copytree(base.folder, tmp_path_factory.mktemp("steady") / "home"))
    return [refreshed(home, NOW + 30), refreshed(home, NOW + 60)]


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["forwards", "back"])
def test_a_jump_there_and_back_stops_no_refresh_and_changes_nothing_learned(
    home, undisturbed, jump
):
    """A year back, most events lie in the future."""
    for now, expected in zip((NOW + jump, NOW + 60), undisturbed, strict=True):
        lines = []
        release = refreshed(home, now, lines.append)
        assert current(home) == release.name
        assert release.manifest["created_at"] == now
        assert any(line.startswith("keeping what was chosen on") for line in lines)
        for array in ("neighbours", "scores"):
            learned = getattr(release.table, array)
            assert np.array_equal(learned, getattr(expected.table, array))
    # The newest is the one made last, whatever the clock said then.
    names = [release["name"] for release in list_releases(home)]
    assert names == sorted(names)
    assert names[-1] == current(home)
    assert prune(home, 2) == names[:1]


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["forwards", "back"])
def test_a_refresh_that_was_stopped_begins_anew_after_a_jump(home, jump):
    def stopped(text):
        if text.startswith("writing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refreshed(home, NOW + jump, stopped)
    lines = []
    release = refreshed(home, NOW + 60, lines.append)
    assert not [line for line in lines if "already finished" in line]
    assert release.manifest["created_at"] == NOW + 60
    assert current(home) == release.name


def test_status_names_a_clock_that_stands_before_the_release(home, monkeypatch, capfd):
    words = ["--home", str(home.folder), "status"]
    for moment, old, wrong in (
        (NOW + 2 * 86_400, ", 2 days old", False),
        (NOW - 60, "", False),  # clocks differ a little
        (NOW - YEAR, "", True),
    ):
        monkeypatch.setattr(status, "now", lambda moment=moment: moment)
        capfd.readouterr()
        assert run(words) == 0
        line = next(
            line for line in capfd.readouterr().out.splitlines() if line.startswith("release ")
        )
        assert line.endswith(f"UTC{old}")
        run([*words, "--json"])
        problems = json.loads(capfd.readouterr().out)["problems"]
        assert any("made in 365 days from now" in entry["what"] for entry in problems) == wrong


def test_a_report_lists_the_loads_since_the_last_release_whatever_the_clock_says(home, tmp_path):
    """Loads are told apart by their numbers: the release before may be of next year."""
    note(home.releases / current(home), {"created_at": NOW + 50 * YEAR})
    plays = tmp_path / "plays.csv"
    plays.write_text("user,item\nann,b\nbob,b\n")
    assert run(["--home", str(home.folder), "load", str(plays)]) == 0
    assert run(["--home", str(home.folder), "refresh", "--preset", "fast", "--threads", "1"]) == 0
    report = json.loads((home.reports / f"{current(home)}.json").read_text())
    assert [load["files"] for load in report["loads"]] == [["plays.csv"]]


# ── the same without what protects from it ───────────────────────────────────────────────


def newest_stays(home, jump):
    """The release made last is listed last and stays, though the clock had jumped before it."""
    for number, at in enumerate((NOW, NOW + jump, NOW + 60), start=1):
        with staged(home.releases) as folder:
            write_tiny(folder, number)
            publish(home, folder, f"{number:064x}")
        note(home.releases / current(home), {"created_at": at})
    first, second, third = sorted(path.name for path in home.releases.glob("0*"))
    assert prune(home, 2) == [first]
    activate(home, second)  # so that being served protects no other
    assert prune(home, 1) == []
    assert [release["name"] for release in list_releases(home)] == [second, third]


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["forwards", "back"])
def test_releases_are_in_the_order_of_their_numbers(tmp_path, monkeypatch, jump):
    newest_stays(Home(tmp_path / "numbers").create(), jump)

    def by_the_clock(home):
        paths = home.releases.glob("0*")
        made = {path.name: open_release(path).manifest.get("created_at", 0) for path in paths}
        return sorted(made, key=made.__getitem__)

    monkeypatch.setattr(publishing, "names", by_the_clock)
    with pytest.raises(AssertionError):
        newest_stays(Home(tmp_path / "clock").create(), jump)


def begins_anew(home, jump):
    """What was finished when the clock had jumped is not taken up when it is right again."""
    quiet = {"types": (), "say": lambda _: None}
    with (
        pytest.raises(KeyboardInterrupt),
        steps.taken_up(home, "same", now=NOW + jump, **quiet) as first,
    ):
        first.value("step", lambda: "then")
        raise KeyboardInterrupt
    with steps.taken_up(home, "same", now=NOW + 60, **quiet) as second:
        assert second.value("step", lambda: "now") == "now"
        assert second.now == NOW + 60


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["forwards", "back"])
def test_without_a_limit_a_stopped_refresh_would_go_on_in_another_year(tmp_path, monkeypatch, jump):
    begins_anew(Home(tmp_path / "limited").create(), jump)

    def whatever_stands_there(folder, now):
        path = folder / steps.BEGAN
        if not path.exists():
            path.write_text(json.dumps({"now": now}))
        return json.loads(path.read_text())["now"]

    monkeypatch.setattr(steps, "_began", whatever_stands_there)
    with pytest.raises(AssertionError):
        begins_anew(Home(tmp_path / "unlimited").create(), jump)
