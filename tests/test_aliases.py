"""An anonymous id that turns out to be somebody: both histories become one, once, everywhere."""

import shutil
import sqlite3
from functools import partial

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.aliases import ITSELF, TAKEN
from recommender.inbox.announcing import load_into
from recommender.inbox.drain import drain
from recommender.inbox.facts import ALIAS, CONSENT, fact
from recommender.inbox.joining import all_names, own_name
from recommender.inbox.journal import Journal
from recommender.inbox.schema import APPLICATION_ID, MIGRATIONS
from recommender.overlay.erasure import ask
from recommender.overlay.personal import personal_data
from recommender.overlay.state import State
from recommender.ranking.request import Request
from recommender.releases.audit import lines
from recommender.releases.home import Home
from recommender.serving.following import Follower

NOW = 1_760_000_000


def event(user, item, kind="view", **more):
    return fact("events", {"user": user, "item": item, "kind": kind, **more})


def alias(user, anonymous):
    return fact(ALIAS, {"id": user, "anonymous": anonymous})


def say(journal, *facts):
    return journal.append(list(facts), now=NOW)


def drain_all(journal, store):
    while drain(journal, store, now=lambda: NOW).facts:
        pass


def said_of(store, user):
    rows = store.user_events(user).to_pylist()
    return sorted((row["item"], row["kind"], row["at"], row["event_id"] or "") for row in rows)


# ── in the overlay ───────────────────────────────────────────────────────────────────────


def events_of(planted, user):
    """What a user of the planted catalogue did, in the fields of events."""
    for batch in planted.batches():
        for row in batch["events"].to_pylist() if "events" in batch else ():
            if row["user"] == user:
                yield {name: value for name, value in row.items() if value is not None}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_after_an_alias_the_history_is_that_of_one_user_who_did_all_of_it(
    planted, planted_home, recommender, tmp_path_factory, data
):
    """Whether the release knows both ids, one of them or neither, and whatever came after."""
    release = recommender.release
    known = st.sampled_from(planted.answers.users[:3])
    anonymous = data.draw(known | st.just("visitor"))
    user = data.draw((known | st.just("newcomer")).filter(lambda name: name != anonymous))
    items = st.sampled_from([*planted.answers.items[:30], "brand new"])
    draw_event = st.builds(
        lambda who, item, kind, at: {"user": who, "item": item, "kind": kind, "at": at},
        st.sampled_from([anonymous, user]),
        items,
        st.sampled_from(["view", "like", "hide"]),
        st.integers(NOW - 1000, NOW),
    )
    before, after = (data.draw(st.lists(draw_event, max_size=8)) for _ in range(2))
    folder = tmp_path_factory.mktemp("alias")
    joined, single = Journal(folder / "joined.sqlite"), Journal(folder / "single.sqlite")
    say(joined, *[fact("events", e) for e in before], alias(user, anonymous))
    say(joined, *[fact("events", e) for e in after])
    earlier = events_of(planted, anonymous) if anonymous in release.users else ()
    whole = [{**e, "user": user} for e in (*earlier, *before, *after)]
    say(single, *[fact("events", e) for e in whole])
    made, expected = (
        Follower.over(release, journal).overlay(State(), None) for journal in (joined, single)
    )
    assert made.own_name(anonymous) == made.own_name(user) == user
    mine, theirs = made.history(user), expected.history(user)
    if theirs is None:
        assert mine is None
    else:
        named = [
            dict(zip(overlay.release.items.ids(history.items.tolist()), history.weights.tolist(),
                     strict=True))
            for overlay, history in ((made, mine), (expected, theirs))
        ]  # fmt: skip
        assert named[0] == pytest.approx(named[1], rel=1e-6)
        for part in ("seen", "hidden"):
            ours, others = (
                set(overlay.release.items.ids(getattr(history, part).tolist()))
                for overlay, history in ((made, mine), (expected, theirs))
            )
            assert ours == others
    for journal in (joined, single):
        journal.close()


def test_a_request_for_the_anonymous_id_is_answered_for_the_user(
    planted, recommender, journal, planted_home
):
    from recommender.serving.live import Live

    live = Live(planted_home, journal=journal, clock=iter(range(10_000)).__next__)
    user, item = planted.answers.users[0], planted.answers.items[7]
    say(journal, event("visitor", item), alias(user, "visitor"))
    serving = live.recommender()
    under_both = [
        serving.recommend([Request(**fields)], now=NOW)[0].items
        for fields in ({"user": user}, {"user": "visitor"}, {"household": (user, "visitor")})
    ]
    assert under_both[0] == under_both[1]
    assert item not in [entry.item for entry in under_both[2]]
    assert len({entry.item for entry in under_both[2]}) == 20


# ── in the journal ───────────────────────────────────────────────────────────────────────


def test_an_alias_is_taken_once_and_belongs_to_one_user(journal):
    taken, again, other, itself = say(
        journal, alias("ann", "v1"), alias("ann", "v1"), alias("bob", "v1"), alias("cy", "cy")
    )
    assert (taken.repeated, again.repeated) == (False, True)
    assert again.sequence == taken.sequence
    assert (other.refused, itself.refused) == (TAKEN, ITSELF)
    assert all_names(journal) == {"v1": "ann"}


def test_later_facts_of_the_anonymous_id_are_written_as_the_users(journal):
    say(journal, alias("ann", "v1"), event("v1", "x"), fact(CONSENT, _consent("v1", train=False)))
    assert [row.payload.get("user") or row.payload["id"] for row in journal.facts_after(0)] == [
        "ann"
    ] * 3


def test_what_is_sent_again_over_a_login_is_still_the_same_event(journal):
    """With an id and without, as a browser that got no answer would do."""
    sent = [event("v1", "x", event_id="e1"), event("v1", "y", at=5)]
    first = say(journal, *sent)
    say(journal, alias("ann", "v1"))
    again = say(journal, *sent)
    assert [r.sequence for r in again] == [r.sequence for r in first]
    assert all(r.repeated for r in again)


def test_an_id_that_others_were_joined_to_can_be_joined_itself(journal):
    say(journal, alias("v2", "v1"), alias("ann", "v2"), event("v1", "x"))
    assert own_name(journal, "v1") == own_name(journal, "v2") == "ann"
    assert journal.facts_after(2)[0].payload["user"] == "ann"
    (refused,) = say(journal, alias("v1", "ann"))  # the other way round it would be a circle
    assert refused.refused == ITSELF


def _consent(user, **purposes):
    return {"id": user, "consent": purposes}


def test_what_a_visitor_did_not_agree_to_the_user_does_not_agree_to(journal):
    """Unless the user has said something about it."""
    say(journal, fact(CONSENT, _consent("v1", personalise=False, train=False)))
    say(journal, fact(CONSENT, _consent("ann", train=True)), alias("ann", "v1"))
    assert journal.facts_after(3)[0].payload == _consent("ann", personalise=False)
    say(journal, fact(CONSENT, _consent("bob", track=False)))
    (refused,) = say(journal, alias("bob", "v2"))
    assert refused.refused == "this user does not agree to be tracked"


def test_a_journal_of_the_first_schema_is_read_and_written_on(tmp_path):
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(MIGRATIONS[0])
        old = event("v1", "x")
        db.execute(
            "INSERT INTO facts (kind, key, subject, payload, acknowledged) VALUES (?, ?, ?, ?, ?)",
            (old.kind, old.key, old.subject, old.payload, NOW),
        )
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
    journal = Journal(path)
    assert [row.payload["item"] for row in journal.facts_after(0)] == ["x"]
    assert own_name(journal, "v1") == "v1"
    say(journal, alias("ann", "v1"))
    assert own_name(journal, "v1") == "ann"
    journal.close()


# ── in the store ─────────────────────────────────────────────────────────────────────────


def test_a_drain_killed_at_any_step_gives_the_user_each_event_once(journal, store, monkeypatch):
    say(
        journal,
        event("v1", "x", event_id="e1"),
        event("v1", "y", at=5),
        event("ann", "y", at=5),
        event("v1", "z"),
        alias("ann", "v1"),
        event("v1", "w"),
    )
    expected = [("w", "view", None, ""), ("x", "view", NOW, "e1"), ("y", "view", 5, ""),
                ("z", "view", None, "")]  # fmt: skip
    killed = 0
    for method in ("apply", "erase_user", "apply"):
        real, calls = getattr(store, method), []

        def die(*args, real=real, calls=calls, **more):
            calls.append(real(*args, **more))
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store, method, die)
            with pytest.raises(KeyboardInterrupt):
                drain_all(journal, store)
        killed += len(calls)
    assert killed == 3
    drain_all(journal, store)
    assert said_of(store, "ann") == expected
    assert said_of(store, "v1") == []
    assert "v1" not in store.read("users").column("id").to_pylist()


def test_a_load_that_names_the_anonymous_id_is_the_users(journal, store):
    say(journal, alias("ann", "v1"))
    rows = {"user": ["v1", "bob"], "item": ["x", "x"], "kind": ["view", "view"]}
    with load_into(store, journal, now=NOW) as target:
        target.apply({"events": pa.table(rows), "users": pa.table({"id": ["v1"]})})
    assert set(store.read("events").column("user").to_pylist()) == {"ann", "bob"}
    assert sorted(store.read("users").column("id").to_pylist()) == ["ann", "bob"]


# ── erasure, export, HTTP ────────────────────────────────────────────────────────────────


def test_erasing_the_person_erases_what_came_from_the_alias(tmp_path, store):
    home = Home(tmp_path / "home").create()
    journal = Journal(home.inbox)
    say(journal, event("v1", "x"), event("ann", "y"), event("bob", "y"))
    drain_all(journal, store)
    say(journal, event("v1", "z"), alias("ann", "v1"))  # the store has not heard of this yet
    ask(journal, home, "v1", now=NOW)  # under whichever name
    left = [row.payload for row in journal.facts_after(0) if row.kind != "user_delete"]
    assert {payload["user"] for payload in left} == {"bob"}
    assert all_names(journal) == {}
    drain_all(journal, store)
    assert store.read("users").column("id").to_pylist() == ["bob"]
    (old, new) = say(journal, event("v1", "x", at=NOW - 5), event("v1", "x", at=NOW + 5))
    assert "this user was erased" in old.refused
    assert new.refused is None  # somebody new
    for file in home.inbox.parent.glob("*"):
        assert b"ann" not in file.read_bytes()
    journal.close()


def test_a_person_can_be_erased_by_the_name_that_only_the_journal_knows(tmp_path, capsys):
    home = Home(tmp_path / "home").create()
    journal, store = Journal(home.inbox), EmbeddedStore(home.store)
    say(journal, event("v1", "x"), event("ann", "y"), event("bob", "y"), alias("ann", "v1"))
    drain_all(journal, store)
    assert journal.trim(10) == 4
    journal.close()
    store.close()
    assert run(["--home", str(home.folder), "erase", "v1"]) == 0
    assert "ann was erased, with 2 events" in capsys.readouterr().out


def test_the_data_of_a_person_holds_what_they_did_under_any_name(journal, store):
    say(journal, event("v1", "x"), event("ann", "y"))
    drain_all(journal, store)
    say(journal, alias("ann", "v1"))
    for name in ("ann", "v1"):
        data = personal_data(store, journal, name)
        assert (data["user"], data["aliases"]) == ("ann", ["v1"])
        assert [each["item"] for each in data["events"]] == ["x", "y"]
        assert [each["number"] for each in data["inbox"]] == [2, 3, 1]
    drain_all(journal, store)
    assert [each["item"] for each in personal_data(store, journal, "ann")["events"]] == ["x", "y"]


def test_over_http_a_visitor_logs_in(planted_home, planted, tmp_path):
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    client = create_app(load_settings(home.folder)).test_client()
    user, item = planted.answers.users[0], planted.answers.items[7]
    sent = {"item": item, "session": "s-1", "event_id": "e"}
    assert client.post("/v1/events", json=sent).status_code == 202
    join = partial(client.post, f"/v1/users/{user}/alias")
    assert join(json={"anonymous": "s-1"}).json["taken"] == 1
    assert join(json={"anonymous": "s-1"}).json["repeated"] == 1
    stolen = client.post("/v1/users/thief/alias", json={"anonymous": "s-1"})
    assert (stolen.status_code, stolen.json["errors"][0]["field"]) == (400, "user")
    subjects = [
        {"user": user, "session": "s-1"},
        {"household": [user], "session": ["s-1"]},
        {"session": "s-1"},
    ]
    answer = client.post("/v1/recommendations", json={"subjects": subjects})
    assert [each["served_by"] for each in answer.json["answers"]] == [
        "session", "household", "session",
    ]  # fmt: skip
    for each in answer.json["answers"]:
        assert item not in [entry["item"] for entry in each["items"]]
        assert not each["notes"]
    assert client.get("/v1/users/s-1").json["id"] == user
    noted = [line for line in lines(home.audit) if line["what"] == "alias"]
    assert len(noted) == 1
    assert user not in str(noted)
