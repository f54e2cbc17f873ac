"""A load beside a running server is told to it; without one, what waited goes in first."""

import pytest

from api.cli import load as command
from api.cli.main import run
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.drain import drain, lease
from recommender.inbox.facts import fact, user_subject
from recommender.inbox.journal import Journal
from recommender.inbox.known import item_after, user_after
from recommender.releases.home import Home
from recommender.serving.known import known_user
from recommender.serving.live import Live

NOW = 1_760_000_000


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


@pytest.fixture
def journal(home):
    journal = Journal(home.inbox)
    yield journal
    journal.close()


def load(home, tmp_path, text, *words):
    (tmp_path / "file.csv").write_text(text)
    return run(["--home", str(home.folder), "load", str(tmp_path / "file.csv"), *words])


def stored(home, journal, table):
    store = EmbeddedStore(home.store)
    while drain(journal, store, now=lambda: NOW).facts:
        pass
    rows = store.read(table).to_pylist()
    loads = [each.load for each in store.loads()]
    store.close()
    return rows, loads


def test_a_running_server_hears_of_events_and_items_and_the_store_has_them_once(
    home, journal, tmp_path
):
    with lease(home.inbox) as mine:  # as the server's drainer has it
        assert mine
        events = "user,item,at\nann,x,1700000000\nbob,x,1700000001\n"
        assert load(home, tmp_path, events) == 0
        items = "id,title,tags\nx,X,slow|solo\n"
        assert load(home, tmp_path, items, "--table", "items") == 0
        rows = journal.facts_after(0)
        assert {row.payload["user"] for row in rows if row.kind == "events"} == {"ann", "bob"}
        known = item_after(None, rows, "x")
        assert known["title"] == "X"
        assert sorted(tag["tag"] for tag in known["tags"]) == ["slow", "solo"]
        items = "id,title,tags\nx,New,fast\n"
        assert load(home, tmp_path, items, "--table", "items", "--replace") == 0
        known = item_after(None, journal.facts_after(0), "x")
        assert [tag["tag"] for tag in known["tags"]] == ["fast"]
    rows, loads = stored(home, journal, "events")
    assert len(rows) == 2
    assert loads == [1, 2, 3]
    assert [row["tag"] for row in stored(home, journal, "item_tags")[0]] == ["fast"]


def test_a_load_that_is_announced_can_still_be_taken_back(home, journal, tmp_path):
    with lease(home.inbox):
        assert load(home, tmp_path, "user,item\nann,x\n") == 0
    assert len(stored(home, journal, "events")[0]) == 1
    assert run(["--home", str(home.folder), "loads", "undo", "1"]) == 0
    assert stored(home, journal, "events")[0] == []


def test_a_running_server_hears_of_what_is_taken_back(home, journal, tmp_path):
    """A release learned from the first load; the second came beside the server; both are undone.

    Lists and what is known are as if neither had been; what is loaded again afterwards counts.
    """
    events = "user,item,at\n" + "".join(
        f"u{user},{item},170000000{user}\n" for user in range(6) for item in "xyz"[: 1 + user % 3]
    )
    assert load(home, tmp_path, "id,title\nx,X\ny,Y\n", "--table", "items") == 0  # 1
    assert load(home, tmp_path, events) == 0  # 2
    wrong = "user,item,at\nu0,w,1700000100\nu0,y,1700000101\n"
    assert load(home, tmp_path, wrong) == 0  # 3
    assert run(["--home", str(home.folder), "refresh", "--preset", "fast", "--force"]) == 0
    with lease(home.inbox) as mine:
        assert mine
        live = Live(home, journal=journal, clock=iter(range(10_000)).__next__)
        assert choices(live, "u0") == {"w", "x", "y"}
        assert load(home, tmp_path, "id,title,tags\nx,New,fast\n", "--table", "items") == 0  # 4
        assert load(home, tmp_path, "user,item,at\nu0,late,1700000200\n") == 0  # 5
        assert load(home, tmp_path, "id,title\nlater,L\n", "--table", "items") == 0  # 6
        carried(home, journal)
        assert choices(live, "u0") == {"w", "x", "y", "late"}
        assert shown(live) == {"w", "x", "y", "z", "late", "later"}
        assert live.recommender().release.card(1)["title"] == "New"
        for number in ("3", "4", "5", "6"):
            assert run(["--home", str(home.folder), "loads", "undo", number]) == 0
            carried(home, journal)
        assert choices(live, "u0") == {"x"}
        assert shown(live) == {"x", "y", "z"}
        card = live.recommender().release.card(1)
        assert (card["title"], card["tags"]) == ("", [])  # load 4 had replaced the title of load 1
        assert load(home, tmp_path, wrong) == 0
        carried(home, journal)
        assert choices(live, "u0") == {"w", "x", "y"}
        assert "w" in shown(live)


def test_a_running_server_hears_that_what_users_said_is_taken_back(home, journal, tmp_path):
    events = "user,item\n" + "".join(
        f"u{n},{item}\n" for n in range(6) for item in "xyz"[: 1 + n % 3]
    )
    assert load(home, tmp_path, events) == 0  # 1
    users = ("--table", "users", "--attributes", "town")
    assert load(home, tmp_path, "id,town\nu0,Bern\nu1,Ulm\n", *users) == 0  # 2
    assert run(["--home", str(home.folder), "refresh", "--preset", "fast", "--force"]) == 0
    with lease(home.inbox):
        live = Live(home, journal=journal, clock=iter(range(10_000)).__next__)
        assert load(home, tmp_path, "id,town\nu2,Graz\nu9,Linz\n", *users) == 0  # 3
        carried(home, journal)
        assert [town(live, journal, n) for n in (0, 1, 2, 9)] == ["Bern", "Ulm", "Graz", "Linz"]
        for number, left in (("3", ["Bern", "Ulm", None]), ("2", [None, None, None])):
            assert run(["--home", str(home.folder), "loads", "undo", number]) == 0
            carried(home, journal)
            assert [town(live, journal, n) for n in (0, 1, 2)] == left
    rows = stored(home, journal, "users")[0]
    assert {row["id"]: row["attributes"] for row in rows} == {f"u{n}": None for n in range(6)}
    assert user_after(None, journal.facts_after(0), "u9") is None  # nobody has heard of u9


def town(live, journal, number):
    """Where a user lives, as lists and `GET /v1/users/…` have it; they agree."""
    overlay, user = live.recommender().overlay, f"u{number}"
    known = user_after(known_user(overlay, user), journal.facts_about(user_subject(user)), user)
    assert (known or {}).get("attributes", {}) == overlay.attributes_of(user)
    return overlay.attributes_of(user).get("town")


def carried(home, journal):
    """As the server's drainer does."""
    store = EmbeddedStore(home.store)
    while drain(journal, store, now=lambda: NOW).facts:
        pass
    store.close()


def choices(live, user):
    """What a user chose, as lists are made with it."""
    overlay = live.recommender().overlay
    history = overlay.history(user)
    release = live.recommender().release
    if history is None:
        return set(release.items.ids(release.histories.of(release.users.row(user))))
    return set(release.items.ids(history.items))


def shown(live):
    answer = live.recommender().popular(50, now=NOW)
    latest = live.recommender().latest(50, now=NOW)
    return {entry.item for entry in (*answer.items, *latest.items)}


def test_an_undo_waits_for_what_the_server_still_carries(
    home, journal, tmp_path, monkeypatch, capsys
):
    with lease(home.inbox):
        assert load(home, tmp_path, "user,item\nann,x\n") == 0  # announced, and not carried yet
        monkeypatch.setattr(command, "WAIT_SECONDS", 0.0)
        assert run(["--home", str(home.folder), "loads", "undo", "1"]) == 1
        assert "not in the store yet" in capsys.readouterr().err
    assert run(["--home", str(home.folder), "loads", "undo", "1"]) == 0
    assert stored(home, journal, "events")[0] == []


def test_without_a_server_what_waits_is_older_than_the_load(home, journal, tmp_path):
    old = {"id": "x", "title": "said over HTTP"}
    journal.append([fact("item_put", old)], now=NOW)
    assert load(home, tmp_path, "id,title\nx,loaded\n", "--table", "items") == 0
    assert [row["title"] for row in stored(home, journal, "items")[0]] == ["loaded"]
    assert [row.kind for row in journal.facts_after(1)] == ["load"]
    assert journal.append([fact("item_put", old)], now=NOW)[0].repeated is False


def test_a_load_makes_no_journal_where_nobody_writes(home, tmp_path):
    assert load(home, tmp_path, "user,item\nann,x\n") == 0
    assert not home.inbox.exists()
