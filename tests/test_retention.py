"""What was kept long enough goes from everywhere, once, and its sums stay where that is wanted."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from api.cli.main import run
from graph.errors import SettingError, StoreAway
from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox import feedback
from recommender.inbox.drain import drain
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.overlay import reduced
from recommender.overlay.retention import retain
from recommender.overlay.retention_file import Keep, load_retention
from recommender.releases.home import Home

NOW = 1_760_000_000
DAY = 86_400


def days_ago(days):
    return NOW - days * DAY


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


@pytest.fixture
def store(home):
    store = EmbeddedStore(home.store)
    rows = [
        {"user": f"u{number % 7}", "item": f"i{number % 5}", "kind": kind, "at": days_ago(number)}
        for number in range(100)
        for kind in ("view", "like")
    ]
    rows += [{"user": "u1", "item": "i1", "kind": "view"}]  # nobody knows when
    rows += [{"user": "u1", "item": "i1", "kind": "tag", "tag": "old", "at": days_ago(99)}]
    store.apply({"events": table("events", rows)})
    yield store
    store.close()


@pytest.fixture
def journal(home):
    journal = Journal(home.inbox)
    yield journal
    journal.close()


def ages(store, kind):
    """How many days ago the events of a kind happened, ascending; None: nobody knows."""
    rows = [row for row in store.read("events").to_pylist() if row["kind"] == kind]
    return sorted((NOW - row["at"]) // DAY for row in rows if row["at"] is not None)


def test_the_file_is_read_kind_by_kind_and_says_what_is_wrong(tmp_path):
    path = tmp_path / "retention.toml"
    assert load_retention(path) == ()
    path.write_text('[days]\nView = 365\nclick = 30\n[then]\nclick = "count"\n')
    assert load_retention(path) == (Keep("view", 365, False), Keep("click", 30, True))
    for content, message in (
        ("[days]\nview = 0", r"days.view is 0; it must be a whole number, 1 or more"),
        ('[days]\nview = 3\n[then]\nview = "sum"', r'then.view is .sum.; it must be "drop" or'),
        ('[then]\nview = "drop"', r"then.view has no days"),
        ("[dais]\nview = 3", r"\[dais\] is not known; did you mean 'days'"),
    ):
        path.write_text(content)
        with pytest.raises(SettingError, match=message):
            load_retention(path)


def test_old_events_of_a_kind_go_and_a_dry_run_changes_nothing(store, journal, home):
    rules = [Keep("view", 40, False), Keep("tag", 98, False)]
    tried = retain(store, journal, home, rules, now=NOW, dry_run=True)
    assert [entry.store for entry in tried] == [59, 1]  # 41 to 99 days ago
    assert len(ages(store, "view")) == 100
    assert retain(store, journal, home, rules, now=NOW) == tried
    assert ages(store, "view") == list(range(41))
    assert ages(store, "like") == list(range(100))
    assert store.counts()["events"] == 41 + 1 + 100  # that without a time stays
    assert store.counts()["tags"] == 0
    assert [entry.store for entry in retain(store, journal, home, rules, now=NOW)] == [0, 0]
    assert reduced.counts(home.reduced) == []


def sums(rows):
    """(kind, item, month) -> events and people, by dictionaries."""
    events, people = Counter(), {}
    for row in rows:
        month = datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m")
        events["view", row["item"], month] += 1
        people.setdefault(("view", row["item"], month), set()).add(row["user"])
    return {(*key, count, len(people[key])) for key, count in events.items()}


def test_sums_are_kept_and_a_kill_neither_loses_nor_doubles_them(store, journal, home, monkeypatch):
    rules = [Keep("view", 40, True)]
    every = [row for row in store.read("events").to_pylist() if row["at"] is not None]
    old = [row for row in every if row["kind"] == "view" and row["at"] < days_ago(40)]
    for killed in ("before", "after"):
        with monkeypatch.context() as patch:
            drop = store.drop_events

            def dies(kind, before, killed=killed, drop=drop):
                if killed == "after":
                    drop(kind, before)
                raise StoreAway("killed")

            patch.setattr(store, "drop_events", dies)
            with pytest.raises(StoreAway):
                retain(store, journal, home, rules, now=NOW)
        if killed == "before":
            retain(store, journal, home, rules, now=NOW)
            assert set(reduced.counts(home.reduced)) == sums(old)
            assert ages(store, "view") == list(range(41))
            more = [{"user": "u9", "item": "i1", "kind": "view", "at": days_ago(60)}]
            store.apply({"events": table("events", more)})
            old += more
    retain(store, journal, home, rules, now=NOW)
    assert ages(store, "view") == list(range(41))
    kept = {entry[:3]: entry[3] for entry in reduced.counts(home.reduced)}
    assert kept == {entry[:3]: entry[3] for entry in sums(old)}


def test_the_inbox_and_what_was_shown_follow_but_not_what_the_store_lacks(store, journal, home):
    shown = {"item": "i1", "position": 1, "source": "items", "release": "1-a", "user": "u1"}
    journal.append(
        [
            fact("events", {"user": "u1", "item": "i1", "kind": "view", "at": days_ago(50)}),
            fact("events", {"user": "u1", "item": "i1", "kind": "view", "at": days_ago(20)}),
            fact("events", {"user": "u1", "item": "i1", "kind": "like", "at": days_ago(50)}),
            fact("impression", shown | {"request": "a", "at": days_ago(50)}),
            fact("click", shown | {"request": "b", "at": days_ago(10)}),
        ],
        now=NOW,
    )
    while drain(journal, store, now=lambda: NOW).facts:
        pass
    late = {"user": "u2", "item": "i1", "kind": "view", "at": days_ago(70)}
    journal.append([fact("events", late)], now=NOW)
    rules = [Keep("view", 40, False), Keep("impression", 30, True)]
    tried = retain(store, journal, home, rules, now=NOW, dry_run=True)
    done = retain(store, journal, home, rules, now=NOW)
    assert done == tried
    assert [(entry.inbox, entry.shown) for entry in done] == [(1, 0), (1, 1)]
    left = [(row.kind, row.payload["at"]) for row in journal.facts_after(0)]
    assert left == [("events", days_ago(20)), ("events", days_ago(50)), ("click", days_ago(10)),
                    ("events", days_ago(70))]  # fmt: skip
    assert [row["shown_at"] for row in feedback.about_user(journal, "u1")] == [days_ago(10)]


def test_the_command_says_what_it_does(store, home, capsys):
    assert run(["--home", str(home.folder), "retain"]) == 0
    assert "names no kind of event" in capsys.readouterr().out
    home.retention.write_text("[days]\nview = 40\n")
    store.close()
    assert run(["--home", str(home.folder), "retain", "--dry-run", "--json"]) == 0
    tried = json.loads(capsys.readouterr().out)
    assert tried["dry_run"]
    assert run(["--home", str(home.folder), "retain", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["kinds"][0]["store"] == tried["kinds"][0]["store"] == 100  # they are years old
    assert run(["--home", str(home.folder), "audit", "verify"]) == 0
    assert '"what":"retain"' in (home.audit / "log.jsonl").read_text().replace('": "', '":"')
