"""What people say of themselves counts where it may, and nowhere else."""

import json

import numpy as np
import pytest

from graph.errors import InputError, SettingError
from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting
from loaders.synthetic import generate
from recommender.inbox.facts import CONSENT, PURPOSES, USER_PUT, fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.erasure import erase
from recommender.overlay.histories import Weigher
from recommender.overlay.overlay import Overlay
from recommender.ranking.attributes import as_values
from recommender.ranking.filter_language import parse_conditions
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import names, open_release
from recommender.segments.rules import parse_rule
from recommender.segments.settings import parse_segment_settings
from recommender.serving.live import Live
from recommender.serving.rules_file import parse_rules
from recommender.serving.why import why

NOW = 1_760_000_000
SECONDS = Weighting(values={"watch": "seconds"})
FAST = RefreshConfig(preset="fast", threads=1, weighting=SECONDS)
FRIENDS = {"friendly": range(0, 60, 2), "shy": (0, 2), "betrayer": (1,), "few": (0, 1, 2, 4)}
WATCHED = (30.0, 90.0, 500.0)  # seconds, by turns
WHERE = ("DE", "FR")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home whose users say where they live, by turns; the second one may not be learned from."""
    planted = generate(2000, seed=4)
    home = Home(tmp_path_factory.mktemp("people") / "home").create()
    store = EmbeddedStore(home.store)
    for batch in planted.batches():
        store.apply(batch)
    users = list(planted.answers.users)
    stated = [
        {
            "id": user,
            "consent": number != 1,
            "attributes": json.dumps({"country": WHERE[number % 2]}),
        }
        for number, user in enumerate(users)
    ]
    hidden = planted.answers.items[5]
    friends = [
        {"source": source, "target": users[n], "kind": "friend"}
        for source, several in FRIENDS.items()
        for n in several
    ]
    described = [
        {"id": item, "attributes": json.dumps({"language": ("fr", "de")[n % 2], "min_age": n})}
        for n, item in enumerate(planted.answers.items[:10])
    ]
    store.apply(
        {
            "items": table("items", described),
            "users": table("users", stated),
            "user_relations": table("user_relations", friends),
            "events": table(
                "events",
                [
                    {"user": users[1], "item": hidden, "kind": "hide"},
                    *(
                        {
                            "user": user,
                            "item": planted.answers.items[40 + n],
                            "kind": "watch",
                            "value": WATCHED[n % 3],
                        }
                        for n, user in enumerate(users[2:32])
                    ),
                ],
            ),
        }
    )
    refresh(store, home, FAST, now=NOW)
    store.close()
    return home, users, hidden


@pytest.fixture
def live(made, tmp_path):
    home, users, hidden = made
    journal = Journal(tmp_path / "journal.sqlite")
    ticks = iter(range(10**7))
    yield Live(home, journal=journal, clock=lambda: next(ticks)), journal, users, hidden
    journal.close()


def say(journal, what, **payload):
    journal.append([fact(what, payload)], now=NOW)


def answer(serving, user, **fields):
    return serving.recommend([Request(user=user, **fields)], now=NOW)[0]


# ── who does not agree ───────────────────────────────────────────────────────────────────


def test_who_may_not_be_learned_from_gets_an_impersonal_list_that_says_why(live):
    server, _, users, hidden = live
    serving = server.recommender()
    everybody = [i.item for i in serving.popular(1000, now=NOW).items]
    assert hidden in everybody
    mine = answer(serving, users[1], n=1000, profile="neutral")
    assert [i.item for i in mine.items] == [item for item in everybody if item != hidden]
    assert mine.served_by == "popular"
    assert "does not agree to be learned from" in mine.notes[0]
    assert not answer(serving, users[0]).notes


def test_a_release_holds_of_who_does_not_agree_nothing_but_what_they_hid(live):
    server, _, users, hidden = live
    release = server.recommender().release
    row = release.users.row(users[1])
    assert not release.may_learn_from(row)
    assert release.user_attributes(row) == {}
    assert release.items.ids(release.user_events(row)["item"].tolist()) == [hidden]
    assert release.items.ids(release.hides.of(row).tolist()) == [hidden]
    assert len(release.histories.of(row)) == 0
    other = release.users.row(users[2])
    assert release.user_attributes(other) == {"country": "DE"}
    assert release.user_attribute_names == ["country"]


def test_agreeing_again_counts_at_once(live):
    server, journal, users, _ = live
    say(journal, CONSENT, id=users[1], consent={"train": True})
    say(journal, "events", user=users[1], item="anything", kind="like")
    assert not answer(server.recommender(), users[1]).notes


# ── attributes in contexts and rules ─────────────────────────────────────────────────────


def abroad(item):
    """An editor's files: French users are shown one item first, and their lists go further."""
    settings = parse_segment_settings(
        {"context": [{"name": "abroad", "when": {"attribute country": ["FR"]},
                      "profile": {"long_tail": 9.0, "diversity": 9.0}}]}
    )  # fmt: skip
    rules = parse_rules(
        {"rule": [{"name": "abroad", "do": "pin", "items": [item],
                   "when": {"attribute country": ["FR"]}}]}
    )  # fmt: skip
    return settings, rules


def test_what_users_say_of_themselves_decides_contexts_and_rules(live):
    server, _, users, hidden = live
    settings, rules = abroad(hidden)
    plain = server.recommender()
    serving = plain.following(settings=settings, rules=rules)
    fresh = [u for u in users[2:40] if hidden not in seen(plain.release, u)]
    french = [u for u in fresh if users.index(u) % 2 == 1]
    german = [u for u in fresh if users.index(u) % 2 == 0]
    assert french and german
    for user in french:
        assert answer(serving, user).items[0].label == "pinned"
        assert answer(serving, user, context=None).items[0].label is None
    for user in german:
        assert answer(serving, user) == answer(plain, user)
    assert answer(serving, german[0], context={"attribute country": "FR"}).items[0].label


def seen(release, user):
    return release.items.ids(release.blocked.of(release.users.row(user)).tolist())


def test_what_a_user_says_now_counts_in_the_next_list_and_may_be_taken_back(live):
    server, journal, users, hidden = live
    german = next(u for u in users[2::2] if hidden not in seen(server.recommender().release, u))
    files = dict(zip(("settings", "rules"), abroad(hidden), strict=True))

    def pinned(user):
        return answer(server.recommender().following(**files), user).items[0].label == "pinned"

    assert not pinned(german)
    say(journal, USER_PUT, id=german, attributes={"country": "FR"})
    assert pinned(german)
    say(journal, CONSENT, id=german, consent={"personalise": False})
    assert not pinned(german)
    say(journal, CONSENT, id=german, consent={"personalise": True})
    say(journal, USER_PUT, id=german)
    assert not pinned(german)
    say(journal, USER_PUT, id="just came", attributes={"country": ["AT", "FR"]})
    assert pinned("just came")


# ── attributes in segments' rules and in filters ─────────────────────────────────────────


@pytest.mark.parametrize(
    "rule",
    [
        'attribute country is "FR"',
        "attribute country is FR and not attribute country is DE",
        "attribute country is not DE and attribute country is FR",
        {"attributes": {"country": {"in": ["FR"]}}},
    ],
)
def test_rules_of_segments_ask_what_users_say_of_themselves(live, rule):
    server, journal, users, _ = live
    settings = parse_segment_settings({"segment": [{"name": "abroad", "rule": rule}]})

    def abroad(user):
        serving = server.recommender().following(settings=settings)
        return "abroad" in serving.segments_of(Request(user=user), now=NOW)

    assert not abroad(users[2]) and abroad(users[3])
    assert not abroad(users[1])  # lives there, and does not agree
    say(journal, USER_PUT, id=users[2], attributes={"country": "FR"})
    assert abroad(users[2])


def test_numbers_flags_and_lists_are_compared_as_what_they_are():
    attributes = {"age": 30, "member": True, "likes": ["tea", "maps"], "zip": "01234"}

    def holds(text):
        return parse_rule(text).holds(lambda _, name: as_values(attributes.get(name)))

    assert holds("attribute age >= 30") and not holds("attribute age > 30")
    assert holds("attribute age = 30 and attribute age is 30")
    assert holds("attribute member is true") and not holds("attribute member is false")
    assert holds({"attributes": {"member": {"in": [True]}}})
    assert holds("attribute likes is maps") and not holds("attribute likes is tea maps")
    assert holds('attribute zip is "01234"') and not holds("attribute zip > 3")
    assert not holds("attribute shoes > 3") and holds("not attribute shoes is 4")
    for wrong in ("attribute > 3", "attribute age", "attribute age is", "attribute age > old"):
        with pytest.raises(SettingError, match="character"):
            parse_rule(wrong)


def test_a_filter_may_compare_items_with_the_user_who_asks(live):
    """Ten items tell a language and an age; the user speaks one and is of age for some."""
    server, journal, users, _ = live
    release = server.recommender().release
    cards = {item: release.card(row)["attributes"] for row, item in enumerate(release.items)}
    items = sorted((i for i in cards if cards[i]), key=lambda item: cards[item]["min_age"])
    assert len(items) == 10
    wanted = parse_conditions(
        {"subject": {"language": {"in": "speaks"}, "min_age": {"to": "age"}}, "seen": "include"}
    )

    def shown(user):
        mine = answer(server.recommender(), user, filter=wanted.filter, include_seen=True, n=20)
        return {item.item for item in mine.items}, mine.notes

    say(journal, USER_PUT, id=users[2], attributes={"speaks": ["de", "en"], "age": 6})
    assert shown(users[2]) == ({items[n] for n in (1, 3, 5)}, ())
    say(journal, USER_PUT, id=users[2], attributes={"speaks": ["de", "en"]})
    none, (note,) = shown(users[2])
    assert none == set() and "the subject has no age" in note
    serving = server.recommender()
    assert serving.popular(5, wanted.filter, now=NOW).items == ()
    assert serving.latest(5, wanted.filter, now=NOW).items == ()
    with pytest.raises(InputError, match="not with a household"):
        serving.recommend([Request(household=(users[2],), filter=wanted.filter)], now=NOW)


@pytest.mark.parametrize(
    ("filter_", "says"),
    [
        ({"subject": {}}, "must be an object such as"),
        ({"subject": {"age": {"above": "x"}}}, "say from, to or in"),
        ({"subject": {"age": {"to": 3}}}, "must name an attribute of the user"),
    ],
)
def test_a_wrong_comparison_with_the_user_is_refused_by_key(filter_, says):
    with pytest.raises(InputError, match=rf"filter\.subject.*{says}"):
        parse_conditions(filter_)


def test_rules_for_everybody_do_not_compare_items_with_the_user():
    rule = {"name": "r", "do": "hide", "where": {"subject": {"min_age": {"from": "age"}}}}
    with pytest.raises(SettingError, match="belongs to the filter of a request"):
        parse_rules({"rule": [rule]})


# ── friends ──────────────────────────────────────────────────────────────────────────────


def friends_who_chose(release, users, item):
    row = release.items.row(item)
    return sum(row in release.histories.of(release.users.row(users[n])) for n in
               FRIENDS["friendly"])  # fmt: skip


def test_a_newcomer_gets_what_several_friends_chose_and_is_told_how_many(live):
    """The count of the reason is that of the histories, its Cypher asks for it, nobody is named."""
    server, _, users, _ = live
    serving = server.recommender()
    mine = answer(serving, "friendly", n=30, profile="neutral")
    assert mine.served_by == "friends"
    theirs = [item for item in mine.items if item.source == "friends"]
    counts = [friends_who_chose(serving.release, users, item.item) for item in theirs]
    assert len(counts) > 3 and min(counts) >= 3
    assert counts == sorted(counts, reverse=True)
    every = [friends_who_chose(serving.release, users, i) for i in serving.release.items]
    assert counts[0] == max(every)
    assert len(theirs) == min(30, sum(count >= 3 for count in every))
    for item, count in zip(theirs, counts, strict=True):
        (reason,) = item.reasons
        assert reason.text == f"{count} of your friends chose it"
        assert not set(users) & {str(v) for part in reason.path for v in part.values()}
    explanation = why(serving, "friendly", theirs[0].item, now=NOW)
    assert "KNOWS" in explanation["cypher"]["query"]
    assert not set(users) & set(map(str, explanation["cypher"]["parameters"].values()))


def test_what_fewer_than_three_friends_chose_is_nobodys_business(live):
    server, *_ = live
    for newcomer in ("shy", "betrayer"):
        mine = answer(server.recommender(), newcomer, profile="neutral")
        assert mine.served_by == "popular"
        assert {item.source for item in mine.items} == {"popular"}


def test_friends_who_do_not_agree_and_who_were_erased_are_not_asked(live):
    """Of four friends one may not be learned from; when another is erased, two are too few.

    So they are when others opt out of any purpose: how many chose an item is shown.
    """
    server, journal, users, _ = live
    serving = server.recommender()
    release = serving.release
    known = release.users.ids(release.friends.of(release.users.row("few")).tolist())
    assert sorted(known) == sorted(users[n] for n in (0, 2, 4))
    shared = set.intersection(*(set(release.histories.of(release.users.row(u))) for u in known))
    assert answer(serving, "few").served_by == ("friends" if shared else "popular")
    overlay = Overlay.without(release, [users[n] for n in range(4, 60, 2)])
    few = answer(serving.following(overlay=overlay), "friendly", profile="neutral")
    assert few.served_by == "popular"
    for n in range(4, 60, 2):
        say(journal, CONSENT, id=users[n], consent={PURPOSES[n // 2 % 3]: False})
    assert answer(server.recommender(), "friendly", profile="neutral").served_by == "popular"


def test_who_has_a_history_is_served_by_it_and_may_ask_for_friends(live):
    server, journal, users, _ = live
    serving = server.recommender()
    by_history = serving.release.manifest.get("ranks_by", "history")
    assert answer(serving, users[0]).served_by == by_history
    say(journal, "events", user="friendly", item=server.recommender().release.items.id(0),
        kind="like")  # fmt: skip
    serving = server.recommender()
    assert answer(serving, "friendly").served_by == by_history
    assert answer(serving, "friendly", source="friends").served_by == "friends"


# ── seconds ──────────────────────────────────────────────────────────────────────────────


def test_what_came_since_is_weighed_by_what_was_typical_at_the_refresh(made):
    """90 s are worth 1 to everybody, not the median of the one user who is weighed."""
    home, users, _ = made
    release = open_release(home.releases / names(home)[0])
    assert release.manifest["typical"] == {"watch": 90.0}
    weigher = Weigher(release)
    for user in users[2:5]:
        row = release.users.row(user)
        again = weigher.history(row, None, release.event_kinds)
        own = release.histories.span(row)
        order = np.argsort(release.histories.indices[own])
        assert again.items.tolist() == release.histories.indices[own][order].tolist()
        np.testing.assert_allclose(again.weights, release.histories.values[own][order], rtol=1e-5)


# ── erasure ──────────────────────────────────────────────────────────────────────────────


def test_an_erased_persons_attributes_features_and_friends_leave_every_release(tmp_path):
    planted = generate(2000, seed=4)
    home = Home(tmp_path / "home").create()
    store = EmbeddedStore(home.store)
    for batch in planted.batches():
        store.apply(batch)
    users = sorted(planted.answers.users)
    towns = [{"id": u, "attributes": json.dumps({"town": f"town of {u}"})} for u in users]
    knows = [
        {"source": users[a], "target": users[b], "kind": "friend"}
        for a, b in ((0, 3), (3, 0), (0, 4), (3, 4))
    ]
    store.apply({"users": table("users", towns), "user_relations": table("user_relations", knows)})
    refresh(store, home, FAST, now=NOW)
    erase(store, home, users[3])
    refresh(store, home, FAST, now=NOW + 1, force=True)
    store.close()
    assert len(names(home)) == 2
    for name in names(home):
        release = open_release(home.releases / name)
        folder = home.releases / name
        for path in folder.iterdir():
            assert f"town of {users[3]}".encode() not in path.read_bytes(), path
        zero, four = release.users.row(users[0]), release.users.row(users[4])
        assert release.user_attributes(zero) == {"town": f"town of {users[0]}"}
        assert release.friends.of(zero).tolist() == [four]
        assert len(release.friends.indices) == 1
    older = open_release(home.releases / min(names(home)))
    row = next(r for r, user in enumerate(older.users) if user not in users)
    raw = older.arrays["segments.raw"]
    assert np.isnan(raw[row]).all()
    assert np.isfinite(raw[older.users.row(users[0])]).any()
