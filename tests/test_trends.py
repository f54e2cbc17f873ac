"""What is chosen lately: counts that fade, of people, with nobody in them who did not agree."""

import shutil
from dataclasses import replace
from math import exp
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.settings import load_settings
from graph.errors import InputError
from recommender.inbox.facts import ALIAS, CONSENT, EVENT_UNDONE, fact
from recommender.inbox.journal import Journal
from recommender.overlay.overlay import Overlay
from recommender.overlay.state import Erasure, State
from recommender.overlay.trends import FEWEST, REACH, SPANS, Trends, key_of
from recommender.ranking.request import Filter, Request
from recommender.releases.home import Home
from recommender.serving.following import Follower
from recommender.serving.live import Live
from recommender.serving.trending import rising, trending

NOW = 1_760_000_040  # a whole minute
HOUR, DAY = SPANS["hour"], SPANS["day"]


# ── against a plain dictionary ───────────────────────────────────────────────────────────

MADE, USERS, ITEMS = 50_000_000, 4, 5
REMEMBERED = MADE - REACH * SPANS["month"]


def tiny(events):
    """A release, as far as counting reads it, of (user, item, at) with users 0 to 3."""
    events = sorted(events)
    users = np.array([user for user, *_ in events], np.int64)
    return SimpleNamespace(
        manifest={"created_at": MADE},
        items=range(ITEMS),
        event_kinds=["view"],
        arrays={
            "events.indptr": np.searchsorted(users, np.arange(USERS + 1)),
            "events.item": np.array([item for _, item, _ in events], np.int32),
            "events.kind": np.zeros(len(events), np.int16),
            "events.value": np.full(len(events), np.nan, np.float32),
            "events.at": np.array([at for *_, at in events], np.int64),
        },
    )


EVERYTHING = SimpleNamespace(liked=lambda events, users, kinds: np.ones(len(events), np.bool_))
EVENT = st.tuples(
    st.integers(0, USERS - 1), st.integers(0, ITEMS - 1),
    st.integers(MADE - 200 * DAY, MADE) | st.integers(MADE - 3 * HOUR, MADE),
)  # fmt: skip
LATER = st.tuples(
    st.integers(0, USERS + 2), st.integers(0, ITEMS + 1), st.integers(MADE, MADE + 60 * DAY)
)
STEP = st.one_of(
    st.tuples(st.just("events"), st.lists(LATER, min_size=1, max_size=6)),
    st.tuples(st.just("silenced"), st.integers(0, USERS + 2)),
    st.tuples(st.just("heard again"), st.integers(0, USERS + 2)),
    st.tuples(st.just("moved"), st.tuples(st.integers(0, USERS), st.integers(0, USERS))),
    st.tuples(st.just("only"), st.tuples(st.integers(0, USERS + 2), st.lists(LATER, max_size=3))),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(events=st.lists(EVENT, max_size=12), steps=st.lists(STEP, max_size=8))
def test_counts_are_direct_sums_over_the_newest_choice_of_each_person(events, steps):
    trends = Trends.over(tiny(events), EVERYTHING)
    model, silent = {}, set()
    for user, item, at in events:
        if at > REMEMBERED:
            model[user, item] = max(at, model.get((user, item), 0))
    for stamp, (what, about) in enumerate(steps, 1):
        if what == "events":
            users, items, times = (
                np.array(column, np.int64) for column in zip(*about, strict=True)
            )
            trends = trends.with_events(key_of(users, items), times, stamp)
            for user, item, at in about:
                model[user, item] = max(at, model.get((user, item), 0))
        elif what == "silenced":
            trends, silent = trends.silenced(about, stamp), silent | {about}
        elif what == "heard again":
            trends, silent = trends.heard_again(about, stamp), silent - {about}
        elif what == "only":
            user, left = about
            keys = key_of(np.full(len(left), user), np.array([i for _, i, _ in left], np.int64))
            trends = trends.with_only(user, keys, np.array([a for *_, a in left], np.int64), stamp)
            model = {pair: at for pair, at in model.items() if pair[0] != user}
            for _, item, at in left:
                model[user, item] = max(at, model.get((user, item), 0))
        elif about[0] != about[1]:
            trends, silent = trends.moved(*about, stamp), silent | {about[0]}
            for (user, item), at in list(model.items()):
                if user == about[0]:
                    model[about[1], item] = max(at, model.get((about[1], item), 0))
    now = MADE + 61 * DAY
    for span, seconds in SPANS.items():
        expected = np.zeros(ITEMS + 2)
        for (user, item), at in model.items():
            if user not in silent:
                expected[item] += exp((at - now) / seconds)
        assert trends.counts(span, now, ITEMS + 2) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    since = MADE - 100 * DAY
    users, items, times = trends.pairs_since(since)
    made = dict(zip(zip(users.tolist(), items.tolist(), strict=True), times.tolist(), strict=True))
    assert made == {pair: at for pair, at in model.items() if at > since and pair[0] not in silent}


def test_at_a_constant_rate_the_count_is_that_of_a_plain_window():
    """One person a minute for ten days: 60 in the last hour, 1,440 in the last day."""
    minutes = np.arange(MADE - 10 * DAY, MADE, 60)
    trends = Trends.over(tiny([]), EVERYTHING)
    users = np.arange(USERS, USERS + len(minutes))
    trends = trends.with_events(key_of(users, np.zeros(len(users), np.int64)), minutes, 1)
    assert trends.counts("hour", MADE, ITEMS)[0] == pytest.approx(60, rel=0.01)
    assert trends.counts("day", MADE, ITEMS)[0] == pytest.approx(1_440, rel=0.01)


def test_a_value_that_was_taken_before_stays_as_it_is():
    before = Trends.over(tiny([(0, 0, MADE)]), EVERYTHING)
    for user in range(2_000):  # so many that the layers are merged
        after = before.with_events(key_of(np.array([user]), np.array([1])), np.array([MADE]), user)
        before, last = after, before
    assert before.counts("day", MADE, ITEMS)[:2].tolist() == pytest.approx([1, 2_000])
    assert last.counts("day", MADE, ITEMS)[:2].tolist() == pytest.approx([1, 1_999])


# ── over a journal ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def live(planted_home, planted, tmp_path):
    """A server that follows a journal of its own over the shared release."""
    journal = Journal(tmp_path / "journal.sqlite")
    ticks = iter(range(10**7))
    server = Live(planted_home, journal=journal, clock=lambda: next(ticks))
    yield server, journal, planted.answers
    journal.close()


def say(journal, *facts):
    journal.append([fact(kind, payload) for kind, payload in facts], now=NOW)


def event(user, item, kind="like", at=NOW - 60, **more):
    return "events", {"user": user, "item": item, "kind": kind, "at": at, **more}


def crowd(item, people, **more):
    return [event(f"person-{number}", item, **more) for number in range(people)]


def listed(answer):
    return [(entry.item, entry.score) for entry in answer.items]


def test_what_fewer_than_twenty_people_chose_is_not_shown(live):
    server, journal, answers = live
    first, second, third = answers.items[:3]
    say(journal, *crowd(first, 30), *crowd(second, 25), *crowd(third, FEWEST))
    say(journal, *(event("person-1", answers.items[3], at=NOW - n) for n in range(200)))
    shown = trending(server.recommender(), 10, now=NOW)
    assert [item for item, _ in listed(shown)] == [first, second]  # 20 a minute ago are 19.99
    assert listed(shown)[0][1] == pytest.approx(30, abs=0.1)
    assert shown.served_by == shown.items[0].source == "trending"
    assert trending(server.recommender(), 10, window="hour", now=NOW + 2 * HOUR).items == ()
    week = trending(server.recommender(), 10, window="week", now=NOW)
    assert [item for item, _ in listed(week)] == [first, second]


def test_filters_hold_and_so_does_hiding(live):
    server, journal, answers = live
    first, second = answers.items[0], answers.items[-1]
    say(journal, *crowd(first, 30), *crowd(second, 25))
    serving = server.recommender()
    row = serving.release.items.row(second)
    domain = serving.release.domains.id(int(serving.release.item_domains.of(row)[0]))
    own = trending(serving, 10, Filter(domains=(domain,)), now=NOW)
    assert second in [item for item, _ in listed(own)]
    assert [i for i, _ in listed(trending(serving, 10, Filter(items=(first,)), now=NOW))] == [first]
    say(journal, ("item_patch", {"id": first, "hidden": True}))
    assert [i for i, _ in listed(trending(server.recommender(), 10, now=NOW))] == [second]


def test_a_new_item_trends(live):
    server, journal, _ = live
    say(journal, ("item_put", {"id": "brand new", "title": "New"}), *crowd("brand new", 22))
    assert [item for item, _ in listed(trending(server.recommender(), 5, now=NOW))] == ["brand new"]


def test_who_does_not_agree_to_be_tracked_is_in_no_count(live):
    server, journal, answers = live
    item = answers.items[0]
    say(journal, *crowd(item, 21))
    assert listed(trending(server.recommender(), 5, now=NOW))
    for number in range(2):
        say(journal, (CONSENT, {"id": f"person-{number}", "consent": {"track": False}}))
    assert not listed(trending(server.recommender(), 5, now=NOW))
    say(journal, (CONSENT, {"id": "person-0", "consent": {"track": True}}))
    say(journal, *crowd(item, 23)[-2:])
    assert listed(trending(server.recommender(), 5, now=NOW))[0][1] == pytest.approx(22, abs=0.1)


def test_a_visitor_who_logs_in_counts_once(live):
    server, journal, answers = live
    item = answers.items[0]
    say(journal, *crowd(item, 21), event("visitor", item))
    say(journal, (ALIAS, {"id": "person-3", "anonymous": "visitor"}))
    assert listed(trending(server.recommender(), 5, now=NOW))[0][1] == pytest.approx(21, abs=0.1)


def test_hides_dislikes_and_events_without_a_time_count_nothing_and_undone_ones_no_more(live):
    server, journal, answers = live
    item = answers.items[0]
    untimed = [("events", {"user": f"u{n}", "item": item, "kind": "like"}) for n in range(30)]
    say(journal, *crowd(item, 30, kind="hide"), *crowd(item, 30, kind="dislike"), *untimed)
    assert not listed(trending(server.recommender(), 5, now=NOW))
    say(journal, *crowd(item, 30))
    assert listed(trending(server.recommender(), 5, now=NOW))
    say(journal, *[(EVENT_UNDONE, payload) for _, payload in crowd(item, 30)])
    assert not listed(trending(server.recommender(), 5, now=NOW))


@pytest.fixture
def recent(recommender):
    """The shared release, as if all its events had happened just before it was made."""
    release = recommender.release
    made = int(release.manifest["created_at"])
    arrays = {**release.arrays, "events.at": np.full(len(release.arrays["events.at"]), made)}
    return replace(release, arrays=arrays)


def test_who_has_not_said_is_in_no_count_where_that_is_the_default(recent, tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    user = recent.users.id(int(np.flatnonzero(np.diff(recent.histories.indptr) > 0)[0]))
    say(journal, (CONSENT, {"id": user, "consent": {"track": True}}))
    agreed = frozenset({"train", "personalise"})
    trends = Follower.over(recent, journal, agreed=agreed).overlay(State(), None).trends
    counts = trends.counts("day", int(recent.manifest["created_at"]), len(recent.items))
    own = np.unique(recent.user_events(recent.users.row(user))["item"])
    assert np.flatnonzero(counts > 0.5).tolist() == own.tolist()
    journal.close()


def test_an_erased_person_is_in_no_count(recent, tmp_path):
    release, journal = recent, Journal(tmp_path / "journal.sqlite")
    rows = np.flatnonzero(np.diff(release.histories.indptr) > 0)[:3].tolist()
    made = int(release.manifest["created_at"])
    counted = Follower.over(recent, journal).overlay(State(), None).trends
    state = State(salt="00")
    digest = state.digest(release.users.id(rows[0]))
    erased = State("00", (Erasure(digest, None),))
    left = Follower.over(recent, journal).overlay(erased, None).trends
    lost = counted.counts("day", made, len(release.items)) - left.counts(
        "day", made, len(release.items)
    )
    assert (
        np.flatnonzero(lost > 0.5).tolist()
        == np.unique(release.user_events(rows[0])["item"]).tolist()
    )
    journal.close()


def test_who_has_no_history_gets_what_trends_and_then_what_is_popular(live):
    server, journal, answers = live
    item, known = answers.items[-1], answers.users[0]
    popular = server.recommender().recommend([Request(n=5)], now=NOW)[0]
    say(journal, *crowd(item, 30))
    serving = server.recommender()

    def ask(**fields):
        return serving.recommend([Request(n=5, profile="neutral", **fields)], now=NOW)[0]

    newcomer = ask(user="somebody new")
    assert newcomer.served_by == "trending"
    assert (newcomer.items[0].item, newcomer.items[0].source) == (item, "trending")
    assert newcomer.items[0].reasons[0].text == "chosen by many people lately"
    assert [e.item for e in newcomer.items[1:]] == [
        e.item for e in popular.items if e.item != item
    ][:4]
    assert ask(user=known).served_by == "history"
    assert ask().served_by == "popular"  # nobody was named: what many chose, as ever
    assert ask(user=known, source="trending").served_by == "trending"
    elsewhere = ask(user="somebody new", filter=Filter(items=tuple(answers.items[:5])))
    assert elsewhere.served_by == "popular"
    assert Overlay.over(serving.release).trends is None  # evaluating asks a release alone


def test_tags_rise_when_more_people_choose_them_than_usual(live):
    """One tag has 30 people today and none before, another as many on each of ten days."""
    server, journal, _ = live
    say(
        journal,
        ("item_put", {"id": "a", "tags": [{"category": "tag", "tag": "sudden"}]}),
        ("item_put", {"id": "a2", "tags": [{"category": "tag", "tag": "sudden"}]}),
        ("item_put", {"id": "b", "tags": [{"category": "tag", "tag": "steady"}]}),
        ("item_put", {"id": "c", "tags": [{"category": "tag", "tag": "few"}]}),
        *crowd("a", 30), *crowd("a2", 30), *crowd("c", 15),
        *[event(f"{day}-{n}", "b", at=NOW - day * DAY) for day in range(10) for n in range(30)],
    )  # fmt: skip
    tags = rising(server.recommender(), 5, now=NOW)
    assert tags[0].tag == "sudden"
    assert "few" not in [tag.tag for tag in tags]
    assert tags[0].people == pytest.approx(30, abs=0.1)  # and not 60
    assert tags[0].usual == pytest.approx(30 / 7, abs=0.1)
    assert tags[0].growth == pytest.approx(50 / (20 + 30 / 7), abs=0.02)
    assert all(tag.growth < 1.6 for tag in tags[1:])
    with pytest.raises(InputError, match="'year' is not one of hour, day, week"):
        rising(server.recommender(), 5, window="year", now=NOW)


def test_over_http_trends_are_lists_that_caches_may_keep(planted_home, planted, tmp_path):
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    client = create_app(load_settings(home.folder)).test_client()
    item = planted.answers.items[0]
    events = [{"user": f"p{n}", "item": item, "event_id": str(n)} for n in range(25)]
    assert client.post("/v1/events", json={"events": events}).json["taken"] == 25
    for path in ("/v1/trending", "/v1/trending/tags?window=hour"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert answer.headers["ETag"]
    assert [e["item"] for e in client.get("/v1/trending?n=3").json["items"]] == [item]
    assert {tag["people"] for tag in answer.json["tags"]} == {25.0}
    wrong = client.get("/v1/trending?window=year")
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (400, "window")
