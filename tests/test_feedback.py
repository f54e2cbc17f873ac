"""What was shown and clicked counts once, for groups of 20 people, and makes lists turn."""

import json
import random
import shutil
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from graph.errors import InputError
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox import feedback
from recommender.inbox.click_rates import click_rates, wilson
from recommender.inbox.drain import drain
from recommender.inbox.facts import CONSENT, fact
from recommender.inbox.journal import Journal
from recommender.overlay.personal import personal_data
from recommender.overlay.shown import ROTATION_SECONDS
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.serving.answered import Shown, request_id, shown
from recommender.serving.live import Live
from recommender.serving.rules_file import load_rules

NOW = 1_760_000_000
DAY = 86_400


# ── the id of an answer ──────────────────────────────────────────────────────────────────

PRINTED = st.characters(categories=("L", "M", "N", "P", "S"), include_characters=" ")
NAMES = st.text(PRINTED, min_size=1, max_size=20)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    NAMES, st.none() | NAMES, st.integers(0, 1000),
    st.lists(st.tuples(NAMES, st.sampled_from(["items", "popular"]),
                       st.lists(st.sampled_from(["spring", "früh"]), unique=True)),
             max_size=30, unique_by=lambda item: item[0]),
)  # fmt: skip
def test_the_id_of_an_answer_says_of_every_item_what_brought_it(release, segment, before, items):
    sums = np.array([zlib.crc32(name.encode()) for name, *_ in items], np.uint32)
    sources, ruled = [item[1] for item in items], [tuple(item[2]) for item in items]
    text = request_id(release, segment, before, sums, sources, ruled)
    for rank, (name, source, rules) in enumerate(items, before + 1):
        about = shown(f"{text}.number", name, rank)
        assert (about.release, about.segment, about.source) == (release, segment, source)
        assert about.position == rank
        assert sorted(about.rules) == sorted(rules)
        assert shown(text, name, None) == about


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,80}", fullmatch=True), st.data())
def test_whatever_else_is_sent_as_an_id_is_refused(text, data):
    with pytest.raises(InputError):
        shown(text, "item", None)
    whole = request_id("1-abc", None, 0, np.array([zlib.crc32(b"item")], np.uint32), ["items"])
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(InputError):
        shown(whole[:at], "item", None)


def test_rules_and_pages_are_part_of_it(recommender, tmp_path):
    release = recommender.release
    pinned, domain = release.items.id(3), release.domains.id(0)
    (tmp_path / "rules.toml").write_text(
        f'[[rule]]\nname = "mine"\ndo = "pin"\nitems = ["{pinned}"]\nplace = 2\n'
        f'[[rule]]\nname = "spring"\ndo = "boost"\nwhere = {{ domains = ["{domain}"] }}\n'
        f'[[rule]]\nname = "not now"\ndo = "boost"\nitems = ["{pinned}"]\nenabled = false\n'
    )
    serving = recommender.following(rules=load_rules(tmp_path / "rules.toml"))
    request = Request(n=10)
    first = serving.recommend([request], now=NOW)[0]
    boosted = 0
    for rank, entry in enumerate(first.items, 1):
        about = shown(first.request_id, entry.item, rank)
        assert about == Shown(release.name, first.segment, entry.source, rank, about.rules)
        expected = {"mine"} if entry.item == pinned else set()
        if domain in entry.domains and entry.item != pinned:
            expected, boosted = {"spring"}, boosted + 1
        assert set(about.rules) == expected
    assert first.items[1].item == pinned
    assert 0 < boosted < 9
    second = serving.recommend([Request(n=10, cursor=first.next)], now=NOW)[0]
    assert shown(second.request_id, second.items[0].item, None).position == 11


# ── over HTTP, counted once, beside dictionaries ─────────────────────────────────────────


@pytest.fixture(scope="module")
def busy(planted_home, planted, tmp_path_factory):
    """30 users look at their lists, some of them twice, and click; drained into the store.

    A rule pins the item that is liked least.
    """
    home = Home(shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("busy") / "home"))
    release = Live(home).recommender().release
    pinned = release.items.id(int(np.argmin(release.popularity)))
    home.rules.write_text(f'[[rule]]\nname = "mine"\ndo = "pin"\nitems = ["{pinned}"]\nplace = 2\n')
    client = create_app(load_settings(home.folder)).test_client()
    rng, sent = random.Random(3), []
    for number, user in enumerate(planted.answers.users[:30]):
        for _ in range(1 + number % 2):
            answer = client.get(f"/v1/users/{user}/recommendations?n=5").json
            for rank, entry in enumerate(answer["items"], 1):
                row = {"user": user, "item": entry["item"], "request_id": answer["request_id"]}
                kinds = ["impression", "click"] if rng.random() < 0.3 else ["impression"]
                sent += [
                    {**row, "kind": kind, "position": rank, "at": NOW + number * DAY}
                    for kind in kinds
                ]
    rng.shuffle(sent)
    answer = client.post("/v1/events", json={"events": sent}).json
    assert answer["taken"] == len(sent)
    assert client.post("/v1/events", json={"events": sent}).json["repeated"] == len(sent)
    journal, store = Journal(home.inbox), EmbeddedStore(home.store)
    before = store.counts()
    facts = journal.facts_after(0)
    while drain(journal, store, now=lambda: NOW).facts:
        pass
    assert store.counts() == before  # they are no events: nothing weighs them
    yield home, client, sent, facts, store
    store.close()
    journal.close()


def rates(counted):
    """(by, name) -> shown, clicked; without the groups that were left out."""
    return {
        (by, group["name"]): (group["shown"], group["clicked"])
        for by, groups in counted["by"].items()
        for group in groups
    }


def expected_rates(sent, since=0):
    """The same from what was sent, by dictionaries."""
    seen, clicked, people = Counter(), Counter(), {}
    for row in {(r["user"], r["item"], r["request_id"]): r for r in sent}.values():
        if row["at"] < since:
            continue
        about = shown(row["request_id"], row["item"], None)
        was_clicked = any(
            other["kind"] == "click" and (other["item"], other["request_id"])
            == (row["item"], row["request_id"]) for other in sent
        )  # fmt: skip
        for key in (("source", about.source), ("position", str(about.position)),
                    ("segment", about.segment or "none"), ("release", about.release),
                    *(("rule", name) for name in about.rules)):  # fmt: skip
            seen[key] += 1
            clicked[key] += was_clicked
            people.setdefault(key, set()).add(row["user"])
    large = {key: (seen[key], clicked[key]) for key in seen if len(people[key]) >= 20}
    return large, len(seen) - len(large)


def test_rates_are_those_of_dictionaries_and_small_groups_are_not_told(busy):
    home, client, sent, facts, _ = busy
    assert feedback.take(Journal(home.inbox), facts) == len(
        sent
    )  # a drain that was killed does it again
    counted = client.get("/v1/online").json
    large, left_out = expected_rates(sent)
    assert rates(counted) == large
    assert counted["left_out"] == left_out > 0
    assert counted["shown"] == 5 * 45
    assert {by for by, _ in large} >= {"source", "position", "release"}
    assert 0 < large["rule", "mine"][1] < large["rule", "mine"][0]
    first = counted["by"]["position"][0]
    exact = binomtest(first["clicked"], first["shown"]).proportion_ci(method="wilson")
    assert (first["low"], first["high"]) == pytest.approx((exact.low, exact.high))


def test_the_command_line_says_the_same(busy, capsys):
    home, client, *_ = busy
    assert run(["--home", str(home.folder), "status", "--online", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == client.get("/v1/online").json
    assert run(["--home", str(home.folder), "status", "--online"]) == 0
    out = capsys.readouterr().out
    assert "225 items shown" in out
    assert "position" in out


def test_what_was_reduced_still_counts_and_is_not_counted_again(busy, tmp_path):
    home, _, sent, facts, _ = busy
    shutil.copytree(home.inbox.parent, tmp_path / "inbox")
    journal = Journal(tmp_path / "inbox" / home.inbox.name)
    before = rates(click_rates(journal))
    old = sum(1 for key in {(r["item"], r["request_id"]): r["at"] for r in sent}.values()
              if key < NOW + 5 * DAY)  # fmt: skip
    assert feedback.drop_before(journal, NOW + 5 * DAY, reduce=True, dry_run=True) == old > 0
    assert rates(click_rates(journal)) == before
    assert feedback.drop_before(journal, NOW + 5 * DAY, reduce=True) == old
    after = rates(click_rates(journal))
    assert {key: after[key] for key in after} == {key: before[key] for key in after}
    assert ("position", "1") in after
    feedback.take(journal, facts)  # a journal of a backup is drained again
    assert rates(click_rates(journal)) == after
    later = rates(click_rates(journal, since=NOW + 6 * DAY))
    assert later == expected_rates(sent, NOW + 6 * DAY)[0]


@pytest.mark.parametrize(("clicked", "of"), [(0, 0), (0, 30), (7, 30), (30, 30), (1, 100_000)])
def test_the_interval_is_wilsons(clicked, of):
    exact = binomtest(clicked, of).proportion_ci(method="wilson") if of else (0.0, 1.0)
    assert wilson(clicked, of) == pytest.approx(tuple(exact), abs=1e-9)


def test_an_entry_that_does_not_fit_its_answer_is_refused_by_field(busy, planted):
    _, client, sent, *_ = busy
    good = next(entry for entry in sent if entry["kind"] == "click")
    other = next(item for item in planted.answers.items if item != good["item"])
    wrong = {
        "request_id": [
            good | {"request_id": "x"}, good | {"item": "there is none"}, good | {"kind": "play"},
            {name: good[name] for name in good if name != "request_id"},
            good | {"position": 5 if good["position"] != 5 else 4},
        ],
        "position": [good | {"position": 0}, good | {"position": "1"}],
        "value": [good | {"value": 3}],
        "item": [{name: good[name] for name in good if name != "item"}],
    }  # fmt: skip
    for field, entries in wrong.items():
        for entry in entries:
            response = client.post("/v1/events", json=entry)
            assert response.status_code == 400, entry
            assert [error["field"] for error in response.json["errors"]] == [field]
    both = [good | {"item": other + "?"}, {"user": "ann", "item": other, "event_id": "e-1"}]
    results = client.post("/v1/events", json={"events": both}).json["results"]
    assert [result["status"] for result in results] == ["refused", "taken"]
    nameless = {name: good[name] for name in good if name != "user"}
    assert client.post("/v1/events", json=nameless).json["taken"] == 1


def test_lists_that_are_kept_have_ids_of_their_own_and_public_ones_share_theirs(busy, planted):
    _, client, *_ = busy
    path = f"/v1/users/{planted.answers.users[40]}/recommendations"
    first, again = client.get(path).json, client.get(path).json
    assert first["request_id"] != again["request_id"]
    ids = [answer.pop("request_id") for answer in (first, again)]
    assert first == again
    assert len({text.partition(".")[0] for text in ids}) == 1
    many = client.post("/v1/recommendations", json={"subjects": [{"user": "x"}] * 3}).json
    assert len({answer["request_id"] for answer in many["answers"]}) == 3
    popular = [client.get("/v1/popular") for _ in range(2)]
    assert popular[0].data == popular[1].data
    assert popular[0].headers["ETag"] == popular[1].headers["ETag"]


def test_what_was_shown_is_part_of_a_persons_data_and_goes_with_them(busy, tmp_path):
    home, _, sent, _, store = busy
    shutil.copytree(home.inbox.parent, tmp_path / "inbox")
    journal = Journal(tmp_path / "inbox" / home.inbox.name)
    user = sent[0]["user"]
    own = {(r["item"], r["request_id"]) for r in sent if r["user"] == user}
    assert len(personal_data(store, journal, user)["feedback"]) == len(own)
    assert feedback.forget(journal, user) == len(own)
    assert personal_data(store, journal, user)["feedback"] == []
    content = feedback.feedback_file(journal.path).read_bytes()
    assert f'{user}"'.encode() not in content
    assert click_rates(journal)["shown"] == 225 - len(own)
    journal.close()


# ── rotation ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def live(planted_home, tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    ticks = iter(range(10**7))
    yield lambda: Live(planted_home, journal=journal, clock=lambda: next(ticks)), journal
    journal.close()


def seen(user, item, request, kind="impression", at=NOW):
    return fact(kind, {"user": user, "item": item, "request": request, "position": 1,
                       "source": "items", "release": "1-a", "at": at})  # fmt: skip


def test_what_was_shown_and_not_clicked_goes_down_as_if_the_caller_had_counted(live, planted):
    server, journal = live
    here, user = server(), planted.answers.users[0]

    def scores(serving, now=NOW, **fields):
        answer = serving.recommend([Request(user=user, n=10, **fields)], now=now)[0]
        return [(entry.item, entry.score) for entry in answer.items]

    before = scores(here.recommender())
    top = before[0][0]
    counted = scores(here.recommender(), shown={top: 2})
    assert counted != before
    version = here.recommender().overlay.version([user])
    journal.append([seen(user, top, "a"), seen(user, top, "b"), seen("x", top, "c")], now=NOW)
    assert scores(here.recommender()) == counted
    assert here.recommender().overlay.version([user]) != version  # no kept answer is used
    assert scores(here.recommender(), shown={top: 1}) == counted  # the greater count holds
    assert scores(here.recommender(), now=NOW + ROTATION_SECONDS) == scores(
        here.recommender(), now=NOW + ROTATION_SECONDS, shown={}
    )
    later = here.recommender().overlay.shown_to(user, NOW + ROTATION_SECONDS)
    assert later == {}
    consent = {"id": user, "consent": {"personalise": False}}
    journal.append([fact(CONSENT, consent)], now=NOW)
    assert here.recommender().overlay.shown_to(user, NOW) == {}
    again = {"id": user, "consent": {"personalise": True}}
    journal.append([fact(CONSENT, again), seen(user, top, "b", "click")], now=NOW)
    assert scores(here.recommender()) == before
    journal.append([seen(user, top, "d")], now=NOW)
    assert scores(here.recommender()) == scores(here.recommender(), shown={top: 1}) != before


def test_a_newer_release_remembers_what_was_shown_before_it(live, planted, monkeypatch):
    server, journal = live
    first, second = planted.answers.users[:2]
    items = planted.answers.items
    facts = [seen(first, items[0], "a"), seen(first, items[1], "a"), seen(first, items[0], "b"),
             seen(first, items[1], "c", "click", NOW + 1), seen(second, items[2], "d"),
             seen(second, items[3], "e", at=NOW - ROTATION_SECONDS)]  # fmt: skip
    journal.append(facts, now=NOW)
    overlay = server().recommender().overlay
    expected = [overlay.shown_to(user, NOW) for user in (first, second)]
    assert list(map(len, expected)) == [1, 1]
    feedback.take(journal, journal.facts_after(0))
    monkeypatch.setattr(
        "recommender.releases.release.Release.heard", lambda *_: journal.last_sequence()
    )  # as the manifest of a release made after the drain says
    newer = server().recommender().overlay
    assert newer.sequence == len(facts)
    assert [newer.shown_to(user, NOW) for user in (first, second)] == expected


def test_consent_to_lists_outlives_the_release_that_was_made_after_it(live, planted, monkeypatch):
    server, journal = live
    user = planted.answers.users[0]
    journal.append([fact(CONSENT, {"id": user, "consent": {"personalise": False}})], now=NOW)
    monkeypatch.setattr(
        "recommender.releases.release.Release.heard", lambda *_: journal.last_sequence()
    )  # as the manifest of a release made after the drain says
    answer = server().recommender().recommend([Request(user=user)], now=NOW)[0]
    assert answer.served_by == "popular"
