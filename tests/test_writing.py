"""Writing over HTTP: what is acknowledged is in the journal, what is wrong is named."""

import json
import shutil
from urllib.parse import quote

import pytest

from api.app import create_app
from api.settings import load_settings
from recommender.inbox.appending import Served, Waiting, write_once
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.releases.home import Home

EVENT = {"user": "ann", "item": "suites", "kind": "play", "at": 1_759_000_000}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path).create()


@pytest.fixture
def client(home):
    return create_app(load_settings(home.folder)).test_client()


@pytest.fixture
def journal(home):
    journal = Journal(home.inbox)
    yield journal
    journal.close()


@pytest.fixture(scope="module")
def planted_client(planted_home, tmp_path_factory):
    """Over a copy of the planted catalogue, to be written to."""
    home = tmp_path_factory.mktemp("writing") / "home"
    shutil.copytree(planted_home.folder, home)
    return create_app(load_settings(home)).test_client()


def taken(response):
    assert response.status_code == 202, response.data
    return [(result["status"], result.get("sequence")) for result in response.json["results"]]


def refused(response, field):
    assert response.status_code == 400, response.data
    assert field in [error["field"] for error in response.json["errors"]]
    return response.json["detail"]


def test_an_event_is_in_the_journal_when_it_is_acknowledged(client, journal):
    response = client.post("/v1/events", json=EVENT)
    assert taken(response) == [("taken", 1)]
    assert response.json["sequence"] == 1
    assert [(row.kind, row.payload) for row in journal.facts_after(0)] == [("events", EVENT)]
    assert taken(client.post("/v1/events", json=EVENT)) == [("repeated", 1)]
    assert journal.last_sequence() == 1


def test_many_events_are_taken_or_refused_one_by_one(client, journal):
    wrong = EVENT | {"at": "soon"}
    response = client.post("/v1/events", json={"events": [EVENT, wrong, EVENT, {"item": "x"}, 5]})
    assert taken(response) == [
        ("taken", 1),
        ("refused", None),
        ("repeated", 1),
        ("refused", None),
        ("refused", None),
    ]
    errors = [result.get("errors") for result in response.json["results"]]
    assert errors[1] == [{"field": "at", "message": "not a time"}]
    assert errors[3] == [{"field": "user", "message": "missing id"}]
    assert errors[4] == [{"field": "", "message": "not an object"}]
    counts = {name: response.json[name] for name in ("taken", "repeated", "refused")}
    assert counts == {"taken": 1, "repeated": 1, "refused": 3}
    assert journal.last_sequence() == 1


def test_an_atomic_batch_is_refused_as_a_whole(client, journal):
    wrong = EVENT | {"user": ""}
    body = {"events": [EVENT, wrong], "atomic": True}
    detail = refused(client.post("/v1/events", json=body), "events.1.user")
    assert "nothing was accepted, because 1 of 2 entries are wrong" in detail
    assert journal.last_sequence() == 0
    assert taken(client.post("/v1/events", json=body | {"events": [EVENT]})) == [("taken", 1)]


def test_an_atomic_batch_with_events_of_who_is_not_tracked_is_refused_as_a_whole(client, journal):
    bob = EVENT | {"user": "bob"}
    client.put("/v1/users/bob/consent", json={"track": False})
    body = {"events": [EVENT, bob, EVENT | {"user": "carl"}], "atomic": True}
    detail = refused(client.post("/v1/events", json=body), "events.1.user")
    assert "nothing was accepted, because 1 of 3 entries are wrong" in detail
    assert journal.last_sequence() == 1  # the consent
    client.put("/v1/users/bob/consent", json={"track": True})
    assert taken(client.post("/v1/events", json=body)) == [("taken", n) for n in (3, 4, 5)]


def test_an_atomic_batch_with_old_events_of_an_erased_person_is_refused_as_a_whole(client, journal):
    assert client.delete("/v1/users/bob").status_code == 202
    before = journal.last_sequence()
    body = {"events": [EVENT, EVENT | {"user": "bob"}], "atomic": True}
    refused(client.post("/v1/events", json=body), "events.1.user")
    assert journal.last_sequence() == before
    assert taken(client.post("/v1/events", json=body | {"atomic": False})) == [
        ("taken", before + 1),
        ("refused", None),
    ]


def test_what_others_wrote_in_the_same_commit_stays_when_an_atomic_request_is_refused(tmp_path):
    """Their facts wait in the same process and share the transaction."""
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append([fact("consent", {"id": "bob", "consent": {"track": False}})], now=1)
    ann, bob = fact("events", EVENT), fact("events", EVENT | {"user": "bob"})
    carl = fact("events", EVENT | {"user": "carl"})
    with journal.transaction() as db:
        atomic = Waiting([carl, bob], 2, "a key", atomic=True)
        together = [Waiting([ann], 2, None), atomic, Waiting([carl], 2, None)]
        receipts = [write_once(db, entry, 0, Served()) for entry in together]
    assert [[each.sequence for each in own] for own in receipts] == [[2], [0, 0], [3]]
    assert [each.refused is not None for each in receipts[1]] == [False, True]
    assert [row.payload["user"] for row in journal.facts_after(1)] == ["ann", "carl"]
    journal.close()


def test_one_event_that_is_wrong_is_a_problem_that_names_the_field(client):
    refused(client.post("/v1/events", json=EVENT | {"value": "much"}), "value")
    refused(client.post("/v1/events", json=EVENT | {"usr": "x"}), "usr")
    refused(client.post("/v1/events", json=EVENT | {"events": [EVENT]}), "user")
    refused(client.post("/v1/events", json={"events": []}), "events")
    refused(client.post("/v1/events", json={"events": [EVENT] * 10_001}), "events")


def test_ten_thousand_events_go_in_one_request(client, journal):
    events = [EVENT | {"user": f"user {number}", "tag": "x" * 100} for number in range(10_000)]
    response = client.post("/v1/events", json={"events": events})
    assert response.json["taken"] == response.json["sequence"] == 10_000
    assert journal.last_sequence() == 10_000


ITEM = {
    "title": "Cello suites",
    "created_at": "2001-02-03",
    "attributes": {"year": 1720},
    "tags": ["slow", {"tag": "solo", "weight": 2}],
    "tags:genre": ["baroque"],
    "domains": ["strings"],
}
KNOWN = {
    "id": "suites",
    "title": "Cello suites",
    "created_at": 981_158_400,
    "hidden": False,
    "attributes": {"year": 1720},
    "tags": [
        {"category": "tag", "tag": "slow", "weight": 1.0},
        {"category": "tag", "tag": "solo", "weight": 2.0},
        {"category": "genre", "tag": "baroque", "weight": 1.0},
    ],
    "domains": [{"domain": "strings", "weight": 1.0}],
}


def test_an_item_is_put_changed_read_and_taken_away(client):
    def read():
        return client.get("/v1/items/suites")

    assert read().status_code == 404
    assert taken(client.put("/v1/items/suites", json=ITEM)) == [("taken", 1)]
    assert taken(client.put("/v1/items/suites", json=ITEM)) == [("repeated", 1)]
    assert read().json == KNOWN | {"sequence": 1}
    change = {"title": None, "tags": ["fast"], "hidden": True}
    assert taken(client.patch("/v1/items/suites", json=change)) == [("taken", 2)]
    fast = [{"category": "tag", "tag": "fast", "weight": 1.0}]
    changed = KNOWN | {"tags": fast, "hidden": True, "sequence": 2}
    changed.pop("title")
    assert read().json == changed
    assert taken(client.put("/v1/items/suites", json={"title": "New"})) == [("taken", 3)]
    new = {"id": "suites", "title": "New", "hidden": False, "sequence": 3}
    assert read().json == new | {"created_at": KNOWN["created_at"]}  # when it was made stays known
    assert taken(client.delete("/v1/items/suites")) == [("taken", 4)]
    assert read().status_code == 404


def test_a_new_item_without_a_time_was_created_when_it_was_acknowledged(client, journal):
    def put(content, item="suites"):
        return taken(client.put(f"/v1/items/{item}", json=content))

    def created(item="suites"):
        return client.get(f"/v1/items/{item}").json.get("created_at")

    assert put({"title": "Suites"}) == [("taken", 1)]
    first = journal.facts_after(0)[0].acknowledged
    assert created() == first
    later = Journal(journal.path)  # an hour has passed
    later.append([fact("items", {"id": "suites", "created_at": first - 3600})], now=first)
    later.close()
    assert put({"title": "Suites"}) == [("taken", 3)]
    assert put({"title": "Suites"}) == [("repeated", 3)]
    assert created() == first - 3600
    client.delete("/v1/items/suites")
    put({"title": "Suites"})
    assert created() >= first  # deleted, so it is new again
    client.post("/v1/events", json=EVENT | {"item": "etudes"})
    assert created("etudes") is None
    put({"title": "Études"}, "etudes")  # an event came before the editor
    assert created("etudes") >= first
    client.patch("/v1/items/etudes", json={"created_at": None})
    put({"title": "Études, again"}, "etudes")
    assert created("etudes") is None


def test_items_sent_again_under_a_key_get_the_same_answer_though_their_times_changed(client):
    def send():
        return client.post(
            "/v1/items",
            json={"items": [{"id": "a", "title": "A"}]},
            headers={"Idempotency-Key": "k"},
        )

    first = send()
    client.patch("/v1/items/a", json={"created_at": 981_158_400})
    assert send().json == first.json
    assert client.get("/v1/items/a").json["created_at"] == 981_158_400


def test_after_a_load_past_the_journal_nobody_guesses_when_an_item_was_made(client, journal):
    """The store may know it, and its time; a server that runs beside a load learns of its items."""
    client.put("/v1/items/first", json={"title": "First"})
    journal.append([fact("load", {"at": 1})], now=1)
    client.put("/v1/items/suites", json={"title": "Suites"})
    assert "created_at" not in client.get("/v1/items/suites").json
    assert "created_at" in client.get("/v1/items/first").json


def test_what_is_wrong_with_an_item_is_named(client, journal):
    refused(
        client.put("/v1/items/x", json={"tags": ["a", {"tag": "b", "weight": -1}]}),
        "tags[1].weight",
    )
    refused(client.put("/v1/items/x", json={"colour": "red"}), "colour")
    refused(client.patch("/v1/items/x", json={"id": "y"}), "id")
    assert journal.last_sequence() == 0


@pytest.mark.parametrize("name", ["a/b", "with space", "日本語", "50%", "x/similar", "similar"])
def test_ids_of_any_kind_are_written_and_read(client, name):
    path = f"/v1/items/{quote(name, safe='')}"
    assert taken(client.put(path, json={"title": "T"})) == [("taken", 1)]
    person = f"/v1/users/{quote(name, safe='')}"
    assert taken(client.put(person, json={})) == [("taken", 2)]
    if name != "x/similar":  # arrives decoded: what is like x
        assert [client.get(address).json["id"] for address in (path, person)] == [name, name]


def test_items_in_a_batch_under_a_key_are_taken_once(client, journal):
    def send(items, key="k1"):
        return client.post("/v1/items", json={"items": items}, headers={"Idempotency-Key": key})

    first = send([{"id": "a"}, {"id": ""}, {"id": "b"}])
    assert taken(first) == [("taken", 1), ("refused", None), ("taken", 2)]
    client.patch("/v1/items/a", json={"title": "meanwhile"})
    again = send([{"id": "a"}, {"id": ""}, {"id": "b"}])
    assert again.json == first.json
    assert journal.last_sequence() == 3
    other = send([{"id": "c"}])
    assert other.status_code == 400
    assert "Idempotency-Key" in other.json["detail"]
    assert taken(send([{"id": "a"}, {"id": "b"}], "k2")) == [("taken", 4), ("repeated", 2)]
    assert send([{"id": "a"}], "").status_code == 400


def test_an_atomic_batch_of_items_is_refused_as_a_whole(client, journal):
    body = {"items": [{"id": "a"}, {"id": "b", "tags": [{"tag": "t", "weight": -1}]}]}
    refused(client.post("/v1/items", json=body | {"atomic": True}), "items.1.tags[0].weight")
    assert journal.last_sequence() == 0
    assert client.get("/v1/items/a").status_code == 404
    assert taken(client.post("/v1/items", json=body)) == [("taken", 1), ("refused", None)]


def test_a_user_is_put_read_and_asked_for_consent(client):
    assert client.get("/v1/users/ann").status_code == 404
    client.post("/v1/events", json=EVENT)
    every = {"personalise": True, "train": True, "track": True}
    assert client.get("/v1/users/ann").json == {"id": "ann", "consent": every, "sequence": 1}
    client.put("/v1/users/ann", json={"attributes": {"age": 7}})
    client.put("/v1/users/ann/consent", json={"train": False})
    client.put("/v1/users/ann/consent", json={"track": False})
    known = {
        "id": "ann",
        "attributes": {"age": 7},
        "consent": every | {"train": False, "track": False},
    }
    assert client.get("/v1/users/ann").json == known | {"sequence": 4}
    client.put("/v1/users/ann", json={})
    assert "attributes" not in client.get("/v1/users/ann").json
    assert client.get("/v1/users/ann").json["consent"] == known["consent"]
    refused(client.put("/v1/users/ann/consent", json={}), "")
    refused(client.put("/v1/users/ann/consent", json={"train": "no"}), "train")


def test_what_a_release_knows_is_read_and_changed(planted_client):
    first = json.loads(planted_client.get("/v1/popular?n=1").data)["items"][0]
    before = planted_client.get(f"/v1/items/{quote(first['item'])}").json
    assert before["title"] == first["title"]
    assert [tag["tag"] for tag in before["tags"]]
    assert (before["sequence"], before["hidden"]) == (None, False)
    assert taken(planted_client.patch(f"/v1/items/{quote(first['item'])}", json={"title": "Other"}))
    after = planted_client.get(f"/v1/items/{quote(first['item'])}").json
    assert after == before | {"title": "Other", "sequence": 1}
    assert planted_client.get("/v1/users/reader-1").status_code == 200


def test_a_new_item_is_in_the_latest_and_a_known_one_without_a_time_stays_out(planted_client):
    def latest():
        answer = planted_client.get("/v1/latest?n=100").json
        return [entry["item"] for entry in answer["items"]]

    known = planted_client.get("/v1/popular?n=3").json["items"][2]["item"]
    titles = {known: "Changed", "fresh": "Fresh"}
    items = [{"id": item, "title": title} for item, title in titles.items()]
    assert planted_client.post("/v1/items", json={"items": items}).status_code == 202
    assert latest() == ["fresh"]


def test_at_its_limit_the_journal_answers_503_and_when_to_come_back(home):
    narrow = create_app(load_settings(home.folder, inbox_free_bytes=10**18)).test_client()
    response = narrow.post("/v1/events", json=EVENT)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert "inbox_free_bytes" in response.json["detail"]


def test_events_of_who_withdrew_tracking_are_refused_until_they_agree_again(client, journal):
    bob = EVENT | {"user": "bob"}
    content = [EVENT | {"at": 1_700_000_000 + number} for number in range(3)]
    client.put("/v1/users/ann/consent", json={"train": False})
    assert taken(client.post("/v1/events", json=content[0])) == [("taken", 2)]
    client.put("/v1/users/ann/consent", json={"track": False})
    assert "tracked" in refused(client.post("/v1/events", json=content[1]), "user")
    both = client.post("/v1/events", json={"events": [content[1], bob]})
    assert taken(both) == [("refused", None), ("taken", 4)]
    client.put("/v1/users/ann/consent", json={"train": True})
    refused(client.post("/v1/events", json=content[1]), "user")
    client.put("/v1/users/ann/consent", json={"track": True})
    assert taken(client.post("/v1/events", json=content[2])) == [("taken", 7)]
