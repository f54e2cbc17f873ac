"""An erased person is refused at once, gone from every file, and does not come back."""

import json
import shutil
from contextlib import closing
from urllib.parse import quote

import pytest

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from graph.errors import InputError
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.drain import drain
from recommender.inbox.erasing import open_erasures, receipt
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.inbox.quarantine import aside, put_aside
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.erasure import ask, carrier, erase_again
from recommender.overlay.spellings import BLOCK, search
from recommender.releases.home import Home
from recommender.releases.publishing import activate
from recommender.releases.scrubbing import nameless

NOW = 1_760_000_000
PERSON = "Ange\u0301lique d'Été/7"  # in another Unicode form than the store's
KNOWN = "Angélique d'Été/7"


def clock():
    return NOW + 10


def event(user=KNOWN, item="item-1", **more):
    return fact("events", {"user": user, "item": item, "kind": "view", **more})


@pytest.fixture
def home(planted_home, tmp_path):
    """A copy of the planted home, in whose inbox a person and a friend of hers were busy."""
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    journal = Journal(home.inbox)
    friends = {"source": "friend", "target": KNOWN, "kind": "knows", "weight": 1.0}
    journal.append(
        [
            event(event_id="e1", at=NOW - 100),
            event("friend"),
            event(tag="only she says so"),
            fact("user_put", {"id": KNOWN, "attributes": {"mail": "a@example.org"}}),
            fact("user_relations", friends),
        ],
        now=NOW,
    )
    journal.close()
    return home


@pytest.fixture
def journal(home):
    journal = Journal(home.inbox)
    yield journal
    journal.close()


@pytest.fixture
def store(home):
    store = EmbeddedStore(home.store)
    yield store
    store.close()


def drain_all(journal, store, home):
    carry = carrier(journal, store, home, clock)
    while drain(journal, store, now=clock, carry=carry).facts:
        pass


def hits(home):
    return {hit.path.name for hit in search(home.folder, PERSON)}


def test_asking_takes_everything_out_of_the_inbox_and_refuses_more(home, journal):
    put_aside(journal, journal.facts_after(0)[0], "refused", now=NOW)
    sequence = ask(journal, home, PERSON, now=NOW + 5)
    assert sequence == 6
    assert [(row.kind, row.payload.get("user")) for row in journal.facts_after(0)] == [
        ("events", "friend"),
        ("user_delete", None),
    ]
    assert aside(journal) == []
    events = journal.append([event(), event("friend", at=NOW)], now=NOW + 6)
    assert [result.refused is None for result in events] == [False, True]
    erasure = receipt(journal, sequence)
    assert not erasure.done
    counts = {step.location: step.count for step in erasure.steps}
    assert (counts["inbox"], counts["quarantine"]) == (4, 1)
    assert open_erasures(journal) == 1


def test_it_reaches_every_place_and_no_file_holds_the_id(home, journal, store):
    drain_all(journal, store, home)
    assert KNOWN in store.read("users")["id"].to_pylist()
    home.rejects.mkdir(exist_ok=True)
    (home.rejects / "1.csv").write_text(f"file,line\na,user={PERSON}\nb,user=other\n", "utf-8")
    (home.explore / "audit.jsonl").write_text(json.dumps({"query": KNOWN}) + "\n{}\n", "utf-8")
    (home.reports / "picture.png").write_bytes(b"\xff\xfe" + KNOWN.encode())
    assert {"store.sqlite-wal", "1.csv", "audit.jsonl", "picture.png"} <= hits(home)
    sequence = ask(journal, home, PERSON, now=NOW + 5)
    drain_all(journal, store, home)
    assert hits(home) == set()
    assert KNOWN not in store.read("users")["id"].to_pylist()
    assert (home.rejects / "1.csv").read_text("utf-8") == "file,line\nb,user=other\n"
    assert (home.explore / "audit.jsonl").read_text("utf-8") == "{}\n"
    erasure = receipt(journal, sequence)
    assert erasure.done
    places = {step.location: step.count for step in erasure.steps}
    assert places["store"] == 2
    assert {"serving", "inbox", "copies for exploring", "rejects", "reports"} <= set(places)
    assert "only she says so" not in json.dumps(store.read("events").to_pylist())


def test_a_killed_erasure_is_completed_by_the_next_drain(home, journal, store):
    sequence = ask(journal, home, PERSON, now=NOW + 5)

    def dies(number, user):
        store.erase_user(user)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        while True:
            drain(journal, store, now=clock, carry=dies)
    assert not receipt(journal, sequence).done
    drain_all(journal, store, home)
    assert receipt(journal, sequence).done
    assert hits(home) == set()


def test_what_was_said_of_loads_taken_back_goes_too(home, journal, store):
    row = {"user": KNOWN, "item": "x", "kind": "like", "at": 1_700_000_000}
    journal.append(
        [
            fact("event_undone", row),
            fact("user_undone", {"id": KNOWN, "now": {"id": KNOWN}}),
            fact("event_undone", row | {"user": "friend"}),
        ],
        now=NOW + 1,
    )
    ask(journal, home, PERSON, now=NOW + 5)
    drain_all(journal, store, home)
    assert hits(home) == set()
    kept = [each.payload for each in journal.facts_after(0) if each.kind == "event_undone"]
    assert [each["user"] for each in kept] == ["friend"]


def test_what_happened_before_does_not_come_back_and_a_new_person_may(home, journal, store):
    ask(journal, home, PERSON, now=NOW + 5)
    drain_all(journal, store, home)
    again = journal.append(
        [event(event_id="e1", at=NOW - 100), event("friend", at=1)], now=NOW + 20
    )
    assert "erased" in again[0].refused
    assert again[1].refused is None
    drain_all(journal, store, home)
    assert hits(home) == set()
    new = journal.append([event(at=NOW + 30), fact("user_put", {"id": KNOWN})], now=NOW + 40)
    assert [result.refused for result in new] == [None, None]
    drain_all(journal, store, home)
    assert store.user_events(KNOWN).num_rows == 1


@pytest.mark.parametrize(
    "written",
    [
        PERSON.encode(),
        KNOWN.encode(),
        json.dumps(PERSON).encode(),
        b"Ang\\u00E9lique d'%c3%89te\xcc\x81\\/7".replace(b"\\/", b"/"),
        quote(KNOWN, safe="").encode(),
        KNOWN.encode("utf-16-le"),
        b"x" * (BLOCK - 5) + KNOWN.encode() + b"x",
    ],
)
def test_every_spelling_is_found_once_wherever_it_stands(tmp_path, written):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"before " + written + b" after")
    (tmp_path / "other").write_bytes(b"Angelique d'Ete/7")
    assert [hit.count for hit in search(tmp_path, PERSON)] == [1]


def test_no_release_names_the_person_after_the_next_refresh(home, journal, store):
    """Those that are kept can still be gone back to; they know one nameless user more."""
    drain_all(journal, store, home)
    config = RefreshConfig(preset="fast", threads=1)
    knows = refresh(store, home, config, now=NOW)
    assert "users.data.npy" in hits(home)
    before = [knows.users.id(row) for row in range(len(knows.users))]
    ask(journal, home, PERSON, now=NOW + 5)
    drain_all(journal, store, home)
    refresh(store, home, config, now=NOW + 60)
    assert hits(home) == set()
    kept = activate(home, knows.name)
    after = [kept.users.id(row) for row in range(len(kept.users))]
    changed = [row for row, name in enumerate(before) if name != after[row]]
    assert [before[row] for row in changed] == [KNOWN]
    assert kept.users.row("reader-1") == knows.users.row("reader-1") != -1
    assert not list(home.releases.glob(".staging*"))


def test_nameless_users_sort_where_they_stood_and_keep_nobodys_name():
    ids = ["ann", "bob", "cleo", "dan"]
    once = nameless(ids, {1, 2})
    assert once[0] == "ann"
    assert once == sorted(set(once))
    assert not any("bob" in name or "cleo" in name for name in once)
    twice = nameless(once, {0})  # the others were named after her
    assert twice == sorted(set(twice))
    assert not any("ann" in name for name in twice)
    assert twice[3] == "dan"


def test_by_http_and_command_line(home, capsys):
    client = create_app(load_settings(home.folder)).test_client()
    path = "/v1/users/Ang%C3%A9lique%20d%27%C3%89t%C3%A9%2F7"
    assert client.get(path).status_code == 200
    answer = client.delete(path)
    assert answer.status_code == 202
    assert answer.json["done"] is False
    assert client.get(path).status_code == 404
    event_of = {"user": KNOWN, "item": "item-1"}
    assert client.post("/v1/events", json=event_of).status_code == 400
    mixed = client.post("/v1/events", json={"events": [event_of, event_of | {"user": "bob"}]})
    assert [result["status"] for result in mixed.json["results"]] == ["refused", "taken"]
    assert run(["--home", str(home.folder), "erase", PERSON, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"]
    assert client.get(f"/v1/erasures/{answer.json['sequence']}").json["done"]
    assert client.get("/v1/erasures/1").status_code == 404
    assert run(["--home", str(home.folder), "erase", PERSON, "--verify"]) == 0
    assert "0 hits" in capsys.readouterr().out
    assert run(["--home", str(home.folder), "erase", "reader-1", "--verify"]) == 1
    assert "store.sqlite" in capsys.readouterr().out
    assert run(["--home", str(home.folder), "erase", "raeder-1"]) == 1


def test_the_receipt_names_releases_when_the_next_refresh_has_reached_them(home, capsys):
    """With `--force`: this copy of a home has few users, and the gates do not matter here."""
    words = ["--home", str(home.folder)]
    assert run([*words, "erase", PERSON, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    places = [step["place"] for step in before["places"]]
    assert "releases" not in places
    assert {"inbox", "quarantine", "store"} <= set(places)
    assert run([*words, "refresh", "--preset", "fast", "--force"]) == 0
    with closing(Journal(home.inbox)) as journal:
        after = receipt(journal, before["sequence"])
    assert [step.location for step in after.steps] == [*places, "releases"]
    assert hits(home) == set()


def test_a_person_gets_all_that_is_known_of_them(home, journal, store, capsys):
    drain_all(journal, store, home)
    refused = journal.facts_after(0)[0]._replace(
        sequence=900, kind="events", payload={"user": KNOWN, "item": "never", "kind": "?"}
    )
    put_aside(journal, refused, "no such kind", now=NOW)
    journal.append(
        [event(item="waits", at=NOW), fact("consent", {"id": KNOWN, "consent": {"train": False}})],
        now=NOW,
    )
    client = create_app(load_settings(home.folder)).test_client()
    data = client.get("/v1/users/Ang%C3%A9lique%20d%27%C3%89t%C3%A9%2F7/data")
    assert data.status_code == 200, data.data
    data = data.json
    assert data["known"]
    assert data["attributes"] == {"mail": "a@example.org"}
    assert data["consent"] == {"personalise": True, "train": False, "track": True}
    assert [event.get("tag") for event in data["events"]] == ["only she says so", None]
    assert [relation["source"] for relation in data["relations"]] == ["friend"]
    assert "waits" in [fact.get("item") for fact in data["inbox"]]
    assert data["shown"]["items"][0]["reasons"]
    assert [entry["reason"] for entry in data["quarantine"]] == ["no such kind"]
    assert run(["--home", str(home.folder), "data", "nobody"]) == 0
    assert not json.loads(capsys.readouterr().out)["known"]
    far = client.get("/v1/users/x/data", headers={"X-Forwarded-For": "10.0.0.1"})
    assert far.status_code == 403


@pytest.mark.parametrize("undone", [False, True], ids=["a load", "taking back a load"])
def test_a_load_without_a_server_takes_a_waiting_erasure_everywhere(home, journal, store, undone):
    drain_all(journal, store, home)
    home.rejects.mkdir(exist_ok=True)
    (home.rejects / "1.csv").write_text(f"file,line\na,user={PERSON}\nb,user=other\n", "utf-8")
    events = home.folder.parent / "more.csv"
    events.write_text("user,item\nbob,item-1\n")
    load = ["--home", str(home.folder), "load", str(events)]
    undo = ["--home", str(home.folder), "loads", "undo", "1"]
    if undone:
        assert run(load) == 0
    sequence = ask(journal, home, PERSON, now=NOW + 5)
    assert run(undo if undone else load) == 0
    assert receipt(journal, sequence).done
    assert hits(home) == set()
    assert ("bob" in store.read("users")["id"].to_pylist()) is not undone


# ── a home from a backup ─────────────────────────────────────────────────────────────────


def restored(backup, home, log):
    """The home as the backup has it, put where it was."""
    shutil.rmtree(home.folder)
    shutil.copytree(backup, home.folder)
    return Home(home.folder, log)


def test_restoring_a_backup_of_the_home_brings_nobody_back(planted_home, home, tmp_path):
    """From an erasure log apart from the home; whoever came back as a new person stays."""
    log = tmp_path / "elsewhere" / "erasures.jsonl"
    log.parent.mkdir()
    home = Home(home.folder, log)
    journal, store = Journal(home.inbox), EmbeddedStore(home.store)
    drain_all(journal, store, home)
    backup = shutil.copytree(home.folder, tmp_path / "backup")
    ask(journal, home, PERSON, now=NOW + 5)
    drain_all(journal, store, home)
    assert KNOWN not in log.read_text("utf-8")
    journal.append([event(event_id="new", at=NOW + 50)], now=NOW + 50)  # a new person
    drain_all(journal, store, home)
    assert erase_again(store, journal, home, now=NOW + 60) == []
    assert KNOWN in store.read("users")["id"].to_pylist()
    journal.close()
    store.close()

    home = restored(backup, home, log)
    journal, store = Journal(home.inbox), EmbeddedStore(home.store)
    assert KNOWN in store.read("users")["id"].to_pylist()
    assert len(erase_again(store, journal, home, now=NOW + 70)) == 1
    drain_all(journal, store, home)
    assert hits(home) == set()
    assert erase_again(store, journal, home, now=NOW + 80) == []
    assert "reader-1" in store.read("users")["id"].to_pylist()
    journal.close()
    store.close()


def test_an_old_journal_beside_a_store_that_forgot_brings_nobody_back(home, tmp_path):
    """As with a Neo4j server, which is not in the home: its store is newer than the journal."""
    log = tmp_path / "erasures.jsonl"
    home = Home(home.folder, log)
    store = EmbeddedStore(tmp_path / "server.sqlite")
    journal = Journal(home.inbox)
    backup = shutil.copytree(home.folder, tmp_path / "backup")
    drain_all(journal, store, home)
    assert KNOWN in store.read("users")["id"].to_pylist()
    ask(journal, home, PERSON, now=NOW + 5)
    drain_all(journal, store, home)
    journal.close()
    home = restored(backup, home, log)
    journal = Journal(home.inbox)
    assert len(erase_again(store, journal, home, now=NOW + 70)) == 1
    drain_all(journal, store, home)
    assert KNOWN not in store.read("users")["id"].to_pylist()
    assert "friend" in store.read("users")["id"].to_pylist()
    assert hits(home) == set()
    journal.close()
    store.close()


def test_a_damaged_erasure_log_is_said_and_nothing_is_erased_without_it(home, journal, tmp_path):
    log = tmp_path / "erasures.jsonl"
    log.write_text("not json\n")
    with pytest.raises(InputError, match="setting erasure_log"):
        ask(journal, Home(home.folder, log), PERSON, now=NOW)
    assert open_erasures(journal) == 0
