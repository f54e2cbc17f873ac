"""A clock that jumps a year under the journal: nothing acknowledged is lost, doubled or unseen."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from api.cli import status
from api.cli.main import run
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.drain import drain
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.inbox.lag import lag
from recommender.overlay.histories import Weigher
from recommender.overlay.trends import FEWEST, Trends
from recommender.ranking.request import Request
from recommender.serving.live import Live

YEAR = 365 * 86_400
NOW = 1_760_000_000  # shortly after the planted release was made
JUMPS = pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["forwards", "back"])


@pytest.fixture
def server(home):
    """A journal of its own over the planted release, and who follows it."""
    with closing(Journal(home.inbox)) as journal:
        ticks = iter(range(10**6))
        yield Live(home, journal=journal, clock=lambda: next(ticks)), journal


def chosen(journal, users, item, at):
    """These users choose an item; what it is acknowledged with is the time of a wrong clock."""
    facts = [
        fact("events", {"user": user, "item": item, "kind": "view", "event_id": f"{user} {item}"})
        for user in users
    ]
    receipts = journal.append(facts, now=at)
    assert [receipt.refused for receipt in receipts] == [None] * len(facts)
    return receipts


@JUMPS
def test_what_was_acknowledged_before_during_and_after_a_jump_counts_and_is_stored_once(
    home, server, planted, jump
):
    live, journal = server
    items = [entry.item for entry in live.recommender().popular(3, now=NOW).items]
    user = "newcomer"
    for item, at in zip(items, (NOW, NOW + jump, NOW + 60), strict=True):
        chosen(journal, [user], item, at)
        (again,) = chosen(journal, [user], item, at + 30)  # sent again: the same event
        assert again.repeated
        for reader in (live, Live(home, journal=journal)):  # one that goes on, and a new one
            listed = reader.recommender().recommend([Request(user=user, n=500)], now=NOW + 60)[0]
            assert item not in [entry.item for entry in listed.items]
    assert lag(journal, now=NOW + 60).oldest_seconds >= 0
    assert journal.trim(0) == 0
    with closing(EmbeddedStore(home.folder / "store.sqlite")) as store:
        while drain(journal, store, now=lambda: NOW + jump, limit=1).facts:
            pass
        rows = [row for row in store.read("events").to_pylist() if row["user"] == user]
    assert sorted(row["item"] for row in rows) == sorted(items)


@JUMPS
def test_what_a_wrong_clock_dated_ahead_counts_as_of_now_in_trends(server, planted, jump):
    """Each person counts once at most, however far ahead it was; a year back is long ago."""
    live, journal = server
    jumped, right = planted.answers.items[:2]
    crowd = [f"one of many {number}" for number in range(FEWEST)]
    for item, at in ((jumped, NOW + jump), (right, NOW)):
        chosen(journal, crowd, item, at)
        live.recommender()  # hears it by the clock of that moment
    for reader in (live, Live(live.home, journal=journal)):
        serving = reader.recommender()
        people = len(serving.release.users) + len(crowd)
        for window in ("hour", "day", "week"):
            rows, counts = serving.overlay.trending(window, NOW)
            leading = serving.release.items.ids(rows.tolist())
            assert (right in leading, jumped in leading) == (True, jump > 0)
            assert counts.max() <= people


def test_a_release_of_events_that_lie_ahead_counts_each_person_once_at_most(recommender):
    release = recommender.release
    at = release.arrays["events.at"]
    ahead = replace(release, arrays={**release.arrays, "events.at": at + YEAR})
    for serving in (release, ahead):
        counts = Trends.over(serving, Weigher(serving)).counts("hour", NOW, len(release.items))
        assert counts.max() <= len(release.users)
    assert counts.max() >= 1


def test_status_names_a_clock_that_stands_before_what_was_acknowledged(
    home, server, monkeypatch, capfd
):
    _, journal = server
    chosen(journal, ["newcomer"], "an item", NOW + YEAR)
    for moment, wrong in ((NOW + YEAR, False), (NOW + YEAR - 60, False), (NOW, True)):
        monkeypatch.setattr(status, "now", lambda moment=moment: moment)
        capfd.readouterr()
        run(["--home", str(home.folder), "status", "--json"])
        problems = [entry["what"] for entry in json.loads(capfd.readouterr().out)["problems"]]
        assert any("acknowledged in 365 days from now" in what for what in problems) == wrong
