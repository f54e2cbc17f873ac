"""Sessions: what happened under a session's id is what a request with this id is about."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.errors import InputError
from graph.stores.embedded_store import EmbeddedStore
from loaders.entries import Refused, check_events
from loaders.synthetic import generate
from recommender.inbox.drain import drain
from recommender.inbox.facts import CONSENT, fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.sessions import MOST, Happened, taken_up, together
from recommender.ranking.request import Part, Request, session
from recommender.releases.home import Home
from recommender.serving.live import Live

NOW = 1_760_000_000
MINUTE = 60
FAST = RefreshConfig(preset="fast", threads=1)


@pytest.fixture
def live(planted_home, planted, tmp_path):
    """A server that follows a journal of its own over the shared release."""
    journal = Journal(tmp_path / "journal.sqlite")
    ticks = iter(range(10**7))
    yield Live(planted_home, journal=journal, clock=lambda: next(ticks)), journal, planted.answers
    journal.close()


def say(journal, *events, at=NOW):
    journal.append([fact("events", {"kind": "view", **event}) for event in events], now=at)


def ask(live, at=NOW, **fields):
    return live.recommender().recommend([Request(**fields)], now=at)[0]


def scores(answer):
    return [(entry.item, entry.score) for entry in answer.items]


# ── what a session is ────────────────────────────────────────────────────────────────────


def model(events, seconds):
    """What running sessions hold, kept in a plain dictionary: session -> (user, items, last)."""
    known = {}
    for name, user, item, at in events:
        before = known.get(name)
        if before is None or at - before[2] > seconds:
            before = (user, [], at)
        known[name] = (user, [*before[1], item][-MOST:], max(before[2], at))
    return known


EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("uv"), st.integers(0, 5), st.integers(0, 400)),
    max_size=30,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(events=EVENTS, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_sessions_are_those_of_a_plain_dictionary_however_the_events_come_in_batches(events, cuts):
    happened = [
        Happened(name, user, at, (item, 0, True, number))
        for number, (name, user, item, at) in enumerate(events)
    ]
    known = {}
    bounds = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
    for start, end in pairwise(bounds):
        known |= taken_up(known, happened[start:end], 100)
    made = {
        name: (each.user, each.entries["item"].tolist(), each.last) for name, each in known.items()
    }
    assert made == model(events, 100)
    numbers = together(list(known.values()))["heard"]
    assert np.all(numbers[1:] > numbers[:-1])


def test_of_a_long_session_the_newest_entries_are_kept():
    happened = [Happened("s", "u", 0, (n, 0, True, n)) for n in range(3 * MOST)]
    kept = taken_up({}, happened, 100)["s"].entries["item"].tolist()
    assert kept == list(range(2 * MOST, 3 * MOST))


# ── in events ────────────────────────────────────────────────────────────────────────────


def test_an_event_may_name_its_session_and_then_needs_no_user():
    entries = [
        {"user": "ann", "item": "x", "session": "s1"},
        {"item": "x", "session": 7},
        {"item": "x"},
        {"user": "ann", "item": "x", "session": " "},
        {"user": "ann", "session": "s1"},
        {"user": "ann", "item": "x", "session": ["s1"]},
        {"user": "ann", "item": "x", "session": None},
    ]
    rows = check_events(entries, NOW)
    assert rows[0] == {"user": "ann", "item": "x", "kind": "view", "session": "s1"}
    assert rows[1] == {"user": "7", "item": "x", "kind": "view", "session": "7"}
    assert [row.field for row in rows[2:6]] == ["user", "session", "item", "session"]
    assert all(isinstance(row, Refused) for row in rows[2:6])
    assert rows[6] == {"user": "ann", "item": "x", "kind": "view"}


# ── in requests ──────────────────────────────────────────────────────────────────────────


def test_a_session_asked_for_by_its_id_gives_the_list_of_its_items(live):
    server, journal, answers = live
    items = [answers.items[n] for n in (3, 40, 41)]
    say(journal, *({"user": "s-1", "item": item, "session": "s-1"} for item in items))
    by_id = ask(server, sessions=("s-1",))
    by_items = ask(server, items=session(items))
    assert by_id.served_by == "session"
    assert scores(by_id) == scores(by_items)
    known = answers.users[0]
    assert scores(ask(server, user=known, sessions=("s-1",))) == scores(
        ask(server, user=known, items=session(items))
    )
    assert not by_id.notes


def test_what_a_session_hid_or_disliked_stays_away_and_speaks_for_nothing(live):
    server, journal, answers = live
    liked, hid, low = answers.items[3], answers.items[40], answers.items[41]
    say(
        journal,
        {"user": "s", "item": low, "kind": "dislike", "session": "s"},
        {"user": "s", "item": hid, "session": "s"},
        {"user": "s", "item": liked, "session": "s"},
        {"user": "s", "item": hid, "kind": "hide", "session": "s"},
    )
    answer = ask(server, sessions=("s",), n=200)
    expected = ask(server, items={liked: 1.0}, exclude=(hid, low), n=200)
    assert scores(answer) == scores(expected)
    assert not {liked, hid, low} & {item for item, _ in scores(answer)}
    again = {item for item, _ in scores(ask(server, sessions=("s",), n=200, include_seen=True))}
    assert low in again
    assert hid not in again


def test_a_session_ends_after_its_time_and_a_later_event_begins_a_new_one(live):
    server, journal, answers = live
    first, second = answers.items[3], answers.items[40]
    say(journal, {"user": "s", "item": first, "session": "s"})
    soon = NOW + 30 * MINUTE
    assert ask(server, at=soon, sessions=("s",)).served_by == "session"
    over = ask(server, at=soon + 1, sessions=("s",))
    assert over.served_by != "session"
    assert over.notes == ("nothing is known about a running session 's'",)
    say(journal, {"user": "s", "item": second, "session": "s"}, at=soon + 1)
    again = ask(server, at=soon + 1, sessions=("s",))
    assert scores(again) == scores(ask(server, items={second: 1.0}))


def test_several_sessions_count_as_one_in_the_order_in_which_things_happened(live):
    server, journal, answers = live
    items = [answers.items[n] for n in (3, 40, 41, 77)]
    for number, item in enumerate(items):
        name = ("phone", "desk")[number % 2]
        say(journal, {"user": name, "item": item, "session": name})
    both = ask(server, sessions=("desk", "phone"))
    assert scores(both) == scores(ask(server, items=session(items)))
    beside = ask(server, sessions=("desk", "phone"), items=session([answers.items[90]]))
    assert scores(beside) == scores(ask(server, items=session([*items, answers.items[90]])))


def test_in_a_household_a_session_is_of_its_member_and_a_visitors_is_one_more_member(live):
    server, journal, answers = live
    ann, bob = answers.users[:2]
    mine, theirs = answers.items[3], answers.items[40]
    say(
        journal,
        {"user": ann, "item": mine, "session": "hers"},
        {"user": "visitor", "item": theirs, "session": "visitor"},
    )
    server.recommender()
    fused = ask(server, household=(ann, bob), sessions=("hers", "visitor"), n=10, reasons=False)
    assert fused.served_by == "household"
    recommender = server.recommender()
    alone = [
        recommender.planner.subject(request, NOW)
        for request in (
            Request(user=ann, sessions=("hers",)),
            Request(user=bob),
            Request(sessions=("visitor",)),
        )
    ]
    shut = {row for subject in alone for row in subject.blocked.tolist()}
    rows = recommender.release.items.rows([entry.item for entry in fused.items]).tolist()
    assert not shut & set(rows)
    best = scores(ask(server, sessions=("visitor",), n=50))
    assert any(entry.item in dict(best[:5]) for entry in fused.items[:3])  # each has a say
    without = ask(server, household=(ann, bob), n=10, reasons=False)
    assert [e.item for e in without.items] != [e.item for e in fused.items]


def test_who_does_not_agree_to_personal_lists_gets_none_from_a_session_either(live):
    server, journal, answers = live
    ann = answers.users[0]
    say(journal, {"user": ann, "item": answers.items[3], "session": "s"})
    journal.append([fact(CONSENT, {"id": ann, "consent": {"personalise": False}})], now=NOW)
    answer = ask(server, sessions=("s",), profile="neutral")
    assert answer.served_by == "popular"
    assert "does not agree to personal lists" in answer.notes[0]


def test_a_session_does_not_go_with_a_mix(live):
    with pytest.raises(InputError, match="a session goes with"):
        ask(live[0], mix=(Part("tag", "x"),), sessions=("s",))


# ── over a refresh ───────────────────────────────────────────────────────────────────────


def test_a_session_and_consent_outlast_a_refresh_that_has_heard_of_them(tmp_path):
    """The release holds the events, but neither the session nor consent to personal lists."""
    planted = generate(1000, seed=4)
    home = Home(tmp_path / "home").create()
    store, journal = EmbeddedStore(home.store), Journal(home.inbox)
    for batch in planted.batches():
        store.apply(batch)
    ann, items = planted.answers.users[0], planted.answers.items
    say(journal, {"user": ann, "item": items[5], "session": "old"}, at=NOW - 31 * MINUTE)
    say(journal, {"user": "s", "item": items[3], "session": "s"}, at=NOW - MINUTE)
    journal.append([fact(CONSENT, {"id": ann, "consent": {"personalise": False}})], now=NOW)
    while drain(journal, store, now=lambda: NOW).facts:
        pass
    refresh(store, home, FAST, now=NOW)
    upto = journal.last_sequence()
    assert journal.trim(upto, before=NOW - 30 * MINUTE) == 1  # the old session's event
    server = Live(home, journal=journal)
    assert server.recommender().release.manifest["inbox"]["upto"] == upto
    assert list(server.recommender().overlay.sessions.of) == ["s"]
    assert scores(ask(server, sessions=("s",))) == scores(ask(server, items={items[3]: 1.0}))
    assert "does not agree" in ask(server, user=ann).notes[0]
    journal.close()
    store.close()
