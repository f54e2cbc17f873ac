"""The image for e-mails: it tells of the one event that was signed, once, and of nothing else."""

import time

import pytest

from api.app import create_app
from api.keys import KeyFile
from api.routes.pixel import GIF
from api.settings import load_settings
from nichegraph_client import pixel_address, subject_token
from recommender.inbox.journal import Journal
from recommender.releases.home import Home

EVENT = {"user": "alice", "item": "goldberg", "event_id": "mail-7"}
LATER = int(time.time()) + 86_400


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home")).create()


@pytest.fixture(scope="module")
def key(home):
    return KeyFile(home.keys).create(["track"], now=int(time.time()), signed_subjects=True)


@pytest.fixture(scope="module")
def client(home, key):
    return create_app(load_settings(home.folder)).test_client()


def address(key, event=EVENT, expires_at=LATER):
    return pixel_address("", key.key.id, key.signing, event, expires_at)


def events(home):
    journal = Journal(home.inbox)
    try:
        return [row.payload for row in journal.facts_after(0) if row.kind == "events"]
    finally:
        journal.close()


def test_loading_the_image_tells_of_the_event_once(client, home, key):
    for _ in range(3):
        answer = client.get(address(key))
        assert answer.status_code == 200
        assert (answer.data, answer.content_type) == (GIF, "image/gif")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    (event,) = (event for event in events(home) if event["event_id"] == "mail-7")
    assert (event["user"], event["item"], event["kind"]) == ("alice", "goldberg", "open")


def test_the_image_is_a_gif_of_one_point():
    assert GIF.startswith(b"GIF89a\x01\x00\x01\x00") and GIF.endswith(b";") and len(GIF) < 50


def test_asking_whether_it_is_there_tells_of_nothing(client, home, key):
    event = EVENT | {"event_id": "mail-8"}
    assert client.head(address(key, event)).status_code == 200
    assert "mail-8" not in [event["event_id"] for event in events(home)]


def test_whoever_reads_the_mail_can_tell_of_nothing_else(client, home, key):
    good = address(key)
    token = good.rpartition("/")[2].removesuffix(".gif")
    payload, _, signature = token.partition(".")
    other = address(key, EVENT | {"user": "bob", "event_id": "mail-9"})
    forged = other.rpartition("/")[2].partition(".")[0]
    subject = subject_token(key.signing, "alice", LATER)
    for wrong in (f"{forged}.{signature}", payload, f"{payload}.", "x.y", subject):
        answer = client.get(f"/v1/pixel/{key.key.id}/{wrong}.gif")
        assert answer.status_code == 403, wrong
    assert client.get(f"/v1/pixel/00000000/{token}.gif").status_code == 403
    assert "mail-9" not in [event["event_id"] for event in events(home)]
    # and the token of an image is no subject
    headers = {"Authorization": f"Bearer {key.secret}", "X-Subject": token}
    assert client.post("/v1/events", json=EVENT, headers=headers).status_code == 401


def test_keys_that_ended_or_may_not_track_sign_nothing(client, home, key):
    keys = KeyFile(home.keys)
    reader = keys.create(["recommend"], now=int(time.time()), signed_subjects=True)
    ended = keys.create(["track"], now=int(time.time()), signed_subjects=True)
    unsigned = keys.create(["track"], now=int(time.time()))
    keys.revoke(ended.key.id, now=int(time.time()))
    for made in (reader, ended):
        assert client.get(address(made)).status_code == 403
    nobody = pixel_address("", unsigned.key.id, "", EVENT, LATER)
    assert client.get(nobody).status_code == 403
    assert client.get(address(key, expires_at=int(time.time()) - 1)).status_code == 403


def test_a_wrong_event_is_named(client, key):
    answer = client.get(address(key, {"user": "alice", "item": "goldberg"}))
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "event_id")
    answer = client.get(address(key, EVENT | {"itm": "x"}))
    assert answer.json["errors"][0]["field"] == "itm"


def test_who_does_not_agree_to_be_tracked_gets_the_image_and_nothing_is_written(client, home, key):
    admin = KeyFile(home.keys).create(["ingest"], now=int(time.time()))
    headers = {"Authorization": f"Bearer {admin.secret}"}
    body = {"track": False}
    assert client.put("/v1/users/carol/consent", json=body, headers=headers).status_code == 202
    event = EVENT | {"user": "carol", "event_id": "mail-10"}
    assert client.get(address(key, event)).data == GIF
    assert "mail-10" not in [event["event_id"] for event in events(home)]
