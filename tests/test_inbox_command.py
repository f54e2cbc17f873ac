"""What waits and what was refused is told by command line, `/ready` and `status`."""

import json
import shutil

import pytest

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.drain import drain
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.inbox.lag import DrainState, lag, tell_state
from recommender.inbox.quarantine import put_aside
from recommender.releases.home import Home

NOW = 1_760_000_000


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path).create()


@pytest.fixture
def journal(home):
    """Three events, of which one was refused, one drained before that, and one waits."""
    journal = Journal(home.inbox)
    events = [{"user": user, "item": "x", "kind": "view"} for user in ("ann", "bob", "cleo")]
    journal.append([fact("events", event) for event in events], now=NOW)
    put_aside(journal, journal.facts_after(1)[0], "a\x1b[31m reason", now=NOW + 5)
    tell_state(journal.path, DrainState(2, NOW, None))
    yield journal
    journal.close()


def command(home, capsys, *words):
    code = run(["--home", str(home.folder), *words])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_the_lag_is_told(journal):
    lag_now = lag(journal, now=NOW + 30)
    assert (lag_now.sequence, lag_now.drained, lag_now.waiting, lag_now.aside) == (3, 2, 1, 1)
    assert lag_now.oldest_seconds == 30
    assert lag_now.bytes == journal.size() > 0
    tell_state(journal.path, DrainState(3, NOW, "away"))
    lag_now = lag(journal, now=NOW + 30)
    assert (lag_now.waiting, lag_now.oldest_seconds, lag_now.problem) == (0, None, "away")


def test_a_journal_that_nobody_wrote_has_no_lag(home):
    lag_now = lag(Journal(home.inbox), now=NOW)
    assert (lag_now.sequence, lag_now.waiting, lag_now.bytes, lag_now.problem) == (0, 0, 0, None)


def test_refused_facts_are_listed_shown_retried_and_dropped(home, journal, capsys):
    code, text = command(home, capsys, "inbox", "list")
    assert code == 0
    assert "3 facts accepted, 1 waiting" in text
    assert "reason" in text
    assert "\x1b" not in text
    code, text = command(home, capsys, "inbox", "list", "--json")
    (refused,) = json.loads(text)["refused"]
    assert (refused["sequence"], refused["payload"]["user"]) == (2, "bob")
    code, text = command(home, capsys, "inbox", "show", "2")
    assert code == 0
    assert "bob" in text
    assert command(home, capsys, "inbox", "retry", "2") == (
        0,
        "fact 2 was sent again, as number 4\n",
    )
    assert [row.payload["user"] for row in journal.facts_after(3)] == ["bob"]
    put_aside(journal, journal.facts_after(3)[0], "again", now=NOW)
    assert command(home, capsys, "inbox", "drop", "4")[0] == 0
    assert journal.facts_after(3) == []
    code, text = command(home, capsys, "inbox", "show", "4")
    assert code == 1
    assert "inbox list" in text


def test_status_tells_what_waits(home, journal, capsys):
    code, text = command(home, capsys, "status")
    assert code == 0
    assert "1 facts waiting for the store" in text
    assert "1 were refused" in text
    assert json.loads(command(home, capsys, "status", "--json")[1])["inbox"]["waiting"] == 1


def test_ready_tells_how_writes_stand_and_is_ready_all_the_same(planted_home, tmp_path):

    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    client = create_app(load_settings(home.folder)).test_client()
    first = client.get("/ready").json
    assert (first["writes"], first["inbox"]["closed"]) == ("carried", None)
    client.post("/v1/events", json={"user": "ann", "item": "x"})
    tell_state(home.inbox, DrainState(0, NOW, "Neo4j does not answer"))
    answer = client.get("/ready").json
    assert (answer["status"], answer["writes"]) == ("ready", "wait")
    assert (answer["inbox"]["waiting"], answer["inbox"]["problem"]) == (1, "Neo4j does not answer")
    store = EmbeddedStore(home.store)
    journal = Journal(home.inbox)
    done = drain(journal, store, now=lambda: NOW)
    tell_state(home.inbox, DrainState(done.position, NOW, None))
    assert client.get("/ready").json["inbox"]["waiting"] == 0
    store.close()
    journal.close()
    full = create_app(load_settings(home.folder, inbox_free_bytes=10**18)).test_client()
    closed = full.get("/ready").json
    assert closed["writes"] == "refused"
    assert "inbox_free_bytes" in closed["inbox"]["closed"]
    home.inbox.write_bytes(b"no journal of ours" * 1000)
    for left in home.inbox.parent.glob("journal.sqlite-*"):
        left.unlink()
    broken = create_app(load_settings(home.folder)).test_client()
    assert broken.get("/ready").status_code == 200
    assert broken.get("/ready").json["inbox"]["closed"]
